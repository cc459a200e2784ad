"""Statistics of a window against loops, and discriminants against scikit-learn."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch.nn import functional as F

from gaitlib.data.dataset import GaitDataset, write_dataset
from gaitlib.data.preprocess import mirror, normalize, opening_windows
from gaitlib.data.walkers import make_walkers
from gaitlib.model import discriminants
from gaitlib.model.autoencoder import Codes
from gaitlib.model.discriminants import (
    SHRINKAGE,
    STATISTIC_NAMES,
    STATISTICS,
    Discriminants,
    code_statistics,
    discriminate,
    facing_right,
    fisher,
    forward_bend,
    scatter,
    window_statistics,
)
from gaitlib.model.recognizer import GaitModel
from gaitlib.skeleton import BONES, JOINTS


@pytest.fixture(scope="module")
def walks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("walkers") / "data"
    write_dataset(folder, make_walkers(6, 2, views=[54, 90, 270]), name="walkers")
    return normalize(GaitDataset.open(folder))


def by_loops(x):
    """The statistics of one window [30, T] that faces right, in the order the docstring names them."""
    x = np.asarray(x, dtype=np.float64)
    courses = list(x)
    courses += [
        [np.hypot(x[2 * a, t] - x[2 * b, t], x[2 * a + 1, t] - x[2 * b + 1, t]) for t in range(x.shape[1])]
        for a in range(15)
        for b in range(a + 1, 15)
    ]
    velocities = [[row[t + 2] - row[t] for t in range(len(row) - 2)] for row in x]
    bones = [x[2 * b + axis] - x[2 * a + axis] for axis in (0, 1) for a, b in BONES]
    return np.concatenate(
        [
            [np.mean(c) for c in courses],
            [np.std(c) for c in courses],
            [np.max(c) for c in courses],
            [np.min(c) for c in courses],
            [np.std(v) for v in velocities],
            [np.mean(np.abs(v)) for v in velocities],
            [np.std(b) for b in bones],
        ]
    )


def test_knees_tell_where_somebody_walks(walks):
    x = opening_windows(walks, walks.index.index, 64)
    right = pd.Series(forward_bend(x).numpy() > 0).groupby(walks.index["view"].to_numpy())
    assert right.mean().to_dict() == {"054": 0, "090": 0, "270": 1}
    torch.testing.assert_close(forward_bend(mirror(x)), -forward_bend(x))
    assert (forward_bend(facing_right(x)) >= 0).all()


def test_statistics_are_those_of_loops(walks):
    x = opening_windows(walks, [0, 1, 2], 40)
    found = window_statistics(x)
    assert found.shape == (3, STATISTICS)
    for one, window in zip(found, facing_right(x), strict=True):
        np.testing.assert_allclose(one, by_loops(window), atol=2e-6)


def test_a_walk_and_its_mirror_image_have_the_same_statistics(walks):
    x = opening_windows(walks, walks.index.index[:20], 64)
    torch.testing.assert_close(window_statistics(mirror(x)), window_statistics(x))


def people_and_statistics(people=7, each=40, seed=0):
    g = torch.Generator().manual_seed(seed)
    subject = np.repeat(np.arange(people), each)
    mixing = torch.randn(STATISTICS, STATISTICS, generator=g) / STATISTICS**0.5
    means = 0.7 * torch.randn(people, STATISTICS, generator=g)
    return means[subject] + torch.randn(len(subject), STATISTICS, generator=g) @ mixing, subject


def test_the_directions_are_those_of_scikit_learn():
    statistics, subject = people_and_statistics()
    ours = Discriminants(STATISTICS, 6)
    ours.fit(statistics, subject)
    values = ((statistics - statistics.mean(0)) / (statistics.std(0) + 1e-6)).clamp(-4, 4).double().numpy()
    lda = LinearDiscriminantAnalysis(solver="eigen", shrinkage=SHRINKAGE).fit(values, subject)
    theirs = lda.transform(values)  # as many people, as many windows each: there the definitions agree
    spread = np.stack([theirs[subject == p].mean(0) for p in range(7)]).var(0)
    theirs *= np.sqrt(spread / (1 + spread))
    found = (ours._standardized(statistics) @ ours.projection - ours.origin).numpy()[:, ::-1]
    np.testing.assert_allclose(np.abs(found), np.abs(theirs), rtol=1e-3, atol=1e-2)


def test_a_direction_counts_by_its_share_between_people(monkeypatch):
    """With few dimensions the shares are far from one; without shrinkage the definitions agree exactly."""
    monkeypatch.setattr(discriminants, "SHRINKAGE", 0.0)
    g = np.random.default_rng(0)
    subject = np.repeat(np.arange(9), 30)
    values = (g.normal(size=(9, 6)) * [2, 1, 0.5, 0.3, 0.2, 0.1])[subject] + g.normal(size=(270, 6))
    values -= values.mean(0)
    origin, projection = fisher(values, subject, 4)
    theirs = LinearDiscriminantAnalysis(solver="eigen", n_components=4).fit(values, subject).transform(values)
    spread = np.stack([theirs[subject == p].mean(0) for p in range(9)]).var(0)
    share = spread / (1 + spread)
    assert share[0] > 0.7 > 0.3 > share[-1]
    np.testing.assert_allclose(np.abs(values @ projection - origin)[:, ::-1], np.abs(theirs) * np.sqrt(share), rtol=1e-6)


def test_adapted_to_others_they_leave_what_differs_within_these():
    """People differ along two axes; elsewhere one of them says nothing, as one and the same person differs along it."""
    g = torch.Generator().manual_seed(0)
    subject = np.repeat(np.arange(40), 20)
    places = torch.zeros(40, 6)
    places[:, :2] = torch.randn(40, 2, generator=g)
    found = Discriminants(6, 3)
    found.fit(places[subject] + 0.2 * torch.randn(800, 6, generator=g), subject)
    alone = found.projection.norm(dim=1)
    assert alone[:2].min() > 5 * alone[2:].max()

    few = places[:10][subject[:200]]
    elsewhere = 100 + 7 * (few + torch.randn(200, 6, generator=g) * torch.tensor([0.2, 20, 0.2, 0.2, 0.2, 0.2]))
    found.adapt(elsewhere, subject[:200])
    weight = (found.projection / found.scale[:, None]).norm(dim=1)
    assert weight[0] > 20 * weight[1]


def test_adapted_discriminants_by_hand(monkeypatch):
    """With as many directions as dimensions nothing of what was known is lost."""
    monkeypatch.setattr(discriminants, "SHRINKAGE", 0.0)
    g = torch.Generator().manual_seed(2)
    first, subject = torch.randn(600, 4, generator=g) @ torch.randn(4, 4, generator=g), np.arange(600) % 20
    first += torch.randn(20, 4, generator=g)[subject]
    other, group = torch.randn(300, 4, generator=g) @ torch.randn(4, 4, generator=g), np.arange(300) % 6
    found = Discriminants(4, 4)
    found.fit(first, subject)
    values = found._standardized(first).double().numpy()
    between, within, _ = scatter(values, subject)
    scale = found.scale.clone()
    found.adapt(other, group)
    change = np.diag((scale / found.scale).double().numpy())
    _, theirs, _ = scatter(found._standardized(other).double().numpy(), group)
    wanted, _, ratio = discriminate(change @ between @ change, theirs + 0.3 * change @ within @ change, 4)
    np.testing.assert_allclose(np.abs(found.projection), np.abs(wanted), rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(found.ratio, ratio, rtol=2e-3)


def test_what_is_known_from_elsewhere_counts_as_much_as_what_is_seen():
    """Three people differ along the first axis only; elsewhere people differ along the second."""
    g = torch.Generator().manual_seed(1)
    places, few = torch.zeros(30, 5), torch.zeros(3, 5)
    places[:, 1], few[:, 0] = torch.linspace(-1, 1, 30), torch.tensor([-1.0, 0, 1])
    elsewhere, alone, together = (Discriminants(5, 4) for _ in range(3))
    elsewhere.fit(places.repeat_interleave(20, 0) + 0.1 * torch.randn(600, 5, generator=g), np.repeat(np.arange(30), 20))
    statistics, subject = few.repeat_interleave(50, 0) + 0.1 * torch.randn(150, 5, generator=g), np.repeat(np.arange(3), 50)
    alone.fit(statistics, subject)
    together.fit(statistics, subject, elsewhere)
    assert together.projection[1].norm() > 5 * alone.projection[1].norm()
    spread = together.within * together.ratio @ together.within.T
    assert spread[0, 0].item() == pytest.approx(spread[1, 1].item(), rel=0.1)


def test_every_statistic_has_its_name(walks):
    x = opening_windows(walks, [0], 32)
    found = dict(zip(STATISTIC_NAMES, window_statistics(x)[0], strict=True))
    assert len(found) == STATISTICS
    x = facing_right(x)[0]
    knee, ankle = (x[2 * JOINTS.index(name) : 2 * JOINTS.index(name) + 2] for name in ("left_knee", "left_ankle"))
    torch.testing.assert_close(found["maximum of left_ankle y"], ankle[1].max())
    length = (knee - ankle).norm(dim=0).mean()
    torch.testing.assert_close(found["mean of left_knee to left_ankle"], length, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found["size of the velocity of left_knee x"], (knee[0, 2:] - knee[0, :-2]).abs().mean())


def test_every_person_counts_alike_in_the_spread_between_people():
    statistics, subject = people_and_statistics()
    often = np.concatenate([np.arange(len(subject)), np.flatnonzero(subject == 0)])
    found = Discriminants(STATISTICS, 6)
    found.fit(statistics[often], subject[often])
    values = found._standardized(statistics).double()
    middle = torch.stack([values[subject == person].mean(0) for person in range(7)]).mean(0)
    torch.testing.assert_close(found.origin, (middle @ found.projection.double()).float(), atol=1e-4, rtol=1e-4)


def test_they_tell_unseen_windows_of_the_same_people_apart(walks):
    subject = walks.index["subject"].astype(int).to_numpy() - 1
    x = opening_windows(walks, walks.index.index, 32)
    known = (walks.index["condition"] == "nm").to_numpy() & (walks.index["run"] <= 4).to_numpy()
    found = Discriminants(STATISTICS, 5)
    found.fit(window_statistics(x[known]), subject[known])
    values = F.normalize(found(window_statistics(x))).numpy()
    nearest = (values[~known] @ values[known].T).argmax(1)
    assert (subject[known][nearest] == subject[~known]).mean() > 0.8


def test_a_joint_that_never_moves_does_no_harm(walks):
    x = opening_windows(walks, walks.index.index, 32)
    x[:, 4:6] = 0
    found = Discriminants(STATISTICS, 5)
    found.fit(window_statistics(x), walks.index["subject"].astype(int).to_numpy() - 1)
    assert torch.isfinite(found(window_statistics(x))).all()


def test_what_codes_say_of_who_walks_by_loops():
    torch.manual_seed(0)
    codes = Codes(torch.randn(2, 3, 9), torch.randn(2, 4), torch.randn(2, 4))
    found = code_statistics(codes)
    for row, motion, body in zip(found, codes.motion.numpy(), codes.body.numpy(), strict=True):
        changes = [[channel[t + 2] - channel[t] for t in range(7)] for channel in motion]
        kinds = [(np.mean, motion), (np.std, motion), (np.max, motion), (np.min, motion), (np.std, changes)]
        by_hand = [measure(channel) for measure, channels in kinds for channel in channels]
        by_hand += [np.mean(np.abs(change)) for change in changes]
        np.testing.assert_allclose(row, [*by_hand, *body], atol=1e-5)


def test_statistics_have_a_gradient_where_nothing_moves_and_joints_meet():
    x = torch.randn(2, 30, 16)
    x[:, 2:6] = 0
    x.requires_grad_()
    window_statistics(x).sum().backward()
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("weight", [0.0, 0.5, 3.0])
def test_both_parts_of_an_embedding_have_their_weight(walks, weight):
    torch.manual_seed(0)
    model = GaitModel(people=6, window=32, encoder_width=6, recognizer_width=4, embedding=8, discriminants=weight)
    x = opening_windows(walks, walks.index.index[:12], 32)
    model.eval()
    with torch.no_grad():
        codes, learned, _ = model(x)
    if weight:
        model.discriminants.fit(code_statistics(codes), np.arange(12) % 6)
    found = model.embed(x)
    assert found.shape == (12, model.embedding_size) == (12, 8 + 5 * (weight > 0))
    torch.testing.assert_close(found.norm(dim=1), torch.ones(12))
    torch.testing.assert_close(model.embed(x, mirrored=True), (found + model.embed(mirror(x))) / 2)
    torch.testing.assert_close(F.normalize(found[:, :8]), F.normalize(learned))
    if weight:
        torch.testing.assert_close(found[:, 8:].norm(dim=1) / found[:, :8].norm(dim=1), torch.full((12,), weight))
        torch.testing.assert_close(F.normalize(found[:, 8:]), F.normalize(model.discriminants(code_statistics(codes))))
