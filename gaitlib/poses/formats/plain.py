"""Our own CSV table: columns by name, a row a frame, the 15 joints of gaitlib.skeleton; the one to write by hand.

path                             names the walk, as in 001/nm-01/090; or instead
subject, condition, run, view    who, how (nm, bg, cl, ...), which repetition, and from where (090)
frame                            whole numbers, in any order; one that is left out is an empty frame
head_x, head_y, neck_x, ...      of each joint in JOINTS, x to the right, y down; an empty cell is a missing joint
head_confidence, ...             0 to 1, for all joints or none
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gaitlib.poses.formats import tables
from gaitlib.poses.formats.single import one_person
from gaitlib.poses.sequences import Detections, Sequence, Unusable
from gaitlib.skeleton import JOINTS, NUM_JOINTS

LAYOUT = f"""\
FILE.csv, or a folder of them   named columns in any order: path, or subject, condition, run, view; frame; then for each
                                of the {NUM_JOINTS} joints NAME_x, NAME_y and, for all or none, NAME_confidence; a row a frame,
                                an empty cell is a missing joint; joints: {", ".join(JOINTS[:5])},
                                {", ".join(JOINTS[5:11])},
                                {", ".join(JOINTS[11:])}"""

LABELS = ("subject", "condition", "run", "view")
POSITIONS = tuple(f"{joint}_{axis}" for joint in JOINTS for axis in "xy")
CONFIDENCES = tuple(f"{joint}_confidence" for joint in JOINTS)


@dataclass(frozen=True)
class _Columns:
    """Where the columns stand: those that name the walk, the frame, [15 x 2] positions, [15] confidences or none."""

    count: int
    walk: tuple[int, ...]
    frame: int
    positions: tuple[int, ...]
    confidences: tuple[int, ...]


def recognize(source: Path) -> str:
    """Why `source` is this format, or an empty string."""
    for path in tables.files(source):
        try:
            _columns(path)
        except Unusable:
            return ""
        return f"{path.name} has the columns frame, {POSITIONS[0]}, {POSITIONS[1]}, ..."
    return ""


def find(source: Path) -> Iterator[Sequence]:
    """The walks of a table, or of all in a folder. Raises InputError where `source` itself is no such table."""
    wanted = "`gaitlib formats` lists the columns of --format csv"
    yield from tables.find_all(source, lambda path: (_Walks(_columns(path).walk), True), wanted)


def load(sequence: Sequence) -> Detections:
    """The joints [T, 15, 2] of one walk, a detection a row, in the order of the frames.

    Raises Unusable for cells that are no numbers, and frames that come twice.
    """
    (path,) = sequence.files
    columns = _columns(path)
    if not sequence.key:
        raise Unusable("holds no rows")
    cells = tables.rows(path, sequence.key, columns.count)
    frame = tables.whole_numbers(cells[columns.frame :: columns.count])
    order = np.argsort(frame, kind="stable")
    frame = frame[order]
    twice = np.diff(frame) == 0
    if twice.any():
        raise Unusable(f"holds frame {frame[int(np.argmax(twice))]} twice")

    def values(where: tuple[int, ...]) -> np.ndarray:
        return np.stack([tables.numbers(cells[c :: columns.count]) for c in where], axis=1)[order]

    joints = values(columns.positions).reshape(len(frame), NUM_JOINTS, 2)
    if columns.confidences:
        joints = np.concatenate([joints, values(columns.confidences)[..., None]], axis=2)
    return one_person(joints, frame - frame[0], zero_is_missing=False)


def _columns(path: Path) -> _Columns:
    """The columns of a table by its first line. Raises Unusable where one is missing or comes twice."""
    names = tables.first_row(path)
    at = {name: i for i, name in enumerate(names)}
    walk = ("path",) if "path" in at else LABELS
    wanted = (*walk, "frame", *POSITIONS, *(CONFIDENCES if any(c in at for c in CONFIDENCES) else ()))
    missing = [name for name in wanted if name not in at]
    if missing:
        others = f" and {len(missing) - 1} more columns" if len(missing) > 1 else ""
        raise Unusable(f"lacks the column {missing[0]}{others}")
    twice = next((name for name in wanted if names.count(name) > 1), None)
    if twice:
        raise Unusable(f"has the column {twice} twice")
    walk_at = tuple(at[name] for name in walk)
    positions = tuple(at[name] for name in POSITIONS)
    return _Columns(len(names), walk_at, at["frame"], positions, tuple(at[name] for name in CONFIDENCES if name in at))


class _Walks:
    """The walk of a line: its path, or its labels put together as one."""

    def __init__(self, columns: tuple[int, ...]):
        self.columns, self.most = columns, max(columns) + 1
        self.labels, self.walk = None, ""

    def __call__(self, line: bytes) -> str:
        fields = line.split(b",", self.most)
        labels = [fields[c] if c < len(fields) else b"" for c in self.columns]
        if labels != self.labels:
            self.labels = labels
            texts = [label.decode("utf-8", "replace").strip().strip('"') for label in labels]
            self.walk = texts[0] if len(texts) == 1 else _path(*texts)
        return self.walk


def _path(subject: str, condition: str, run: str, view: str) -> str:
    return f"{subject}/{condition}-{run.zfill(2)}/{view}"
