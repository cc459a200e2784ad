"""Exports, and the readers of what was exported: there and back again, and names that cannot leave the folder."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

from gaitlib import InputError
from gaitlib.data.dataset import write_dataset
from gaitlib.data.walkers import make_walkers
from gaitlib.poses.export import EXPORTS, coco, export
from gaitlib.poses.formats import FORMATS
from gaitlib.skeleton import COCO17, JOINTS

#: The joints that each format has, and where its keypoints have them.
BODY = [name for name in JOINTS if name in COCO17.names]
COCO = ([JOINTS.index(name) for name in ("head", *BODY)], [COCO17.names.index(name) for name in ("nose", *BODY)])
COMMON = {"opengait": COCO, "gaitgraph": COCO, "csv": (list(range(15)), list(range(15)))}


@pytest.fixture(scope="module")
def walks():
    """Two walkers in two views, with the faults of an estimator; one joint is never there, one frame is empty."""
    found = list(make_walkers(2, 3, views=(0, 90)))[::3]
    pose = found[0].pose.copy()
    pose[:, 4], pose[5] = np.nan, np.nan
    return [replace(found[0], pose=pose), *found[1:]]


@pytest.fixture(scope="module")
def dataset(walks, tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("data") / "set", walks, name="two walkers")


def read(format, source):
    reader = FORMATS[format]
    return {sequence.path: reader.load(sequence) for sequence in reader.find(source)}


@pytest.mark.parametrize("format", EXPORTS)
def test_there_and_back_again(dataset, walks, tmp_path, format):
    assert export(dataset, format, tmp_path / "out") == len(dataset)
    found = read(format, tmp_path / "out")
    assert len(found) == len(walks)
    ours, theirs = COMMON[format]
    for walk in walks:
        path = f"{walk.subject}/{walk.condition}-{walk.run:02d}/{walk.view}"
        back = found[path if format != "gaitgraph" else path.replace("/", "-")]
        np.testing.assert_array_equal(back.frame, np.arange(len(walk.pose)))
        np.testing.assert_allclose(back.keypoints[:, theirs], walk.pose[:, ours], rtol=0, atol=1e-5)
        there = np.isfinite(walk.pose).all(-1)
        expected = np.where(there, walk.confidence, 0)
        np.testing.assert_allclose(back.confidence[:, theirs], expected[:, ours], atol=1e-6)
        assert not np.isfinite(np.delete(back.keypoints, theirs, axis=1)).any()
        assert (back.person == 0).all()
        assert not back.remarks


def test_our_csv_gives_back_every_bit(dataset, tmp_path):
    export(dataset, "csv", tmp_path / "out")
    for walk, back in zip(dataset, read("csv", tmp_path / "out").values(), strict=True):
        np.testing.assert_array_equal(back.keypoints, walk.pose)
        np.testing.assert_array_equal(back.confidence, np.where(np.isfinite(walk.pose).all(-1), walk.confidence, 0))


@pytest.mark.parametrize("format", EXPORTS)
def test_every_export_is_recognized_by_its_own_reader_alone(dataset, tmp_path, format):
    export(dataset, format, tmp_path / "out")
    assert [name for name, reader in FORMATS.items() if reader.recognize(tmp_path / "out")] == [format]
    if format != "opengait":
        assert FORMATS[format].recognize(tmp_path / "out" / "walks.csv")


def test_pickles_are_plain_arrays_in_the_order_of_coco(dataset, walks, tmp_path):
    export(dataset, "opengait", tmp_path / "out")
    walk = walks[0]
    file = tmp_path / "out" / walk.subject / f"nm-{walk.run:02d}" / walk.view / f"{walk.sequence}.pkl"
    with file.open("rb") as opened:
        array = pickle.load(opened)
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, coco(walk))
    np.testing.assert_array_equal(array[10, 5, :2], walk.pose[10, JOINTS.index("left_shoulder")])
    np.testing.assert_array_equal(array[10, 16, :2], walk.pose[10, JOINTS.index("right_ankle")])
    assert not array[:, 1:5].any(), "eyes and ears"
    assert not array[:, COCO17.names.index("right_wrist")].any(), "missing"


def test_several_passes_of_one_run_stay_apart(walks, tmp_path):
    passes = [replace(walks[0], recording=f"001-nm-01-f{start:04d}") for start in (50, 200)]
    data = write_dataset(tmp_path / "set", passes, name="passes")
    for format in EXPORTS:
        export(data, format, tmp_path / format)
        assert len(read(format, tmp_path / format)) == 2


ODD = ["../../x", "..", ".", "a/b", "a\\b", "/x", "", "a,b", "a\nb", "a b", 'a"b', "x" * 200, "a..b", "-rf"]


@pytest.mark.parametrize("label", ODD)
@pytest.mark.parametrize("field", ["subject", "view", "recording"])
def test_labels_that_are_no_names_are_refused(walks, tmp_path, label, field):
    if field == "recording" and not label:
        label = "../x"  # an empty recording is subject, condition and run
    odd = replace(walks[0], **{"recording": "", field: label})
    data = write_dataset(tmp_path / "set", [odd], name="odd")
    for format in EXPORTS:
        with pytest.raises(InputError, match="cannot be a file name"):
            export(data, format, tmp_path / "deep" / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["set"]


def test_nothing_is_left_of_an_export_that_fails(dataset, tmp_path, monkeypatch):
    def fail(walks, folder):
        EXPORTS["csv"](list(walks)[:1], folder)
        raise KeyboardInterrupt

    monkeypatch.setitem(EXPORTS, "opengait", fail)
    with pytest.raises(KeyboardInterrupt):
        export(dataset, "opengait", tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_what_exists_is_not_written_over(dataset, tmp_path):
    (tmp_path / "empty").mkdir()
    assert export(dataset, "csv", tmp_path / "empty")
    for out in (tmp_path / "empty", tmp_path / "empty" / "walks.csv"):
        with pytest.raises(InputError, match="exists and is not an empty folder"):
            export(dataset, "csv", out)
    with pytest.raises(InputError, match="cannot be written"):
        export(dataset, "csv", tmp_path / "empty" / "walks.csv" / "out")
    with pytest.raises(InputError, match="choose from opengait, gaitgraph, csv"):
        export(dataset, "zip", tmp_path / "out")
