"""Ranking against slow loops, one probe at a time, and against tables worked by hand."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score

from gaitlib import InputError
from gaitlib.evaluation.embedding import Embeddings
from gaitlib.evaluation.ranking import RankMatrix, rank_matrix, rank_scores

VIEWS = ["000", "018", "090", "180"]


def walks(people, views=VIEWS, runs=4, dimensions=3, levels=4, seed=0):
    """Embeddings on a coarse grid, so that many distances are tied; runs 1.. of each person and view."""
    rng = np.random.default_rng(seed)
    rows = [(p, v, r) for p in people for v in views for r in range(1, runs + 1)]
    index = pd.DataFrame(rows, columns=["subject", "view", "run"])
    index["sequence"] = index["subject"] + "-" + index["run"].astype(str) + "-" + index["view"]
    return Embeddings(rng.integers(0, levels, (len(rows), dimensions)).astype(np.float32), index)


def slow_scores(probe, gallery, who, enrolled):
    """Rank-1 with ties shared, and average precision by scikit-learn."""
    rank1, precision = [], []
    for x, person in zip(probe, who, strict=True):
        distance = [float(np.sqrt(((x.astype(np.float64) - g) ** 2).sum())) for g in gallery]
        nearest = [name for d, name in zip(distance, enrolled, strict=True) if d == min(distance)]
        rank1.append(nearest.count(person) / len(nearest))
        right = enrolled == person
        precision.append(average_precision_score(right, -np.array(distance)) if right.any() else 0.0)
    return rank1, precision


@pytest.mark.parametrize("levels", [2, 4, 10**6])  # many ties, some, none
@pytest.mark.parametrize(("probes", "gallery"), [(40, 30), (1, 1), (1, 30), (40, 1)])
def test_rank_scores_against_loops(levels, probes, gallery):
    rng = np.random.default_rng(levels + probes)
    p = rng.integers(0, levels, (probes, 3)).astype(np.float32)
    g = rng.integers(0, levels, (gallery, 3)).astype(np.float32)
    who, enrolled = rng.integers(0, 6, probes), rng.integers(0, 4, gallery)  # persons 4 and 5 are not enrolled
    rank1, precision = rank_scores(p, g, who, enrolled)
    wanted = slow_scores(p, g, who, enrolled)
    np.testing.assert_allclose(rank1, wanted[0], atol=1e-12)
    np.testing.assert_allclose(precision, wanted[1], atol=1e-12)
    assert not precision[who > 3].any()
    assert not rank1[who > 3].any()


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
            rank1, precision = slow_scores(embeddings.values[p], embeddings.values[g], who, enrolled)
            assert m.values[i, j] == pytest.approx(np.mean(rank1))
            assert m.precision[i, j] == pytest.approx(np.mean(precision))
            assert m.counts[i, j] == len(who)
            for k, person in enumerate(m.people):
                assert m.hits[k, i, j] == pytest.approx(np.sum(np.array(rank1)[who == person]))
                assert m.probes[k, i, j] == (who == person).sum()
    assert m.hits[m.people.index("b"), :, 1].sum() == 0
    assert m.hits[m.people.index("e")].sum() == 0


def test_a_constant_embedding_scores_chance():
    embeddings = walks([f"{n:03d}" for n in range(1, 9)])
    embeddings.values[:] = 1.0
    run = embeddings.index["run"].to_numpy()
    m = rank_matrix(embeddings, run <= 2, run > 2, "NM")
    np.testing.assert_allclose(m.values, 1 / 8)
    np.testing.assert_allclose(m.precision, 1 / 8)


def test_copies_of_the_gallery_are_always_right():
    embeddings = walks(["a", "b", "c"], levels=10**6)
    run = embeddings.index["run"].to_numpy()
    embeddings.values[run == 3] = embeddings.values[run == 1]
    m = rank_matrix(embeddings, run == 1, run == 3, "NM")
    assert (np.diag(m.values) == 1).all()
    assert m.same_view_mean() == 1
    everywhere = np.repeat(embeddings.values[:: 4 * len(VIEWS)], 4 * len(VIEWS), 0)  # one point a person
    perfect = rank_matrix(Embeddings(everywhere, embeddings.index), run <= 2, run > 2, "NM")
    assert perfect.mean() == perfect.mean_precision() == 1


def test_one_probe_and_one_gallery_walk():
    embeddings = walks(["a"], views=["000", "090"], runs=1)
    gallery = np.array([True, False])
    m = rank_matrix(embeddings, gallery, ~gallery, "NM")
    assert (m.probe_views, m.gallery_views, m.people) == (["090"], ["000"], ["a"])
    assert m.values.tolist() == m.precision.tolist() == [[1.0]]
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
    with pytest.raises(InputError, match="1 embeddings are not finite, the first of walk a-2-018"):
        rank_matrix(embeddings, run <= 2, run > 2, "NM")


def test_views_are_ordered_by_degrees():
    embeddings = walks(["a", "b"], views=["90", "180", "0", "36"])
    run = embeddings.index["run"].to_numpy()
    assert rank_matrix(embeddings, run <= 2, run > 2, "NM").probe_views == ["0", "36", "90", "180"]


def by_hand(values, probe_views=("0", "90", "180"), gallery_views=("0", "90", "180")):
    values = np.array(values, float)
    zero = np.zeros((1, *values.shape))
    return RankMatrix(
        "NM", list(probe_views), list(gallery_views), values, values / 2, np.ones(values.shape, int), ["a"], zero,
        zero.astype(int),
    )  # fmt: skip


def test_means_and_margins_by_hand():
    m = by_hand([[1.0, 0.5, 0.3], [0.2, 0.9, 0.6], [0.1, 0.7, 0.8]])
    np.testing.assert_allclose(m.probe_margin(), [0.4, 0.4, 0.4])
    np.testing.assert_allclose(m.gallery_margin(), [0.15, 0.6, 0.45])
    assert m.mean() == pytest.approx(0.4)
    assert m.same_view_mean() == pytest.approx(0.9)
    assert m.mean_precision() == pytest.approx(0.2)
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
