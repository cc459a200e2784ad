"""Files: what is written appears whole or not at all, and what comes from elsewhere is read with limits."""

import json
import mmap
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from filelock import FileLock, Timeout

from gaitlib import InputError

#: Bytes of the largest text that is read whole: settings, tables of walks, results of runs.
MOST_TEXT = 256 * 2**20
#: Bytes of the largest array that is read from a stranger's file.
MOST_ARRAY = 8 * 2**30
#: Levels of nested lists and dictionaries; none of our files has ten.
DEEPEST = 50
_MISSING = "there is no such file"
_READ_ONLY = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # of Unix and of Windows
_LONGEST_NAME = 100
_UNFIT = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]|^[\s.-]|[\s.]$')
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # by Windows


class Unreadable(InputError):
    """A file cannot be read; `why` gives the reason in a clause: "there is no such file"."""

    def __init__(self, path: str | Path, why: str):
        super().__init__(f"{path} cannot be read: {why}.")
        self.why, self.is_missing = why, why == _MISSING


def why_not(error: OSError | ValueError) -> str:
    """The reason why a file could not be opened, in a clause."""
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return _MISSING
    if isinstance(error, PermissionError):
        return "you have no permission to read it"
    return (error.strerror or str(error)).lower() if isinstance(error, OSError) else str(error)


@contextmanager
def opened(path: str | Path, most: int = MOST_TEXT) -> Iterator[BinaryIO]:
    """A regular file of at most `most` bytes, open for reading; the only way to open files that may come from strangers.

    Raises Unreadable for a file that is missing, not permitted, larger, or not regular: reading a pipe waits forever, and
    a device never ends.
    """
    with os.fdopen(_opened(path, most)[0], "rb") as file:
        yield file


def _opened(path: str | Path, most: int) -> tuple[int, int]:
    """The handle of a file, open for reading, and its size in bytes; raises Unreadable as `opened` does."""
    try:
        handle = os.open(path, _READ_ONLY)
    except (OSError, ValueError) as error:  # ValueError: a path with NUL
        raise Unreadable(path, "it is a folder" if os.path.isdir(path) else why_not(error)) from None
    facts = os.fstat(handle)
    why = ""
    if not stat.S_ISREG(facts.st_mode):
        why = "it is a folder" if stat.S_ISDIR(facts.st_mode) else "it is not a regular file"
    elif facts.st_size > most:
        why = f"it has {facts.st_size / 2**20:,.0f} MB, and more than {most / 2**20:,.0f} are not read"
    if why:
        os.close(handle)
        raise Unreadable(path, why)
    return handle, facts.st_size


def read_bytes(path: str | Path, most: int = MOST_TEXT) -> bytes:
    """The content of a file; raises Unreadable as `opened` does."""
    handle, size = _opened(path, most)
    try:
        content = os.read(handle, size + 1)  # a file object would take twice as long for the small files of frames
        while len(content) < size and (more := os.read(handle, size)):
            content += more
    except OSError as error:
        raise Unreadable(path, why_not(error)) from None
    finally:
        os.close(handle)
    return content


def read_text(path: str | Path, most: int = MOST_TEXT) -> str:
    """The content of a UTF-8 file; raises Unreadable as `opened` does, and for other encodings."""
    try:
        return read_bytes(path, most).decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError:
        raise Unreadable(path, "it is not UTF-8 text") from None


def read_json(path: str | Path, most: int = MOST_TEXT) -> dict:
    """The keys and values of a JSON file; raises Unreadable if it holds anything else or is nested deeper than DEEPEST."""
    try:
        content = json.loads(read_text(path, most))
    except (ValueError, RecursionError):
        raise Unreadable(path, "it is not valid JSON") from None
    if not isinstance(content, dict):
        raise Unreadable(path, "it holds no keys and values")
    if is_deep(content):
        raise Unreadable(path, "its values lie too deep within each other")
    return content


def is_deep(content: object) -> bool:
    """Whether lists and dictionaries are nested deeper than DEEPEST levels."""
    level = [content]
    for _ in range(DEEPEST):
        level = [v for c in level if isinstance(c, (dict, list)) for v in (c.values() if isinstance(c, dict) else c)]
        if not level:
            return False
    return True


def read_array(path: str | Path, *, memory_map: bool = False, most: int = MOST_ARRAY) -> np.ndarray:
    """The array of an .npy file, never a pickle; memory-mapped and read-only on request.

    Raises Unreadable if it is damaged, an .npz, or larger than `most` bytes, even if the file is sparse.
    """
    with opened(path, most) as file:
        try:
            return np.lib.format.open_memmap(path, mode="r") if memory_map else np.lib.format.read_array(file)
        except Exception as error:  # of many kinds, from numpy, zipfile and Python's tokenizer
            raise Unreadable(path, f"it is not a complete .npy array ({' '.join(str(error).split())[:120]})") from None


def forget_pages(array: np.ndarray) -> None:
    """Release the memory of what was read from a memory-mapped array that nobody writes to; it is read again when needed.

    Does nothing for other arrays, nor on systems without madvise.
    """
    if isinstance(array.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        array.base.madvise(mmap.MADV_DONTNEED)


def read_arrays(path: str | Path, names: tuple[str, ...] = (), most: int = MOST_ARRAY) -> dict[str, np.ndarray]:
    """Some or all arrays of an .npz file, never pickles; Unreadable if one is missing, damaged, encrypted or beyond `most`."""
    with opened(path, most) as file:
        try:
            with np.load(file) as found:
                if lacking := [name for name in names if name not in found]:
                    raise Unreadable(path, f"it has no array {lacking[0]!r}")
                if sum(info.file_size for info in found.zip.infolist()) > most:
                    raise Unreadable(path, f"its arrays have more than {most / 2**20:,.0f} MB")
                return {name: found[name] for name in names or found.files}
        except Unreadable:
            raise
        except Exception as error:
            raise Unreadable(path, f"it is not a complete .npz file ({' '.join(str(error).split())[:120]})") from None


def check_name(name: object, what: str) -> str:
    """The name, if a folder can have it on every system; the one rule for runs, grids, points, protocols and probe sets.

    what: what to call it in the error, such as "--name" or "protocols/mine.yaml, probe set". Raises InputError.
    """
    is_text = isinstance(name, str) and name.isprintable() and 0 < len(name) <= _LONGEST_NAME
    if not is_text or _UNFIT.search(name) or _RESERVED.fullmatch(name):
        shown = repr(name) if len(repr(name)) < 60 else repr(name)[:60] + "..."
        raise InputError(
            f"{what}: {shown} cannot be the name of a folder; use up to {_LONGEST_NAME} letters, digits, _, - and ., "
            "a letter or digit first."
        )
    return name


def check_writable(path: Path) -> None:
    """Raise InputError if no file can be written at `path`: before the work for it, not after."""
    if path.is_dir():
        raise InputError(f"{path} is a folder; give the name of a file in it.")
    if not path.parent.is_dir():
        raise InputError(f"{path} cannot be written; make the folder {path.parent}, or choose another.")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise InputError(f"{path} cannot be written: you have no permission; choose another.")


def is_taken(folder: Path) -> bool:
    """Whether something is in the place of a new folder: a file, or a folder that is not empty."""
    return folder.exists() and (not folder.is_dir() or any(folder.iterdir()))


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """If an OSError in the block names no file, as for a full disk, it names this one."""
    try:
        yield
    except OSError as error:
        if error.errno is not None:  # one of the system's
            error.filename = error.filename or str(path)
        raise


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; the file there replaces `path` when the block ends.

    If the block or the replacement fails, only the old file remains; errors name it as in `naming`.
    """
    part = path.parent / f".{path.name}.{secrets.token_hex(4)}.part"
    try:
        with naming(path):
            yield part
            os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file, which appears whole or stays as it was."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def replace_folder(new: Path, folder: Path) -> None:
    """Put the finished folder `new` in the place of `folder`, which is always either the old or the new one."""
    old = new.with_name(f".{folder.name}.{secrets.token_hex(4)}.old")
    if folder.exists():
        os.replace(folder, old)
    try:
        os.replace(new, folder)
    except BaseException:
        if old.exists():
            os.replace(old, folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def locked(path: Path, busy: Callable[[], None]) -> Iterator[None]:
    """Hold the lock at `path`; a process that ends in any way, even by being killed, releases it.

    busy: called if another process holds it, either to say so, after which we wait, or to raise.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        held = lock.acquire(timeout=0)
    except Timeout:
        busy()
        held = lock.acquire()
    with held:
        yield
