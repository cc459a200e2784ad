"""Which of several people in a sequence is the walker: tracks by continuity, then the one with most to show for itself."""

from collections.abc import Callable

import numpy as np

from gaitlib.poses.sequences import Detections

#: The height of an upright person over the spread (standard deviation) of the keypoints, about; sizes are given as heights.
HEIGHT = 3.0
#: From one frame to the next a person moves less than this share of the body's size; walking at 25 fps is about 0.03.
LONGEST_STEP = 0.3
#: ... and this much more for each frame in which nobody was found.
STEP_A_FRAME = 0.04
#: Who moves less than this, with nobody else in reach, is the same person without a closer look.
CERTAIN_STEP = 0.15
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
#: Steps after which the speed has forgotten what was before: 0.7^12 is 0.01.
_MEMORY = 12


def follow(found: Detections) -> tuple[np.ndarray, int]:
    """The detections of one person: the track whose sum of size times confidence over its frames is the largest.

    So who is seen for long, large and clear wins, whatever the order in the files. A track goes on with the detection that a
    tracker gave its number, otherwise with the nearest to where its speed leads, in units of the body's size, that is about as
    large: who passes by in the distance while the walker is not found is not taken for the walker.

    Returns rows int64 [R] into the detections, at most one a frame, in the order of the frames, and the number of frames that
    held more than one person, in which a choice had to be made.
    """
    frame, person = found.frame, found.person
    alone = bool((frame[1:] != frame[:-1]).all())
    if alone and (person[:1] >= 0).all() and (person == person[:1]).all():
        return np.flatnonzero(np.isfinite(found.keypoints[..., 0]).any(1)), 0
    center, size, evidence = _measure(found)
    rows = np.flatnonzero(size)
    if len(rows) < len(frame):
        center, size, evidence, frame, person = (a[..., rows] for a in (center, size, evidence, frame, person))
    choices = 0 if alone else int(np.count_nonzero(np.bincount(frame, minlength=1) > 1))
    if not len(rows) or (not choices and _is_one_track(frame, center, size, person)):
        return rows, 0
    if choices and np.bincount(frame).max() > MOST_PEOPLE:
        keep = _largest(frame, evidence)
        rows, center, size, evidence, frame, person = (a[..., keep] for a in (rows, center, size, evidence, frame, person))

    def alike(a: int, b: int) -> bool:
        return _as_large(found.keypoints[rows[a]], found.keypoints[rows[b]])

    track = _tracks(frame, center, size, person, alike)
    best = np.bincount(track, weights=evidence).argmax()
    return rows[track == best], choices


def _measure(found: Detections) -> tuple[np.ndarray, ...]:
    """Of each detection the center [2, D], the size [D] and the evidence [D]; size and evidence are 0 where nothing is seen.

    Center and spread are means over the keypoints, weighted by confidence: an estimator gives every keypoint a place, and one
    that it is not sure of may lie anywhere.
    """
    # [2, K, D] and [K, D]: numpy is fast along the last axis
    points, weight = found.keypoints.transpose(2, 1, 0), found.confidence.T
    if np.isnan(points.sum()):
        seen = np.isfinite(points).all(0)
        points, weight = np.where(seen, points, 0), np.where(seen, weight, 0)
    total = weight.sum(0)
    share = weight / np.maximum(total, 1e-9)
    center = np.einsum("kd,xkd->xd", share, points)
    apart = points - center[:, None]
    spread = np.einsum("kd,xkd,xkd->d", share, apart, apart)
    size = np.where(total > 0, np.maximum(HEIGHT * np.sqrt(spread), 1e-3), 0)
    return center, size, size * total / len(weight)


def _is_one_track(frame: np.ndarray, center: np.ndarray, size: np.ndarray, person: np.ndarray) -> bool:
    """Whether detections, one a frame, can be one person without a closer look."""
    move = center[:, 1:] - center[:, :-1]
    before, after = size[:-1], size[1:]
    small, large = np.minimum(before, after), np.maximum(before, after)
    reach = LONGEST_STEP
    if frame[-1] - frame[0] >= len(frame):  # frames without anybody
        gap = frame[1:] - frame[:-1]
        reach = np.where(gap <= LONGEST_GAP, LONGEST_STEP + STEP_A_FRAME * (gap - 1), -1)
    near = (np.hypot(move[0], move[1]) <= reach * large) & (small >= SMALLEST * large)
    if (person != person[0]).any():
        near &= (person[1:] == person[:-1]) | (person[1:] < 0) | (person[:-1] < 0)
    return bool(near.all())


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


def _certain(frame: np.ndarray, center: np.ndarray, size: np.ndarray, person: np.ndarray) -> np.ndarray:
    """For each detection the one in the frame before that is certainly the same person, -1 where there is none.

    By the number of a tracker where all have one, otherwise by the distance.
    """
    before = np.full(len(frame), -1)
    if (person >= 0).all():
        order = np.lexsort((frame, person))
        a, b = order[:-1], order[1:]
        same = (person[a] == person[b]) & (frame[b] == frame[a] + 1)
        before[b[same]] = a[same]
        return before
    first, last = np.searchsorted(frame, frame - 1), np.searchsorted(frame, frame)
    count = last - first  # everybody in the frame before, for each
    b = np.repeat(np.arange(len(frame)), count)
    a = np.arange(len(b)) - np.repeat(np.cumsum(count) - count - first, count)
    x, y = center[:, b] - center[:, a]
    step = np.hypot(x, y) / np.maximum(size[a], size[b])
    reach = step <= LONGEST_STEP + CERTAIN_STEP
    alone = (np.bincount(a[reach], minlength=len(frame)) == 1)[a] & (np.bincount(b[reach], minlength=len(frame)) == 1)[b]
    sure = (step <= CERTAIN_STEP) & alone & (person[a] == person[b])
    sure &= np.minimum(size[a], size[b]) >= SMALLEST * np.maximum(size[a], size[b])
    before[b[sure]] = a[sure]
    return before


def _tracks(
    frame: np.ndarray, center: np.ndarray, size: np.ndarray, person: np.ndarray, alike: Callable[[int, int], bool]
) -> np.ndarray:
    """The track of each detection: a closer look at frames in which somebody is not certain, the others follow from them."""
    before = _certain(frame, center, size, person)
    row = np.arange(len(frame))
    starts = np.flatnonzero(np.r_[True, frame[1:] != frame[:-1]])
    stops = np.r_[starts[1:], len(frame)]
    unclear = np.minimum.reduceat(before, starts) < 0
    root = np.where(np.repeat(unclear, stops - starts), row, before)
    for _ in range(len(starts).bit_length()):  # twice as far back each time
        root = root[root]
    if unclear.sum() == 1:  # the first frame
        return root
    end = row.copy()
    end[root] = row  # the last one of each root counts
    looked_at = list(zip(starts[unclear].tolist(), stops[unclear].tolist(), strict=True))
    lists = (a.tolist() for a in (frame, center.T, size, person, before, end))
    return np.array(_linked(looked_at, *lists, alike))[root]


def _linked(
    looked_at: list, frame: list, center: list, size: list, person: list, before: list, end: list,
    alike: Callable[[int, int], bool],
) -> list[int]:  # fmt: skip
    """The track of each detection in the frames to look at, (start, stop) in rows each.

    end: for each of these detections, the last one that certainly follows from it, by `before`. alike: whether two detections
    of very different size may be one person.
    Plain numbers: there are few people in a frame, and arrays of two are slow.
    """
    track = [-1] * len(frame)
    last: list[int] = []  # the last detection of each track
    speed: list[tuple[float, float]] = []
    number_of: dict[int, int] = {}  # the track of each number that a tracker gave
    active: list[int] = []

    def go_on(t: int, d: int) -> None:
        gap = frame[d] - frame[last[t]]
        if gap:
            new = ((center[d][0] - center[last[t]][0]) / gap, (center[d][1] - center[last[t]][1]) / gap)
            speed[t] = tuple(old + SPEED_SHARE * (v - old) for old, v in zip(speed[t], new, strict=True))
        last[t] = d

    for start, stop in looked_at:
        now = frame[start]
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
            go_on(t, d)
            recent = [end[d]]
            while recent[-1] != d and len(recent) < _MEMORY:
                recent.append(before[recent[-1]])
            last[t] = recent[-1]
            for follower in reversed(recent):
                go_on(t, follower)
            if t not in active:
                active.append(t)
    return track
