"""Files and folders that appear whole or not at all."""

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gaitlib import InputError


def check_writable(path: Path) -> None:
    """Raise InputError where a file cannot be put at `path`: before the work for it, not after."""
    if path.is_dir():
        raise InputError(f"{path} is a folder; give the name of a file in it.")
    if not path.parent.is_dir():
        raise InputError(f"{path} cannot be written; make the folder {path.parent}, or choose another.")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise InputError(f"{path} cannot be written, for want of permission; choose another.")


def is_taken(folder: Path) -> bool:
    """Whether something is where a new folder is to be: a file, or a folder that is not empty."""
    return folder.exists() and (not folder.is_dir() or any(folder.iterdir()))


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; what is there when the block ends takes the place of `path`.

    Where the block or the exchange fails, nothing remains but the old file.
    """
    part = path.parent / f".{path.name}.{secrets.token_hex(4)}.part"
    try:
        yield part
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def replace_folder(new: Path, folder: Path) -> None:
    """Put the finished folder `new` where `folder` is, so that `folder` is the old one or the new one, never half of either."""
    old = None
    if folder.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".old", dir=folder.parent))
        os.replace(folder, old)
    try:
        os.replace(new, folder)
    except BaseException:
        if old:
            os.replace(old, folder)
        raise
    if old:
        shutil.rmtree(old, ignore_errors=True)
