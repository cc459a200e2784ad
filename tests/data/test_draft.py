"""`gaitlib prepare` that is interrupted leaves the old data set or none, and goes on when it is repeated."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from gaitlib import InputError, cli
from gaitlib.data import draft as module
from gaitlib.data.dataset import GaitDataset, write_dataset
from gaitlib.data.draft import Draft
from gaitlib.data.walkers import make_walkers
from gaitlib.poses import reading

WALKS, READ = 12, reading.to_walk


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


@pytest.fixture
def whole(source):
    """What comes out when nothing happens."""
    result = prepare(source, "--repair", "flips,gaps=3", out="whole")
    assert result.exit_code == 0, result.output
    return content(source.parent / "whole")


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
    "reading a file": (reading, "to_walk", KeyboardInterrupt()),
    "naming it": (reading, "_stamp", KeyboardInterrupt()),
    "before it is written": (Draft, "append", OSError(28, "No space left on device")),
    "between two arrays": (module._GrowingArray, "append", OSError(28, "No space left on device")),
    "recording": (Draft, "record", KeyboardInterrupt()),
    "putting the record in its place": (os, "replace", OSError(28, "No space left on device")),
}


@pytest.mark.parametrize("count", [2, 5, WALKS])
@pytest.mark.parametrize("place", PLACES)
def test_it_goes_on_wherever_it_was_interrupted(source, whole, monkeypatch, place, count):
    with monkeypatch.context() as patch:
        fail_at(patch, *PLACES[place][:2], count, PLACES[place][2])
        result = prepare(source, "--repair", "flips,gaps=3")
    assert result.exit_code == (130 if isinstance(PLACES[place][2], KeyboardInterrupt) else 1)
    assert ("the same command goes on" in result.output) == isinstance(PLACES[place][2], KeyboardInterrupt) or count == 2
    assert sorted(p.name for p in source.parent.iterdir())[-2:] == ["poses", "whole"]
    assert not (source.parent / "out").exists()
    read = []
    monkeypatch.setattr(reading, "to_walk", lambda *task: read.append(task) or READ(*task))
    result = prepare(source, "--repair", "flips,gaps=3")
    assert result.exit_code == 0, result.output
    assert content(source.parent / "out") == whole
    assert "Going on where it was interrupted, after " in result.output or count == 2
    assert len(read) < WALKS + 2 or count == 2
    assert sorted(p.name for p in source.parent.iterdir()) == ["out", "poses", "whole"]


def test_it_goes_on_after_several_interruptions_with_other_numbers_of_workers(source, whole, monkeypatch):
    for count, error in ((4, KeyboardInterrupt()), (3, OSError(28, "full")), (2, RuntimeError("a bug"))):
        with monkeypatch.context() as patch:
            fail_at(patch, Draft, "append", count, error)
            assert prepare(source, "--repair", "flips,gaps=3", "--workers", str(count % 2 + 1)).exit_code in (1, 130)
    result = prepare(source, "--repair", "flips,gaps=3", "--workers", "2")
    assert "after 8 sequences" in result.output  # 3 + 2 + 1 walks, and two that were left out before them
    assert content(source.parent / "out") == whole


def interrupted(source, monkeypatch, *options, count=6):
    with monkeypatch.context() as patch:
        fail_at(patch, Draft, "append", count, KeyboardInterrupt())
        assert "goes on from there" in prepare(source, "--repair", "flips,gaps=3", *options).output


def test_what_is_behind_the_record_is_cut_off(source, whole, monkeypatch):
    interrupted(source, monkeypatch)
    for name in ("poses.npy", "confidence.npy", "index.csv"):
        with (source.parent / ".out.unfinished" / name).open("ab") as file:
            file.write(b"half a walk")
    assert "Going on" in prepare(source, "--repair", "flips,gaps=3").output
    assert content(source.parent / "out") == whole


@pytest.mark.parametrize("name", ["poses.npy", "confidence.npy", "index.csv", "state.json"])
@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[:140], lambda data: data[:200] + b"?" + data[201:]])
def test_a_damaged_record_is_not_used(source, whole, monkeypatch, name, damage):
    interrupted(source, monkeypatch)
    damaged = source.parent / ".out.unfinished" / name
    damaged.write_bytes(damage(damaged.read_bytes()))
    result = prepare(source, "--repair", "flips,gaps=3")
    assert result.exit_code == 0
    assert "Going on" not in result.output
    assert content(source.parent / "out") == whole


def other_options(source):
    return ["--repair", "flips"]


def other_time(source):
    os.utime(source / "000-nm-01-090.json", ns=(1, 1))


def another_file(source):
    (source / "000-bg-01-000.json").write_text("[]")


def a_file_less(source):
    (source / "000-nm-01-000.json").unlink()


@pytest.mark.parametrize("change", [other_options, other_time, another_file, a_file_less])
def test_something_else_starts_anew(source, monkeypatch, change):
    interrupted(source, monkeypatch)
    options = change(source) or ["--repair", "flips,gaps=3"]
    result = prepare(source, *options)
    assert result.exit_code == 0
    assert "Going on" not in result.output
    assert prepare(source, *options, out="other").exit_code == 0
    assert content(source.parent / "out") == content(source.parent / "other")
    assert not (source.parent / ".out.unfinished").exists()


def test_a_table_of_names_that_has_changed_starts_anew(source, monkeypatch):
    names = source.parent / "names.csv"
    lines = [f"{i:03d}-nm-01-090,p{i}" for i in range(WALKS)]
    names.write_text("\n".join(["path,subject", *lines]))
    interrupted(source, monkeypatch, "--names", str(names))
    names.write_text("\n".join(["path,subject", *lines[::-1], "nobody,x"]))
    assert "Going on" not in prepare(source, "--names", str(names)).output
    interrupted(source, monkeypatch, "--names", str(names))
    result = prepare(source, "--names", str(names), "--repair", "flips,gaps=3")
    assert "Going on" in result.output
    assert result.output.count("there is no such walk") == 1


def test_files_that_come_later_are_read_too(source, monkeypatch, walk):
    interrupted(source, monkeypatch)
    write(source / "999-nm-01-090.json", walk, 30)
    result = prepare(source, "--repair", "flips,gaps=3")
    assert "Going on" in result.output
    assert f"{WALKS + 1} walks" in result.output


def test_the_old_data_set_stays_until_the_new_one_is_whole(source, whole, monkeypatch, walk):
    out = source.parent / "out"
    write_dataset(out, [walk], name="old")
    before = content(out)
    interrupted(source, monkeypatch)
    assert content(out) == before
    assert "Going on" in prepare(source, "--repair", "flips,gaps=3").output
    assert content(out) == whole


def test_names_with_line_ends_come_back(source, walk):
    folder = source.parent / "odd"
    places = ["a\rb", "c\nd", 'e"\r\n,f']
    for number, place in enumerate(places):
        (folder / place).mkdir(parents=True)
        write(folder / place / f"{number:03d}-nm-01-090.json", walk, 20)
    assert prepare(folder).exit_code == 0
    found = GaitDataset.open(source.parent / "out").index
    assert sorted(found["source"]) == [f"{place}/{number:03d}-nm-01-090" for number, place in enumerate(places)]


def test_what_cannot_be_opened_does_not_replace_a_data_set(source, walk, monkeypatch):
    out = source.parent / "out"
    write_dataset(out, [walk], name="old")
    before = content(out)
    written = Draft._write_row
    monkeypatch.setattr(Draft, "_write_row", lambda self, cells: written(self, [*cells, "one too many"]))
    result = prepare(source)
    assert (result.exit_code, "damaged" in result.output) == (2, True)
    assert content(out) == before
    assert sorted(path.name for path in source.parent.iterdir()) == ["out", "poses"]


def test_an_error_of_the_input_leaves_nothing(source):
    result = prepare(source, "--strict")
    assert result.exit_code == 2
    (source / "somebody.json").unlink()
    (source / "001-nm-01-000.json").unlink()
    (source / "011-nm-01-000.json").write_text("[")
    result = prepare(source, "--strict")
    assert (result.exit_code, "011-nm-01-000" in result.output) == (2, True)
    assert [p.name for p in source.parent.iterdir()] == ["poses"]


def run_in_a_process(source, patch, *options):
    code = f"import os, time\nfrom gaitlib import cli\nfrom gaitlib.data.draft import Draft\n{patch}\ncli.main()"
    out = source.parent / "out"
    arguments = ["prepare", source, "--format", "alphapose", "--out", out, "--repair", "flips,gaps=3", *options]
    environment = os.environ | {"PYTHONPATH": str(Path(module.__file__).parents[2])}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


SLOW = """
record = Draft.record
def slow(self):
    record(self)
    print(os.getpid(), self.walks, flush=True)
    time.sleep(0.2)
Draft.record = slow
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such signal here")
@pytest.mark.parametrize("workers", [1, 2])
def test_it_goes_on_when_it_was_killed(source, whole, workers):
    process = run_in_a_process(source, SLOW, "--workers", str(workers))
    with process:
        for _ in range(4):
            assert process.stdout.readline()
        refused = prepare(source, "--repair", "flips,gaps=3")
        assert refused.exit_code == 2
        assert "is being prepared by another process" in refused.output
        process.kill()
    assert not (source.parent / "out").exists()
    result = prepare(source, "--repair", "flips,gaps=3")
    assert "Going on where it was interrupted" in result.output, result.output
    assert content(source.parent / "out") == whole


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes cannot be listed here")
def test_workers_end_with_the_process_that_was_killed(source):
    process = run_in_a_process(source, SLOW, "--workers", "2")
    with process:
        process.stdout.readline()
        workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.kill()
    assert len(workers) == 2
    for _ in range(100):
        if not any(Path(f"/proc/{worker}").exists() for worker in workers):
            return
        time.sleep(0.05)
    raise AssertionError("a worker is still there")


def stopped(folder, key, walk, count, error):
    with Draft(folder, key) as draft:
        for _ in range(count):
            draft.append(walk)
            draft.record()
        raise error


def test_a_draft_without_a_key_is_never_kept(tmp_path, walk):
    with pytest.raises(KeyboardInterrupt):
        stopped(tmp_path / "d", "", walk, 3, KeyboardInterrupt())
    assert list(tmp_path.iterdir()) == []


def test_records_become_rarer(tmp_path, walk, monkeypatch):
    """What a record costs grows with what was left out, so they must not come after every walk of a large data set."""
    records = []
    monkeypatch.setattr(module.json, "dumps", lambda value: records.append(value["walks"]) or "{}")
    with pytest.raises(InputError):
        stopped(tmp_path / "d", "key", walk, 3000, InputError())
    assert len(records) < 500
    gaps = np.diff(records)
    assert gaps[:98].max() == 1
    assert gaps.max() <= 31
