"""Ranking against slow loops, one probe at a time, and against tables worked by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import hypergeom
from sklearn.metrics import average_precision_score

from gaitlib import InputError
from gaitlib.evaluation.embedding import Embeddings
from gaitlib.evaluation.ranking import METRICS, MOST_RANKS, RankMatrix, pooled, rank_matrix, rank_scores

VIEWS = ["000", "018", "090", "180"]


def walks(people, views=VIEWS, runs=4, dimensions=3, levels=4, seed=0):
    """Embeddings on a coarse grid, so that many distances are tied; runs 1.. of each person and view."""
    rng = np.random.default_rng(seed)
    rows = [(p, v, r) for p in people for v in views for r in range(1, runs + 1)]
    index = pd.DataFrame(rows, columns=["subject", "view", "run"])
    index["sequence"] = index["subject"] + "-" + index["run"].astype(str) + "-" + index["view"]
    return Embeddings(rng.integers(0, levels, (len(rows), dimensions)).astype(np.float32), index)


def slow_scores(probe, gallery, who, enrolled):
    """One probe at a time: the chance to be found within each rank over all orders of ties, average precision, mINP."""
    hits, precision, penalty = [], [], []
    for x, person in zip(probe, who, strict=True):
        distance = np.array([float(np.sqrt(((x.astype(np.float64) - g) ** 2).sum())) for g in gallery])
        right = enrolled == person
        if not right.any():
            hits.append(np.zeros(MOST_RANKS))
            precision.append(0.0)
            penalty.append(0.0)
            continue
        first = distance[right].min()
        before, tied = (distance < first).sum(), distance == first
        drawn = np.arange(1, MOST_RANKS + 1) - before  # how many of the tied are among the first ranks
        hits.append(1 - hypergeom.pmf(0, tied.sum(), (tied & right).sum(), drawn.clip(0, tied.sum())))
        precision.append(average_precision_score(right, -distance))
        penalty.append(right.sum() / (distance <= distance[right].max()).sum())
    return np.array(hits), precision, penalty


@pytest.mark.parametrize("levels", [2, 4, 10**6])  # many ties, some, none
@pytest.mark.parametrize(("probes", "gallery"), [(40, 30), (1, 1), (1, 30), (40, 1)])
def test_rank_scores_against_loops(levels, probes, gallery):
    rng = np.random.default_rng(levels + probes)
    p = rng.integers(0, levels, (probes, 3)).astype(np.float32)
    g = rng.integers(0, levels, (gallery, 3)).astype(np.float32)
    who, enrolled = rng.integers(0, 6, probes), rng.integers(0, 4, gallery)  # persons 4 and 5 are not enrolled
    found = rank_scores(p, g, who, enrolled)
    for ours, theirs in zip(found, slow_scores(p, g, who, enrolled), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)
        assert not ours[who > 3].any()


def test_ties_are_ordered_at_random_on_average():
    rng = np.random.default_rng(0)
    same = np.array([False, True, False, True, True, False])
    distance = np.array([0, 1, 1, 1, 2, 3.0])
    within = np.zeros(6)
    for _ in range(4000):
        order = np.lexsort([rng.random(6), distance])
        within += same[order].cumsum() > 0
    zero = np.zeros((1, 1), np.float32)
    found = rank_scores(zero, distance[:, None].astype(np.float32), np.ones(1, int), same.astype(int))
    np.testing.assert_allclose(found[0][0, :6], within / 4000, atol=0.03)


def test_memory_is_bounded_by_blocks_that_change_nothing(monkeypatch):
    rng = np.random.default_rng(1)
    p, g = (rng.integers(0, 4, (n, 3)).astype(np.float32) for n in (50, 20))
    who, enrolled = rng.integers(0, 4, 50), rng.integers(0, 4, 20)
    whole = rank_scores(p, g, who, enrolled)
    monkeypatch.setattr("gaitlib.evaluation.ranking._AT_ONCE", 70)
    for ours, theirs in zip(rank_scores(p, g, who, enrolled), whole, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-14)


def test_rank_matrix_against_loops():
    embeddings = walks(["a", "b", "c", "d", "e"])
    index = embeddings.index
    missing = (index["subject"] == "b") & (index["view"] == "018")  # b is missing in one gallery view
    gallery = ((index["run"] <= 2) & (index["subject"] != "e") & ~missing).to_numpy()
    probes = ((index["run"] > 2) & (index["subject"] != "c")).to_numpy()
    m = rank_matrix(embeddings, gallery, probes, "NM")
    assert m.probe_views == m.gallery_views == VIEWS
    assert m.people == ["a", "b", "d", "e"]
    for i, probe_view in enumerate(VIEWS):
        for j, gallery_view in enumerate(VIEWS):
            p = probes & (index["view"] == probe_view).to_numpy()
            g = gallery & (index["view"] == gallery_view).to_numpy()
            who, enrolled = index["subject"].to_numpy()[p], index["subject"].to_numpy()[g]
            hits, precision, penalty = slow_scores(embeddings.values[p], embeddings.values[g], who, enrolled)
            scores = {"rank1": hits[:, 0], "rank5": hits[:, 4], "rank10": hits[:, 9], "map": precision, "minp": penalty}
            assert m.counts[i, j] == len(who)
            np.testing.assert_allclose(m.cmc[:, i, j], hits.mean(0))
            for metric, score in scores.items():
                assert m.cells(metric)[i, j] == pytest.approx(np.mean(score))
                for k, person in enumerate(m.people):
                    assert m.sums[metric][k, i, j] == pytest.approx(np.sum(np.array(score)[who == person]))
                    assert m.probes[k, i, j] == (who == person).sum()
    assert m.sums["rank1"][m.people.index("b"), :, 1].sum() == 0
    assert m.sums["rank1"][m.people.index("e")].sum() == 0
    np.testing.assert_allclose(m.curve()[[0, 4, 9]], [m.mean("rank1"), m.mean("rank5"), m.mean("rank10")])


@pytest.mark.parametrize("against", ["other views", "all views"])
def test_galleries_of_several_views_against_loops(against):
    embeddings = walks(["a", "b", "c"])
    index = embeddings.index
    gallery, probes = (index["run"] <= 2).to_numpy(), (index["run"] > 2).to_numpy()
    m = rank_matrix(embeddings, gallery, probes, "NM", against)
    assert m.gallery_views == [against]
    wanted = []
    for i, view in enumerate(VIEWS):
        p = probes & (index["view"] == view).to_numpy()
        g = gallery & (index["view"] != view).to_numpy() if against == "other views" else gallery
        who, enrolled = index["subject"].to_numpy()[p], index["subject"].to_numpy()[g]
        hits, precision, _ = slow_scores(embeddings.values[p], embeddings.values[g], who, enrolled)
        wanted.append(hits[:, 0].mean())
        assert m.cells("map")[i, 0] == pytest.approx(np.mean(precision))
    assert m.mean() == pytest.approx(np.mean(wanted))


def test_among_everyone_against_one_probe_at_a_time():
    embeddings = walks(["a", "b", "c"])
    index, values = embeddings.index, embeddings.values.astype(float)
    gallery, probes = (index["run"] <= 2).to_numpy(), (index["run"] > 2).to_numpy()
    m = rank_matrix(embeddings, gallery, probes, "NM", "everyone")
    for i, view in enumerate(VIEWS):
        shares = []
        for row in np.flatnonzero(probes & (index["view"] == view)):
            own = (index["subject"] == index["subject"][row]).to_numpy()
            apart = np.linalg.norm(values - values[row], axis=1)
            right, wrong = apart[own & gallery & (index["view"] != view)], apart[~own]
            tied = right.min() == wrong.min()
            first = (right == right.min()).sum() / ((right == right.min()).sum() + (wrong == right.min()).sum() * tied)
            shares.append(first if right.min() <= wrong.min() else 0.0)
        assert m.cells()[i, 0] == pytest.approx(np.mean(shares))
    assert m.mean() < rank_matrix(embeddings, gallery, probes, "NM", "other views").mean()


def test_a_constant_embedding_scores_chance():
    embeddings = walks([f"{n:03d}" for n in range(1, 9)])
    embeddings.values[:] = 1.0
    run = embeddings.index["run"].to_numpy()
    m = rank_matrix(embeddings, run <= 2, run > 2, "NM")
    np.testing.assert_allclose(m.cells(), 1 / 8)
    np.testing.assert_allclose(m.cells("map"), 1 / 8)


def test_copies_of_the_gallery_are_always_right():
    embeddings = walks(["a", "b", "c"], levels=10**6)
    run = embeddings.index["run"].to_numpy()
    embeddings.values[run == 3] = embeddings.values[run == 1]
    m = rank_matrix(embeddings, run == 1, run == 3, "NM")
    assert (np.diag(m.cells()) == 1).all()
    assert m.same_view_mean() == 1
    everywhere = np.repeat(embeddings.values[:: 4 * len(VIEWS)], 4 * len(VIEWS), 0)  # one point a person
    perfect = rank_matrix(Embeddings(everywhere, embeddings.index), run <= 2, run > 2, "NM")
    assert perfect.mean() == perfect.mean("map") == perfect.mean("minp") == 1


def test_one_probe_and_one_gallery_walk():
    embeddings = walks(["a"], views=["000", "090"], runs=1)
    gallery = np.array([True, False])
    m = rank_matrix(embeddings, gallery, ~gallery, "NM")
    assert (m.probe_views, m.gallery_views, m.people) == (["090"], ["000"], ["a"])
    assert m.cells().tolist() == m.cells("map").tolist() == [[1.0]]
    assert m.mean() == 1
    assert np.isnan(m.same_view_mean())


def test_a_cell_without_probes_is_nan_and_does_not_count():
    embeddings = walks(["a", "b"], views=["000"], runs=2)
    run = embeddings.index["run"].to_numpy()
    m = rank_matrix(embeddings, run == 1, run == 2, "NM")
    assert np.isnan(m.mean())  # there is no other view
    assert np.isfinite(m.same_view_mean())


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_embeddings_that_are_not_finite_are_refused(value):
    embeddings = walks(["a", "b"])
    embeddings.values[5, 1] = value
    run = embeddings.index["run"].to_numpy()
    with pytest.raises(InputError, match="1 embeddings are not finite, the first is that of walk a-2-018"):
        rank_matrix(embeddings, run <= 2, run > 2, "NM")


def test_views_are_ordered_by_degrees():
    embeddings = walks(["a", "b"], views=["90", "180", "0", "36"])
    run = embeddings.index["run"].to_numpy()
    assert rank_matrix(embeddings, run <= 2, run > 2, "NM").probe_views == ["0", "36", "90", "180"]


def by_hand(values, probe_views=("0", "90", "180"), gallery_views=("0", "90", "180")):
    """A matrix of one person, one probe in each cell; NaN: none."""
    values = np.array(values, float)[None]
    probes = np.isfinite(values).astype(int)
    sums = {metric: np.nan_to_num(values) / (2 if metric == "map" else 1) for metric in METRICS}
    return RankMatrix("NM", list(probe_views), list(gallery_views), ["a"], sums, probes, np.repeat(values, MOST_RANKS, 0))


def test_means_and_margins_by_hand():
    m = by_hand([[1.0, 0.5, 0.3], [0.2, 0.9, 0.6], [0.1, 0.7, 0.8]])
    np.testing.assert_allclose(m.probe_margin(), [0.4, 0.4, 0.4])
    np.testing.assert_allclose(m.gallery_margin(), [0.15, 0.6, 0.45])
    assert m.mean() == pytest.approx(0.4)
    assert m.same_view_mean() == pytest.approx(0.9)
    assert m.mean("map") == pytest.approx(0.2)
    assert m.to_frame().loc["90", "180"] == 0.6
    assert m.same_view.sum() == 3


def test_probe_views_count_alike_where_cells_are_missing():
    m = by_hand([[1.0, 0.5, np.nan], [0.2, 0.9, 0.6], [np.nan, np.nan, 0.8]])
    np.testing.assert_allclose(m.probe_margin(), [0.5, 0.4, np.nan])
    assert m.mean() == pytest.approx(0.45)  # not the mean of the three cells, 0.433


def test_margins_where_galleries_and_probes_have_other_views():
    m = by_hand([[0.2, 0.4], [0.6, 1.0]], probe_views=("0", "45"), gallery_views=("0", "90"))
    np.testing.assert_allclose(m.probe_margin(), [0.4, 0.8])
    np.testing.assert_allclose(m.gallery_margin(), [0.6, 0.7])


def test_runs_are_pooled_person_by_person():
    one, two = by_hand([[1, 0, 1], [1, 1, 0], [0, 1, 1]]), by_hand([[0, 0, 0], [0, 0, 0], [0, 0, 0]])
    both = pooled([one, two])
    assert both.mean() == pytest.approx((one.mean() + two.mean()) / 2)
    assert both.counts.tolist() == (2 * one.counts).tolist()
    with pytest.raises(InputError, match="different people or views"):
        pooled([one, by_hand([[1, 0]], probe_views=["0"], gallery_views=["0", "90"])])
