"""All that an evaluation found, as tables: for metrics.json, the notebook, Excel and a paper."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gaitlib.evaluation.bootstrap import paired_differences, rank_intervals
from gaitlib.evaluation.embedding import Embeddings
from gaitlib.evaluation.ranking import GALLERIES, METRICS, RankMatrix, rank_matrix, with_mean
from gaitlib.evaluation.verification import (
    FAR,
    OPEN_FAR,
    Scores,
    cross_view_scores,
    open_set_metrics,
    verification_metrics,
)
from gaitlib.rounding import half_up, percent

#: Pairs of walks are scored for so many people at most, spread evenly; their number grows with the square.
VERIFICATION_PEOPLE = 200
#: Columns of the verification table: key in metrics.json -> name.
VERIFICATION = {
    "eer": "EER",
    **{f"tar_at_far_{far:g}": f"TAR at FAR {far:.1%}" for far in FAR},
    **{f"dir_at_far_{far:g}": f"DIR at FAR {far:.0%}" for far in OPEN_FAR},
}
#: What exchanged views are compared with: key in metrics.json -> name.
GUESSES = {"exchange": "exchanged view", "copy": "the walk as it is", "mean_walk": "mean walk of that view"}
RANKING = {"rank1": "Rank-1", "rank5": "Rank-5", "rank10": "Rank-10", "map": "mAP", "minp": "mINP"}


@dataclass(frozen=True)
class Evaluation:
    """metrics: what goes into metrics.json. matrices, baseline_matrices: probe set -> one gallery view at a time. scores: probe
    set -> pairs of walks. embeddings: a row a test walk."""

    metrics: dict
    matrices: dict[str, RankMatrix]
    baseline_matrices: dict[str, RankMatrix]
    scores: dict[str, Scores]
    embeddings: Embeddings

    def to_frame(self) -> pd.DataFrame:
        """A row a probe set: rank-1 with its interval, same view, mAP, EER, baseline; shares between 0 and 1."""
        m = self.metrics
        return pd.DataFrame(
            {
                "rank-1, other views": m["rank1"],
                "95 % low": {k: v[0] for k, v in m["ci95"].items()},
                "95 % high": {k: v[1] for k, v in m["ci95"].items()},
                "rank-1, same view": m["rank1_same_view"],
                "mAP": m["map"],
                "EER": m["eer"],
                "baseline, other views": m["baseline"]["rank1"],
                "baseline, same view": m["baseline"]["rank1_same_view"],
            }
        )

    def bars(self) -> pd.DataFrame:
        """For figures.rank1_bars: columns condition, arm, rank1, low, high."""
        rows = []
        for name, rank1 in self.metrics["rank1"].items():
            rows.append([name, "model", rank1, *self.metrics["ci95"][name]])
            rows.append([name, "baseline", self.metrics["baseline"]["rank1"][name], *self.metrics["baseline"]["ci95"][name]])
        return pd.DataFrame(rows, columns=["condition", "arm", "rank1", "low", "high"])

    def ranking_frame(self) -> pd.DataFrame:
        """A row a probe set and gallery: RANKING, each with its interval; texts to be read."""
        return pd.DataFrame(
            {
                f"{name}, {gallery}": {RANKING[metric]: with_interval(*values) for metric, values in found.items()}
                for gallery, sets in self.metrics["ranking"].items()
                for name, found in sets.items()
            }
        ).T

    def verification_frame(self) -> pd.DataFrame:
        """A row a probe set: VERIFICATION, each with its interval; texts to be read."""
        return pd.DataFrame(
            {
                name: {VERIFICATION[metric]: with_interval(*values) for metric, values in found.items()}
                for name, found in self.metrics["verification"].items()
            }
        ).T

    def subjects_frame(self) -> pd.DataFrame:
        """Rank-1 across views of each person in each probe set and the mean, hardest first; shares."""
        table = pd.DataFrame({name: m.per_person() for name, m in self.matrices.items()})
        return table.assign(mean=table.mean(axis=1)).sort_values("mean", kind="stable")

    def paper_frame(self) -> pd.DataFrame:
        """The table of the field: a row a probe set, a column a probe view, percent with one digit, and the mean of the row."""
        rows = {
            name: {**dict(zip(m.probe_views, m.probe_margin(), strict=True)), "mean": m.mean()}
            for name, m in self.matrices.items()
        }
        return (100 * pd.DataFrame(rows).T.rename_axis("probe set")).map(half_up)

    def to_latex(self) -> str:
        """`paper_frame` for a paper; needs booktabs."""
        style = self.paper_frame().reset_index().style.format(precision=1, escape="latex", na_rep="--").hide(axis="index")
        return style.to_latex(hrules=True, column_format="l" + "r" * (self.paper_frame().shape[1]))

    def to_markdown(self) -> str:
        return self.paper_frame().to_markdown(floatfmt=".1f")


def ablation_frame(table: pd.DataFrame) -> pd.DataFrame:
    """`Experiment.ablations` to be read: a row an ablation, rank-1 in percent."""
    rows = {
        row.name: {
            "mean": with_interval(row.rank1["mean"], *row.ci95),
            "difference": with_interval(*row.difference),
            **{name: with_interval(share) for name, share in row.rank1.items() if name != "mean"},
            "same view": with_interval(row.rank1_same_view["mean"]),
            "kind": row.kind,
        }
        for row in table.itertuples(index=False)
    }
    return pd.DataFrame(rows).T


def scorecard_frame(table: pd.DataFrame) -> pd.DataFrame:
    """`Experiment.scorecard` to be read: a row a measure, a column a code, percent with 95 % intervals."""
    texts = table.assign(text=[with_interval(r.value, r.low, r.high) for r in table.itertuples()])
    frame = texts.pivot(index="name", columns="code", values="text").reindex(table["name"].drop_duplicates())
    return frame[list(dict.fromkeys(table["code"]))].fillna("–").rename_axis(index=None, columns=None)


def exchange_frame(summary: Mapping[str, list[float]]) -> pd.DataFrame:
    """`ExchangeErrors.summary` to be read: a row a guess."""
    texts = {GUESSES[guess]: with_interval(*(share / 100 for share in values)) for guess, values in summary.items()}
    return pd.DataFrame({"error (% of torso length)": texts})


def measured_on(counts: Mapping, key: str) -> str:
    """How many of the test people a measure was taken on, a sentence; key: `verification_people` or `study_people` of counts."""
    if key not in counts:
        return f"Measured on all {counts['people']:,} people." if "people" in counts else ""
    return (
        f"Measured on {counts[key]:,} of the {counts['people']:,} people, spread evenly over their list. Among fewer people "
        "one is found more easily, so compare with results on as many only."
    )


def with_interval(value: float | None, low: float | None = None, high: float | None = None) -> str:
    """A share with its interval, in percent: "95.3 [91.2, 98.4]"."""
    value, *ends = np.array([value, low, high], float)  # None, as in JSON, is NaN
    if not np.isfinite(value):
        return "–"
    interval = f"\u00a0[{percent(ends[0])},\u00a0{percent(ends[1])}]" if np.isfinite(ends).all() else ""  # no-break spaces
    return percent(value) + interval


def evaluate(
    embeddings: Embeddings, baseline: Embeddings, gallery: np.ndarray, probes: Mapping[str, np.ndarray], *,
    repeats: int = 2000, seed: int = 0,
) -> Evaluation:  # fmt: skip
    """Every number that embeddings alone decide; gallery, probes: bool [N] over their rows.

    In metrics, a triple is a value with the two ends of its 95 % interval.
    """

    def ranked(found: Embeddings, against: str) -> dict[str, RankMatrix]:
        return {name: rank_matrix(found, gallery, rows, name, against) for name, rows in probes.items()}

    galleries = {against: ranked(embeddings, against) for against in GALLERIES}
    matrices, hand_made = galleries["single view"], ranked(baseline, "single view")
    drawn = {"repeats": repeats, "seed": seed}
    ranking = {}
    for against, found in galleries.items():
        ends = {metric: rank_intervals(found, metric=metric, **drawn) for metric in METRICS}
        ranking[against] = {
            name: {metric: [m.mean(metric), *ends[metric][name]] for metric in METRICS} for name, m in found.items()
        }
    index = embeddings.index
    people = index["subject"].unique()
    few = index["subject"].isin(people[np.unique(np.linspace(0, len(people) - 1, VERIFICATION_PEOPLE).astype(int))]).to_numpy()
    some = Embeddings(embeddings.values[few], index[few])
    scores = {name: cross_view_scores(some, gallery[few], rows[few]) for name, rows in probes.items()}
    verification = {
        name: verification_metrics(scores[name], **drawn) | open_set_metrics(some, gallery[few], rows[few], **drawn)
        for name, rows in probes.items()
    }
    metrics = {
        "rank1": with_mean({n: m.mean() for n, m in matrices.items()}),
        "rank1_same_view": with_mean({n: m.same_view_mean() for n, m in matrices.items()}),
        "ci95": rank_intervals(matrices, **drawn),
        "map": with_mean({n: m.mean("map") for n, m in matrices.items()}),
        "eer": with_mean({n: v["eer"][0] for n, v in verification.items()}),
        "ranking": ranking,
        "cmc": {name: m.curve().tolist() for name, m in matrices.items()},
        "verification": verification,
        "baseline": {
            "rank1": with_mean({n: m.mean() for n, m in hand_made.items()}),
            "rank1_same_view": with_mean({n: m.same_view_mean() for n, m in hand_made.items()}),
            "ci95": rank_intervals(hand_made, **drawn),
        },
        "over_baseline": paired_differences(matrices, hand_made, **drawn),
    }
    evaluation = Evaluation(metrics, matrices, hand_made, scores, embeddings)
    metrics["subjects"] = evaluation.subjects_frame().to_dict("index")
    return evaluation
