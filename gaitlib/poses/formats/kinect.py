"""The Kinect Gait Biometry Dataset as its authors publish it: a folder a person, a text file a recording.

Each recording is a semicircle walked around a Kinect v1 that turns with the person, so the person is seen from the side, first
from one, then from the other. Standing, turning round and lost tracking are cut out here; what is left are passes.
"""

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from gaitlib import InputError
from gaitlib.data.cameras import pass_to_walks
from gaitlib.data.dataset import Walk
from gaitlib.files import Unreadable, opened, read_text
from gaitlib.poses.formats.files import folders_with, usable
from gaitlib.poses.formats.kgbd import FACTS
from gaitlib.poses.sequences import Format, Unusable
from gaitlib.skeleton import KINECT, LEFT_ANKLE, LEFT_HIP, LEFT_SHOULDER, RIGHT_ANKLE, RIGHT_HIP, RIGHT_SHOULDER

FPS = 30.0
_JOINTS_A_FRAME = len(KINECT.names)

#: Walking: the distance between the ankles opens and closes with every step. Over 1.5 s, more than one stride, it
#: varies by more than 80 mm (standard deviation); standing and turning round on the spot stay below.
STRIDE_FRAMES = 45
STRIDE_MM = 80.0

#: Direction: the side of the body that is farther from the sensor, by the median of one second, so that glitches of the
#: tracker (left and right exchanged for a few frames) do not count and long ones end the pass.
SIDE_FRAMES = 31

#: Shorter pieces are dropped: about two seconds hold the two strides that a window of the recognizer needs.
SHORTEST_PASS = 64

_PERSON, _WALK = re.compile(r"Person(\d+)", re.IGNORECASE), re.compile(r"(\d+)\.txt", re.IGNORECASE)
_LARGEST_NUMBER = 10**6


@dataclass(frozen=True)
class Pass:
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
    ankles = _filled(np.linalg.norm(joints[:, RIGHT_ANKLE] - joints[:, LEFT_ANKLE], axis=-1))
    depth = joints[..., 2]
    side = depth[:, LEFT_SHOULDER] - depth[:, RIGHT_SHOULDER] + depth[:, LEFT_HIP] - depth[:, RIGHT_HIP]
    walking = np.std(_windows(ankles, STRIDE_FRAMES), axis=-1) > STRIDE_MM
    # the right side is nearer on the way to -x
    state = walking * np.where(np.median(_windows(_filled(side), SIDE_FRAMES), axis=-1) > 0, 1, -1)
    edges = itertools.pairwise([0, *(np.flatnonzero(np.diff(state)) + 1).tolist(), len(state)])
    return [Pass(a, b, int(state[a])) for a, b in edges if state[a] and b - a >= SHORTEST_PASS]


def _filled(values: np.ndarray) -> np.ndarray:
    """The values with gaps (NaN) bridged by straight lines; zeros where there is nothing at all."""
    known = np.flatnonzero(np.isfinite(values))
    return np.interp(np.arange(len(values)), known, values[known]) if len(known) else np.zeros(len(values))


def _windows(values: np.ndarray, frames: int) -> np.ndarray:
    """[T] to [T, frames]: the neighborhood of each frame, the first and last value repeated beyond the ends."""
    return sliding_window_view(np.pad(values, frames // 2, mode="edge"), frames)


def recordings(source: Path) -> list[tuple[int, int, Path]]:
    """All (person, walk, file) under `source` in the order of their numbers; empty where there is none.

    Raises InputError for a folder that cannot be read.
    """
    found = []
    for folders, names in folders_with(source, (".txt",)):
        folder = source.absolute().joinpath(*folders)
        person = _PERSON.fullmatch(folder.name) if folders[:-1] in ((), ("Data",)) else None
        for walk in filter(None, map(_WALK.fullmatch, names)) if person else ():
            found.append((int(person[1]), int(walk[1]), folder / walk[0]))
    return sorted(found)


def _recognize(source: Path) -> str:
    for _, _, path in recordings(source) if source.is_dir() else []:
        try:
            with opened(path) as file:
                first = file.readline(200).decode("utf-8-sig").strip()
        except (Unreadable, OSError, UnicodeDecodeError):
            continue
        if first.startswith(f"{KINECT.names[0]};") and first.count(";") == 3:
            return f"{path.parent.name}/{path.name} holds lines like {first}"
    return ""


def read(source: Path, angles: Sequence[int] = (), *, left_out: list[dict]) -> Iterator[Walk]:
    """All passes of all recordings, one walk a camera; each recording is read when its turn comes.

    Positions are rounded to whole millimeters, which is finer than the sensor measures.
    angles: of virtual cameras in degrees, () for the image of the sensor.
    left_out: gets {"source", "reason"} for each file or part of a file that cannot be used.
    Raises InputError where there is no recording, or the joints of one are not those of a Kinect in their order.
    """
    found = recordings(source) if source.is_dir() else []
    if not found:
        raise InputError(f"{source} holds no Kinect recordings; --format kinect looks for PersonNNN/K.txt in it or in its Data.")
    for person, run, path in found:
        name = f"{path.parent.name}/{path.name}"
        try:
            if max(person, run) >= _LARGEST_NUMBER:
                raise Unusable("has a number of more than six digits for its person or walk")
            joints, remark = read_recording(path)
        except Unusable as reason:
            left_out.append({"source": name, "reason": str(reason)})
            continue
        if remark:
            left_out.append({"source": name, "reason": remark})
        passes = cut(joints)
        if not passes:
            left_out.append({"source": name, "reason": f"no {SHORTEST_PASS} frames of walking in one direction"})
        for p in passes:
            place = {"start_frame": p.start, "source": f"{name} frames {p.start}-{p.stop - 1}"}
            millimeters = np.rint(joints[p.start : p.stop])
            yield from pass_to_walks(millimeters, angles, heading=p.heading, subject=person, run=run, fps=FPS, **place)


def read_recording(path: Path) -> tuple[np.ndarray, str]:
    """All frames of one file, float64 [F, 15, 3] in millimeters with NaN for what is no finite number, and a remark.

    The remark says what was dropped, "" for nothing: a file that was cut off in the middle of a frame loses that frame.
    Raises InputError for a joint out of order, since then no position can be trusted, and Unusable for other damage.
    """
    lines = usable(read_text, path).rstrip().splitlines()
    if not lines:
        raise Unusable("is empty")
    frames, rest = divmod(len(lines), _JOINTS_A_FRAME)
    if not rest and lines[-1].count(";") < 3:
        frames, rest = frames - 1, _JOINTS_A_FRAME
    if not frames:
        raise Unusable(f"holds {len(lines)} lines, not one whole frame of {_JOINTS_A_FRAME}")
    remark = f"the file ends within a frame; the last {rest} lines were dropped" if rest else ""
    lines = lines[: frames * _JOINTS_A_FRAME]
    cells = ";".join(lines).split(";")
    if len(cells) != 4 * len(lines) or cells[0::4] != list(KINECT.names) * frames:
        _explain(path, lines)
    try:
        meters = np.array([cells[1::4], cells[2::4], cells[3::4]], dtype=np.float64)
    except ValueError:
        _explain(path, lines)
        raise
    meters[~np.isfinite(meters)] = np.nan
    if np.isnan(meters).all():
        raise Unusable("no joint has a position in any frame")
    return KINECT.to_joints(meters.T.reshape(frames, _JOINTS_A_FRAME, 3)) * 1000.0, remark


def _explain(path: Path, lines: list[str]) -> None:
    """Raise for the first line that is not what it should be, line by line, since it is only reached for bad files."""
    for number, line in enumerate(lines):
        name, *numbers = line.split(";")
        expected = KINECT.names[number % _JOINTS_A_FRAME]
        if len(numbers) != 3:
            raise Unusable(f"line {number + 1} is {line[:40]!r}, not Name;x;y;z")
        if name != expected:
            where = f"{path}, line {number + 1}: joint {name[:40]!r} where {expected} belongs"
            raise InputError(f"{where}; check that the file is complete and remove it if it is not.")
        for text in numbers:
            try:
                float(text)
            except ValueError:
                raise Unusable(f"line {number + 1}: {text[:40]!r} is not a number") from None


KINECT_TEXT = Format(
    name="kinect",
    summary="the Kinect Gait Biometry Dataset as published, text recordings in meters; passes are cut out (3D)",
    files="""\
SOURCE/Data/PersonNNN/K.txt   person NNN, walk K; SOURCE may also be Data or one PersonNNN
                              one line a joint, Name;x;y;z in meters, 20 lines a frame from Head to Foot-Left
SOURCE/person-data.csv        not read""",
    recognize=_recognize,
    read=read,
    **FACTS,
)
