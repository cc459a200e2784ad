"""`gaitlib prepare` that is interrupted, by whatever, leaves the old data set or none, and nothing beside it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from gaitlib import cli
from gaitlib.data import dataset as module
from gaitlib.data.dataset import GaitDataset, write_dataset
from gaitlib.data.walkers import make_walkers
from gaitlib.poses import reading
from gaitlib.poses.export import export
from gaitlib.poses.prepare import as_dataset
from gaitlib.poses.prepare import prepare as make

WALKS = 6


@pytest.fixture(scope="module")
def walk():
    return next(iter(make_walkers(1, 0)))


@pytest.fixture
def source(tmp_path, walk):
    """Walks that can be read, one that is damaged, one without a name and one that is too short."""
    folder = tmp_path / "poses"
    for i in range(WALKS):
        write(folder / f"{i:03d}-nm-01-090.json", walk, 20 + i)
    write(folder / "000-nm-01-000.json", walk, 3)
    write(folder / "somebody.json", walk, 20)
    (folder / "001-nm-01-000.json").write_text("[")
    return folder


def write(path, walk, frames):
    points = np.concatenate([walk.pose[:frames, [0, 0, 0, 0, 0, 5, 2, 6, 3, 7, 4, 12, 9, 13, 10, 14, 11]],
                             np.ones((frames, 17, 1))], axis=2)  # fmt: skip
    people = [points, points * 0.5] if frames % 2 else [points]
    content = [
        {"image_id": f"{t}.jpg", "keypoints": p[t].ravel().tolist(), "box": []} for t in range(frames) for p in people
    ]  # fmt: skip
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))


def prepare(source, *options, out="out"):
    arguments = ["prepare", str(source), "--format", "alphapose", "--out", str(source.parent / out), *options]
    return CliRunner().invoke(cli.main, arguments)


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def fail_at(monkeypatch, target, name, count, error):
    """Let a function raise an error when it is called for the count-th time."""
    function, calls = getattr(target, name), []

    def failing(*arguments, **options):
        calls.append(arguments)
        if len(calls) == count:
            raise error
        return function(*arguments, **options)

    monkeypatch.setattr(target, name, failing)


PLACES = {
    "reading a file": (reading, "to_walks", 5, KeyboardInterrupt()),
    "looking at a walk": (module, "_unfit", 3, KeyboardInterrupt()),
    "writing the beginning": (module, "_write_headers", 1, OSError(28, "No space left on device")),
    "writing the end": (module, "_write_headers", 2, OSError(28, "No space left on device")),
    "putting a file in its place": (os, "replace", 1, OSError(28, "No space left on device")),
    "putting the old one away, or the first one there": (os, "replace", 3, KeyboardInterrupt()),
    "putting the new one there": (os, "replace", 4, KeyboardInterrupt()),
}


@pytest.mark.parametrize(
    ("place", "old"), [(p, old) for p in PLACES for old in (True, False) if old or p != "putting the new one there"]
)
def test_the_old_data_set_or_none_stays_wherever_it_was_interrupted(source, walk, monkeypatch, place, old):
    out = source.parent / "out"
    if old:
        write_dataset(out, [walk], name="old")
    before = content(out) if old else {}
    target, name, count, error = PLACES[place]
    with monkeypatch.context() as patch:
        fail_at(patch, target, name, count, error)
        result = prepare(source, "--repair", "flips,gaps=3")
    assert result.exit_code == (130 if isinstance(error, KeyboardInterrupt) else 1), result.output
    assert [p.name for p in source.parent.iterdir() if p != source] == ["out"] * old
    assert not old or content(out) == before
    assert prepare(source, "--repair", "flips,gaps=3").exit_code == 0
    assert len(GaitDataset.open(out)) == WALKS


def test_any_number_of_workers_writes_the_same(source):
    for workers in ("1", "2"):
        assert prepare(source, "--repair", "flips,gaps=3", "--workers", workers, out=workers).exit_code == 0
    assert content(source.parent / "1") == content(source.parent / "2")


def test_what_was_decided_is_said(source):
    """In sentences that a data set keeps, so that who opens it needs not know the repairs."""
    result = prepare(source, "--repair", "flips,gaps=3")
    assert result.exit_code == 0
    said = GaitDataset.open(source.parent / "out").preparation
    assert said == [
        f"layout COCO17: {WALKS + 1} walks read",
        "one of several people had to be chosen in 72 frames of 4 walks",
        "repair flips: 0 joint pairs changed",
        "repair gaps: 0 joints changed",
    ]
    assert all(f"  {clause}\n" in result.output for clause in said)


def test_remarks_are_said_with_the_first_walk(source, monkeypatch):
    notes = {"remarks": [{"remark": "a guess", "first": "001/090", "walks": 1}, {"remark": "two", "first": "002", "walks": 4}]}
    monkeypatch.setattr(reading.Tally, "notes", lambda self: notes)
    data = make(source, source.parent / "out", format="alphapose", say=lambda text: None)
    assert data.preparation == ["a guess: 001/090", "two: 002 and 3 more"]


def test_names_with_line_ends_come_back(source, walk):
    folder = source.parent / "odd"
    places = ["a\rb", "c\nd", 'e"\r\n,f']
    for number, place in enumerate(places):
        (folder / place).mkdir(parents=True)
        write(folder / place / f"{number:03d}-nm-01-090.json", walk, 20)
    assert prepare(folder).exit_code == 0
    found = GaitDataset.open(source.parent / "out").index
    assert sorted(found["source"]) == [f"{place}/{number:03d}-nm-01-090" for number, place in enumerate(places)]


def test_an_error_of_the_input_leaves_nothing(source):
    result = prepare(source, "--strict")
    assert result.exit_code == 2
    (source / "somebody.json").unlink()
    (source / "001-nm-01-000.json").unlink()
    (source / "005-nm-01-000.json").write_text("[")
    result = prepare(source, "--strict")
    assert (result.exit_code, "005-nm-01-000" in result.output) == (2, True)
    assert [p.name for p in source.parent.iterdir()] == ["poses"]


#: Runs the command in a process that says when the first walk was read, and then waits.
SLOW = """
import sys
from gaitlib import cli
from gaitlib.data import dataset
fits = dataset._unfit
def slow(*arguments):
    print("there", flush=True)
    sys.stdin.read()
    return fits(*arguments)
dataset._unfit = slow
cli.main()
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes cannot be listed here")
def test_killed_its_workers_end_and_the_same_command_begins_again(source):
    arguments = ["prepare", source, "--format", "alphapose", "--out", source.parent / "out", "--workers", "2"]
    with subprocess.Popen(
        [sys.executable, "-c", SLOW, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "there\n"
        workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        refused = prepare(source)
        assert (refused.exit_code, "is being written by another process" in refused.output) == (2, True)
        process.kill()
    assert len(workers) == 2
    for _ in range(100):
        if not any(Path(f"/proc/{worker}").exists() for worker in workers):
            break
        time.sleep(0.05)
    else:
        raise AssertionError("a worker is still there")
    assert not (source.parent / "out").exists()
    assert prepare(source).exit_code == 0
    assert sorted(p.name for p in source.parent.iterdir()) == ["out", "poses"]


def test_files_are_a_data_set_for_as_long_as_they_are_asked_about(tmp_path):
    table = tmp_path / "somebody.csv"
    walk = next(walk for walk in make_walkers(1, 3) if walk.view == "018")
    export(write_dataset(tmp_path / "data", [walk], name="data"), "csv", tmp_path / "out")
    table.write_bytes((tmp_path / "out" / "walks.csv").read_bytes())
    said = []
    with as_dataset(table, subject="anna", say=said.append) as dataset:
        assert dataset.index[["subject", "sequence", "view"]].to_numpy().tolist() == [["anna", "001/nm-01/018", "018"]]
        np.testing.assert_allclose(dataset[0].pose, walk.pose, rtol=1e-5)
        folder = dataset.folder
    assert not folder.exists()
    assert said[0].startswith("Format csv")
    with as_dataset(tmp_path / "data") as dataset:
        assert dataset.folder == tmp_path / "data"
