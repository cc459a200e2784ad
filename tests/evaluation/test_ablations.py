"""Each change does to the walks what its name says and nothing else; light heads find what is there."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from gaitlib.data.dataset import write_dataset
from gaitlib.data.preprocess import normalize
from gaitlib.data.walkers import make_walkers
from gaitlib.evaluation.ablations import (
    ABLATIONS,
    CODE_SETS,
    ablation_table,
    ablations,
    halves,
    joint_noise,
    light_head,
    missing_joints,
    one_frame,
    opening_frames,
    shuffled_frames,
    without_body_shape,
)
from gaitlib.evaluation.embedding import code_features
from gaitlib.model.recognizer import GaitModel
from gaitlib.skeleton import BONES, MID_HIP


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    walkers = make_walkers(6, 0, views=[0, 54, 90, 180])
    return write_dataset(tmp_path_factory.mktemp("data") / "walkers", walkers, name="walkers").select(view=["000", "054", "090"])


@pytest.fixture(scope="module")
def walks(dataset):
    return normalize(dataset)


def frames(walks, i):
    return walks.frames[walks.start[i] : walks.start[i] + walks.length[i]]


def lengths(pose):
    a, b = np.array(BONES).T
    return np.linalg.norm(pose[:, b] - pose[:, a], axis=-1)


def test_shuffled_frames_are_the_same_frames_of_the_same_walk(walks):
    changed = shuffled_frames(walks)
    for i in range(len(walks)):
        before, after = frames(walks, i).reshape(-1, 30), frames(changed, i).reshape(-1, 30)
        assert not np.array_equal(before, after)
        np.testing.assert_array_equal(np.sort(before, 0), np.sort(after, 0))
        np.testing.assert_array_equal(before[np.lexsort(before.T)], after[np.lexsort(after.T)])


def test_one_frame_stands_still(walks):
    changed = one_frame(walks)
    for i in range(len(walks)):
        middle = frames(walks, i)[walks.length[i] // 2]
        np.testing.assert_array_equal(frames(changed, i), np.broadcast_to(middle, (walks.length[i], 15, 2)))


def test_parts_of_walks(walks):
    opening, (both, later) = opening_frames(walks, 20), halves(walks)
    count = len(walks)
    assert later.tolist() == [False] * count + [True] * count
    assert both.index["sequence"].tolist() == 2 * walks.index["sequence"].tolist()
    for i in range(count):
        np.testing.assert_array_equal(frames(opening, i), frames(walks, i)[:20])
        np.testing.assert_array_equal(np.concatenate([frames(both, i), frames(both, count + i)]), frames(walks, i))
        assert abs(both.length[i] - both.length[count + i]) <= 1
    assert (opening_frames(walks, 10**6).length == walks.length).all()


@pytest.mark.parametrize("share", [0.01, 0.05])
def test_joint_noise_has_the_size_that_it_says(walks, share):
    added = joint_noise(walks, share).frames - walks.frames
    assert added.std() == pytest.approx(share, rel=0.01)
    assert abs(added.mean()) < share / 50


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_missing_joints_are_filled_in_and_the_data_set_stays(dataset, walks, share, monkeypatch):
    before = np.array(dataset.poses)
    changed = missing_joints(dataset, share)
    np.testing.assert_array_equal(before, dataset.poses)
    assert np.isfinite(changed.frames).all()
    monkeypatch.setattr("gaitlib.evaluation.ablations.normalize", lambda damaged: damaged)
    damaged = missing_joints(dataset, share)
    lost = [np.isnan(one.pose).any(-1)[np.isfinite(other.pose).all(-1)] for one, other in zip(damaged, dataset, strict=True)]
    assert np.concatenate(lost).mean() == pytest.approx(share, abs=0.01)
    assert 0 < np.abs(changed.frames - walks.frames).mean() < 0.1


def test_without_body_shape_all_have_the_same_proportions(walks):
    reference = replace(walks, frames=walks.frames * 1.0)
    changed = without_body_shape(walks, reference)
    views = walks.index["view"].to_numpy()
    for view in np.unique(views):
        before = np.array([lengths(frames(walks, i)).mean(0) for i in np.flatnonzero(views == view)])
        after = np.array([lengths(frames(changed, i)).mean(0) for i in np.flatnonzero(views == view)])
        np.testing.assert_allclose(after / after[:1], 1, atol=1e-3)
        assert np.abs(before / before.mean(0) - 1).max() > 0.02  # people differed
    # directions stay: every bone points where it did
    a, b = np.array(BONES).T
    old, new = (f[:, b] - f[:, a] for f in (frames(walks, 5), frames(changed, 5)))
    cosine = (old * new).sum(-1) / (np.linalg.norm(old, axis=-1) * np.linalg.norm(new, axis=-1)).clip(1e-9)
    assert (cosine[np.linalg.norm(old, axis=-1) > 0.02] > 0.999).all()
    assert np.linalg.norm(changed.frames[:, MID_HIP], axis=1).mean() == pytest.approx(1)


def test_views_that_the_reference_lacks_take_the_mean_of_all(dataset, walks):
    reference = normalize(dataset.select(view=["054", "090"]))
    assert np.isfinite(without_body_shape(walks, reference).frames).all()


def test_a_light_head_finds_people_behind_larger_nuisances():
    rng = np.random.default_rng(0)

    def seen(people, each=20):
        who = np.repeat(np.arange(people), each)
        identity, nuisance = rng.normal(size=(people, 3))[who], 10 * rng.normal(size=(len(who), 5))
        mixed = np.concatenate([identity + 0.1 * rng.normal(size=identity.shape), nuisance], 1) @ mixing
        return mixed.astype(np.float32), who

    mixing = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    (train, subject), (test, who) = seen(30), seen(10)

    def right(values):
        distance = np.linalg.norm(values[:, None] - values, axis=2)
        np.fill_diagonal(distance, np.inf)
        return (who[distance.argmin(1)] == who).mean()

    assert right(light_head(train, subject, test)) > 0.9
    assert right(test) < 0.4


def test_the_table_has_every_row_once_and_differences_to_the_first(dataset, walks):
    torch.manual_seed(0)
    model = GaitModel(people=4, encoder_width=8, recognizer_width=4, embedding=8).eval()
    test = dataset.select(subject=["004", "005", "006"])
    train = normalize(dataset.select(subject=["001", "002", "003"]))
    nm, run = (test.index["condition"] == "nm").to_numpy(), test.index["run"].to_numpy()
    probes = {"NM": nm & (run > 4), "CL": (test.index["condition"] == "cl").to_numpy()}
    codes = code_features(model, train), code_features(model, normalize(test))
    rows = list(ablations(model, train, test, nm & (run <= 4), probes, codes, mirrored=False, stride=64))
    assert len({row.name for row in rows}) == len(rows) == ABLATIONS
    assert [row.name for row in rows if row.kind == "codes"] == list(CODE_SETS)
    table = pd.DataFrame(ablation_table(rows, repeats=50))
    assert table["difference"][0] == [0, 0, 0]
    means = table["rank1"].str["mean"]
    np.testing.assert_allclose(table["difference"].str[0], means - means[0])
    halved = next(row for row in rows if row.kind == "halves")
    assert {name: m.probes.sum() // 3 for name, m in halved.matrices.items()} == {n: rows.sum() for n, rows in probes.items()}
