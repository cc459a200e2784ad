"""What tests share: a small run of all four notebooks, and a working folder with its cache.

The small run is made once, by the first test that asks for it, or lies in the folder that the environment variable
GAITLIB_SMALL_RUN names.
"""

import errno
import os
from pathlib import Path

import pytest

from tests import small_run as small

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the last digits depend on how many there are; tests share the processors
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch starts: threads that spin are slow beside other work

TESTS = Path(__file__).parent
#: Where several processes share the tests, a file is one process's, and the last is waited for: those that take longest begin.
#: The first two need no small run, which is still being made when they begin (.ci/run).
LONGEST = (
    "test_grid.py", "notebooks/test_casia_b.py", "browser/test_lab.py", "notebooks/test_run.py", "test_interruptions.py",
    "test_training.py", "browser/test_report.py", "notebooks/test_names.py", "test_arms.py", "browser/test_player.py",
    "model/peers/test_every_peer.py", "notebooks/test_own_network.py",
    "model/test_export.py", "model/test_objective.py", "browser/test_embedder.py", "poses/test_damaged_files.py",
)  # fmt: skip


def pytest_collection_modifyitems(items):
    assert all((TESTS / name).is_file() for name in LONGEST)
    order = {TESTS / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path, len(order)))


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
    small.lay_out(tmp_path)
    (tmp_path / "cache").symlink_to(small_run.parents[1] / "cache", target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def forbid(monkeypatch):
    """forbid(path): opening the file is refused, also to root, whom no permission keeps out."""

    def forbid(path):
        def refuse(name, *arguments, **others):
            if str(name) == str(path):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            return original(name, *arguments, **others)

        original = os.open
        monkeypatch.setattr(os, "open", refuse)

    return forbid
