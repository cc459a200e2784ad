"""Virtual cameras: what must hold for any walker, told with one made of sine waves."""

import numpy as np
import pytest

from gaitlib import InputError
from gaitlib.data.cameras import leftward, parse_cameras, pass_to_walks, project
from gaitlib.skeleton import (
    LEFT_ANKLE,
    LEFT_HIP,
    LEFT_KNEE,
    LEFT_SHOULDER,
    LEFT_WRIST,
    MID_HIP,
    NUM_JOINTS,
    RIGHT_ANKLE,
    RIGHT_HIP,
    RIGHT_KNEE,
    RIGHT_SHOULDER,
    RIGHT_WRIST,
)

#: [to the left, up, ahead] of the mid-hip in mm, standing
STANDING = np.array(
    [
        [0, 650, 0], [0, 500, 0],
        [-190, 480, 0], [-220, 220, 0], [-230, 0, 0],
        [190, 480, 0], [220, 220, 0], [230, 0, 0],
        [0, 0, 0],
        [-90, -40, 0], [-95, -440, 30], [-100, -840, 0],
        [90, -40, 0], [95, -440, 30], [100, -840, 0],
    ],
    dtype=float,
)  # fmt: skip


def walker(frames=120, degrees=180.0, noise=0.0, seed=0):
    """A person who walks toward `degrees` on the ground, 0 = +x, 90 = +z; float [T, 15, 3], right-handed, y up."""
    t = np.arange(frames)
    swing = np.sin(2 * np.pi * t / 32)
    body = np.repeat(STANDING[None], frames, axis=0)
    for joint, reach in ((RIGHT_ANKLE, 330), (RIGHT_KNEE, 150), (LEFT_WRIST, 200)):
        body[:, joint, 2] += reach * swing
    for joint, reach in ((LEFT_ANKLE, 330), (LEFT_KNEE, 150), (RIGHT_WRIST, 200)):
        body[:, joint, 2] -= reach * swing
    body[..., 2] += 30.0 * t[:, None]
    body[..., 1] += 900
    angle = np.radians(degrees)
    ahead = np.array([np.cos(angle), 0, np.sin(angle)])
    left = np.cross([0, 1, 0], ahead)
    walk = body @ np.stack([left, [0, 1, 0], ahead])
    return walk + np.random.default_rng(seed).normal(0, noise, walk.shape) + [300, 0, 2500]


def stride(image):
    return np.ptp(image[..., RIGHT_ANKLE, 0] - image[..., LEFT_ANKLE, 0], axis=-1)


@pytest.mark.parametrize(
    ("text", "angles"),
    [("sensor", ()), ("0:180:18", tuple(range(0, 181, 18))), ("90:90:1", (90,)), ("0:100:60", (0, 60))],
)
def test_parse_cameras(text, angles):
    assert parse_cameras(text) == angles


@pytest.mark.parametrize("text", ["", "0:180", "0:180:0", "180:0:18", "a:b:c", "0:360:18", "-18:90:18", "0:1.5:1"])
def test_parse_cameras_refuses(text):
    with pytest.raises(InputError, match=r"first:last:step") as error:
        parse_cameras(text)
    assert repr(text) in str(error.value)


def test_the_direction_of_a_walk_is_found():
    """Left of who walks toward -x, seen by a Kinect whose x grows to its own left, is away from the sensor."""
    np.testing.assert_allclose(leftward(walker(degrees=180)), np.tile([0.0, 1.0], (120, 1)), atol=1e-9)


def test_turning_the_walk_leaves_the_views_unchanged():
    angles = [0, 30, 90, 150]
    expected = project(walker(degrees=180), angles)
    for degrees in (0, 40, 100, 275):
        np.testing.assert_allclose(project(walker(degrees=degrees), angles), expected, atol=1e-2)


def test_view_0_shows_the_front_and_view_180_the_same_mirrored():
    front, back = project(walker(), [0, 180])
    assert (front[:, RIGHT_SHOULDER, 0] < front[:, LEFT_SHOULDER, 0]).all()
    assert (front[:, RIGHT_HIP, 0] < front[:, LEFT_HIP, 0]).all()
    np.testing.assert_allclose(back, front * [-1, 1], atol=1e-2)
    np.testing.assert_allclose(front[:, LEFT_SHOULDER, 0] - front[:, RIGHT_SHOULDER, 0], 380, atol=1e-2)


def test_view_90_shows_the_left_side_walking_to_the_left_of_the_image():
    angles = range(0, 181, 18)
    views = project(walker(), angles)
    strides = stride(views)
    assert angles[int(np.argmax(strides))] == 90
    assert strides[5] == pytest.approx(1320, rel=0.02)
    assert strides[0] < 1
    side = views[5]
    knees = side[:, [RIGHT_KNEE, LEFT_KNEE], 0].mean()
    assert knees == pytest.approx(-30, abs=0.1), "knees bend ahead, so they are left of the hips"
    np.testing.assert_allclose(side[:, LEFT_SHOULDER, 0], side[:, RIGHT_SHOULDER, 0], atol=1e-2)


def test_views_are_body_centered_and_upright():
    views = project(walker(), [0, 72])
    np.testing.assert_allclose(views[:, :, MID_HIP, 0], 0, atol=1e-3)
    np.testing.assert_allclose(views[..., 1], np.broadcast_to(-walker()[..., 1], views.shape[:-1]), atol=1e-3)
    assert views.dtype == np.float32
    assert views.shape == (2, 120, NUM_JOINTS, 2)


def test_depth_noise_is_smoothed():
    """30 mm of noise tilts a 380 mm shoulder line by degrees in one frame, and by under one a second."""
    noisy = walker(noise=30.0)
    left = leftward(noisy)
    angle = np.degrees(np.arctan2(left[:, 0], left[:, 1]))
    across = noisy[:, LEFT_SHOULDER] - noisy[:, RIGHT_SHOULDER]
    raw = np.degrees(np.arctan2(across[:, 0], across[:, 2]))
    assert raw.std() > 3
    assert angle.std() < raw.std() / 3
    assert np.abs(np.diff(angle)).max() < 1


@pytest.mark.parametrize(("heading", "degrees"), [(1, 180), (-1, 0)])
def test_a_known_heading_turns_exchanged_frames_round(heading, degrees):
    walk = walker(degrees=degrees)
    expected = project(walk, [0, 90], heading=heading)
    exchanged = walk.copy()
    for right, left in ((RIGHT_SHOULDER, LEFT_SHOULDER), (RIGHT_HIP, LEFT_HIP)):
        exchanged[:, [right, left]] = walk[:, [left, right]]
    seen = project(exchanged, [0, 90], heading=heading)
    np.testing.assert_allclose(seen[:, :, LEFT_ANKLE], expected[:, :, LEFT_ANKLE], atol=1e-2)
    unknown = project(exchanged, [90])
    assert not np.allclose(unknown[0, :, LEFT_ANKLE], expected[1, :, LEFT_ANKLE], atol=100)


def test_missing_joints_stay_missing_and_alone():
    walk = walker()
    expected = project(walk, [40])
    walk[10, LEFT_SHOULDER] = np.nan
    walk[20] = np.nan
    seen = project(walk, [40])
    assert np.isnan(seen[0, 10, LEFT_SHOULDER]).all()
    assert np.isnan(seen[0, 20]).all()
    known = np.isfinite(seen)
    assert (~known).sum() == 2 + 2 * NUM_JOINTS
    np.testing.assert_allclose(seen[known], expected[known], atol=1e-2)
    assert not np.isfinite(project(np.full((20, NUM_JOINTS, 3), np.nan), [0, 90])).any()


def test_a_pass_becomes_one_walk_a_camera():
    about = {"heading": 1, "subject": 7, "run": 2, "start_frame": 24, "fps": 30.0, "source": "somewhere"}
    walk = walker()
    [sensor] = pass_to_walks(walk, (), **about)
    assert sensor.sequence == "007-nm-02-f0024-leftward"
    np.testing.assert_allclose(sensor.pose, walk[..., :2] * [1, -1], rtol=1e-6)
    assert sensor.pose[-1, MID_HIP, 0] < sensor.pose[0, MID_HIP, 0], "leftward in the image"
    views = list(pass_to_walks(walk, (0, 90), **about))
    assert [w.view for w in views] == ["000", "090"]
    assert {w.recording for w in [*views, sensor]} == {"007-nm-02-f0024"}
    assert all((w.confidence == 1).all() and w.confidence.dtype == np.float32 for w in views)
    assert next(pass_to_walks(walk, (), **about | {"heading": -1})).view == "rightward"
