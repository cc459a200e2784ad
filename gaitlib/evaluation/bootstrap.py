"""95 % intervals by a bootstrap over people: people are drawn again, never their walks one by one."""

import numpy as np

from gaitlib.evaluation.ranking import RankMatrix, finite_mean


def rank1_intervals(matrices: dict[str, RankMatrix], *, repeats: int = 2000, seed: int = 0) -> dict[str, list[float]]:
    """Percentile intervals of the cross-view rank-1 of each probe set, and of their mean (key "mean").

    The same draw of people is used for all probe sets; the gallery stays as it is.
    Returns name -> [low, high], shares between 0 and 1; NaN where nothing was compared. Draws that leave a probe set without
    people do not count for it.
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
        margin = finite_mean(hits / np.maximum(probes, 1), keep, 2)
        scores[name] = finite_mean(margin, True, 1)  # NaN where none of its people was drawn
    scores["mean"] = finite_mean(np.stack(list(scores.values())), True, 0)
    return {name: _interval(values[np.isfinite(values)]) for name, values in scores.items()}


def _interval(values: np.ndarray) -> list[float]:
    return [float(v) for v in np.quantile(values, [0.025, 0.975])] if len(values) else [float("nan")] * 2
