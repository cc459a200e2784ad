"""Scores against a loop over pairs; the equal error rate against a slow sweep of thresholds."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_curve

from gaitlib.evaluation.embedding import Embeddings
from gaitlib.evaluation.verification import cross_view_scores, equal_error_rate


def slow_equal_error_rate(score, same):
    """Raise the threshold over every value; where false matches and false non-matches cross, interpolate."""
    thresholds = [np.inf, *sorted(set(score), reverse=True)]
    points = [((score[~same] >= t).mean(), (score[same] < t).mean()) for t in thresholds]
    for (false_match, missed), (false_match_2, missed_2) in pairwise(points):
        before, after = missed - false_match, missed_2 - false_match_2
        if after <= 0:
            return false_match + before / (before - after) * (false_match_2 - false_match)
    raise AssertionError


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("levels", [3, 20, None])
def test_equal_error_rate_against_a_sweep(seed, levels):
    rng = np.random.default_rng(seed)
    same = rng.random(300) < 0.2
    score = rng.normal(size=300) + 1.2 * same
    if levels:
        score = np.round(score * levels / 5)
    wanted = slow_equal_error_rate(score, same)
    assert equal_error_rate(score, same) == pytest.approx(wanted, abs=1e-12)
    false_match, match, _ = roc_curve(same, score, drop_intermediate=False)
    grid = np.linspace(0, 1, 20001)
    crossing = grid[np.argmin(np.abs(grid - (1 - np.interp(grid, false_match, match))))]
    if not levels or levels > 3:
        assert equal_error_rate(score, same) == pytest.approx(crossing, abs=0.02)


def test_equal_error_rate_at_the_ends():
    same = np.array([True, True, False, False])
    assert equal_error_rate(np.array([2.0, 3.0, 0.0, 1.0]), same) == 0
    assert equal_error_rate(np.array([0.0, 1.0, 2.0, 3.0]), same) == 1
    assert equal_error_rate(np.zeros(4), same) == pytest.approx(0.5)
    assert np.isnan(equal_error_rate(np.zeros(4), np.ones(4, bool)))
    assert np.isnan(equal_error_rate(np.zeros(4), np.zeros(4, bool)))


def walks(people=6, runs=2, seed=0):
    rows = [(f"{p:03d}", v, r) for p in range(people) for v in ("000", "090", "180") for r in range(runs)]
    index = pd.DataFrame(rows, columns=["subject", "view", "run"])
    values = np.random.default_rng(seed).normal(size=(len(rows), 8)).astype(np.float32)
    return Embeddings(values / np.linalg.norm(values, axis=1, keepdims=True), index)


def test_cross_view_scores_are_all_pairs_in_different_views():
    embeddings = walks(people=10)
    gallery = (embeddings.index["run"] == 0).to_numpy()
    embeddings.values[:12] = embeddings.values[0] + 1e-4 * embeddings.values[:12]  # two people nearly alike: cancellation
    score, same = cross_view_scores(embeddings, gallery, ~gallery)
    wanted, wanted_same = [], []
    for p in np.flatnonzero(~gallery):
        for g in np.flatnonzero(gallery):
            a, b = embeddings.index.iloc[p], embeddings.index.iloc[g]
            if a["view"] != b["view"]:
                wanted.append(-np.linalg.norm(embeddings.values[p].astype(float) - embeddings.values[g]))
                wanted_same.append(a["subject"] == b["subject"])
    np.testing.assert_allclose(score, wanted, atol=1e-6)
    assert same.tolist() == wanted_same


def test_a_constant_embedding_verifies_nobody():
    embeddings = walks(people=20)
    embeddings.values[:] = embeddings.values[0]
    gallery = (embeddings.index["run"] == 0).to_numpy()
    score, same = cross_view_scores(embeddings, gallery, ~gallery)
    assert (score == 0).all()
    assert equal_error_rate(score, same) == pytest.approx(0.5)
