"""Many runs from one file: each point of a grid in its own process and folder, on this machine or on a dask cluster.

What is known about a grid lies in its folder, so that it can be stopped, killed and gone on with: grid.json (what was asked
for), a run folder a point, and logs/ with what each point printed.
"""

import difflib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Literal

import pandas as pd
import yaml
from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gaitlib import InputError, Interrupted
from gaitlib.config import Config, config_folder, load_config, read_yaml
from gaitlib.data.dataset import GaitDataset
from gaitlib.experiment import CHAPTERS, Experiment, root, run_experiment
from gaitlib.files import is_taken, replacing
from gaitlib.reports.provenance import fingerprint
from gaitlib.runs import best_validation

LOOK_EVERY = 0.5  # seconds between looks at the processes
DONE, FAILED, RUNNING, WAITING, STOPPED = "done", "failed", "running", "waiting", "stopped"


_UNSAFE = re.compile(r"[^\w.+-]+")  # in the name of a folder


# -------------------------------------------------------------------------------------------------------------- the file


class _File(BaseModel):
    """What a grid file may hold."""

    model_config = ConfigDict(extra="forbid")
    base: str  # a configuration
    data: str = ""  # a data set folder; empty: the embedded walkers
    set: dict = {}  # keys that are changed at every point
    axes: dict[str, list | dict[str, dict]] = Field(min_length=1)
    leave_out: list[dict] = []  # points that match one of these are not run
    baseline: dict = {}  # axis: value, what the others are compared with; default: the first value of each axis
    notebooks: list[Literal[CHAPTERS]] = Field(list(CHAPTERS), min_length=1)


@dataclass(frozen=True)
class Point:
    """One run of a grid. labels: axis -> its value as text."""

    name: str
    labels: dict[str, str]
    config: Config

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.config.model_dump(mode="json"))


@dataclass(frozen=True)
class Grid:
    """The points of a grid file. axes: axis -> its values as text, in the file's order; baseline: a value of each but seed."""

    name: str
    axes: dict[str, list[str]]
    points: list[Point]
    baseline: dict[str, str]
    data: str
    notebooks: list[str]

    @classmethod
    def load(cls, path: str | Path) -> "Grid":
        """Read a grid file.

        An axis is a key of the configuration with a list of values, `arm` with names of files in configs/, or any name with a
        table of variants, each with the keys it changes. Later ones win: default.yaml, base, arm, set, the other axes.
        Raises InputError for an unknown axis, key or value, and for two points that are the same.
        """
        path = Path(path)
        file = _checked(path)
        axes = {axis: [_label(value) for value in values] for axis, values in file.axes.items()}
        _check_rule(f"{path}, baseline", file.baseline, {axis: labels for axis, labels in axes.items() if axis != "seed"})
        for rule in file.leave_out:
            _check_rule(f"{path}, leave_out", rule, axes)
        points: list[Point] = []
        for values in product(*file.axes.values()):
            chosen = dict(zip(file.axes, values, strict=True))
            labels = {axis: _label(value) for axis, value in chosen.items()}
            if any(all(labels[axis] in _labels(value) for axis, value in rule.items()) for rule in file.leave_out):
                continue
            name = "_".join(f"{axis.rpartition('.')[2]}-{_UNSAFE.sub('-', label)}" for axis, label in labels.items())
            layers = list(_layers(path, file, chosen))
            points.append(Point(name, labels, load_config(file.base, layers=layers)))
        if not points:
            empty = next((axis for axis, values in file.axes.items() if not values), None)
            raise InputError(f"{path}: " + (f"axis {empty} has no value." if empty else "leave_out leaves no point."))
        _check_different(path, points)
        baseline = {axis: _label(file.baseline.get(axis, labels[0])) for axis, labels in axes.items() if axis != "seed"}
        return cls(path.stem, axes, points, baseline, file.data, file.notebooks)


def _checked(path: Path) -> _File:
    if not path.is_file():
        raise InputError(f"There is no grid {path}; configs/grids/ has some to begin with.")
    content = read_yaml(path)
    try:
        return _File(**content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"] if part not in ("list[any]", "dict[str,dict[any,any]]"))
        if first["type"] == "extra_forbidden":
            near = difflib.get_close_matches(key, _File.model_fields, 1, 0)[0]
            raise InputError(f"{path}: a grid file has no {key!r}; the nearest is {near!r}.") from None
        raise InputError(f"{path}: {key}: {first['msg']}.") from None


def _check_rule(where: str, rule: dict, axes: dict[str, list[str]]) -> None:
    for axis, value in rule.items():
        if axis not in axes:
            raise InputError(f"{where}: there is no axis {axis!r}; the axes are {', '.join(axes)}.")
        if unknown := set(_labels(value)) - set(axes[axis]):
            raise InputError(f"{where}: {axis} has no value {min(unknown)!r}; it has {', '.join(axes[axis])}.")


def _check_different(path: Path, points: list[Point]) -> None:
    names, settings = {}, {}
    for point in points:
        if point.name in names:
            raise InputError(f"{path}: two points are called {point.name}; leave out one of the values that are alike.")
        if point.fingerprint in settings:
            raise InputError(
                f"{path}: the points {settings[point.fingerprint]} and {point.name} are the same configuration; leave out one."
            )
        names[point.name] = settings[point.fingerprint] = point.name


def _layers(path: Path, file: _File, chosen: dict) -> Iterator[tuple[str, dict]]:
    """What is laid over the base for a point: (what to call it in an error, keys and values)."""
    if "arm" in chosen and isinstance(file.axes["arm"], list):
        arm = config_folder() / f"{chosen['arm']}.yaml"
        yield str(arm), read_yaml(arm)
    yield f"{path}, set", file.set
    for axis, value in chosen.items():
        if isinstance(file.axes[axis], dict):
            yield f"{path}, axis {axis}, {value}", file.axes[axis][value]
        elif axis != "arm":
            yield f"{path}, axis {axis}", {axis: value}


def _label(value) -> str:
    """A value as text: [pose, motion] is pose+motion."""
    if isinstance(value, list):
        return "+".join(_label(v) for v in value) or "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _labels(value) -> list[str]:
    """The values of a rule: one, or a list of them; [[pose, motion]] is one that is a list."""
    return [_label(v) for v in value] if isinstance(value, list) else [_label(value)]


# ---------------------------------------------------------------------------------------------------- where a point stands


@dataclass(frozen=True)
class Status:
    """Where a point stands. notebook: "2/4 training". validation, rank1: shares, of validation people so far and test people.

    seconds: since it began, or of a point that is done all that its notebooks took; left: of its training, in seconds.
    """

    name: str
    state: str = WAITING
    notebook: str = ""
    iteration: str = ""
    validation: float | None = None
    rank1: float | None = None
    seconds: float | None = None
    left: float | None = None
    error: str = ""


_CHAPTER = re.compile(r"^\[(\d+/\d+)\] \d+_(\w+)", re.MULTILINE)
_LOOK = re.compile(r"iteration (\d+/\d+) .*validation rank-1 ([\d.]+)%  about ([\d.]+) min left")


def is_done(run: Path, config: str) -> bool:
    """Whether a run folder holds the finished run of the configuration with this fingerprint; index.html is written last."""
    try:
        known = json.loads((run / "provenance.json").read_text())
    except (OSError, ValueError):
        return False
    return (run / "index.html").is_file() and known.get("config_fingerprint") == config


def status(folder: Path, name: str, config: str, *, running: bool = False) -> Status:
    """Where a point of the grid in `folder` stands, from its files alone. config: its fingerprint."""
    run, log = folder / name, folder / "logs" / f"{name}.log"
    if not running and is_done(run, config):
        metrics = json.loads((run / "metrics.json").read_text()) if (run / "metrics.json").is_file() else {}
        seconds = sum(json.loads((run / "provenance.json").read_text())["stage_seconds"].values())
        best = best_validation(run)
        return Status(name, DONE, validation=best, rank1=metrics.get("rank1", {}).get("mean"), seconds=seconds)
    try:
        text = log.read_text(errors="replace")
    except OSError:
        return Status(name)
    said = [line.removeprefix("gaitlib: ") for line in text.splitlines() if line.startswith("gaitlib: ")]
    chapters, looks = _CHAPTER.findall(text), _LOOK.findall(text)
    found = Status(name, RUNNING if running else STOPPED, notebook=" ".join(chapters[-1]).replace("_", " ") if chapters else "")
    if looks:
        found = replace(found, iteration=looks[-1][0], validation=float(looks[-1][1]) / 100)
        if found.notebook.endswith("training"):
            found = replace(found, left=60 * float(looks[-1][2]))
    if running or not said:
        return found
    return replace(found, state=STOPPED if said[-1].startswith("Stopped") else FAILED, error=said[-1])


# ------------------------------------------------------------------------------------------------------------- the points


def run_point(folder: Path, name: str) -> None:
    """Run one point of the grid in `folder`, in this process, which ends in good order when the one that started it does."""
    grid = json.loads((folder / "grid.json").read_text())
    point, run = grid["points"][name], folder / name
    threading.Thread(target=_stop_with_the_parent, daemon=True).start()
    lock = FileLock(folder / "logs" / f"{name}.lock")
    with lock:  # a process of this point that lost its parent may still be saving where it stopped
        if is_done(run, point["fingerprint"]):
            return
        run.mkdir(exist_ok=True)
        (run / "index.html").unlink(missing_ok=True)
        with replacing(run / "config.yaml") as part:
            part.write_text(yaml.safe_dump(point["config"], sort_keys=False))
        run_experiment(
            str(run / "config.yaml"), data=grid["data"], name=name, reports=str(folder), cache=grid["cache"], resume=True,
            chapters=tuple(grid["notebooks"]),
        )  # fmt: skip


def _stop_with_the_parent() -> None:
    """Ctrl-C for this process when its standard input ends, which the parent's death brings about.

    Again each minute: a kernel that is just starting does not hear the first.
    """
    while os.read(0, 1):  # not sys.stdin: a thread that reads it may not be there when Python ends
        pass
    while True:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)


def _start(base: str, folder: str, name: str, environment: dict) -> subprocess.Popen:
    """A process that runs one point; what it prints goes into logs/NAME.log. It stops when its standard input is closed."""
    log = Path(folder) / "logs" / f"{name}.log"
    log.write_bytes(b"")
    with log.open("ab") as out:
        return subprocess.Popen(
            [sys.executable, "-m", "gaitlib.cli", "point", folder, name], cwd=base, env=os.environ | environment,
            stdin=subprocess.PIPE, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip


def _ended(folder: str, name: str, process: subprocess.Popen) -> int:
    """The exit code; a process that was killed or did not come as far as our own errors cannot say so itself."""
    process.stdin.close()
    code, log = process.returncode, Path(folder) / "logs" / f"{name}.log"
    said = ""
    if code < 0:
        said = f"killed by signal {-code}; when that was not you, memory may have run out"
    elif code and "gaitlib: " not in log.read_text(errors="replace"):
        said = f"ended with exit code {code}; {log} may say why"
    if said:
        with log.open("a") as file:
            file.write(f"gaitlib: {said}\n")
    return code


class _Machine:
    """So many processes at once on this machine, the threads of torch and the GPUs divided among them."""

    def __init__(self, workers: int, base: Path, folder: Path):
        self.base, self.folder, self.free = str(base), str(folder), list(range(workers))
        self.environments = [environment(slot, workers) for slot in self.free]
        self.jobs: dict[str, tuple[int, subprocess.Popen]] = {}

    def offer(self, names: list[str]) -> list[str]:
        """Start some of these points; returns those that were started."""
        taken = names[: len(self.free)]
        for name in taken:
            slot = self.free.pop(0)
            self.jobs[name] = slot, _start(self.base, self.folder, name, self.environments[slot])
        return taken

    def finished(self) -> list[str]:
        ended = [name for name, (_, process) in self.jobs.items() if process.poll() is not None]
        for name in ended:
            slot, process = self.jobs.pop(name)
            self.free.append(slot)
            _ended(self.folder, name, process)
        return ended

    def begun(self, name: str) -> bool:
        return name in self.jobs

    def stop(self) -> None:
        """In good order; KeyboardInterrupt meanwhile kills."""
        try:
            for _, process in self.jobs.values():
                process.stdin.close()
            for _, process in self.jobs.values():
                process.wait()
        except KeyboardInterrupt:
            for _, process in self.jobs.values():
                process.kill()

    def close(self) -> None:
        """Nothing is left to close."""


def environment(slot: int, workers: int) -> dict[str, str]:
    """Environment of the process in a slot: its share of the threads, and one of the GPUs where there are several."""
    import torch

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = int(os.environ.get("OMP_NUM_THREADS") or usable)
    chosen = {"OMP_NUM_THREADS": str(max(1, threads // workers))}
    visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(torch.cuda.device_count())))
    if gpus := [gpu for gpu in visible.split(",") if gpu]:
        chosen["CUDA_VISIBLE_DEVICES"] = gpus[slot % len(gpus)]
    return chosen


class _Cluster:
    """The workers of a dask scheduler, which see the same folders; dask gives the points of a lost worker to another."""

    def __init__(self, address: str, base: Path, folder: Path):
        try:
            from dask.distributed import Client
        except ImportError:
            raise InputError('--scheduler needs dask: pip install -e ".[cluster]".') from None
        try:
            self.client = Client(address, timeout=10, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            raise InputError(f"No dask scheduler answers at {address} ({type(error).__name__}); is it running?") from None
        self.base, self.folder = str(base), str(folder)
        self.stopping = folder / "logs" / "stop"
        self.jobs: dict = {}

    def offer(self, names: list[str]) -> list[str]:
        """Hand all of these points to the scheduler."""
        self.stopping.unlink(missing_ok=True)
        for name in names:
            self.jobs[name] = self.client.submit(
                _on_a_worker, self.base, self.folder, name, pure=False, key=f"{name}-{time.time_ns()}"
            )
        return list(names)

    def finished(self) -> list[str]:
        ended = [name for name, future in self.jobs.items() if future.done()]
        for name in ended:
            if error := self.jobs.pop(name).exception():
                with (Path(self.folder) / "logs" / f"{name}.log").open("a") as log:
                    log.write(f"gaitlib: {' '.join(str(error).split())}\n")
        return ended

    def begun(self, name: str) -> bool:
        return name in self.jobs and (Path(self.folder) / "logs" / f"{name}.log").exists()

    def stop(self) -> None:
        self.stopping.touch()
        running = [future for name, future in self.jobs.items() if self.begun(name)]
        self.client.cancel([future for future in self.jobs.values() if future not in running])
        for future in running:
            future.exception()

    def close(self) -> None:
        """Leave the scheduler; it and its workers are somebody else's."""
        self.client.close()


def _on_a_worker(base: str, folder: str, name: str) -> int:
    """The exit code of a point, run by a worker of dask in a process of its own."""
    process = _start(base, folder, name, {})
    while process.poll() is None:
        if (Path(folder) / "logs" / "stop").exists():
            process.stdin.close()
        time.sleep(LOOK_EVERY)
    return _ended(folder, name, process)


# --------------------------------------------------------------------------------------------------------------- the grid


def run_grid(
    path: str | Path, *, workers: int = 1, scheduler: str = "", name: str = "", reports: str | Path = "reports",
    cache: str = "cache", resume: bool = False, show: Callable[[list[Status], float | None], None] | None = None,
) -> tuple[Path, list[Status]]:  # fmt: skip
    """Run the points of a grid file into reports/NAME/POINT/ and write reports/NAME/index.html and grid.xlsx.

    Paths are taken from the root of the repository, wherever the notebook runs.
    workers: processes on this machine; with `scheduler`, the address of a dask scheduler, those of dask are used instead.
    show: called with the points and the seconds left whenever something may have changed; default: `live_table()`.
    Returns the grid's folder and where each point stands. A point that fails stops no other.
    Raises InputError before anything is written or started; Interrupted after Ctrl-C, when the points have saved where they are.
    """
    base = root()
    os.chdir(base)
    grid = Grid.load(path)
    folder = (Path(reports) / (name or grid.name)).resolve()
    if is_taken(folder) and not (resume and folder.is_dir()):
        raise InputError(f"{Path(reports) / folder.name} exists; give --resume to do what is missing, or another --name.")
    if resume and folder.is_dir() and not (folder / "grid.json").is_file():
        raise InputError(f"{Path(reports) / folder.name} is no grid's folder; give another --name.")
    made_of = {"data": GaitDataset.open(grid.data).fingerprint if grid.data else "", "protocols": {}}
    for config in {point.config.protocol: point.config for point in grid.points}.values():
        experiment = Experiment(config, Path(grid.data) if grid.data else None, Path(cache), Path())
        experiment.check()
        made_of["protocols"][config.protocol] = fingerprint(experiment.protocol.content)
    if resume and folder.is_dir():
        before = json.loads((folder / "grid.json").read_text()).get("made_of", made_of)
        made_of["protocols"] = before["protocols"] | made_of["protocols"]  # the grid may have grown by some
        changed = [name for name, known in before["protocols"].items() if known != made_of["protocols"][name]]
        other = "data" if before["data"] != made_of["data"] else f"contents of the protocol {changed[0]}" if changed else ""
        if other:
            raise InputError(
                f"The points in {Path(reports) / folder.name} were made of other {other} than {path} means now; "
                "give another --name."
            )
    pool = _Cluster(scheduler, base, folder) if scheduler else _Machine(workers, base, folder)
    with closing(pool), _owned(folder):
        _write_json(folder / "grid.json", _record(grid, made_of, Path(cache).resolve()))
        found = _work(grid, folder, pool, show or live_table(), workers)
    return folder, found


def _record(grid: Grid, made_of: dict, cache: Path) -> dict:
    """What grid.json holds. made_of: fingerprints of the data set ("" for the embedded walkers) and of the protocols."""
    points = {
        p.name: {"labels": p.labels, "fingerprint": p.fingerprint, "config": p.config.model_dump(mode="json")}
        for p in grid.points
    }  # fmt: skip
    return {
        "axes": grid.axes, "baseline": grid.baseline, "notebooks": grid.notebooks,
        "data": str(Path(grid.data).resolve()) if grid.data else "", "made_of": made_of,
        "cache": str(cache), "points": points,
    }  # fmt: skip


@contextmanager
def _owned(folder: Path) -> Iterator[None]:
    """The folder with its logs/, for this process alone."""
    try:
        (folder / "logs").mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / "logs" / "grid.lock")
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(f"Another process runs the grid in {folder}; wait for it, or give another --name.") from None
    except OSError as error:
        raise InputError(f"{folder} cannot be written ({error.strerror or error}); give another folder or make room.") from None
    try:
        yield
    finally:
        lock.release()


def _work(grid: Grid, folder: Path, pool: _Machine | _Cluster, show: Callable, workers: int) -> list[Status]:
    """Run what is not done; returns where each point stands."""
    prints = {point.name: point.fingerprint for point in grid.points}
    found = {name: status(folder, name, config) for name, config in prints.items()}
    waiting = [name for name in found if found[name].state != DONE]
    for name in waiting:
        (folder / "logs" / f"{name}.log").unlink(missing_ok=True)
        found[name] = Status(name)
    running, began = [], {}
    try:
        while waiting or running:
            started = pool.offer(waiting)
            waiting, running = waiting[len(started) :], running + started
            ended = pool.finished()
            running = [name for name in running if name not in ended]
            for name in [*running, *ended]:
                if name in ended or pool.begun(name):
                    found[name] = status(folder, name, prints[name], running=name in running)
                    began.setdefault(name, time.monotonic())
                    if name in running:
                        found[name] = replace(found[name], seconds=time.monotonic() - began[name])
            show(list(found.values()), seconds_left(list(found.values()), workers))
            if running:
                time.sleep(LOOK_EVERY)
    except KeyboardInterrupt:
        print("\nStopping; each point saves where it is (Ctrl-C again: at once).", flush=True)
        pool.stop()
        raise Interrupted("Stopped; the same command with --resume does what is missing.") from None
    finally:
        from gaitlib.reports.compare import write_report  # slow to import, and each point is a process

        write_report(folder, found.values())
    show(list(found.values()), 0.0)
    return list(found.values())


def seconds_left(points: list[Status], workers: int) -> float | None:
    """About how long the grid still takes, by the mean of the points that are done; None before one is."""
    took = [point.seconds for point in points if point.state == DONE]
    if not took:
        return None
    mean = sum(took) / len(took)
    rest = [max(mean - (p.seconds or 0), 0) for p in points if p.state in (WAITING, RUNNING)]
    at_once = max(workers, sum(point.state == RUNNING for point in points))  # on a cluster, as many as it runs
    return max(max(rest, default=0.0), sum(rest) / at_once)


def _write_json(path: Path, content: dict) -> None:
    with replacing(path) as part:
        part.write_text(json.dumps(content, indent=1))


# ------------------------------------------------------------------------------------------------------------- live table


def table(points: list[Status]) -> pd.DataFrame:
    """A row a point, as the live table shows it."""
    rows = [
        [
            p.name, p.state, p.notebook, p.iteration, "" if p.validation is None else f"{p.validation:.1%}",
            "" if p.rank1 is None else f"{p.rank1:.1%}", _duration(p.seconds), _duration(p.left), p.error,
        ]
        for p in points
    ]  # fmt: skip
    columns = ["point", "state", "notebook", "iteration", "validation rank-1", "rank-1", "time", "left", "error"]
    return pd.DataFrame(rows, columns=columns).set_index("point")


def summary(points: list[Status], left: float | None) -> str:
    """One line: how many are done, and how long it still takes."""
    counts = {state: sum(p.state == state for p in points) for state in (DONE, RUNNING, WAITING, FAILED, STOPPED)}
    said = ", ".join(f"{n} {state}" for state, n in counts.items() if n)
    return f"{said} of {len(points)}" + (f"; about {_duration(left)} left" if left else "")


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"


def live_table() -> Callable[[list[Status], float | None], None]:
    """What shows the points while they run: a table that is drawn anew in a notebook or terminal, else a line a change."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if hasattr(shell, "kernel"):
        from IPython.display import HTML, display

        handle = display(HTML(""), display_id=True)

        def update(points: list[Status], left: float | None) -> None:
            rows = table(points).reset_index().to_html(index=False, border=0)
            handle.update(HTML(f"{rows}<p>{summary(points, left)}</p>"))

        return update
    return _TerminalTable() if sys.stdout.isatty() else _Lines()


class _TerminalTable:
    """Draws the table over the one before; of more points than lines, those that run come first."""

    def __init__(self):
        self.height = 0

    def __call__(self, points: list[Status], left: float | None) -> None:
        size = shutil.get_terminal_size()
        order = (RUNNING, FAILED, STOPPED, WAITING, DONE)
        most = max(size.lines - 4, 1)
        chosen = points if len(points) <= most else sorted(points, key=lambda p: order.index(p.state))[:most]
        shown = table(chosen).reset_index().drop(columns="error")
        shown["point"] = shown["point"].str.ljust(shown["point"].str.len().max())
        lines = [line[: size.columns - 1] for line in shown.to_string(index=False, justify="left").splitlines()]
        lines += [f"  {p.name}: {p.error}"[: size.columns - 1] for p in points if p.error][: size.lines - 2 - len(lines)]
        lines.append(summary(points, left))
        up = f"\x1b[{self.height}F" if self.height else ""
        sys.stdout.write(up + "".join(f"\x1b[K{line}\n" for line in lines) + "\x1b[J")
        sys.stdout.flush()
        self.height = len(lines)


class _Lines:
    """For logs: a line each time a point begins or ends."""

    def __init__(self):
        self.before: dict[str, str] = {}

    def __call__(self, points: list[Status], left: float | None) -> None:
        for p in points:
            if self.before.get(p.name, WAITING) != p.state:
                rank1 = "" if p.rank1 is None else f", rank-1 {p.rank1:.1%}"
                said = f" after {_duration(p.seconds)}{rank1}" if p.state == DONE else f": {p.error}" if p.error else ""
                print(f"{p.name} {p.state}{said} ({summary(points, left)})", flush=True)
            self.before[p.name] = p.state
