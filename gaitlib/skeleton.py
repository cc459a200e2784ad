"""The 15 joints and 14 bones every walk is reduced to, and how other joint layouts map onto them."""

from dataclasses import dataclass

import numpy as np

# The first 15 keypoints of OpenPose BODY_25.
JOINTS = (
    "head", "neck",
    "right_shoulder", "right_elbow", "right_wrist",
    "left_shoulder", "left_elbow", "left_wrist",
    "mid_hip",
    "right_hip", "right_knee", "right_ankle",
    "left_hip", "left_knee", "left_ankle",
)  # fmt: skip
NUM_JOINTS = len(JOINTS)
HEAD, NECK = 0, 1
RIGHT_SHOULDER, RIGHT_ELBOW, RIGHT_WRIST = 2, 3, 4
LEFT_SHOULDER, LEFT_ELBOW, LEFT_WRIST = 5, 6, 7
MID_HIP, RIGHT_HIP, RIGHT_KNEE, RIGHT_ANKLE, LEFT_HIP, LEFT_KNEE, LEFT_ANKLE = range(8, 15)

BONES = (
    (0, 1), (1, 2), (1, 5), (1, 8), (2, 3), (3, 4), (5, 6), (6, 7),
    (8, 9), (8, 12), (9, 10), (10, 11), (12, 13), (13, 14),
)  # fmt: skip

#: PARENT[j] is the joint at the other end of the bone that leads to j; the neck is its own parent.
PARENT = np.array([1, 1, 1, 2, 3, 1, 5, 6, 1, 8, 9, 10, 8, 12, 13])

#: MIRROR[j] is the joint on the other side of the body: pose[:, MIRROR] swaps left and right.
MIRROR = np.array([0, 1, 5, 6, 7, 2, 3, 4, 8, 12, 13, 14, 9, 10, 11])

LEFT_JOINTS = (5, 6, 7, 12, 13, 14)
RIGHT_JOINTS = (2, 3, 4, 9, 10, 11)


@dataclass(frozen=True)
class Layout:
    """A joint layout of another program.

    `sources[j]` lists the foreign keypoints whose mean is our joint j: one keypoint, or two for a midpoint.
    """

    name: str
    names: tuple[str, ...]
    sources: tuple[tuple[int, ...], ...]

    def to_joints(self, keypoints: np.ndarray) -> np.ndarray:
        """Map foreign keypoints to the 15 joints.

        keypoints: float [..., len(names), C]; a missing keypoint is NaN, and so is a midpoint of which one end is missing.
        Returns float [..., 15, C].
        """
        return np.stack([keypoints[..., list(s), :].mean(axis=-2) for s in self.sources], axis=-2)


def _layout(name: str, names: str, **joints: str) -> Layout:
    """Build a Layout from keypoint names; `joints` gives ours as 'a' or 'a+b', in the order of JOINTS."""
    keypoints = tuple(names.split())
    if tuple(joints) != JOINTS:
        raise ValueError(f"layout {name} must name the joints in the order of JOINTS")
    return Layout(name, keypoints, tuple(tuple(keypoints.index(k) for k in s.split("+")) for s in joints.values()))


#: Kinect v1 (SDK 1.x), in the order of the Kinect Gait Biometry Dataset; its spelling "Hip-centro" is its own.
KINECT = _layout(
    "kinect",
    "Head Shoulder-Center Shoulder-Right Shoulder-Left Elbow-Right Elbow-Left Wrist-Right Wrist-Left Hand-Right Hand-Left "
    "Spine Hip-centro Hip-Right Hip-Left Knee-Right Knee-Left Ankle-Right Ankle-Left Foot-Right Foot-Left",
    head="Head", neck="Shoulder-Center",
    right_shoulder="Shoulder-Right", right_elbow="Elbow-Right", right_wrist="Wrist-Right",
    left_shoulder="Shoulder-Left", left_elbow="Elbow-Left", left_wrist="Wrist-Left",
    mid_hip="Hip-centro",
    right_hip="Hip-Right", right_knee="Knee-Right", right_ankle="Ankle-Right",
    left_hip="Hip-Left", left_knee="Knee-Left", left_ankle="Ankle-Left",
)  # fmt: skip
