"""Data sets written in the formats of other programs, so that a peer can be run on the same walks."""

import os
import pickle
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TextIO

import numpy as np

from gaitlib import InputError
from gaitlib.data.dataset import GaitDataset, Walk
from gaitlib.files import is_taken
from gaitlib.poses.formats.tables import CONFIDENCES, POSITIONS
from gaitlib.skeleton import JOINTS

#: The keypoints of COCO in their order; None is one that the 15 joints lack.
COCO = (
    "head", None, None, None, None,
    "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
    "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip
_COCO_NAMES = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", *(name for name in COCO[5:] if name),
)  # fmt: skip
_SHARED = [i for i, name in enumerate(COCO) if name]
_OURS = [JOINTS.index(name) for name in COCO if name]

#: Labels become names of folders and cells of tables.
_LABEL = re.compile(r"\w(?:[\w.+-]{0,98}\w)?")


def export(dataset: GaitDataset, format: str, out: str | Path) -> int:
    """Write all walks of a data set below the folder `out`, which appears whole or not at all.

    format: a name in EXPORTS.
        "opengait"   SSS/CC-NN/VVV/SSS-CC-NN-VVV.pkl, a pickled float32 [T, 17, 3] each: x, y, score in the order of COCO
        "gaitgraph"  walks.csv: image_name, then x, y, score of the 17 keypoints; a row a frame
        "csv"        walks.csv: every joint and confidence with all digits, as gaitlib.poses.formats.tables describes it
    COCO has no neck and no mid-hip, and the 15 joints no eyes and ears: those are left out, and a keypoint that is missing
    has x, y and score 0. Walks that are not the only performance of their subject, condition and run have the name of the
    recording for condition and run: 007/nm-03-f0060/000.
    Returns how many walks were written.
    Raises InputError for an unknown format, an `out` that exists and is not empty, or labels that cannot be names of files.
    """
    out = Path(out)
    if format not in EXPORTS:
        raise InputError(f"--format {format!r} cannot be written; choose from {', '.join(EXPORTS)}.")
    if is_taken(out):
        raise InputError(f"{out} exists and is not an empty folder; choose another --out, nothing was written.")
    for row in dataset.index.itertuples():
        for label in (row.subject, row.view, row.recording):
            if not _LABEL.fullmatch(label) or ".." in label:
                raise InputError(f"Walk {row.sequence!r} cannot be exported: {label[:40]!r} is no name for a file; rename it.")
    partial = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".partial", dir=out.parent))
        EXPORTS[format](dataset, partial)
        partial.chmod(0o755)
        os.replace(partial, out)
    except OSError as error:
        raise InputError(f"{out} cannot be written ({error.strerror}); choose another --out, nothing was written.") from None
    finally:
        if partial:
            shutil.rmtree(partial, ignore_errors=True)
    return len(dataset)


def coco(walk: Walk) -> np.ndarray:
    """The walk as float32 [T, 17, 3]: x, y, score of the keypoints of COCO, all 0 where one is missing."""
    found = np.zeros((len(walk.pose), len(COCO), 3), dtype=np.float32)
    joints = np.concatenate([walk.pose, walk.confidence[..., None]], axis=2)[:, _OURS]
    found[:, _SHARED] = np.where(np.isfinite(joints).all(-1, keepdims=True), joints, 0)
    return found


def _performance(walk: Walk) -> str:
    """Condition and run, nm-01, or more where the recording has more to its name."""
    return walk.recording.removeprefix(f"{walk.subject}-")


def _opengait(walks: Iterable[Walk], folder: Path) -> None:
    for walk in walks:
        file = folder / walk.subject / _performance(walk) / walk.view / f"{walk.sequence}.pkl"
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("xb") as opened:
            pickle.dump(coco(walk), opened, protocol=4)


def _gaitgraph(walks: Iterable[Walk], folder: Path) -> None:
    with (folder / "walks.csv").open("w", encoding="utf-8", newline="") as file:
        file.write(",".join(["image_name", *(f"{name}_{part}" for name in _COCO_NAMES for part in ("x", "y", "conf"))]) + "\n")
        for walk in walks:
            names = [f"{walk.subject}-{_performance(walk)}-{walk.view}/{i:06d}.jpg" for i in range(len(walk.pose))]
            _rows(file, names, coco(walk).reshape(len(names), -1))


def _csv(walks: Iterable[Walk], folder: Path) -> None:
    with (folder / "walks.csv").open("w", encoding="utf-8", newline="") as file:
        file.write(",".join(["path", "frame", *POSITIONS, *CONFIDENCES]) + "\n")
        for walk in walks:
            path = f"{walk.subject}/{_performance(walk)}/{walk.view}"
            names = [f"{path},{i}" for i in range(len(walk.pose))]
            _rows(file, names, np.concatenate([walk.pose.reshape(len(names), -1), walk.confidence], axis=1))


def _rows(file: TextIO, names: list[str], values: np.ndarray) -> None:
    """A line a row; nine digits give every float32 back exactly, a missing number is an empty cell."""
    row = ",".join(["%.9g"] * values.shape[1])
    for name, numbers in zip(names, values.tolist(), strict=True):
        cells = row % tuple(numbers)
        file.write(f"{name},{cells.replace('nan', '')}\n")


EXPORTS: dict[str, Callable[[Iterable[Walk], Path], None]] = {"opengait": _opengait, "gaitgraph": _gaitgraph, "csv": _csv}
