"""The CSV table of GaitGraph: the 17 keypoints of COCO in each image, a row an image, many walks in one file."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gaitlib.poses.formats import tables
from gaitlib.poses.formats.files import frame_number
from gaitlib.poses.formats.single import one_person
from gaitlib.poses.sequences import Detections, Sequence, Unusable

LAYOUT = """\
FILE.csv, or a folder of them   a row an image: its name, such as 001-nm-01-090/000001.jpg, then x, y, score of the 17
                                keypoints of COCO; the first line may name the columns (image_name, nose_x, ...);
                                the walk is the folder in the image's name"""

COLUMNS = 1 + 17 * 3

#: A name without a folder: 001-nm-01-090-000001.jpg
_FLAT = re.compile(r"(.+?)[-_]\d+(\.\w{1,5})?")


def recognize(source: Path) -> str:
    """Why `source` is this format, or an empty string."""
    for path in tables.files(source):
        try:
            header = _has_header(path)
        except Unusable:
            return ""
        return f"{path.name} has the {COLUMNS} columns of an image's name and 17 keypoints" + (", named" if header else "")
    return ""


def find(source: Path) -> Iterator[Sequence]:
    """The walks of a table, or of all in a folder. Raises InputError where `source` itself is no such table."""
    wanted = "--format gaitgraph reads image names and 17 x (x, y, score)"
    yield from tables.find_all(source, lambda path: (_Walks(), _has_header(path)), wanted)


def load(sequence: Sequence) -> Detections:
    """The keypoints [D, 17, 2] of one walk, in the order of the images' numbers.

    Several rows of one image are several people, numbered by no tracker.
    """
    (path,) = sequence.files
    if not sequence.key:
        _has_header(path)  # raises what is wrong
        raise Unusable("holds no rows")
    cells = tables.rows(path, sequence.key, COLUMNS)
    names = cells[0::COLUMNS]
    del cells[0::COLUMNS]
    values = tables.numbers(cells).reshape(len(names), 17, 3)
    frame = np.array([frame_number(name) for name in names], dtype=np.int64)
    order = np.argsort(frame, kind="stable") if (frame >= 0).all() else np.arange(len(frame))
    frame = frame[order] if (frame >= 0).all() else order
    alone = (np.diff(frame) > 0).all()
    return one_person(values[order], frame, person=0 if alone else -1)


def _has_header(path: Path) -> bool:
    """Whether the first line names the columns. Raises Unusable where the table is another one."""
    name, *fields = tables.first_row(path)
    if len(fields) != COLUMNS - 1:
        raise Unusable(f"has {len(fields) + 1} columns, not {COLUMNS}")
    try:
        tables.numbers(fields)
    except Unusable as reason:
        if name.lower() in ("image_name", "image", "name"):
            return True
        raise Unusable(f"has no column image_name, and {reason} in its first line") from None
    if not re.search(r"[^\d.eE+-]", name):
        raise Unusable(f"starts with {name[:40]!r}, which is no image's name")
    return False


class _Walks:
    """The walk of a line, looked up only where its folder differs from that of the line before."""

    def __init__(self):
        self.folder, self.walk = None, ""

    def __call__(self, line: bytes) -> str:
        name = line[: line.find(b",")]
        folder = name[: name.rfind(b"/") + 1] or name
        if folder != self.folder:
            self.folder, self.walk = folder, walk_of(name.decode("utf-8", "replace"))
        return self.walk


def walk_of(image: str) -> str:
    """The path of the walk that an image belongs to: "./a/001-nm-01-090/7.jpg" -> "a/001-nm-01-090"."""
    image = image.strip().strip('"').replace("\\", "/")
    folder, _, name = image.rpartition("/")
    if not folder:
        flat = _FLAT.fullmatch(name)
        return flat[1] if flat else name.partition(".")[0]
    return "/".join(part for part in folder.split("/") if part not in ("", ".", ".."))
