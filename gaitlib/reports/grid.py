"""The report of a grid: its settings beside each other, over seeds, as one page and one Excel file."""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from urllib.parse import quote

import numpy as np
from markupsafe import Markup
from openpyxl import Workbook
from openpyxl.formatting.rule import ColorScaleRule
from openpyxl.styles import Border
from scipy import stats

from gaitlib import InputError
from gaitlib.evaluation.bootstrap import paired_differences
from gaitlib.reports import compare
from gaitlib.reports.excel import (
    BOLD,
    LINE,
    PERCENT,
    TEXT,
    TITLE,
    page_setup,
    save_book,
    set_widths,
    write_header,
    write_note,
    write_number,
    write_text,
)
from gaitlib.reports.html import template, write_page
from gaitlib.rounding import percent


@dataclass(frozen=True)
class Mean:
    """A mean and its 95 % interval; of values a seed the t-interval, which one seed does not have (NaN)."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Mean":
        """values: float64 [seeds]; NaN where there are none."""
        values = np.asarray(values, float)
        if not len(values):
            return cls(math.nan, math.nan, math.nan)
        if len(values) == 1:
            return cls(float(values[0]), math.nan, math.nan)
        half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
        return cls(float(values.mean()), float(values.mean() - half), float(values.mean() + half))


@dataclass(frozen=True)
class Run:
    """One point: its folder, labels, `gaitlib.grid.Status`, metrics.json, core-hours (None: not done) and commit."""

    folder: Path
    labels: dict[str, str]
    status: object
    metrics: dict
    core_hours: float | None
    commit: str | None

    @property
    def is_done(self) -> bool:
        return self.status.state == "done"

    @property
    def href(self) -> str:
        return f"{quote(self.status.name)}/index.html"


@dataclass(frozen=True)
class Setting:
    """All runs that differ by the seed only."""

    labels: dict[str, str]
    runs: list[Run]
    is_baseline: bool

    @property
    def name(self) -> str:
        return ", ".join(f"{axis.rpartition('.')[2]} {label}" for axis, label in self.labels.items()) or "all seeds"

    @property
    def done(self) -> list[Run]:
        return [run for run in self.runs if run.is_done]

    def rank1(self, probe_set: str = "mean") -> dict[str, float]:
        """seed -> cross-view rank-1 of a probe set, a share; of the runs that are done and measured it."""
        found = {run.labels.get("seed", ""): run.metrics.get("rank1", {}).get(probe_set) for run in self.done}
        return {seed: share for seed, share in found.items() if share is not None}

    def mean(self, probe_set: str = "mean") -> Mean:
        return Mean.of(list(self.rank1(probe_set).values()))

    @property
    def validation(self) -> Mean:
        """Of the best looks at the validation people, which choose checkpoints."""
        return Mean.of([run.status.validation for run in self.done if run.status.validation is not None])

    @property
    def core_hours(self) -> float:
        return sum(run.core_hours or 0.0 for run in self.runs)


def difference(setting: Setting, baseline: Setting, probe_set: str = "mean") -> Mean:
    """The mean over seeds that both have of the difference in rank-1, paired by seed."""
    mine, theirs = setting.rank1(probe_set), baseline.rank1(probe_set)
    return Mean.of([mine[seed] - theirs[seed] for seed in mine if seed in theirs])


def recognized(folders: tuple[Path, ...]) -> compare.Run:
    """The runs of several seeds as one, whose matrices are made when they are first asked for."""
    return compare.Run(", ".join(folder.name for folder in folders), list(folders))


def over_people(setting: Setting, baseline: Setting, opened: Callable[[tuple[Path, ...]], compare.Run] = recognized) -> Mean:
    """The same difference with its 95 % interval over people, by a bootstrap of the people whom both recognized in common seeds.

    NaN where a run has no embeddings.npz, or was measured on other data or people. opened: `recognized`, which may remember.
    """
    seeds = [seed for seed in setting.rank1() if seed in baseline.rank1()]
    runs = [opened(tuple(run.folder for run in s.done if run.labels.get("seed", "") in seeds)) for s in (setting, baseline)]
    if not seeds or not all((folder / "embeddings.npz").is_file() for run in runs for folder in run.folders):
        return Mean.of([])
    if len(runs[0].data | runs[1].data) > 1:
        return Mean.of([])
    drawn = {"repeats": runs[1].config.evaluation.bootstrap, "seed": runs[1].config.seed}
    try:
        return Mean(*paired_differences(runs[0].matrices, runs[1].matrices, **drawn)["mean"])
    except InputError:
        return Mean.of([])


def read_settings(folder: Path, grid: Mapping, found: Iterable) -> list[Setting]:
    """The settings in the order of the file, with what their runs have found so far.

    grid: the content of grid.json. found: a `gaitlib.grid.Status` a point.
    """
    stands = {point.name: point for point in found}
    settings: dict[tuple, Setting] = {}
    for name, point in grid["points"].items():
        metrics, hours, commit = {}, None, None
        if stands[name].state == "done":
            path = folder / name / "metrics.json"
            metrics = json.loads(path.read_text()) if path.is_file() else {}
            known = json.loads((folder / name / "provenance.json").read_text())
            hours = sum(known["stage_seconds"].values()) * known["hardware"]["threads"] / 3600
            commit = known["commit"]
        labels = {axis: label for axis, label in point["labels"].items() if axis != "seed"}
        setting = Setting(labels, [], labels == grid["baseline"])
        settings.setdefault(tuple(labels.values()), setting).runs.append(
            Run(folder / name, point["labels"], stands[name], metrics, hours, commit)
        )
    return list(settings.values())


def best_setting(settings: list[Setting]) -> Setting | None:
    """The one whose mean on the validation people is highest: test people choose nothing."""
    measured = [setting for setting in settings if not math.isnan(setting.validation.value)]
    return max(measured, key=lambda s: s.validation.value) if len(measured) > 1 else None


def probe_sets(settings: list[Setting]) -> list[str]:
    """Names in the order of the protocol, the mean last."""
    names = dict.fromkeys(n for s in settings for run in s.done for n in run.metrics.get("rank1", {}) if n != "mean")
    return [*names, "mean"]


def write_report(folder: Path, found: Iterable) -> None:
    """Write index.html and grid.xlsx of the grid in `folder`; each appears whole or the older one stays.

    found: a `gaitlib.grid.Status` a point.
    """
    grid = json.loads((folder / "grid.json").read_text())
    settings = read_settings(folder, grid, found)
    baseline = next((s for s in settings if s.is_baseline), None)
    differences = {
        s.name: (difference(s, baseline), over_people(s, baseline)) for s in settings if baseline and s is not baseline
    }
    commits = {run.commit for s in settings for run in s.done}
    write_page(
        folder / "index.html",
        template("grid.html.j2").render(
            name=folder.name, settings=settings, baseline=baseline, best=best_setting(settings), sets=probe_sets(settings),
            differences=differences, picture=_picture(grid, settings), lead=_lead(settings, baseline, differences),
            commits=len(commits), points=_points, ends=_ends, share=_share,
            runs=[run for s in settings for run in s.runs], axes=grid["axes"],
        ),
    )  # fmt: skip
    _excel(folder / "grid.xlsx", folder.name, settings, differences)


def _lead(settings: list[Setting], baseline: Setting | None, differences: Mapping[str, tuple[Mean, Mean]]) -> str:
    """What was found, in a sentence or two."""
    runs = [run for s in settings for run in s.runs]
    done = [run for run in runs if run.is_done]
    said = f"{len(done)} of {len(runs)} runs are done."
    best = best_setting(settings)
    if best:
        said += f" Chosen on validation people, the best is {best.name}: rank-1 {_share(best.mean())}"
        if best.name in differences and not math.isnan(differences[best.name][0].value):
            said += f", {_points(differences[best.name][0])} against {baseline.name}"
        said += "."
    elif done and not math.isnan(settings[0].mean().value):
        said += f" Rank-1 {_share(settings[0].mean())} over {len(settings[0].done)} seeds."
    return said


def _share(mean: Mean) -> str:
    """A mean of shares as text: 93.3 % [91.0, 95.6]; no share is beyond 0 and 1."""
    if math.isnan(mean.value):
        return "–"
    low, high = max(mean.low, 0), min(mean.high, 1)
    interval = "" if math.isnan(mean.low) else f" [{percent(low)}, {percent(high)}]"
    return f"{percent(mean.value)} %{interval}"


def _points(mean: Mean) -> str:
    """A difference as text, in points: +2.1 [0.4, 3.8] points."""
    if math.isnan(mean.value):
        return "–"
    return f"{100 * mean.value:+.1f} {'' if math.isnan(mean.low) else _ends(mean) + ' '}points"


def _ends(mean: Mean) -> str:
    """The interval of a difference, in points: [+0.4, +3.8]."""
    return "–" if math.isnan(mean.low) else f"[{100 * mean.low:+.1f}, {100 * mean.high:+.1f}]"


# ------------------------------------------------------------------------------------------------------------ the picture


def _picture(grid: Mapping, settings: list[Setting]) -> Markup:
    """Lines over one axis of numbers, a heat map over two axes of several values; empty where the bars say it all."""
    axes = [axis for axis, labels in grid["axes"].items() if axis != "seed" and len(labels) > 1]
    if len(axes) == 1 and len(grid["axes"][axes[0]]) > 2 and all(_is_number(label) for label in grid["axes"][axes[0]]):
        return _lines(axes[0], settings)
    return _heat_map(grid, settings, *axes) if len(axes) == 2 else Markup()


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _heat_map(grid: Mapping, settings: list[Setting], down: str, across: str) -> Markup:
    """A table of means over seeds, colored from the lowest (white) to the highest (blue)."""
    found = {(s.labels[down], s.labels[across]): s.mean().value for s in settings}
    seen = [value for value in found.values() if not math.isnan(value)]
    low, span = min(seen, default=0), max(max(seen, default=0) - min(seen, default=0), 1e-9)
    rows = []
    for row in grid["axes"][down]:
        cells = []
        for column in grid["axes"][across]:
            value = found.get((row, column), math.nan)
            depth = 0 if math.isnan(value) else round(8 + 72 * (value - low) / span)
            cells.append(f'<td class="heat" style="--depth:{depth}%">{_share(Mean(value, math.nan, math.nan))}</td>')
        rows.append(f'<tr><th scope="row">{escape(row)}</th>{"".join(cells)}</tr>')
    heads = "".join(f'<th scope="col">{escape(label)}</th>' for label in grid["axes"][across])
    return Markup(
        f'<div class="scroll" tabindex="0"><table><caption>Mean rank-1 over seeds: {escape(down)} down, {escape(across)} '
        f"across</caption><thead><tr><td></td>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _lines(axis: str, settings: list[Setting]) -> Markup:
    """Mean rank-1 over an axis of numbers with its intervals, drawn as SVG in the colors of the page."""
    measured = sorted((s for s in settings if not math.isnan(s.mean().value)), key=lambda s: float(s.labels[axis]))
    if not measured:
        return Markup()
    at, means = [float(s.labels[axis]) for s in measured], [s.mean() for s in measured]
    ends = [end for m in means for end in (m.value, m.low, m.high) if not math.isnan(end)]
    low, high = max(min(ends) - 0.02, 0), min(max(ends) + 0.02, 1)
    x = [70 + 560 * (v - at[0]) / (at[-1] - at[0] or 1) for v in at]

    def y(share: float) -> float:
        return 20 + 220 * (high - min(max(share, low), high)) / (high - low)

    parts = [
        f'<line class="grid" x1="60" x2="640" y1="{y(s):.1f}" y2="{y(s):.1f}"/><text x="54" y="{y(s) + 4:.1f}" '
        f'text-anchor="end">{percent(s, 0)} %</text>'
        for s in np.linspace(low, high, 5)
    ]
    parts.append(f'<polyline points="{" ".join(f"{a:.1f},{y(m.value):.1f}" for a, m in zip(x, means, strict=True))}"/>')
    for a, m, s in zip(x, means, measured, strict=True):
        if not math.isnan(m.low):
            parts.append(f'<line class="whisker" x1="{a:.1f}" x2="{a:.1f}" y1="{y(m.low):.1f}" y2="{y(m.high):.1f}"/>')
        parts.append(f'<circle cx="{a:.1f}" cy="{y(m.value):.1f}" r="4"><title>{escape(s.name)}: {_share(m)}</title></circle>')
        parts.append(f'<text x="{a:.1f}" y="262" text-anchor="middle">{escape(s.labels[axis])}</text>')
    parts.append(f'<text x="350" y="284" text-anchor="middle">{escape(axis)}</text>')
    label = f"Mean rank-1 over {axis}: " + "; ".join(f"{s.labels[axis]}: {_share(s.mean())}" for s in measured)
    return Markup(f'<svg class="lines" role="img" viewBox="0 0 660 292" aria-label="{escape(label)}">{"".join(parts)}</svg>')


# -------------------------------------------------------------------------------------------------------------- the Excel


def _excel(path: Path, name: str, settings: list[Setting], differences: Mapping[str, tuple[Mean, Mean]]) -> None:
    book, sets = Workbook(), probe_sets(settings)
    book.properties.creator = book.properties.lastModifiedBy = "gaitlib"
    axes = list(settings[0].labels)
    _settings_sheet(book.active, name, settings, differences, axes, sets)
    _runs_sheet(book.create_sheet("Runs"), settings, axes, sets)
    save_book(book, path)


def _settings_sheet(
    sheet, name: str, settings: list[Setting], differences: Mapping[str, tuple[Mean, Mean]], axes: list[str], sets: list[str]
) -> None:
    sheet.title = "Settings"
    write_text(sheet.cell(1, 1), f"Grid {name}", TITLE)
    columns = [*axes, "seeds", "validation rank-1"]
    for probe_set in sets:
        columns += [f"{probe_set} rank-1", "95 % low", "95 % high"]
    columns += ["difference to baseline", "95 % low", "95 % high", "people: 95 % low", "people: 95 % high", "core-hours"]
    set_widths(sheet, [22] * len(axes) + [12] * (len(columns) - len(axes)))
    write_note(sheet, 2, "Cross-view rank-1: means over seeds with t-intervals; differences are paired by seed, and by person.")
    write_header(sheet, 4, columns, align="right")
    for r, s in enumerate(settings, 5):
        for c, axis in enumerate(axes, 1):
            write_text(sheet.cell(r, c), s.labels[axis], BOLD if s.is_baseline else TEXT)
        against, people = differences.get(s.name, [Mean.of([])] * 2)
        means = [s.mean(probe_set) for probe_set in sets] + [against]
        numbers = [s.validation.value, *(end for m in means for end in (m.value, m.low, m.high)), people.low, people.high]
        write_number(sheet.cell(r, len(axes) + 1), len(s.done), "0", TEXT)
        for c, value in enumerate(numbers, len(axes) + 2):
            write_number(sheet.cell(r, c), value, PERCENT, TEXT)
        write_number(sheet.cell(r, len(columns)), s.core_hours, "0.00", TEXT)
        for c in range(1, len(columns) + 1):
            sheet.cell(r, c).border = Border(bottom=LINE)
    sheet.freeze_panes = sheet.cell(5, len(axes) + 1)
    page_setup(sheet)


def _runs_sheet(sheet, settings: list[Setting], axes: list[str], sets: list[str]) -> None:
    write_text(sheet.cell(1, 1), "Runs", TITLE)
    columns = ["run", "state", *axes, "seed", "validation rank-1", *(f"{probe_set} rank-1" for probe_set in sets)]
    columns += ["core-hours", "error"]
    set_widths(sheet, [34, 10] + [14] * (len(columns) - 3) + [60])
    write_header(sheet, 3, columns, align="right")
    runs = [run for s in settings for run in s.runs]
    for r, run in enumerate(runs, 4):
        cell = write_text(sheet.cell(r, 1), run.status.name, TEXT)
        if run.is_done:
            cell.hyperlink = run.href
        for c, text in enumerate([run.status.state, *(run.labels[axis] for axis in axes), run.labels.get("seed", "")], 2):
            write_text(sheet.cell(r, c), text, TEXT)
        shares = [run.status.validation, *(run.metrics.get("rank1", {}).get(probe_set) for probe_set in sets)]
        for c, share in enumerate(shares, len(axes) + 4):
            write_number(sheet.cell(r, c), share, PERCENT, TEXT)
        write_number(sheet.cell(r, len(columns) - 1), run.core_hours, "0.00", TEXT)
        write_text(sheet.cell(r, len(columns)), run.status.error, TEXT)
    first = sheet.cell(4, len(columns) - 2).coordinate
    blue = ColorScaleRule("min", None, "FFFFFF", "max", None, "5AA9DC")
    sheet.conditional_formatting.add(f"{first}:{sheet.cell(3 + len(runs), len(columns) - 2).coordinate}", blue)
    sheet.auto_filter.ref = f"A3:{sheet.cell(3 + len(runs), len(columns)).coordinate}"
    sheet.freeze_panes = "B4"
    page_setup(sheet)
