"""A run: notebooks executed by papermill into reports/NAME/, with its pages."""

import json
import os
import re
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from unittest import mock

from tqdm import tqdm

from gaitlib import InputError, Interrupted, progress
from gaitlib.config import Config, root, workspace
from gaitlib.experiment import Experiment
from gaitlib.files import Unreadable, is_taken, locked, read_json, replace_folder, write_text
from gaitlib.fingerprints import fingerprint
from gaitlib.reports.run import Run
from gaitlib.stages import StageFailed, Stages

CHAPTERS = ("01_data_preparation", "02_training", "03_evaluation", "04_visualization")
#: What belongs to a run folder; notes that somebody keeps there are not ours to replace.
_OURS = re.compile(
    r"\d\d_\w+\.(ipynb|html)|index\.html|results\.xlsx|\w+\.json|embeddings\.npz|config\.yaml|checkpoint|logs|figures"
)
#: Environment of the kernels, unless the user sets it. Freed memory is kept (see training.keep_freed_memory). Waiting OpenMP
#: threads spin for some ten microseconds and then sleep: if they kept spinning, they would take the processor from other
#: programs, which made a training step take three times as long on a busy machine with two cores; if they slept at once, they
#: would wake too late for the second core to help. Nobody watches, so no curves are drawn during training.
_ENVIRONMENT = {
    "MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1), "GOMP_SPINCOUNT": "5000", "GAITLIB_HEADLESS": "1",
}  # fmt: skip
#: The address of a socket has at most about 107 letters, and Jupyter adds some.
_LONGEST_FOLDER = 70


def run_experiment(
    config: Config, name: str, *, data: str | Path = "", reports: str | Path = "reports", cache: str | Path = "cache",
    resume: bool = False, force: bool = False, chapters: Sequence[str] = CHAPTERS,
) -> Path:  # fmt: skip
    """Run the whole experiment, or some of its notebooks, into reports/NAME/ with index.html; returns that folder.

    data: a data set folder; empty: the embedded walkers. reports, cache: relative to the workspace.
    An existing run folder is an error without `resume` (finished stages are reused) or `force` (training starts from scratch). An
    existing report stays until the new one is complete.
    """
    run = workspace() / reports / name
    if run.is_file():
        raise InputError(f"{os.path.relpath(run)} is a file; give another --name.")
    if is_taken(run) and not (resume or force):
        raise InputError(
            f"{os.path.relpath(run)} exists; give --resume to finish or refresh it, --force to replace it, or another --name."
        )
    experiment = Experiment(config, data, Stages(workspace() / cache), run)
    experiment.check()
    if config.model.autoencoder == "none" and "04_visualization" in chapters:
        print("Notebook 04_visualization is left out: a model without an autoencoder has no codes to show.", flush=True)
        chapters = [chapter for chapter in chapters if chapter != "04_visualization"]
    if force:
        experiment.train_anew()
    run_notebooks(experiment, chapters)
    return run


def run_notebooks(
    experiment: Experiment, chapters: Sequence[str] = CHAPTERS, again: str = "with --resume continues from there"
) -> None:
    """Execute notebooks with papermill and write the pages; everything appears in the run folder once it is complete.

    again: what the same command does after an interruption.
    Raises InputError if another process makes this run, StageFailed if a notebook fails, Interrupted after Ctrl-C.
    """
    paths = {name: root() / "notebooks" / f"{name}.ipynb" for name in chapters}
    if lacking := [path for path in paths.values() if not path.is_file()]:
        raise InputError(f"The notebook {lacking[0].name} is missing from {lacking[0].parent}.")
    start, seconds, run = datetime.now().astimezone(), {}, experiment.run
    with _taking_the_place_of(run) as folder:
        experiment = replace(experiment, run=folder)
        seen = folder if Run(run).is_finished else run  # where to look at a notebook that failed
        experiment.keep_config()
        for number, (name, path) in enumerate(paths.items(), 1):
            if point := progress.point():
                chapter = name.partition("_")[2].replace("_", " ")
                progress.report(point, chapter=f"{number}/{len(paths)} {chapter}", seconds_left=None)
            with _Shown(f"[{number}/{len(paths)}] {name}") as shown:
                _execute(path, experiment, "02_training" in seconds, seen / path.name, again, shown)
            seconds[name] = shown.seconds
        write_text(folder / "provenance.json", json.dumps(experiment.provenance(seconds, start), indent=1))
        _write_pages(experiment, run.name, list(seconds))


@contextmanager
def _taking_the_place_of(run: Path) -> Iterator[Path]:
    """A hidden folder beside `run` in which the run is made; it takes the place of `run` when it is complete.

    After an early end it does so too, so that one can look at it, unless a finished run is there. Files of others in `run` stay.
    Meanwhile no other process makes the run.
    """

    def busy() -> None:
        raise InputError(f"Another process is making {run}; wait for it, or give another --name.")

    folder = run.parent / f".{run.name}.new"
    with locked(run.parent / ".locks" / f"{run.name}.lock", busy):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            yield folder
        except BaseException as error:
            if not Run(run).is_finished:
                _replace_run(folder, run)
            elif isinstance(error, KeyboardInterrupt):
                shutil.rmtree(folder)
            raise
        _replace_run(folder, run)


def _replace_run(folder: Path, run: Path) -> None:
    for path in run.iterdir() if run.is_dir() else ():
        if _OURS.fullmatch(path.name):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.copytree(path, folder / path.name, symlinks=True)
        else:
            with suppress(shutil.SpecialFileError):  # a pipe has no content
                shutil.copy2(path, folder / path.name, follow_symlinks=False)
    replace_folder(folder, run)


class _Shown:
    """Shows how far a notebook is: in a terminal by one line that changes, elsewhere by a line for each section.

    `begin`, `start` and `end` are hooks of nbclient; `write` and `flush` take what the notebook prints, and show it above.
    """

    def __init__(self, title: str):
        self._title, self._began, self._printed, self._over = title, time.monotonic(), "", threading.Event()
        self._terminal = sys.stdout.isatty()
        self._line = tqdm(
            desc=title, bar_format="{desc}  {elapsed}  {n_fmt}/{total_fmt} cells{postfix}", file=sys.stdout, leave=False,
            dynamic_ncols=True, disable=not self._terminal,
        )  # fmt: skip

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return time.monotonic() - self._began

    def __enter__(self) -> "_Shown":
        if self._terminal:
            threading.Thread(target=self._tick, daemon=True).start()
        else:
            print(self._title, flush=True)
        return self

    def __exit__(self, kind, error, trace) -> None:
        self._over.set()
        if self._printed:
            self.write("\n")
        self._line.close()
        how, took = "stopped" if kind else "done", tqdm.format_interval(self.seconds)
        print(f"{self._title if self._terminal else '   '} {took}  {how}", flush=True)

    def _tick(self) -> None:
        while not self._over.wait(1):
            self._line.refresh()

    def begin(self, notebook) -> None:
        """Before the first cell."""
        self._line.total = sum(cell.cell_type == "code" for cell in notebook.cells)

    def start(self, cell, cell_index: int) -> None:
        """Before each cell, of which those of text begin sections."""
        if cell.cell_type == "markdown" and (heading := re.match(r"##\s+(.+)", cell.source)):
            self._line.set_postfix_str(heading[1])
            if not self._terminal:
                print(f"    {tqdm.format_interval(self.seconds)}  {heading[1]}", flush=True)

    def end(self, cell, cell_index: int, execute_reply: dict) -> None:
        """After each cell of code."""
        self._line.update()

    def write(self, text: str) -> None:
        """What the notebook prints; a line is shown when it is complete."""
        *lines, self._printed = (self._printed + text).split("\n")
        for line in lines:
            tqdm.write(line, sys.stdout)

    def flush(self) -> None:
        sys.stdout.flush()


def _execute(path: Path, experiment: Experiment, trained: bool, seen: Path, again: str, shown: _Shown) -> None:
    """Execute one notebook into the run folder. trained: whether the run folder already holds the checkpoint."""
    import papermill
    from papermill.exceptions import PapermillExecutionError

    name = path.stem
    taken = papermill.inspect_notebook(path)
    parameters = {key: value for key, value in _parameters(experiment, trained).items() if key in taken}
    stopped = f"Stopped in notebook {name}; the same command {again}."
    try:
        with mock.patch.dict(os.environ, _ENVIRONMENT | os.environ), _sockets() as kernels:
            papermill.execute_notebook(
                path, experiment.run / path.name, parameters, kernel_name="python3", cwd=root(), progress_bar=False,
                log_output=False, stdout_file=shown, config=kernels, on_notebook_start=shown.begin, on_cell_start=shown.start,
                on_cell_executed=shown.end,
            )  # fmt: skip
    except PapermillExecutionError as error:
        if error.ename in ("KeyboardInterrupt", "Interrupted"):
            raise Interrupted(stopped) from None
        said = error.evalue if error.ename in ("InputError", "Unreadable", "StageFailed") else f"{error.ename}: {error.evalue}"
        where = f"Notebook {name}, cell {error.exec_count}"
        raise StageFailed(f"{where}: {said} (see {seen})", error.ename in ("InputError", "Unreadable")) from None
    except KeyboardInterrupt:  # the kernel was asked to stop too
        raise Interrupted(stopped) from None
    except RuntimeError as error:  # the kernel died or did not start
        hint = "; a kernel that dies has usually run out of memory" if "died" in str(error) else ""
        raise StageFailed(f"Notebook {name}: {error} (see {seen}){hint}") from None


def _parameters(experiment: Experiment, trained: bool) -> dict:
    """The parameters of the notebooks; each takes the ones it has."""
    checkpoint = experiment.run if trained else experiment.checkpoint
    return {
        "config": _place(experiment.run / "config.yaml"),
        "data": _place(experiment.data),
        "run": _place(experiment.run),
        "cache": _place(experiment.stages.cache),
        "checkpoint": ",".join(_place(file) for file in str(checkpoint).split(",")) if checkpoint else "",
        "other_people": experiment.other_people,
    }


def _place(path: str | Path | None) -> str:
    """A path, relative to the root of the repository if it lies inside."""
    if not path:
        return ""
    path = Path(path).resolve()
    return os.path.relpath(path, root()) if path.is_relative_to(root()) else str(path)


def _write_pages(experiment: Experiment, name: str, chapters: list[str]) -> None:
    """Write the pages of the chapters and of the run; in them the folder already has its final name."""
    from gaitlib.reports.html import notebook_html, write_index

    folder = experiment.run
    executed = [folder / f"{chapter}.ipynb" for chapter in chapters]
    for path in executed:
        write_text(path, path.read_text("utf-8").replace(_place(folder), _place(folder.with_name(name))))
        notebook_html(path, path.with_suffix(".html"), f"{name}: {path.stem.partition('_')[2].replace('_', ' ')}")
    write_index(Run(folder, name), experiment.left_out, executed)


@contextmanager
def _sockets() -> Iterator:
    """Configuration of a kernel that communicates through files in a folder of its own, so that simultaneous runs cannot collide.

    Without such a folder, every kernel started here would use ./kernel-ipc-1 and so on; and ports collide now and then.
    The log of the kernel is not shown: after Ctrl-C it is a traceback about its closed socket.
    """
    from traitlets.config import Config as Configuration

    quiet = {"NotebookClient": {"extra_arguments": ["--log-level=CRITICAL"]}}
    base = next((f for f in (tempfile.gettempdir(), "/tmp") if len(f) < _LONGEST_FOLDER and os.path.isdir(f)), None)
    if sys.platform == "win32" or not base:
        yield Configuration(quiet)
        return
    _clear_sockets(Path(base))
    with tempfile.TemporaryDirectory(prefix=f"gaitlib-{os.getpid()}-", dir=base, ignore_cleanup_errors=True) as folder:
        yield Configuration({**quiet, "KernelManager": {"transport": "ipc", "ip": f"{folder}/kernel"}})


def _clear_sockets(base: Path) -> None:
    """Delete what killed processes left behind."""
    for folder in base.glob("gaitlib-*-*"):
        process = folder.name.split("-")[1]
        with suppress(OSError, ValueError):  # somebody else's
            try:
                os.kill(int(process), 0)
            except ProcessLookupError:
                shutil.rmtree(folder, ignore_errors=True)


def working_copies(folder: Path) -> list[str]:
    """Copy the notebooks into a folder to work in; returns a sentence for each copy that stays although its notebook is newer.

    A copy in which nobody changed a cell follows its notebook; running it is no change, but its outputs go with it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    said = []
    for path in sorted((root() / "notebooks").glob("*.ipynb")):
        copy, notebook = folder / path.name, json.loads(path.read_text("utf-8"))
        newest = _sources(notebook)
        if is_taken(copy):
            try:
                kept = read_json(copy)
                copied, stands = kept["metadata"].get("copied"), _sources(kept)
            except (Unreadable, LookupError, TypeError, AttributeError):
                copied, stands = None, ""
            if newest in (copied, stands):
                continue
            if copied != stands:
                said.append(f"{copy} has your changes and stays; rename it to get the newer {path.relative_to(root())}.")
                continue
        notebook["metadata"]["copied"] = newest
        write_text(copy, json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")
    return said


def _sources(notebook: dict) -> str:
    """A fingerprint of the cells without their outputs."""
    return fingerprint([[cell["cell_type"], "".join(cell["source"])] for cell in notebook["cells"]])
