"""Pickled arrays of keypoints, one file a walk, as OpenGait and FastPoseGait prepare them."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from gaitlib.poses.formats.files import folders_with
from gaitlib.poses.formats.pickles import load_arrays
from gaitlib.poses.formats.single import one_person
from gaitlib.poses.sequences import Detections, Sequence, Unusable

LAYOUT = """\
SOURCE/SSS/CC-NN/VVV/*.pkl   subject, condition-run, view (001/nm-01/090); one pickled array a walk,
                             [frames, 17, 3] or [frames, 18, 3] in the order of COCO: x, y, score; or without score
                             (only arrays and plain containers are read from a pickle, nothing in it is run)"""

#: COCO, and COCO with the neck as OpenPose writes it.
KEYPOINTS = (17, 18)

#: `recognize` looks at no more files than this: a pickle of silhouettes may come first, a folder of them does not end.
_TRIED = 5


def recognize(source: Path) -> str:
    """Why `source` is this format, or an empty string."""
    for sequence in islice(find(source), _TRIED):
        try:
            shape = list(_array(sequence.files[0]).shape)
        except Unusable:
            continue
        return f"{sequence.files[0].name} holds a pickled array {shape}"
    return ""


def find(source: Path) -> Iterator[Sequence]:
    """The walks of a file or folder, one after the other; the files are not opened."""
    if source.is_file():
        if source.suffix.lower() in (".pkl", ".pickle"):
            yield Sequence(source.stem, (source,))
        return
    for folders, names in folders_with(source, (".pkl", ".pickle")):
        folder = source.joinpath(*folders)
        for name in names:
            yield Sequence(_walk_of(folders, name.rpartition(".")[0], len(names) == 1), (folder / name,))


def _walk_of(folders: tuple[str, ...], stem: str, alone: bool) -> str:
    """The path that names the walk: without the file's name where that says nothing that the folders do not."""
    repeats = folders and stem in (folders[-1], "-".join(folders[-3:]))
    if repeats or (alone and len(folders) >= 3 and not stem.isdecimal()):
        return "/".join(folders)
    return "/".join((*folders, stem))


def load(sequence: Sequence) -> Detections:
    """The one person of a walk, a detection a frame: keypoints [T, 17, 2] or [T, 18, 2].

    Raises Unusable where the file is no pickled array of keypoints.
    """
    return one_person(_array(sequence.files[0]))


def _array(path: Path) -> np.ndarray:
    """The keypoints in a file, [T, 17 or 18, 2 or 3]."""
    value = load_arrays(path)
    array = _stacked(value)
    if array.ndim != 3 or array.shape[1] not in KEYPOINTS or array.shape[2] not in (2, 3):
        raise Unusable(f"holds an array {list(array.shape)}, not [frames, 17 or 18 keypoints, 2 or 3]")
    return array


def _stacked(value: Any) -> np.ndarray:
    """An array, or a list of arrays or lists that are all alike, as one array of numbers."""
    if isinstance(value, np.ndarray) and value.dtype.kind != "O":
        return value
    if not isinstance(value, np.ndarray | list | tuple):
        raise Unusable(f"holds a {type(value).__name__}, not an array")
    try:
        return np.asarray(value.tolist() if isinstance(value, np.ndarray) else value, dtype=np.float64)
    except (ValueError, TypeError, OverflowError):
        raise Unusable("holds a list of things that are no numbers, or not alike in every frame") from None
