"""From walks in three dimensions to the images that cameras around the walker would see.

Axes of a three-dimensional walk, as given by a Kinect v1: right-handed, x to the sensor's left, y up, z away from
the sensor, millimeters. Because x points to the *left*, the image (x, -y) of the sensor itself is a mirror image, as the
Kinect shows it to its player: a person walking toward -x walks to the left of that image with the right side toward the
sensor. Virtual cameras are not mirrored.

A virtual camera at angle a sees the person walk toward a degrees: at 0 straight toward the camera, at 90 to the left of the
image, at 180 away. So all cameras from 0 to 180 stand around the person's left side, as those of CASIA-B do (Yu, Tan and Tan, "A
framework for evaluating the effect of view angle, clothing and carrying condition on gait recognition", ICPR 2006).

Treat virtual views of a Kinect as semi-synthetic. The sensor sees only the near side of a person and turns shoulders and hips
toward itself: in the Kinect Gait Biometry Dataset by 45 degrees on average, while the legs swing along the true path.
The walking direction is estimated from shoulders and hips, so the upper body is right in each virtual view and the legs
swing at 45 degrees to it, to one side on the way to -x and to the other on the way back.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from gaitlib import InputError
from gaitlib.data.dataset import Walk
from gaitlib.data.views import view_name
from gaitlib.skeleton import LEFT_HIP, LEFT_SHOULDER, MID_HIP, RIGHT_HIP, RIGHT_SHOULDER

#: The walking direction is averaged with a Hann window of this length: one second at half its height, and insensitive to the
#: swing of hips and shoulders, which has a period of one second.
DIRECTION_SECONDS = 2.0

#: In a frame that faces farther than this from the known heading, the tracker swapped left and right.
FARTHEST_DEGREES = 120.0


def parse_cameras(cameras: str) -> tuple[int, ...]:
    """The angles of "first:last:step" in whole degrees, including `last` if a step lands on it; () for "sensor".

    Raises InputError for anything else, and for angles outside 0..359.
    """
    if cameras == "sensor":
        return ()
    try:
        first, last, step = (int(part) for part in cameras.split(":"))
    except ValueError:
        first, last, step = 0, 0, 0
    if step <= 0 or not 0 <= first <= last <= 359:
        raise InputError(
            f"--cameras {cameras!r} cannot be used; give 'sensor', or first:last:step in whole degrees from 0 to 359 "
            "with a step above 0, such as 0:180:18."
        )
    return tuple(range(first, last + 1, step))


def leftward(joints: np.ndarray, heading: int = 0, fps: float = 30.0) -> np.ndarray:
    """The horizontal direction to the walker's left in each frame; the walking direction is at right angles to it.

    It is the vector from the right shoulder and hip to the left ones, without its vertical part, smoothed over about a
    second. Frames are weighted by the length of that vector, so those in which depth noise has collapsed it hardly count.

    joints: [T, 15, 3], missing joints NaN. heading: +1 if the person walks toward -x, -1 toward +x, 0 if unknown; frames
    that face the other way are turned around. fps: frames a second.
    Returns float64 [T, 2], unit vectors (x, z).
    """
    joints = np.asarray(joints, dtype=np.float64)[..., [0, 2]]
    across = np.nan_to_num(joints[:, LEFT_SHOULDER] - joints[:, RIGHT_SHOULDER])
    across += np.nan_to_num(joints[:, LEFT_HIP] - joints[:, RIGHT_HIP])
    # walking is (-across z, across x), and -heading is the sign of its x
    exchanged = heading * across[:, 1] < np.cos(np.radians(FARTHEST_DEGREES)) * np.hypot(*across.T)
    across[exchanged] *= -1
    half = max(1, round(DIRECTION_SECONDS * fps / 2))
    window = np.hanning(2 * half + 1)
    smooth = np.stack([np.convolve(a, window)[half : half + len(a)] for a in across.T], axis=-1)
    length = np.hypot(*smooth.T)
    # if the window holds no information: the direction of the whole walk, the known heading, or toward the sensor
    whole = across.sum(axis=0)
    if not whole.any():
        whole = np.array([0.0, heading] if heading else [-1.0, 0.0])
    smooth[length < 1e-9] = whole
    return smooth / np.hypot(*smooth.T)[:, None]


def project(joints: np.ndarray, angles: Sequence[float], *, heading: int = 0, fps: float = 30.0) -> np.ndarray:
    """The images of virtual cameras that turn with the person: orthographic, about the vertical axis through the mid-hip.

    joints: [T, 15, 3], right-handed with y up (see the top of this file), missing joints NaN.
    angles: degrees the person walks toward in the image: 0 toward the camera, 90 to the left of the image, 180 away.
    heading, fps: as in `leftward`.
    Returns float32 [len(angles), T, 15, 2] in the unit of `joints`: x right of the mid-hip, y down, height as measured.
    """
    joints = np.asarray(joints, dtype=np.float64)
    left = leftward(joints, heading, fps)
    walking = np.stack([-left[:, 1], left[:, 0]], axis=-1)
    ground = joints[..., [0, 2]]
    known = np.isfinite(ground)
    mean = np.where(known, ground, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    center = np.where(np.isfinite(ground[:, MID_HIP]), ground[:, MID_HIP], mean)
    ground = ground - center[:, None]
    to_left = np.einsum("tjk,tk->tj", ground, left)
    ahead = np.einsum("tjk,tk->tj", ground, walking)
    turn = np.radians(np.asarray(angles, dtype=np.float64))[:, None, None]
    images = np.empty((len(turn), *joints.shape[:2], 2), dtype=np.float32)
    images[..., 0] = np.cos(turn) * to_left - np.sin(turn) * ahead
    images[..., 1] = -joints[..., 1]
    return images


def pass_to_walks(
    joints: np.ndarray, angles: Sequence[int], *, heading: int, subject: int, run: int, start_frame: int, fps: float, source: str
) -> Iterator[Walk]:
    """One pass of a person by a sensor as walks, one per camera.

    joints: [T, 15, 3] millimeters. angles: of virtual cameras, or () for the image of the sensor itself.
    heading: +1 walks toward -x, -1 toward +x. start_frame: where the pass begins in its recording; it names the pass.
    The condition is "nm". A Kinect gives no confidence, so it is 1 for each joint with a position, else 0.
    """
    joints, person = np.asarray(joints, dtype=np.float64), f"{subject:03d}"
    if angles:
        views = [view_name(angle) for angle in angles]
        poses = project(joints, angles, heading=heading, fps=fps)
    else:
        views = ["leftward" if heading > 0 else "rightward"]
        poses = np.stack([joints[..., 0], -joints[..., 1]], axis=-1).astype(np.float32)[None]
    for view, pose in zip(views, poses, strict=True):
        confidence = np.isfinite(pose).all(axis=-1).astype(np.float32)
        yield Walk(pose, confidence, fps, person, "nm", run, view, f"{person}-nm-{run:02d}-f{start_frame:04d}", source)
