"""A data set folder while it is written: hidden beside the one it will be, and, on request, kept when that is interrupted."""

import csv
import hashlib
import io
import json
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np

from gaitlib import InputError
from gaitlib.files import is_taken, replace_folder, replacing
from gaitlib.skeleton import NUM_JOINTS

COLUMNS = ["sequence", "recording", "subject", "condition", "run", "view", "start", "frames", "fps", "source"]


class Draft:
    """The arrays and the index of a data set, appended to walk by walk.

    folder: where the data set will be. key: says what is made, and of what. With a key, an interrupted draft is kept, unless
    the input was to blame, and the next one of the same folder and key goes on with it: how far it came is recorded after
    every walk at first, later after every hundredth part of them. Without a key nothing is kept.

    state: values as JSON has them, recorded along with the walks; where there is nothing to go on with, it is {}.
    walks, frames: how many there are. names: the sequences.
    Raises InputError where `folder` exists and is no data set, or another process has the draft in its hands.
    """

    def __init__(self, folder: Path, key: str = ""):
        if is_taken(folder) and not (folder / "dataset.json").exists():
            raise InputError(f"{folder} exists and is not a data set folder; choose another --out, nothing was written.")
        self.folder, self.key = folder, key
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise InputError(f"{folder} cannot be made, because {folder.parent} is no folder; choose another --out.") from None
        if key:
            self.path = folder.parent / f".{folder.name}.unfinished"
            self.path.mkdir(exist_ok=True)
        else:
            self.path = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".partial", dir=folder.parent))
        self.poses = _GrowingArray(self.path / "poses.npy", (NUM_JOINTS, 2))
        if not _lock(self.poses.file):
            self.poses.file.close()
            raise InputError(f"{folder} is being prepared by another process; wait for it, or choose another --out.")
        self.confidence = _GrowingArray(self.path / "confidence.npy", (NUM_JOINTS,))
        self.index = _open(self.path / "index.csv")
        if not (key and self._go_on()):
            self.restart()

    def restart(self) -> None:
        """Forget what is there."""
        (self.path / "state.json").unlink(missing_ok=True)
        for file in (self.poses, self.confidence):
            file.cut(0)
        self.index.truncate(0)
        self.index.seek(0)
        self.digest, self.state, self.names, self.walks, self.recorded = _Digest(), {}, set(), 0, 0
        self._write_row(COLUMNS)

    def _go_on(self) -> bool:
        """Take up what was recorded; False where there is nothing, or not what should be there."""
        try:
            kept = json.loads((self.path / "state.json").read_text())
            if kept["key"] != self.key or os.path.getsize(self.path / "index.csv") < kept["index"]:
                return False
            self.index.truncate(kept["index"])
            for array in (self.poses, self.confidence):
                array.cut(kept["frames"])
            self.digest, self.names = _Digest(), set()
            self.index.seek(0)
            for row in csv.DictReader(map(self._read_line, self.index)):
                self.names.add(row["sequence"])
                for array in (self.poses, self.confidence):
                    self.digest.frames.update(array.read(int(row["start"]), int(row["frames"])))
        except (FileNotFoundError, ValueError, LookupError, TypeError, csv.Error):
            return False
        if self.digest.so_far() != kept["digest"]:
            return False
        for file in self._files():
            file.seek(0, os.SEEK_END)
        self.state, self.walks, self.recorded = kept["state"], kept["walks"], kept["walks"]
        return True

    def _files(self) -> tuple:
        return self.poses.file, self.confidence.file, self.index

    @property
    def frames(self) -> int:
        return self.poses.rows

    def append(self, walk) -> None:
        """Add a Walk whose sequence is not among the names yet."""
        row = {c: getattr(walk, c, None) for c in COLUMNS}
        row |= {"start": self.frames, "frames": len(walk.pose), "fps": float(walk.fps)}
        self._write_row(row.values())
        self.digest.frames.update(self.poses.append(walk.pose))
        self.digest.frames.update(self.confidence.append(walk.confidence))
        self.names.add(walk.sequence)
        self.walks += 1

    def _write_row(self, cells) -> None:
        text, cells = io.StringIO(), list(cells)
        # a carriage return is a line end to those who read it, and csv leaves it unquoted
        quoting = csv.QUOTE_ALL if "\r" in "".join(map(str, cells)) else csv.QUOTE_MINIMAL
        csv.writer(text, lineterminator="\n", quoting=quoting).writerow(cells)
        line = text.getvalue().encode("utf-8", "backslashreplace")  # names of files may be no text
        self.index.write(line)
        self.digest.index.update(line)

    def _read_line(self, line: bytes) -> str:
        self.digest.index.update(line)
        return line.decode()

    def record(self) -> None:
        """Record how far it came, if it is time to; everything up to the last walk must be in `state`."""
        if not self.key or self.walks - self.recorded <= self.walks // 100:
            return
        for file in self._files():
            file.flush()
        kept = {"key": self.key, "walks": self.walks, "frames": self.frames, "index": self.index.tell()}
        kept |= {"digest": self.digest.so_far(), "state": self.state}
        with replacing(self.path / "state.json") as part:
            part.write_text(json.dumps(kept))
        self.recorded = self.walks

    def publish(self, info: dict) -> None:
        """Put the data set in its place, an older one is replaced. info: for dataset.json; the fingerprint is added.

        Raises InputError, and leaves the older one, where what was written cannot be opened.
        """
        from gaitlib.data.dataset import GaitDataset

        for array in (self.poses, self.confidence):
            array.finish()
        self.index.close()
        info = {"fingerprint": self.digest.of_all(self.path / "index.csv"), "walks": self.walks, "frames": self.frames} | info
        (self.path / "dataset.json").write_text(json.dumps(info, indent=1))
        (self.path / "state.json").unlink(missing_ok=True)
        self.path.chmod(0o755)
        GaitDataset.open(self.path)
        replace_folder(self.path, self.folder)

    @property
    def kept(self) -> bool:
        """Whether there is something for another call to go on with."""
        return (self.path / "state.json").exists()

    def __enter__(self) -> "Draft":
        return self

    def __exit__(self, kind, error, trace) -> None:
        for file in self._files():
            with suppress(OSError):  # a full disk, told before
                file.close()
        if not self.kept or (kind and issubclass(kind, InputError)):
            shutil.rmtree(self.path, ignore_errors=True)


class _GrowingArray:
    """A .npy file of float32 rows that is appended to; its header is corrected when it is finished."""

    def __init__(self, path: Path, row_shape: tuple[int, ...]):
        self.file, self.row_shape, self.rows = _open(path), row_shape, 0
        self.row_bytes = 4 * int(np.prod(row_shape))

    def cut(self, rows: int) -> None:
        """Keep the first rows. Raises ValueError where there are fewer."""
        self.rows = rows
        self._header()
        size = self.first + rows * self.row_bytes
        if self.file.seek(0, os.SEEK_END) < size:
            raise ValueError("fewer rows than recorded")
        self.file.truncate(size)
        self.file.seek(size)

    def _header(self) -> None:
        # numpy pads the header so that the growing first axis never changes its length
        self.file.seek(0)
        header = {"descr": "<f4", "fortran_order": False, "shape": (self.rows, *self.row_shape)}
        np.lib.format.write_array_header_1_0(self.file, header)
        self.first = self.file.tell()

    def append(self, rows: np.ndarray) -> memoryview:
        """Add rows; returns their bytes."""
        data = np.ascontiguousarray(rows, dtype="<f4").data
        self.file.write(data)
        self.rows += len(rows)
        return data

    def read(self, start: int, rows: int) -> bytes:
        """Some rows; the position in the file is behind them."""
        self.file.seek(self.first + start * self.row_bytes)
        return self.file.read(rows * self.row_bytes)

    def finish(self) -> None:
        self._header()
        self.file.close()


class _Digest:
    """SHA-256 of the frames and of the index."""

    def __init__(self):
        self.frames, self.index = hashlib.sha256(), hashlib.sha256()

    def so_far(self) -> list[str]:
        return [self.frames.hexdigest(), self.index.hexdigest()]

    def of_all(self, index: Path) -> str:
        """Of the frames and then the index, which was written while they came."""
        with index.open("rb") as file:
            while block := file.read(2**20):
                self.frames.update(block)
        return self.frames.hexdigest()


def _open(path: Path):
    """A file to read and append to; what is there stays."""
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644), "r+b")


def _lock(file) -> bool:
    """Whether no other process has the file; the lock goes with this process, and is not passed on to its workers."""
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:  # a file system without locks
        pass
    return True
