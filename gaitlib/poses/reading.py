"""From pose files to walks: find, name, load, detect the keypoint layout, follow one person, map to the 15 joints.

Everything that concerns one sequence happens in `to_walks`, here or in a worker process. Only a few batches are in progress at
any time, so memory does not grow with the number of sequences.
"""

import math
import os
import re
import signal
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, count, islice
from multiprocessing import parent_process
from multiprocessing.connection import wait
from pathlib import Path
from threading import Thread

import numpy as np

from gaitlib import InputError
from gaitlib.data.cameras import parse_cameras
from gaitlib.data.dataset import SHORTEST_WALK, Walk
from gaitlib.poses import formats, naming, people
from gaitlib.poses.clips import at_even_times
from gaitlib.poses.formats.files import check_source
from gaitlib.poses.naming import Name
from gaitlib.poses.sequences import Detections, Format, Sequence, Unusable
from gaitlib.skeleton import BODY_25, BODY_25B, LAYOUTS, NUM_JOINTS, Layout

#: Sequences in a worker's batch (one if they are clips), and batches queued for each worker.
BATCH, WAITING = 16, 2

#: Frame rate of files that do not state it.
_USUAL_FPS = 25.0
_STANDS = (
    "the person who was followed stands still and has no gait; give `gaitlib prepare` another --person, or a part with "
    "--from and --to"
)
_SECONDS = "give seconds of the clip, the later one with --to"
_WHOM = "give largest, all, or a number from the contact sheet"
#: Seconds for which a person must be visible to get a number.
LEAST_SECONDS = 2.0

#: BODY_25 or BODY_25B: medians over people, as shares of the diagonal of a person's bounding box.
#: In BODY_25 keypoint 8 is the mid-hip, halfway between 9 and 12; in BODY_25B it is the right elbow, 9 the left wrist, 12 the
#: right hip: 0.06 to 0.37 apart in real walks. In BODY_25 keypoints 15 and 16 are eyes, far above 13 and 14, knee and ankle;
#: in BODY_25B they are ankles, 0.1 to 0.2 below the knees 13 and 14.
_HIP_APART, _EYES_ABOVE, _ANKLES_BELOW = 0.05, -0.2, 0.05
_FEWEST_PEOPLE, _MOST_PEOPLE = 3, 25


@dataclass(frozen=True)
class Followed:
    """Who was followed in a clip: the detections of everybody, and the rows [R] of them that make up the walk.

    pose: float32 [D, 15, 2] in pixels. numbers: int64 [D], the person's number for --person; 0 if the person has none.
    given_fps: the clip's frame rate according to the user.
    """

    clip: Path
    frame: np.ndarray
    pose: np.ndarray
    numbers: np.ndarray
    rows: np.ndarray
    given_fps: float | None = None


@dataclass(frozen=True)
class Outcome:
    """The walk of a sequence, or why there is none; how often a person had to be chosen; who was followed in a clip."""

    source: str
    walk: Walk | None = None
    reason: str = ""
    layout: str = ""
    choices: int = 0
    remarks: tuple[str, ...] = ()
    followed: Followed | None = None


@dataclass
class Tally:
    """The decisions made while reading, for dataset.json; remarks: for each, the first walk it concerns and the number of walks.

    followed: by name of the walk, in clips; whoever draws an entry removes it.
    """

    layouts: Counter = field(default_factory=Counter)
    walks_with_a_choice: int = 0
    frames_with_a_choice: int = 0
    remarks: dict[str, dict] = field(default_factory=dict)
    followed: dict[str, Followed] = field(default_factory=dict)

    def count(self, outcome: Outcome) -> None:
        """Add what was decided for one walk."""
        self.layouts[outcome.layout] += 1
        self.walks_with_a_choice += bool(outcome.choices)
        self.frames_with_a_choice += outcome.choices
        for remark in outcome.remarks:
            self.remarks.setdefault(remark, {"first": outcome.source, "walks": 0})["walks"] += 1
        if outcome.followed:
            self.followed[outcome.walk.sequence] = outcome.followed

    def notes(self) -> dict:
        """The entries of dataset.json."""
        return {
            "layouts": self.layouts,
            "choices": {"walks": self.walks_with_a_choice, "frames": self.frames_with_a_choice},
            "remarks": [{"remark": remark, **entry} for remark, entry in self.remarks.items()],
        }


def read(
    source: str | Path,
    format: str,
    *,
    left_out: list[dict],
    tally: Tally | None = None,
    cameras: str = "sensor",
    layout: str = "",
    pattern: str = "",
    names: str | Path | None = None,
    subject: str = "",
    workers: int = 1,
    strict: bool = False,
    fps: float | None = None,
    person: str = "",
    model: str | Path = "",
    start: float | None = None,
    stop: float | None = None,
) -> Iterator[Walk]:
    """Read walks from `source`, one after another.

    format: a name in gaitlib.poses.formats.FORMATS. cameras: "sensor" or "first:last:step" in degrees, see gaitlib.data.cameras.
    left_out: collects {"source", "reason"} for each file that cannot be used.
    strict: the first unusable file raises InputError instead.
    For files of two-dimensional poses: layout, a name in gaitlib.skeleton.LAYOUTS, "" to detect it from the keypoints; pattern
    or names (a CSV file), who walks in which file, and subject, if it is one person in all files, see gaitlib.poses.naming;
    workers, the number of reading processes; fps, the frame rate, by default that of the file or else 25; person, whose walk to
    take if there are several people: "largest", a number in order of appearance, or "all" for one walk each, see
    gaitlib.poses.people; tally, filled with the decisions made.
    For clips: model, the estimator's file; start and stop, the seconds between which to look.
    Raises InputError for an unknown format, impossible cameras, options that do not fit, a missing source, or one of
    the wrong kind; the latter also while iterating.
    """
    source, known, angles = Path(source), formats.named(format), parse_cameras(cameras)
    first, last = start or 0.0, math.inf if stop is None else stop
    of_clips = {"--model": model, "--from": start, "--to": stop}
    of_poses = {"--layout": layout, "--pattern": pattern, "--names": names, "--fps": fps, "--person": person}
    _check_fit(known, cameras if angles else "", of_clips, of_poses)
    check_source(source)
    if known.read:
        walks = known.read(source, angles, left_out=left_out)
    else:
        _check_values(layout, pattern, names, workers, fps, person, first, last)
        table = naming.Table(Path(names)) if names else None
        given = table or (naming.Pattern(pattern) if pattern else None)
        name_of = (lambda sequence: given(sequence.path)) if given else partial(_name, source, known)
        if subject:
            name_of = naming.OnePerson(subject, name_of)
        named = _named(known.find(source), name_of)
        load, batch = known.load, BATCH
        if known.has_images:
            load, batch = partial(load, model=model, start=first, stop=last, fps=fps), 1
        outcomes = _outcomes(partial(to_walks, load, layout, fps, person, known.has_images), named, workers, batch)
        walks = _walks(outcomes, source, table, left_out, Tally() if tally is None else tally, count_on=person == "all")
    return _strictly(walks, left_out) if strict else walks


def _check_fit(known: Format, cameras: str, of_clips: dict, of_poses: dict) -> None:
    """Raise InputError for an option, name -> value, that does not fit the format. cameras: virtual ones."""
    for option, value in of_clips.items():
        if value not in ("", None) and not known.has_images:
            raise InputError(f"{option} is for clips, which --format {known.name} does not read; leave it out.")
    if cameras and not known.read:
        raise InputError(
            f"--cameras {cameras} needs walks in three dimensions, but --format {known.name} has two; leave --cameras out."
        )
    for option, value in of_poses.items():
        if value and known.read:
            raise InputError(f"{option} cannot be used with --format {known.name}, whose files already say it; leave it out.")


def _check_values(
    layout: str, pattern: str, names: str | Path | None, workers: int, fps: float | None, person: str, first: float, last: float
) -> None:
    """Raise InputError for a value that `read` cannot use, or two that contradict each other; first, last: seconds."""
    for wrong, what in (
        (layout and layout not in LAYOUTS, f"--layout {layout!r} is unknown; choose from {', '.join(LAYOUTS)}."),
        (pattern and names, "--pattern and --names cannot be combined; give one of them."),
        (workers < 1, f"--workers {workers} cannot be used; give 1 or more."),
        (fps is not None and not 1 <= fps <= 1000, f"--fps {fps} cannot be used; give the frames a second, from 1 to 1000."),
        (not 0 <= first < last, f"--from {first:g} --to {last:g} cannot be used; {_SECONDS}."),
        (not re.fullmatch("|largest|all|0*[1-9][0-9]{0,3}", person), f"--person {person} does not name anybody; {_WHOM}."),
    ):
        if wrong:
            raise InputError(what)


def _strictly(walks: Iterator[Walk], left_out: list[dict]) -> Iterator[Walk]:
    """The walks up to the first file that is left out, which is raised as InputError."""
    walk = True
    while walk:
        before = len(left_out)  # the consumer of the walks leaves some out too
        walk = next(walks, None)
        for entry in left_out[before:]:
            raise InputError(f"{entry['source']}: {entry['reason']}; correct or remove it, or leave --strict out.")
        if walk:
            yield walk


def _named(sequences: Iterator[Sequence], name_of: Callable[[Sequence], Name]) -> Iterator[Sequence]:
    """The sequences with their names, or with the problem.

    If folders that are not part of a name hold walks of one subject, a remark says that they were treated as one person.
    """
    within: dict[str, str] = {}
    for sequence in sequences:
        try:
            if sequence.problem:
                raise Unusable(sequence.problem)
            name = name_of(sequence)
        except Unusable as reason:
            yield replace(sequence, problem=str(reason))
            continue
        first, remark = within.setdefault(name.subject, name.within), ""
        if first != name.within:
            folders = " and in ".join(folder or "the source itself" for folder in (first, name.within))
            remark = f"people of the same name in {folders} were treated as one person"
        yield replace(sequence, name=name, remark=remark)


def _name(source: Path, known: Format, sequence: Sequence) -> Name:
    """The name stated in the file, or else in the path by a known spelling, or else by the format's own pattern.

    A spelling may begin in the folders above the source.
    """
    if sequence.labels:
        return naming.checked(*sequence.labels)
    try:
        return naming.from_path(sequence.path)
    except Unusable:
        own = naming.Pattern(known.pattern) if known.pattern else None
        if own and own.expression.fullmatch(sequence.path):
            return own(naming.plain(sequence.path) if known.has_images else sequence.path)
        above = (source if source.is_dir() else source.parent).absolute().parts[1:][-3:]
        return naming.from_path("/".join((*above, sequence.path)))


def _walks(
    outcomes: Iterator[Outcome], source: Path, table: naming.Table | None, left_out: list[dict], tally: Tally, count_on: bool
) -> Iterator[Walk]:
    """The walks among the outcomes; their decisions go to `tally`, the other outcomes to `left_out`.

    count_on: if a name is taken, for example by another person in the same clip, the walk gets the next free run.
    """
    outcome, names = None, set()
    with closing(outcomes):
        for outcome in outcomes:
            if outcome.walk is None:
                left_out.append({"source": outcome.source, "reason": outcome.reason})
                continue
            if count_on:
                runs = (replace(outcome.walk, run=run, recording="") for run in count(outcome.walk.run))
                outcome = replace(outcome, walk=next(walk for walk in runs if walk.sequence not in names))
                names.add(outcome.walk.sequence)
            tally.count(outcome)
            yield outcome.walk
    if outcome is None:
        raise InputError(f"{source} holds no files of this format; `gaitlib formats` shows how they must be laid out.")
    for path in table.unused() if table else ():
        left_out.append({"source": path, "reason": f"is listed in {table.file.name}, but no such walk exists"})


def _outcomes(
    read_one: Callable[[Sequence], list[Outcome]], named: Iterator[Sequence], workers: int, batch_size: int
) -> Iterator[Outcome]:
    """The outcomes of each sequence, in order; with several workers, a bounded number of batches is in progress."""
    if workers == 1:
        yield from chain.from_iterable(map(read_one, named))
        return
    waiting: deque = deque()
    pool = ProcessPoolExecutor(workers, initializer=_end_with_parent)
    try:
        while batch := list(islice(named, batch_size)):
            waiting.append(pool.submit(_read_all, read_one, batch))
            if len(waiting) > WAITING * workers:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _read_all(read_one: Callable[[Sequence], list[Outcome]], batch: list[Sequence]) -> list[Outcome]:
    return list(chain.from_iterable(map(read_one, batch)))


def _end_with_parent() -> None:
    """Leave Ctrl-C to the parent, and exit if the parent is killed; otherwise a worker would wait for its next batch forever."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=lambda: (wait([parent_process().sentinel]), os._exit(1)), daemon=True).start()


def to_walks(
    load: Callable[[Sequence], Detections], named_layout: str, fps: float | None, person: str, has_images: bool,
    sequence: Sequence,
) -> list[Outcome]:  # fmt: skip
    """Read one sequence that has a name or a problem; all other arguments are those of `read` and `Format`.

    Raises InputError if the user named a wrong layout or a wrong estimator model.
    """
    try:
        if sequence.problem:
            raise Unusable(sequence.problem)
        found = load(sequence)
        layout = tell_layout(found.keypoints, named_layout)
        found = replace(found, fps=found.fps or fps or _USUAL_FPS)
        everybody, fewest = people.tracks(found), LEAST_SECONDS * found.fps
        chosen = people.choose(everybody, person, fewest)
    except Unusable as reason:
        return [Outcome(sequence.path, reason=str(reason))]
    except (MemoryError, RecursionError):
        return [Outcome(sequence.path, reason="is too large or nested too deeply")]
    except InputError as error:
        raise InputError(f"{sequence.files[0]}: {error}") from None
    remarks = (*found.remarks, *filter(None, [sequence.remark]))
    choices = 0 if person == "all" else everybody.choices
    outcomes = []
    for rows in chosen:
        walk = _to_walk(found, rows, layout, sequence)
        if has_images and len(walk.pose) >= SHORTEST_WALK and people.stands(walk.pose):
            outcomes.append(Outcome(sequence.path, reason=_STANDS))
            continue
        followed = None
        if has_images:
            numbers = people.numbers(everybody, fewest, len(found.frame))
            followed = Followed(Path(sequence.files[0]), found.frame, layout.to_joints(found.keypoints), numbers, rows, fps)
        outcomes.append(Outcome(sequence.path, walk, "", layout.name, choices, remarks, followed))
    return outcomes


def _to_walk(found: Detections, rows: np.ndarray, layout: Layout, sequence: Sequence) -> Walk:
    """The walk made of these detections, from the first to the last frame, resampled to even times if necessary."""
    name, first = sequence.name, found.frame[rows[0]]
    frame = found.frame[rows] - first
    pose = np.full((frame[-1] + 1, NUM_JOINTS, 2), np.nan, np.float32)  # the walker may be missing in some frames
    pose[frame] = layout.to_joints(found.keypoints[rows])
    confidence = np.zeros((len(pose), NUM_JOINTS), np.float32)
    confidence[frame] = layout.to_joints(found.confidence[rows, :, None])[..., 0]
    if found.seconds is not None:
        seconds = found.seconds[first : first + len(pose)]
        pose, confidence = (at_even_times(values, seconds, found.fps) for values in (pose, confidence))
    confidence[np.isnan(pose[..., 0])] = 0
    return Walk(pose, confidence, found.fps, name.subject, name.condition, name.run, name.view, source=sequence.path)


def tell_layout(keypoints: np.ndarray, named: str = "") -> Layout:
    """The layout of keypoints by their number, and by the shape of the body if the number fits two layouts.

    keypoints: float [D, K, 2], missing ones NaN. named: the user's choice, "" for none.
    Raises Unusable if the layout cannot be determined or the number does not fit, and InputError if the shape of the body
    contradicts the user, because then all files are suspect.
    """
    count = keypoints.shape[1]
    fitting = [layout.name for layout in LAYOUTS.values() if layout.size == count]
    if named and named not in fitting:
        raise Unusable(f"it has {count} keypoints, but --layout {named} has {LAYOUTS[named].size}")
    if not fitting:
        raise Unusable(f"no known layout has {count} keypoints")
    shape = body_25_or_25b(keypoints) if len(fitting) > 1 else fitting[0]
    if named and shape and shape != named:
        raise InputError(f"--layout {named} contradicts the shape of the body, which fits {shape}; leave --layout out.")
    if not (named or shape):
        raise Unusable("25 keypoints may be BODY_25 or BODY_25B, and the body does not show which; give --layout")
    return LAYOUTS[named or shape]


def body_25_or_25b(keypoints: np.ndarray) -> str:
    """ "BODY_25" or "BODY_25B" if the keypoints [D, 25, 2] of upright people show it clearly, else ""."""
    seen = np.isfinite(keypoints[..., 0])
    rows = np.flatnonzero(seen[:, [8, 9, 12, 13, 14]].all(-1) & seen[:, [15, 16]].any(-1))
    points = keypoints[rows[:: len(rows) // _MOST_PEOPLE + 1]].astype(np.float64)
    if len(points) < _FEWEST_PEOPLE:
        return ""
    size = np.hypot(*(np.fmax.reduce(points, axis=1) - np.fmin.reduce(points, axis=1)).T) + 1e-9
    apart = np.hypot(*(points[:, 8] - (points[:, 9] + points[:, 12]) / 2).T) / size
    below = (np.nanmean(points[:, [15, 16], 1], axis=1) - points[:, [13, 14], 1].mean(1)) / size
    apart, below = np.sort([apart, below])[:, len(points) // 2]  # the median, much faster than numpy's for a few numbers
    if apart < _HIP_APART and below < _EYES_ABOVE:
        return BODY_25.name
    return BODY_25B.name if apart > _HIP_APART and below > _ANKLES_BELOW else ""
