"""How far a training has come, for whoever watches it, and how far a point of a grid: a file in its logs/ until it is complete.

The process of the point and the kernel that trains write that file; the grid reads it.
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

#: The environment variable that tells a process and its children which point they work on.
POINT = "GAITLIB_POINT"
#: What a validation measures: cross-view rank-1 or, if no probe has a gallery walk in another view, same-view rank-1.
SCORES = {"validation_rank1": "validation rank-1", "validation_rank1_same_view": "validation rank-1 in the same view"}
#: A file of a stage: how many seconds its work took.
SECONDS = "seconds.json"


def score_column(columns: Iterable[str]) -> str:
    """Which of SCORES a history, or a row of it, contains."""
    return next(name for name in SCORES if name in columns)


class Watch:
    """Follows a training, in its first process; entered when the training begins, left when it ends."""

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, kind, error, trace) -> None:
        """error: Interrupted, or whatever else ended it early; None if it is complete."""

    def step(self, done: int, iterations: int, left: float) -> None:
        """After each iteration; left: seconds, estimated from the mean so far."""

    def look(self, history: pd.DataFrame, model) -> None:
        """After each validation, with the history so far and the GaitModel that is kept."""


class Progress(BaseModel):
    """How far a run has come, and what ended it if it ended early.

    began: seconds since 1970; None before that. chapter: such as "2/4 training". validation: the last validation rank-1, a share.
    seconds_left: of the training, while it lasts. error: a sentence. stopped: whether somebody stopped it.
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
    """The run folder of the point that this process works on; None outside of a grid."""
    return Path(os.environ[POINT]) if os.environ.get(POINT) else None


def file_of(run: Path) -> Path:
    """The file that says how far the point with this run folder has come."""
    return run.parent / "logs" / f"{run.name}.progress.json"


def queue(run: Path) -> None:
    """The run waits to be made (again): it is not complete and has not begun."""
    file_of(run).parent.mkdir(parents=True, exist_ok=True)
    write_text(file_of(run), Progress().model_dump_json())


def begin(run: Path) -> None:
    """The run begins now; how it ended before no longer counts."""
    queue(run)
    report(run, began=time.time())


def report(run: Path, **changes: object) -> None:
    """Change some facts of a run that is not complete; if they cannot be written, the run still goes on."""
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
    """How far the run has come; None if it is complete or nobody has asked for it."""
    try:
        return Progress.model_validate(read_json(file_of(run)))
    except Unreadable as error:
        return None if error.is_missing else Progress()
    except ValidationError:
        return Progress()


class Report(Watch):
    """Records how far the training of a point has come, so that its grid can show it."""

    PAUSE = 0.5  # seconds

    def __init__(self, run: Path):
        self._run, self._told = run, 0.0

    def step(self, done: int, iterations: int, left: float) -> None:
        """At most twice a second."""
        if time.monotonic() - self._told >= self.PAUSE:
            self._told = time.monotonic()
            report(self._run, iteration=done, iterations=iterations, seconds_left=left)

    def look(self, history: pd.DataFrame, model) -> None:
        """Each time."""
        now = history.iloc[-1]
        report(self._run, iteration=int(now["iteration"]), validation=float(now[score_column(history)]))
