"""Scores against a loop over pairs; the equal error rate against a slow sweep of thresholds."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_curve

from gaitlib.evaluation import results, verification
from gaitlib.evaluation.bootstrap import draw_people, interval
from gaitlib.evaluation.embedding import Embeddings
from gaitlib.evaluation.results import evaluate
from gaitlib.evaluation.verification import (
    cross_view_scores,
    detection_error,
    equal_error_rate,
    open_set_metrics,
    true_acceptance,
    verification_metrics,
)


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
    found = cross_view_scores(embeddings, gallery, ~gallery)
    score, same = found.score, found.same
    wanted, wanted_same, people = [], [], []
    for p in np.flatnonzero(~gallery):
        for g in np.flatnonzero(gallery):
            a, b = embeddings.index.iloc[p], embeddings.index.iloc[g]
            if a["view"] != b["view"]:
                wanted.append(-np.linalg.norm(embeddings.values[p].astype(float) - embeddings.values[g]))
                wanted_same.append(a["subject"] == b["subject"])
                people.append(a["subject"])
    np.testing.assert_allclose(score, wanted, atol=1e-6)
    assert same.tolist() == wanted_same
    assert [f"{i:03d}" for i in found.person] == people


def test_a_constant_embedding_verifies_nobody():
    embeddings = walks(people=20)
    embeddings.values[:] = embeddings.values[0]
    gallery = (embeddings.index["run"] == 0).to_numpy()
    scores = cross_view_scores(embeddings, gallery, ~gallery)
    assert (scores.score == 0).all()
    found = verification_metrics(scores, repeats=50)
    np.testing.assert_allclose(found["eer"], 0.5)
    assert found["tar_at_far_0.01"] == found["tar_at_far_0.001"] == [0, 0, 0]
    found = open_set_metrics(embeddings, gallery, ~gallery, repeats=50)
    assert found["dir_at_far_0.1"] == found["dir_at_far_0.01"] == [0, 0, 0]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("levels", [4, None])
@pytest.mark.parametrize("far", [0.0, 0.01, 0.1, 0.5])
def test_true_acceptance_against_a_sweep(seed, levels, far):
    rng = np.random.default_rng(seed)
    same = rng.random(400) < 0.2
    score = rng.normal(size=400) + 1.2 * same
    if levels:
        score = np.round(score * levels / 5)
    thresholds = [np.inf, *sorted(set(score), reverse=True)]
    wanted = max((score[same] >= t).mean() for t in thresholds if (score[~same] >= t).mean() <= far)
    assert true_acceptance(score, same, far) == pytest.approx(wanted, abs=1e-12)
    assert np.isnan(true_acceptance(score, np.ones(400, bool), far))


def test_the_detection_error_curve_is_thinned_out_and_stays_on_the_curve(monkeypatch):
    monkeypatch.setattr("gaitlib.evaluation.verification.CURVE", 100)
    rng = np.random.default_rng(0)
    same = rng.random(20_000) < 0.2
    score = rng.normal(size=20_000) + 2 * same
    curve = detection_error(score, same)
    assert 20 < len(curve) <= 100
    for far, frr in curve.itertuples(index=False):
        strangers = np.sort(score[~same])[::-1]
        accepted = round(far * len(strangers))
        loosest = -np.inf if accepted == len(strangers) else strangers[accepted]  # the last threshold that accepts so many
        strictest = strangers[accepted - 1] if accepted else np.inf
        assert (score[same] <= loosest).mean() - 1e-9 <= frr <= (score[same] < strictest).mean() + 1e-9
    assert detection_error(score, np.zeros(20_000, bool)).empty


def separated(people=12, seed=0, spread=0.35):
    """People who lie apart, with some overlap."""
    embeddings = walks(people, runs=4, seed=seed)
    rng = np.random.default_rng(seed)
    means = rng.normal(size=(people, 8))
    person = pd.factorize(embeddings.index["subject"])[0]
    values = means[person] + spread * 2 * rng.normal(size=(len(person), 8))
    return Embeddings(values.astype(np.float32), embeddings.index)


def test_intervals_of_verification_hold_the_exact_values_and_agree_with_a_loop():
    embeddings = separated()
    gallery = (embeddings.index["run"] < 2).to_numpy()
    scores = cross_view_scores(embeddings, gallery, ~gallery)
    found = verification_metrics(scores, repeats=100, seed=3)
    people = np.unique(scores.person)
    slow = {"eer": [], "tar_at_far_0.01": []}
    for times in draw_people(len(people), 100, 3):
        rows = np.repeat(np.arange(len(scores.person)), times[np.searchsorted(people, scores.person)].astype(int))
        slow["eer"].append(equal_error_rate(scores.score[rows], scores.same[rows]))
        slow["tar_at_far_0.01"].append(true_acceptance(scores.score[rows], scores.same[rows], 0.01))
    for name, draws in slow.items():
        value, low, high = found[name]
        assert low <= value <= high
        np.testing.assert_allclose([low, high], interval(np.array(draws), len(people)), atol=0.015)


def test_open_set_identification_against_loops(monkeypatch):
    monkeypatch.setattr("gaitlib.evaluation.verification.ENROLLMENTS", 5)
    embeddings = separated(people=9)
    values = embeddings.values.astype(float)
    subject, view = (embeddings.index[column].tolist() for column in ("subject", "view"))
    gallery = (embeddings.index["run"] < 2).to_numpy()
    distances = np.linalg.norm(values[:, None] - values, axis=2).tolist()
    rng = np.random.default_rng(1)
    people = sorted(set(subject))
    wanted = []
    for _ in range(5):
        enrolled = {people[i] for i in rng.permutation(9)[:4]}
        known, strangers = [], []
        for p in np.flatnonzero(~gallery):
            candidates = [
                (distances[p][g], subject[g]) for g in np.flatnonzero(gallery) if subject[g] in enrolled and view[g] != view[p]
            ]
            distance, who = min(candidates)
            (known if subject[p] in enrolled else strangers).append((distance, who == subject[p]))
        for far in (0.1, 0.01):
            thresholds = [t for t, _ in known + strangers if np.mean([d <= t for d, _ in strangers]) <= far]
            threshold = max(thresholds, default=-1)
            wanted.append(np.mean([d <= threshold and right for d, right in known]))
    found = open_set_metrics(embeddings, gallery, ~gallery, repeats=200, seed=1)
    for k, name in enumerate(("dir_at_far_0.1", "dir_at_far_0.01")):
        value, low, high = found[name]
        assert value == pytest.approx(np.mean(wanted[k::2]), abs=1e-9)
        assert low <= value <= high


def test_people_are_drawn_once_and_among_those_measured_only(monkeypatch):
    """It was once for every way to enroll half of the people, and among everybody there is."""
    drawn = []
    monkeypatch.setattr(verification, "draw_people", lambda people, *rest: drawn.append(people) or draw_people(people, *rest))
    embeddings = separated(people=12)
    gallery = (embeddings.index["run"] < 2).to_numpy()
    everyone = evaluate(embeddings, embeddings, gallery, {"NM": ~gallery}, repeats=20).metrics["verification"]
    assert drawn == [12, 12]  # for verification, for the open set
    monkeypatch.setattr(results, "VERIFICATION_PEOPLE", 6)
    some = evaluate(embeddings, embeddings, gallery, {"NM": ~gallery}, repeats=20).metrics["verification"]
    assert drawn[2:] == [6, 6]
    assert everyone != some
    few = embeddings.index["subject"].isin(embeddings.index["subject"].unique()[[0, 2, 4, 6, 8, 11]]).to_numpy()
    alone = Embeddings(embeddings.values[few], embeddings.index[few])
    assert evaluate(alone, alone, gallery[few], {"NM": ~gallery[few]}, repeats=20).metrics["verification"] == some


def test_too_few_people_for_an_open_set():
    embeddings = separated(people=3)
    gallery = (embeddings.index["run"] < 2).to_numpy()
    assert np.isnan(open_set_metrics(embeddings, gallery, ~gallery)["dir_at_far_0.1"]).all()
