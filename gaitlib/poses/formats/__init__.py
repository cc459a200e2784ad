"""What can be read: one file a format, all of them listed in FORMATS."""

import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from gaitlib import InputError
from gaitlib.data.cameras import parse_cameras
from gaitlib.data.dataset import Walk
from gaitlib.poses.formats import alphapose, coco, gaitgraph, kgbd, kinect, mediapipe, opengait, openpose, oumvlp, paper, plain
from gaitlib.poses.reading import Changed, Options, Tally, read_sequences

__all__ = ["FORMATS", "Changed", "Format", "Tally", "guess", "read"]


@dataclass(frozen=True)
class Format:
    """One way in which walks lie in files.

    name: for --format. summary: one line. layout: how the files lie, a few lines.
    read: (source Path, camera angles, left_out=list) -> iterator of Walk; a format in two dimensions always gets (). Formats
    that have `find` and `load` (see gaitlib.poses.sequences) need none.
    recognize: (source Path) -> why the source is this format, or "". sign: what `recognize` looks for, for messages.
    pattern: names of walks in paths of no known spelling, see gaitlib.poses.naming. before: a more general format that
    fits the same files and gives way in `guess`.
    is_3d: whether the walks have depth, so that virtual cameras can look at them.
    dataset, license, citation: of the data set that comes in this format, for dataset.json; "" where it is no one's.
    """

    name: str
    summary: str
    layout: str
    read: Callable[..., Iterator[Walk]] | None
    recognize: Callable[[Path], str]
    sign: str
    find: Callable | None = None
    load: Callable | None = None
    pattern: str = ""
    before: str = ""
    is_3d: bool = False
    dataset: str = ""
    license: str = ""
    citation: str = ""


def _poses(name: str, module: ModuleType, summary: str, sign: str, **more: str) -> Format:
    """The Format of a module with LAYOUT, recognize, find and load."""
    return Format(name, summary, module.LAYOUT, None, module.recognize, sign, module.find, module.load, **more)


_KGBD = {
    "dataset": "Kinect Gait Biometry Dataset",
    "license": "Public for research; cite the paper, and ask the authors before passing it or parts of it on.",
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
        _poses(
            "alphapose",
            alphapose,
            "AlphaPose results, a JSON file a walk",
            "JSON lists with image_id, keypoints and box or idx",
        ),
        _poses(
            "openpose",
            openpose,
            "OpenPose output, a folder a walk with a JSON file a frame",
            "folders of JSON files with people",
        ),
        _poses(
            "coco",
            coco,
            "keypoint results as MMPose, ViTPose and Detectron2 write them, one JSON file a walk or for all",
            "JSON lists with image_id and keypoints",
        ),
        _poses(
            "mediapipe",
            mediapipe,
            "MediaPipe Pose, 33 landmarks, a .npy or JSON file a walk",
            "33 landmarks a frame in .npy or JSON",
        ),
        _poses(
            "gaitgraph",
            gaitgraph,
            "GaitGraph's table, a row a frame with 17 keypoints (CSV)",
            "CSV with image_name and keypoints",
        ),
        _poses("opengait", opengait, "pickled arrays as OpenGait and FastPoseGait prepare them", "pickled arrays of keypoints"),
        _poses(
            "oumvlp",
            oumvlp,
            "the poses of OU-MVLP, a folder a walk with a JSON file a frame",
            "folders 00001/090_01 or 090_01/00001 of JSON files with people",
            before="openpose",
        ),
        _poses(
            "paper", paper, "the arrays of the IJCB 2021 paper's program (.npy)", "NAME.npy [N, T, 15, 2] beside NAME_label.npy"
        ),
        _poses(
            "csv",
            plain,
            "our own table, a row a frame with named columns (CSV)",
            "CSV with the columns frame, head_x, head_y, ...",
            pattern="{subject}/{condition}-{run}/{view}",
        ),
    )
}


def read(
    source: str | Path,
    format: str,
    *,
    cameras: str = "sensor",
    left_out: list[dict],
    layout: str = "",
    pattern: str = "",
    names: str | Path | None = None,
    workers: int = 1,
    strict: bool = False,
    fps: float | None = None,
    tally: Tally | None = None,
) -> Iterator[Walk]:
    """Walks, as they are read, from `source`.

    format: a name in FORMATS. cameras: "sensor" or "first:last:step" in degrees, see gaitlib.data.cameras.
    left_out: gets {"source", "reason"} for each file that cannot be used while the others can.
    strict: the first unusable file raises InputError instead.
    For files of two-dimensional poses: layout, a name in gaitlib.skeleton.LAYOUTS, "" to tell it from the keypoints; pattern
    or names (a CSV file), who walks in which file, see gaitlib.poses.naming; workers, how many processes read; fps,
    frames a second, 25 where it is not given; tally, filled with what was decided on the way: the sequences that it counts
    already are passed over, and Changed is raised where their files are not the same any more.
    Raises InputError for an unknown format, cameras that cannot be had, options that do not fit, a missing source, or one of
    the wrong kind; the latter also while walks are taken from the iterator.
    """
    source = Path(source)
    if format not in FORMATS:
        raise InputError(f"--format {format!r} is unknown; {_nearest(format)}")
    known = FORMATS[format]
    angles = parse_cameras(cameras)
    if angles and not known.is_3d:
        raise InputError(
            f"--cameras {cameras} needs walks in three dimensions and --format {format} has two; leave --cameras out."
        )
    if not source.exists():
        raise InputError(f"{source} does not exist; give the file or folder to read.")
    if known.find:
        options = Options(layout, pattern, names, workers, strict, 25.0 if fps is None else fps, known.pattern)
        return read_sequences(known.find, known.load, source, options, left_out, Tally() if tally is None else tally)
    given = {"--layout": layout, "--pattern": pattern, "--names": names, "--fps": fps}
    for option, value in given.items():
        if value:
            raise InputError(f"{option} is not for --format {format}, whose files say it themselves; leave it out.")
    walks = known.read(source, angles, left_out=left_out)
    return _strictly(walks, left_out) if strict else walks


def _strictly(walks: Iterator[Walk], left_out: list[dict]) -> Iterator[Walk]:
    """The walks up to the first file that a reader leaves out, which is raised as InputError."""
    walks = iter(walks)
    while True:
        before = len(left_out)
        walk = next(walks, None)
        if len(left_out) > before:
            entry = left_out[before]
            raise InputError(f"{entry['source']}: {entry['reason']}; correct or remove it, or leave --strict out.")
        if walk is None:
            return
        yield walk


def _nearest(name: str) -> str:
    near = difflib.get_close_matches(name.lower(), FORMATS, n=1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else f"choose from {', '.join(FORMATS)}."


def guess(source: str | Path) -> tuple[str, str]:
    """The format of `source` by its content, and why, such as ("kgbd", "it holds the arrays joints_mm and offsets").

    Raises InputError where no format fits, with what was looked for, or several do, with what speaks for each.
    """
    source = Path(source)
    if not source.exists():
        raise InputError(f"{source} does not exist; give the file or folder to read.")
    reasons = {name: known.recognize(source) for name, known in FORMATS.items()}
    reasons = {name: why for name, why in reasons.items() if why}
    for name in list(reasons):
        reasons.pop(FORMATS[name].before, None)
    if len(reasons) == 1:
        return next(iter(reasons.items()))
    if reasons:
        candidates = "; ".join(f"{name} ({why})" for name, why in reasons.items())
        raise InputError(f"{source} may be in more than one format: {candidates}; name one with --format.")
    first = source if source.is_file() else next((path for path in source.rglob("*") if path.is_file()), None)
    if not first:
        raise InputError(f"{source} holds no files; give the file or folder with the poses.")
    example = "" if source.is_file() else f" (a file in it: {first.relative_to(source)})"
    raise InputError(
        f"{source} is in no format that is recognized{example}; name its --format to hear what does not fit: "
        f"{', '.join(FORMATS)} (`gaitlib formats` shows how each lies in files)."
    )
