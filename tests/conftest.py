"""One small run of all four notebooks, made once a session: a real report with its cache."""

import os
import shutil
from pathlib import Path

import pytest

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

    folder = tmp_path_factory.mktemp("small")
    before = Path.cwd()
    os.chdir(ROOT)
    try:
        run = run_experiment("configs/quick.yaml", SMALL, name="small", reports=folder / "reports", cache=folder / "cache")
        return run.resolve()
    finally:
        os.chdir(before)


@pytest.fixture
def workbook(small_run, tmp_path, monkeypatch):
    """The working folder of the test, laid out as a clone: copies of configs/ and notebooks/, and the small run's cache."""
    for name in ("configs", "notebooks"):
        shutil.copytree(ROOT / name, tmp_path / name)
    (tmp_path / "cache").symlink_to(small_run.parents[1] / "cache", target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path
