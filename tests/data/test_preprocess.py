"""Preprocessing against slow versions of itself, and what must hold for any walk."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gaitlib.data import preprocess
from gaitlib.data.dataset import COLUMNS, GaitDataset
from gaitlib.data.preprocess import (
    as_poses,
    cut_windows,
    fill_gaps,
    in_blocks,
    lose_joints,
    mapped,
    normalize,
    opening_windows,
    torso_length,
    window_grid,
    write_normalized,
)
from gaitlib.skeleton import LEFT_HIP, LEFT_SHOULDER, MID_HIP, NECK, NUM_JOINTS, RIGHT_HIP, RIGHT_SHOULDER

RIGHT_WRIST = 4


def body(frames, seed=0):
    """A person in pixels, float32 [T, 15, 2], with neck and mid-hip 100 pixels apart."""
    rng = np.random.default_rng(seed)
    pose = rng.normal(0, 50, (1, NUM_JOINTS, 2)) + rng.normal(0, 2, (frames, NUM_JOINTS, 2))
    pose[:, NECK] = [0, 0]
    pose[:, MID_HIP] = [0, 100]
    for middle, a, b in ((NECK, RIGHT_SHOULDER, LEFT_SHOULDER), (MID_HIP, RIGHT_HIP, LEFT_HIP)):
        pose[:, b] = 2 * pose[:, middle] - pose[:, a]
    return pose.astype(np.float32)


def dataset_of(*poses, order=None):
    """Walks in memory; `order` lays them into the arrays in another order than the index has."""
    length = np.array([len(p) for p in poses])
    order = range(len(poses)) if order is None else order
    start = np.zeros(len(poses), dtype=int)
    for before, walk in enumerate(order):
        start[walk] = sum(length[w] for w in list(order)[:before])
    index = pd.DataFrame(
        [[f"{i:03d}-nm-01-090", f"{i}", f"{i:03d}", "nm", 1, "090", start[i], length[i], 25.0, ""] for i in range(len(poses))],
        columns=COLUMNS,
    )
    frames = np.concatenate([poses[walk] for walk in order]).astype(np.float32)
    return GaitDataset(index, frames, np.ones(frames.shape[:2], np.float32))


def as_rows(frames):
    """Walks of 20 frames, end to end, as networks see them: [8 * 20, 15, 2] -> [8, 30, 20]."""
    return torch.from_numpy(frames).view(-1, 20, 30).transpose(1, 2)


def slow_fill(pose, start, length):
    """The same, joint by joint and walk by walk, with np.interp."""
    filled = pose.copy()
    for first, frames in zip(start, length, strict=True):
        time = np.arange(frames)
        for joint in range(NUM_JOINTS):
            track = pose[first : first + frames, joint]
            seen = np.isfinite(track).all(-1)
            if seen.any():
                for axis in range(2):
                    filled[first : first + frames, joint, axis] = np.interp(time, time[seen], track[seen, axis])
    return filled


@settings(max_examples=60, deadline=None)
@given(
    length=st.lists(st.integers(1, 12), min_size=1, max_size=4),
    missing=st.sampled_from([0.0, 0.2, 0.7, 0.95, 1.0]),
    one_axis=st.booleans(),
    seed=st.integers(0, 10_000),
)
def test_gaps_are_filled_as_np_interp_fills_them(length, missing, one_axis, seed):
    rng = np.random.default_rng(seed)
    length = np.array(length)
    start = np.cumsum(length) - length
    pose = rng.normal(0, 100, (length.sum(), NUM_JOINTS, 2)).astype(np.float32)
    mask = rng.random(pose.shape[:2]) < missing
    pose[mask, 0 if one_axis else slice(None)] = rng.choice([np.nan, np.inf])
    expected = slow_fill(pose, start, length)
    found = pose.copy()
    with np.errstate(invalid="ignore"):
        fill_gaps(found, start, length)
    seen = np.isfinite(expected).all(-1)
    np.testing.assert_allclose(found[seen], expected[seen], rtol=1e-5, atol=1e-3)
    np.testing.assert_array_equal(found[~mask], pose[~mask])
    assert not np.isfinite(found[~seen]).all(-1).any()


def test_nothing_leaks_from_one_walk_into_another():
    pose = np.zeros((9, NUM_JOINTS, 2), np.float32)
    pose[:3], pose[3:6], pose[6:] = 1, 5, 9
    pose[2:4, 0] = np.nan  # the end of the first and the begin of the second walk
    pose[3:6, 7] = np.nan  # a joint the second walk never has
    fill_gaps(pose, np.array([0, 3, 6]), np.array([3, 3, 3]))
    assert pose[:, 0, 0].tolist() == [1, 1, 1, 5, 5, 5, 9, 9, 9]
    assert np.isnan(pose[3:6, 7]).all()
    assert pose[[2, 6], 7, 0].tolist() == [1, 9]


def test_a_gap_by_hand():
    pose = np.full((6, NUM_JOINTS, 2), np.nan, np.float32)
    pose[1], pose[4] = [10, 0], [40, 3]
    fill_gaps(pose, np.array([0]), np.array([6]))
    np.testing.assert_allclose(pose[:, 11], [[10, 0], [10, 0], [20, 1], [30, 2], [40, 3], [40, 3]], rtol=1e-6)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 0.9])
def test_lost_joints_are_filled_in_as_those_that_an_estimator_missed(share):
    whole = normalize(dataset_of(*(body(20, seed) for seed in range(8)))).frames
    lost = np.random.default_rng(1).random(whole.shape[:2]) < share
    lost[::20] = False  # else a joint may be missing in a whole walk
    expected = normalize(dataset_of(*np.where(lost[..., None], np.nan, whole).reshape(8, 20, 15, 2))).frames
    found = lose_joints(as_rows(whole), torch.from_numpy(lost).view(8, 20, 15).transpose(1, 2))
    found = as_poses(found).reshape(-1, 15, 2)
    if not share:
        np.testing.assert_allclose(found, whole, atol=1e-6)

    def of_size_one(poses):
        """`normalize` measures the torso anew."""
        return poses / np.linalg.norm(poses[:, MID_HIP], axis=-1)[:, None, None]

    np.testing.assert_allclose(of_size_one(found), of_size_one(expected), atol=1e-4)


def test_a_joint_that_is_lost_in_a_whole_window_stays():
    x = as_rows(normalize(dataset_of(body(20))).frames)
    lost = torch.zeros(1, 15, 20, dtype=torch.bool)
    lost[:, RIGHT_WRIST] = True
    torch.testing.assert_close(lose_joints(x, lost), x)


def test_the_neck_is_the_origin_and_the_torso_is_one():
    found = normalize(dataset_of(body(40) + np.float32([300, 200]), 0.3 * body(25, 1), order=[1, 0]))
    assert found.frames.dtype == np.float32
    assert np.isfinite(found.frames).all()
    np.testing.assert_array_equal(found.frames[:, NECK], 0)
    np.testing.assert_allclose(found.frames[:, MID_HIP], np.tile([0, 1], (65, 1)), atol=1e-5)
    assert found.start.tolist() == [0, 40]
    assert found.length.tolist() == [40, 25]
    np.testing.assert_allclose(found.frames[:40], body(40) / 100, atol=1e-4)  # in the order of the index
    np.testing.assert_allclose(found.frames[40:], body(25, 1) / 100, atol=1e-4)


@pytest.mark.parametrize("last", [3.0, 0.34])
def test_the_torso_stays_one_for_a_person_who_approaches_or_leaves(last):
    """The inverse of the size in the image is linear in time for constant speed before a pinhole camera."""
    size = 1 / np.linspace(1, 1 / last, 80)
    found = normalize(dataset_of((body(80) * size[:, None, None] + [640, 360]).astype(np.float32)))
    torso = np.linalg.norm(found.frames[:, MID_HIP], axis=-1)
    np.testing.assert_allclose(torso, 1, atol=0.06)  # sizes beyond half or twice the median count in part only
    gentle = 1 / np.linspace(1, 0.6, 80)
    found = normalize(dataset_of((body(80) * gentle[:, None, None]).astype(np.float32)))
    np.testing.assert_allclose(np.linalg.norm(found.frames[:, MID_HIP], axis=-1), 1, atol=1e-4)


def test_one_wild_torso_hardly_moves_the_others():
    pose = body(60)
    pose[30, MID_HIP] = [0, 5000]
    torso = np.linalg.norm(normalize(dataset_of(pose)).frames[:, MID_HIP], axis=-1)
    np.testing.assert_allclose(np.delete(torso, 30), 1, atol=0.03)


def slow_torso(centered):
    size = np.linalg.norm(centered[:, MID_HIP].astype(float), axis=-1)
    median = np.median(size) or 1.0
    time = np.arange(len(size))
    line = np.polynomial.Polynomial.fit(time, 1 / np.clip(size, median / 2, median * 2), 1)
    return 1 / np.maximum(line(time), 0.25 / median)


@settings(max_examples=30, deadline=None)
@given(length=st.lists(st.integers(3, 40), min_size=1, max_size=4), seed=st.integers(0, 10_000))
def test_torso_length_is_a_line_fitted_walk_by_walk(length, seed):
    length = np.array(length)
    start = np.cumsum(length) - length
    pose = np.random.default_rng(seed).lognormal(3, 0.8, (length.sum(), NUM_JOINTS, 2)).astype(np.float32)
    found = torso_length(pose, start, length)
    expected = np.concatenate([slow_torso(pose[s : s + n]) for s, n in zip(start, length, strict=True)])
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@settings(max_examples=30, deadline=None)
@given(
    x=st.floats(-2000, 2000), y=st.floats(-2000, 2000), scale=st.floats(0.02, 50), seed=st.integers(0, 1000)
)  # fmt: skip
def test_place_and_size_in_the_image_do_not_matter(x, y, scale, seed):
    rng = np.random.default_rng(seed)
    pose = body(30, seed)
    pose[rng.random((30, NUM_JOINTS)) < 0.2] = np.nan
    moved = ((pose.astype(float) + np.array([x, y])) * scale).astype(np.float32)
    plain, other = normalize(dataset_of(pose)), normalize(dataset_of(moved))
    np.testing.assert_allclose(other.frames, plain.frames, atol=2e-4)


def test_a_walk_does_not_depend_on_its_neighbors():
    poses = [body(20, 0), 3 * body(35, 1) + 50, 0.1 * body(16, 2)]
    poses[1][:5, RIGHT_WRIST] = np.nan
    together = normalize(dataset_of(*poses))
    for i, pose in enumerate(poses):
        alone = normalize(dataset_of(pose)).frames
        rows = slice(together.start[i], together.start[i] + together.length[i])
        np.testing.assert_allclose(together.frames[rows], alone, atol=1e-5)


@pytest.mark.parametrize("block", [1, 64, 2**16])
def test_mapped_walks_are_those_in_memory(tmp_path, monkeypatch, block):
    poses = [body(frames, seed) for seed, frames in enumerate((40, 25, 16, 70))]
    poses[1][3:9, RIGHT_WRIST] = np.nan
    dataset = dataset_of(*poses, order=[2, 0, 3, 1])
    whole = normalize(dataset)
    monkeypatch.setattr(preprocess, "BLOCK", block)
    np.testing.assert_array_equal(normalize(dataset).frames, whole.frames)
    write_normalized(dataset, tmp_path / "frames.npy")
    some = dataset.select(sequence=["001-nm-01-090", "003-nm-01-090"])
    found, wanted = mapped(some, tmp_path / "frames.npy"), normalize(some)
    assert isinstance(found.frames, np.memmap)
    assert found.index is some.index
    for i in range(2):
        a, b = (walks.frames[walks.start[i] :][: walks.length[i]] for walks in (found, wanted))
        np.testing.assert_array_equal(a, b)
    assert torch.equal(opening_windows(found, [0, 1], 30), opening_windows(wanted, [0, 1], 30))


def test_blocks_are_whole_walks_in_turn(monkeypatch):
    monkeypatch.setattr(preprocess, "BLOCK", 50)
    frames, start, length = np.arange(200), np.array([100, 0, 150, 30]), np.array([45, 20, 50, 10])
    blocks = list(in_blocks(frames, start, length))
    walks = [block[a : a + n].tolist() for block, first, count in blocks for a, n in zip(first, count, strict=True)]
    assert walks == [list(range(a, a + n)) for a, n in zip(start, length, strict=True)]
    assert [len(first) for _, first, _ in blocks] == [1, 1, 2]
    ((nothing, first, count),) = in_blocks(frames, start[:0], length[:0])
    assert len(nothing) == len(first) == len(count) == 0


def test_missing_middles_come_from_both_sides_and_missing_joints_stay_at_the_neck():
    pose, whole = body(20), normalize(dataset_of(body(20))).frames
    pose[3:9, [NECK, MID_HIP]] = np.nan
    pose[:, RIGHT_WRIST] = np.nan
    dataset = dataset_of(pose)
    found = normalize(dataset)
    np.testing.assert_array_equal(found.frames[:, RIGHT_WRIST], 0)
    others = np.delete(np.arange(NUM_JOINTS), RIGHT_WRIST)
    np.testing.assert_allclose(found.frames[:, others], whole[:, others], atol=1e-4)
    assert np.isnan(dataset.poses[3, NECK]).all()  # the data set itself is left as it is


def slow_windows(frames, start, length, offset, window):
    rows = [[frames[s + (o + t) % n] for t in range(window)] for s, n, o in zip(start, length, offset, strict=True)]
    return np.array(rows).reshape(len(start), window, 30).transpose(0, 2, 1)


@settings(max_examples=40, deadline=None)
@given(length=st.lists(st.integers(1, 50), min_size=1, max_size=5), window=st.integers(1, 64), seed=st.integers(0, 1000))
def test_windows_are_cut_as_a_loop_cuts_them(length, window, seed):
    rng = np.random.default_rng(seed)
    frames = rng.normal(size=(sum(length), NUM_JOINTS, 2)).astype(np.float32)
    walk = rng.integers(0, len(length), 7)
    length = np.array(length)
    start = (np.cumsum(length) - length)[walk]
    offset = rng.integers(0, length[walk])
    found = cut_windows(torch.from_numpy(frames), *map(torch.tensor, (start, length[walk], offset)), window)
    assert found.shape == (7, 30, window)
    np.testing.assert_array_equal(found.numpy(), slow_windows(frames, start, length[walk], offset, window))


def test_a_short_walk_is_looped():
    frames = torch.arange(5.0)[:, None, None].expand(5, NUM_JOINTS, 2).contiguous()
    found = cut_windows(frames, torch.tensor([2]), torch.tensor([3]), torch.tensor([1]), 8)
    assert found[0, 0].tolist() == [3, 4, 2, 3, 4, 2, 3, 4]


def test_rows_of_a_window_are_joint_by_joint():
    frames = torch.arange(30.0).reshape(1, NUM_JOINTS, 2)
    one = torch.tensor([1])
    assert cut_windows(frames, 0 * one, one, 0 * one, 1)[0, :, 0].tolist() == list(range(30))


@settings(max_examples=60, deadline=None)
@given(length=st.lists(st.integers(1, 200), min_size=1, max_size=5), window=st.integers(1, 64), stride=st.integers(1, 64))
def test_the_grid_covers_every_frame(length, window, stride):
    stride = min(stride, window)
    walk, offset = window_grid(np.array(length), window, stride)
    assert (np.diff(walk) >= 0).all()
    for i, frames in enumerate(length):
        starts = offset[walk == i]
        room = max(frames - window, 0)
        expected = sorted({*range(0, room, stride), room})
        assert starts.tolist() == expected
        covered = np.unique((starts[:, None] + np.arange(window)) % frames)
        assert covered.tolist() == list(range(frames))


def test_poses_come_back_from_opening_windows():
    walks = normalize(dataset_of(body(70), body(20, 1), body(64, 2)))
    x = opening_windows(walks, [2, 0, 1], 64)
    poses = as_poses(x)
    assert poses.shape == (3, 64, NUM_JOINTS, 2)
    np.testing.assert_array_equal(poses[0], walks.frames[90:154])
    np.testing.assert_array_equal(poses[1], walks.frames[:64])
    np.testing.assert_array_equal(poses[2], np.tile(walks.frames[70:90], (4, 1, 1))[:64])
    again = torch.from_numpy(poses).flatten(2).transpose(1, 2)
    assert torch.equal(again, x)
