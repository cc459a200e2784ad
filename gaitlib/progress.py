"""How far a training is, for who watches it; and a point of a grid: in its logs/, a file until the point is complete.

The run of the point and the kernel that trains write that file, the grid reads it.
"""

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import pandas as pd
from pydantic import BaseModel, ValidationError

from gaitlib import sentence
from gaitlib.files import Unreadable, read_json, write_text

#: The environment variable that tells a process, and those that it starts, of which point they are.
POINT = "GAITLIB_POINT"
#: What a look measures: cross-view rank-1 or, where no probe has a gallery in another view, that of the same view.
SCORES = {"validation_rank1": "validation rank-1", "validation_rank1_same_view": "validation rank-1 in the same view"}


def score_column(columns: Iterable[str]) -> str:
    """Which of SCORES a history has, or a row of it."""
    return next(name for name in SCORES if name in columns)


class Watch:
    """Is told what a training does, in its first process; entered when the training begins, left when it ends."""

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, kind, error, trace) -> None:
        """error: Interrupted, or what else ended it before its end; None where it is complete."""

    def step(self, done: int, iterations: int, left: float) -> None:
        """After each iteration; left: seconds, from the mean so far."""

    def look(self, history: pd.DataFrame, model) -> None:
        """After each look at the validation people, with the history so far and the GaitModel that is kept."""


class Progress(BaseModel):
    """How far a run is, and what ended it where it ended before it was complete.

    began: seconds since 1970; None before it does. chapter: such as "2/4 training". validation: the share of the last look at
    the validation people. seconds_left: of the training, while it lasts. error: a sentence. stopped: whether somebody did it.
    """

    began: float | None = None
    chapter: str = ""
    iteration: int | None = None
    iterations: int | None = None
    validation: float | None = None
    seconds_left: float | None = None
    error: str = ""
    stopped: bool = False


def point() -> Path | None:
    """The run folder of the point that this process is part of; None where no grid has asked for it."""
    return Path(os.environ[POINT]) if os.environ.get(POINT) else None


def file_of(run: Path) -> Path:
    """The file that says how far the point with this run folder is."""
    return run.parent / "logs" / f"{run.name}.progress.json"


def queue(run: Path) -> None:
    """The run is to be made (again): it is not complete, and has not begun."""
    file_of(run).parent.mkdir(parents=True, exist_ok=True)
    write_text(file_of(run), Progress().model_dump_json())


def begin(run: Path) -> None:
    """The run begins now, and how it ended before no longer counts."""
    queue(run)
    report(run, began=time.time())


def report(run: Path, **changes: object) -> None:
    """Change some facts of a run that is not complete; where they cannot be written, it is worth more than the news of it."""
    if stands := read(run):
        with suppress(OSError):
            write_text(file_of(run), stands.model_copy(update=changes).model_dump_json())


def fail(run: Path, error: BaseException) -> None:
    """The run ended before it was complete."""
    report(run, error=sentence(error), stopped=isinstance(error, KeyboardInterrupt))


def finish(run: Path) -> None:
    """The run is complete."""
    file_of(run).unlink(missing_ok=True)


def read(run: Path) -> Progress | None:
    """How far the run is; None where it is complete or nobody has asked for it."""
    try:
        return Progress.model_validate(read_json(file_of(run)))
    except Unreadable as error:
        return None if error.is_missing else Progress()
    except ValidationError:
        return Progress()


class Report(Watch):
    """Writes how far the training of a grid's point is, so that the grid can show it."""

    PAUSE = 0.5  # seconds

    def __init__(self, run: Path):
        self._run, self._told = run, 0.0

    def step(self, done: int, iterations: int, left: float) -> None:
        """Twice a second at most."""
        if time.monotonic() - self._told >= self.PAUSE:
            self._told = time.monotonic()
            report(self._run, iteration=done, iterations=iterations, seconds_left=left)

    def look(self, history: pd.DataFrame, model) -> None:
        """Each time."""
        now = history.iloc[-1]
        report(self._run, iteration=int(now["iteration"]), validation=float(now[score_column(history)]))
