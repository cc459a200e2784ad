"""Intervals over people: they hold the estimate, shrink with people and are nothing where there is no doubt."""

import warnings

import numpy as np
import pytest

from gaitlib.evaluation.bootstrap import rank1_intervals
from gaitlib.evaluation.ranking import RankMatrix

VIEWS = ["000", "090", "180"]


def matrix(hits, probes, people=None, views=VIEWS):
    """hits, probes: [people, P, G]."""
    with np.errstate(invalid="ignore"):
        values = hits.sum(0) / probes.sum(0)
    people = people or [f"{n:03d}" for n in range(len(hits))]
    return RankMatrix("NM", list(views), list(views), values, values, probes.sum(0), people, hits, probes)


def random_matrix(people, seed=0):
    """People differ: some are always found, some rarely."""
    rng = np.random.default_rng(seed)
    probes = np.full((people, 3, 3), 4)
    return matrix(rng.binomial(probes, rng.beta(1, 1, (people, 1, 1))).astype(float), probes)


def slow_intervals(m, repeats, seed):
    rng = np.random.default_rng(seed)
    n, scores = len(m.people), []
    for times in rng.multinomial(n, np.full(n, 1 / n), size=repeats):
        drawn = np.repeat(np.arange(n), times)
        scores.append(matrix(m.hits[drawn], m.probes[drawn]).mean())
    return np.quantile(scores, [0.025, 0.975])


def test_intervals_against_a_loop_over_draws():
    m = random_matrix(12)
    np.testing.assert_allclose(rank1_intervals({"NM": m}, repeats=300, seed=4)["NM"], slow_intervals(m, 300, 4))


@pytest.mark.parametrize("seed", range(4))
def test_the_interval_holds_the_estimate(seed):
    sets = {"NM": random_matrix(15, seed), "BG": random_matrix(15, seed + 10)}
    intervals = rank1_intervals(sets)
    means = {name: m.mean() for name, m in sets.items()}
    means["mean"] = np.mean(list(means.values()))
    assert set(intervals) == {"NM", "BG", "mean"}
    for name, (low, high) in intervals.items():
        assert 0 <= low < means[name] < high <= 1


def test_no_doubt_no_width():
    probes = np.full((5, 3, 3), 2)
    assert rank1_intervals({"NM": matrix(probes.astype(float), probes)}) == {"NM": [1.0, 1.0], "mean": [1.0, 1.0]}
    assert rank1_intervals({"NM": matrix(0.0 * probes, probes)})["NM"] == [0.0, 0.0]


def test_fewer_people_make_a_wider_interval():
    def width(people):
        return np.mean([np.ptp(rank1_intervals({"NM": random_matrix(people, s)})["NM"]) for s in range(5)])

    assert width(6) > 1.5 * width(40)


def test_all_probe_sets_share_the_draws():
    m = random_matrix(12)
    opposite = matrix(m.probes - m.hits, m.probes)
    intervals = rank1_intervals({"NM": m, "CL": opposite})
    np.testing.assert_allclose(intervals["mean"], [0.5, 0.5])  # drawn apart, the mean of the two would scatter
    again = rank1_intervals({"NM": m, "BG": m, "CL": m})
    assert again["NM"] == again["BG"] == again["CL"] == again["mean"] == intervals["NM"]


def test_the_seed_decides():
    m = random_matrix(12)
    assert rank1_intervals({"NM": m}, seed=1) == rank1_intervals({"NM": m}, seed=1)
    assert rank1_intervals({"NM": m}, seed=1) != rank1_intervals({"NM": m}, seed=2)


def test_same_view_cells_do_not_count():
    m = random_matrix(12)
    spoiled = m.hits.copy()
    spoiled[:, np.arange(3), np.arange(3)] = 0
    assert rank1_intervals({"NM": m}) == rank1_intervals({"NM": matrix(spoiled, m.probes)})


def test_a_probe_set_that_few_people_have():
    """Draws without any of its people say nothing about it; they must not spoil the interval."""
    everyone = random_matrix(6)
    probes = np.full((2, 3, 3), 2)
    hits = np.stack([np.full((3, 3), 2.0), np.full((3, 3), 1.0)])
    few = matrix(hits, probes, people=["001", "004"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        intervals = rank1_intervals({"NM": everyone, "CL": few})
    assert intervals["CL"] == [0.5, 1.0]
    assert np.isfinite(intervals["mean"]).all()
    assert intervals["NM"] == rank1_intervals({"NM": everyone})["NM"]


def test_one_view_alone_has_no_interval():
    m = matrix(np.ones((4, 1, 1)), np.ones((4, 1, 1), int), views=["000"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(rank1_intervals({"NM": m})["NM"]).all()
