"""What the readers of two-dimensional poses have in common: files that belong to one walk, and everybody found in its frames.

A format of this kind has two functions. `find(source) -> Iterator[Sequence]` lists the walks of a file or folder without
reading them; `load(sequence) -> Detections` reads one, and raises Unusable where only this one is bad. Both are plain
functions of a module, so that a worker process can call them.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np


class Unusable(Exception):
    """One file cannot be used, the others can; the message is the reason, a clause without the file's name."""


@dataclass(frozen=True)
class Sequence:
    """The files of one walk, before they are read.

    path: where the walk lies below the source, "/" between folders and without suffix: "001/nm-01/090".
    files: in the order of the frames; a format with several walks in one file names that file in each.
    key: what tells the walk from the others of the same file; empty where a file holds one.
    """

    path: str
    files: tuple[Path | str, ...]
    key: str = ""


@dataclass(frozen=True)
class Detections:
    """Everybody who was found in the frames of one sequence; D detections in all.

    frame: int64 [D], the frame of each, from 0, not decreasing. frames: how many frames there are, empty ones included.
    keypoints: float32 [D, K, 2], image x right and y down, a missing keypoint is NaN.
    confidence: float32 [D, K], 0..1.
    person: int64 [D], the number that a tracker gave, -1 where there is none.
    remarks: what was passed over on the way, a clause each.
    """

    frame: np.ndarray
    frames: int
    keypoints: np.ndarray
    confidence: np.ndarray
    person: np.ndarray
    remarks: tuple[str, ...] = ()
