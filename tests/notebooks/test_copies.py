"""The copies of the notebooks that `make lab` opens."""

import json
from pathlib import Path

import pytest

from gaitlib.notebooks import working_copies
from tests.small_run import lay_out

WORK, NAME = Path("work"), "01_data_preparation.ipynb"


@pytest.fixture
def clone(tmp_path, monkeypatch):
    lay_out(tmp_path)
    monkeypatch.chdir(tmp_path)


def change(path, source=None, **values):
    """Change the first cell of a notebook: its source and other values."""
    notebook = json.loads(path.read_text())
    notebook["cells"][0] |= values
    if source:
        notebook["cells"][0]["source"] = [source]
    path.write_text(json.dumps(notebook))


def first_cell(path):
    return json.loads(path.read_text())["cells"][0]


def test_a_copy_follows_its_notebook_until_somebody_changes_it(clone):
    assert working_copies(WORK) == []
    notebooks = sorted(Path("notebooks").glob("*.ipynb"))
    assert [path.name for path in sorted(WORK.iterdir())] == [path.name for path in notebooks]
    copy, tracked = WORK / NAME, Path("notebooks") / NAME
    assert first_cell(copy) == first_cell(tracked)

    change(copy, metadata={"run": True})
    change(tracked, "# Newer")
    assert working_copies(WORK) == []
    assert first_cell(copy)["source"] == ["# Newer"]

    change(copy, "# Mine")
    before = copy.read_bytes()
    assert working_copies(WORK) == []  # the notebook is the one it was copied from
    change(tracked, "# Newest")
    assert working_copies(WORK) == [f"{copy} has your changes and stays; rename it to get the newer {tracked}."]
    assert copy.read_bytes() == before


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"cells": 1, "metadata": {}}', "no JSON"])
def test_what_is_no_notebook_stays(clone, content):
    WORK.mkdir()
    (WORK / NAME).write_text(content)
    assert len(working_copies(WORK)) == 1
    assert (WORK / NAME).read_text() == content
