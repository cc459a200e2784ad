"""The 15 joints and 14 bones of every walk, and how other joint layouts map to them."""

from dataclasses import dataclass, replace

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
(
    HEAD, NECK, RIGHT_SHOULDER, RIGHT_ELBOW, RIGHT_WRIST, LEFT_SHOULDER, LEFT_ELBOW, LEFT_WRIST,
    MID_HIP, RIGHT_HIP, RIGHT_KNEE, RIGHT_ANKLE, LEFT_HIP, LEFT_KNEE, LEFT_ANKLE,
) = range(NUM_JOINTS)  # fmt: skip

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
    """A joint layout of another program with `size` keypoints.

    sources: for each of our joints, the one or two keypoints whose mean it is. names: of the keypoints, if files contain them.
    """

    name: str
    size: int
    sources: tuple[tuple[int, ...], ...]
    names: tuple[str, ...] = ()

    def to_joints(self, keypoints: np.ndarray) -> np.ndarray:
        """Map foreign keypoints to the 15 joints.

        keypoints: float [..., size, C]; a missing keypoint is NaN, and so is a midpoint with a missing end.
        Returns float [..., 15, C].
        """
        first, last = np.array([(s[0], s[-1]) for s in self.sources]).T
        return (keypoints[..., first, :] + keypoints[..., last, :]) / 2


#: The keypoint for each of our joints, counted from 0; a+b is the midpoint of two. The head is the nose; in KINECT it is the
#: middle of the head. BODY_25 and BODY_25B, OpenPose's default and its experimental model, have the same number of keypoints, and
#: files do not say which they use. The neck of BODY_25 and COCO18 is by definition the middle of the shoulders, so the "upper
#: neck" of BODY_25B, which lies at the base of the skull, is not used for it.
_TABLE = """
layout          COCO17  COCO18  BODY_25  BODY_25B  HALPE26  MEDIAPIPE33  KINECT
keypoints       17      18      25       25        26       33           20
head            0       0       0        0         0        0            0
neck            5+6     1       1        5+6       18       11+12        1
right_shoulder  6       2       2        6         6        12           2
right_elbow     8       3       3        8         8        14           4
right_wrist     10      4       4        10        10       16           6
left_shoulder   5       5       5        5         5        11           3
left_elbow      7       6       6        7         7        13           5
left_wrist      9       7       7        9         9        15           7
mid_hip         11+12   8+11    8        11+12     19       23+24        11
right_hip       12      8       9        12        12       24           12
right_knee      14      9       10       14        14       26           14
right_ankle     16      10      11       16        16       28           16
left_hip        11      11      12       11        11       23           13
left_knee       13      12      13       13        13       25           15
left_ankle      15      13      14       15        15       27           17
"""
_NAMES = {
    "COCO17": (
        "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow left_wrist right_wrist "
        "left_hip right_hip left_knee right_knee left_ankle right_ankle"
    ),
    # in the order of the Kinect Gait Biometry Dataset, with its spelling "Hip-centro"
    "KINECT": (
        "Head Shoulder-Center Shoulder-Right Shoulder-Left Elbow-Right Elbow-Left Wrist-Right Wrist-Left Hand-Right Hand-Left "
        "Spine Hip-centro Hip-Right Hip-Left Knee-Right Knee-Left Ankle-Right Ankle-Left Foot-Right Foot-Left"
    ),
}

COCO17, COCO18, BODY_25, BODY_25B, HALPE26, MEDIAPIPE33, KINECT = (
    Layout(name, int(size), tuple(tuple(map(int, s.split("+"))) for s in sources), tuple(_NAMES.get(name, "").split()))
    for name, size, *sources in list(zip(*map(str.split, _TABLE.strip().splitlines()), strict=True))[1:]
)
#: Our own joints, for arrays and tables made for this program.
JOINTS15 = Layout("JOINTS15", NUM_JOINTS, tuple((j,) for j in range(NUM_JOINTS)), JOINTS)
#: Whole-body layouts: the smaller layouts followed by face and hands, which are not used.
HALPE136, COCO133 = replace(HALPE26, name="HALPE136", size=136), replace(COCO17, name="COCO133", size=133, names=())

#: The two-dimensional layouts by name.
LAYOUTS = {
    layout.name: layout for layout in (JOINTS15, COCO17, COCO18, BODY_25, BODY_25B, HALPE26, HALPE136, COCO133, MEDIAPIPE33)
}  # fmt: skip
