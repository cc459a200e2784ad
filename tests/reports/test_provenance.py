"""The provenance says what ran, and names neither person nor place."""

import getpass
import json
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gaitlib.fingerprints import fingerprint
from gaitlib.reports import provenance as module
from gaitlib.reports.provenance import provenance


def test_provenance_says_what_ran_but_not_who_or_where():
    found = provenance(
        config={"data": "/somewhere/private"},
        protocol={"name": "p"},
        data={"name": "d", "synthetic": False, "citation": "c"},
        data_fingerprint="f" * 64,
        seed=7,
        stage_seconds={"train": 60, "evaluate": 30},
    )
    assert found["config_fingerprint"] == fingerprint({"data": "/somewhere/private"})
    assert (found["data_fingerprint"], found["seed"], found["data"]["name"]) == ("f" * 64, 7, "d")
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
