"""Intervals over people: they hold the estimate, shrink with people and are nothing where there is no doubt."""

import warnings
from functools import cache
from statistics import NormalDist

import numpy as np
import pytest
from scipy.stats import t

from gaitlib import InputError
from gaitlib.evaluation import bootstrap
from gaitlib.evaluation.bootstrap import mean_interval, paired_differences, rank_intervals
from gaitlib.evaluation.ranking import METRICS, MOST_RANKS, RankMatrix

VIEWS = ["000", "090", "180"]


def matrix(hits, probes, people=None, views=VIEWS):
    """hits, probes: [people, P, G]."""
    people = people or [f"{n:03d}" for n in range(len(hits))]
    sums = dict.fromkeys(METRICS, hits)
    return RankMatrix("NM", list(views), list(views), people, sums, probes, np.zeros((MOST_RANKS, *hits.shape[1:])))


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
        scores.append(matrix(m.sums["rank1"][drawn], m.probes[drawn]).mean())
    # as far out in a normal distribution as sqrt(n / (n - 1)) times the t quantile
    out = NormalDist().cdf(np.sqrt(n / (n - 1)) * t.ppf(0.025, n - 1))
    return np.quantile(scores, [out, 1 - out])


def test_intervals_against_a_loop_over_draws():
    m = random_matrix(12)
    np.testing.assert_allclose(rank_intervals({"NM": m}, repeats=300, seed=4)["NM"], slow_intervals(m, 300, 4))


@pytest.mark.parametrize("seed", range(4))
def test_the_interval_holds_the_estimate(seed):
    sets = {"NM": random_matrix(15, seed), "BG": random_matrix(15, seed + 10)}
    intervals = rank_intervals(sets)
    means = {name: m.mean() for name, m in sets.items()}
    means["mean"] = np.mean(list(means.values()))
    assert set(intervals) == {"NM", "BG", "mean"}
    for name, (low, high) in intervals.items():
        assert 0 <= low < means[name] < high <= 1


def test_no_doubt_no_width():
    probes = np.full((5, 3, 3), 2)
    assert rank_intervals({"NM": matrix(probes.astype(float), probes)}) == {"NM": [1.0, 1.0], "mean": [1.0, 1.0]}
    assert rank_intervals({"NM": matrix(0.0 * probes, probes)})["NM"] == [0.0, 0.0]


def test_fewer_people_make_a_wider_interval():
    def width(people):
        return np.mean([np.ptp(rank_intervals({"NM": random_matrix(people, s)})["NM"]) for s in range(5)])

    assert width(6) > 1.5 * width(40)


def test_all_probe_sets_share_the_draws():
    m = random_matrix(12)
    opposite = matrix(m.probes - m.sums["rank1"], m.probes)
    intervals = rank_intervals({"NM": m, "CL": opposite})
    np.testing.assert_allclose(intervals["mean"], [0.5, 0.5])  # drawn apart, the mean of the two would scatter
    again = rank_intervals({"NM": m, "BG": m, "CL": m})
    assert again["NM"] == again["BG"] == again["CL"] == again["mean"] == intervals["NM"]


def test_the_seed_decides():
    m = random_matrix(12)
    assert rank_intervals({"NM": m}, seed=1) == rank_intervals({"NM": m}, seed=1)
    assert rank_intervals({"NM": m}, seed=1) != rank_intervals({"NM": m}, seed=2)


def test_same_view_cells_do_not_count():
    m = random_matrix(12)
    spoiled = m.sums["rank1"].copy()
    spoiled[:, np.arange(3), np.arange(3)] = 0
    assert rank_intervals({"NM": m}) == rank_intervals({"NM": matrix(spoiled, m.probes)})


def test_a_probe_set_that_few_people_have():
    """Draws without any of its people say nothing about it; they must not spoil the interval."""
    everyone = random_matrix(6)
    probes = np.full((2, 3, 3), 2)
    hits = np.stack([np.full((3, 3), 2.0), np.full((3, 3), 1.0)])
    few = matrix(hits, probes, people=["001", "004"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        intervals = rank_intervals({"NM": everyone, "CL": few})
    assert intervals["CL"] == [0.5, 1.0]
    assert np.isfinite(intervals["mean"]).all()
    assert intervals["NM"] == rank_intervals({"NM": everyone})["NM"]


def test_one_view_alone_has_no_interval():
    m = matrix(np.ones((4, 1, 1)), np.ones((4, 1, 1), int), views=["000"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(rank_intervals({"NM": m})["NM"]).all()


@pytest.mark.parametrize("truth", [0.7, 0.9])
def test_intervals_hold_the_truth_as_often_as_they_say(truth, monkeypatch):
    """500 experiments on 50 people each, who differ: the interval should hold the rank-1 of all people in 95 % of them.

    Drawing again takes longest, and the same twenty draws do for all experiments.
    """
    monkeypatch.setattr(bootstrap, "draw_people", cache(bootstrap.draw_people))
    rng = np.random.default_rng(5)
    probes = np.full((50, 3, 3), 2)
    held = 0
    for seed in range(500):
        ability = rng.beta(5 * truth, 5 * (1 - truth), (50, 1, 1))
        sample = matrix(rng.binomial(probes, ability).astype(float), probes)
        low, high = rank_intervals({"NM": sample}, repeats=400, seed=seed % 20)["NM"]
        held += low <= truth <= high
    assert 0.92 <= held / 500 <= 0.98


def test_a_difference_is_seen_through_the_same_people():
    rng = np.random.default_rng(0)
    probes = np.full((30, 3, 3), 4)
    b = rng.binomial(probes, rng.beta(1, 1, (30, 1, 1))).astype(float)
    a = b.copy()
    a[:20] = np.minimum(a[:20] + 1, 4)  # better for most, worse for nobody
    better, worse = {"NM": matrix(a, probes)}, {"NM": matrix(b, probes)}
    difference, low, high = paired_differences(better, worse)["NM"]
    assert difference == pytest.approx(better["NM"].mean() - worse["NM"].mean())
    assert 0 < low < difference < high
    (a_low, a_high), (_, b_high) = (rank_intervals(m)["NM"] for m in (better, worse))
    assert a_low < b_high  # apart, the two intervals overlap
    assert high - low < (a_high - a_low) / 2
    assert paired_differences(better, better)["mean"] == [0, 0, 0]
    np.testing.assert_allclose(paired_differences(worse, better)["NM"], [-difference, -high, -low])


def test_a_probe_set_of_one_view_leaves_the_mean_of_the_others():
    alone = matrix(np.ones((12, 1, 1)), np.ones((12, 1, 1), int), views=["000"])
    better, worse = random_matrix(12, 1), random_matrix(12, 2)
    found = paired_differences({"NM": better, "ONE": alone}, {"NM": worse, "ONE": alone})
    assert found["mean"] == pytest.approx(found["NM"])
    assert np.isnan(found["ONE"]).all()


def test_differences_of_other_people_are_refused():
    with pytest.raises(InputError, match="different people"):
        paired_differences({"NM": random_matrix(5)}, {"NM": random_matrix(6)})
    with pytest.raises(InputError, match="no probe set in common"):
        paired_differences({"NM": random_matrix(5)}, {"CL": random_matrix(5)})


def test_the_interval_of_a_mean_is_about_that_of_a_textbook():
    values = np.random.default_rng(0).normal(3, 1, 40)
    low, high = mean_interval(np.append(values, np.nan), repeats=20_000)
    half = t.ppf(0.975, 39) * values.std(ddof=1) / np.sqrt(40)
    np.testing.assert_allclose([low, high], values.mean() + half * np.array([-1, 1]), atol=0.05 * half)
    assert np.isnan(mean_interval(np.array([1.0]))).all()
