"""A file appears whole or not at all."""

import os

import pytest

from gaitlib.files import replacing


def test_what_was_written_takes_the_place(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("old")
    with replacing(path) as part:
        part.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["x.txt"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_a_failure_keeps_the_old_file(tmp_path, error, monkeypatch):
    path = tmp_path / "x.txt"
    path.write_text("old")

    def fail(*_):
        raise error

    def write(then=lambda: None):
        with replacing(path) as part:
            part.write_text("half")
            then()

    with pytest.raises(type(error)):
        write(fail)
    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(type(error)):
        write()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["x.txt"]


def test_two_writers_do_not_meet(tmp_path):
    path = tmp_path / "x.txt"
    with replacing(path) as one, replacing(path) as other:
        one.write_text("one")
        other.write_text("other")
    assert path.read_text() == "one"
