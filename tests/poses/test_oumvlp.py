"""OU-MVLP poses: folders, frames as files, and frames that are damaged."""

import json
import re

import numpy as np
import pytest

from gaitlib.poses.formats.openpose import OUMVLP
from gaitlib.poses.sequences import Unusable


def person(frame, x=100.0, count=18):
    return [value for k in range(count) for value in (x + k, 200.0 + frame, 0.8)]


def write(folder, frames, first=21):
    """A folder of frames, each a list of flat keypoints, as the data set has them."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, people in enumerate(frames):
        content = {"version": 1.0, "people": [{"pose_keypoints_2d": p} for p in people]}
        (folder / f"{first + i:04d}_keypoints.json").write_text(json.dumps(content))
    return folder


def load(source):
    (sequence,) = OUMVLP.find(source)
    return OUMVLP.load(sequence)


@pytest.mark.parametrize("folders", ["00001/090_01", "090_01/00001", "pose/00001/090_01"])
def test_a_folder_is_a_walk(tmp_path, folders):
    write(tmp_path / folders, [[person(i)] for i in range(5)])
    (sequence,) = OUMVLP.find(tmp_path)
    assert sequence.path == folders
    found = OUMVLP.load(sequence)
    np.testing.assert_array_equal(found.keypoints[:, 3], [[103, 200 + i] for i in range(5)])
    np.testing.assert_array_equal(found.frame, np.arange(5))
    assert (found.person == 0).all()
    assert found.confidence.dtype == found.keypoints.dtype == np.float32
    assert OUMVLP.recognize(tmp_path).endswith("/0021_keypoints.json holds 18 keypoints")


def test_frames_come_by_number(tmp_path):
    folder = write(tmp_path / "00001" / "000_00", [[person(0)]], first=9)
    write(folder, [[person(1)]], first=10)
    (folder / "0009_keypoints.json").rename(folder / "9_keypoints.json")
    np.testing.assert_array_equal(load(tmp_path).keypoints[:, 0, 1], [200, 201])


def test_frames_with_nobody_and_with_two_people(tmp_path):
    write(tmp_path / "00001" / "000_00", [[], [person(1)], [person(2), person(2, 300)], []])
    found = load(tmp_path)
    np.testing.assert_array_equal(found.frame, [1, 2, 2])
    assert (found.person == -1).all()


def test_missing_keypoints_and_missing_files(tmp_path):
    missing = person(1)
    missing[6:9] = [0, 0, 0]
    folder = write(tmp_path / "00001" / "000_00", [[person(0)], [missing], [person(2)], [person(3)]])
    (folder / "0023_keypoints.json").unlink()
    found = load(tmp_path)
    assert np.isnan(found.keypoints[1, 2]).all()
    np.testing.assert_array_equal(found.frame, [0, 1, 3])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"people": [',
        b"[1, 2]",
        b'{"people": 3}',
        b'{"people": [{"pose": []}]}',
        b'{"people": [{"pose_keypoints_2d": 3}]}',
        b'{"people": [{"pose_keypoints_2d": \xff}]}',
        b"[" * 100_000,
        b" " * 17_000_000,
    ],
)
def test_a_damaged_frame_is_empty_and_told(tmp_path, content):
    folder = write(tmp_path / "00001" / "000_00", [[person(i)] for i in range(4)])
    (folder / "0022_keypoints.json").write_bytes(content)
    found = load(tmp_path)
    np.testing.assert_array_equal(found.frame, [0, 2, 3])
    (remark,) = found.remarks
    reason = r"is empty|is not JSON|is not UTF-8 text|does not hold the people of a frame|cannot be read: it has 16 MB"
    assert re.fullmatch(rf"1 of its 4 files cannot be used .* such as 0022_keypoints.json ({reason}).*", remark)
    for file in folder.iterdir():
        file.write_bytes(content)
    with pytest.raises(Unusable, match=f"none of its 4 files can be used; the first: 0021_keypoints.json ({reason})"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("people", "reason"),
    [
        ([], "nobody was found in any frame"),
        ([[]], "nobody was found in any frame"),
        ([["x"] * 54], "not a number"),
        ([[None] * 54], "nobody was found in any frame"),
        ([[[1]] * 54], "not have 3 numbers"),
        ([[1e9] * 54], r"frame 0 holds 1e\+09, which cannot be an image coordinate"),
        ([[0] * 54], "nobody was found in any frame"),
        ([person(0), person(0, count=25)], "54 and 75 values"),
    ],
)
def test_frames_of_something_else(tmp_path, people, reason):
    write(tmp_path / "00001" / "000_00", [people] * 3)
    with pytest.raises(Unusable, match=reason):
        load(tmp_path)


def test_other_folders_of_json_are_not_recognized(tmp_path):
    assert OUMVLP.recognize(tmp_path) == ""
    write(tmp_path / "b" / "walk", [[person(0)]])
    assert OUMVLP.recognize(tmp_path) == ""
    write(tmp_path / "a" / "00001" / "000_00", [[person(0, count=25)]])
    assert OUMVLP.recognize(tmp_path / "a") == ""
    assert OUMVLP.recognize(tmp_path / "a" / "00001" / "000_00" / "0021_keypoints.json") == ""


def test_the_walks_are_listed_while_the_folders_are_searched(tmp_path):
    """Folders that come later are not looked at before the first walk is given."""
    write(tmp_path / "00001" / "000_00", [[person(0)]])
    walks = OUMVLP.find(tmp_path)
    write(tmp_path / "00002" / "000_00", [[person(0)]])
    assert next(walks).path == "00001/000_00"
    write(tmp_path / "00002" / "015_00", [[person(0)]])
    assert [w.path for w in walks] == ["00002/000_00", "00002/015_00"]
