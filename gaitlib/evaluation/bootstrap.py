"""95 % intervals by a bootstrap over people: people are resampled, never single walks.

Walks of one person resemble each other, so resampling walks would claim too much certainty. The percentiles are those
of Hesterberg (The American Statistician, 2015): a little beyond 2.5 and 97.5, because a bootstrap of n people is too narrow by
what the t distribution and the factor n - 1 instead of n correct in a textbook interval.
"""

import math
from collections.abc import Mapping

import numpy as np
from scipy.special import ndtr, stdtrit

from gaitlib import InputError
from gaitlib.evaluation.ranking import RankMatrix, finite_mean


def draw_people(people: int, repeats: int, seed: int) -> np.ndarray:
    """How many times each person is drawn: float64 [repeats, people]; every row adds up to `people`."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(people, np.full(people, 1 / max(people, 1)), size=repeats).astype(float)


def interval(draws: np.ndarray, people: int) -> list[float]:
    """[low, high] of a statistic over its finite draws; NaN if there are none, or only one person."""
    draws = draws[np.isfinite(draws)]
    if not len(draws) or people < 2:
        return [float("nan")] * 2
    tail = ndtr(math.sqrt(people / (people - 1)) * stdtrit(people - 1, 0.025))
    return [float(v) for v in np.quantile(draws, [tail, 1 - tail])]


def mean_interval(values: np.ndarray, *, repeats: int = 2000, seed: int = 0) -> list[float]:
    """The interval of the mean of one value per person: float [people], NaN = not measured."""
    values = np.asarray(values, float)
    values = values[np.isfinite(values)]
    return interval(draw_people(len(values), repeats, seed) @ values / max(len(values), 1), len(values))


def _drawn_means(
    matrices: Mapping[str, RankMatrix], metric: str, repeats: int, seed: int
) -> tuple[dict[str, np.ndarray], dict[str, int]]:
    """The cross-view mean of each probe set and of all ("mean") in every draw, float64 [repeats]; and the numbers of people."""
    people = sorted({person for m in matrices.values() for person in m.people})
    draws = draw_people(len(people), repeats, seed)
    means = {}
    for name, m in matrices.items():
        weight = draws[:, np.searchsorted(people, m.people)]
        total = np.tensordot(weight, m.sums[metric], 1)  # [repeats, P, G]
        probes = np.tensordot(weight, m.probes.astype(float), 1)
        margin = finite_mean(total / np.maximum(probes, 1), ~m.same_view & (probes > 0), 2)
        means[name] = finite_mean(margin, True, 1)  # NaN if none of its people was drawn
    means["mean"] = finite_mean(np.stack(list(means.values())), True, 0)
    return means, {**{name: len(m.people) for name, m in matrices.items()}, "mean": len(people)}


def rank_intervals(
    matrices: Mapping[str, RankMatrix], *, metric: str = "rank1", repeats: int = 2000, seed: int = 0
) -> dict[str, list[float]]:
    """Intervals of the cross-view mean of a metric for each probe set, and for their mean (key "mean").

    The same draw of people is used for all probe sets; the gallery stays as it is.
    Returns name -> [low, high], shares between 0 and 1; NaN if nothing was compared. Draws that leave a probe set without
    people are ignored for that set.
    """
    means, people = _drawn_means(matrices, metric, repeats, seed)
    return {name: interval(values, people[name]) for name, values in means.items()}


def paired_differences(
    a: Mapping[str, RankMatrix], b: Mapping[str, RankMatrix], *, metric: str = "rank1", repeats: int = 2000, seed: int = 0
) -> dict[str, list[float]]:
    """How much better a is than b, with the interval of the difference: name -> [difference, low, high].

    Both runs are evaluated on the same draws of the same people, which cancels differences in difficulty between people.
    Raises InputError if the runs have no probe set in common, or different people in one.
    """
    common = [name for name in a if name in b]
    if not common:
        raise InputError(f"The runs have no probe set in common: {', '.join(a)} and {', '.join(b)}.")
    for name in common:
        if a[name].people != b[name].people:
            raise InputError(f"Probe set {name} has different people in the two runs; they cannot be paired.")
    (ours, people), (theirs, _) = (_drawn_means({n: m[n] for n in common}, metric, repeats, seed) for m in (a, b))
    result = {}
    for name in (*common, "mean"):
        wanted = common if name == "mean" else [name]
        first, second = (finite_mean(np.array([m[n].mean(metric) for n in wanted]), True, 0) for m in (a, b))
        result[name] = [float(first - second), *interval(ours[name] - theirs[name], people[name])]
    return result
