"""What all pose readers share: the files of one walk, everybody detected in its frames, and what a format is."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gaitlib.data.dataset import Walk


class Unusable(Exception):
    """One file cannot be used, but others can; the message is the reason, a clause without the file's name."""


@dataclass(frozen=True)
class Sequence:
    """One walk before it is read.

    path: relative to the source, with "/" between folders and without suffix: "001/nm-01/090".
    files: in the order of the frames; a format with several walks in one file names that file in each.
    content: what was read while finding it, for the format's own use; None if nothing was.
    labels: subject, condition, run and view if the file states them; they take precedence over the path.
    problem: why it cannot be used, if that was noticed while finding it.
    name: whose walk it is, a gaitlib.poses.naming.Name, once looked up. remark: what was noticed then.
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
    """Everybody who was detected in the frames of one sequence; D detections in all.

    frame: int64 [D], the frame of each, from 0, not decreasing.
    keypoints: float32 [D, K, 2], image x right and y down, a missing keypoint is NaN.
    confidence: float32 [D, K], 0..1.
    person: int64 [D], the track number given by a tracker, -1 if there is none.
    remarks: what was skipped, a clause each.
    fps: frames a second if the files state it, else 0.
    seconds: float64 [frames], when each frame was taken, if unevenly spaced in time; None if evenly spaced.
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
    """One way in which files hold walks.

    name: for --format. summary: one line. files: the file layout, a few lines.
    recognize: maps a source to the evidence for this format, or "".
    find: lists the walks of a source, reading as little as possible. load: reads one, and raises Unusable if only that
    one is bad. Both are module-level functions, so that a worker process can call them.
    read: (source, angles of virtual cameras, left_out=list) -> walks; replaces the two for three-dimensional formats.
    pattern: how to name walks whose paths have no known spelling, see gaitlib.poses.naming.
    rather_than: a more general format that fits the same files; this one is preferred when the format is guessed.
    has_images: whether the files are clips. Then `load` also takes model, start, stop and fps as in `gaitlib.poses.reading.read`,
    pictures show who was followed, and people who stand are left out.
    dataset, license, citation: of the data set that comes in this format, for dataset.json; "" if there is none.
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
