"""95 % intervals by a bootstrap over people: people are drawn again, never their walks one by one."""

import numpy as np

from gaitlib.evaluation.ranking import RankMatrix


def rank1_intervals(matrices: dict[str, RankMatrix], *, repeats: int = 2000, seed: int = 0) -> dict[str, list[float]]:
    """Percentile intervals of the cross-view rank-1 of each probe set, and of their mean (key "mean").

    The same draw of people is used for all probe sets; the gallery stays as it is.
    Returns name -> [low, high], shares between 0 and 1.
    """
    people = sorted({person for m in matrices.values() for person in m.people})
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(len(people), np.full(len(people), 1 / len(people)), size=repeats)  # times each person is drawn
    scores = {}
    for name, m in matrices.items():
        weight = draws[:, np.searchsorted(people, m.people)].astype(float)
        hits = np.tensordot(weight, m.hits, 1)  # [repeats, P, G]
        probes = np.tensordot(weight, m.probes.astype(float), 1)
        keep = ~m.same_view & (probes > 0)
        cells = np.where(keep, hits / np.maximum(probes, 1), 0)
        count = keep.sum(2)
        margin = np.where(count > 0, cells.sum(2) / np.maximum(count, 1), np.nan)
        scores[name] = np.nanmean(margin, 1)
    scores["mean"] = np.mean(list(scores.values()), 0)
    return {name: [float(v) for v in np.quantile(values, [0.025, 0.975])] for name, values in scores.items()}
