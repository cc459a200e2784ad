"""The order of files, and what is passed over."""

import os

import pytest

from gaitlib import InputError
from gaitlib.poses.formats.files import folders_with, in_order


def test_natural_order():
    assert in_order(["f10", "f9", "10", "9", "f"]) == ["9", "10", "f", "f9", "f10"]
    assert in_order(["9" * 5000, "1" * 5000]) == ["1" * 5000, "9" * 5000]


def test_hidden_files_and_links_back_are_passed_over(tmp_path):
    for name in (".a/1.json", "b/.1.json", "b/2.json", "b/3.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "b" / "back").symlink_to(tmp_path)
    assert list(folders_with(tmp_path, (".json",))) == [(("b",), ["2.json"])]


def test_folders_that_cannot_be_read_or_lie_too_deep_are_told(tmp_path, monkeypatch):
    (tmp_path / "a" / "b").mkdir(parents=True)
    scandir = os.scandir

    def refusing(folder):
        if str(folder).endswith("b"):
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    with monkeypatch.context() as changed:
        changed.setattr(os, "scandir", refusing)
        with pytest.raises(InputError, match="b cannot be read: you have no permission to read it"):
            list(folders_with(tmp_path, (".json",)))
    deep = tmp_path.joinpath(*"abcdefghijkl")
    deep.mkdir(parents=True)
    (deep / "1.json").touch()
    assert list(folders_with(tmp_path, (".json",))) == [(tuple("abcdefghijkl"), ["1.json"])]
    (deep / "m").mkdir()
    with pytest.raises(InputError, match="l has folders nested more than 12 deep"):
        list(folders_with(tmp_path, (".json",)))
