"""CSV tables in which a row is a frame and one file holds many walks: our own, and GaitGraph's.

A table is read twice from end to end: once to find the last row of each walk, then for the rows themselves. A table sorted by
walk is thus in memory one walk at a time, and rows in any other order are still put together. Fields may be quoted but must not
hold commas or line breaks. (pandas would fill a truncated row with empty cells, and reject the whole table for one row too long.)
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

#: From a row to the path of its walk, and subject, condition, run and view if the table has them.
_WalkOf = Callable[[str], tuple[str, tuple[str, ...]]]
#: From a table to the walk of a row, the number of header rows, and the evidence for the format; raises Unusable for a table of
#: another kind.
_Look = Callable[[Path], tuple[_WalkOf, int, str]]


def _lines(path: Path) -> Iterator[str]:
    """The non-empty lines of a table, without quotes; bytes that are not UTF-8 become a character that no number has."""
    with opened(path, MOST_ARRAY) as file:
        while line := file.readline(_LONGEST_LINE):
            if len(line) == _LONGEST_LINE:
                raise Unusable(f"holds a line of more than {_LONGEST_LINE:,} bytes")
            if text := line.decode("utf-8", "replace").removeprefix("\ufeff").replace('"', "").strip():
                yield text


def _first_row(path: Path) -> list[str]:
    """The fields of the first line. Raises Unusable if there is none, or it is not text."""
    line = usable(lambda: next(_lines(path), ""))
    if not line or "\ufffd" in line:
        raise Unusable("is not UTF-8 text" if line else "is empty")
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
    """The walks of a table, or of all tables in a folder, each with its rows as one text; other tables are reported as problems.

    wanted: the advice if `source` itself is another kind of table, which raises InputError, as does a table whose walks are too
    interleaved to be held in memory.
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
    """The cells of all rows, texts [rows, columns]. Raises Unusable if a row has a different number of cells."""
    rows = [line.split(",") for line in sequence.content.split("\n")]
    for row in rows:
        if len(row) != columns:
            raise Unusable(f"a row has {len(row)} fields, not {columns}: {','.join(row)[:60]!r}")
    return np.array(rows, dtype=object)


def _numbers(cells: np.ndarray) -> np.ndarray:
    """The numbers in cells of any shape, float64; NaN for empty ones. Raises Unusable for the first that is not a number."""
    numbers = []
    for cell in cells.flat:
        try:
            numbers.append(float(cell) if cell.strip() else np.nan)
        except ValueError:
            raise Unusable(f"{cell[:40]!r} is not a number") from None
    return np.array(numbers).reshape(cells.shape)


def _our_columns(path: Path) -> dict[str, int]:
    """The position of each column, by name. Raises Unusable if one is missing or occurs twice."""
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
        """The path, or its equivalent, and the labels; empty if the row is truncated."""
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
        raise Unusable(f"{cells[bad.argmax(), at['frame']][:40]!r} is not a frame number")
    distinct, times = np.unique(number, return_counts=True)
    if times.max() > 1:
        raise Unusable(f"has frame {int(distinct[times.argmax()])} twice")
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
        raise Unusable(f"starts with {name[:40]!r}, which is not the name of an image")
    return _walk_of_image, header, why


def _walk_of_image(row: str) -> tuple[str, tuple[str, ...]]:
    """The walk of the image in the first cell: "./a/001-nm-01-090/7.jpg" -> "a/001-nm-01-090"."""
    folder, _, name = row.partition(",")[0].strip().replace("\\", "/").rpartition("/")
    if not folder:
        flat = _FLAT.fullmatch(name)
        return (flat[1] if flat else name.partition(".")[0]), ()
    return "/".join(part for part in folder.split("/") if part not in ("", ".", "..")), ()


def _load_gaitgraph(sequence: Sequence) -> Detections:
    """Several rows of one image are several people, without track numbers."""
    cells = _cells(sequence, _GAITGRAPH_COLUMNS)
    frame_of, remarks = number_frames(cells[:, 0].tolist())
    frame = np.array([frame_of[name] for name in cells[:, 0]])
    person = np.zeros_like(frame) if len(frame_of) == len(cells) else None
    return detections(frame, _numbers(cells[:, 1:]).reshape(len(cells), -1, 3), person, remarks)


CSV = Format(
    name="csv",
    summary="our own table, one row per frame with named columns (CSV)",
    files=f"""\
FILE.csv, or a folder of them   named columns in any order: path, or subject, condition, run, view; frame; then for each
                                of the {NUM_JOINTS} joints NAME_x, NAME_y and, for all or none, NAME_confidence; one row per
                                frame, an empty cell is a missing joint; joints: {", ".join(JOINTS[:5])},
                                {", ".join(JOINTS[5:11])},
                                {", ".join(JOINTS[11:])}
                                subject, condition, run and view are used as given; a path is parsed like a file's path""",
    recognize=partial(_recognize, _look_csv),
    find=partial(_find, _look_csv, "`gaitlib formats` lists the columns of --format csv"),
    load=_load_csv,
    pattern="{subject}/{condition}-{run}/{view}",
)
GAITGRAPH = Format(
    name="gaitgraph",
    summary="GaitGraph's table, one row per frame with 17 keypoints (CSV)",
    files="""\
FILE.csv, or a folder of them   one row per image: its name, such as 001-nm-01-090/000001.jpg, then x, y, score of the 17
                                COCO keypoints; the first line may name the columns (image_name, nose_x, ...);
                                the folder in the image's name is the walk""",
    recognize=partial(_recognize, _look_gaitgraph),
    find=partial(_find, _look_gaitgraph, "--format gaitgraph reads image names and 17 x (x, y, score)"),
    load=_load_gaitgraph,
)
