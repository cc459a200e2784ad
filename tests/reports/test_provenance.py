"""Fingerprints do not depend on order, checkout or machine; the provenance names neither person nor place."""

import getpass
import json
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from gaitlib.reports import provenance as module
from gaitlib.reports.provenance import code_fingerprint, fingerprint, provenance


def test_a_fingerprint_depends_on_the_content_alone():
    assert fingerprint({"a": 1, "b": [2, 3]}) == fingerprint({"b": (2, 3), "a": np.int64(1)})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})
    # echo -n '{"a":1}' | sha256sum
    assert fingerprint({"a": 1}) == "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"


def test_code_has_the_same_fingerprint_in_every_checkout(tmp_path, monkeypatch):
    for folder, newline in (("one", "\n"), ("two", "\r\n")):
        (tmp_path / folder / "data").mkdir(parents=True)
        for name in ("data/a.py", "data/b.js", "skeleton.py"):
            (tmp_path / folder / name).write_bytes(f"x = 1{newline}# {name}{newline}".encode())
        (tmp_path / folder / "data" / "__pycache__").mkdir()
        (tmp_path / folder / "data" / "__pycache__" / "a.pyc").write_bytes(folder.encode())
    monkeypatch.setattr(module, "_PACKAGE", tmp_path / "one")
    one = code_fingerprint(["data", "skeleton"])
    assert one == code_fingerprint(["gaitlib.skeleton", "data/a.py", "data"])
    assert one != code_fingerprint(["data"])
    monkeypatch.setattr(module, "_PACKAGE", tmp_path / "two")
    assert code_fingerprint(["data", "skeleton"]) == one
    (tmp_path / "two" / "data" / "a.py").write_text("x = 2\n")
    assert code_fingerprint(["data", "skeleton"]) != one


def test_a_part_that_does_not_exist_is_an_error():
    with pytest.raises(ValueError, match="nothing_such"):
        code_fingerprint(["nothing_such"])


def test_provenance_says_what_ran_but_not_who_or_where():
    found = provenance(
        config={"data": "/somewhere/private"},
        protocol={"name": "p"},
        data_fingerprint="f" * 64,
        seed=7,
        stage_seconds={"train": 60, "evaluate": 30},
    )
    assert found["config_fingerprint"] == fingerprint({"data": "/somewhere/private"})
    assert (found["data_fingerprint"], found["seed"]) == ("f" * 64, 7)
    assert {"python", "torch", "numpy", "pandas", "orjson"} <= set(found["versions"])
    assert "pytest" not in found["versions"]
    assert found["hardware"]["cores"] >= 1
    start = datetime.fromisoformat(found["start"])
    assert start.utcoffset() is not None
    assert abs(datetime.now(UTC) - start - timedelta(seconds=90)) < timedelta(seconds=30)
    text = json.dumps(found)
    for private in ("/somewhere", str(Path.home()), socket.gethostname(), str(Path(module.__file__).parent)):
        assert len(private) < 4 or private not in text
    assert f'"{getpass.getuser()}"' not in text


def test_there_need_not_be_a_git(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_PACKAGE", tmp_path)
    assert module._commit() == (None, None)
    monkeypatch.setenv("PATH", "")
    assert module._commit() == (None, None)
