"""The mapping of every joint layout, against the table at the top of gaitlib/skeleton.py and against drawn people."""

import re

import numpy as np
import pytest

from gaitlib import skeleton
from gaitlib.skeleton import JOINTS, KINECT, LAYOUTS, MIRROR

COUNTS = {
    "JOINTS15": 15, "COCO17": 17, "COCO18": 18, "BODY_25": 25, "BODY_25B": 25,
    "HALPE26": 26, "HALPE136": 136, "COCO133": 133, "MEDIAPIPE33": 33,
}  # fmt: skip


def test_each_layout_has_as_many_keypoints_as_its_name_says():
    assert {name: len(layout.names) for name, layout in LAYOUTS.items()} == COUNTS
    for layout in LAYOUTS.values():
        assert len(set(layout.names)) == len(layout.names)


def test_the_table_in_the_docstring_is_the_mapping():
    lines = skeleton.__doc__.splitlines()
    start = next(i for i, line in enumerate(lines) if line.split()[:1] == ["joint"])
    columns = [{"KINECT": KINECT}.get(name) or LAYOUTS[name] for name in lines[start].split()[1:]]
    for j, line in enumerate(lines[start + 1 : start + 16]):
        name = line[:20].split("(")[0].strip().replace("-", "_").replace(" ", "_")
        assert name == JOINTS[j]
        cells = re.findall(r"[\d+]+", line)
        for layout, cell in zip(columns, cells, strict=True):
            assert set(layout.sources[j]) == {int(k) for k in cell.split("+")}, (layout.name, name)


def test_larger_layouts_begin_with_the_smaller_ones():
    assert LAYOUTS["HALPE136"].names[:26] == LAYOUTS["HALPE26"].names
    assert LAYOUTS["HALPE136"].sources == LAYOUTS["HALPE26"].sources
    assert LAYOUTS["COCO133"].names[:17] == LAYOUTS["COCO17"].names
    assert LAYOUTS["BODY_25"].sources == tuple((j,) for j in range(15)), "our joints are the first 15 of BODY_25"


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_exchanging_left_and_right_names_is_exchanging_our_sides(layout):
    def other(name):
        if layout.names == JOINTS:
            return JOINTS[MIRROR[JOINTS.index(name)]]
        if name[0] in "LR" and name[1].isupper():
            return {"L": "R", "R": "L"}[name[0]] + name[1:]
        return re.sub("left|right", lambda m: {"left": "right", "right": "left"}[m[0]], name)

    keypoints = np.random.default_rng(0).normal(size=(len(layout.names), 2))
    mirrored = keypoints[[layout.names.index(other(name)) for name in layout.names]]
    np.testing.assert_allclose(layout.to_joints(mirrored), layout.to_joints(keypoints)[MIRROR])


def test_midpoints_are_means_and_missing_with_either_end():
    keypoints = np.zeros((2, 17, 2))
    keypoints[:, 5], keypoints[:, 6] = [10, 20], [30, 40]
    keypoints[1, 11] = np.nan
    joints = LAYOUTS["COCO17"].to_joints(keypoints)
    np.testing.assert_array_equal(joints[:, 1], [[20, 30], [20, 30]])
    np.testing.assert_array_equal(np.isnan(joints[:, :, 0]).nonzero(), [[1, 1], [8, 12]])
