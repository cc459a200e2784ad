"""How far a notebook is, as a terminal and as a log file show it; running notebooks is tested in tests/notebooks/."""

import io
import sys
from contextlib import suppress

from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from gaitlib.notebooks import _Shown

NOTEBOOK = new_notebook(
    cells=[
        new_markdown_cell("# Title\n\n## not at the start"), new_code_cell("1"),
        new_markdown_cell("## 1. Encode and rank\n\nProse."), new_code_cell("2"),
    ]
)  # fmt: skip


class Terminal(io.StringIO):
    def isatty(self):
        return True


def play(shown):
    """What nbclient and papermill tell, and two lines that a cell prints in pieces."""
    shown.begin(NOTEBOOK)
    for number, cell in enumerate(NOTEBOOK.cells):
        shown.start(cell, number)
        if cell.cell_type == "code":
            shown.write("iteration ")
            shown.write("2/4\nrest")
            shown.end(cell, number, {})


def test_a_log_file_has_a_line_for_each_section(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    with _Shown("[3/4] 03_evaluation") as shown:
        play(shown)
    assert sys.stdout.getvalue().splitlines() == [
        "[3/4] 03_evaluation", "iteration 2/4", "    00:00  1. Encode and rank", "restiteration 2/4", "rest", "    00:00  done",
    ]  # fmt: skip


def test_a_terminal_has_one_line_that_changes_below_what_is_printed(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Terminal())
    with suppress(KeyError), _Shown("[3/4] 03_evaluation") as shown:
        play(shown)
        raise KeyError
    lines = [line for line in sys.stdout.getvalue().replace("\r", "\n").split("\n") if line.strip()]
    changing = [line for line in lines if "cells" in line]
    assert (changing[0], changing[-1]) == (
        "[3/4] 03_evaluation  00:00  0/? cells", "[3/4] 03_evaluation  00:00  2/2 cells, 1. Encode and rank"
    )  # fmt: skip
    kept = [line for line in lines if "cells" not in line]
    assert kept == ["iteration 2/4", "restiteration 2/4", "rest", "[3/4] 03_evaluation 00:00  stopped"]
