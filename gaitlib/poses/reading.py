"""From the files of two-dimensional poses to walks: find, name, load, tell the layout, follow one person, map to the 15 joints.

Everything that concerns one sequence happens in `to_walk`, here or in a worker process. Only a few batches are under way at
any time, so memory does not grow with the number of sequences.
"""

import math
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import islice
from multiprocessing import parent_process
from multiprocessing.connection import wait
from pathlib import Path
from threading import Thread

import numpy as np

from gaitlib import InputError
from gaitlib.data.dataset import Walk
from gaitlib.poses import naming, people
from gaitlib.poses.naming import Name
from gaitlib.poses.sequences import Detections, Sequence, Unusable
from gaitlib.skeleton import BODY_25, BODY_25B, LAYOUTS, Layout

#: Sequences that a worker gets at once, and batches that wait for each worker.
BATCH, WAITING = 16, 2

#: BODY_25 or BODY_25B: what is measured in the median over people, in shares of the diagonal of what is seen of a person.
#: In BODY_25 keypoint 8 is the mid-hip, in the middle of 9 and 12; in BODY_25B it is the right elbow, 9 the left wrist, 12 the
#: right hip: 0.06 to 0.37 away in real walks. In BODY_25 keypoints 15 and 16 are eyes, far above 13 and 14, knee and ankle;
#: in BODY_25B they are ankles, 0.1 to 0.2 below the knees 13 and 14.
HIP_APART, EYES_ABOVE, ANKLES_BELOW = 0.05, -0.2, 0.05
FEWEST_PEOPLE, MOST_PEOPLE = 3, 25


@dataclass
class Options:
    """What the user may say about files of two-dimensional poses; see `gaitlib.poses.formats.read`.

    own_pattern is the format's own, for paths of no known spelling.
    """

    layout: str = ""
    pattern: str = ""
    names: str | Path | None = None
    workers: int = 1
    strict: bool = False
    fps: float = 25.0
    own_pattern: str = ""

    def __post_init__(self):
        if self.layout and self.layout not in LAYOUTS:
            raise InputError(f"--layout {self.layout!r} is unknown; choose from {', '.join(LAYOUTS)}.")
        if self.pattern and self.names:
            raise InputError("--pattern and --names say the same thing; give one of them.")
        if self.workers < 1:
            raise InputError(f"--workers {self.workers} cannot be used; give 1 or more.")
        if not 1 <= self.fps <= 1000:
            raise InputError(f"--fps {self.fps} cannot be used; give the frames a second, from 1 to 1000.")


@dataclass
class Tally:
    """What happened on the way, for dataset.json, in values that JSON has: `Tally(**vars(tally))` is the same.

    layouts: walks by layout. remarks: the walk that has each first, and how many do. left_out: {"source", "reason"} each.
    repaired: what the repairs changed, by step.
    began: when reading began, in seconds since 1970. sequences: how many were read since; listing: tells whether these are the
    same.
    """

    layouts: dict[str, int] = field(default_factory=dict)
    walks_with_a_choice: int = 0
    frames_with_a_choice: int = 0
    remarks: dict[str, dict] = field(default_factory=dict)
    left_out: list[dict] = field(default_factory=list)
    repaired: dict[str, int] = field(default_factory=dict)
    began: float = field(default_factory=time.time)
    sequences: int = 0
    listing: str = ""

    def read(self, stamp: str) -> None:
        """Count a sequence with this stamp."""
        self.sequences += 1
        self.listing = _digest(self.listing + stamp)

    def notes(self) -> dict:
        return {
            "layouts": self.layouts,
            "choices": {"walks": self.walks_with_a_choice, "frames": self.frames_with_a_choice},
            "remarks": [{"remark": remark, **entry} for remark, entry in self.remarks.items()],
        }


class Changed(Exception):
    """Files that were read before are not the same any more."""


@dataclass(frozen=True)
class Outcome:
    """One sequence after it was read: a walk or the reason why there is none; how often a person had to be chosen."""

    source: str
    walk: Walk | None = None
    reason: str = ""
    layout: str = ""
    choices: int = 0
    remarks: tuple[str, ...] = ()


def tell_layout(keypoints: np.ndarray, named: str = "") -> Layout:
    """The layout of keypoints by their number, and by the shape of the body where the number leaves two.

    keypoints: float [D, K, 2], missing ones NaN. named: what the user says it is, "" for nothing.
    Raises Unusable where it cannot be told or the number is another one, and InputError where the shape of the body
    contradicts the user, since then all files are suspect.
    """
    count = keypoints.shape[1]
    fitting = [layout.name for layout in LAYOUTS.values() if len(layout.names) == count]
    if named and named not in fitting:
        raise Unusable(f"{count} keypoints, and --layout {named} has {len(LAYOUTS[named].names)}")
    if not fitting:
        raise Unusable(f"{count} keypoints are of no known layout")
    if count != len(BODY_25.names):
        return LAYOUTS[fitting[0]]
    shape = body_25_or_25b(keypoints)
    if named and shape not in ("", named):
        raise InputError(f"--layout {named} contradicts the shape of the body, which is that of {shape}; leave --layout out.")
    if not (named or shape):
        raise Unusable("25 keypoints may be BODY_25 or BODY_25B and the shape of the body does not tell; name it with --layout")
    return LAYOUTS[named or shape]


def body_25_or_25b(keypoints: np.ndarray) -> str:
    """ "BODY_25" or "BODY_25B" where the keypoints [D, 25, 2] of upright people show it clearly, else ""."""
    seen = np.isfinite(keypoints[..., 0])
    rows = np.flatnonzero(seen[:, [8, 9, 12, 13, 14]].all(-1) & seen[:, [15, 16]].any(-1))
    points = keypoints[rows[:: len(rows) // MOST_PEOPLE + 1]].astype(np.float64)
    if len(points) < FEWEST_PEOPLE:
        return ""
    size = np.hypot(*(np.fmax.reduce(points, axis=1) - np.fmin.reduce(points, axis=1)).T) + 1e-9
    apart = _median(np.hypot(*(points[:, 8] - (points[:, 9] + points[:, 12]) / 2).T) / size)
    one, other = points[:, 15, 1], points[:, 16, 1]
    ends = (np.where(np.isnan(one), other, one) + np.where(np.isnan(other), one, other)) / 2
    below = _median((ends - (points[:, 13, 1] + points[:, 14, 1]) / 2) / size)
    if apart < HIP_APART and below < EYES_ABOVE:
        return BODY_25.name
    return BODY_25B.name if apart > HIP_APART and below > ANKLES_BELOW else ""


def _median(values: np.ndarray) -> float:
    """The upper of two in the middle; for a few numbers much faster than numpy's."""
    return np.sort(values)[len(values) // 2]


def to_walk(load: Callable[[Sequence], Detections], sequence: Sequence, name: Name, named_layout: str, fps: float) -> Outcome:
    """Read one sequence. Raises InputError only where the layout that the user named is wrong."""
    source = sequence.path
    try:
        found = load(sequence)
        layout = tell_layout(found.keypoints, named_layout)
        rows, choices = people.follow(found)
    except Unusable as reason:
        return Outcome(source, reason=str(reason))
    except (MemoryError, RecursionError):
        return Outcome(source, reason="is too large or nested too deeply")
    except InputError as error:
        raise InputError(f"{sequence.files[0]}: {error}") from None
    if not len(rows):
        return Outcome(source, reason="nobody was found in any frame")
    keypoints, sure = found.keypoints, found.confidence
    if len(rows) < len(keypoints):
        keypoints, sure = keypoints[rows], sure[rows]
    pose, confidence = layout.to_joints(keypoints), layout.to_joints(sure[..., None])[..., 0]
    frame = found.frame[rows] - found.frame[rows[0]]
    if len(frame) <= frame[-1]:  # the walker is not in every frame
        pose, confidence = _spread(pose, frame, np.nan), _spread(confidence, frame, 0)
    confidence[np.isnan(pose[..., 0])] = 0
    walk = Walk(
        pose=pose,
        confidence=confidence,
        fps=fps,
        subject=name.subject,
        condition=name.condition,
        run=name.run,
        view=name.view,
        source=source,
    )
    return Outcome(source, walk, layout=layout.name, choices=choices, remarks=found.remarks)


def _spread(values: np.ndarray, frame: np.ndarray, empty: float) -> np.ndarray:
    """Values of some frames with `empty` in the others."""
    spread = np.full((frame[-1] + 1, *values.shape[1:]), empty, dtype=values.dtype)
    spread[frame] = values
    return spread


def read_sequences(
    find: Callable[[Path], Iterator[Sequence]],
    load: Callable[[Sequence], Detections],
    source: Path,
    options: Options,
    left_out: list[dict],
    tally: Tally,
) -> Iterator[Walk]:
    """The walks of a source, in the order of `find`, as they are read.

    left_out: gets {"source", "reason"} for each sequence that cannot be used; with options.strict the first of them is raised
    as InputError. tally: is filled on the way; sequences that it counts already are passed over. Raises Changed where their
    files are not the same any more.
    """
    if options.names:
        name_of = naming.Table(Path(options.names))
    else:
        name_of = naming.Pattern(options.pattern) if options.pattern else _in_place(source, options.own_pattern)
    tasks = _tasks(find(source), name_of, load, options)
    before = Tally()
    for task in islice(tasks, tally.sequences):
        before.read(_stamp(task))
        if _last_change(task) > tally.began:
            raise Changed
    if before.listing != tally.listing:
        raise Changed
    return _walks(tasks, source, options, name_of, left_out, tally)


def _walks(tasks, source, options, name_of, left_out, tally) -> Iterator[Walk]:
    with closing(_outcomes(tasks, options.workers)) as outcomes:
        for outcome, stamp in outcomes:
            tally.read(stamp)
            if outcome.walk is None:
                _leave_out(outcome.source, outcome.reason, options, left_out)
                continue
            tally.layouts[outcome.layout] = tally.layouts.get(outcome.layout, 0) + 1
            tally.walks_with_a_choice += bool(outcome.choices)
            tally.frames_with_a_choice += outcome.choices
            for remark in outcome.remarks:
                tally.remarks.setdefault(remark, {"first": outcome.source, "walks": 0})["walks"] += 1
            yield outcome.walk
    if not tally.sequences:
        raise InputError(f"{source} holds no files of this format; see `gaitlib formats` for how they lie.")
    for path in name_of.unused() if isinstance(name_of, naming.Table) else ():
        _leave_out(path, f"is listed in {name_of.file.name}, but there is no such walk", options, left_out)


def _leave_out(source: str, reason: str, options: Options, left_out: list[dict]) -> None:
    if options.strict:
        raise InputError(f"{source}: {reason}; correct or remove it, or leave --strict out.")
    left_out.append({"source": source, "reason": reason})


def _in_place(source: Path, own_pattern: str) -> Callable[[str], Name]:
    """Names by path in a known spelling, or the format's own; the folders above the source may be the beginning of it."""
    own = naming.Pattern(own_pattern) if own_pattern else None
    above = "/".join(source.absolute().parts[1:][-3:] if source.is_dir() else source.absolute().parts[1:-1][-3:])

    def name_of(path: str) -> Name:
        try:
            return naming.from_path(path)
        except Unusable:
            if own and own.expression.fullmatch(path):
                return own(path)
            return naming.from_path(f"{above}/{path}")

    return name_of


def _tasks(sequences: Iterable[Sequence], name_of: Callable[[str], Name], load, options: Options) -> Iterator[tuple]:
    for sequence in sequences:
        try:
            name = name_of(sequence.path)
        except Unusable as reason:
            yield None, Outcome(sequence.path, reason=str(reason))
        else:
            yield load, sequence, name, options.layout, options.fps


def _stamp(task: tuple) -> str:
    """Tells whether a task is the same: its path and the names of its files."""
    if task[0] is None:
        return _digest(task[1].source)
    sequence = task[1]
    return _digest("\0".join((sequence.path, sequence.key, *map(os.fspath, sequence.files))))


def _last_change(task: tuple) -> float:
    """When the files of a task were written or renamed last, in seconds since 1970; infinite where that cannot be told."""
    try:
        facts = [os.stat(file) for file in task[1].files] if task[0] else []
    except OSError:
        return math.inf
    return max((max(f.st_mtime, f.st_ctime) for f in facts), default=0.0)


def _digest(text: str) -> str:
    return blake2b(text.encode("utf-8", "backslashreplace"), digest_size=16).hexdigest()


def _run(tasks: list[tuple]) -> list[tuple[Outcome, str]]:
    return [(task[1] if task[0] is None else to_walk(*task), _stamp(task)) for task in tasks]


def _outcomes(tasks: Iterator[tuple], workers: int) -> Iterator[tuple[Outcome, str]]:
    """The outcome of each task and its stamp in their order; with several workers, a bounded number of batches is under way."""
    if workers == 1:
        for task in tasks:
            yield from _run([task])
        return
    waiting: deque = deque()
    pool = ProcessPoolExecutor(workers, initializer=_end_with_parent)
    try:
        while batch := list(islice(tasks, BATCH)):
            waiting.append(pool.submit(_run, batch))
            if len(waiting) > WAITING * workers:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """Leave Ctrl-C to the parent, and end when it was killed: a worker would wait for its next batch for ever."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=lambda: (wait([parent_process().sentinel]), os._exit(1)), daemon=True).start()
