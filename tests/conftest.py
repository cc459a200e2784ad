"""One small run of all four notebooks, made once: a real report with its cache.

`make test` runs the tests of the browser by themselves, after all others, which share the cores (pytest-xdist); the small run is
then kept between the two in the folder that the environment variable GAITLIB_SMALL_RUN names.
"""

import os
import shutil
from pathlib import Path

import pytest
from filelock import FileLock

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch starts: threads that spin are slow beside other work
ROOT = Path(__file__).parents[1]
SMALL = [
    "training.iterations=4", "training.validate_every=2", "walkers.subjects=44", "training.people=4",
    "training.walks_per_person=2", "evaluation.bootstrap=100", "evaluation.stride=64", "evaluation.mirrored=false",
]  # fmt: skip


@pytest.fixture(scope="session")
def small_settings():
    """What the small run changes in configs/quick.yaml."""
    return list(SMALL)


@pytest.fixture(scope="session")
def small_run(tmp_path_factory):
    """The run folder reports/small of a few iterations on 44 walkers; its cache is the folder `cache` beside reports."""
    from gaitlib.experiment import run_experiment

    base = tmp_path_factory.getbasetemp()
    folder = Path(os.environ.get("GAITLIB_SMALL_RUN") or (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base)) / "small"
    made = folder / "reports" / "small"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):
        if not (folder / "complete").exists():
            before = Path.cwd()
            os.chdir(ROOT)
            try:
                run_experiment("configs/quick.yaml", SMALL, name="small", reports=made.parent, cache=folder / "cache")
            finally:
                os.chdir(before)
            (folder / "complete").touch()
    return made.resolve()


@pytest.fixture
def workbook(small_run, tmp_path, monkeypatch):
    """The working folder of the test, laid out as a clone: copies of configs/ and notebooks/, and the small run's cache."""
    for name in ("configs", "notebooks"):
        shutil.copytree(ROOT / name, tmp_path / name)
    (tmp_path / "cache").symlink_to(small_run.parents[1] / "cache", target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path
