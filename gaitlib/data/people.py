"""Which of several people in a sequence is the walker: tracks by continuity, then the one with most to show for itself."""

from collections.abc import Callable

import numpy as np

from gaitlib.data.formats.sequences import Detections

#: From one frame to the next a person moves less than this share of the body's size; walking at 25 fps is about 0.03.
LONGEST_STEP = 0.3
#: ... and this much more for each frame in which nobody was found.
STEP_A_FRAME = 0.04
#: A person who was away for longer begins a new track, unless a tracker says who it is: about a second.
LONGEST_GAP = 30
#: Who is less than this share as large is somebody else; who comes toward the camera grows by a third in LONGEST_GAP at most.
SMALLEST = 0.6
#: Keypoints that two detections must share to compare sizes where less is seen of one than of the other.
FEWEST_SHARED = 4
#: More people than this in a frame are cut to the largest and clearest, so that a damaged file takes no hours.
MOST_PEOPLE = 16
#: How much a change of size counts, and how fast the speed of a track follows the last step.
SIZE_COST, SPEED_SHARE = 0.5, 0.3


def follow(found: Detections) -> tuple[np.ndarray, int]:
    """The detections of one person: the track whose sum of size times confidence over its frames is the largest.

    So who is seen for long, large and clear wins, whatever the order in the files. A track goes on with the detection that a
    tracker gave its number, otherwise with the nearest to where its speed leads, in units of the body's size, that is about as
    large: who passes by in the distance while the walker is not found is not taken for the walker.

    Returns rows int64 [R] into the detections, at most one a frame, in the order of the frames, and the number of frames that
    held more than one person, in which a choice had to be made.
    """
    rows, center, size, evidence = _measure(found)
    frame = found.frame[rows]
    choices = int((np.bincount(frame, minlength=1) > 1).sum())
    if not len(rows):
        return rows, 0
    if not choices and _is_one_track(frame, center, size, found.person[rows]):
        return rows, 0
    crowded = np.bincount(frame).max() > MOST_PEOPLE
    if crowded:
        keep = _largest(frame, evidence)
        rows, center, size, evidence, frame = (a[keep] for a in (rows, center, size, evidence, frame))

    def alike(a: int, b: int) -> bool:
        return _as_large(found.keypoints[rows[a]], found.keypoints[rows[b]])

    track = np.array(_tracks(frame.tolist(), center.tolist(), size.tolist(), found.person[rows].tolist(), alike))
    best = np.bincount(track, weights=evidence).argmax()
    return rows[track == best], choices


def _measure(found: Detections) -> tuple[np.ndarray, ...]:
    """Rows with any keypoint, and of each the center [R, 2], the size (diagonal of what is seen) and the evidence."""
    rows = np.flatnonzero(np.isfinite(found.keypoints[..., 0]).any(-1))
    points = found.keypoints[rows].transpose(2, 1, 0)  # [2, K, R]: numpy is fast along the last axis
    extent = np.fmax.reduce(points, axis=1) - np.fmin.reduce(points, axis=1)
    size = np.maximum(np.hypot(*extent), 1e-3)
    here = np.isfinite(points[0])
    center = np.where(here, points, 0).sum(axis=1) / here.sum(axis=0)
    return rows, center.T, size, size * found.confidence[rows].mean(axis=1)


def _is_one_track(frame: np.ndarray, center: np.ndarray, size: np.ndarray, person: np.ndarray) -> bool:
    """Whether detections, one a frame, can be one person without a closer look."""
    step = np.hypot(*np.diff(center, axis=0).T) / np.maximum(size[1:], size[:-1])
    gap = np.diff(frame)
    near = (step <= LONGEST_STEP + STEP_A_FRAME * (gap - 1)) & (gap <= LONGEST_GAP)
    near &= np.minimum(size[1:], size[:-1]) >= SMALLEST * np.maximum(size[1:], size[:-1])
    same = (person[1:] == person[:-1]) | (person[1:] < 0) | (person[:-1] < 0)
    return bool((near & same).all() or (person[0] >= 0 and (person == person[0]).all()))


def _as_large(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether keypoints [K, 2] may be one person by the size of what is seen of both; one keypoint far off changes little."""
    shared = np.isfinite(a[:, 0]) & np.isfinite(b[:, 0])
    if shared.sum() < FEWEST_SHARED:
        return True
    small, large = sorted(np.median(np.hypot(*(p[shared] - np.median(p[shared], axis=0)).T)) for p in (a, b))
    return bool(small >= SMALLEST * large)


def _largest(frame: np.ndarray, evidence: np.ndarray) -> np.ndarray:
    """Rows of the MOST_PEOPLE with most evidence in each frame, in their old order."""
    order = np.lexsort([-evidence, frame])
    rank = np.arange(len(frame)) - np.searchsorted(frame[order], frame[order])
    return np.sort(order[rank < MOST_PEOPLE])


def _tracks(frame: list, center: list, size: list, person: list, alike: Callable[[int, int], bool]) -> list[int]:
    """The track of each detection. Plain numbers: there are few people in a frame, and arrays of two are slow.

    alike: whether two detections of very different size may be one person.
    """
    track = [-1] * len(frame)
    last: list[int] = []  # the last detection of each track
    speed: list[tuple[float, float]] = []
    number_of: dict[int, int] = {}  # the track of each number that a tracker gave
    active: list[int] = []
    start = 0
    while start < len(frame):
        now, stop = frame[start], start
        while stop < len(frame) and frame[stop] == now:
            stop += 1
        active = [t for t in active if now - frame[last[t]] <= LONGEST_GAP]
        free = dict.fromkeys(range(start, stop))
        taken = set()
        for d in range(start, stop):
            t = number_of.get(person[d], -1) if person[d] >= 0 else -1
            if t >= 0 and t not in taken:
                track[d] = t
                taken.add(t)
                del free[d]
        pairs = []
        for t in active if free else ():
            if t in taken:
                continue
            b = last[t]
            gap = now - frame[b]
            x, y = center[b][0] + gap * speed[t][0], center[b][1] + gap * speed[t][1]
            for d in free:
                largest = max(size[b], size[d])
                step = ((center[d][0] - x) ** 2 + (center[d][1] - y) ** 2) ** 0.5 / largest
                share = min(size[b], size[d]) / largest
                if step <= LONGEST_STEP + STEP_A_FRAME * (gap - 1) and (share >= SMALLEST or alike(b, d)):
                    pairs.append((step + SIZE_COST * (1 - share), t, d))
        for _, t, d in sorted(pairs):
            if d in free and t not in taken:
                track[d] = t
                taken.add(t)
                del free[d]
        for d in free:
            track[d] = len(last)
            last.append(d)
            speed.append((0.0, 0.0))
        for d in range(start, stop):
            t = track[d]
            if person[d] >= 0:
                number_of[person[d]] = t
            b, gap = last[t], now - frame[last[t]]
            if gap:
                new = ((center[d][0] - center[b][0]) / gap, (center[d][1] - center[b][1]) / gap)
                speed[t] = tuple(old + SPEED_SHARE * (v - old) for old, v in zip(speed[t], new, strict=True))
            last[t] = d
            if t not in active:
                active.append(t)
        start = stop
    return track
