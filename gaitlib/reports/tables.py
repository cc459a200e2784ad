"""Every table of a run once, as a frame and what shows it has to know: notebooks, pages and Excel files render these."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from gaitlib.evaluation import FAR, OPEN_FAR
from gaitlib.reports.run import Run, flat
from gaitlib.rounding import UNIT, half_up, percent, with_interval

if TYPE_CHECKING:
    from gaitlib.evaluation.ranking import RankMatrix

#: Measures by their keys in metrics.json.
RANKING = {"rank1": "Rank-1", "rank5": "Rank-5", "rank10": "Rank-10", "map": "mAP", "minp": "mINP"}
VERIFICATION = {
    "eer": "EER",
    **{f"tar_at_far_{far:g}": f"TAR at FAR {100 * far:g} %" for far in FAR},
    **{f"dir_at_far_{far:g}": f"DIR at FAR {100 * far:g} %" for far in OPEN_FAR},
}
#: What exchanged views are compared with.
GUESSES = {
    "exchange": "exchanged view", "copy": "unchanged walk", "mean_walk": "mean walk of that view",
    "gain": "mean walk minus exchanged view, paired by person", "walker": "decoded walker, in three dimensions",
}  # fmt: skip

RANK1, SAME_VIEW, BASELINE = "Cross-view rank-1", "Same-view rank-1", "Baseline cross-view"
#: The two columns behind a value that are its 95 % interval.
ENDS = ["95 % low", "95 % high"]


class Cell(NamedTuple):
    """A cell to be read. is_sure: it is a difference whose interval leaves out zero."""

    text: str
    kind: str
    is_sure: bool = False


@dataclass(frozen=True)
class Table:
    """One table.

    name: of its sheet. title, note: what is said over it.
    frame: texts, and numbers as float64, NaN where there is none; behind a value may stand its ENDS.
    formats: columns of numbers that are not shares 0..1 -> "points" (a difference of shares), "percent", "count" or "decimal".
    shaded: columns -> the numbers that are white and blue. links: texts of the first column -> where they lead.
    """

    name: str
    title: str
    note: str
    frame: pd.DataFrame
    formats: Mapping[str, str] = field(default_factory=dict)
    shaded: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)

    @property
    def kinds(self) -> list[str]:
        """What each column holds: "text", "share", or its format."""
        return [self.formats.get(name, "share") if is_numeric_dtype(kind) else "text" for name, kind in self.frame.dtypes.items()]

    @property
    def spans(self) -> list[slice]:
        """The columns that are shown as one: a value alone, or with its ENDS."""
        names, spans = list(self.frame), []
        while (c := spans[-1].stop if spans else 0) < len(names):
            spans.append(slice(c, c + (3 if names[c + 1 : c + 3] == ENDS else 1)))
        return spans

    def cells(self, unit: str = "") -> list[list[Cell]]:
        """To be read: percent with one digit, an interval in the cell of its value; unit: what follows a share."""
        kinds, rows = self.kinds, self.frame.itertuples(index=False, name=None)
        return [[_cell(kinds[span.start], unit, *row[span]) for span in self.spans] for row in rows]

    def texts(self, unit: str = "") -> pd.DataFrame:
        """The same as a frame, whose index are the columns that hold texts."""
        cells = pd.DataFrame([[cell.text for cell in row] for row in self.cells(unit)])
        cells.columns = [self.frame.columns[span.start] for span in self.spans]
        is_text = np.array([self.kinds[span.start] == "text" for span in self.spans])
        return cells.loc[:, ~is_text].set_index([column for _, column in cells.loc[:, is_text].items()])

    def wide(self, across: str, *hidden: str) -> pd.DataFrame:
        """The column Value to be read, a column for each text of `across`; hidden: what no longer tells rows apart."""
        values = self.texts()["Value"].droplevel(list(hidden)).unstack(across, sort=False).fillna("–")
        return values.rename_axis(index=[None] * values.index.nlevels, columns=None)

    def _repr_html_(self) -> str:
        texts = self.texts()
        return texts.rename_axis(index=[None] * texts.index.nlevels).to_html(border=0)


def _cell(kind: str, unit: str, value, low=None, high=None) -> Cell:
    if kind == "text":
        return Cell(str(value), kind)
    if kind == "count":
        return Cell("" if np.isnan(value) else f"{value:,.0f}", kind)
    if kind == "decimal":
        return Cell("–" if np.isnan(value) else f"{value:.2f}", kind)
    if kind == "points":
        return Cell(with_interval(value, low, high, sign="+"), kind, low > 0 or high < 0)
    if kind == "percent":
        value, low, high = (number if number is None else number / 100 for number in (value, low, high))
        unit = ""
    return Cell(with_interval(value, low, high, unit=unit), kind)


def frame_of(rows: list[list], texts: list[str], numbers: list[str]) -> pd.DataFrame:
    """Rows of texts followed by numbers as a frame; None is NaN."""
    words = pd.DataFrame([[str(cell) for cell in row[: len(texts)]] for row in rows], columns=texts)
    values = np.array([row[len(texts) :] for row in rows], float).reshape(len(rows), len(numbers))
    return pd.concat([words, pd.DataFrame(values, columns=numbers)], axis=1)


def headline(metrics: Mapping) -> Table:
    """Who was recognized how well: a row a probe set in the order of the protocol, the mean last."""
    rank1, baseline, counts = (metrics.get(key) or {} for key in ("rank1", "baseline", "counts"))
    ends = metrics.get("ci95") or {}
    columns = {
        RANK1: rank1,
        **{end: {name: pair[i] for name, pair in ends.items()} for i, end in enumerate(ENDS)},
        SAME_VIEW: metrics.get("rank1_same_view"), "mAP": metrics.get("map"), "EER": metrics.get("eer"),
        BASELINE: baseline.get("rank1"), "Baseline same view": baseline.get("rank1_same_view"),
    }  # fmt: skip
    counted = {_label(key): of_sets for key, of_sets in counts.items() if isinstance(of_sets, Mapping)}
    names = [name for name in rank1 if name != "mean"] + ["mean"] * ("mean" in rank1)
    rows = [[name, *((values or {}).get(name) for values in (*columns.values(), *counted.values()))] for name in names]
    note = "Cross-view: probe and gallery are never seen from the same view. Intervals are over people."
    frame = frame_of(rows, ["Probe set"], [*columns, *counted])
    return Table("Summary", "Who was recognized, and how well", note, frame, dict.fromkeys(counted, "count"))


def sentence(metrics: Mapping) -> str:
    """The headline in one sentence: who was recognized how well."""
    found = headline(metrics).frame.dropna(subset=RANK1).set_index("Probe set")
    if not len(found):
        return "This run measured no rank-1."
    shown = found.drop("mean", errors="ignore") if len(found) > 1 else found
    rank1 = []
    for name, share, low, high in shown[[RANK1, *ENDS]].itertuples(name=None):
        interval = "" if np.isnan(low + high) else f"\u00a0[{percent(low, 0)},\u00a0{percent(high, 0)}]"
        rank1.append(f"{name}\u00a0{percent(share)}{UNIT}{interval}")
    people = totals(metrics).get("People")
    said = f"Cross-view rank-1{f' of {people} unseen people' if people else ''}: {', '.join(rank1)}"
    if shown[BASELINE].notna().any():
        low, high = percent(shown[BASELINE].min()), percent(shown[BASELINE].max())
        said += f"; the hand-made baseline reaches {low if low == high else f'{low} to {high}'}{UNIT}"
    return f"{said}."


def bars(metrics: Mapping) -> list[dict]:
    """What a page draws of the headline, a bar a probe set: name, value, low, high, baseline, and marks for the same view."""
    frame = headline(metrics).frame.dropna(subset=RANK1)[["Probe set", RANK1, *ENDS, BASELINE, SAME_VIEW]]
    names = ("name", "value", "low", "high", "baseline", "same")
    return [row | {"marks": [row["same"]]} for row in frame.set_axis(names, axis=1).to_dict("records")]


def totals(metrics: Mapping) -> dict[str, int]:
    """The counts that belong to no single probe set, and the iterations: {"People": 20, "Gallery": 80, "Iterations": 600}."""
    counts = {**(metrics.get("counts") or {}), "iterations": metrics.get("iterations")}
    return {_label(key): n for key, n in counts.items() if isinstance(n, int) and n}


def _label(key: str) -> str:
    return key.replace("_", " ").capitalize()


def ranking(metrics: Mapping) -> Table:
    """Measures of the ranking against three galleries."""
    rows = [
        [gallery, name, RANKING[metric], *numbers]
        for gallery, sets in metrics["ranking"].items()
        for name, found in sets.items()
        for metric, numbers in found.items()
    ]
    note = (
        "Single view: one gallery view at a time, identical views left out of the mean. Other views: all gallery walks that were "
        "not seen from the probe's view. All views: all of them. Everyone: the person's gallery walks from other views among all "
        "walks of all other people, in every view and condition. Intervals are over people."
    )
    return Table("Ranking", "Ranking measures", note, frame_of(rows, ["Gallery", "Probe set", "Measure"], ["Value", *ENDS]))


def cmc(metrics: Mapping) -> Table:
    """The cumulative match characteristic: a row a rank, a column a probe set."""
    rows = [[k, *shares] for k, shares in enumerate(zip(*metrics["cmc"].values(), strict=True), 1)]
    note = "The share of probes whose person is among the k nearest of the gallery; views as in the headline table."
    return Table("CMC", "Cumulative match characteristic", note, frame_of(rows, ["Rank"], list(metrics["cmc"])))


def verification(metrics: Mapping) -> Table:
    """Measures of pairs of walks and of the open set."""
    measured = metrics["verification"].items()
    rows = [[name, VERIFICATION[metric], *numbers] for name, found in measured for metric, numbers in found.items()]
    note = (
        "Pairs of walks from different views. TAR at FAR: the share of same-person pairs that are accepted by the threshold that "
        "accepts this share of different-person pairs. DIR at FAR: half of the people are not enrolled; the share of probes of "
        "enrolled people that are accepted and identified correctly, by the threshold that accepts this share of strangers' "
        "probes. Intervals are over people. "
    ) + measured_on(metrics.get("counts") or {}, "verification_people")
    frame = frame_of(rows, ["Probe set", "Measure"], ["Value", *ENDS])
    return Table("Verification", "Verification and open set", note, frame)


def ablations(metrics: Mapping) -> Table:
    """What recognition depends on: a row an ablation, rank-1 and its difference to the first row."""
    table = metrics["ablations"]
    sets = [name for name in table[0]["rank1"] if name != "mean"]
    rows = []
    for row in table:
        mean, shares, same = row["rank1"]["mean"], [row["rank1"][name] for name in sets], row["rank1_same_view"]["mean"]
        rows.append([row["kind"], row["name"], mean, *row["ci95"], *row["difference"], *shares, same])
    note = (
        "Cross-view rank-1. Input: the trained network on altered walks. Halves: second halves of probe walks against first "
        "halves. Codes: linear discriminants of single codes and, as a baseline, of the pose itself. Difference: percentage "
        "points against the first row, paired by person. "
    ) + measured_on(metrics.get("counts") or {}, "study_people")
    frame = frame_of(rows, ["Kind", "Ablation"], ["Mean", *ENDS, "Difference", *ENDS, *sets, "Same view"])
    return Table("Ablations", "What recognition depends on", note, frame, {"Difference": "points"})


def scorecard(metrics: Mapping) -> Table:
    """What can be read from each code, and how much it changes with what it should not hold."""
    rows = [[m[key] for key in ("code", "name", "wanted", "value", "low", "high", "chance")] for m in metrics["scorecard"]]
    note = (
        "Probes: balanced accuracy of a simple classifier on the code; for view and condition trained on training people and "
        "tested on test people, for identity trained on the gallery and tested on the probes. Within / between: the distance "
        "between codes that should agree, divided by that between codes that should not. Lost in a cycle: how far a code moves "
        "when its walk is decoded with another walk's view code and encoded again, divided by the distance between two random "
        "walks. Chance: the accuracy of guessing, or the distance of random walks. "
    ) + measured_on(metrics.get("counts") or {}, "study_people")
    frame = frame_of(rows, ["Code", "Measure", "Wanted"], ["Value", *ENDS, "Chance"])
    return Table("Scorecard", "How well the codes are separated", note, frame)


def exchange(metrics: Mapping) -> Table:
    """How far exchanged views are from what the other camera saw; it stands below the scorecard."""
    rows = [[GUESSES[guess], *values] for guess, values in metrics["exchange"].items()]
    title, value = "Exchanged views: error in % of the torso length", "Error (% of torso length)"
    return Table("Scorecard", title, "", frame_of(rows, ["Guess"], [value, *ENDS]), dict.fromkeys([value, *ENDS], "percent"))


def subjects(metrics: Mapping) -> Table:
    """Rank-1 of each person, the hardest first."""
    people = metrics["subjects"]
    columns = list(dict.fromkeys(name for found in people.values() for name in found))
    rows = [[person, *(found.get(name) for name in columns)] for person, found in people.items()]
    note = "Cross-view rank-1 of each person's probes, the hardest to recognize first."
    frame = frame_of(rows, ["Subject"], [*columns[:-1], "Mean"])
    return Table("Subjects", "Who is hard to recognize", note, frame, shaded=dict.fromkeys(list(frame)[1:], (0, 1)))


def all_measured(metrics: Mapping) -> list[Table]:
    """The tables of what was measured, without the headline, in the order of results.xlsx."""
    return [build(metrics) for build in (ranking, cmc, verification, ablations, scorecard, exchange, subjects)
            if metrics.get(build.__name__)]  # fmt: skip


def measured_on(counts: Mapping, key: str) -> str:
    """How many of the test people a measure was taken on, a sentence; key: `verification_people` or `study_people` of counts."""
    if key not in counts:
        return f"Measured on all {counts['people']:,} people." if "people" in counts else ""
    return (
        f"Measured on {counts[key]:,} of the {counts['people']:,} people, spread evenly over their list. Recognition is easier "
        "among fewer people, so compare only with results on the same number."
    )


def rank1_by_arm(metrics: Mapping) -> pd.DataFrame:
    """For figures.rank1_bars: columns condition, arm, rank1, low, high; the model beside the hand-made baseline."""
    arms = {"model": metrics, "baseline": metrics["baseline"]}
    rows = [[name, arm, of["rank1"][name], *of["ci95"][name]] for name in metrics["rank1"] for arm, of in arms.items()]
    return pd.DataFrame(rows, columns=["condition", "arm", "rank1", "low", "high"])


def left_out(walks: list[Mapping]) -> Table:
    """Walks that were not used: {"source", "reason"} each."""
    note = f"{len(walks)} not used, and why." if walks else "None: every walk that was found was used."
    rows = [[walk.get("source", ""), walk.get("reason", "")] for walk in walks]
    return Table("Left-out walks", "Left-out walks", note, frame_of(rows, ["Source", "Reason"], []))


def key_values(name: str, title: str, content: Mapping) -> Table:
    """Nested keys and values, a row each; numbers and truth values stay what they are."""
    rows = [[key, "" if value is None else value] for key, value in flat(content)]
    return Table(name, title, "", pd.DataFrame(rows, columns=["Key", "Value"], dtype=object))


def overview(runs: Iterable[tuple[Run, str]]) -> list[Table]:
    """All runs, a table a protocol, the best first, and one of those that cannot be read. runs: each with its size as text."""
    protocols, unreadable, links = {}, [], {}
    for run, size in runs:
        if run.problem:
            unreadable.append([run.name, run.problem, size])
            continue
        links[run.name] = f"{quote(run.name)}/index.html"
        protocols.setdefault(str(run.content.get("protocol", "")), []).append([
            run.name if run.is_finished else f"{run.name}, not finished", run.content.get("seed", ""),
            run.provenance.get("start", "–")[:16].replace("T", " "), size,
            run.rank1(), *run.metrics.get("ci95", {}).get("mean", [None, None]), run.validation, run.metrics.get("iterations"),
        ])  # fmt: skip
    found = []
    for protocol, rows in protocols.items():
        frame = frame_of(rows, ["Run", "Seed", "Started", "Size"], ["Rank-1", *ENDS, "Validation", "Iterations"])
        frame = frame[["Run", "Rank-1", *ENDS, "Validation", "Seed", "Iterations", "Started", "Size"]]
        frame = frame.sort_values("Rank-1", ascending=False, kind="stable")
        found.append(Table(protocol, "", "", frame, {"Iterations": "count"}, links=links))
    if unreadable:
        found.append(Table("Unreadable", "", "", frame_of(unreadable, ["Run", "Why", "Size"], [])))
    return found


def paper(matrices: Mapping[str, "RankMatrix"]) -> pd.DataFrame:
    """The table of the field: a row a probe set, a column a probe view, percent with one digit, and the mean of the row."""
    rows = {name: dict(zip([*m.probe_views, "mean"], [*m.probe_margin(), m.mean()], strict=True)) for name, m in matrices.items()}
    return (100 * pd.DataFrame(rows).T.rename_axis("probe set")).map(half_up)


def latex(table: pd.DataFrame) -> str:
    """`paper` for LaTeX; needs booktabs."""
    style = table.reset_index().style.format(precision=1, escape="latex", na_rep="--").hide(axis="index")
    return style.to_latex(hrules=True, column_format="l" + "r" * table.shape[1])
