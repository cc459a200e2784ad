"""The Kinect Gait Biometry Dataset: as its authors publish it, and as passes that are already cut.

As published, it has one folder per person and one text file per recording. In each recording the person walks a semicircle around
a Kinect v1 that turns along, so the person is seen from the side, first from one, then from the other. Standing, turning around
and lost tracking are cut out here; passes remain.

Cut passes are stored in one .npz of integer arrays:
joints_mm    integers [F, 15, 3], the frames of all passes end to end, millimeters (axes: see gaitlib.data.cameras)
offsets      integers [P + 1], pass i is joints_mm[offsets[i]:offsets[i + 1]]
subject, walk, start_frame, heading    integers [P]; heading +1 walks toward -x, -1 toward +x
fps          one number
joint_names  text [15], optional; if present, it must equal gaitlib.skeleton.JOINTS
"""

import itertools
import re
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view
from scipy.ndimage import median_filter

from gaitlib import InputError
from gaitlib.data.cameras import pass_to_walks
from gaitlib.data.dataset import Walk
from gaitlib.files import MOST_ARRAY, Unreadable, opened, read_arrays, read_text
from gaitlib.poses.formats.files import folders_with, usable
from gaitlib.poses.sequences import Format, Unusable
from gaitlib.skeleton import JOINTS, KINECT, LEFT_ANKLE, LEFT_HIP, LEFT_SHOULDER, RIGHT_ANKLE, RIGHT_HIP, RIGHT_SHOULDER

FPS = 30.0
_JOINTS_A_FRAME = len(KINECT.names)

#: Walking: the distance between the ankles grows and shrinks with every step. Over 1.5 s, more than one stride, it
#: varies by more than 80 mm (standard deviation); standing and turning on the spot stay below.
STRIDE_FRAMES = 45
STRIDE_MM = 80.0

#: Direction: the side of the body that is farther from the sensor, by the median over one second, so that short tracking
#: errors (left and right swapped for a few frames) do not count, and long ones end the pass.
SIDE_FRAMES = 31

#: Shorter pieces are dropped: about two seconds contain the two strides that a window of the recognizer needs.
SHORTEST_PASS = 64

_PERSON, _WALK = re.compile(r"Person(\d+)", re.IGNORECASE), re.compile(r"(\d+)\.txt", re.IGNORECASE)
_LARGEST_NUMBER = 10**6
_ONE_A_PASS = ("subject", "walk", "start_frame", "heading")
_NEEDED = ("joints_mm", "offsets", *_ONE_A_PASS, "fps")


class Pass(NamedTuple):
    """Frames start..stop-1 of a recording in which a person walks one way: heading +1 toward -x, -1 toward +x."""

    start: int
    stop: int
    heading: int


def cut(joints: np.ndarray) -> list[Pass]:
    """The walking passes of one recording.

    joints: float [F, 15, 3], millimeters (axes: see gaitlib.data.cameras), missing joints NaN.
    """
    if not len(joints):
        return []
    ankles = np.linalg.norm(joints[:, RIGHT_ANKLE] - joints[:, LEFT_ANKLE], axis=-1)
    depth = joints[..., 2]
    side = depth[:, LEFT_SHOULDER] - depth[:, RIGHT_SHOULDER] + depth[:, LEFT_HIP] - depth[:, RIGHT_HIP]
    whole = pd.DataFrame({"ankles": ankles, "side": side}).interpolate(limit_direction="both").fillna(0)
    strides = sliding_window_view(np.pad(whole["ankles"], STRIDE_FRAMES // 2, mode="edge"), STRIDE_FRAMES)
    walking = np.std(strides, axis=-1) > STRIDE_MM
    # the right side is nearer on the way to -x
    state = walking * np.where(median_filter(whole["side"], SIDE_FRAMES, mode="nearest") > 0, 1, -1)
    edges = itertools.pairwise([0, *(np.flatnonzero(np.diff(state)) + 1).tolist(), len(state)])
    return [Pass(a, b, int(state[a])) for a, b in edges if state[a] and b - a >= SHORTEST_PASS]


def recordings(source: Path) -> list[tuple[int, int, Path]]:
    """All (person, walk, file) under `source`, ordered by number; empty if there are none, or if it is not a folder.

    Raises InputError for a folder that cannot be read.
    """
    found = []
    for folders, names in folders_with(source, (".txt",)) if source.is_dir() else ():
        folder = source.absolute().joinpath(*folders)
        person = _PERSON.fullmatch(folder.name) if folders[:-1] in ((), ("Data",)) else None
        for walk in filter(None, map(_WALK.fullmatch, names)) if person else ():
            found.append((int(person[1]), int(walk[1]), folder / walk[0]))
    return sorted(found)


def _recognize_text(source: Path) -> str:
    for _, _, path in recordings(source):
        try:
            with opened(path) as file:
                first = file.readline(200).decode("utf-8-sig").strip()
        except (Unreadable, OSError, UnicodeDecodeError):
            continue
        if first.startswith(f"{KINECT.names[0]};") and first.count(";") == 3:
            return f"{path.parent.name}/{path.name} holds lines like {first}"
    return ""


def _read_text(source: Path, angles: Sequence[int], *, left_out: list[dict]) -> Iterator[Walk]:
    """Recordings are read one by one. Positions are rounded to whole millimeters, finer than the sensor measures.

    Raises InputError if there is no recording, or the joints of one are not those of a Kinect in their order.
    """
    found = recordings(source)
    if not found:
        raise InputError(f"{source} holds no Kinect recordings; --format kinect looks for PersonNNN/K.txt in it or in its Data.")
    for person, run, path in found:
        name, passes = f"{path.parent.name}/{path.name}", []
        try:
            if max(person, run) >= _LARGEST_NUMBER:
                raise Unusable("has a number of more than six digits for its person or walk")
            joints, reason = read_recording(path)
            passes = cut(joints)
            reasons = [reason, "" if passes else f"no {SHORTEST_PASS} frames of walking in one direction"]
        except Unusable as error:
            reasons = [str(error)]
        left_out += [{"source": name, "reason": reason} for reason in reasons if reason]
        for start, stop, heading in passes:
            place = {"start_frame": start, "source": f"{name} frames {start}-{stop - 1}"}
            millimeters = np.rint(joints[start:stop])
            yield from pass_to_walks(millimeters, angles, heading=heading, subject=person, run=run, fps=FPS, **place)


def read_recording(path: Path) -> tuple[np.ndarray, str]:
    """All frames of one file, float64 [F, 15, 3] in millimeters with NaN for values that are not finite, and a remark.

    The remark says what was dropped, or is "": a file that ends within a frame loses that frame.
    Raises InputError for a joint out of order, because then no position can be trusted, and Unusable for other damage.
    """
    lines = usable(read_text, path).rstrip().splitlines()
    if not lines:
        raise Unusable("is empty")
    frames, rest = divmod(len(lines), _JOINTS_A_FRAME)
    if not rest and lines[-1].count(";") < 3:
        frames, rest = frames - 1, _JOINTS_A_FRAME
    if not frames:
        raise Unusable(f"has {len(lines)} lines, less than one whole frame of {_JOINTS_A_FRAME}")
    meters = np.array([_position(path, i, line) for i, line in enumerate(lines[: frames * _JOINTS_A_FRAME])])
    meters[~np.isfinite(meters)] = np.nan
    if np.isnan(meters).all():
        raise Unusable("no joint has a position in any frame")
    remark = f"the file ends within a frame; the last {rest} lines were dropped" if rest else ""
    return KINECT.to_joints(meters.reshape(frames, _JOINTS_A_FRAME, 3)) * 1000.0, remark


def _position(path: Path, i: int, line: str) -> list[float]:
    """x, y and z in line i."""
    name, *numbers = line.split(";")
    expected = KINECT.names[i % _JOINTS_A_FRAME]
    if len(numbers) != 3:
        raise Unusable(f"line {i + 1} is {line[:40]!r}, not Name;x;y;z")
    if name != expected:
        where = f"{path}, line {i + 1}: joint {name[:40]!r} instead of {expected}"
        raise InputError(f"{where}; check that the file is complete and remove it if it is not.")
    position = []
    for text in numbers:
        try:
            position.append(float(text))
        except ValueError:
            raise Unusable(f"line {i + 1}: {text[:40]!r} is not a number") from None
    return position


def _recognize_passes(source: Path) -> str:
    if source.is_dir():
        return ""
    try:
        with opened(source, MOST_ARRAY) as file, zipfile.ZipFile(file) as content:
            found = {"joints_mm.npy", "offsets.npy"} <= set(content.namelist())
    except (Unreadable, OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return ""
    return "it holds the arrays joints_mm and offsets" if found else ""


def _read_passes(source: Path, angles: Sequence[int], *, left_out: list[dict]) -> Iterator[Walk]:
    """The whole file is checked before the first pass is read; no pass is ever left out."""
    try:
        try:
            arrays = read_arrays(source, (*_NEEDED, "joint_names"))
        except Unreadable:  # joint_names may be absent
            arrays = read_arrays(source, _NEEDED)
    except Unreadable as error:
        wanted = f"--format kgbd reads one .npz file with {', '.join(_NEEDED)}"
        raise InputError(f"{source} cannot be read: {error.why}; {wanted}.") from None
    _check(source, arrays)
    passes = np.split(arrays["joints_mm"], arrays["offsets"][1:-1])
    labels = zip(*(arrays[name].tolist() for name in _ONE_A_PASS), strict=True)
    for i, (joints, (subject, run, start, heading)) in enumerate(zip(passes, labels, strict=True)):
        facts = {"fps": float(arrays["fps"].item()), "source": f"{source.name} pass {i}"}
        yield from pass_to_walks(joints, angles, heading=heading, subject=subject, run=run, start_frame=start, **facts)


def _check(source: Path, arrays: dict[str, np.ndarray]) -> None:
    """Raise InputError with the first thing that is wrong with the arrays."""

    def demand(right: bool, wrong: str):
        if not right:
            raise InputError(f"{source}: {wrong}; make the file again as `gaitlib formats` describes it.")

    for name in _NEEDED[:-1]:
        kind = arrays[name].dtype
        demand(kind.kind in "iu", f"{name} holds {kind}, not whole numbers")
    joints, offsets = arrays["joints_mm"], arrays["offsets"]
    shape = list(joints.shape)
    demand(joints.ndim == 3 and shape[1:] == [len(JOINTS), 3], f"joints_mm is {shape}, not [frames, {len(JOINTS)}, 3]")
    demand(offsets.ndim == 1 and len(offsets) >= 2, f"offsets is {list(offsets.shape)}, not [passes + 1]")
    steps = np.diff(offsets.astype(np.int64))
    demand((steps > 0).all(), f"offsets does not grow after entry {int(np.argmax(steps <= 0))}")
    whole = offsets[0] == 0 and offsets[-1] == len(joints)
    demand(whole, f"offsets runs from {offsets[0]} to {offsets[-1]}, joints_mm from 0 to {len(joints)}")
    for name in _ONE_A_PASS:
        shape = list(arrays[name].shape)
        demand(shape == [len(steps)], f"{name} is {shape}, but offsets has {len(steps)} passes")
        counts = name == "heading" or ((arrays[name] >= 0) & (arrays[name] < _LARGEST_NUMBER)).all()
        demand(counts, f"{name} holds numbers below 0 or of more than six digits")
    odd = ~np.isin(arrays["heading"], (-1, 1))
    demand(not odd.any(), f"heading of pass {int(np.argmax(odd))} is neither +1 nor -1")
    fps = arrays["fps"]
    demand(fps.size == 1 and fps.dtype.kind in "iuf" and 1 <= fps.item() <= 1000, "fps is not a number from 1 to 1000")
    if "joint_names" in arrays:
        names = [re.sub("^l_", "left_", re.sub("^r_", "right_", str(n))) for n in arrays["joint_names"].tolist()]
        demand(tuple(names) == JOINTS, f"joint_names is not {', '.join(JOINTS)} in that order")


_ABOUT = {
    "dataset": "Kinect Gait Biometry Dataset",
    "license": "Public for research; cite the paper, and ask the authors before passing it or parts of it on.",
    "citation": 'V. O. Andersson and R. M. Araujo, "Person identification using anthropometric and gait data from '
    'Kinect sensor", AAAI 2015',
}
KINECT_TEXT = Format(
    name="kinect",
    summary="the Kinect Gait Biometry Dataset as published, text recordings in meters; passes are cut out (3D)",
    files="""\
SOURCE/Data/PersonNNN/K.txt   person NNN, walk K; SOURCE may also be Data or one PersonNNN
                              one line per joint, Name;x;y;z in meters, 20 lines per frame from Head to Foot-Left
SOURCE/person-data.csv        not read""",
    recognize=_recognize_text,
    read=_read_text,
    **_ABOUT,
)
KGBD = Format(
    name="kgbd",
    summary="passes cut from the Kinect Gait Biometry Dataset, one .npz (3D, millimeters)",
    files="""\
FILE.npz   joints_mm [frames,15,3], offsets [passes+1], and for each pass
           subject, walk, start_frame, heading (+1 or -1); fps; all but fps whole numbers""",
    recognize=_recognize_passes,
    read=_read_passes,
    **_ABOUT,
)
