"""Which of several people in a sequence is the walker: tracks by continuity, then the track with the most evidence."""

import math
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from gaitlib.poses.sequences import Detections, Unusable
from gaitlib.skeleton import LEFT_ANKLE, MID_HIP, NECK, RIGHT_ANKLE

#: An upright person's height over the spread (standard deviation) of the keypoints, roughly; sizes are given as heights.
HEIGHT = 3.0
#: From one frame to the next, a person moves less than this share of the body's size; walking at 25 fps is about 0.03.
LONGEST_STEP = 0.3
#: ... plus this much for each frame in which the person was not found.
STEP_A_FRAME = 0.04
#: A detection that moved less than this, with nobody else in reach, is the same person without further checks.
CERTAIN_STEP = 0.15
#: A person who was missing for longer starts a new track, unless the track number says who it is: about a second.
LONGEST_GAP = 30
#: Below this ratio of sizes it is somebody else; a person coming toward the camera grows by a third in LONGEST_GAP at most.
SMALLEST = 0.6
#: Keypoints that two detections must share to compare sizes if one is partly hidden.
FEWEST_SHARED = 4
#: More people than this in a frame are reduced to the largest and clearest, so that a damaged file does not take hours.
MOST_PEOPLE = 16
#: The weight of a change of size relative to the distance.
SIZE_COST = 0.5
#: Frames over which the speed of a track is measured.
SPEED_FRAMES = 10
#: The weight of motion: this much more evidence for a track that moves by FAR heights, the distance walked in two seconds.
MOVING, FAR = 0.5, 1.5
#: A standing person sways by less than this, in heights from neck to ankles, and the feet move less relative to each other; a
#: walker's feet move by about 0.7 from the side.
STANDING_WAY, STANDING_SWING = 0.3, 0.05
#: More than any cost of a possible match.
IMPOSSIBLE = 1e3


class _Seen(NamedTuple):
    """The detections with visible keypoints: frame, size, person [D], center [2, D], keypoints [D, K, 2]."""

    frame: np.ndarray
    center: np.ndarray
    size: np.ndarray
    person: np.ndarray
    keypoints: np.ndarray


class Tracks(NamedTuple):
    """The people in a sequence, in order of appearance.

    rows: for each, the rows int64 [R] of the detections, at most one per frame, in the order of the frames.
    evidence: float64 [N], the evidence for each. size: float64 [D], of each detection.
    choices: the number of frames with more than one person, in which a choice has to be made.
    """

    rows: list[np.ndarray]
    evidence: np.ndarray
    size: np.ndarray
    choices: int


def follow(found: Detections) -> tuple[np.ndarray, int]:
    """The detections of one person: the track with the most evidence.

    Returns the rows int64 [R] of the detections, at most one per frame, in the order of the frames, and the number of frames
    with more than one person, in which a choice had to be made.
    """
    people = tracks(found)
    return (people.rows[people.evidence.argmax()] if people.rows else np.zeros(0, np.int64)), people.choices


def choose(people: Tracks, person: str, fewest: float) -> list[np.ndarray]:
    """The rows of the person or people the user asks for.

    person: "" for the choice of `follow`, "largest", "all", or a number as in `numbered`. fewest: frames in which a person
    must be visible to be numbered. Raises Unusable if there is no such person.
    """
    if not people.rows:
        raise Unusable("nobody was found in any frame")
    if not person:
        return [people.rows[people.evidence.argmax()]]
    listed = numbered(people, fewest)
    if not listed:
        raise Unusable(f"nobody is seen in {fewest:.0f} frames or more, which --person {person} requires")
    if person == "all":
        return [people.rows[i] for i in listed]
    if person == "largest":
        return [people.rows[max(listed, key=lambda i: np.median(people.size[people.rows[i]]))]]
    if int(person) > len(listed):
        raise Unusable(f"has no person {person}: {len(listed)} are seen in {fewest:.0f} frames or more")
    return [people.rows[listed[int(person) - 1]]]


def numbered(people: Tracks, fewest: float) -> list[int]:
    """The tracks with at least `fewest` frames; person 1 is the first of them."""
    return [i for i, rows in enumerate(people.rows) if len(rows) >= fewest]


def numbers(people: Tracks, fewest: float, detections: int) -> np.ndarray:
    """The person number of each detection, int64 [D]; 0 for people without a number."""
    number = np.zeros(detections, np.int64)
    for n, i in enumerate(numbered(people, fewest), start=1):
        number[people.rows[i]] = n
    return number


def stands(pose: np.ndarray) -> bool:
    """Whether the person of a pose float32 [T, 15, 2] stands: does not move across the image or in depth, nor move the feet.

    Everything is measured in body heights (neck to ankles). Displacement and growth are taken between the 5th and the 95th
    percentile, because estimates jump; the swing of the feet between the quartiles, because left and right may be swapped.
    """
    ankles, hip = pose[:, [LEFT_ANKLE, RIGHT_ANKLE]], pose[:, MID_HIP]
    height = np.hypot(*(ankles.mean(1) - pose[:, NECK]).T)
    if not np.isfinite(height).any():
        return False
    moved, grown, swung = (
        np.hypot.reduce(np.ptp(np.nanpercentile(values, within, axis=0), axis=0)) / np.nanmedian(height)
        for values, within in ((hip, [5, 95]), (height[:, None], [5, 95]), (ankles[:, 0] - ankles[:, 1], [25, 75]))
    )
    return bool(max(moved, grown) < STANDING_WAY and swung < STANDING_SWING)


def tracks(found: Detections) -> Tracks:
    """Everybody's detections, separated into people.

    A track continues with the detection of its track number, otherwise with the one nearest to its extrapolated position, in
    units of body size, if about as large: a passer-by in the distance is not mistaken for the walker while the walker is not
    found. The evidence for a track is the sum of size times confidence over its frames, and half as much again if it moves
    through the image as walkers do. So the person who is visible for long, large, clear and moving wins, whatever the order in
    the files.
    """
    frame, person = found.frame, found.person
    alone = bool((frame[1:] != frame[:-1]).all())
    if alone and (person[:1] >= 0).all() and (person == person[:1]).all():
        rows = np.flatnonzero(np.isfinite(found.keypoints[..., 0]).any(1))
        return Tracks([rows] * bool(len(rows)), np.ones(1), np.ones(len(frame)), 0)
    center, all_sizes, evidence = _measure(found)
    rows = np.flatnonzero(all_sizes)
    choices = int(np.count_nonzero(np.bincount(frame[rows], minlength=1) > 1))
    if choices and np.bincount(frame[rows]).max() > MOST_PEOPLE:
        rows = rows[_largest(frame[rows], evidence[rows])]
    center, size, evidence, frame, person = (a[..., rows] for a in (center, all_sizes, evidence, frame, person))
    seen = _Seen(frame, center, size, person, found.keypoints[rows])
    before = _certain_links(seen)
    if np.count_nonzero(before < 0) <= 1:
        return Tracks([rows] * bool(len(rows)), np.ones(1), all_sizes, choices)
    track = _tracks(seen, before)
    order = np.argsort(track, kind="stable")
    each = np.split(order, np.flatnonzero(np.diff(track[order])) + 1)
    moving = 1 + MOVING * np.array([_on_the_way(seen, one) for one in each])
    return Tracks([rows[one] for one in each], np.bincount(track, weights=evidence) * moving, all_sizes, choices)


def _on_the_way(seen: _Seen, rows: np.ndarray) -> float:
    """How far a track moves through the image, as a share of FAR, at most 1."""
    ends = (np.sort(seen.center[:, part], axis=1) for part in (rows[:SPEED_FRAMES], rows[-SPEED_FRAMES:]))
    first, last = (end[:, end.shape[1] // 2] for end in ends)  # the medians, since the center jumps
    return min(1.0, math.dist(first, last) / (FAR * seen.size[rows].mean()))


def _measure(found: Detections) -> tuple[np.ndarray, ...]:
    """For each detection the center [2, D], the size [D] and the evidence [D]; size and evidence are 0 if nothing is visible.

    Center and spread are means over the keypoints, weighted by confidence: an estimator places every keypoint, and an uncertain
    one may be anywhere.
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


def _as_large(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether keypoints [K, 2] can be one person, by the size of the shared keypoints; one outlier changes little."""
    shared = np.isfinite(a[:, 0]) & np.isfinite(b[:, 0])
    if shared.sum() < FEWEST_SHARED:
        return True
    small, large = sorted(np.median(np.hypot(*(p[shared] - np.median(p[shared], axis=0)).T)) for p in (a, b))
    return bool(small >= SMALLEST * large)


def _largest(frame: np.ndarray, evidence: np.ndarray) -> np.ndarray:
    """Rows of the MOST_PEOPLE with the most evidence in each frame, in their old order."""
    order = np.lexsort([-evidence, frame])
    rank = np.arange(len(frame)) - np.searchsorted(frame[order], frame[order])
    return np.sort(order[rank < MOST_PEOPLE])


def _certain_links(seen: _Seen) -> np.ndarray:
    """For each detection the one in the previous frame that is certainly the same person, or -1.

    It is near, about as large and has the same track number, and nobody else is in reach of either.
    """
    frame, center, size = seen.frame, seen.center, seen.size
    if (frame[1:] != frame[:-1]).all():  # one per frame: faster
        a = np.flatnonzero(frame[1:] == frame[:-1] + 1)
        b = a + 1
    else:
        first, last = np.searchsorted(frame, frame - 1), np.searchsorted(frame, frame)
        count = last - first  # everybody in the previous frame, for each
        b = np.repeat(np.arange(len(frame)), count)
        a = np.arange(len(b)) - np.repeat(np.cumsum(count) - count - first, count)
    x, y = center[:, b] - center[:, a]
    step = np.hypot(x, y) / np.maximum(size[a], size[b])
    reach = step <= LONGEST_STEP + CERTAIN_STEP
    alone = (np.bincount(a[reach], minlength=len(frame)) == 1)[a] & (np.bincount(b[reach], minlength=len(frame)) == 1)[b]
    sure = (step <= CERTAIN_STEP) & alone & (seen.person[a] == seen.person[b])
    sure &= np.minimum(size[a], size[b]) >= SMALLEST * np.maximum(size[a], size[b])
    before = np.full(len(frame), -1)
    before[b[sure]] = a[sure]
    return before


def _tracks(seen: _Seen, before: np.ndarray) -> np.ndarray:
    """The track of each detection, int64 [D]: pieces of certain links, joined in the order in which they begin.

    In each frame in which pieces begin, they continue tracks that have ended: first by track number, then by the assignment
    with the lowest cost. The others start new tracks.
    """
    frame = seen.frame
    piece = np.where(before < 0, np.arange(len(frame)), before)
    for _ in range(len(frame).bit_length()):  # twice as far back each time
        piece = piece[piece]
    order = np.argsort(piece, kind="stable")
    heads, starts = np.unique(piece[order], return_index=True)
    rows_of = dict(zip(heads.tolist(), np.split(order, starts[1:]), strict=True))
    tracks: list[np.ndarray] = []  # the rows of each
    number_of: dict[int, int] = {}  # the track of each track number

    for group in np.split(heads, np.flatnonzero(np.diff(frame[heads])) + 1):
        now = frame[group[0]]
        joined = {}
        for d in group.tolist():
            t = number_of.get(int(seen.person[d]), -1)
            if t >= 0 and frame[tracks[t][-1]] < now and t not in joined.values():
                joined[d] = t
        free = [d for d in group.tolist() if d not in joined]
        gaps = [(t, now - frame[rows[-1]]) for t, rows in enumerate(tracks) if t not in joined.values()]
        ended = [t for t, gap in gaps if 0 < gap <= LONGEST_GAP]
        if free and ended:
            cost = _cost(seen, [tracks[t] for t in ended], free)
            for i, j in zip(*linear_sum_assignment(cost), strict=True):
                if cost[i, j] < IMPOSSIBLE:
                    joined[free[j]] = ended[i]
        for d in group.tolist():
            if d not in joined:
                joined[d] = len(tracks)
                tracks.append(rows_of[d])
            else:
                tracks[joined[d]] = np.concatenate([tracks[joined[d]], rows_of[d]])
            if seen.person[d] >= 0:
                number_of[int(seen.person[d])] = joined[d]
    track = np.empty(len(frame), dtype=int)
    for t, rows in enumerate(tracks):
        track[rows] = t
    return track


def _cost(seen: _Seen, tracks: list[np.ndarray], free: list[int]) -> np.ndarray:
    """How unlikely it is that each track continues with each detection, [tracks, free]; IMPOSSIBLE if too far away."""
    last = np.array([rows[-1] for rows in tracks])
    gap = seen.frame[free[0]] - seen.frame[last]
    there = seen.center[:, last] + gap * np.array([_speed(seen, rows[-SPEED_FRAMES - 1 :]) for rows in tracks]).T
    largest = np.maximum.outer(seen.size[last], seen.size[free])
    share = np.minimum.outer(seen.size[last], seen.size[free]) / largest
    step = np.hypot(*(seen.center[:, None, free] - there[:, :, None])) / largest
    near = step <= (LONGEST_STEP + STEP_A_FRAME * (gap - 1))[:, None]
    for i, j in np.argwhere(near & (share < SMALLEST)):
        near[i, j] = _as_large(seen.keypoints[last[i]], seen.keypoints[free[j]])
    return np.where(near, step + SIZE_COST * (1 - share), IMPOSSIBLE)


def _speed(seen: _Seen, rows: np.ndarray) -> np.ndarray:
    """The displacement [2] of a track per frame: the median, because the center jumps when less of the body is visible."""
    steps = len(rows) - 1
    if not steps:
        return np.zeros(2)
    each = np.sort(np.diff(seen.center[:, rows]) / np.diff(seen.frame[rows]), axis=1)
    return each[:, steps // 2] * (steps / SPEED_FRAMES)  # a few steps are little evidence
