"""What is computed once and kept: one folder per stage in the cache, named by the fingerprint of everything that goes into it."""

import os
import secrets
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from gaitlib.files import locked
from gaitlib.fingerprints import fingerprint


class StageFailed(Exception):
    """A stage or a notebook failed; the message says which, where and why. `bad_input`: whether the input was at fault."""

    def __init__(self, message: str, bad_input: bool = False):
        super().__init__(message)
        self.bad_input = bad_input


@dataclass(frozen=True)
class Stages:
    """The finished stages in the folder `cache`; if several processes need the same one at once, one of them makes it."""

    cache: Path

    def folder(self, name: str, key: object) -> Path:
        """Where the stage lies once it is complete. key: everything that goes into it, as `fingerprint` takes values."""
        with suppress(OSError, ValueError):
            key = [key, self._again(name, key).read_text()]
        return self.cache / f"{name}-{fingerprint(key)[:16]}"

    def made(self, name: str, key: object, make: Callable[[Path], None], *, together: bool = False) -> Path:
        """The folder of the stage; `make` fills it if it does not exist, and it appears once it is complete.

        together: all processes started by torchrun make it; otherwise the first does and the others wait. If such a stage ends
        early, what it had reached stays, so that `make` can continue. A line in made.log says how long it took.
        Raises StageFailed if one of its files cannot be written, with the name of the stage and of the file.
        """
        folder = self.folder(name, key)
        if int(os.environ.get("RANK", 0)):
            self._follow_the_first(folder, make if together else None)
        elif not folder.exists():
            with locked(self._lock(folder), lambda: print(f"    waiting: another run makes {folder.name}", flush=True)):
                if not folder.exists():
                    if together:
                        self._begun(folder).touch()
                    try:
                        self._make(folder, make, keep=together)
                    finally:
                        self._begun(folder).unlink(missing_ok=True)
        return folder

    def renew(self, name: str, key: object) -> None:
        """Have the stage made again when it is next needed; whoever uses the existing one can keep using it."""
        path = self._again(name, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(secrets.token_hex(8))

    def is_in_use(self, stage: Path) -> bool:
        """Whether somebody is making the stage in this folder, which may be partial."""
        return not self._unless_in_use(stage, lambda: None)

    def delete(self, stage: Path) -> bool:
        """Delete the folder of a stage, partial or not, unless somebody is making it; returns whether it was deleted."""
        return self._unless_in_use(stage, lambda: shutil.rmtree(stage))

    def _unless_in_use(self, stage: Path, act: Callable[[], None]) -> bool:
        lock = self._lock(stage)
        lock.parent.mkdir(parents=True, exist_ok=True)
        with suppress(Timeout), FileLock(lock, timeout=0):
            act()
            return True
        return False

    def _make(self, folder: Path, make: Callable[[Path], None], keep: bool) -> None:
        began, partial = time.monotonic(), folder.with_suffix(".partial")
        partial.mkdir(parents=True, exist_ok=True)
        try:
            make(partial)
            os.replace(partial, folder)
        except BaseException as error:
            if not keep:
                shutil.rmtree(partial, ignore_errors=True)
            if isinstance(error, OSError):
                where = f" ({error.filename})" if error.filename else ""
                raise StageFailed(f"The stage {folder.name} stopped: {error.strerror or error}{where}.") from error
            raise
        with (self.cache / "made.log").open("a") as log:
            log.write(f"{datetime.now():%Y-%m-%d %H:%M:%S} {folder.name} {time.monotonic() - began:.1f} s\n")

    def _follow_the_first(self, folder: Path, make: Callable[[Path], None] | None) -> None:
        while not folder.exists():
            if make and self._begun(folder).exists():
                make(folder.with_suffix(".partial"))
                make = None
            time.sleep(0.1)

    def _begun(self, folder: Path) -> Path:
        """A file that exists while the first process works; if the others waited for its lock in torch, they would time out."""
        launch = [os.environ.get(name) for name in ("MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID")]
        return self._lock(folder).with_suffix(f".{fingerprint(launch)[:8]}")

    def _lock(self, folder: Path) -> Path:
        return self.cache / "locks" / f"{folder.name.removesuffix('.partial')}.lock"

    def _again(self, name: str, key: object) -> Path:
        return self.cache / "locks" / f"{name}-{fingerprint(key)[:16]}.again"
