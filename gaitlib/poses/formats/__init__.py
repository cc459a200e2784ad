"""All formats that can be read, listed in FORMATS; each is described in the module that reads it."""

import difflib
import sys
from pathlib import Path

from gaitlib import InputError
from gaitlib.files import opened
from gaitlib.poses.formats import coco, kinect, mediapipe, opengait, openpose, paper, tables, video
from gaitlib.poses.formats.files import check_source, folders_with
from gaitlib.poses.sequences import Format

_ALL = (
    kinect.KGBD, kinect.KINECT_TEXT, coco.ALPHAPOSE, openpose.OPENPOSE, coco.COCO, mediapipe.MEDIAPIPE, tables.GAITGRAPH,
    opengait.OPENGAIT, openpose.OUMVLP, paper.PAPER, tables.CSV, video.VIDEO,
)  # fmt: skip
FORMATS: dict[str, Format] = {known.name: known for known in _ALL}


def named(name: str) -> Format:
    """The format with this name. Raises InputError, which suggests the nearest name."""
    if name in FORMATS:
        return FORMATS[name]
    near = difflib.get_close_matches(name.lower(), FORMATS, n=1, cutoff=0.5)
    wanted = f"did you mean {near[0]}?" if near else f"choose from {', '.join(FORMATS)}."
    raise InputError(f"--format {name!r} is unknown; {wanted}")


def guess(source: str | Path) -> tuple[str, str]:
    """The format of `source` by its content, and why, such as ("kgbd", "it holds the arrays joints_mm and offsets").

    Raises InputError if no format fits, if several do (with the evidence for each), or if the source cannot be read.
    """
    source = Path(source)
    check_source(source)
    reasons = {name: why for name, known in FORMATS.items() if (why := known.recognize(source))}
    for name in list(reasons):
        reasons.pop(FORMATS[name].rather_than, None)
    if len(reasons) == 1:
        return next(iter(reasons.items()))
    if reasons:
        candidates = "; ".join(f"{name} ({why})" for name, why in reasons.items())
        raise InputError(f"{source} may be in more than one format: {candidates}; name one with `gaitlib prepare --format`.")
    first, example = source, ""
    if source.is_dir():
        folders, names = next(folders_with(source, ("",)), ((), ()))
        if not names:
            raise InputError(f"{source} holds no files; give the file or folder with the poses.")
        first = source.joinpath(*folders, names[0])
        example = f" (a file in it: {first.relative_to(source)})"
    with opened(first, sys.maxsize):  # a file that cannot be read raises its own error
        pass
    raise InputError(
        f"{source} is not in a known format{example}; `gaitlib prepare --format` with one of these says what does "
        f"not fit: {', '.join(FORMATS)} (`gaitlib formats` shows how each is laid out)."
    )
