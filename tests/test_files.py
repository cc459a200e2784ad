"""Files appear whole or not at all; what comes from elsewhere is read with limits."""

import os
import re
from pathlib import Path

import numpy as np
import pytest

from gaitlib import InputError
from gaitlib.files import Unreadable, check_name, forget_pages, locked, read_array, read_arrays, read_bytes, read_json, replacing


def test_what_was_written_takes_the_place(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("old")
    with replacing(path) as part:
        part.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["x.txt"]


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="the system does not say how much of a file is in memory")
def test_what_was_read_of_a_mapped_array_is_forgotten(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(2**17))
    array = read_array(tmp_path / "x.npy", memory_map=True)

    def in_memory() -> int:
        mapping = Path("/proc/self/smaps").read_text().partition(str(tmp_path / "x.npy"))[2]
        return int(re.search(r"Rss: +(\d+) kB", mapping)[1])

    assert array.sum() == 2**16 * (2**17 - 1)
    assert in_memory() >= 1024
    forget_pages(array)
    assert in_memory() == 0
    assert array.sum() == 2**16 * (2**17 - 1)
    forget_pages(np.arange(3))


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


# -- reading


def test_what_cannot_be_read_is_said(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "text").write_bytes(b"\xff\xfe")
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "deep.json").write_text('{"a":' * 100 + "1" + "}" * 100)
    (tmp_path / "deeper.json").write_text('{"a":' * 100_000)
    for name, why in {
        "pipe": "it is not a regular file", "/dev/zero": "it is not a regular file", "loop": "too many levels of symbolic links",
        "": "it is a folder", "text": "it is not UTF-8 text", "list.json": "it holds no keys and values",
        "deep.json": "its values lie too deep within each other", "deeper.json": "it is not valid JSON",
        "none.json": "there is no such file", "none/at/all": "there is no such file", "a\0b": "embedded null byte",
        5000 * "a": "file name too long",
    }.items():  # fmt: skip
        with pytest.raises(Unreadable) as error:
            read_json(tmp_path / name)
        assert error.value.why == why
    with pytest.raises(Unreadable, match="it has 0 MB, and more than 0 are not read"):
        read_bytes(tmp_path / "list.json", most=2)


def test_no_permission_is_said(tmp_path, forbid):
    (tmp_path / "x").touch()
    forbid(tmp_path / "x")
    with pytest.raises(Unreadable, match="you have no permission to read it"):
        read_bytes(tmp_path / "x")


def test_arrays_are_read_with_limits(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, np.arange(6.0).reshape(2, 3))
    assert read_array(path).shape == read_array(path, memory_map=True).shape == (2, 3)
    np.save(path, np.array([object()]), allow_pickle=True)
    with pytest.raises(Unreadable, match=r"not a complete \.npy array"):
        read_array(path)
    with path.open("r+b") as file:
        file.truncate(2**31)
    with pytest.raises(Unreadable, match="2,048 MB"):
        read_array(path, most=2**30)

    path = tmp_path / "x.npz"
    np.savez(path, a=np.arange(3), b=np.array([object()]))
    assert read_arrays(path, ("a",))["a"].tolist() == [0, 1, 2]
    for names, why in {("b",): "not a complete .npz file", ("c",): "it has no array 'c'"}.items():
        with pytest.raises(Unreadable, match=why):
            read_arrays(path, names)
    np.savez_compressed(path, a=np.zeros(10**6))
    with pytest.raises(Unreadable, match="its arrays have more than"):
        read_arrays(path, ("a",), most=2**20)


# -- names


@pytest.mark.parametrize("name", ["mine", "a", "kgbd-2v_seed.1", "Größe", "my run", "1"])
def test_names_of_folders(name):
    assert check_name(name, "--name") == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "a\nb",
        "*",
        "-rf",
        ".",
        "..",
        ".hidden",
        "a/b",
        "x./etc",
        "a\\b",
        "a:b",
        "con",
        "a" * 300,
        1,
        None,
        "a ",
        "\u202ea",
    ],
)
def test_what_cannot_be_the_name_of_a_folder(name):
    with pytest.raises(InputError, match="cannot be the name of a folder"):
        check_name(name, "--name")


def test_a_lock_tells_who_waits(tmp_path):
    def busy():
        raise InputError("busy")

    with (
        locked(tmp_path / "here" / "x.lock", busy),
        pytest.raises(InputError, match="busy"),
        locked(tmp_path / "here" / "x.lock", busy),
    ):
        pass
    with locked(tmp_path / "here" / "x.lock", busy):
        pass


def test_a_full_disk_names_the_file(tmp_path):
    with pytest.raises(OSError, match=r"x\.txt"), replacing(tmp_path / "x.txt"):
        raise OSError(28, "No space left on device")
