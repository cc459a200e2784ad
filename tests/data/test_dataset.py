"""A data set folder holds the walks that went in, appears whole or not at all, and says what is wrong with it."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest

from gaitlib import InputError
from gaitlib.data.dataset import COLUMNS, SCHEMA, SHORTEST_WALK, GaitDataset, Walk, write_dataset
from gaitlib.data.views import sorted_views
from gaitlib.skeleton import JOINTS, NUM_JOINTS


def walk(subject="001", condition="nm", run=1, view="090", frames=20, seed=0, **more):
    rng = np.random.default_rng([seed, run, frames])
    pose = rng.normal(100, 20, (frames, NUM_JOINTS, 2)).astype(np.float32)
    pose[rng.random((frames, NUM_JOINTS)) < 0.2] = np.nan
    confidence = rng.random((frames, NUM_JOINTS)).astype(np.float32)
    return Walk(pose, confidence, 25.0, subject, condition, run, view, **more)


def walks():
    return [
        walk("001", view="000", frames=16),
        walk("001", view="090", frames=31, source='a folder, "quoted"/é.txt'),
        walk("NA", condition="", run=12, view="090", frames=17, recording="one performance"),
        walk("2e3", condition="bg", view="018", frames=40),
    ]


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_walks_come_back_as_they_went_in(tmp_path):
    written = write_dataset(tmp_path / "d", iter(walks()), name="few", license="none", citation="nobody", notes={"seed": 7})
    opened = GaitDataset.open(str(tmp_path / "d"))
    assert len(written) == len(opened) == 4
    for given, found in zip(walks(), opened, strict=True):
        np.testing.assert_array_equal(found.pose, given.pose)  # NaN where NaN was
        np.testing.assert_array_equal(found.confidence, given.confidence)
        for key in ("fps", "subject", "condition", "run", "view", "recording", "source", "sequence"):
            assert getattr(found, key) == getattr(given, key), key
    assert opened.name == "few"
    assert opened.views == ["000", "018", "090"]
    expected = {"schema": SCHEMA, "name": "few", "joints": list(JOINTS), "walks": 4, "frames": 104, "license": "none",
                "citation": "nobody", "left_out": [], "seed": 7}  # fmt: skip
    assert {k: v for k, v in opened.info.items() if k != "fingerprint"} == expected


def test_the_index_says_where_frames_lie(tmp_path):
    dataset = write_dataset(tmp_path / "d", walks(), name="few")
    assert list(dataset.index.columns) == COLUMNS
    assert dataset.index["start"].tolist() == [0, 16, 47, 64]
    assert dataset.index["frames"].tolist() == [16, 31, 17, 40]
    assert dataset.index["recording"].tolist() == ["001-nm-01", "001-nm-01", "one performance", "2e3-bg-01"]
    assert dataset.index["subject"].tolist() == ["001", "001", "NA", "2e3"]  # neither numbers nor missing
    assert dataset.index["run"].dtype == np.int64


def test_what_was_decided_when_the_files_were_read_is_said(tmp_path):
    assert write_dataset(tmp_path / "d", walks(), name="few").preparation == []
    notes = {
        "layouts": {"COCO17": 3, "HALPE26": 1},
        "choices": {"walks": 1, "frames": 20},
        "repair": {"steps": "flips=10,gaps=5", "changed": {"flips": 2, "gaps": 7}},
        "remarks": [{"remark": "a guess", "first": "001/090", "walks": 1}, {"remark": "another", "first": "002", "walks": 4}],
    }
    assert write_dataset(tmp_path / "d", walks(), name="few", notes=notes).preparation == [
        "layout COCO17: 3 walks read, HALPE26: 1 walks read",
        "one of several people had to be chosen in 20 frames of 1 walks",
        "repair flips: 2 joint pairs changed",
        "repair gaps: 7 joints changed",
        "a guess: 001/090",
        "another: 002 and 3 more",
    ]
    none = {"layouts": {}, "choices": {"walks": 0, "frames": 0}, "remarks": []}
    assert write_dataset(tmp_path / "d", walks(), name="few", notes=none).preparation == []


def test_the_fingerprint_follows_frames_and_index(tmp_path):
    def fingerprint(name, given):
        return write_dataset(tmp_path / name, given, name=name).fingerprint

    first = fingerprint("a", walks())
    assert len(first) == 64
    assert fingerprint("b", walks()) == first
    other_frame, other_index = walks(), walks()
    other_frame[1].confidence[3, 4] += 0.001
    other_index[1] = replace(other_index[1], view="108")
    assert len({first, fingerprint("c", other_frame), fingerprint("d", other_index)}) == 3


def test_opened_arrays_are_mapped_and_read_only(tmp_path):
    dataset = write_dataset(tmp_path / "d", walks(), name="few")
    for array in (dataset.poses, dataset.confidence):
        assert isinstance(array, np.memmap)
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    with pytest.raises(ValueError, match="read-only"):
        dataset[0].pose[0] = 0


def test_select_shares_memory(tmp_path):
    dataset = write_dataset(tmp_path / "d", walks(), name="few")
    chosen = dataset.select(subject=["001", "2e3"], view="090")
    assert [w.sequence for w in chosen] == ["001-nm-01-090"]
    assert np.shares_memory(chosen.poses, dataset.poses)
    assert np.shares_memory(chosen[0].pose, dataset.poses)
    np.testing.assert_array_equal(chosen[0].pose, walks()[1].pose)
    assert chosen.index.index.tolist() == [0]
    assert [w.run for w in dataset.select(run=12)] == [12]
    assert [w.run for w in dataset.select(run=np.int64(12))] == [12]
    assert len(dataset.select(subject="nobody")) == 0
    assert len(dataset.select()) == 4
    with pytest.raises(InputError, match=r"no column 'person'.*sequence"):
        dataset.select(person="001")


def test_views_sort_by_degrees_or_else_by_name():
    assert sorted_views(["90", "108", "0", "90"]) == ["0", "90", "108"]
    assert sorted_views(["right", "108", "left"]) == ["108", "left", "right"]


@pytest.mark.parametrize(("pose", "confidence"), [((9, 17, 2), (9, 17)), ((9, 15, 3), (9, 15)), ((9, 15, 2), (8, 15))])
def test_a_walk_of_another_shape_is_refused(pose, confidence):
    with pytest.raises(InputError, match=r"film: .*\[T,15,2\]"):
        Walk(np.zeros(pose), np.zeros(confidence), 25.0, "001", "nm", 1, "090", source="film")


def damage_schema(folder):
    info = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps(info | {"schema": SCHEMA + 1}))


def truncate(name, size):
    return lambda folder: os.truncate(folder / name, size)


def rewrite(name, text):
    return lambda folder: (folder / name).write_bytes(text)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (damage_schema, f"schema {SCHEMA + 1}, this version reads {SCHEMA}"),
        (lambda folder: (folder / "dataset.json").unlink(), "holds no dataset.json"),
        (rewrite("dataset.json", b"{"), "cannot be read as JSON"),
        (rewrite("dataset.json", b"\xff\xfe{}"), "cannot be read as JSON"),
        (rewrite("dataset.json", b"[1, 2]"), "dataset.json"),
        (truncate("poses.npy", 5000), "damaged"),
        (truncate("poses.npy", 10), "damaged"),
        (truncate("poses.npy", 0), "damaged"),
        (truncate("confidence.npy", 3000), "damaged"),
        (rewrite("poses.npy", b"not an array at all, whatever it is called"), "damaged"),
        (lambda folder: np.save(folder / "poses.npy", np.zeros((103, 15, 2), np.float32)), "do not fit"),
        (lambda folder: np.save(folder / "confidence.npy", np.zeros((104, 14), np.float32)), "do not fit"),
        (lambda folder: (folder / "confidence.npy").unlink(), "damaged"),
        (truncate("index.csv", 0), "damaged"),
        (truncate("index.csv", 120), "damaged"),
        (rewrite("index.csv", b"sequence,subject\n1,2\n"), "damaged"),
        (rewrite("index.csv", b"\xff\xfe\xff"), "damaged"),
    ],
)
def test_a_damaged_folder_is_an_input_error(tmp_path, damage, words):
    write_dataset(tmp_path / "d", walks(), name="few")
    damage(tmp_path / "d")
    with pytest.raises(InputError) as error:
        GaitDataset.open(tmp_path / "d")
    assert words in str(error.value)
    assert str(tmp_path / "d") in str(error.value)
    assert "gaitlib prepare" in str(error.value)


def test_what_is_no_folder_is_no_data_set(tmp_path):
    (tmp_path / "film.npz").write_bytes(b"")
    for path in (tmp_path / "film.npz", tmp_path / "nothing", tmp_path):
        with pytest.raises(InputError, match=r"not a data set folder"):
            GaitDataset.open(path)


def interrupted(error):
    yield walks()[0]
    raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device"), InputError("broken")])
def test_an_interrupted_writing_leaves_the_old_one_whole(tmp_path, error):
    write_dataset(tmp_path / "d", walks(), name="old")
    before = content(tmp_path / "d")
    with pytest.raises(type(error)):
        write_dataset(tmp_path / "d", interrupted(error), name="new")
    assert content(tmp_path / "d") == before
    assert [p.name for p in tmp_path.iterdir()] == ["d"]
    with pytest.raises(type(error)):
        write_dataset(tmp_path / "fresh", interrupted(error), name="new")
    assert [p.name for p in tmp_path.iterdir()] == ["d"]


def test_a_failing_exchange_of_folders_puts_the_old_one_back(tmp_path, monkeypatch):
    write_dataset(tmp_path / "d", walks(), name="old")
    before, rename = content(tmp_path / "d"), os.replace

    def fail(source, target):
        if str(source).endswith(".partial"):
            raise OSError(5, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="Input/output"):
        write_dataset(tmp_path / "d", walks()[:1], name="new")
    assert [p.name for p in tmp_path.iterdir()] == ["d"]
    assert content(tmp_path / "d") == before


def test_a_walk_needs_fifteen_joints():
    with pytest.raises(InputError, match=r"^001-nm-01-090: a walk needs a pose \[T,15,2\]"):
        Walk(np.zeros((20, 17, 2), np.float32), np.ones((20, 15), np.float32), 25.0, "001", "nm", 1, "090")


def test_an_older_data_set_is_replaced(tmp_path):
    write_dataset(tmp_path / "d", walks(), name="old")
    assert len(write_dataset(tmp_path / "d", walks()[:1], name="new")) == 1
    assert GaitDataset.open(tmp_path / "d").name == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["d"]


def test_unfit_walks_are_left_out_with_the_reason(tmp_path):
    blind = walk("005", source="blind.txt")
    blind.pose[:] = np.nan
    given = [
        walk("001"),
        walk("002", frames=SHORTEST_WALK - 1, source="short.txt"),
        walk("003", frames=SHORTEST_WALK),
        blind,
        walk("001", seed=1),
        walk("004", frames=0),
        replace(walk("006"), fps=0.0),
        replace(walk("007"), fps=float("nan")),
    ]
    left_out = [{"source": "unreadable.txt", "reason": "the reader said so"}]
    dataset = write_dataset(tmp_path / "d", given, name="few", left_out=left_out)
    assert dataset.index["subject"].tolist() == ["001", "003"]
    np.testing.assert_array_equal(dataset[0].pose, given[0].pose)
    np.testing.assert_array_equal(dataset[1].pose, given[2].pose)
    assert dataset.info["left_out"] == left_out
    assert [(entry["source"], entry["reason"][:8]) for entry in left_out] == [
        ("unreadable.txt", "the read"),
        ("short.txt", "only 15 "),
        ("blind.txt", "no joint"),
        ("001-nm-01-090", "a walk n"),
        ("004-nm-01-090", "only 0 f"),
        ("006-nm-01-090", "its fram"),
        ("007-nm-01-090", "its fram"),
    ]


@pytest.mark.parametrize(("missing", "fit"), [([1], True), ([1, 2], False), ([8], True), ([8, 12], False), ([0, 4], True)])
def test_a_walk_whose_size_cannot_be_known_is_left_out(tmp_path, missing, fit):
    """Without neck or mid-hip, or both of their sides, there is nothing to divide by."""
    partial = walk("002")
    partial.pose[:, missing] = np.nan
    dataset = write_dataset(tmp_path / "d", [walk("001"), partial], name="few")
    assert len(dataset) == 1 + fit
    assert [entry["reason"][:12] for entry in dataset.info["left_out"]] == ["no frame has"] * (not fit)


def test_a_folder_that_is_no_data_set_is_not_overwritten(tmp_path):
    folder, file = tmp_path / "thesis", tmp_path / "notes.txt"
    folder.mkdir()
    (folder / "chapter.tex").write_text("years of work")
    file.write_text("keep me")
    for path in (folder, file):
        with pytest.raises(InputError, match=r"not a data set folder.*--out"):
            write_dataset(path, walks(), name="few")
    assert content(folder) == {"chapter.tex": b"years of work"}
    assert file.read_text() == "keep me"
    assert len(list(tmp_path.iterdir())) == 2


def test_an_empty_folder_is_taken(tmp_path):
    (tmp_path / "d").mkdir()
    assert len(write_dataset(tmp_path / "d", walks(), name="few")) == 4


@pytest.mark.parametrize("given", [[], [walk(frames=3, source="short.txt")]])
def test_no_walks_is_an_error_and_nothing_is_written(tmp_path, given):
    with pytest.raises(InputError, match="No walk is left") as error:
        write_dataset(tmp_path / "d", given, name="none")
    assert list(tmp_path.iterdir()) == []
    assert ("short.txt: only 3 frames" in str(error.value)) == bool(given)
