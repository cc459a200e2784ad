"""The results of an evaluation: the numbers of metrics.json and the data behind them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gaitlib.evaluation.bootstrap import paired_differences, rank_intervals
from gaitlib.evaluation.embedding import Embeddings
from gaitlib.evaluation.ranking import GALLERIES, METRICS, RankMatrix, rank_matrix, with_mean
from gaitlib.evaluation.verification import Scores, cross_view_scores, open_set_metrics, verification_metrics

#: Pairs of walks are scored for at most this many people, spread evenly, because their number grows with the square.
VERIFICATION_PEOPLE = 200


@dataclass(frozen=True)
class Evaluation:
    """metrics: the content of metrics.json. matrices, baseline_matrices: probe set -> one gallery view at a time. scores: probe
    set -> pairs of walks. embeddings: one row per test walk."""

    metrics: dict
    matrices: dict[str, RankMatrix]
    baseline_matrices: dict[str, RankMatrix]
    scores: dict[str, Scores]
    embeddings: Embeddings


def evaluate(
    embeddings: Embeddings, baseline: Embeddings, gallery: np.ndarray, probes: Mapping[str, np.ndarray], *,
    repeats: int = 2000, seed: int = 0,
) -> Evaluation:  # fmt: skip
    """All results that depend only on embeddings; gallery, probes: bool [N] over their rows.

    In metrics, a triple is a value with the two ends of its 95 % interval.
    """

    def ranked(found: Embeddings, against: str) -> dict[str, RankMatrix]:
        """The matrix of each probe set."""
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
        "rank1_everyone": with_mean({n: m.mean() for n, m in galleries["everyone"].items()}),
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
    each = pd.DataFrame({name: m.per_person() for name, m in matrices.items()})
    hardest_first = each.assign(mean=each.mean(axis=1)).sort_values("mean", kind="stable")
    metrics["subjects"] = hardest_first.to_dict("index")
    return Evaluation(metrics, matrices, hand_made, scores, embeddings)
