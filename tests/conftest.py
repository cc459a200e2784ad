"""What tests share: a small run of all four notebooks, and a working folder with its cache.

`make test` runs the tests of the browser by themselves, after all others, which share the cores (pytest-xdist); the small run is
then kept between the two in the folder that the environment variable GAITLIB_SMALL_RUN names.
"""

import os
import shutil
from pathlib import Path

import pytest

from tests import small_run as small

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch starts: threads that spin are slow beside other work


@pytest.fixture(scope="session")
def small_settings():
    """What the small run changes in configs/quick.yaml."""
    return list(small.SMALL)


@pytest.fixture(scope="session")
def small_run(tmp_path_factory):
    """The run folder reports/small; its cache is the folder `cache` beside reports."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    return small.small_run(Path(os.environ.get("GAITLIB_SMALL_RUN") or shared))


@pytest.fixture
def workbook(small_run, tmp_path, monkeypatch):
    """The working folder of the test, laid out as a clone: copies of configs/ and notebooks/, and the small run's cache."""
    for name in ("configs", "notebooks"):
        shutil.copytree(small.ROOT / name, tmp_path / name)
    (tmp_path / "cache").symlink_to(small_run.parents[1] / "cache", target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path
