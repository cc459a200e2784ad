"""Following one person among several: hand-worked scenes of people made of seven keypoints."""

import numpy as np
import pytest

from gaitlib.poses.people import LONGEST_GAP, MOST_PEOPLE, follow
from gaitlib.poses.sequences import Detections

BODY = np.array([[0, -50], [-10, -40], [10, -40], [0, 0], [-8, 40], [8, 40], [0, 50]], dtype=float)


def scene(*people, seed=0):
    """Detections of people in a random order within each frame, and whose each is.

    people: dicts of x (numbers, one a frame; NaN = not found), and y, scale, confidence, number where they are not the usual.
    """
    rows = [
        (t, i, x, p.get("y", 0.0), p.get("scale", 1.0), p.get("confidence", 0.9), p.get("number", -1))
        for i, p in enumerate(people)
        for t, x in enumerate(p["x"])
        if np.isfinite(x)
    ]
    rng = np.random.default_rng(seed)
    rows = [rows[i] for i in rng.permutation(len(rows))]
    rows.sort(key=lambda r: r[0])
    t, who, x, y, scale, confidence, number = (np.array(c) for c in zip(*rows, strict=True))
    points = BODY * scale[:, None, None] + np.stack([x, y], -1)[:, None] + rng.normal(0, 0.5, (len(rows), *BODY.shape))
    found = Detections(
        frame=t,
        keypoints=points.astype(np.float32),
        confidence=np.tile(confidence[:, None], (1, len(BODY))).astype(np.float32),
        person=number,
    )
    return found, who


def walking(start, step, frames=60, missing=()):
    x = start + step * np.arange(frames, dtype=float)
    x[list(missing)] = np.nan
    return x


def followed(*people, seed=0):
    """Whose rows are followed, the frames of them, and the choices."""
    found, who = scene(*people, seed=seed)
    rows, choices = follow(found)
    assert (np.diff(found.frame[rows]) > 0).all()
    return set(who[rows].tolist()), found.frame[rows], choices


def test_one_person_is_no_choice():
    assert followed({"x": walking(0, 3)})[::2] == ({0}, 0)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("swap", [False, True])
def test_the_order_in_the_file_does_not_matter(seed, swap):
    people = [{"x": walking(0, 3)}, {"x": walking(300, 0), "scale": 0.6}]
    who, frames, choices = followed(*people[:: -1 if swap else 1], seed=seed)
    assert who == {int(swap)}
    assert len(frames) == choices == 60


def test_longer_larger_and_clearer_wins():
    large = {"x": walking(0, 3, 60)}
    assert followed(large, {"x": walking(400, 0, 60), "scale": 0.8})[0] == {0}
    assert followed(large, {"x": walking(400, 0, 60), "confidence": 0.5})[0] == {0}
    assert followed(large, {"x": walking(400, 0, 30), "scale": 1.8})[0] == {0}
    assert followed(large, {"x": walking(400, 0, 60), "scale": 1.8})[0] == {1}
    assert followed(large, {"x": walking(400, 0, 30)})[2] == 30


def test_gaps_are_bridged_and_both_sides_are_the_same_person():
    gap = range(20, 35)
    who, frames, choices = followed({"x": walking(0, 3, missing=gap)}, {"x": walking(400, 0), "scale": 0.5})
    assert who == {0}
    assert frames.tolist() == [*range(20), *range(35, 60)]
    assert choices == 45


def test_a_gap_filled_by_somebody_else_does_not_lead_astray():
    """While the walker is lost, the only detection is a bystander far away: no choice, but not the walker either."""
    bystander = np.full(60, np.nan)
    bystander[20:30] = 400
    who, frames, choices = followed({"x": walking(0, 3, missing=range(20, 30))}, {"x": bystander})
    assert (who, len(frames), choices) == ({0}, 50, 0)


def test_a_gap_filled_by_somebody_small_nearby_does_not_lead_astray():
    far = np.where((np.arange(60) >= 20) & (np.arange(60) < 26), 70.0, np.nan)
    who, frames, choices = followed({"x": walking(0, 3, missing=range(20, 26))}, {"x": far, "scale": 0.5})
    assert (who, len(frames), choices) == ({0}, 54, 0)
    who, frames, _ = followed({"x": walking(0, 3, missing=range(20, 26))}, {"x": far, "scale": 0.9})
    assert who == {0, 1}, "that nearby and of that size it may well be the walker"


@pytest.mark.parametrize("bystander", [False, True])
def test_who_is_half_hidden_or_has_a_keypoint_far_off_is_no_smaller_person(bystander):
    found, who = scene({"x": walking(0, 0.5)}, *[{"x": walking(600, 0), "scale": 0.4}] * bystander)
    (walker,) = np.nonzero(who == 0)
    found.keypoints[np.ix_(walker[20:30], [0, 1, 2, 6])] = np.nan
    found.keypoints[walker[40], 6] += [0, 250]
    assert follow(found)[0].tolist() == walker.tolist()


def test_after_too_long_a_gap_the_better_part_is_kept():
    away = range(10, 10 + LONGEST_GAP + 1)
    who, frames, _ = followed({"x": walking(0, 0, 100, missing=away)})
    assert who == {0}
    assert frames.min() == 10 + LONGEST_GAP + 1


@pytest.mark.parametrize("hidden", [0, 6])
def test_people_who_cross_keep_their_ways(hidden):
    """They meet in the middle, where one of them hides the other for some frames."""
    there, back = walking(-90, 3), walking(87, -3)
    back[30 - hidden // 2 : 30 + hidden // 2] = np.nan
    who, frames, _ = followed({"x": there}, {"x": back, "scale": 0.95})
    assert who == {0}
    assert len(frames) == 60
    who, frames, _ = followed({"x": there, "scale": 0.9}, {"x": back, "scale": 1.1})
    assert who == {1}
    assert len(frames) == 60 - hidden


def test_a_number_of_a_tracker_counts_more_than_the_distance():
    jump = walking(0, 3)
    jump[30:] += 150
    assert len(followed({"x": jump, "number": 4}, {"x": walking(600, 0), "number": 2, "scale": 0.5})[1]) == 60
    assert len(followed({"x": jump}, {"x": walking(600, 0), "scale": 0.4})[1]) == 30
    assert len(followed({"x": jump, "number": 4})[1]) == 60, "also alone"


def test_a_tracker_that_changes_the_number_does_not_cut_the_walk():
    first, second = walking(0, 3), walking(0, 3)
    first[30:], second[:30] = np.nan, np.nan
    who, frames, _ = followed({"x": first, "number": 1}, {"x": second, "number": 7})
    assert who == {0, 1}
    assert len(frames) == 60


def test_a_crowd_is_cut_to_those_who_matter():
    crowd = [{"x": walking(200 * i, 0, 20), "scale": 0.3} for i in range(1, MOST_PEOPLE + 30)]
    who, frames, choices = followed(*crowd, {"x": walking(0, 3, 20)})
    assert who == {len(crowd)}
    assert len(frames) == choices == 20


def test_nobody():
    empty = Detections(
        frame=np.zeros(3, np.int64),
        keypoints=np.full((3, 7, 2), np.nan, np.float32),
        confidence=np.zeros((3, 7), np.float32),
        person=np.full(3, -1),
    )
    rows, choices = follow(empty)
    assert len(rows) == choices == 0
