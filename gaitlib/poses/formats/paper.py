"""The arrays read by the program of the IJCB 2021 paper: 15 joints, all walks of a set cut to one length.

NAME.npy             numbers [N, T, 15, 2], the joints of gaitlib.skeleton; (0, 0) and NaN are missing
NAME_label.npy       [N], the person, from 1
NAME_angle.npy       [N], the view in degrees; may be absent if NAME contains it: gallery_nm_090
NAME_situation.npy   [N], text: nm, bg, cl, or with the run, nm-01; may be absent if NAME contains it, and for a gallery

The arrays do not say which repetition a walk is, so repetitions are counted: the first walk of a person, condition and view is
run 1, galleries before probes. If walks are missing, equal runs of two views may be different performances.
The meaning of numbers is never guessed: conditions as numbers, views as positions in a list, and person numbers that occur in
both training and test are errors.
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gaitlib import InputError
from gaitlib.data.views import view_name
from gaitlib.files import MOST_TEXT, read_array
from gaitlib.poses.formats.files import LARGEST_WALK, detections, each_file, usable
from gaitlib.poses.sequences import Detections, Format, Sequence, Unusable
from gaitlib.skeleton import MID_HIP, NECK, NUM_JOINTS

_CONDITION = re.compile(r"([a-z]+)(?:-(\d{1,3}))?", re.IGNORECASE)


class _Set(NamedTuple):
    """One NAME.npy; `name` is its path below the source without the suffix."""

    name: str
    path: Path

    @property
    def role(self) -> str:
        """Its purpose according to its name: training, or test (gallery, then probe)."""
        return next((role for role in ("gallery", "probe", "test") if role in self.name.lower()), "train")

    def beside(self, part: str) -> Path:
        return self.path.with_name(f"{self.path.stem}_{part}.npy")


def _recognize(source: Path) -> str:
    for found in _sets(source):
        try:
            shape = _poses(found.path).shape
        except Unusable:
            continue
        return f"{found.path.name} holds {list(shape)} and {found.beside('label').name} lies beside it"
    return ""


def _find(source: Path) -> Iterator[Sequence]:
    """The walks of all sets in a folder, or of one NAME.npy, named SSS/CC-NN/VVV.

    Raises InputError if labels, views or conditions are missing, do not fit the poses, or cannot be understood.
    """
    counted: Counter = Counter()
    roles: dict[int, _Set] = {}
    for found in sorted(_sets(source), key=lambda s: (("train", "gallery", "probe", "test").index(s.role), s.name)):
        try:
            walks = len(_poses(found.path))
        except Unusable as reason:
            raise InputError(f"{found.path} {reason}; `gaitlib formats` describes the arrays of --format paper.") from None
        people = _people(found, walks)
        for person in np.unique(people).tolist():
            other = roles.setdefault(person, found)
            if (other.role == "train") != (found.role == "train"):
                what = f"person {person} is also in {other.path.name}, and the labels do not show whether it is the same person"
                todo = "number the test people from 75 on, or prepare the two from separate folders"
                raise InputError(f"{found.path}: {what}; {todo}.")
        rows = zip(people.tolist(), _conditions(found, walks), _views(found, walks), strict=True)
        for row, (person, (condition, run), view) in enumerate(rows):
            counted[person, condition, view] += 1
            run = run or counted[person, condition, view]
            yield Sequence(f"{person:03d}/{condition}-{run:02d}/{view}", (found.path,), row)


def _load(sequence: Sequence) -> Detections:
    """Empty frames at the end are padding and are dropped."""
    poses, row = _poses(sequence.files[0]), sequence.content
    if row >= len(poses):
        raise Unusable(f"holds {len(poses)} walks, so there is no number {row}")
    if poses[row].nbytes > LARGEST_WALK:
        raise Unusable(f"has {poses.shape[1]} frames in each walk, too many for a walk")
    pose = np.array(poses[row], dtype=np.float64)
    pose[(pose == 0).all(-1)] = np.nan
    there = np.isfinite(pose).all(-1)
    used = there.any(-1)
    if (pose < 0).any():  # not pixels, so walks centered on a joint, which is then at (0, 0) and not missing
        for center, other in ((NECK, MID_HIP), (MID_HIP, NECK)):
            if not there[:, center].any() and there[:, other].any():
                pose[used, center] = 0
    pose = pose[: np.flatnonzero(used).max(initial=0) + 1]
    frame = np.arange(len(pose))
    return detections(frame, pose, np.zeros_like(frame), zero_is_missing=False)


def _sets(source: Path) -> Iterator[_Set]:
    for name, path in each_file(source, ".npy"):
        found = _Set(name, path)
        if path.suffix == ".npy" and found.beside("label").is_file():
            yield found


def _poses(path: Path) -> np.ndarray:
    array = usable(read_array, path, memory_map=True)
    if array.ndim != 4 or array.shape[2:] != (NUM_JOINTS, 2) or array.dtype.kind not in "iuf":
        raise Unusable(f"holds {array.dtype} {list(array.shape)}, not numbers [walks, frames, {NUM_JOINTS}, 2]")
    return array


def _part(found: _Set, part: str, walks: int) -> np.ndarray | None:
    """One of the arrays [N] beside the poses, None if it is absent."""
    path = found.beside(part)
    if not path.exists():
        return None
    try:
        array = usable(read_array, path, most=MOST_TEXT)
    except Unusable as reason:
        raise InputError(f"{path} {reason}; save it again with np.save, as numbers or text.") from None
    if array.size != walks or array.dtype.kind not in "iufUS":
        both = f"{path} holds {array.dtype} {list(array.shape)}, {found.path.name} {walks} walks"
        raise InputError(f"{both}; give it one number or text for each walk.")
    return np.char.decode(array, "latin1").reshape(-1) if array.dtype.kind == "S" else array.reshape(-1)


def _whole(array: np.ndarray, path: Path) -> np.ndarray:
    """Numbers, or text of numbers, as int64."""
    try:
        numbers = array.astype(np.float64)
    except ValueError:
        raise InputError(f"{path} holds text such as {str(array[0])[:20]!r} where numbers are expected; replace it.") from None
    bad = ~((numbers == np.floor(numbers)) & (np.abs(numbers) < 1e6))
    if bad.any():
        raise InputError(f"{path} holds {numbers[np.argmax(bad)]:g} where a whole number below a million belongs; correct it.")
    return numbers.astype(np.int64)


def _people(found: _Set, walks: int) -> np.ndarray:
    path = found.beside("label")
    people = _whole(_part(found, "label", walks), path)
    if (people < 1).any():
        raise InputError(f"{path} holds person {people.min()}, and people count from 1; add 1 to all if they count from 0.")
    return people


def _views(found: _Set, walks: int) -> list[str]:
    path, angles = found.beside("angle"), _part(found, "angle", walks)
    if angles is None:
        numbers = [n for n in re.findall(r"\d+", found.name) if len(n) == 3 or found.role != "train"]
        if len(numbers) != 1 or int(numbers[0]) > 360:
            raise InputError(f"{path} is missing, and {found.path.name} does not name one view, such as gallery_nm_090.npy.")
        return [view_name(int(numbers[0]))] * walks
    views = _whole(angles, path)
    bad = (views < 0) | (views > 360)
    if bad.any():
        raise InputError(f"{path} holds {views[np.argmax(bad)]}, which is not a view in degrees; correct it.")
    if 0 < views.max() <= 10:
        places = f"{path} holds {views.min()} to {views.max()}, places in a list of views"
        raise InputError(f"{places} and not degrees; save the degrees instead.")
    return [view_name(view) for view in views.tolist()]


def _conditions(found: _Set, walks: int) -> list[tuple[str, int]]:
    """Condition and run of each walk, run 0 if it is not stated."""
    path, situations = found.beside("situation"), _part(found, "situation", walks)
    if situations is None:
        named = re.findall(r"(?<![a-z])(nm|bg|cl)(?![a-z])", found.name.lower())
        if len(named) > 1 or (not named and found.role != "gallery"):
            raise InputError(f"{path} is missing, and {found.path.name} does not name one condition, such as probe_bg_090.npy.")
        return [(named[0] if named else "nm", 0)] * walks
    if situations.dtype.kind != "U":
        raise InputError(f"{path} holds numbers, which could mean any condition; save text instead: nm, bg, cl.")
    known: dict[str, tuple[str, int]] = {}
    for text in np.unique(situations).tolist():
        match = _CONDITION.fullmatch(text.strip())
        if not match:
            raise InputError(f"{path} holds {text[:20]!r}, which is not a condition such as nm, bg, cl or nm-01; correct it.")
        known[text] = (match[1].lower(), int(match[2] or 0))
    return [known[text] for text in situations.tolist()]


PAPER = Format(
    name="paper",
    summary="the arrays of the IJCB 2021 paper's program (.npy)",
    files=f"""\
SOURCE/train.npy            [N, T, {NUM_JOINTS}, 2], with train_label.npy (people from 1), train_angle.npy (degrees) and
                            train_situation.npy (text: nm, bg, cl, or nm-01), [N] each; also test.npy
SOURCE/gallery_nm_090.npy   one file per view, likewise, with ..._label.npy; condition and view from the name;
SOURCE/probe_bg_090.npy     runs are numbered in the order of the walks of a person, condition and view""",
    recognize=_recognize,
    find=_find,
    load=_load,
)
