"""Settings beside each other on one page: a few finished runs, or all runs of a grid, seeds as one."""

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

from gaitlib import InputError
from gaitlib.display import figures
from gaitlib.evaluation.bootstrap import paired_differences, rank_intervals
from gaitlib.evaluation.ranking import RankMatrix, pooled, with_mean
from gaitlib.files import check_name, read_json
from gaitlib.reports.excel import write_tables
from gaitlib.reports.html import write_page
from gaitlib.reports.run import Run, flat
from gaitlib.reports.tables import ENDS, Table, frame_of
from gaitlib.rounding import UNIT, percent

_UNKNOWN = [math.nan] * 3
_OTHERS = {
    "rank1_same_view": "same-view rank-1", "rank1_everyone": "rank-1 among everyone", "map": "mAP", "eer": "EER",
}  # fmt: skip
#: What a setting costs and how it is shown.
_COSTS = {"parameters": "count", "training minutes": "decimal", "ms a walk": "decimal"}


@dataclass(frozen=True)
class Point:
    """A run with where it stands."""

    run: Run
    seed: object
    state: str = "done"
    validation: float | None = None
    error: str = ""

    @property
    def is_done(self) -> bool:
        """Whether its numbers count."""
        return self.state == "done"


@dataclass(frozen=True)
class Setting:
    """Runs that differ in the seed only, as one. labels: what tells it from the others: axis of a grid -> value."""

    name: str
    labels: Mapping[str, str]
    points: list[Point]

    @classmethod
    def open(cls, text: str) -> "Setting":
        """Finished runs, "A" or "A-0,A-1,A-2"; InputError where one is none, or the seed is not what they differ in."""
        runs = [Run.open(part) for part in text.split(",") if part]
        if not runs:
            raise InputError(f"{text!r} names no run folder.")
        for first, other in combinations(runs, 2):
            pair = f"{first.name} and {other.name}"
            if changed := _changed(*(run.config.model_dump(mode="json") | {"seed": None} for run in (first, other))):
                why = f"differ in more than the seed ({changed}) and do not count as one"
                raise InputError(f"{pair} {why}; write a blank between them, not a comma.")
            if first.seed == other.seed:
                raise InputError(f"{pair} have the same seed and are not two measurements; leave out one.")
        name = ", ".join(run.name for run in runs)
        return cls(name, {"setting": name}, [Point(run, run.seed, validation=run.validation) for run in runs])

    @property
    def runs(self) -> list[Run]:
        """Those that are done."""
        return [point.run for point in self.points if point.is_done]

    def shares(self, probe_set: str = "mean", measure: str = "rank1") -> dict[object, float]:
        """Seed -> a measure of metrics.json of a probe set, a share; of the runs that took it."""
        found = {run.seed: run.metrics.get(measure, {}).get(probe_set) for run in self.runs}
        return {seed: share for seed, share in found.items() if share is not None}

    def mean(self, probe_set: str = "mean", measure: str = "rank1") -> list[float]:
        """A measure as the mean over seeds with its interval; no share is beyond 0 and 1."""
        value, low, high = seed_mean(self.shares(probe_set, measure).values())
        return [value, float(np.maximum(low, 0)), float(np.minimum(high, 1))]

    @property
    def validation(self) -> float:
        """The mean over seeds of the best looks at the validation people, which choose checkpoints; NaN where there was none."""
        return seed_mean(point.validation for point in self.points if point.is_done and point.validation is not None)[0]

    @property
    def cost(self) -> dict[str, float]:
        """What Run.cost holds, as the mean over its runs; NaN where it is not known."""
        known = {name: [run.cost[name] for run in self.runs if run.cost[name] is not None] for name in _COSTS}
        return {name: seed_mean(values)[0] for name, values in known.items()}

    @property
    def core_hours(self) -> float:
        """Of all its runs together."""
        return sum(run.core_hours or 0.0 for run in self.runs)

    @property
    def draws(self) -> dict[str, int]:
        """How people are drawn again for intervals, `repeats` and `seed`, by the configuration of the first run."""
        config = self.runs[0].config
        return {"repeats": config.evaluation.bootstrap, "seed": config.seed}

    @cached_property
    def matrices(self) -> dict[str, RankMatrix]:
        """Probe set -> what each person scored, all seeds together."""
        return {name: pooled([run.matrices[name] for run in self.runs]) for name in self.runs[0].matrices}

    @property
    def over_people(self) -> list[float]:
        """Mean rank-1 with its interval over people, all seeds together; NaN where the embeddings are not there."""
        ends = _UNKNOWN[1:]
        with suppress(InputError):
            ends = rank_intervals(self.matrices, **self.draws)["mean"]
        return [self.mean()[0], *ends]

    def of_seeds(self, seeds: Iterable[object]) -> "Setting":
        """The same of some seeds only."""
        return replace(self, points=[point for point in self.points if point.is_done and point.run.seed in set(seeds)])


def seed_mean(values: Iterable[float]) -> list[float]:
    """[mean, low, high] of a value a seed, by Student's t; NaN where there is none, and the ends also of a single one."""
    values = np.array(list(values), float)
    n = len(values)
    if n < 2:
        return [*values.tolist(), *_UNKNOWN][:3]
    mean, half = float(values.mean()), float(stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / math.sqrt(n))
    return [mean, mean - half, mean + half]


def check_comparable(settings: Iterable[Setting]) -> None:
    """Raise InputError where not all runs were measured on the same data, by protocols of the same content."""
    first, *others = [run for setting in settings for run in setting.runs]
    for run in others:
        pair = f"{first.name} and {run.name}"
        if run.data != first.data:
            why = "were measured on different data sets, in which people of the same name may be others"
            raise InputError(f"{pair} {why}; compare runs on one.")
        if changed := _changed(first.protocol.content, run.protocol.content):
            why = f"were made by different protocols ({changed}), so that their numbers do not mean the same"
            raise InputError(f"{pair} {why}; compare runs of one.")


def _changed(a: Mapping, b: Mapping) -> str:
    """The first value that two nested dicts do not have in common: "gallery.run: 1-4 and 1"; empty where they are alike."""
    a, b = dict(flat(a)), dict(flat(b))
    return next((f"{key}: {a.get(key, 'none')} and {b.get(key, 'none')}" for key in a | b if a.get(key) != b.get(key)), "")


def differences(setting: Setting, baseline: Setting) -> tuple[list[float], list[float]]:
    """By how much rank-1 is better in the seeds that both have, over seeds, which are paired, and over people; NaN: not known."""
    mine, theirs = setting.shares(), baseline.shares()
    seeds = [seed for seed in mine if seed in theirs]
    gain_over_seeds = gain_over_people = _UNKNOWN
    with suppress(InputError):  # of other data, without embeddings, or of other people
        if seeds:
            first, second = setting.of_seeds(seeds), baseline.of_seeds(seeds)
            check_comparable([first, second])
            gain_over_seeds = seed_mean(mine[seed] - theirs[seed] for seed in seeds)
            gain_over_people = paired_differences(first.matrices, second.matrices, **second.draws)["mean"]
    return gain_over_seeds, gain_over_people


def best_setting(settings: list[Setting]) -> Setting | None:
    """The one whose mean on the validation people is highest: test people choose nothing."""
    measured = [setting for setting in settings if not math.isnan(setting.validation)]
    return max(measured, key=lambda s: s.validation) if len(measured) > 1 else None


def probe_sets(settings: list[Setting]) -> list[str]:
    """Names in the order of the protocol, the mean last."""
    names = dict.fromkeys(n for s in settings for run in s.runs for n in run.metrics.get("rank1", {}) if n != "mean")
    return [*names, "mean"]


_SETTINGS = (
    "Cross-view rank-1 of unseen people: means over seeds with 95 % intervals, which show how much the seed matters (Student's "
    "t; none for a single seed). Other measures are means over seeds and probe sets. Differences to the baseline are paired by "
    "seed; their interval over people, a bootstrap of the people both were tested on, all seeds together, shows how much the "
    "choice of people matters. Bold: the interval excludes zero. The best setting is chosen on the validation people, who are "
    "held out of the training people; test people choose nothing. Core-hours are the time of the notebooks times the threads of "
    "torch, without attempts that were stopped; a stage that several runs share counts for the run that made it and for runs "
    "that waited for it. Among everyone: the person's gallery walks from other views among all walks of all other people. "
    "Parameters are the numbers an embedding depends on; minutes are those of the training loop, with its validations."
)
_DIFFERENCES = (
    "All runs were tested on the same {} people. The intervals of a difference resample the same people for both runs, which "
    "removes what makes some people hard to recognize for both: a difference can be certain although the intervals of the runs "
    "overlap. Bold: the interval excludes zero."
)


def settings_table(settings: list[Setting], baseline: Setting | None, title: str) -> Table:
    """A row a setting: rank-1 over seeds, differences to the baseline, and what it took."""
    sets, best, rows = probe_sets(settings), best_setting(settings), []
    for s in settings:
        roles = [role for role, other in (("baseline", baseline), ("best", best)) if s is other]
        gains = differences(s, baseline) if baseline and s is not baseline else (_UNKNOWN, _UNKNOWN)
        triples = [s.mean(), *gains, *(s.mean(probe_set) for probe_set in sets[:-1])]
        others = [*(s.mean(measure=measure)[0] for measure in _OTHERS), *s.cost.values()]
        texts = [*s.labels.values(), ", ".join(roles), f"{len(s.runs)} of {len(s.points)}"]
        rows.append([*texts, s.validation, *(end for triple in triples for end in triple), *others, s.core_hours])
    gains = ["difference over seeds", "difference over people"]
    values = ["mean rank-1", *gains, *(f"{name} rank-1" for name in sets[:-1])]
    triples = [name for value in values for name in (value, *ENDS)]
    axes = [axis.rpartition(".")[2] for axis in settings[0].labels]
    frame = frame_of(rows, [*axes, "role", "seeds"], ["validation rank-1", *triples, *_OTHERS.values(), *_COSTS, "core-hours"])
    commits = len({run.provenance.get("commit") for s in settings for run in s.runs})
    note = _SETTINGS + (f" These runs were made by {commits} different commits of the code." if commits > 1 else "")
    return Table("Settings", title, note, frame, {"core-hours": "decimal", **_COSTS, **dict.fromkeys(gains, "points")})


def runs_table(settings: list[Setting], folder: Path) -> Table:
    """A row a run, with where it stands and links as seen from a folder."""
    sets, axes, rows, links = probe_sets(settings), list(settings[0].labels), [], {}
    for s in settings:
        for point in s.points:
            run = point.run
            rank1 = [run.rank1(name) if point.is_done else None for name in sets]
            took = [run.metrics.get("iterations"), run.core_hours] if point.is_done else [None, None]
            rows.append([run.name, point.state, point.error, *s.labels.values(), point.seed, point.validation, *rank1, *took])
            if point.is_done and run.is_finished:
                links[run.name] = quote(os.path.relpath(run.folder, folder).replace(os.sep, "/")) + "/index.html"
    texts = ["run", "state", "error", *(axis.rpartition(".")[2] for axis in axes), "seed"]
    numbers = ["validation rank-1", *(f"{name} rank-1" for name in sets), "iterations", "core-hours"]
    shares = [share for s in settings for share in s.shares().values()]
    shaded = {"mean rank-1": (min(shares), max(shares))} if shares else {}
    formats = {"iterations": "count", "core-hours": "decimal"}
    frame = frame_of(rows, texts, numbers)
    if not frame.iloc[:, 2].any():
        frame = frame.drop(columns="error")
    return Table("Runs", "Runs", "", frame, formats, shaded, links)


def people_table(settings: list[Setting]) -> Table:
    """A row a setting and probe set: rank-1, how much it is above the first's; InputError for other people, no embeddings."""
    first, rows = settings[0], []
    for s in settings:
        means = with_mean({name: matrix.mean() for name, matrix in s.matrices.items()})
        ends, gains = rank_intervals(s.matrices, **first.draws), dict.fromkeys(means, _UNKNOWN)
        if s is not first:
            gains = paired_differences(s.matrices, first.matrices, **first.draws)
        rows += [[s.name, name, mean, *ends[name], *gains[name]] for name, mean in means.items()]
    gain = f"points above {first.name}"
    frame = frame_of(rows, ["setting", "probe set"], ["cross-view rank-1", *ENDS, gain, *ENDS])
    note = _DIFFERENCES.format(len(next(iter(first.matrices.values())).people))
    return Table("People", "Cross-view rank-1 with 95 % intervals over people", note, frame, {gain: "points"})


def _differing(title: str, names: list[str], columns: list[Mapping]) -> Table:
    """Keys whose values are not the same in all, with those values."""
    columns = [dict(flat(column)) for column in columns]
    keys = dict.fromkeys(key for column in columns for key in column)
    rows = [[key, *(str(column.get(key, "–")) for column in columns)] for key in keys]
    return Table(title, title, "", frame_of([row for row in rows if len(set(row[1:])) > 1], ["Key", *names], []))


def _write(folder: Path, **values) -> None:
    """Write index.html. values: eyebrow, title, lead; sections: heading -> tables and figures; bars: for the first of them."""
    has_excel = (folder / "grid.xlsx").is_file()
    write_page(folder / "index.html", "compare.html.j2", has_excel=has_excel, embedded=figures.embedded, **values)


def compare(texts: Sequence[str], out: Path) -> Path:
    """Write the page OUT/index.html that compares runs with the first of them; returns its path.

    texts: run folders, "A", or several seeds as one, "A-0,A-1,A-2". Raises InputError where fewer than two are given, they cannot
    be compared (see `Setting.open`, `check_comparable`, `people_table`), or OUT is a run or a grid itself.
    """
    if any((out / file).exists() for file in ("config.yaml", "grid.json")):
        raise InputError(f"{out} is a run or a grid, whose page would be lost; give another --name.")
    settings = [Setting.open(text) for text in texts]
    if len(settings) < 2:
        raise InputError("Give two runs or more to compare.")
    if len(set(names := [setting.name for setting in settings])) < len(settings):
        raise InputError("The runs to compare must have different names.")
    check_comparable(settings)
    firsts = [setting.runs[0] for setting in settings]
    facts = [run.provenance | {"stage_seconds": None, "start": None} for run in firsts]
    people = people_table(settings)
    sections = {
        "Differences": [people],
        "Curves": _curves(settings, people),
        "Over seeds": [settings_table(settings, settings[0], "")],
        "Settings": [_differing("What was set differently", names, [run.config.model_dump(mode="json") for run in firsts])],
        "Provenance": [_differing("What differs in how the runs were made", names, facts)],
        "Runs": [runs_table(settings, out)],
    }
    lead = _sentence(settings[0].name, people)
    _write(out, eyebrow="Runs compared", title=" and ".join(names), lead=lead, sections=sections, bars=[])
    return out / "index.html"


def _curves(settings: list[Setting], people: Table) -> list[Figure]:
    """Bars of rank-1, the first ranks, and rank-1 of the validation people during training, where there was one."""
    bars = people.frame.iloc[:, :5].set_axis(["arm", "condition", "rank1", "low", "high"], axis=1)
    curves = {s.name: np.mean([matrix.curve() for matrix in s.matrices.values()], 0) for s in settings}
    drawn = [figures.rank1_bars(bars), figures.cmc(curves)]
    if histories := {s.name: s.runs[0].history for s in settings if s.runs[0].validation is not None}:
        drawn.append(figures.validation_curves(histories))
    return drawn


def _sentence(first: str, people: Table) -> str:
    said = []
    means = people.frame[people.frame["probe set"] == "mean"].iloc[1:]
    for name, *gain in means.iloc[:, [0, -3, -2, -1]].itertuples(index=False, name=None):
        value, low, high = (100 * share for share in gain)
        verb = ("beats" if value > 0 else "loses to") if low > 0 or high < 0 else "cannot be told from"
        said.append(f"{name} {verb} {first} ({value:+.1f} points [{low:+.1f}, {high:+.1f}])")
    return f"Cross-view rank-1, the same people in all runs: {'; '.join(said)}."


def read_settings(folder: Path, grid: Mapping, found: Iterable) -> tuple[list[Setting], Setting | None]:
    """The settings of a grid, by the content of its grid.json, with what their runs have found so far; and the baseline."""
    stands = {status.name: status for status in found}
    settings: dict[tuple, Setting] = {}
    for name, point in grid["points"].items():
        run, status = Run(folder / check_name(name, f"{folder / 'grid.json'}, point"), name), stands[name]
        state, error = status.state, status.error
        if state == "done" and run.problem:
            state, error = "unreadable", run.problem
        labels = {axis: label for axis, label in point["labels"].items() if axis != "seed"}
        title = ", ".join(f"{axis.rpartition('.')[2]} {label}" for axis, label in labels.items()) or "all seeds"
        setting = settings.setdefault(tuple(labels.values()), Setting(title, labels, []))
        setting.points.append(Point(run, point["labels"].get("seed", ""), state, status.validation, error))
    return list(settings.values()), next((s for s in settings.values() if s.labels == grid["baseline"]), None)


def write_report(folder: Path, found: Iterable) -> None:
    """Write index.html and grid.xlsx of the grid in `folder`, with where each point stands: a name, state, ... of grid.Status."""
    grid = read_json(folder / "grid.json")
    settings, baseline = read_settings(folder, grid, found)
    numbers = settings_table(settings, baseline, f"Grid {folder.name}")
    runs = runs_table(settings, folder)
    write_tables(folder / "grid.xlsx", f"Grid {folder.name}", [numbers, runs])
    best = best_setting(settings)
    bars = [
        {"name": f"{s.name}{' ★' if s is best else ''}", "marks": s.shares().values(), "baseline": math.nan, "is_best": s is best}
        | dict(zip(("value", "low", "high"), s.mean(), strict=True))
        for s in settings if s.shares()
    ]  # fmt: skip
    done, asked = sum(len(s.runs) for s in settings), sum(len(s.points) for s in settings)
    lead, shown, gain = f"{done} of {asked} runs are done.", numbers.texts(UNIT), "difference over seeds"
    if best:
        row = shown.iloc[settings.index(best)]
        lead += f" Chosen on validation people, the best is {best.name}: rank-1 {row['mean rank-1']}"
        lead += "." if row[gain] == "–" else f", {row[gain]} points against {baseline.name}."
    elif bars:
        lead += f" Rank-1 {shown['mean rank-1'].iloc[0]} over {len(settings[0].runs)} seeds."
    measured = [s for s in settings if s.shares()]
    if baseline in measured and len(measured) > 1:
        lead += f" {_ahead(measured, baseline)}"
    sections = {"Settings": [*_pictures(grid["axes"], measured), *_costs(measured)], "In numbers": [numbers]}
    if studied := [table for table in (ablations_table(measured), exchange_table(measured)) if len(table.frame)]:
        sections["What recognition depends on"] = studied
    sections["Runs"] = [runs]
    _write(folder, eyebrow="Grid of gait recognition runs", title=folder.name, lead=lead, sections=sections, bars=bars)


def _ahead(settings: list[Setting], baseline: Setting) -> str:
    """Which settings have a higher mean than the baseline, and in what; the table says how certain that is."""
    measures = {f"{name} rank-1": ("rank1", name) for name in probe_sets(settings)}
    measures |= {name: (measure, "mean") for measure, name in _OTHERS.items()}
    ahead = {}
    for s in settings:
        won = []
        for name, (measure, probe_set) in measures.items():
            mine, its = (of.mean(probe_set, measure)[0] for of in (s, baseline))
            if mine < its if measure == "eer" else mine > its:
                won.append(f"{name} {percent(mine)} against {percent(its)}{UNIT}")
        if won:
            ahead[s.name] = ", ".join(won)
    if not ahead:
        return f"None is ahead of {baseline.name} in any measure."
    return f"Ahead of {baseline.name}: " + "; ".join(f"{name} in {what}" for name, what in ahead.items()) + "."


def _costs(settings: list[Setting]) -> list[Figure]:
    """Rank-1 against what the settings cost; nothing where their networks are all of one size."""
    rows = [[s.name, *s.over_people, *s.cost.values()] for s in settings]
    table = pd.DataFrame(rows, columns=["name", "mean", "low", "high", *_COSTS])
    return [figures.rank1_against_cost(table)] if table["parameters"].nunique() > 1 else []


def ablations_table(settings: list[Setting]) -> Table:
    """A row an ablation: the mean over seeds and probe sets of each setting."""
    found = {s.name: [{row["name"]: row["rank1"].get("mean") for row in run.metrics.get("ablations", [])} for run in s.runs]
             for s in settings}  # fmt: skip
    names = dict.fromkeys(name for runs in found.values() for run in runs for name in run)
    rows = [[name, *(seed_mean(run[name] for run in runs if name in run)[0] for runs in found.values())] for name in names]
    note = "Mean cross-view rank-1 over seeds and probe sets. Single codes are measured where a model has them."
    return Table("Ablations", "The same ablations for each", note, frame_of(rows, ["Ablation"], list(found)))


def exchange_table(settings: list[Setting]) -> Table:
    """A row a setting that exchanges views: its error, and that of the mean walk."""
    rows = []
    for s in settings:
        found = [run.metrics["exchange"] for run in s.runs if run.metrics.get("exchange")]
        if found:
            rows.append(
                [s.name, *(seed_mean(errors.get(guess, [None])[0] for errors in found)[0] for guess in ("exchange", "mean_walk"))]
            )
    names = ["exchanged view", "mean walk"]
    frame = frame_of(rows, ["Setting"], names)
    return Table("Exchange", "Exchanged views: error in % of the torso length", "", frame, dict.fromkeys(names, "percent"))


def _pictures(axes: Mapping[str, list[str]], settings: list[Setting]) -> list[Figure]:
    """Lines over one axis of numbers, or a heat map over two axes of several values; none where the bars say it all."""
    varied = {axis: labels for axis, labels in axes.items() if axis != "seed" and len(labels) > 1}
    if settings and len(varied) == 1:
        ((axis, labels),) = varied.items()
        rows = [[s.labels[axis], *s.mean()] for s in settings]
        if len(labels) > 2 and np.isfinite(pd.to_numeric(labels, errors="coerce")).all():
            return [figures.rank1_over_axis(pd.DataFrame(rows, columns=["value", "mean", "low", "high"]), axis)]
    if settings and len(varied) == 2:
        down, across = varied
        shares = pd.Series({(s.labels[down], s.labels[across]): s.mean()[0] for s in settings}).unstack()
        shares = shares.reindex(index=axes[down], columns=axes[across]).rename_axis(index=down, columns=across)
        return [figures.rank1_heat_map(shares)]
    return []
