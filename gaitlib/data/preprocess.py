"""From raw poses to what the networks see: gaps filled, neck at the origin, torso of length one."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from gaitlib.data.dataset import GaitDataset
from gaitlib.files import forget_pages, naming
from gaitlib.skeleton import LEFT_HIP, LEFT_SHOULDER, MID_HIP, MIRROR, NECK, NUM_JOINTS, RIGHT_HIP, RIGHT_SHOULDER

#: Closed-form fits use about this many windows, drawn from all.
MOST_WINDOWS = 12_000
#: Frames held in memory at once, roughly, when all walks are processed.
BLOCK = 2**16
#: Joints that lie between two others: if an estimator misses one, the midpoint of the two is used.
MIDDLES = ((NECK, RIGHT_SHOULDER, LEFT_SHOULDER), (MID_HIP, RIGHT_HIP, LEFT_HIP))


@dataclass(frozen=True)
class NormalizedWalks:
    """The walks of a data set, ready to be cut into windows.

    frames: float32 [F, 15, 2], of these walks and possibly others; neck at the origin, neck to mid-hip about 1, x right, y
        down, no NaN.
    start, length: int64 [N], the position of the frames of walk i.
    index: the data set's table, row i = walk i (its `start` column refers to the files, not to `frames`).
    """

    frames: np.ndarray
    start: np.ndarray
    length: np.ndarray
    index: pd.DataFrame

    def __len__(self) -> int:
        return len(self.start)

    def chosen(self, rows: np.ndarray) -> "NormalizedWalks":
        """Some of the walks, bool [N]; the frames are shared, not copied."""
        return replace(self, start=self.start[rows], length=self.length[rows], index=self.index[rows].reset_index(drop=True))


def normalize(dataset: GaitDataset) -> NormalizedWalks:
    """Fill gaps, center every frame on the neck and divide by a robust neck-to-mid-hip length.

    The length is a property of the walk, not of the frame: its inverse is fitted by a straight line over time, because a person
    who walks toward a camera at constant speed has an inverse image size that is linear in time (pinhole model). Values beyond
    half or twice the walk's median are clipped.
    """
    length = dataset.index["frames"].to_numpy()
    frames = np.concatenate(list(_normalized(dataset)))
    return NormalizedWalks(frames, np.cumsum(length) - length, length, dataset.index)


def write_normalized(dataset: GaitDataset, path: Path) -> None:
    """Write all normalized frames of a data set to an .npy file, in the order of poses.npy."""
    with naming(path), path.open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": dataset.poses.shape}
        np.lib.format.write_array_header_1_0(file, header)
        for pose in _normalized(replace(dataset, index=dataset.index.sort_values("start"))):
            file.write(pose.data)


def mapped(walks: GaitDataset, path: Path) -> NormalizedWalks:
    """Some walks of the data set that `write_normalized` wrote there, as from `normalize`; the frames are memory-mapped."""
    frames = np.load(path, mmap_mode="c")  # nothing is written, but torch wants writable arrays
    return NormalizedWalks(frames, walks.index["start"].to_numpy(), walks.index["frames"].to_numpy(), walks.index)


def _normalized(dataset: GaitDataset) -> Iterator[np.ndarray]:
    """The frames of all walks in the order of the index, normalized, in blocks of whole walks: float32 [_, 15, 2] each."""
    for pose, start, length in in_blocks(dataset.poses, dataset.index["start"].to_numpy(), dataset.index["frames"].to_numpy()):
        pose = pose.astype(np.float32, copy=False)
        normalize_frames(pose, start, length)
        yield pose


def normalize_frames(pose: np.ndarray, start: np.ndarray, length: np.ndarray) -> None:
    """Normalize the frames of walks in place, see `normalize`; pose: float32 [F, 15, 2]; start, length: int64 [N]."""
    for middle, a, b in MIDDLES:
        gap = ~np.isfinite(pose[:, middle]).all(-1)
        pose[gap, middle] = (pose[gap, a] + pose[gap, b]) / 2
    fill_gaps(pose, start, length)
    pose -= pose[:, NECK : NECK + 1].copy()
    pose /= torso_length(pose, start, length)[:, None, None]
    np.nan_to_num(pose, copy=False)  # a joint missing in all frames of the walk is put at the neck


def in_blocks(frames: np.ndarray, start: np.ndarray, length: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Copies of walks in blocks of about BLOCK frames: the frames end to end, and the start and length of each walk in them.

    frames: float32 [F, ...], possibly memory-mapped; start, length: int64 [N]. Yields float32 [_, ...], int64 [_] and int64 [_].
    """
    block = np.cumsum(length) // BLOCK
    for walks in np.split(np.arange(len(length)), np.flatnonzero(np.diff(block)) + 1):
        count = length[walks]
        first = np.cumsum(count) - count
        yield frames[np.arange(count.sum()) + np.repeat(start[walks] - first, count)], first, count
        forget_pages(frames)


def fill_gaps(pose: np.ndarray, start: np.ndarray, length: np.ndarray) -> None:
    """Interpolate missing joints linearly in time within each walk, in place; the ends repeat the nearest frame.

    pose: float32 [F, 15, 2]; start, length: int64 [N]. A joint missing in a whole walk stays NaN.
    """
    missing = ~np.isfinite(pose).all(-1)
    first = np.repeat(start, length)
    last = first + np.repeat(length, length) - 1
    for joint in np.flatnonzero(missing.any(0)):
        gap = missing[:, joint]
        frame = np.arange(len(gap))
        before = np.maximum.accumulate(np.where(gap, -1, frame))
        after = np.minimum.accumulate(np.where(gap, len(gap), frame)[::-1])[::-1]
        holes = np.flatnonzero(gap)
        before, after = before[holes], after[holes]
        before_ok, after_ok = before >= first[holes], after <= last[holes]
        nowhere = ~before_ok & ~after_ok
        before = np.where(before_ok, before, after)
        after = np.where(after_ok, after, before)
        before, after = np.where(nowhere, holes, before), np.where(nowhere, holes, after)
        share = (holes - before) / np.maximum(after - before, 1)
        values = pose[:, joint]
        values[holes] = values[before] + (values[after] - values[before]) * share[:, None].astype(np.float32)


def lose_joints(x: torch.Tensor, lost: torch.Tensor) -> torch.Tensor:
    """Joint dropout: windows as normalized if an estimator had missed some joints: [B, 30, T], bool [B, 15, T] -> [B, 30, T].

    The scale is unchanged, and so is a joint that is lost in all frames.
    """
    pose, lost = list(x.unflatten(1, (NUM_JOINTS, 2)).unbind(1)), list(lost.unbind(1))
    for middle, a, b in MIDDLES:
        pose[middle] = torch.where(lost[middle][:, None], (pose[a] + pose[b]) / 2, pose[middle])
        lost[middle] = lost[middle] & (lost[a] | lost[b])
    pose, lost = torch.stack(pose, 1), torch.stack(lost, 1)
    lost = lost & ~lost.all(2, keepdim=True)
    frames = pose.shape[3]
    frame = torch.arange(frames, device=x.device).expand(lost.shape)
    before = torch.where(lost, -1, frame).cummax(2).values
    after = torch.where(lost, frames, frame).flip(2).cummin(2).values.flip(2)
    first, second = torch.where(before < 0, after, before), torch.where(after == frames, before, after)

    def at(frames: torch.Tensor) -> torch.Tensor:
        return pose.gather(3, frames[:, :, None].expand_as(pose))

    share = (frame - first) / (second - first).clamp(min=1)
    pose = at(first) + (at(second) - at(first)) * share[:, :, None].to(x)
    return (pose - pose[:, NECK : NECK + 1]).flatten(1, 2)


def torso_length(centered: np.ndarray, start: np.ndarray, length: np.ndarray) -> np.ndarray:
    """The robust neck-to-mid-hip length of every frame, float32 [F]; see `normalize`.

    centered: float32 [F, 15, 2] with the neck at the origin; start, length: int64 [N].
    """
    torso = np.hypot(*np.moveaxis(centered[:, MID_HIP], -1, 0)).astype(np.float64)
    walk = np.repeat(np.arange(len(length)), length)
    median = pd.Series(torso).groupby(walk).median().to_numpy()
    median = np.repeat(np.where(median > 0, median, 1.0), length)
    inverse = 1 / np.clip(np.nan_to_num(torso, nan=1.0), median / 2, median * 2)
    time = np.arange(len(walk)) - np.repeat(start + (length - 1) / 2, length)
    mean = np.add.reduceat(inverse, start) / length
    slope = np.add.reduceat(inverse * time, start) / np.maximum(np.add.reduceat(time**2, start), 1)
    fitted = np.repeat(mean, length) + np.repeat(slope, length) * time
    return (1 / np.maximum(fitted, 0.25 / median)).astype(np.float32)


@cache
def constant(numbers: tuple, device: torch.device, dtype: torch.dtype = torch.int64) -> torch.Tensor:
    """A small cached tensor: copying it to the GPU in every step would make the program wait.

    numbers: of any nesting. It can be used in training even if it was created during inference.
    """
    with torch.inference_mode(False):
        return torch.tensor(numbers, device=device, dtype=dtype)


def cut_windows(frames: torch.Tensor, start, length, offset, window: int) -> torch.Tensor:
    """Gather windows by index; a walk shorter than the window is looped.

    frames: float32 tensor [F, 15, 2]; start, length, offset: int64 tensors [B] (offset in frames from the walk's start).
    Returns float32 [B, 30, window], joint-major rows (j0x, j0y, j1x, ...).
    """
    steps = torch.arange(window, device=frames.device)
    rows = start[:, None] + (offset[:, None] + steps) % length[:, None]
    return frames.view(len(frames), 2 * NUM_JOINTS)[rows].transpose(1, 2)


def window_grid(length: np.ndarray, window: int, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """The windows that cover every walk: one every `stride` frames and one flush with the end.

    length: int64 [N]. Returns (walk, offset), int64 [W] each, in the order of the walks.
    """
    room = np.maximum(length - window, 0)
    count = 1 + -(-room // stride)
    walk = np.repeat(np.arange(len(length)), count)
    step = np.arange(len(walk)) - np.repeat(np.cumsum(count) - count, count)
    return walk, np.minimum(step * stride, room[walk])


def some_windows(window: int, *parts: NormalizedWalks, most: int, missing: float = 0) -> tuple[torch.Tensor, pd.DataFrame]:
    """About `most` windows of all these walks, and their mirror images: [N, 30, T], and the N table rows of their walks.

    missing: each window is added a second time, with up to this share of its joints dropped.
    """
    grids = [window_grid(walks.length, window, window // 4) for walks in parts]
    share = most / sum(len(walk) for walk, _ in grids)
    chance = np.random.default_rng(0)  # a regular choice would hit some views more often than others, or never
    windows, rows = [], []
    for walks, (walk, offset) in zip(parts, grids, strict=True):
        chosen = chance.random(len(walk)) < share
        walk, offset = walk[chosen], torch.from_numpy(offset[chosen])
        start, length = torch.tensor(walks.start[walk]), torch.tensor(walks.length[walk])
        windows.append(cut_windows(torch.from_numpy(walks.frames), start, length, offset, window))
        rows.append(walks.index.iloc[walk])
    x, index = torch.cat(windows), pd.concat(rows, ignore_index=True)
    if missing:
        shape = len(x), NUM_JOINTS, window
        x = torch.cat([x, lose_joints(x, torch.from_numpy(chance.random(shape) < missing * chance.random((len(x), 1, 1))))])
    x = torch.cat([x, mirror(x)])
    return x, pd.concat([index] * (len(x) // len(index)), ignore_index=True)


def groups(index: pd.DataFrame, *columns: str) -> np.ndarray:
    """Group numbers of table rows that agree in these columns: int64 [N], 0..groups-1, in the order of the values."""
    return index.groupby(list(columns)).ngroup().to_numpy()


def opening_windows(walks: NormalizedWalks, rows, window: int) -> torch.Tensor:
    """The first window of each of the given walks: float32 [len(rows), 30, window]; walks of one recording stay synchronous."""
    rows = np.asarray(rows)
    start, length = torch.tensor(walks.start[rows]), torch.tensor(walks.length[rows])
    return cut_windows(torch.from_numpy(walks.frames), start, length, torch.zeros_like(start), window)


def as_poses(x: torch.Tensor) -> np.ndarray:
    """Network rows back to poses: [B, 30, T] -> float32 [B, T, 15, 2]."""
    return x.detach().cpu().transpose(1, 2).unflatten(2, (NUM_JOINTS, 2)).numpy()


def mirror(x: torch.Tensor) -> torch.Tensor:
    """The mirror image of a walk: x negated, left and right joints swapped. [B, 30, T] -> [B, 30, T]."""
    pose = x.unflatten(1, (NUM_JOINTS, 2)).index_select(1, constant(tuple(MIRROR.tolist()), x.device))
    return torch.stack([-pose[:, :, 0], pose[:, :, 1]], 2).flatten(1, 2)
