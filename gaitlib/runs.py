"""The runs in reports/: what there is, what it takes on the disk, what can go, and whether a run repeats itself."""

import csv
import json
import os
import re
import shutil
import tempfile
from pathlib import Path

from filelock import FileLock, Timeout

from gaitlib import InputError
from gaitlib.reports.run import Run, flat

_STAGE = re.compile(r"[a-z]+-[0-9a-f]{16}(\.partial)?")


def find_runs(reports: str | Path = "reports") -> list[Run]:
    """All runs in a folder and in the grids in it, by name."""
    reports = Path(reports)
    found = sorted([*reports.glob("*/config.yaml"), *reports.glob("*/*/config.yaml")])
    return [Run(path.parent, path.parent.relative_to(reports).as_posix()) for path in found]


def read_json(path: Path) -> dict:
    """The keys and values of a JSON file; empty where it cannot be read."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def best_validation(run: Path) -> float | None:
    """The best rank-1 on the validation people that the training of a run saw; None where there was none."""
    try:
        with (run / "checkpoint" / "history.csv").open(newline="") as file:
            return max(float(row["validation_rank1"]) for row in csv.DictReader(file))
    except (OSError, ValueError, KeyError):
        return None


def size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    return sum(p.stat().st_size for p in ([path] if path.is_file() else path.rglob("*")) if p.is_file() and not p.is_symlink())


def megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"


# --------------------------------------------------------------------------------------------------------------- tidying


def what_can_go(reports: str | Path, cache: str | Path, *, keep_best: bool) -> list[Path]:
    """What `gaitlib clean` deletes: stages in the cache that nobody makes just now; they are made again when they are needed.

    keep_best: also the weights and training states of finished runs, but those of the best run of each data set and protocol,
    by the validation people. Their numbers and pages stay.
    """
    going = [path for path in sorted(Path(cache).glob("*")) if _STAGE.fullmatch(path.name) and not _is_being_made(path)]
    if keep_best:
        best: dict[tuple, Run] = {}
        runs = [run for run in find_runs(reports) if not run.problem and run.is_finished and run.validation is not None]
        for run in runs:
            kind = run.content.get("protocol"), run.provenance.get("data_fingerprint")
            best[kind] = max(best.get(kind, run), run, key=lambda r: r.validation)
        kept = {run.folder for run in best.values()}
        lesser = [run.folder / "checkpoint" for run in runs if run.folder not in kept]
        weights = [folder / name for folder in lesser for name in ("model.safetensors", "state.pt")]
        going += [path for path in weights if path.is_file()]
    return going


def _is_being_made(stage: Path) -> bool:
    lock = stage.parent / "locks" / f"{stage.name.removesuffix('.partial')}.lock"
    if not lock.is_file():
        return False
    try:
        with FileLock(lock, timeout=0):
            return False
    except Timeout:
        return True


def delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


# -------------------------------------------------------------------------------------------------------------- repeating


def rerun(
    run: str | Path, *, data: str = "", name: str = "", reports: str = "reports", cache: str = "cache"
) -> tuple[Path, list[str]]:
    """Repeat a run from its folder alone, with no cached stage; returns the new run folder, and a line for each number that
    differs.

    data: the data set folder, where the run was not of the embedded walkers and no folder in data/ has its fingerprint.
    The number of threads is that of the first time: sums in another order differ in the last digit.
    Raises InputError where the folder holds no whole run, the data set is another one, or the protocol has changed.
    """
    import torch

    from gaitlib.config import load_config
    from gaitlib.data.protocol import Protocol
    from gaitlib.experiment import CHAPTERS, Experiment, run_experiment

    folder = Path(run)
    before, facts = read_json(folder / "metrics.json"), read_json(folder / "provenance.json")
    chapters = tuple(chapter for chapter in CHAPTERS if chapter in facts.get("stage_seconds", {}))
    if not before or "02_training" not in chapters:
        raise InputError(f"{folder} holds no finished run with a training to repeat; it needs metrics.json and provenance.json.")
    name = name or f"{folder.name}-again"
    if (Path(reports) / name).exists():
        raise InputError(f"{Path(reports) / name} exists; give another --name.")
    wanted = facts["data_fingerprint"]
    known = {read_json(path).get("fingerprint"): path.parent for path in Path("data").glob("*/dataset.json")}
    data = data or str(known.get(wanted, ""))
    if threads := facts["hardware"].get("threads"):
        os.environ["OMP_NUM_THREADS"] = str(threads)
        torch.set_num_threads(threads)
    Path(cache).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="rerun-", dir=cache) as fresh:
        settings = load_config(folder / "config.yaml")
        experiment = Experiment(settings, Path(data) if data else None, Path(fresh), Path())
        known = facts.get("protocol")
        if known and (changed := differences(Protocol(**known).content, experiment.protocol.content)):
            raise InputError(
                f"The protocol {settings.protocol} has changed since {folder} was made ({'; '.join(changed)}); change it back."
            )
        found = experiment.dataset.fingerprint
        if found != wanted:
            which = data or "the embedded walkers of this version"
            raise InputError(
                f"{folder} was made of data {wanted[:12]}, and {which} are {found[:12]}; give its folder with --data."
            )
        again = run_experiment(str(folder / "config.yaml"), data=data, name=name, reports=reports, cache=fresh, chapters=chapters)
    return again, differences(before, read_json(again / "metrics.json"))


def differences(before: dict, after: dict) -> list[str]:
    """A line for each number of two metrics.json that is not the same: "rank1.NM: 0.91 -> 0.92"."""
    old, new = dict(flat(before)), dict(flat(after))
    return [f"{key}: {old.get(key)} -> {new.get(key)}" for key in {**old, **new} if old.get(key) != new.get(key)]


def circumstances(before: dict, after: dict) -> list[str]:
    """What was not the same around two runs, from their provenance.json: code, versions, processor, threads."""
    told = ("commit", "dirty", "protocol", "versions", "hardware")
    return differences({k: before.get(k) for k in told}, {k: after.get(k) for k in told})


# ------------------------------------------------------------------------------------------------------------------- page


def write_runs_page(reports: str | Path = "reports") -> Path:
    """Write index.html over all runs in a folder; returns its path."""
    from gaitlib.reports.html import write_overview

    reports = Path(reports)
    grids = [path.parent.name for path in sorted(reports.glob("*/grid.json"))]
    write_overview(reports / "index.html", [(run, megabytes(size(run.folder))) for run in find_runs(reports)], grids)
    return reports / "index.html"
