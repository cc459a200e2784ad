"""Many runs from one file: each point of a grid in its own process and folder, on this machine or on a dask cluster.

Everything about a grid is in its folder, so that it can be stopped, killed and continued: grid.json (its configuration), a run
folder for each point with its progress (see progress.py), and logs/ with the output of each point.
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
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import astuple, dataclass, replace
from itertools import product
from math import prod
from pathlib import Path
from typing import Literal, NamedTuple

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from tqdm import tqdm

from gaitlib import InputError, Interrupted, networks, progress
from gaitlib.config import Config, config_folder, load_config, read_yaml, resolve, root, workspace
from gaitlib.experiment import Experiment
from gaitlib.files import Unreadable, check_name, is_taken, locked, read_json, write_text
from gaitlib.fingerprints import fingerprint
from gaitlib.notebooks import CHAPTERS, run_experiment
from gaitlib.reports.run import Run
from gaitlib.stages import StageFailed, Stages

#: Seconds between two looks at the points.
LOOK_EVERY = 0.5
#: Points of one grid; with more, some axis is a mistake.
MOST_POINTS = 10_000
RUNNING, FAILED, STOPPED, WAITING, DONE = "running", "failed", "stopped", "waiting", "done"
IN_GOOD_ORDER, AT_ONCE = "in good order", "at once"  # the content of the file logs/stop, if there is one

_UNSAFE = re.compile(r"[^\w.+-]+")  # in a value that becomes part of the name of a folder


class _File(BaseModel):
    """The content of a grid file."""

    model_config = ConfigDict(extra="forbid")
    base: str  # a configuration
    data: str = ""  # a data set folder; empty: the embedded walkers
    set: dict = {}  # keys to change at every point
    axes: dict[str, list | dict[str, dict]] = Field(min_length=1)
    leave_out: list[dict] = []  # points that match one of these are not run
    baseline: dict = {}  # axis: value, to compare the others with; default: the first value of each axis
    notebooks: list[Literal[CHAPTERS]] = Field(list(CHAPTERS), min_length=1)


class Point(NamedTuple):
    """One run of a grid. labels: axis -> its value as text. fingerprint: of its configuration, as provenance.json has it."""

    name: str
    labels: dict[str, str]
    config: Config
    fingerprint: str


@dataclass(frozen=True)
class Grid:
    """The points of a grid file.

    axes: axis -> its values as text, in the file's order. baseline: a value of each but seed. data: a folder, or "".
    """

    name: str
    axes: dict[str, list[str]]
    points: list[Point]
    baseline: dict[str, str]
    data: str
    notebooks: list[str]

    @classmethod
    def load(cls, path: str | Path, *, base: str = "", data: str = "", overrides: Sequence[str] = ()) -> "Grid":
        """Read a grid file; it and the files it names are looked up in the working folder, then in the root of the repository.

        base, data: instead of those in the file; overrides: "key=value" for every point, which win over all else.
        An axis is a key of the configuration with a list of values, `arm` with names of files in configs/ (such as peers/gaittr),
        or any name with a table of variants, each with the keys it changes. Later ones win: default.yaml, base, arm, set, the
        other axes.
        Raises InputError for an unknown axis, key or value, a name that no folder can have, and two equal points.
        """
        path = _found(path)
        file = _checked(path)
        file = file.model_copy(update={key: value for key, value in {"base": base, "data": data}.items() if value})
        axes = {axis: [_label(value) for value in values] for axis, values in file.axes.items()}
        compared = {axis: labels for axis, labels in axes.items() if axis != "seed"}
        _check_rule(f"{path}, baseline", file.baseline, compared)
        for rule in file.leave_out:
            _check_rule(f"{path}, leave_out", rule, axes)
        points, names = {}, {}  # by name; by what they are made of
        for values in product(*file.axes.values()):
            chosen = dict(zip(axes, values, strict=True))
            labels = {axis: _label(value) for axis, value in chosen.items()}
            if any(all(labels[axis] in _labels(value) for axis, value in rule.items()) for rule in file.leave_out):
                continue
            name = "_".join(f"{axis.rpartition('.')[2]}-{_UNSAFE.sub('-', label)}" for axis, label in labels.items())
            config = load_config(_found(file.base), overrides, _layers(path, file, chosen))
            point = Point(check_name(name, f"{path}, a point"), labels, config, fingerprint(config.model_dump(mode="json")))
            if name in points:
                raise InputError(f"{path}: two points are called {name}; leave out one of the values that are alike.")
            if (same := names.setdefault(point.fingerprint, name)) != name:
                raise InputError(f"{path}: the points {same} and {name} are the same configuration; leave out one.")
            points[name] = point
        if not points:
            raise InputError(f"{path}: leave_out leaves no point.")
        baseline = {axis: _label(file.baseline.get(axis, labels[0])) for axis, labels in compared.items()}
        data = str(_found(file.data).absolute()) if file.data else ""
        return cls(path.stem, axes, list(points.values()), baseline, data, file.notebooks)


def _found(path: str | Path) -> Path:
    """A file or folder, relative to the working folder or, if it is not there, to the root of the repository."""
    there = root() / path
    return there if os.path.exists(there) and not os.path.exists(path) else Path(path)


def _checked(path: Path) -> _File:
    """The content of a grid file, after checking that its names suit folders and that its points are not too many."""
    if not os.path.isfile(path):
        raise InputError(f"There is no grid {path}; configs/grids/ has some to begin with.")
    try:
        file = _File(**read_yaml(path))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"] if part not in ("list[any]", "dict[str,dict[any,any]]"))
        if first["type"] == "extra_forbidden":
            near = difflib.get_close_matches(key, _File.model_fields, 1, 0)[0]
            raise InputError(f"{path}: a grid file has no {key!r}; the nearest is {near!r}.") from None
        raise InputError(f"{path}: {key}: {first['msg']}.") from None
    for axis, values in file.axes.items():
        check_name(axis, f"{path}, axes")
        if not values:
            raise InputError(f"{path}: axis {axis} has no value.")
        for variant in values if isinstance(values, dict) or axis == "arm" else ():
            for part in variant.split("/") if axis == "arm" and isinstance(variant, str) else [variant]:
                check_name(part, f"{path}, axis {axis}")
    if (points := prod(len(values) for values in file.axes.values())) > MOST_POINTS:
        raise InputError(f"{path} has {points:,} points, but at most {MOST_POINTS:,} are run; remove an axis or some values.")
    return file


def _check_rule(where: str, rule: dict, axes: dict[str, list[str]]) -> None:
    for axis, value in rule.items():
        if axis not in axes:
            raise InputError(f"{where}: there is no axis {axis!r}; the axes are {', '.join(axes)}.")
        if unknown := set(_labels(value)) - set(axes[axis]):
            raise InputError(f"{where}: {axis} has no value {min(unknown)!r}; it has {', '.join(axes[axis])}.")


def _layers(path: Path, file: _File, chosen: dict) -> Iterator[tuple[str, dict]]:
    """The layers over the base for a point: (what to call it in an error, keys and values)."""
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
    """The values of a rule: one, or a list of them; [[pose, motion]] is a single value that is a list."""
    return [_label(v) for v in value] if isinstance(value, list) else [_label(value)]


@dataclass(frozen=True)
class Status:
    """The status of a point. notebook: "2/4 training". validation, rank1: shares, on validation people so far and on test people.

    seconds: since it began, or for a finished point the total of its notebooks; left: seconds left of its training.
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


def is_done(folder: Path, config: str) -> bool:
    """Whether a run folder holds a finished run of the configuration with this fingerprint."""
    run = Run(folder)
    finished = run.is_finished and not progress.read(folder) and not run.problem
    return finished and run.provenance.get("config_fingerprint") == config


def status(folder: Path, name: str, config: str, *, running: bool = False) -> Status:
    """The status of a point of the grid in `folder`, from its files alone.

    config: its fingerprint. running: whether a process works on it, so that an earlier end does not count.
    """
    run, stands = Run(folder / name), progress.read(folder / name)
    if not stands:
        done = is_done(run.folder, config)
        return Status(name, DONE, "", "", run.validation, run.rank1(), run.seconds) if done else Status(name)
    iteration = f"{stands.iteration}/{stands.iterations}" if stands.iteration else ""
    found = Status(name, WAITING, stands.chapter, iteration, stands.validation)
    if running and stands.began:
        return replace(found, state=RUNNING, seconds=max(time.time() - stands.began, 0), left=stands.seconds_left)
    if not running and stands.error:
        return replace(found, state=STOPPED if stands.stopped else FAILED, error=stands.error)
    if not running and stands.began:
        return replace(found, state=STOPPED, error="It was killed.")
    return found


def run_point(folder: Path, name: str) -> None:
    """Run one point of the grid in `folder` in this process, which shuts down cleanly when the process that started it ends."""
    grid = read_json(folder / "grid.json")
    point, run = grid["points"][name], folder / name
    threading.Thread(target=_stop_with_the_parent, daemon=True).start()
    # an earlier process of this point that lost its parent may still be saving its state
    with locked(folder / "logs" / f"{name}.lock", lambda: print("    waiting: another process is stopping", flush=True)):
        if is_done(run, point["fingerprint"]):
            return
        try:
            run_experiment(
                resolve(point["config"], f"{folder}, point {name}"), name, data=grid["data"], reports=folder, cache=grid["cache"],
                resume=True, chapters=grid["notebooks"],
            )  # fmt: skip
            progress.finish(run)
        except BaseException as error:
            progress.fail(run, error)
            raise


def _stop_with_the_parent() -> None:
    """Ctrl-C for this process when its standard input ends, as it does when the parent dies.

    Repeated every minute: a kernel that is just starting misses the first.
    """
    while os.read(0, 1):  # not sys.stdin, which no thread may be reading when Python ends
        pass
    while True:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)


_thread = threading.local()  # .environment: for the processes that a thread of ours starts; a dask worker has none


def _run_in_a_process(base: str, folder: str, name: str, given: str) -> None:
    """Run one point in a process of its own, which the file logs/stop ends; called by a thread here or by a dask worker.

    given: the networks that the user named, as in the environment variable networks.GIVEN. The output of the process goes to
    logs/NAME.log.
    """
    run, logs = Path(folder, name), Path(folder, "logs")
    if asked := _asked_to_stop(logs):
        return
    progress.begin(run)
    with (logs / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "gaitlib.cli", "point", folder, name], cwd=base,
            env=os.environ | getattr(_thread, "environment", {}) | {progress.POINT: str(run), networks.GIVEN: given},
            stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    with process:
        while process.poll() is None:
            if asked := _asked_to_stop(logs):
                process.stdin.close()
            if asked == AT_ONCE:
                process.kill()
            time.sleep(LOOK_EVERY)
    code = process.returncode
    if code and (stands := progress.read(run)) and not stands.error:  # it could not report that itself
        said = f"killed by signal {-code}; if that was not you, memory may have run out"
        if code > 0:
            said = f"ended with exit code {code}; {logs / name}.log may say why"
        progress.fail(run, Interrupted("Stopped at once.") if asked == AT_ONCE else StageFailed(said))


def _asked_to_stop(logs: Path) -> str:
    try:
        return (logs / "stop").read_text()
    except OSError:
        return ""


def environment(slot: int, workers: int) -> dict[str, str]:
    """Environment of the process in a slot: its share of the threads and, if there are several GPUs, one of them."""
    import torch

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = int(os.environ.get("OMP_NUM_THREADS") or usable)
    chosen = {"OMP_NUM_THREADS": str(max(1, threads // workers))}
    visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(torch.cuda.device_count())))
    if gpus := [gpu for gpu in visible.split(",") if gpu]:
        chosen["CUDA_VISIBLE_DEVICES"] = gpus[slot % len(gpus)]
    return chosen


@contextmanager
def _executor(workers: int, scheduler: str) -> Iterator[Executor]:
    """Threads of ours, which share the threads of torch and the GPUs, or the workers of a dask scheduler.

    Dask workers see the same folders; if one is lost, dask gives its points to another.
    """
    if not scheduler:
        slots = [environment(slot, workers) for slot in range(workers)]
        with ThreadPoolExecutor(workers, initializer=lambda: setattr(_thread, "environment", slots.pop())) as threads:
            yield threads
        return
    try:
        from dask.distributed import Client
    except ImportError:
        raise InputError('--scheduler needs dask: pip install -e ".[cluster]".') from None
    try:
        client = Client(scheduler, timeout=5, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise InputError(f"No dask scheduler answers at {scheduler} ({type(error).__name__}); is it running?") from None
    with client:
        yield client.get_executor(pure=False)


def run_grid(
    path: str | Path, *, workers: int = 1, scheduler: str = "", name: str = "", reports: str | Path = "reports",
    cache: str | Path = "cache", resume: bool = False, show: Callable[[list[Status], float | None], None] | None = None,
    base: str = "", data: str = "", overrides: Sequence[str] = (),
) -> tuple[Path, list[Status]]:  # fmt: skip
    """Run the points of a grid file into reports/NAME/POINT/ and write reports/NAME/index.html and grid.xlsx.

    reports and cache are relative to the root of the repository, wherever the notebook runs.
    workers: processes on this machine; with `scheduler`, the address of a dask scheduler, its workers are used instead.
    show: called with the points and the seconds left whenever something may have changed; default: `live_table()`.
    base, data, overrides: as in `Grid.load`.
    Returns the folder of the grid and the status of each point. A point that fails does not stop the others.
    Raises InputError before anything is written or started; Interrupted after Ctrl-C, once the points have saved their state.
    """
    grid = Grid.load(path, base=base, data=data, overrides=overrides)
    cache, shown = workspace() / cache, Path(reports) / check_name(name or grid.name, "The grid")
    folder = workspace() / shown
    if is_taken(folder) and not (resume and folder.is_dir()):
        raise InputError(f"{shown} exists; give --resume to complete it, or another --name.")
    made_of = _made_of(grid, cache)
    if resume and folder.is_dir():
        made_of = _grown(made_of, folder, shown, path)

    def busy() -> None:
        raise InputError(f"Another process is running the grid in {shown}; wait for it, or give another --name.")

    with ExitStack() as stack:
        executor = stack.enter_context(_executor(workers, scheduler))
        try:
            stack.enter_context(locked(folder / "logs" / "grid.lock", busy))
        except OSError as error:
            why = error.strerror or error
            raise InputError(f"{folder} cannot be written ({why}); give another folder or free some space.") from None
        write_text(folder / "grid.json", json.dumps(_record(grid, made_of, cache), indent=1))
        return folder, _work(grid, folder, executor, show or live_table(), workers)


class _MadeOf(BaseModel):
    """Fingerprints of what a grid is made from: the data set ("" for the embedded walkers) and the protocols by name."""

    data: str
    protocols: dict[str, str]


def _made_of(grid: Grid, cache: Path) -> _MadeOf:
    """What the grid is made from now; InputError if data and protocols do not fit."""
    made_of = _MadeOf(data="", protocols={})
    for config in {point.config.protocol: point.config for point in grid.points}.values():
        experiment = Experiment(config, grid.data, Stages(cache), Path())
        experiment.check()
        made_of.data = experiment.dataset.fingerprint if grid.data else ""
        made_of.protocols[config.protocol] = fingerprint(experiment.protocol.content)
    return made_of


def _grown(made_of: _MadeOf, folder: Path, shown: Path, path: str | Path) -> _MadeOf:
    """What all points of a continued grid are made from: its file may have gained protocols.

    Raises InputError if the points in the folder were made from something else.
    """
    try:
        before = _MadeOf.model_validate(read_json(folder / "grid.json").get("made_of"))
    except (Unreadable, ValidationError):
        raise InputError(f"{shown} is not the folder of a grid; give another --name.") from None
    protocols = before.protocols | made_of.protocols
    changed = [name for name, known in before.protocols.items() if known != protocols[name]]
    other = "data" if before.data != made_of.data else f"contents of the protocol {changed[0]}" if changed else ""
    if other:
        raise InputError(f"The points in {shown} were made from other {other} than {path} names now; give another --name.")
    return _MadeOf(data=made_of.data, protocols=protocols)


def _record(grid: Grid, made_of: _MadeOf, cache: Path) -> dict:
    """The content of grid.json."""
    points = {
        p.name: {"labels": p.labels, "fingerprint": p.fingerprint, "config": p.config.model_dump(mode="json")}
        for p in grid.points
    }  # fmt: skip
    return {
        "axes": grid.axes, "baseline": grid.baseline, "notebooks": grid.notebooks, "data": grid.data,
        "made_of": made_of.model_dump(), "cache": str(cache), "points": points,
    }  # fmt: skip


def _work(grid: Grid, folder: Path, executor: Executor, show: Callable, workers: int) -> list[Status]:
    """Run the points that are not done; returns the status of each point."""
    (folder / "logs" / "stop").unlink(missing_ok=True)
    prints = {point.name: point.fingerprint for point in grid.points}
    found = {name: status(folder, name, config) for name, config in prints.items()}
    futures: dict[str, Future] = {}
    try:
        for name in [name for name in found if found[name].state != DONE]:
            progress.queue(folder / name)
            found[name] = Status(name)
            futures[name] = executor.submit(_run_in_a_process, str(root()), str(folder), name, os.environ.get(networks.GIVEN, ""))
        while futures:
            show(list(found.values()), seconds_left(list(found.values()), workers))
            wait(futures.values(), LOOK_EVERY, FIRST_COMPLETED)
            _look(folder, prints, futures, found)
    except KeyboardInterrupt:
        print("\nStopping; each point saves its state (Ctrl-C again to stop at once).", flush=True)
        raise Interrupted("Stopped; the same command with --resume completes the grid.") from None
    finally:
        if futures:
            _stop(folder, futures, found)
            _look(folder, prints, futures, found)
        from gaitlib.reports.compare import write_report  # slow to import, and each point is a process

        write_report(folder, found.values())
    show(list(found.values()), 0.0)
    return list(found.values())


def _look(folder: Path, prints: dict[str, str], futures: dict[str, Future], found: dict[str, Status]) -> None:
    """Update the status of the points that are still in `futures`; those that have ended are removed from it."""
    for name, future in list(futures.items()):
        ended = future.done()  # before its folder is read
        if ended:
            del futures[name]
            lost = StageFailed("the dask scheduler gave it up")
            if error := lost if future.cancelled() else future.exception():
                progress.fail(folder / name, error)
        found[name] = status(folder, name, prints[name], running=not ended)


def _stop(folder: Path, futures: dict[str, Future], found: dict[str, Status]) -> None:
    """Wait until the running points have saved their state; no other begins. A KeyboardInterrupt meanwhile kills them."""
    try:
        write_text(folder / "logs" / "stop", IN_GOOD_ORDER)
        for name in [name for name, future in futures.items() if found[name].state == WAITING and future.cancel()]:
            del futures[name]
        wait(futures.values())
    except KeyboardInterrupt:
        write_text(folder / "logs" / "stop", AT_ONCE)
        wait(futures.values(), timeout=10)


def seconds_left(points: list[Status], workers: int) -> float | None:
    """About how long the grid still takes, from the mean of the finished points; None before there is one."""
    took = [point.seconds for point in points if point.state == DONE and point.seconds is not None]
    if not took:
        return None
    mean = sum(took) / len(took)
    rest = [max(mean - (p.seconds or 0), 0) for p in points if p.state in (WAITING, RUNNING)]
    at_once = max(workers, sum(point.state == RUNNING for point in points))  # on a cluster, as many as it runs
    return max(max(rest, default=0.0), sum(rest) / at_once)


def table(points: list[Status]) -> pd.DataFrame:
    """A row per point, as the live table shows it."""
    columns = ["point", "state", "notebook", "iteration", "validation rank-1", "rank-1", "time", "left", "error"]
    shown = pd.DataFrame([astuple(point) for point in points], columns=columns)
    shares, times = ["validation rank-1", "rank-1"], ["time", "left"]
    shown[shares] = shown[shares].map(lambda share: "" if pd.isna(share) else f"{share:.1%}")
    shown[times] = shown[times].map(_time)
    return shown.set_index("point")


def summary(points: list[Status], left: float | None) -> str:
    """One line: how many are done, and how long the rest takes."""
    counts = Counter(point.state for point in points)
    said = ", ".join(f"{counts[state]} {state}" for state in (DONE, RUNNING, WAITING, FAILED, STOPPED) if counts[state])
    return f"{said} of {len(points)}" + (f"; about {_time(left)} left" if left else "")


def _time(seconds: float | None) -> str:
    return "" if pd.isna(seconds) else tqdm.format_interval(round(seconds))


def live_table() -> Callable[[list[Status], float | None], None]:
    """Shows the points while they run: a table that updates in a notebook or terminal, else a line per change."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if not hasattr(shell, "kernel"):
        return _terminal_table() if sys.stdout.isatty() else _lines()
    from IPython.display import HTML, display

    handle = display(HTML(""), display_id=True)

    def update(points: list[Status], left: float | None) -> None:
        rows = table(points).reset_index().to_html(index=False, border=0)
        handle.update(HTML(f"{rows}<p>{summary(points, left)}</p>"))

    return update


def _terminal_table() -> Callable[[list[Status], float | None], None]:
    """Draws each table over the previous one; if there are more points than lines, running ones come first."""
    height = 0

    def update(points: list[Status], left: float | None) -> None:
        nonlocal height
        size = shutil.get_terminal_size()
        order = (RUNNING, FAILED, STOPPED, WAITING, DONE)
        most = max(size.lines - 4, 1)
        chosen = points if len(points) <= most else sorted(points, key=lambda p: order.index(p.state))[:most]
        shown = table(chosen).reset_index().drop(columns="error")
        shown["point"] = shown["point"].str.ljust(shown["point"].str.len().max())
        lines = [line[: size.columns - 1] for line in shown.to_string(index=False, justify="left").splitlines()]
        lines += [f"  {p.name}: {p.error}"[: size.columns - 1] for p in points if p.error][: size.lines - 2 - len(lines)]
        lines.append(summary(points, left))
        up = f"\x1b[{height}F" if height else ""
        print(up + "".join(f"\x1b[K{line}\n" for line in lines) + "\x1b[J", end="", flush=True)
        height = len(lines)

    return update


def _lines() -> Callable[[list[Status], float | None], None]:
    """For logs: a line whenever a point begins or ends."""
    before: dict[str, str] = {}

    def update(points: list[Status], left: float | None) -> None:
        for p in points:
            if before.get(p.name, WAITING) != p.state:
                rank1 = "" if p.rank1 is None else f", rank-1 {p.rank1:.1%}"
                said = f" after {_time(p.seconds)}{rank1}" if p.state == DONE else f": {p.error}" if p.error else ""
                print(f"{p.name} {p.state}{said} ({summary(points, left)})", flush=True)
            before[p.name] = p.state

    return update
