"""Fingerprints do not depend on order, checkout, comments or docstrings, and do on all that is computed."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from gaitlib import fingerprints
from gaitlib.fingerprints import code_fingerprint, file_fingerprint, fingerprint


def test_a_fingerprint_depends_on_the_content_alone():
    assert fingerprint({"a": 1, "b": [2, 3]}) == fingerprint({"b": (2, 3), "a": np.int64(1)})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})
    # echo -n '{"a":1}' | sha256sum
    assert fingerprint({"a": 1}) == "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"


def test_that_of_a_file(tmp_path):
    (tmp_path / "x").write_bytes(b'{"a":1}')
    assert file_fingerprint(tmp_path / "x") == fingerprint({"a": 1})


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package in place of gaitlib: name of a file -> its text."""
    files = {
        "__init__.py": "", "data/__init__.py": "", "model/__init__.py": "",
        "skeleton.py": '"""Joints."""\nJOINTS = 15\n',
        "data/walkers.py": "from gaitlib.skeleton import JOINTS\n\n\ndef make():\n    from gaitlib.data import noise\n",
        "data/noise.py": 'def noise():\n    """Nothing but this."""\n',
        "model/net.py": "import gaitlib.skeleton\n",
    }  # fmt: skip

    def write(**changes):
        code_fingerprint.cache_clear()
        shutil.rmtree(tmp_path / "package", ignore_errors=True)
        for name, text in {**files, **{k.replace("__", "/") + ".py": v for k, v in changes.items()}}.items():
            path = tmp_path / "package" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode())

    monkeypatch.setattr(fingerprints, "_PACKAGE", tmp_path / "package")
    write()
    yield write
    code_fingerprint.cache_clear()


@pytest.mark.parametrize(
    ("changes", "counts"),
    [
        ({"skeleton": '"""Other words."""\n\n# A comment.\nJOINTS   = 15  # another\r\n'}, False),
        ({"data__noise": 'def noise():\n    """Other words."""\n'}, False),
        ({"model__net": "import gaitlib.skeleton\n\nWIDTH = 3\n"}, False),  # is not imported
        ({"skeleton": "JOINTS = 16\n"}, True),
        ({"data__noise": "def noise():\n    return 1\n"}, True),  # is imported within a function
    ],
)
def test_what_counts_in_code(package, changes, counts):
    before = code_fingerprint("gaitlib.data.walkers")
    package(**changes)
    assert (code_fingerprint("gaitlib.data.walkers") != before) == counts


def test_a_module_that_does_not_exist_is_an_error():
    with pytest.raises(ValueError, match="nothing_such"):
        code_fingerprint("gaitlib.nothing_such")


def test_formats_do_not_decide_a_training():
    """A comment in a reader of files made every training anew."""
    found = []
    original = fingerprints._source

    def seen(module):
        found.append(module)
        return original(module)

    fingerprints._source = seen
    try:
        code_fingerprint.__wrapped__("gaitlib.training")
    finally:
        fingerprints._source = original
    modules = {module for module in found if original(module)}
    assert {"gaitlib.training", "gaitlib.model.autoencoder", "gaitlib.data.preprocess"} <= modules
    assert not [module for module in modules if module.startswith(("gaitlib.poses", "gaitlib.reports", "gaitlib.display"))]
    assert Path(original("gaitlib.training")).name == "training.py"
