"""Stages: made once, by one process, whole or not at all."""

import os
import subprocess
import sys
import threading
import time

import pytest

from gaitlib.files import locked
from gaitlib.stages import StageFailed, Stages


@pytest.fixture
def stages(tmp_path):
    return Stages(tmp_path / "cache")


def write(folder):
    (folder / "x").write_text("whole")


def test_a_stage_is_made_once_and_appears_whole(stages):
    calls = []

    def make(folder):
        calls.append(folder)
        assert not stages.folder("walkers", 1).exists()
        write(folder)

    folder = stages.made("walkers", 1, make)
    assert stages.made("walkers", 1, make) == folder == stages.folder("walkers", 1)
    assert (folder / "x").read_text() == "whole"
    assert len(calls) == 1
    assert stages.made("walkers", 2, write) != folder
    assert len((stages.cache / "made.log").read_text().splitlines()) == 2


def test_a_full_disk_says_which_file_of_which_stage_and_leaves_nothing(stages):
    def full(folder):
        (folder / "half").write_text("half")
        raise OSError(28, "No space left on device", "poses.npy")

    with pytest.raises(StageFailed, match=r"stage walkers-[0-9a-f]{16} stopped: No space left on device \(poses\.npy\)"):
        stages.made("walkers", 1, full)
    assert [p.name for p in stages.cache.iterdir()] == ["locks"]
    with pytest.raises(StageFailed):
        stages.made("training", 1, full, together=True)
    assert [p.name for p in stages.cache.glob("*/half")] == ["half"]  # a training goes on from there


def test_made_anew_while_others_use_what_is_there(stages):
    before = stages.made("training", 1, write)
    stages.renew("training", 1)
    after = stages.made("training", 1, write)
    assert after != before
    assert (before / "x").exists()
    assert stages.made("training", 1, lambda folder: pytest.fail("it is made twice")) == after


def test_what_is_in_use_is_not_deleted(stages):
    folder = stages.made("walkers", 1, write)
    partial = folder.with_suffix(".partial")
    partial.mkdir()
    begun, go = threading.Event(), threading.Event()

    def busy():
        with locked(stages._lock(folder), lambda: None):
            begun.set()
            go.wait(20)

    thread = threading.Thread(target=busy)
    thread.start()
    begun.wait(20)
    for path in (folder, partial):
        assert stages.is_in_use(path)
        assert not stages.delete(path)
        assert path.exists()
    go.set()
    thread.join()
    for path in (folder, partial):
        assert not stages.is_in_use(path)
        assert stages.delete(path)
        assert not path.exists()


def test_other_processes_of_a_launch_begin_when_the_first_does(tmp_path, stages):
    """They would wait for it within torch, and run into its timeout, while it waits for the lock of another run."""
    program = tmp_path / "program.py"
    program.write_text(
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from gaitlib.stages import Stages\n"
        "def make(folder):\n"
        "    (folder.parent / f'begun-{os.environ[\"RANK\"]}').touch()\n"
        "    while len(list(folder.parent.glob('begun-*'))) < 2: time.sleep(0.05)\n"
        "Stages(Path(sys.argv[1])).made('training', 1, make, together=True)\n"
    )
    launch = os.environ | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1234", "OMP_NUM_THREADS": "1"}
    folder = stages.folder("training", 1)
    with locked(stages._lock(folder), lambda: None):
        processes = [
            subprocess.Popen(
                [sys.executable, program, stages.cache], env=launch | {"RANK": rank}, stdout=subprocess.PIPE, text=True
            )
            for rank in "01"
        ]
        assert "waiting: another run makes training" in processes[0].stdout.readline()
        time.sleep(1)
        assert list(stages.cache.glob("begun-*")) == []
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert folder.is_dir()
    assert [p.name for p in (stages.cache / "locks").iterdir()] == [f"{folder.name}.lock"]
