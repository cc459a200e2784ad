"""What can be read: one file a format, all of them listed in FORMATS."""

import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gaitlib import InputError
from gaitlib.data.cameras import parse_cameras
from gaitlib.data.dataset import Walk
from gaitlib.data.formats import kgbd, kinect


@dataclass(frozen=True)
class Format:
    """One way in which walks lie in files.

    name: for --format. summary: one line. layout: how the files lie, a few lines.
    read: (source Path, camera angles, left_out=list) -> iterator of Walk; a format in two dimensions always gets ().
    recognize: (source Path) -> why the source is this format, or "". sign: what `recognize` looks for, for messages.
    is_3d: whether the walks have depth, so that virtual cameras can look at them.
    dataset, licence, citation: of the data set that comes in this format, for dataset.json; "" where it is no one's.
    """

    name: str
    summary: str
    layout: str
    read: Callable[..., Iterator[Walk]]
    recognize: Callable[[Path], str]
    sign: str
    is_3d: bool = False
    dataset: str = ""
    licence: str = ""
    citation: str = ""


_KGBD = {
    "dataset": "Kinect Gait Biometry Dataset",
    "licence": "Public for research; cite the paper, and ask the authors before passing it or parts of it on.",
    "citation": 'V. O. Andersson and R. M. Araujo, "Person identification using anthropometric and gait data from '
    'Kinect sensor", AAAI 2015',
}

FORMATS: dict[str, Format] = {
    f.name: f
    for f in (
        Format(
            name="kgbd",
            summary="passes cut from the Kinect Gait Biometry Dataset, one .npz (3D, millimeters)",
            layout=kgbd.LAYOUT,
            read=kgbd.read,
            recognize=kgbd.recognize,
            sign="an .npz file with the arrays joints_mm and offsets",
            is_3d=True,
            **_KGBD,
        ),
        Format(
            name="kinect",
            summary="the Kinect Gait Biometry Dataset as published, text recordings in meters; passes are cut out (3D)",
            layout=kinect.LAYOUT,
            read=kinect.read,
            recognize=kinect.recognize,
            sign="a folder of PersonNNN/K.txt files with lines Name;x;y;z",
            is_3d=True,
            **_KGBD,
        ),
    )
}


def read(source: str | Path, format: str, *, cameras: str = "sensor", left_out: list[dict]) -> Iterator[Walk]:
    """Walks, as they are read, from `source`.

    format: a name in FORMATS. cameras: "sensor" or "first:last:step" in degrees, see gaitlib.data.cameras.
    left_out: gets {"source", "reason"} for each file that cannot be used while the others can.
    Raises InputError for an unknown format, cameras that cannot be had, a missing source, or one of the wrong kind; the
    latter also while walks are taken from the iterator.
    """
    source = Path(source)
    if format not in FORMATS:
        raise InputError(f"--format {format!r} is unknown; {_nearest(format)}")
    angles = parse_cameras(cameras)
    if angles and not FORMATS[format].is_3d:
        raise InputError(
            f"--cameras {cameras} needs walks in three dimensions and --format {format} has two; leave --cameras out."
        )
    if not source.exists():
        raise InputError(f"{source} does not exist; give the file or folder to read.")
    return FORMATS[format].read(source, angles, left_out=left_out)


def _nearest(name: str) -> str:
    near = difflib.get_close_matches(name.lower(), FORMATS, n=1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else f"choose from {', '.join(FORMATS)}."


def guess(source: str | Path) -> tuple[str, str]:
    """The format of `source` by its content, and why, such as ("kgbd", "it holds the arrays joints_mm and offsets").

    Raises InputError, with what was looked for, where no format fits.
    """
    source = Path(source)
    if not source.exists():
        raise InputError(f"{source} does not exist; give the file or folder to read.")
    for name, known in FORMATS.items():
        why = known.recognize(source)
        if why:
            return name, why
    looked_for = "; ".join(f"{known.sign} ({name})" for name, known in FORMATS.items())
    raise InputError(f"{source} is in no format that is recognized; looked for {looked_for}; name one with --format.")
