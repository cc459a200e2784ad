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
from pathlib import Path

import numpy as np

from gaitlib import InputError
from gaitlib.data.cameras import pass_to_walks
from gaitlib.data.dataset import Walk
from gaitlib.files import MOST_ARRAY, Unreadable, opened, read_arrays
from gaitlib.poses.sequences import Format
from gaitlib.skeleton import JOINTS, NUM_JOINTS

#: About the data set, for dataset.json.
FACTS = {
    "dataset": "Kinect Gait Biometry Dataset",
    "license": "Public for research; cite the paper, and ask the authors before passing it or parts of it on.",
    "citation": 'V. O. Andersson and R. M. Araujo, "Person identification using anthropometric and gait data from '
    'Kinect sensor", AAAI 2015',
}

_ONE_A_PASS = ("subject", "walk", "start_frame", "heading")
_NEEDED = ("joints_mm", "offsets", *_ONE_A_PASS, "fps")


def _recognize(source: Path) -> str:
    if source.is_dir():
        return ""
    try:
        with opened(source, MOST_ARRAY) as file, zipfile.ZipFile(file) as content:
            found = {"joints_mm.npy", "offsets.npy"} <= set(content.namelist())
    except (Unreadable, OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return ""
    return "it holds the arrays joints_mm and offsets" if found else ""


def read(source: Path, angles: Sequence[int] = (), *, left_out: list[dict]) -> Iterator[Walk]:
    """All passes of the file, one walk a camera; the file is checked before the first one.

    angles: of virtual cameras in degrees, () for the image of the sensor. left_out: nothing is ever left out here.
    Raises InputError where an array is missing or does not fit the others, or the file cannot be read.
    """
    del left_out
    try:
        try:
            arrays = read_arrays(source, (*_NEEDED, "joint_names"))
        except Unreadable:  # the names of the joints may be absent
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
        """Raise InputError where something is not right."""
        if not right:
            raise InputError(f"{source}: {wrong}; make the file again as `gaitlib formats` describes it.")

    for name in _NEEDED[:-1]:
        kind = arrays[name].dtype
        demand(kind.kind in "iu", f"{name} holds {kind}, not whole numbers")
    joints, offsets = arrays["joints_mm"], arrays["offsets"]
    shape = list(joints.shape)
    demand(joints.ndim == 3 and shape[1:] == [NUM_JOINTS, 3], f"joints_mm is {shape}, not [frames, {NUM_JOINTS}, 3]")
    demand(offsets.ndim == 1 and len(offsets) >= 2, f"offsets is {list(offsets.shape)}, not [passes + 1]")
    steps = np.diff(offsets.astype(np.int64))
    demand((steps > 0).all(), f"offsets does not grow after entry {int(np.argmax(steps <= 0))}")
    whole = offsets[0] == 0 and offsets[-1] == len(joints)
    demand(whole, f"offsets runs from {offsets[0]} to {offsets[-1]}, joints_mm from 0 to {len(joints)}")
    for name in _ONE_A_PASS:
        shape = list(arrays[name].shape)
        demand(shape == [len(steps)], f"{name} is {shape}, offsets speaks of {len(steps)} passes")
        counts = name == "heading" or ((arrays[name] >= 0) & (arrays[name] < 10**6)).all()
        demand(counts, f"{name} holds numbers below 0 or of more than six digits")
    odd = ~np.isin(arrays["heading"], (-1, 1))
    demand(not odd.any(), f"heading of pass {int(np.argmax(odd))} is neither +1 nor -1")
    fps = arrays["fps"]
    demand(fps.size == 1 and fps.dtype.kind in "iuf" and 1 <= fps.item() <= 1000, "fps is no number from 1 to 1000")
    if "joint_names" in arrays:
        names = [re.sub("^l_", "left_", re.sub("^r_", "right_", str(n))) for n in arrays["joint_names"].tolist()]
        demand(tuple(names) == JOINTS, f"joint_names is not {', '.join(JOINTS)} in that order")


KGBD = Format(
    name="kgbd",
    summary="passes cut from the Kinect Gait Biometry Dataset, one .npz (3D, millimeters)",
    files="""\
FILE.npz   joints_mm [frames,15,3], offsets [passes+1], and for each pass
           subject, walk, start_frame, heading (+1 or -1); fps; all but fps whole numbers""",
    recognize=_recognize,
    read=read,
    **FACTS,
)
