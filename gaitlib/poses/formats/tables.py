"""CSV tables in which a row is a frame and one file holds many walks: our own, and GaitGraph's.

A table is read twice from end to end: for the last row of each walk, then for the rows themselves, so that a table sorted by
walk is in memory one walk at a time, and rows in any other order are still put together. Fields may be quoted; they hold no
commas or line ends. (pandas would fill a row that is cut off with empty cells, and refuse the whole table for one too long.)
"""

import re
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from gaitlib import InputError
from gaitlib.files import MOST_ARRAY, opened
from gaitlib.poses.formats.files import LARGEST_WALK, count_frames, detections, each_file, number_frames, usable
from gaitlib.poses.sequences import Detections, Format, Sequence, Unusable
from gaitlib.skeleton import COCO17, JOINTS, NUM_JOINTS

#: Bytes; 136 keypoints of 3 numbers take 8,000.
_LONGEST_LINE = 2**16

LABELS = ("subject", "condition", "run", "view")
POSITIONS = tuple(f"{joint}_{axis}" for joint in JOINTS for axis in "xy")
CONFIDENCES = tuple(f"{joint}_confidence" for joint in JOINTS)

#: From a row to the path of its walk, and subject, condition, run and view where the table has them.
_WalkOf = Callable[[str], tuple[str, tuple[str, ...]]]
#: From a table to the walk of a row, how many rows names of columns take, and what it was recognized by; raises Unusable where
#: it is a table of another kind.
_Look = Callable[[Path], tuple[_WalkOf, int, str]]


def _lines(path: Path) -> Iterator[str]:
    """The lines of a table that hold something, without quotes; bytes that are no UTF-8 become what no number has."""
    with opened(path, MOST_ARRAY) as file:
        while line := file.readline(_LONGEST_LINE):
            if len(line) == _LONGEST_LINE:
                raise Unusable(f"holds a line of more than {_LONGEST_LINE:,} bytes")
            if text := line.decode("utf-8", "replace").removeprefix("\ufeff").replace('"', "").strip():
                yield text


def _first_row(path: Path) -> list[str]:
    """The fields of the first line. Raises Unusable where there is none, or it is no text."""
    line = usable(lambda: next(_lines(path), ""))
    if not line or "\ufffd" in line:
        raise Unusable("is no text in UTF-8" if line else "is empty")
    for sign in ";\t":
        if sign in line and "," not in line:
            raise Unusable(f"has columns separated by {sign!r}; save it with commas")
    return [field.strip() for field in line.split(",")]


def _recognize(look: _Look, source: Path) -> str:
    _, path = next(each_file(source, ".csv"), ("", source))
    try:
        return f"{path.name} has {look(path)[2]}"
    except Unusable:
        return ""


def _find(look: _Look, wanted: str, source: Path) -> Iterator[Sequence]:
    """The walks of a table, or of all tables in a folder, each with its rows as one text; one of another kind is a problem.

    wanted: the advice where `source` itself is of another kind, which raises InputError, as does a table whose walks are too
    mixed to be held in memory.
    """
    for _, path in each_file(source, ".csv"):
        try:
            walk_of, header, _ = look(path)
            yield from _walks(path, walk_of, header)
        except Unusable as reason:
            if source.is_file():
                raise InputError(f"{path} {reason}; {wanted}.") from None
            yield Sequence(path.stem, (path,), problem=str(reason))


def _walks(path: Path, walk_of: _WalkOf, header: int) -> Iterator[Sequence]:
    last = {walk_of(line): number for number, line in enumerate(islice(_lines(path), header, None))}
    held: dict[tuple, list[str]] = {}
    size = 0
    for number, line in enumerate(islice(_lines(path), header, None)):
        walk = walk_of(line)
        held.setdefault(walk, []).append(line)
        size += len(line)
        if size > LARGEST_WALK:
            raise InputError(f"{path}: the rows of {walk[0][:80]} and others lie too far apart; sort the table by walk.")
        if last.get(walk) == number:
            lines = held.pop(walk)
            size -= sum(map(len, lines))
            yield Sequence(walk[0], (path,), "\n".join(lines), walk[1])


def _cells(sequence: Sequence, columns: int) -> np.ndarray:
    """The cells of all rows, texts [rows, columns]. Raises Unusable where a row has another number of them."""
    rows = [line.split(",") for line in sequence.content.split("\n")]
    for row in rows:
        if len(row) != columns:
            raise Unusable(f"a row has {len(row)} fields, not {columns}: {','.join(row)[:60]!r}")
    return np.array(rows, dtype=object)


def _numbers(cells: np.ndarray) -> np.ndarray:
    """The numbers in cells of any shape, float64; NaN for empty ones. Raises Unusable with the first that is none."""
    numbers = []
    for cell in cells.flat:
        try:
            numbers.append(float(cell) if cell.strip() else np.nan)
        except ValueError:
            raise Unusable(f"{cell[:40]!r} is no number") from None
    return np.array(numbers).reshape(cells.shape)


def _our_columns(path: Path) -> dict[str, int]:
    """Where each column stands, by its name. Raises Unusable where one is missing or comes twice."""
    names = _first_row(path)
    walk = ("path",) if "path" in names else LABELS
    wanted = (*walk, "frame", *POSITIONS, *(() if set(CONFIDENCES).isdisjoint(names) else CONFIDENCES))
    if missing := [name for name in wanted if name not in names]:
        others = f" and {len(missing) - 1} more columns" if len(missing) > 1 else ""
        raise Unusable(f"lacks the column {missing[0]}{others}")
    if twice := next((name for name in wanted if names.count(name) > 1), ""):
        raise Unusable(f"has the column {twice} twice")
    return {name: i for i, name in enumerate(names)}


def _look_csv(path: Path) -> tuple[_WalkOf, int, str]:
    at = _our_columns(path)
    columns = [at[name] for name in (("path",) if "path" in at else LABELS)]

    def walk_of(row: str) -> tuple[str, tuple[str, ...]]:
        """The path, or what stands for it, and the labels; empty where the row is cut off."""
        cells = row.split(",", max(columns) + 1)
        found = [cells[c].strip() if c < len(cells) else "" for c in columns]
        if len(found) == 1:
            return found[0], ()
        subject, condition, run, view = found
        return f"{subject}/{condition}-{run.zfill(2)}/{view}", (subject, condition.lower(), run, view)

    return walk_of, 1, f"the columns frame, {POSITIONS[0]}, {POSITIONS[1]}, ..."


def _load_csv(sequence: Sequence) -> Detections:
    at = _our_columns(sequence.files[0])
    cells = _cells(sequence, len(at))
    number = _numbers(cells[:, at["frame"]])
    bad = ~((np.abs(number) < 2**53) & (number == np.floor(number)))
    if bad.any():
        raise Unusable(f"{cells[bad.argmax(), at['frame']][:40]!r} is no frame number")
    distinct, times = np.unique(number, return_counts=True)
    if times.max() > 1:
        raise Unusable(f"holds frame {int(distinct[times.argmax()])} twice")
    parts = [names for names in (POSITIONS, CONFIDENCES) if names[0] in at]
    joints = [_numbers(cells[:, [at[name] for name in names]]).reshape(len(cells), NUM_JOINTS, -1) for names in parts]
    frame, remarks = count_frames(number.astype(np.int64))
    return detections(frame, np.concatenate(joints, axis=2), np.zeros_like(frame), remarks, zero_is_missing=False)


_GAITGRAPH_COLUMNS = 1 + 3 * len(COCO17.names)
#: A name without a folder: 001-nm-01-090-000001.jpg
_FLAT = re.compile(r"(.+?)[-_]\d+(\.\w{1,5})?")


def _look_gaitgraph(path: Path) -> tuple[_WalkOf, int, str]:
    name, *fields = _first_row(path)
    if len(fields) != _GAITGRAPH_COLUMNS - 1:
        raise Unusable(f"has {len(fields) + 1} columns, not {_GAITGRAPH_COLUMNS}")
    why, header = f"the {_GAITGRAPH_COLUMNS} columns of an image's name and 17 keypoints", 0
    try:
        _numbers(np.array(fields, dtype=object))
    except Unusable as reason:
        if name.lower() not in ("image_name", "image", "name"):
            raise Unusable(f"has no column image_name, and {reason} in its first line") from None
        why, header = f"{why}, named", 1
    if not re.search(r"[^\d.eE+-]", name):
        raise Unusable(f"starts with {name[:40]!r}, which is no image's name")
    return _walk_of_image, header, why


def _walk_of_image(row: str) -> tuple[str, tuple[str, ...]]:
    """The walk of the image in the first cell: "./a/001-nm-01-090/7.jpg" -> "a/001-nm-01-090"."""
    folder, _, name = row.partition(",")[0].strip().replace("\\", "/").rpartition("/")
    if not folder:
        flat = _FLAT.fullmatch(name)
        return (flat[1] if flat else name.partition(".")[0]), ()
    return "/".join(part for part in folder.split("/") if part not in ("", ".", "..")), ()


def _load_gaitgraph(sequence: Sequence) -> Detections:
    """Several rows of one image are several people, numbered by no tracker."""
    cells = _cells(sequence, _GAITGRAPH_COLUMNS)
    frame_of, remarks = number_frames(cells[:, 0].tolist())
    frame = np.array([frame_of[name] for name in cells[:, 0]])
    person = np.zeros_like(frame) if len(frame_of) == len(cells) else None
    return detections(frame, _numbers(cells[:, 1:]).reshape(len(cells), -1, 3), person, remarks)


CSV = Format(
    name="csv",
    summary="our own table, a row a frame with named columns (CSV)",
    files=f"""\
FILE.csv, or a folder of them   named columns in any order: path, or subject, condition, run, view; frame; then for each
                                of the {NUM_JOINTS} joints NAME_x, NAME_y and, for all or none, NAME_confidence; a row a frame,
                                an empty cell is a missing joint; joints: {", ".join(JOINTS[:5])},
                                {", ".join(JOINTS[5:11])},
                                {", ".join(JOINTS[11:])}
                                subject, condition, run and view are taken as they stand, a path is read as one of files""",
    recognize=partial(_recognize, _look_csv),
    find=partial(_find, _look_csv, "`gaitlib formats` lists the columns of --format csv"),
    load=_load_csv,
    pattern="{subject}/{condition}-{run}/{view}",
)
GAITGRAPH = Format(
    name="gaitgraph",
    summary="GaitGraph's table, a row a frame with 17 keypoints (CSV)",
    files="""\
FILE.csv, or a folder of them   a row an image: its name, such as 001-nm-01-090/000001.jpg, then x, y, score of the 17
                                keypoints of COCO; the first line may name the columns (image_name, nose_x, ...);
                                the walk is the folder in the image's name""",
    recognize=partial(_recognize, _look_gaitgraph),
    find=partial(_find, _look_gaitgraph, "--format gaitgraph reads image names and 17 x (x, y, score)"),
    load=_load_gaitgraph,
)
