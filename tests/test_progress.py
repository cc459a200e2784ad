"""How far a run is, in a file that may be damaged, and on a disk that may be full."""

import errno
import os

import pandas as pd
import pytest

from gaitlib import InputError, Interrupted, progress
from gaitlib.progress import Progress, Report
from gaitlib.stages import StageFailed


def test_a_run_is_asked_for_begins_and_is_complete(tmp_path):
    run = tmp_path / "runs" / "mine"
    assert progress.read(run) is None
    progress.queue(run)
    assert progress.read(run) == Progress()
    progress.begin(run)
    progress.report(run, chapter="1/4 data preparation")
    progress.report(run, iteration=3)
    found = progress.read(run)
    assert (found.began > 0, found.chapter, found.iteration) == (True, "1/4 data preparation", 3)
    progress.finish(run)
    progress.fail(run, KeyboardInterrupt())  # too late
    assert progress.read(run) is None
    assert list(progress.file_of(run).parent.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "sentence", "stopped"),
    [
        (StageFailed("Notebook 02, cell 4:\nno memory", False), "Notebook 02, cell 4: no memory", False),
        (InputError("There is no such file."), "There is no such file.", False),
        (OSError(errno.ENOSPC, "No space left on device", "a"), "OSError: [Errno 28] No space left on device: 'a'", False),
        (Interrupted("Stopped after iteration 3."), "Stopped after iteration 3.", True),
        (KeyboardInterrupt(), "Stopped.", True),
    ],
)
def test_how_a_run_ended_is_a_sentence(tmp_path, error, sentence, stopped):
    progress.begin(tmp_path / "run")
    progress.fail(tmp_path / "run", error)
    assert (progress.read(tmp_path / "run").error, progress.read(tmp_path / "run").stopped) == (sentence, stopped)
    progress.begin(tmp_path / "run")
    assert progress.read(tmp_path / "run").error == ""


@pytest.mark.parametrize("content", ["", "[1]", '{"iteration": "many"}', "[" * 9999, "\0"])
def test_a_damaged_file_says_nothing(tmp_path, content):
    progress.queue(tmp_path / "run")
    progress.file_of(tmp_path / "run").write_text(content)
    assert progress.read(tmp_path / "run") == Progress()
    progress.report(tmp_path / "run", iteration=1)
    assert progress.read(tmp_path / "run") == Progress(iteration=1)


def test_a_full_disk_does_not_end_what_is_reported(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    progress.begin(tmp_path / "run")
    monkeypatch.setattr(os, "replace", full)
    progress.report(tmp_path / "run", iteration=1)
    assert progress.read(tmp_path / "run").iteration is None
    assert len(list(progress.file_of(tmp_path / "run").parent.iterdir())) == 1


def test_a_training_says_how_far_it_is(tmp_path):
    progress.begin(tmp_path / "run")
    with Report(tmp_path / "run") as watch:
        watch.step(1, 60, 118.0)
        watch.step(2, 60, 116.0)  # a moment later, which is not worth a file
        assert progress.read(tmp_path / "run").iteration == 1
        watch.look(pd.DataFrame({"iteration": [1, 2], "validation_rank1": [0.5, 0.25]}), None)
    found = progress.read(tmp_path / "run")
    assert (found.iteration, found.iterations, found.validation, found.seconds_left) == (2, 60, 0.25, 118.0)
