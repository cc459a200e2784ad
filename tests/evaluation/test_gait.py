"""Gait parameters: a stick figure worked out by hand, what must not change them, and walkers whose truth is known."""

import numpy as np
import pytest

from gaitlib import InputError
from gaitlib.data.preprocess import NormalizedWalks, normalize_frames
from gaitlib.data.walkers import make_walkers, perform
from gaitlib.evaluation import gait
from gaitlib.evaluation.gait import gait_parameters, gait_table
from gaitlib.model.checkpoint import load_model
from gaitlib.model.recognizer import GaitModel
from gaitlib.skeleton import LEFT_ANKLE, LEFT_ELBOW, LEFT_WRIST, MID_HIP, MIRROR, RIGHT_ANKLE, RIGHT_ELBOW, RIGHT_WRIST

RANGES = ["right_knee_range", "left_knee_range", "right_hip_range", "left_hip_range"]
FPS, CADENCE = 25.0, 110.0
#: Legs that move alike.
ALIKE = {"knees": (60.0, 60.0), "hips": (40.0, 40.0)}


def figure(seconds=4.0, cadence=CADENCE, knees=(60.0, 50.0), hips=(40.0, 36.0), late=0.0, speed=1.3):
    """A stick figure that walks toward x, y to its left, z up: float64 [T, 15, 3].

    knees, hips: ranges of motion, right and left. late: by how much of a stride the left leg is behind half of one.
    """
    time = np.arange(round(seconds * FPS)) / FPS
    joints = np.zeros((len(time), 15, 3))
    joints[:, 8] = np.stack([speed * time, 0 * time, 0 * time], 1)
    joints[:, 1] = joints[:, 8] + [0, 0, 0.5]
    joints[:, 0] = joints[:, 1] + [0.05, 0, 0.2]
    for side, y in enumerate((-1, 1)):
        phase = 2 * np.pi * (cadence / 120 * time - side * (0.5 + late))
        thigh = np.radians(6 + hips[side] / 2 * np.cos(phase))
        shank = thigh - np.radians(4 + knees[side] / 2 * (1 - np.cos(phase + 1.0)))
        arm = np.radians(-20 * np.cos(phase))
        shoulder, hip = (2, 9) if side == 0 else (5, 12)
        joints[:, shoulder], joints[:, hip] = joints[:, 1] + [0, 0.18 * y, 0], joints[:, 8] + [0, 0.09 * y, 0]
        for joint, angle, length in ((hip, thigh, 0.42), (hip + 1, shank, 0.42), (shoulder, arm, 0.3), (shoulder + 1, arm, 0.25)):
            joints[:, joint + 1] = joints[:, joint] + length * np.stack([np.sin(angle), 0 * angle, -np.cos(angle)], 1)
    return joints


def image(joints, way=1):
    """What a camera at the side sees, pixels; way: 1 walks to the right, -1 to the left."""
    return 100 * np.stack([way * joints[..., 0], -joints[..., 2]], -1)


def values(found):
    return np.array([getattr(found, name) for name in gait.PARAMETERS])


def assert_alike(found, other, tolerance=1e-2):
    np.testing.assert_allclose(values(found), values(other), atol=tolerance)
    assert found.steps == other.steps


def test_what_was_put_into_the_figure_is_found():
    found = gait_parameters(image(figure()), FPS)
    assert found.cadence == pytest.approx(CADENCE, abs=0.02)
    assert found.step_time == pytest.approx(60 / CADENCE, abs=1e-4)
    assert [getattr(found, name) for name in RANGES] == pytest.approx([60, 50, 40, 36], abs=0.1)
    assert found.step_time_variability < 0.3
    assert found.steps == 7  # 4 seconds at 110 a minute
    assert not found.limits


def test_a_late_foot_is_asymmetry_and_no_variability():
    found = gait_parameters(image(figure(seconds=8, late=0.02, **ALIKE)), FPS)
    assert found.step_time_symmetry == pytest.approx(100 * (0.48 - 0.52) / 0.5, abs=0.3)
    assert found.step_time_variability < 0.3
    assert found.step_time == pytest.approx(60 / CADENCE, abs=1e-3)


def test_variability_and_symmetry_of_known_steps():
    time = np.array([0.0, 0.5, 1.1, 1.6, 2.2])
    right = np.array([True, False, True, False, True])
    variability, symmetry = gait.step_statistics(time, right)
    assert variability == pytest.approx(0, abs=1e-9)
    assert symmetry == pytest.approx(100 * (0.6 - 0.5) / 0.55)
    varied, _ = gait.step_statistics(np.array([0.0, 0.5, 1.12, 1.62, 2.2]), right)
    assert varied == pytest.approx(100 * np.sqrt(np.var([0.62, 0.58], ddof=1) / 2) / 0.55)
    assert np.isnan(gait.step_statistics(time[:4], right[:4])[0])  # the right foot has made one step
    assert np.isnan(gait.step_statistics(time[:2], right[:2])).all()
    missed = np.array([True, False, True, True, False])  # between two of the right foot lies one that was not seen
    assert gait.step_statistics(time, missed)[1] == pytest.approx(100 * (0.6 - 0.55) / 0.575)


def test_the_feet_are_told_apart():
    pose = image(figure(**ALIKE))
    pose = (pose - pose[:, [1]]) / 50
    time, right = gait.steps(pose, FPS, CADENCE / 120)
    assert (right[1:] != right[:-1]).all()
    assert np.diff(time) == pytest.approx(60 / CADENCE, abs=2e-3)
    for foot, ankle in ((right, RIGHT_ANKLE), (~right, LEFT_ANKLE)):
        ahead = pose[:, ankle, 0] - pose[:, MID_HIP, 0]
        assert (np.interp(time[foot], np.arange(len(pose)) / FPS, ahead) > 0.97 * ahead.max()).all()
    to_the_left = pose * [-1, 1]
    assert (gait.steps(to_the_left, FPS, CADENCE / 120)[1] == right).all()
    assert gait.heading(pose) == 1
    assert gait.heading(to_the_left) == -1


@pytest.mark.parametrize("degrees", [0, 33, 90, 180, 250])
def test_neither_direction_nor_size_nor_place_matters(degrees):
    joints = figure()
    expected = gait_parameters(image(joints), FPS)
    assert_alike(gait_parameters(image(joints, -1), FPS), expected)
    assert_alike(gait_parameters(3 * image(joints) + [100, -40], FPS), expected)
    a = np.radians(degrees)
    turn = np.array([[np.cos(a), np.sin(a), 0], [-np.sin(a), np.cos(a), 0], [0, 0, 1]])
    assert_alike(gait_parameters(joints @ turn + [2, 3, 1], FPS), expected)


def test_flexion_is_positive_whichever_way_the_person_walks():
    joints = figure()
    right, left = (gait.joint_angles(image(joints, way)) for way in (1, -1))
    np.testing.assert_allclose(right, left, atol=1e-9)
    assert right[:, 0].min() == pytest.approx(4, abs=0.3)
    assert right[:, 0].max() == pytest.approx(64, abs=0.3)
    assert right[:, 2].max() == pytest.approx(26, abs=0.3)  # the thigh ahead


def test_a_mirrored_body_has_the_other_sides():
    pose = image(figure())
    found, other = gait_parameters(pose, FPS), gait_parameters(pose[:, MIRROR], FPS)
    assert other.right_knee_range == pytest.approx(found.left_knee_range, abs=1e-6)
    assert other.step_time_symmetry == pytest.approx(-found.step_time_symmetry, abs=1e-6)


@pytest.mark.parametrize("cadence", [75.0, 100.0, 140.0])
def test_slow_and_fast_walks(cadence):
    assert gait_parameters(image(figure(seconds=6, cadence=cadence)), FPS).cadence == pytest.approx(cadence, rel=1e-3)


def test_noise_swapped_legs_and_missing_joints_do_little():
    pose, rng = image(figure()), np.random.default_rng(0)
    found = gait_parameters(pose, FPS)
    noisy = pose + rng.normal(scale=1.0, size=pose.shape)  # 2 % of the torso
    assert_alike(gait_parameters(noisy, FPS), found, tolerance=3)
    assert gait_parameters(noisy, FPS).cadence == pytest.approx(found.cadence, rel=0.005)
    swapped = noisy.copy()
    swapped[30:34] = swapped[30:34, MIRROR]
    assert gait_parameters(swapped, FPS).cadence == pytest.approx(found.cadence, rel=0.005)
    holed = noisy.copy()
    holed[rng.random(pose.shape[:2]) < 0.05] = np.nan
    holed[:, [RIGHT_ELBOW, RIGHT_WRIST, LEFT_ELBOW, LEFT_WRIST]] = np.nan
    result = gait_parameters(holed, FPS)
    assert result.cadence == pytest.approx(found.cadence, rel=0.01)
    assert "missing in" in result.limits[0]
    assert np.isnan(holed).any()  # the walk is left as it was


def test_what_the_walk_cannot_say_has_a_reason():
    pose = image(figure())
    short = gait_parameters(pose[:20], FPS)
    assert np.isnan(values(short)).all()
    assert short.limits == ("No steady strides were found in 0.8 seconds; about 3 in a row are needed.",)
    still = gait_parameters(np.repeat(pose[:1], 100, 0), FPS)
    assert np.isnan(values(still)).all()
    noise = pose[:1] + np.random.default_rng(0).normal(size=(100, 15, 2))
    assert np.isnan(gait_parameters(noise, FPS).cadence)
    few = gait_parameters(pose[:50], FPS)
    assert few.cadence == pytest.approx(CADENCE, rel=0.01)
    assert few.limits[0] == "Only 1.8 strides in 2.0 seconds; 3 or more are more reliable."
    lost = pose.copy()
    lost[:60, LEFT_ANKLE] = np.nan
    assert np.isnan(gait_parameters(lost, FPS).cadence)
    assert gait_parameters(lost, FPS).limits == ("A leg joint is missing in 60% of the frames, most often the left ankle.",)
    slow = gait_parameters(pose[::3], FPS / 3)
    assert np.isnan(slow.cadence)
    assert "at least 12" in slow.limits[0]


def test_from_the_front_cadence_is_seen_and_steps_are_not():
    joints = figure()
    front = gait_parameters(100 * np.stack([joints[..., 1], -joints[..., 2]], -1), FPS)
    assert front.cadence == pytest.approx(CADENCE, rel=0.002)
    assert front.step_time == pytest.approx(60 / CADENCE, rel=0.002)
    assert np.isnan(values(front)[2:]).all()
    assert front.limits[0].startswith("The walk is seen from the front")


def test_what_is_no_walk_is_refused():
    pose = image(figure())
    for joints, fps in ((np.zeros((50, 17, 2)), FPS), (pose[0], FPS), (pose[:0], FPS), (pose, 0.0), (pose, np.nan)):
        with pytest.raises(InputError, match="Gait parameters need a walk"):
            gait_parameters(joints, fps)


def test_a_table_has_a_row_a_walk():
    table = gait_table([image(figure()), figure(), image(figure())[:20]], [FPS] * 3)
    assert list(table["steps"]) == [7, 7, 0]
    assert set(gait.PARAMETERS) < set(table)
    assert table["cadence"].isna().tolist() == [False, False, True]
    assert table["limits"].tolist()[0] == ""
    assert "0.8 seconds" in table["limits"].tolist()[2]


# ---------------------------------------------------------------- walkers, as docs/gait_parameters.md has them


@pytest.fixture(scope="module")
def walkers():
    """Of three people: what is true of each recording, and the walks that an estimator with its faults has seen."""
    truth = {}
    for subject in range(1, 4):
        for recording in perform(subject, 11):
            found = gait_parameters(recording.joints, FPS)
            angles = recording.angles[..., [1, 0]]  # knee, thigh against the vertical
            angles[..., 1] += recording.angles[..., [10]][..., 0]  # and so against the trunk, which leans forward
            ranges = gait.cycle_ranges(angles.transpose(0, 2, 1).reshape(len(angles), 4), FPS, found.cadence / 120)
            truth[f"{subject:03d}", recording.condition, recording.run] = recording, found, ranges
    return truth, list(make_walkers(3, 11))


def key(walk):
    return walk.subject, walk.condition, walk.run


def test_without_noise_walkers_are_measured_as_they_were_made(walkers):
    truth, _ = walkers
    # rhythm wanders a little, so a clip of seven steps need not have the cadence of the person to the last digit
    cadence = np.array([found.cadence / recording.cadence - 1 for recording, found, _ in truth.values()])
    assert np.median(np.abs(cadence)) < 0.003
    assert np.abs(cadence).max() < 0.015
    errors = np.array([[getattr(found, name) for name in RANGES] - ranges for _, found, ranges in truth.values()])
    assert np.abs(errors).max() < 1


def test_cadence_from_every_view(walkers):
    truth, walks = walkers
    errors = {}
    for walk in walks:
        found = gait_parameters(walk.pose, walk.fps)
        errors.setdefault(walk.view, []).append(100 * abs(found.cadence / truth[key(walk)][1].cadence - 1))
    assert len(errors) == 11
    for view, found in errors.items():
        assert np.median(found) < 0.6, view
        assert max(found) < 2, view
    assert max(errors["090"]) < 1


def test_knees_from_the_side(walkers):
    truth, walks = walkers
    near, far = [], []
    for walk in walks:
        if walk.view == "090" and walk.condition == "nm":
            found, ranges = gait_parameters(walk.pose, walk.fps), truth[key(walk)][2]
            near.append(found.left_knee_range - ranges[1])
            far.append(found.right_knee_range - ranges[0])
    assert np.median(np.abs(near)) < 3
    assert np.median(np.abs(far)) < 7  # hidden by the near leg half the time


def test_a_decoded_walker_shows_knees_from_every_view(walkers):
    truth, walks = walkers
    chosen = [walk for walk in walks if walk.condition == "nm" and walk.run < 3]
    frames = np.concatenate([walk.pose for walk in chosen])
    length = np.array([len(walk.pose) for walk in chosen])
    start = np.cumsum(length) - length
    normalize_frames(frames, start, length)
    model, _ = load_model("pretrained")
    decoded = gait.decoded_walkers(model, NormalizedWalks(frames, start, length, None))
    assert [walker.shape for walker in decoded] == [(n, 15, 3) for n in length]
    table = gait_table(decoded, [walk.fps for walk in chosen])
    cadence = table["cadence"] / [truth[key(walk)][1].cadence for walk in chosen] - 1
    assert np.abs(cadence).median() < 0.005
    assert np.abs(cadence).max() < 0.02
    errors = np.abs(table[RANGES] - np.array([truth[key(walk)][2] for walk in chosen]))
    assert (errors.median() < 5).all()
    assert errors.to_numpy().max() < 15


def test_a_model_without_walkers_is_refused():
    model = GaitModel(people=2, autoencoder="paper", recognizer="none")
    with pytest.raises(InputError, match="does not make 3D walkers"):
        gait.decoded_walkers(model, None)
