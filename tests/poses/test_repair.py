"""Each repair changes what it names and nothing else, and what it claims is measured against walkers whose truth is known."""

import numpy as np
import pytest

from gaitlib import InputError
from gaitlib.data.dataset import Walk
from gaitlib.data.walkers import make_walkers
from gaitlib.poses import repair
from gaitlib.poses.repair import STEPS, Repair
from gaitlib.skeleton import JOINTS, MIRROR, RIGHT_JOINTS

VIEWS = (0, 90, 144)
RIGHT_ANKLE, LEFT_WRIST = JOINTS.index("right_ankle"), JOINTS.index("left_wrist")


@pytest.fixture(scope="module")
def twins():
    """Walks as a pose estimator reports them, each with what truly happened."""
    return list(zip(make_walkers(1, 3, views=VIEWS), make_walkers(1, 3, views=VIEWS, faults=False), strict=True))


def true_walk(twins):
    walk = twins[1][1]
    return walk.pose.copy(), walk.confidence.copy()


def present(pose):
    return np.isfinite(pose).all(-1)


def test_gaps_are_lines_between_their_ends_and_long_ones_stay():
    pose = np.cumsum(np.ones((20, 15, 2), np.float32), axis=0)
    confidence = np.ones((20, 15), np.float32)
    whole = pose.copy()
    for frames, joint in ((slice(3, 5), 2), (slice(8, 12), 2), (slice(0, 2), 4), (slice(18, 20), 4), (slice(0, 20), 6)):
        pose[frames, joint], confidence[frames, joint] = np.nan, 0
    pose[10, 7, 0] = np.nan  # half a joint is none
    given = pose.copy()
    filled, sure, count = repair.gaps(pose, confidence, 3)
    assert count == 3
    np.testing.assert_array_equal(pose, given)
    np.testing.assert_allclose(filled[3:5, 2], whole[3:5, 2])
    np.testing.assert_allclose(filled[10, 7], whole[10, 7])
    assert (~present(filled)).sum() == 4 + 2 + 2 + 20
    np.testing.assert_array_equal(sure, confidence)  # nobody saw them


def test_spikes_go_and_moving_joints_stay(twins):
    pose, confidence = true_walk(twins)
    size = repair.torso(pose)
    assert repair.spikes(pose, confidence, 0.7)[2] == 0
    pose[20, RIGHT_ANKLE] += size
    pose[40:43, LEFT_WRIST, 1] -= 2 * size
    pose[50:, 0] += size  # what does not come back is no spike
    pose[30:36, 3], pose[33, 3] = np.nan, 9999  # alone among missing frames: nothing to judge by
    found, _, count = repair.spikes(pose, confidence, 0.7)
    assert count == 4
    assert [tuple(x) for x in np.argwhere(present(pose) & ~present(found))] == [
        (20, RIGHT_ANKLE), (40, LEFT_WRIST), (41, LEFT_WRIST), (42, LEFT_WRIST),
    ]  # fmt: skip
    kept = present(found)
    np.testing.assert_array_equal(found[kept], pose[kept])


def test_low_confidence_is_missing(twins):
    pose, confidence = true_walk(twins)
    confidence[3, 4], confidence[5, 6] = 0.1, 0.2
    found, sure, count = repair.confidence(pose, confidence, 0.2)
    assert count == 1
    assert np.argwhere(~present(found)).tolist() == [[3, 4]]
    np.testing.assert_array_equal(sure, confidence)


@pytest.mark.parametrize("limb", ["arms", "legs", "side"])
@pytest.mark.parametrize(("first", "last"), [(20, 21), (33, 38), (40, 50)])
def test_a_flip_is_undone_wherever_it_can_be_seen(twins, limb, first, last):
    right = {"arms": (3, 4), "legs": (10, 11), "side": RIGHT_JOINTS}[limb]
    pose, confidence = true_walk(twins)
    truth, size = pose.copy(), repair.torso(pose)
    both = [*right, *MIRROR[list(right)]]
    pose[first:last, both] = pose[first:last, MIRROR[both]]
    confidence[first:last, right] = 0.5
    found, sure, count = repair.flips(pose, confidence)
    assert count > 0
    assert np.linalg.norm(found - truth, axis=-1).max() < 0.25 * size  # joints that pass each other are left alone
    moved = (found != pose).any(-1)
    assert moved[first:last].any()
    np.testing.assert_array_equal(sure[moved], confidence[:, MIRROR][moved])


def test_long_exchanges_and_true_walks_are_left_alone(twins):
    for _, true in twins:
        assert repair.flips(true.pose, true.confidence)[2] == 0
    pose, confidence = true_walk(twins)
    pose[30:60] = pose[30:60, MIRROR]
    np.testing.assert_array_equal(repair.flips(pose, confidence)[0], pose)


@pytest.mark.filterwarnings("error")
def test_every_step_takes_coordinates_without_sense():
    rng = np.random.default_rng(0)
    pose = rng.choice(np.array([0, 1, 1e9, -1e30, np.nan, np.inf, -np.inf], np.float32), (200, 15, 2))
    for step in STEPS.values():
        found, _, count = step.function(pose, np.ones((200, 15), np.float32), step.value)
        assert found.shape == pose.shape
        assert 0 <= count <= 200 * 15


@pytest.mark.parametrize("frames", [0, 1, 4, 16])
def test_every_step_takes_walks_with_nothing_in_them(frames):
    for pose in (np.full((frames, 15, 2), np.nan, np.float32), np.zeros((frames, 15, 2), np.float32)):
        for step in STEPS.values():
            found, _, count = step.function(pose, np.ones((frames, 15), np.float32), step.value)
            np.testing.assert_array_equal(found, pose)
            assert count == 0


def test_repair_brings_walkers_nearer_to_the_truth(twins):
    """The claim at the top of the module, on fewer walks."""

    def error(walk, true):
        return np.linalg.norm(walk.pose - true.pose, axis=-1) / repair.torso(true.pose)

    def exchanged(walk, true):
        """Frames x pairs that would be nearer to the truth with left and right exchanged, and those that would be farther."""
        right = [3, 4, 10, 11]  # elbow, wrist, knee, ankle
        other = np.linalg.norm(walk.pose[:, MIRROR] - true.pose, axis=-1) / repair.torso(true.pose)
        gain = (error(walk, true) - other)[:, [*right, *MIRROR[right]]].reshape(-1, 2, 4).mean(1)
        return gain > 0.05, gain < -0.05

    wrong = undone = broken = 0
    before, after = [], []
    for walk, true in twins:
        repaired = Repair.parse("flips").apply(walk, {})
        was_wrong, was_right = exchanged(walk, true)
        is_wrong, is_right = exchanged(repaired, true)
        wrong, undone, broken = (
            wrong + was_wrong.sum(), undone + (was_wrong & is_right).sum(), broken + (was_right & is_wrong).sum(),
        )  # fmt: skip
        before.append(np.nanmean(error(walk, true)))
        after.append(np.nanmean(error(repaired, true)))
    assert wrong > 50
    assert undone > 0.7 * wrong
    assert broken < 0.02 * undone
    assert np.mean(after) < np.mean(before)


def test_steps_are_applied_in_their_order_and_counted(twins):
    walk = twins[1][0]
    given = walk.pose.copy()
    masked = Repair.parse("confidence=0.5").apply(walk, counts := {})
    lost = int((present(given) & (walk.confidence < np.float32(0.5))).sum())
    assert counts == {"confidence": lost}
    filled = Repair.parse("confidence=0.5, gaps=100").apply(walk, counts := {})
    assert counts["gaps"] > 0
    assert (~present(filled.pose)).sum() == (~present(masked.pose)).sum() - counts["gaps"]
    other = Repair.parse("gaps=100,confidence=0.5").apply(walk, {})
    np.testing.assert_array_equal(other.pose[walk.confidence < 0.5], np.nan)
    np.testing.assert_array_equal(walk.pose, given)
    assert isinstance(filled, Walk)
    assert filled.sequence == walk.sequence


def test_what_was_changed_adds_up(twins):
    """Over walks, and over steps that are given twice."""
    walk, counts, twice = twins[1][0], {}, {}
    found = Repair.parse("gaps,spikes").apply(walk, counts)
    Repair.parse("spikes").apply(found, once := {})
    Repair.parse("gaps,spikes,spikes").apply(walk, twice)
    assert twice == {"gaps": counts["gaps"], "spikes": counts["spikes"] + once["spikes"]}
    Repair.parse("gaps,spikes").apply(walk, counts)
    assert counts["gaps"] == 2 * twice["gaps"] > 0


def test_by_default_nothing_is_changed(twins):
    walk = twins[0][0]
    assert Repair.parse("") == Repair()
    assert Repair().apply(walk, changed := {}) is walk
    assert changed == {}


def test_text_and_back():
    assert Repair.parse(" confidence=0.25, flips ,gaps = 3,").steps == (("confidence", 0.25), ("flips", 10.0), ("gaps", 3.0))
    assert str(Repair.parse("confidence=0.2,spikes,flips,gaps")) == "confidence=0.2,spikes=0.5,flips=10,gaps=5"
    assert Repair.parse(str(Repair.parse("spikes,gaps=9"))) == Repair.parse("spikes,gaps=9")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("gap=5", "no repair step 'gap'; did you mean gaps?"),
        ("flip", "did you mean flips?"),
        ("=5", "the steps are confidence, flips"),
        ("spikes=", "spikes=: the value is a number above 0"),
        ("spikes=nan", "for example spikes=0.5"),
        ("confidence=2", "above 0 to 1"),
        ("gaps=2.5", "whole number of frames"),
        ("gaps=0", "whole number of frames"),
        ("flips=-1", "for example flips=10"),
        ("gaps=inf", "whole number"),
    ],
)
def test_what_cannot_be_read_is_said(text, words):
    with pytest.raises(InputError) as error:
        Repair.parse(text)
    assert words.lower() in str(error.value).lower()
    assert "\n" not in str(error.value)
