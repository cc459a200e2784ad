"""Pickled arrays of keypoints, one file a walk, as OpenGait and FastPoseGait prepare them."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from gaitlib.poses.formats.files import folders_with
from gaitlib.poses.formats.keypoints import detections
from gaitlib.poses.formats.pickles import load_array
from gaitlib.poses.sequences import Detections, Format, Sequence, Unusable

#: COCO, and COCO with the neck as OpenPose writes it.
_KEYPOINTS = (17, 18)
#: `_recognize` looks at no more files than this: a pickle of silhouettes may come first, a folder of them does not end.
_TRIED = 5


def _recognize(source: Path) -> str:
    for sequence in islice(find(source), _TRIED):
        try:
            shape = list(_array(sequence).shape)
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
        for name in names:
            path = _walk_of(folders, name.rpartition(".")[0], len(names) == 1)
            yield Sequence(path, (source.joinpath(*folders, name),))


def _walk_of(folders: tuple[str, ...], stem: str, alone: bool) -> str:
    """The path that names the walk: without the file's name where that says nothing that the folders do not."""
    repeats = folders and stem in (folders[-1], "-".join(folders[-3:]))
    if repeats or (alone and len(folders) >= 3 and not stem.isdecimal()):
        return "/".join(folders)
    return "/".join((*folders, stem))


def load(sequence: Sequence) -> Detections:
    """The one person of a walk, a detection a frame. Raises Unusable where the file is no pickled array of keypoints."""
    array = _array(sequence)
    if array.shape[2] == 3 and not array[..., 2].any():  # no scores, then
        array = array[..., :2]
    frame = np.arange(len(array))
    return detections(frame, array, np.zeros_like(frame))


def _array(sequence: Sequence) -> np.ndarray:
    """The keypoints in a file, [T, 17 or 18, 2 or 3]."""
    array = load_array(sequence.files[0])
    if array.ndim != 3 or array.shape[1] not in _KEYPOINTS or array.shape[2] not in (2, 3):
        raise Unusable(f"holds an array {list(array.shape)}, not [frames, 17 or 18 keypoints, 2 or 3]")
    return array


OPENGAIT = Format(
    name="opengait",
    summary="pickled arrays as OpenGait and FastPoseGait prepare them",
    files="""\
SOURCE/SSS/CC-NN/VVV/*.pkl   subject, condition-run, view (001/nm-01/090); one pickled array a walk,
                             [frames, 17, 3] or [frames, 18, 3] in the order of COCO: x, y, score; or without score
                             (only arrays and lists are read from a pickle, nothing in it is run)""",
    recognize=_recognize,
    find=find,
    load=load,
)
