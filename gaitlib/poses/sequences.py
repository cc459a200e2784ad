"""What all readers of poses have in common: the files of one walk, everybody found in its frames, and what a format is."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gaitlib.data.dataset import Walk


class Unusable(Exception):
    """One file cannot be used, the others can; the message is the reason, a clause without the file's name."""


@dataclass(frozen=True)
class Sequence:
    """One walk before it is read.

    path: where it lies below the source, "/" between folders and without suffix: "001/nm-01/090".
    files: in the order of the frames; a format with several walks in one file names that file in each.
    content: what was read of it when it was found, for the format's own use; None where nothing was.
    labels: subject, condition, run and view where the file itself says them, which then count and not the path.
    problem: why it cannot be used, where finding it told that.
    name: whose it is, a gaitlib.poses.naming.Name, once that was looked up. remark: what was noticed then.
    """

    path: str
    files: tuple[Path | str, ...]
    content: Any = None
    labels: tuple[str, ...] = ()
    problem: str = ""
    name: Any = None
    remark: str = ""


@dataclass(frozen=True)
class Detections:
    """Everybody who was found in the frames of one sequence; D detections in all.

    frame: int64 [D], the frame of each, from 0, not decreasing.
    keypoints: float32 [D, K, 2], image x right and y down, a missing keypoint is NaN.
    confidence: float32 [D, K], 0..1.
    person: int64 [D], the number that a tracker gave, -1 where there is none.
    remarks: what was passed over on the way, a clause each.
    fps: frames a second, where the files say it; 0 where they do not.
    seconds: float64 [frames], when each frame was taken, where they are uneven in time; None where they are even.
    """

    frame: np.ndarray
    keypoints: np.ndarray
    confidence: np.ndarray
    person: np.ndarray
    remarks: tuple[str, ...] = ()
    fps: float = 0.0
    seconds: np.ndarray | None = None


@dataclass(frozen=True)
class Format:
    """One way in which walks lie in files.

    name: for --format. summary: one line. files: how they lie, a few lines.
    recognize: from a source to why it is this format, or "".
    find: lists the walks of a source without reading more than it must. load: reads one, and raises Unusable where only this
    one is bad. Both are plain functions of a module, so that a worker process can call them.
    read: (source, angles of virtual cameras, left_out=list) -> walks; of formats in three dimensions, in place of the two.
    pattern: names of walks in paths of no known spelling, see gaitlib.poses.naming.
    rather_than: a more general format that fits the same files and gives way when the format is guessed.
    has_images: whether it is clips: then `load` also takes model, start, stop and fps as `gaitlib.poses.reading.read` does,
    pictures show who was followed, and who stands is left out.
    dataset, license, citation: of the data set that comes in this format, for dataset.json; "" where it is no one's.
    """

    name: str
    summary: str
    files: str
    recognize: Callable[[Path], str]
    find: Callable[[Path], Iterator[Sequence]] | None = None
    load: Callable[..., Detections] | None = None
    read: Callable[..., Iterator[Walk]] | None = None
    pattern: str = ""
    rather_than: str = ""
    has_images: bool = False
    dataset: str = ""
    license: str = ""
    citation: str = ""
