"""The 15 joints and 14 bones every walk is reduced to, and how other joint layouts map onto them.

How each layout gives our joints; numbers are its keypoints, counted from 0, and a+b is the midpoint of two.

    joint           BODY_25   COCO18  COCO17  BODY_25B  HALPE26  MEDIAPIPE33  KINECT
    head (the nose) 0         0       0       0         0        0            0 (the middle of the head)
    neck            1         1       5+6     5+6       18       11+12        1
    right shoulder  2         2       6       6         6        12           2
    right elbow     3         3       8       8         8        14           4
    right wrist     4         4       10      10        10       16           6
    left shoulder   5         5       5       5         5        11           3
    left elbow      6         6       7       7         7        13           5
    left wrist      7         7       9       9         9        15           7
    mid-hip         8         8+11    11+12   11+12     19       23+24        11
    right hip       9         8       12      12        12       24           12
    right knee      10        9       14      14        14       26           14
    right ankle     11        10      16      16        16       28           16
    left hip        12        11      11      11        11       23           13
    left knee       13        12      13      13        13       25           15
    left ankle      14        13      15      15        15       27           17

HALPE136 begins with the keypoints of HALPE26 and COCO133 (whole body) with those of COCO17; face and hands are not used.
The neck of BODY_25 and COCO18 is by definition the middle of the shoulders, so the "upper neck" of BODY_25B, which lies
at the base of the skull, is not used for it.
"""

from dataclasses import dataclass
from functools import cached_property

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
        first, last = self._first_and_last
        return (keypoints[..., first, :] + keypoints[..., last, :]) / 2

    @cached_property
    def _first_and_last(self) -> tuple[np.ndarray, np.ndarray]:
        return np.array([s[0] for s in self.sources]), np.array([s[-1] for s in self.sources])


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

_BODY_15 = (
    "Nose Neck RShoulder RElbow RWrist LShoulder LElbow LWrist MidHip RHip RKnee RAnkle LHip LKnee LAnkle "
)  # fmt: skip
_FEET = "LBigToe LSmallToe LHeel RBigToe RSmallToe RHeel"
_COCO_17 = (
    "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow left_wrist right_wrist "
    "left_hip right_hip left_knee right_knee left_ankle right_ankle "
)
_LIMBS = {joint: joint for joint in JOINTS if joint.startswith(("left", "right"))}


def _with_limbs(limbs: dict[str, str], head: str, neck: str, mid_hip: str) -> dict[str, str]:
    """The three joints of the trunk among the limbs, in the order of JOINTS."""
    trunk = {"head": head, "neck": neck, "mid_hip": mid_hip}
    return {joint: (trunk | limbs)[joint] for joint in JOINTS}


_OPENPOSE_LIMBS = {joint: joint[0].upper() + joint.split("_")[1].capitalize() for joint in _LIMBS}
_FROM_COCO = _with_limbs(_LIMBS, "nose", "left_shoulder+right_shoulder", "left_hip+right_hip")


def _numbered(part: str, count: int) -> str:
    return " ".join(f"{part}_{i}" for i in range(count)) + " "


#: Our own joints, as arrays and tables made for this program have them.
JOINTS15 = Layout("JOINTS15", JOINTS, tuple((j,) for j in range(NUM_JOINTS)))

_FACE_AND_HANDS = _numbered("face", 68) + _numbered("left_hand", 21) + _numbered("right_hand", 21)

#: OpenPose's default model.
BODY_25 = _layout("BODY_25", _BODY_15 + "REye LEye REar LEar " + _FEET, **_with_limbs(_OPENPOSE_LIMBS, "Nose", "Neck", "MidHip"))

#: OpenPose's experimental model; as many keypoints as BODY_25 in another order, and nothing in its files says so.
BODY_25B = _layout(
    "BODY_25B",
    "Nose LEye REye LEar REar LShoulder RShoulder LElbow RElbow LWrist RWrist LHip RHip LKnee RKnee LAnkle RAnkle "
    "UpperNeck HeadTop " + _FEET,
    **_with_limbs(_OPENPOSE_LIMBS, "Nose", "LShoulder+RShoulder", "LHip+RHip"),
)

#: OpenPose's COCO model, with a neck; AlphaPose writes it too on request.
COCO18 = _layout(
    "COCO18", _BODY_15.replace("MidHip ", "") + "REye LEye REar LEar", **_with_limbs(_OPENPOSE_LIMBS, "Nose", "Neck", "LHip+RHip")
)

#: COCO's own keypoints: AlphaPose, HRNet, ViTPose, Detectron2 and most others.
COCO17 = _layout("COCO17", _COCO_17, **_FROM_COCO)

#: COCO-WholeBody: body, feet, face and hands.
COCO133 = _layout(
    "COCO133",
    _COCO_17
    + "left_big_toe left_small_toe left_heel right_big_toe right_small_toe right_heel "
    + _FACE_AND_HANDS,
    **_FROM_COCO,
)  # fmt: skip

_HALPE_26 = _COCO_17 + "head neck hip left_big_toe right_big_toe left_small_toe right_small_toe left_heel right_heel "
_FROM_HALPE = _with_limbs(_LIMBS, "nose", "neck", "hip")

#: Halpe Full-Body, body and feet: AlphaPose, RTMPose.
HALPE26 = _layout("HALPE26", _HALPE_26, **_FROM_HALPE)

#: Halpe Full-Body with face and hands.
HALPE136 = _layout("HALPE136", _HALPE_26 + _FACE_AND_HANDS, **_FROM_HALPE)

#: MediaPipe Pose, formerly BlazePose.
MEDIAPIPE33 = _layout(
    "MEDIAPIPE33",
    "nose left_eye_inner left_eye left_eye_outer right_eye_inner right_eye right_eye_outer left_ear right_ear "
    "mouth_left mouth_right left_shoulder right_shoulder left_elbow right_elbow left_wrist right_wrist left_pinky "
    "right_pinky left_index right_index left_thumb right_thumb left_hip right_hip left_knee right_knee left_ankle "
    "right_ankle left_heel right_heel left_foot_index right_foot_index",
    **_FROM_COCO,
)

#: The two-dimensional layouts by name.
LAYOUTS = {
    layout.name: layout for layout in (JOINTS15, COCO17, COCO18, BODY_25, BODY_25B, HALPE26, HALPE136, COCO133, MEDIAPIPE33)
}  # fmt: skip
