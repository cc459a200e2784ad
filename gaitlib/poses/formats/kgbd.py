"""Passes already cut from the Kinect Gait Biometry Dataset, in one .npz of integer arrays.

joints_mm    integers [F, 15, 3], the frames of all passes end to end, millimeters (axes: see gaitlib.data.cameras)
offsets      integers [P + 1], pass i is joints_mm[offsets[i]:offsets[i + 1]]
subject, walk, start_frame, heading    integers [P]; heading +1 walks toward -x, -1 toward +x
fps          one number
joint_names  text [15], optional; where it is there it must be the order of gaitlib.skeleton.JOINTS
"""

import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gaitlib import InputError
from gaitlib.data.cameras import pass_to_walks
from gaitlib.data.dataset import Walk
from gaitlib.poses.formats.files import NUMPY_DAMAGE
from gaitlib.skeleton import JOINTS, NUM_JOINTS

LAYOUT = """\
FILE.npz   joints_mm [frames,15,3], offsets [passes+1], and for each pass
           subject, walk, start_frame, heading (+1 or -1); fps; all but fps whole numbers"""

_ONE_A_PASS = ("subject", "walk", "start_frame", "heading")
_NEEDED = ("joints_mm", "offsets", *_ONE_A_PASS, "fps")


@dataclass(frozen=True)
class Passes:
    """The checked arrays of a file, as the top of this module describes them."""

    joints_mm: np.ndarray
    offsets: np.ndarray
    subject: np.ndarray
    walk: np.ndarray
    start_frame: np.ndarray
    heading: np.ndarray
    fps: float


def recognize(source: Path) -> str:
    """Why `source` is this format, or an empty string."""
    if source.is_dir() or not zipfile.is_zipfile(source):
        return ""
    try:
        with zipfile.ZipFile(source) as file:
            found = {"joints_mm.npy", "offsets.npy"} <= set(file.namelist())
    except (OSError, zipfile.BadZipFile):
        return ""
    return "it holds the arrays joints_mm and offsets" if found else ""


def read(source: Path, angles: Sequence[int] = (), *, left_out: list[dict]) -> Iterator[Walk]:
    """All passes of the file, one walk a camera; the file is checked before the first one.

    angles: of virtual cameras in degrees, () for the image of the sensor. left_out: nothing is ever left out here.
    Raises InputError where an array is missing or does not fit the others, or the file cannot be read.
    """
    del left_out
    return _walks(load(source), angles, source.name)


def _walks(passes: Passes, angles: Sequence[int], name: str) -> Iterator[Walk]:
    for i, heading in enumerate(passes.heading.tolist()):
        yield from pass_to_walks(
            passes.joints_mm[passes.offsets[i] : passes.offsets[i + 1]],
            angles,
            heading=heading,
            subject=int(passes.subject[i]),
            run=int(passes.walk[i]),
            start_frame=int(passes.start_frame[i]),
            fps=passes.fps,
            source=f"{name} pass {i}",
        )


def load(source: Path) -> Passes:
    """Read and check the arrays. Raises InputError as `read` does."""
    whole = f"--format kgbd reads one .npz file with {', '.join(_NEEDED)}"
    if source.is_dir():
        raise InputError(f"{source} is a folder; {whole}.")
    try:
        file = np.load(source, allow_pickle=False)
        if isinstance(file, np.ndarray):
            raise InputError(f"{source} is a single array, not an .npz file; {whole}.")
        with file:
            for name in _NEEDED:
                if name not in file.files:
                    raise InputError(f"{source} lacks the array {name}; {whole}.")
            arrays = {name: file[name] for name in (*_NEEDED, "joint_names") if name in file.files}
    except FileNotFoundError:
        raise InputError(f"{source} does not exist; {whole}.") from None
    except NUMPY_DAMAGE:
        raise InputError(f"{source} is no .npz file of plain arrays, or a damaged one; {whole}.") from None
    _check(source, arrays)
    arrays.pop("joint_names", None)
    return Passes(**arrays | {"fps": float(arrays["fps"])})


def _check(source: Path, arrays: dict[str, np.ndarray]) -> None:
    """Raise InputError with the first thing that is wrong with the arrays."""

    def demand(right: bool, wrong: str):
        if not right:
            raise InputError(f"{source}: {wrong}; make the file again as `gaitlib formats` describes it.")

    for name in ("joints_mm", "offsets", *_ONE_A_PASS):
        kind = arrays[name].dtype
        demand(kind.kind in "iu", f"{name} holds {kind}, not whole numbers")
    joints, offsets = arrays["joints_mm"], arrays["offsets"]
    shape = list(joints.shape)
    demand(joints.ndim == 3 and shape[1:] == [NUM_JOINTS, 3], f"joints_mm is {shape}, not [frames, {NUM_JOINTS}, 3]")
    demand(offsets.ndim == 1 and len(offsets) >= 2, f"offsets is {list(offsets.shape)}, not [passes + 1]")
    steps = np.diff(offsets.astype(np.int64))
    demand((steps > 0).all(), f"offsets does not grow after entry {int(np.argmax(steps <= 0))}")
    demand(
        offsets[0] == 0 and offsets[-1] == len(joints),
        f"offsets runs from {offsets[0]} to {offsets[-1]}, joints_mm from 0 to {len(joints)}",
    )
    for name in _ONE_A_PASS:
        shape = list(arrays[name].shape)
        demand(shape == [len(steps)], f"{name} is {shape}, offsets speaks of {len(steps)} passes")
        demand(name == "heading" or (arrays[name] >= 0).all(), f"{name} holds numbers below 0")
    odd = ~np.isin(arrays["heading"], (-1, 1))
    demand(not odd.any(), f"heading of pass {int(np.argmax(odd))} is neither +1 nor -1")
    fps = arrays["fps"]
    demand(fps.size == 1 and fps.dtype.kind in "iuf" and 0 < float(fps.reshape(-1)[0]) < np.inf, "fps is no number above 0")
    arrays["fps"] = fps.reshape(())
    if "joint_names" in arrays:
        names = [re.sub("^l_", "left_", re.sub("^r_", "right_", str(n))) for n in arrays["joint_names"].tolist()]
        demand(tuple(names) == JOINTS, f"joint_names is not {', '.join(JOINTS)} in that order")
