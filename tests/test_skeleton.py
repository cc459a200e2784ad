"""The mapping of every joint layout, against the names of its keypoints and against drawn people."""

import re

import numpy as np
import pytest

from gaitlib.skeleton import JOINTS, LAYOUTS, MIRROR

COCO = (
    "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow left_wrist right_wrist "
    "left_hip right_hip left_knee right_knee left_ankle right_ankle "
)
BODY = "Nose Neck RShoulder RElbow RWrist LShoulder LElbow LWrist MidHip RHip RKnee RAnkle LHip LKnee LAnkle REye LEye REar LEar "
FEET = "LBigToe LSmallToe LHeel RBigToe RSmallToe RHeel"
HALPE = COCO + "head neck hip left_big_toe right_big_toe left_small_toe right_small_toe left_heel right_heel "
REST = " ".join(f"{part}_{i}" for part, count in (("face", 68), ("left_hand", 21), ("right_hand", 21)) for i in range(count))
#: The keypoints of each layout, as its program names them.
NAMES = {
    "JOINTS15": " ".join(JOINTS),
    "COCO17": COCO,
    "COCO18": BODY.replace("MidHip ", ""),
    "BODY_25": BODY + FEET,
    "BODY_25B": "Nose LEye REye LEar REar LShoulder RShoulder LElbow RElbow LWrist RWrist LHip RHip LKnee RKnee LAnkle RAnkle "
    "UpperNeck HeadTop " + FEET,
    "HALPE26": HALPE,
    "HALPE136": HALPE + REST,
    "COCO133": COCO + "left_big_toe left_small_toe left_heel right_big_toe right_small_toe right_heel " + REST,
    "MEDIAPIPE33": "nose left_eye_inner left_eye left_eye_outer right_eye_inner right_eye right_eye_outer left_ear right_ear "
    "mouth_left mouth_right left_shoulder right_shoulder left_elbow right_elbow left_wrist right_wrist left_pinky right_pinky "
    "left_index right_index left_thumb right_thumb left_hip right_hip left_knee right_knee left_ankle right_ankle left_heel "
    "right_heel left_foot_index right_foot_index",
}
NAMES = {layout: names.split() for layout, names in NAMES.items()}


def test_each_layout_has_its_keypoints():
    assert {name: layout.size for name, layout in LAYOUTS.items()} == {name: len(names) for name, names in NAMES.items()}
    for name, layout in LAYOUTS.items():
        assert len(set(NAMES[name])) == layout.size
        assert layout.name == name
        assert list(layout.names) in ([], NAMES[name])


@pytest.mark.parametrize("name", NAMES)
def test_each_joint_comes_from_the_keypoints_that_are_named_like_it(name):
    """The midpoints are of both shoulders and of both hips."""
    for joint, sources in zip(JOINTS, LAYOUTS[name].sources, strict=True):
        found = {NAMES[name][k].lower().replace("_", "") for k in sources}
        side, _, part = joint.partition("_")
        if side in ("left", "right"):
            assert found in ({side + part}, {side[0] + part}), joint
        else:
            pair = {"neck": "shoulder", "mid_hip": "hip"}.get(joint)
            one = {"head": {"head" if name == "JOINTS15" else "nose"}, "neck": {"neck"}, "mid_hip": {"hip", "midhip"}}[joint]
            assert (len(found) == 1 and found <= one) or found in ({f"l{pair}", f"r{pair}"}, {f"left{pair}", f"right{pair}"}), (
                joint
            )


def test_our_joints_are_the_first_of_body_25():
    assert LAYOUTS["BODY_25"].sources == tuple((j,) for j in range(15))


@pytest.mark.parametrize("name", NAMES)
def test_exchanging_left_and_right_names_is_exchanging_our_sides(name):
    names, layout = NAMES[name], LAYOUTS[name]

    def other(name):
        if name in JOINTS:
            return JOINTS[MIRROR[JOINTS.index(name)]]
        if name[0] in "LR" and name[1].isupper():
            return {"L": "R", "R": "L"}[name[0]] + name[1:]
        return re.sub("left|right", lambda m: {"left": "right", "right": "left"}[m[0]], name)

    keypoints = np.random.default_rng(0).normal(size=(len(names), 2))
    mirrored = keypoints[[names.index(other(name)) for name in names]]
    np.testing.assert_allclose(layout.to_joints(mirrored), layout.to_joints(keypoints)[MIRROR])


def test_midpoints_are_means_and_missing_with_either_end():
    keypoints = np.zeros((2, 17, 2))
    keypoints[:, 5], keypoints[:, 6] = [10, 20], [30, 40]
    keypoints[1, 11] = np.nan
    joints = LAYOUTS["COCO17"].to_joints(keypoints)
    np.testing.assert_array_equal(joints[:, 1], [[20, 30], [20, 30]])
    np.testing.assert_array_equal(np.isnan(joints[:, :, 0]).nonzero(), [[1, 1], [8, 12]])
