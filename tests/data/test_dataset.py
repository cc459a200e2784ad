"""A data set folder holds the walks that went in, appears whole or not at all, and says what is wrong with it."""

import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from gaitlib import InputError
from gaitlib.data.dataset import COLUMNS, SCHEMA, SHORTEST_WALK, GaitDataset, Walk, write_dataset
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
    assert {k: v for k, v in opened.info.items() if not k.endswith(("fingerprint", "digest"))} == expected


def test_the_index_says_where_frames_lie(tmp_path):
    dataset = write_dataset(tmp_path / "d", walks(), name="few")
    assert list(dataset.index.columns) == COLUMNS
    assert dataset.index["start"].tolist() == [0, 16, 47, 64]
    assert dataset.index["frames"].tolist() == [16, 31, 17, 40]
    assert dataset.index["recording"].tolist() == ["001-nm-01", "001-nm-01", "one performance", "2e3-bg-01"]
    assert dataset.index["subject"].tolist() == ["001", "001", "NA", "2e3"]  # neither numbers nor missing
    assert dataset.index["run"].dtype == np.int64


def test_what_was_decided_when_the_files_were_read_is_said(tmp_path):
    """Data sets of before have no sentences, but what they are made of."""
    assert write_dataset(tmp_path / "d", walks(), name="few").preparation == []
    notes = {"layouts": {"COCO17": 3}, "choices": {"walks": 1, "frames": 20}, "repair": {"changed": {"flips": 2}}}
    of_before = write_dataset(tmp_path / "d", walks(), name="few", notes=notes)
    assert of_before.preparation == [
        'layouts: {"COCO17": 3}', 'choices: {"walks": 1, "frames": 20}', 'repair: {"changed": {"flips": 2}}'
    ]  # fmt: skip
    notes |= {"preparation": ["layout COCO17: 3 walks read"]}
    assert write_dataset(tmp_path / "d", walks(), name="few", notes=notes).preparation == ["layout COCO17: 3 walks read"]


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


def test_the_fingerprint_is_that_of_the_files_by_hand(tmp_path):
    """The pose of a walk, its confidence, the pose of the next, and index.csv."""
    written = write_dataset(tmp_path / "d", walks(), name="few")
    digest = hashlib.sha256()
    for each in walks():
        digest.update(each.pose.tobytes() + each.confidence.tobytes())
    digest.update((tmp_path / "d" / "index.csv").read_bytes())
    assert written.fingerprint == written.info["fingerprint"] == digest.hexdigest()


def of_before(folder):
    """Make the data set one that was written when dataset.json did not tell frames and index apart."""
    info = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps({k: v for k, v in info.items() if not k.endswith("_digest")}))


def reorder(index):
    return index.sort_values("frames")


def correct(index):
    return index.replace({"subject": {"2e3": "003"}})


@pytest.mark.parametrize("change", [reorder, correct])
@pytest.mark.parametrize("before", [False, True])
def test_an_index_that_was_changed_changes_the_fingerprint(tmp_path, change, before):
    """Cached embeddings are found by it: rows in another order were answered with those of other walks."""
    folder = tmp_path / "d"
    written = write_dataset(folder, walks(), name="few")
    if before:
        of_before(folder)
    assert GaitDataset.open(folder).fingerprint == GaitDataset.open(folder).select(view="090").fingerprint == written.fingerprint
    original = (folder / "index.csv").read_bytes()
    change(written.index).to_csv(folder / "index.csv", index=False)
    changed = GaitDataset.open(folder)
    assert changed.fingerprint != written.fingerprint
    assert changed.select(view="090").fingerprint == changed.fingerprint
    changed.check_frames()
    (folder / "index.csv").write_bytes(original)
    assert GaitDataset.open(folder).fingerprint == written.fingerprint


@pytest.mark.parametrize("name", ["poses.npy", "confidence.npy"])
def test_frames_that_were_changed_are_found(tmp_path, name):
    folder = tmp_path / "d"
    write_dataset(folder, walks(), name="few").check_frames()
    with (folder / name).open("r+b") as file:
        file.seek(-3, os.SEEK_END)
        file.write(b"?")
    found = GaitDataset.open(folder)
    for part in (found, found.select(subject="001")):
        with pytest.raises(InputError, match=r"d: poses.npy or confidence.npy changed after they were written"):
            part.check_frames()
    of_before(folder)
    assert GaitDataset.open(folder).fingerprint != found.fingerprint


def test_a_data_set_in_memory_has_nothing_to_check(tmp_path):
    dataset = replace(write_dataset(tmp_path / "d", walks(), name="few"), info={}, folder=None, index_digest="")
    dataset.check_frames()
    assert dataset.fingerprint == ""


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


@pytest.mark.parametrize(("pose", "confidence"), [((9, 17, 2), (9, 17)), ((9, 15, 3), (9, 15)), ((9, 15, 2), (8, 15))])
def test_a_walk_of_another_shape_is_refused(pose, confidence):
    with pytest.raises(InputError, match=r"film: .*\[T,15,2\]"):
        Walk(np.zeros(pose), np.zeros(confidence), 25.0, "001", "nm", 1, "090", source="film")


def truncate(name, size):
    return lambda folder: os.truncate(folder / name, size)


def rewrite(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def save(name, array):
    return lambda folder: np.save(folder / name, array)


def edit(**changes):
    """Change keys of dataset.json; None takes one away."""

    def damage(folder):
        info = json.loads((folder / "dataset.json").read_text()) | changes
        (folder / "dataset.json").write_text(json.dumps({k: v for k, v in info.items() if v is not None}))

    return damage


def cells(column, *values):
    """Change the first cells of a column of index.csv."""

    def damage(folder):
        index = pd.read_csv(folder / "index.csv", dtype=str, keep_default_na=False)
        index.loc[: len(values) - 1, column] = [str(value) for value in values]
        index.to_csv(folder / "index.csv", index=False)

    return damage


def pipe(name):
    def damage(folder):
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return damage


def npz(folder):
    np.savez(folder / "x.npz", np.zeros((104, 15, 2), np.float32))
    (folder / "x.npz").rename(folder / "poses.npy")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (edit(schema=SCHEMA + 1), f"schema {SCHEMA + 1}, but this version reads {SCHEMA}"),
        (lambda folder: (folder / "dataset.json").unlink(), "holds no dataset.json"),
        (rewrite("dataset.json", b"{"), "dataset.json cannot be read: it is not valid JSON"),
        (rewrite("dataset.json", b"\xff\xfe{}"), "dataset.json cannot be read: it is not UTF-8 text"),
        (rewrite("dataset.json", b"[1, 2]"), "dataset.json cannot be read: it holds no keys"),
        (rewrite("dataset.json", b'{"a":' * 100 + b"1" + b"}" * 100), "lie too deep"),
        (rewrite("dataset.json", b"[" * 10**6), "dataset.json cannot be read"),
        (edit(name=None), "dataset.json lacks its name"),
        (edit(fingerprint=7), "dataset.json lacks its name"),
        (edit(frames_digest=[]), "dataset.json lacks its name"),
        (edit(left_out=None), "dataset.json lacks its name"),
        (edit(left_out=[{"source": "a file"}]), "dataset.json lacks its name"),
        (edit(left_out=[3]), "dataset.json lacks its name"),
        (edit(preparation={"layout": 3}), "dataset.json lacks its name"),
        (edit(preparation=[3]), "dataset.json lacks its name"),
        (pipe("dataset.json"), "dataset.json cannot be read: it is not a regular file"),
        (pipe("index.csv"), "index.csv cannot be read: it is not a regular file"),
        (pipe("poses.npy"), "poses.npy cannot be read: it is not a regular file"),
        (pipe("confidence.npy"), "confidence.npy cannot be read: it is not a regular file"),
        (truncate("poses.npy", 5000), "poses.npy cannot be read: it is not a complete .npy array"),
        (truncate("poses.npy", 10), "poses.npy cannot be read"),
        (truncate("poses.npy", 0), "poses.npy cannot be read"),
        (truncate("confidence.npy", 3000), "confidence.npy cannot be read"),
        (rewrite("poses.npy", b"not an array at all, whatever it is called"), "poses.npy cannot be read"),
        (npz, "poses.npy cannot be read"),
        (save("poses.npy", np.zeros((103, 15, 2), np.float32)), "must be float32"),
        (save("poses.npy", np.zeros((104, 15, 2))), "poses.npy must be float32 ['frames', 15, 2] in C order"),
        (save("poses.npy", np.asfortranarray(np.zeros((104, 15, 2), np.float32))), "poses.npy must be float32"),
        (save("poses.npy", np.float32(1)), "poses.npy"),
        (save("confidence.npy", np.zeros((104, 14), np.float32)), "confidence.npy must be float32 ['frames', 15]"),
        (lambda folder: (folder / "confidence.npy").unlink(), "confidence.npy cannot be read: there is no such file"),
        (lambda folder: (folder / "index.csv").unlink(), "index.csv cannot be read: there is no such file"),
        (truncate("index.csv", 0), "No columns to parse"),
        (truncate("index.csv", 120), "cannot be used"),
        (rewrite("index.csv", b"sequence,subject\n1,2\n"), "index.csv must have the columns"),
        (rewrite("index.csv", ",".join(COLUMNS).encode()), "do not fit"),
        (rewrite("index.csv", b"\xff\xfe\xff"), "cannot be used"),
        (cells("start", "first"), "cannot be used"),
        (cells("run", 10**400), "cannot be used"),
        (cells("start", -16), "do not fit"),  # of the other end
        (cells("start", 1000), "do not fit"),
        (cells("start", 0, 0), "do not fit"),  # the frames of the first
        (cells("start", 1), "do not fit"),
        (cells("frames", 17, 30), "do not fit"),
        (cells("frames", 47, 0), "do not fit"),
        (cells("frames", -16, 63), "do not fit"),
        (cells("frames", 2**63 - 1, 2**63 - 1), "do not fit"),
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
    assert "\n" not in str(error.value)


def test_what_may_not_be_read_is_not_called_missing(tmp_path, forbid):
    write_dataset(tmp_path / "d", walks(), name="few")
    forbid(tmp_path / "d" / "dataset.json")
    with pytest.raises(InputError, match="you have no permission"):
        GaitDataset.open(tmp_path / "d")


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
        if source.name == "data":
            raise OSError(5, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="Input/output"):
        write_dataset(tmp_path / "d", walks()[:1], name="new")
    assert [p.name for p in tmp_path.iterdir()] == ["d"]
    assert content(tmp_path / "d") == before


def test_a_walk_needs_fifteen_joints():
    with pytest.raises(InputError, match=r"^001-nm-01-090: a walk needs pose \[T,15,2\]"):
        Walk(np.zeros((20, 17, 2), np.float32), np.ones((20, 15), np.float32), 25.0, "001", "nm", 1, "090")


@pytest.mark.parametrize(
    ("walks", "frames", "size"), [(9, 400, 20_000), (1, 20, 1000)], ids=["while walks come", "when the file is closed"]
)
def test_a_full_disk_names_the_file(tmp_path, walks, frames, size):
    """Files may not grow beyond a size, which for those who write them is the same."""
    write_dataset(tmp_path / "d", [walk()], name="old")
    before, limits = content(tmp_path / "d"), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        with pytest.raises(OSError, match=r"poses\.npy"):
            write_dataset(tmp_path / "d", (walk(str(number), frames=frames) for number in range(walks)), name="new")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert content(tmp_path / "d") == before
    assert [p.name for p in tmp_path.iterdir()] == ["d"]


#: Writes walks, says that it does, and waits to be killed.
SLOW = """
import sys
from tests.data.test_dataset import walks, write_dataset

def slow():
    yield from walks()
    print("there", flush=True)
    sys.stdin.read()

write_dataset(sys.argv[1], slow(), name="slow")
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such signal here")
def test_of_two_writers_one_is_told_and_the_next_clears_what_a_killed_one_left(tmp_path):
    write_dataset(tmp_path / "d", walks(), name="old")
    before = content(tmp_path / "d")
    with subprocess.Popen(
        [sys.executable, "-c", SLOW, tmp_path / "d"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "there\n"
        with pytest.raises(InputError, match="d is being written by another process; wait for it, or choose another --out"):
            write_dataset(tmp_path / "d", walks(), name="new")
        process.kill()
    assert content(tmp_path / "d") == before
    assert sorted(p.name for p in tmp_path.iterdir()) == [".d.partial", "d"]
    assert write_dataset(tmp_path / "d", walks(), name="new").name == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["d"]


def test_what_cannot_be_opened_does_not_replace_a_data_set(tmp_path, monkeypatch):
    write_dataset(tmp_path / "d", walks(), name="old")
    before = content(tmp_path / "d")
    with pytest.raises(InputError, match=r"dataset\.json lacks"):
        write_dataset(tmp_path / "d", walks(), name="new", notes={"fingerprint": 3})
    assert content(tmp_path / "d") == before
    assert [p.name for p in tmp_path.iterdir()] == ["d"]


@pytest.mark.parametrize("folder", ["x" * 300, "x" * 5000, "a\0b"])
def test_a_folder_that_cannot_be_made(tmp_path, folder):
    with pytest.raises(InputError, match="cannot be created because"):
        write_dataset(tmp_path / folder, walks(), name="few")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["a\rb", "c\nd", 'e"\r\n,f', "g\udcffh"])
def test_odd_names_of_files_come_back(tmp_path, place):
    dataset = write_dataset(tmp_path / "d", [walk(source=place), walk("002")], name="odd")
    assert dataset.index["source"].tolist() == [place.encode("utf-8", "backslashreplace").decode(), ""]


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
    with pytest.raises(InputError, match="No walk can be used") as error:
        write_dataset(tmp_path / "d", given, name="none")
    assert list(tmp_path.iterdir()) == []
    assert ("short.txt: only 3 frames" in str(error.value)) == bool(given)
