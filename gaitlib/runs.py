"""The runs in reports/: which there are, their size on disk, what can be deleted, and whether a run can be reproduced."""

import difflib
import os
import re
import tempfile
from collections import defaultdict
from pathlib import Path

from gaitlib import InputError
from gaitlib.config import workspace
from gaitlib.data.dataset import GaitDataset
from gaitlib.networks import check_given
from gaitlib.reports.run import Run, flat
from gaitlib.stages import Stages

_STAGE = re.compile(r"[a-z]+-[0-9a-f]{16}(\.partial)?")


def find_runs(reports: Path) -> list[Run]:
    """All runs in a folder and in its grids, by name; hidden folders are runs in progress."""
    found = sorted([*reports.glob("*/config.yaml"), *reports.glob("*/*/config.yaml")])
    names = {path.parent: path.parent.relative_to(reports) for path in found}
    return [Run(folder, name.as_posix()) for folder, name in names.items() if not any(p.startswith(".") for p in name.parts)]


def find_page(run: str | Path, reports: Path) -> Path:
    """The page of a run, given by its name in the folder `reports` or by its own folder; InputError if there is none."""
    folders = [folder for folder in (Path(run), reports / run) if folder.is_dir()]
    pages = [folder / "index.html" for folder in folders if (folder / "index.html").is_file()]
    if pages:
        return pages[0]
    if folders:
        raise InputError(f"{os.path.relpath(folders[0])} has no page; `gaitlib run` writes it when a run is complete.")
    near = difflib.get_close_matches(str(run), [found.name for found in find_runs(reports)], 1)
    hint = f"did you mean {near[0]}?" if near else "`gaitlib runs` lists the runs there are."
    raise InputError(f"There is no run {run}; {hint}")


def size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder; links do not count."""
    files = [path] if path.is_file() else path.rglob("*")
    return sum(p.stat().st_size for p in files if p.is_file() and not p.is_symlink())


def megabytes(count: int) -> str:
    """Bytes in words: "1.2 MB"."""
    return f"{count / 1e6:,.1f} MB"


def what_can_go(reports: Path, stages: Stages, *, keep_best: bool) -> list[Path]:
    """What `gaitlib clean` deletes: cached stages that nobody is making; they are recomputed when needed.

    keep_best: also the weights and training states of finished runs, except of the run with the best validation rank-1 of each
    data set and protocol. Numbers and pages stay. Whatever is behind a link or cannot be read is not deleted.
    """
    cached = sorted(path for path in stages.cache.glob("*") if _STAGE.fullmatch(path.name) and not path.is_symlink())
    return [path for path in cached if not stages.is_in_use(path)] + (_lesser_weights(reports) if keep_best else [])


def _lesser_weights(reports: Path) -> list[Path]:
    runs = [run for run in find_runs(reports) if run.is_finished and not run.problem and run.validation is not None]
    alike = defaultdict(list)
    for run in runs:
        alike[run.content.get("protocol"), run.data].append(run)
    kept = {max(group, key=lambda run: run.validation).folder.resolve() for group in alike.values()}
    lesser = [run.folder / "checkpoint" for run in runs if run.folder.resolve() not in kept]
    weights = [folder / name for folder in lesser for name in ("model.safetensors", "state.pt")]
    return [path for path in weights if path.is_file() and not _has_link(path, reports)]


def _has_link(path: Path, top: Path) -> bool:
    """Whether a file, or a folder on the way from `top` to it, is a link."""
    return any(p.is_symlink() for p in (path, *path.parents) if p != top and p.is_relative_to(top))


def delete(path: Path, stages: Stages) -> bool:
    """Delete a path that `what_can_go` listed, unless somebody has begun to make it; returns whether it was deleted."""
    if path.is_dir():
        return stages.delete(path)
    path.unlink(missing_ok=True)
    return True


def rerun(
    folder: str | Path, *, data: str = "", name: str = "", reports: str = "reports", cache: str = "cache"
) -> tuple[Run, list[str]]:
    """Repeat a run from its folder alone, without the cache; returns the new run and a line for each number that differs.

    data: the data set folder, if the run did not use the embedded walkers and no folder in data/ has its fingerprint.
    The number of threads is the same as before: sums in another order differ in the last digit.
    Raises InputError if the folder holds no complete run, names a network that the user did not give, the data set is another
    one, or the protocol has changed.
    """
    import torch

    from gaitlib.experiment import Experiment
    from gaitlib.notebooks import CHAPTERS, run_experiment

    before = Run.open(folder)
    chapters = [chapter for chapter in CHAPTERS if chapter in before.provenance["stage_seconds"]]
    if "02_training" not in chapters:
        raise InputError(f"{folder} holds no training to repeat; give a run made by `gaitlib run`.")
    check_given(before.config.model.network, folder)
    data = data or _known_data(before.data)
    if threads := before.provenance.get("hardware", {}).get("threads"):
        os.environ["OMP_NUM_THREADS"] = str(threads)
        torch.set_num_threads(threads)
    (workspace() / cache).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="rerun-", dir=workspace() / cache) as fresh:
        experiment = Experiment(before.config, data, Stages(Path(fresh)), Path())
        if changed := differences(before.protocol.content, experiment.protocol.content):
            said = f"The protocol {experiment.protocol.name} has changed since {folder} was made"
            raise InputError(f"{said} ({'; '.join(changed)}); change it back.")
        if (found := experiment.dataset.fingerprint) != before.data:
            which = data or "the embedded walkers of this version"
            raise InputError(
                f"{folder} was made from data {before.data[:12]}, but {which} are {found[:12]}; give its folder with --data."
            )
        again = run_experiment(
            before.config, name or f"{before.name}-again", data=data, reports=reports, cache=fresh, chapters=chapters
        )
    made = Run(again)
    return made, differences(before.metrics, made.metrics, added=False)


def _known_data(fingerprint: str) -> str:
    """The folder in data/ that holds the data set with this fingerprint; empty if there is none."""
    for path in sorted((workspace() / "data").glob("*/dataset.json")):
        try:
            if GaitDataset.open(path.parent).fingerprint == fingerprint:
                return str(path.parent)
        except InputError:
            continue
    return ""


def differences(before: dict, after: dict, *, added: bool = True) -> list[str]:
    """A line for each number that differs between two metrics.json: "rank1.NM: 0.91 -> 0.92".

    added: whether a number that `before` does not have counts; an older version may not have measured it.
    """
    old, new = dict(flat(before)), dict(flat(after))
    keys = {**old, **new} if added else old
    return [f"{key}: {old.get(key)} -> {new.get(key)}" for key in keys if old.get(key) != new.get(key)]


def circumstances(before: Run, after: Run) -> list[str]:
    """What else differs between two runs: code, versions, processor, threads."""
    told = ("commit", "dirty", "protocol", "versions", "hardware")
    return differences(*({key: run.provenance.get(key) for key in told} for run in (before, after)))


def write_runs_page(reports: Path) -> Path:
    """Write index.html over all runs in a folder; returns its path."""
    from gaitlib.reports.html import write_overview

    grids = [path.parent.name for path in sorted(reports.glob("*/grid.json"))]
    write_overview(reports / "index.html", [(run, megabytes(size(run.folder))) for run in find_runs(reports)], grids)
    return reports / "index.html"
