"""The arrays of the paper's program: what they say, what they do not, and what is refused because nobody can know it."""

import numpy as np
import pytest

from gaitlib import InputError
from gaitlib.poses.formats.paper import PAPER
from gaitlib.poses.sequences import Sequence, Unusable


def poses(walks, frames=20, seed=1):
    return 50 + 100 * np.random.default_rng(seed).random((walks, frames, 15, 2)).astype(np.float32)


def write(folder, name, walks=None, **parts):
    """NAME.npy and the arrays beside it, each as it comes."""
    path = folder / f"{name}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    count = len(parts["label"]) if "label" in parts else 4
    np.save(path, poses(count) if walks is None else walks)
    for part, values in parts.items():
        np.save(path.with_name(f"{path.stem}_{part}.npy"), np.array(values))
    return path


TRAIN = {"label": [1, 1, 2, 2], "angle": [0, 90, 90, 90], "situation": ["nm", "nm", "nm", "bg"]}


def test_rows_of_a_training_set_are_walks(tmp_path):
    path = write(tmp_path, "train", **TRAIN)
    walks = list(PAPER.find(tmp_path))
    assert [w.path for w in walks] == ["001/nm-01/000", "001/nm-01/090", "002/nm-01/090", "002/bg-01/090"]
    assert walks == list(PAPER.find(path))
    for i, walk in enumerate(walks):
        found = PAPER.load(walk)
        np.testing.assert_array_equal(found.keypoints, np.load(path)[i])
        assert found.keypoints.dtype == np.float32
        assert (found.confidence == 1).all()
        assert len(found.frame) == 20
    assert PAPER.recognize(tmp_path) == "train.npy holds [4, 20, 15, 2] and train_label.npy lies beside it"


def test_runs_are_counted_the_galleries_first(tmp_path):
    for condition, view in (("nm", 90), ("bg", 90)):
        write(tmp_path / "test", f"probe_{condition}_{view:03d}", label=[75, 75, 76])
    write(tmp_path / "test", "gallery_090", label=[75, 75, 76, 75])
    write(tmp_path, "train", **TRAIN)
    found = [w.path for w in PAPER.find(tmp_path)]
    assert found[4:8] == ["075/nm-01/090", "075/nm-02/090", "076/nm-01/090", "075/nm-03/090"]
    assert sorted(found[8:]) == sorted(
        ["075/bg-01/090", "075/bg-02/090", "076/bg-01/090", "075/nm-04/090", "075/nm-05/090", "076/nm-02/090"]
    )


def test_runs_that_are_told_are_used(tmp_path):
    write(
        tmp_path,
        "train",
        **TRAIN | {"situation": ["nm-05", "NM-6", "cl-02", "bg-01"], "angle": ["000", "018", "90", "180"]},
    )
    assert [w.path for w in PAPER.find(tmp_path)] == ["001/nm-05/000", "001/nm-06/018", "002/cl-02/090", "002/bg-01/180"]


def test_padding_is_dropped_and_zeros_are_missing(tmp_path):
    pose = poses(4)
    pose[0, 15:] = 0
    pose[0, 3, 4] = 0
    pose[1, 2, 5] = np.nan
    write(tmp_path, "train", pose, **TRAIN)
    first, second, *_ = [PAPER.load(w) for w in PAPER.find(tmp_path)]
    assert len(first.frame) == 15
    assert np.isnan(first.keypoints[3, 4]).all()
    assert first.confidence[3, 4] == 0
    assert np.isfinite(first.keypoints).all(-1).sum() == 15 * 15 - 1
    assert np.isnan(second.keypoints[2, 5]).all()


def test_a_walk_centered_on_the_neck_has_a_neck(tmp_path):
    pose = poses(4)
    pose -= pose[:, :, 1:2]
    pose[0, 15:] = 0
    write(tmp_path, "train", pose, **TRAIN)
    found = PAPER.load(next(PAPER.find(tmp_path)))
    assert len(found.frame) == 15
    np.testing.assert_array_equal(found.keypoints, pose[0, :15])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": [0, 1, 2, 2]}, "train_label.npy holds person 0, and people count from 1"),
        ({"label": [1, 2, 3]}, r"train_label.npy holds int64 \[3\], train.npy 4 walks"),
        ({"label": [1.5, 2, 3, 4]}, "holds 1.5 where a whole number"),
        ({"label": [np.nan, 2, 3, 4]}, "holds nan where a whole number"),
        ({"label": [1e9, 2, 3, 4]}, r"holds 1e\+09 where a whole number"),
        ({"label": ["a", "b", "c", "d"]}, "holds text such as 'a' where numbers are expected"),
        ({"angle": [0, 5, 10, 3]}, "train_angle.npy holds 0 to 10, places in a list of views and not degrees"),
        ({"angle": [0, 90, 90, 500]}, "holds 500, which is not a view in degrees"),
        ({"situation": [0, 1, 2, 0]}, "train_situation.npy holds numbers, which could mean any condition"),
        ({"situation": ["nm", "nm", "../x", "nm"]}, "holds '../x', which is not a condition"),
        ({"situation": [["nm", "nm"]] * 4}, r"\[4, 2\], train.npy 4 walks"),
    ],
)
def test_what_cannot_be_understood_is_an_error(tmp_path, change, message):
    write(tmp_path, "train", poses(4), **TRAIN | change)
    with pytest.raises(InputError, match=message):
        list(PAPER.find(tmp_path))


def test_what_is_missing_is_an_error(tmp_path):
    for missing in ("angle", "situation"):
        write(tmp_path / missing, "train", **{part: values for part, values in TRAIN.items() if part != missing})
        with pytest.raises(InputError, match=f"train_{missing}.npy is missing, and train.npy does not name one"):
            list(PAPER.find(tmp_path / missing))
    write(tmp_path / "view", "probe_nm", label=[75])
    with pytest.raises(InputError, match="does not name one view"):
        list(PAPER.find(tmp_path / "view"))
    write(tmp_path / "condition", "probe_090", label=[75])
    with pytest.raises(InputError, match="does not name one condition"):
        list(PAPER.find(tmp_path / "condition"))


def test_one_number_in_training_and_test_may_be_two_people(tmp_path):
    write(tmp_path, "train", **TRAIN)
    write(tmp_path, "gallery_nm_090", label=[1, 2])
    with pytest.raises(InputError, match=r"person 1 is also in train\.npy"):
        list(PAPER.find(tmp_path))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY",
        b"PK\x03\x04 no zip",
        b"text",
        b"\x80\x04N.",
        np.zeros((4, 20, 17, 2)),
        np.zeros((4, 20, 15, 2), dtype=object),
    ],
)
def test_files_that_hold_no_poses(tmp_path, content):
    path = write(tmp_path, "train", **TRAIN)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content, allow_pickle=True)
    assert PAPER.recognize(tmp_path) == ""
    with pytest.raises(
        InputError, match=r"train\.npy (cannot be read: it is not a complete \.npy array|holds float64 \[4, 20, 17, 2\])"
    ):
        list(PAPER.find(tmp_path))


def test_a_file_cut_off_between_finding_and_loading(tmp_path):
    path = write(tmp_path, "train", **TRAIN)
    walk = list(PAPER.find(tmp_path))[-1]
    np.save(path, poses(2))
    with pytest.raises(Unusable, match="holds 2 walks, so there is no number 3"):
        PAPER.load(walk)
    with pytest.raises(Unusable):
        PAPER.load(Sequence("x", (tmp_path / "nothing.npy",), 0))
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(Unusable):
        PAPER.load(walk)


def test_arrays_alone_are_another_format(tmp_path):
    np.save(tmp_path / "train.npy", poses(2))
    assert list(PAPER.find(tmp_path)) == []
    assert PAPER.recognize(tmp_path) == ""
    assert PAPER.recognize(tmp_path / "train.npy") == ""
