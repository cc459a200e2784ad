"""Write data sets in the formats of other programs, so that they can run on the same walks."""

import os
import pickle
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from gaitlib import InputError
from gaitlib.data.dataset import GaitDataset, Walk
from gaitlib.files import is_taken
from gaitlib.poses.formats.tables import CONFIDENCES, POSITIONS
from gaitlib.skeleton import COCO17

#: Our joints that exist in COCO, and its keypoints for them; neck and mid-hip would be midpoints.
_JOINTS = [j for j, keypoints in enumerate(COCO17.sources) if len(keypoints) == 1]
_KEYPOINTS = [COCO17.sources[j][0] for j in _JOINTS]
#: Labels become folder names and table cells.
_LABEL = re.compile(r"\w(?:[\w.+-]{0,98}\w)?")


def export(dataset: GaitDataset, format: str, out: str | Path) -> int:
    """Write all walks of a data set below the folder `out`, which appears whole or not at all; returns their number.

    format: a name in EXPORTS.
        "opengait"   SSS/CC-NN/VVV/SSS-CC-NN-VVV.pkl, a pickled float32 [T, 17, 3] each: x, y, score in the order of COCO
        "gaitgraph"  walks.csv: image_name, then x, y, score of the 17 keypoints; one row per frame
        "csv"        walks.csv: every joint and confidence with all digits, as gaitlib.poses.formats.tables describes it
    COCO has no neck and no mid-hip, and the 15 joints include no eyes and ears: these are left out, and a missing keypoint
    has x, y and score 0. If a subject has several recordings with one condition and run, the name of the recording stands
    for condition and run: 007/nm-03-f0060/000.
    Raises InputError for an unknown format, an `out` that exists and is not empty, or labels that cannot be file names.
    """
    out = Path(out)
    if format not in EXPORTS:
        raise InputError(f"--format {format!r} cannot be written; choose from {', '.join(EXPORTS)}.")
    if is_taken(out):
        raise InputError(f"{out} exists and is not an empty folder; choose another --out, nothing was written.")
    for row in dataset.index.itertuples():
        for label in (row.subject, row.view, row.recording):
            if not _LABEL.fullmatch(label) or ".." in label:
                raise InputError(f"Walk {row.sequence!r} cannot be exported: {label[:40]!r} cannot be a file name; rename it.")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(".partial", f".{out.name}.", out.parent, ignore_cleanup_errors=True) as partial:
            EXPORTS[format](dataset, Path(partial))
            os.chmod(partial, 0o755)
            os.replace(partial, out)
    except OSError as error:
        raise InputError(f"{out} cannot be written ({error.strerror}); choose another --out, nothing was written.") from None
    return len(dataset)


def coco(walk: Walk) -> np.ndarray:
    """The walk as float32 [T, 17, 3]: x, y, score of the COCO keypoints, all 0 if one is missing."""
    found = np.zeros((len(walk.pose), len(COCO17.names), 3), dtype=np.float32)
    joints = np.concatenate([walk.pose, walk.confidence[..., None]], axis=2)[:, _JOINTS]
    found[:, _KEYPOINTS] = np.where(np.isfinite(joints).all(-1, keepdims=True), joints, 0)
    return found


def _performance(walk: Walk) -> str:
    """Condition and run, such as nm-01, or a longer name if the recording has one."""
    return walk.recording.removeprefix(f"{walk.subject}-")


def _opengait(walks: Iterable[Walk], folder: Path) -> None:
    for walk in walks:
        file = folder / walk.subject / _performance(walk) / walk.view / f"{walk.sequence}.pkl"
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("xb") as opened:
            pickle.dump(coco(walk), opened, protocol=4)


def _gaitgraph(walks: Iterable[Walk], folder: Path) -> None:
    columns = ["image_name", *(f"{name}_{part}" for name in COCO17.names for part in ("x", "y", "conf"))]
    rows = (
        (f"{walk.subject}-{_performance(walk)}-{walk.view}/{i:06d}.jpg", keypoints.ravel())
        for walk in walks
        for i, keypoints in enumerate(coco(walk))
    )
    _write_table(folder / "walks.csv", columns, rows)


def _csv(walks: Iterable[Walk], folder: Path) -> None:
    rows = (
        (f"{walk.subject}/{_performance(walk)}/{walk.view},{i}", values)
        for walk in walks
        for i, values in enumerate(np.concatenate([walk.pose.reshape(len(walk.pose), -1), walk.confidence], axis=1))
    )
    _write_table(folder / "walks.csv", ["path", "frame", *POSITIONS, *CONFIDENCES], rows)


def _write_table(path: Path, columns: list[str], rows: Iterable[tuple[str, np.ndarray]]) -> None:
    """One line per row; nine digits restore every float32 exactly, and a missing number is an empty cell."""
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(",".join(columns) + "\n")
        for name, values in rows:
            cells = ",".join(["%.9g"] * len(values)) % tuple(values.tolist())
            file.write(f"{name},{cells.replace('nan', '')}\n")


EXPORTS: dict[str, Callable[[Iterable[Walk], Path], None]] = {"opengait": _opengait, "gaitgraph": _gaitgraph, "csv": _csv}
