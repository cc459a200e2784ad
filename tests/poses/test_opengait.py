"""Pickled arrays in folders: how walks are named, what arrays are read, what is wrong with the others."""

import pickle

import numpy as np
import pytest

from gaitlib.poses.formats.opengait import OPENGAIT
from gaitlib.poses.sequences import Sequence, Unusable


def keypoints(frames=20, count=17, numbers=3):
    return 100 + np.random.default_rng(1).random((frames, count, numbers)).astype(np.float32) * [50, 100, 0.01][:numbers]


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(value))
    return path


def load(folder, value):
    return OPENGAIT.load(Sequence("walk", (write(folder / "walk.pkl", value),)))


@pytest.mark.parametrize(
    ("file", "path"),
    [
        ("001/nm-01/090/090.pkl", "001/nm-01/090"),
        ("001/nm-01/090/001-nm-01-090.pkl", "001/nm-01/090"),
        ("001/nm-01/090/pose.pkl", "001/nm-01/090"),
        ("CASIA-B/001/nm-01/090/090.pkl", "CASIA-B/001/nm-01/090"),
        ("00001/00/015/015.pkl", "00001/00/015"),
        ("001/nm-01/090.pkl", "001/nm-01/090"),
        ("CASIA-B/001/nm-01/090.pkl", "CASIA-B/001/nm-01/090"),
        ("001-nm-01-090.pkl", "001-nm-01-090"),
        ("001/001-nm-01-090.PKL", "001/001-nm-01-090"),
    ],
)
def test_walks_are_named_by_their_folders(tmp_path, file, path):
    write(tmp_path / file, keypoints())
    assert [s.path for s in OPENGAIT.find(tmp_path)] == [path]


def test_several_files_in_a_folder_are_several_walks_in_order(tmp_path):
    for name in ("10", "9", "a"):
        write(tmp_path / "001" / "nm-01" / "090" / f"{name}.pkl", keypoints())
    (tmp_path / "001" / "nm-01" / "090" / "mapping.txt").write_text("1 1\n")
    assert [s.path for s in OPENGAIT.find(tmp_path)] == [f"001/nm-01/090/{name}" for name in ("9", "10", "a")]


def test_folders_that_link_back_end(tmp_path):
    write(tmp_path / "001" / "nm-01" / "090" / "090.pkl", keypoints())
    (tmp_path / "001" / "nm-01" / "loop").symlink_to(tmp_path, target_is_directory=True)
    assert len(list(OPENGAIT.find(tmp_path))) == 1


def test_a_folder_with_the_suffix_is_a_folder(tmp_path):
    write(tmp_path / "001-nm-01-108.pkl" / "108.pkl", keypoints())
    assert [s.path for s in OPENGAIT.find(tmp_path)] == ["001-nm-01-108.pkl/108"]


def test_one_file_can_be_the_source(tmp_path):
    file = write(tmp_path / "001-nm-01-090.pkl", keypoints())
    assert [s.path for s in OPENGAIT.find(file)] == ["001-nm-01-090"]
    assert "[20, 17, 3]" in OPENGAIT.recognize(file)


def test_other_spellings_of_the_same_array(tmp_path):
    array = keypoints()
    expected = load(tmp_path, array)
    for value in (array.astype(np.float64), list(array), tuple(array), array.tolist(), [list(frame) for frame in array]):
        found = load(tmp_path, value)
        np.testing.assert_array_equal(found.keypoints, expected.keypoints)
        np.testing.assert_array_equal(found.confidence, expected.confidence)
    assert load(tmp_path, keypoints(count=18)).keypoints.shape == (20, 18, 2)
    flat = load(tmp_path, array[..., :2])
    np.testing.assert_array_equal(flat.keypoints, expected.keypoints)
    assert (flat.confidence == 1).all()


def test_missing_keypoints_are_nan(tmp_path):
    array = keypoints()
    array[0, 3], array[1, 4, 0], array[2, 5, :2], array[3, 6, 2] = 0, np.nan, 0, 0
    found = load(tmp_path, array)
    missing = np.isnan(found.keypoints).any(-1)
    assert np.argwhere(missing).tolist() == [[0, 3], [1, 4], [2, 5], [3, 6]]
    array = keypoints()
    array[..., 2] = 0
    assert (load(tmp_path, array).confidence == 1).all(), "that are no scores"
    array = keypoints(numbers=2)
    array[0, 3] = 0
    found = load(tmp_path, array)
    assert np.isnan(found.keypoints[0, 3]).all()
    assert found.confidence[0, 3] == 0


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (np.zeros((30, 64, 44), np.uint8), r"\[30, 64, 44\], not \[frames, 17 or 18 keypoints, 2 or 3\]"),
        (np.zeros((30, 17)), r"\[30, 17\], not"),
        (np.zeros((0, 17, 3)), "nobody was found in any frame"),
        (np.zeros((30, 17, 3)), "nobody was found in any frame"),
        (np.full((30, 17, 3), np.nan), "nobody was found in any frame"),
        (np.full((30, 17, 3), np.inf), "frame 0 holds inf, which cannot be an image coordinate"),
        (np.full((30, 17, 3), 1e9), r"frame 0 holds 1e\+09, which cannot be an image coordinate"),
        ([np.zeros((17, 3)), np.zeros((16, 3))], "that differ from frame to frame"),
        ([[["a", "b", "c"]] * 17], "not numbers"),
        ([[[10**400, 0, 0]] * 17], "not numbers"),
        ({"keypoints": np.zeros((30, 17, 3))}, "holds a dict, not an array"),
        ("text", "holds a str, not an array"),
        (None, "holds a nonetype"),
        ([], r"\[0\], not"),
    ],
)
def test_what_is_no_walk_is_said(tmp_path, value, reason):
    with pytest.raises(Unusable, match=reason):
        load(tmp_path, value)


def test_folders_of_other_pickles_are_not_recognized(tmp_path):
    assert OPENGAIT.recognize(tmp_path) == ""
    write(tmp_path / "001" / "nm-01" / "090" / "090.pkl", np.zeros((30, 64, 44), np.uint8))
    assert OPENGAIT.recognize(tmp_path) == ""
    (tmp_path / "empty.pkl").write_bytes(b"")
    assert OPENGAIT.recognize(tmp_path) == ""
    write(tmp_path / "002" / "nm-01" / "090" / "090.pkl", keypoints())
    assert OPENGAIT.recognize(tmp_path) == "090.pkl holds a pickled array [20, 17, 3]"
