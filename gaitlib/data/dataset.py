"""One walk (`Walk`), and many of them in a folder of memory-mapped arrays (`GaitDataset`).

A data set folder holds
    index.csv        one row per walk: sequence, recording, subject, condition, run, view, start, frames, fps, source
    poses.npy        float32 [frames of all walks, 15, 2], the walks end to end, pixels or any other unit, NaN = missing
    confidence.npy   float32 [frames of all walks, 15], 0..1
    followed/        for clips: pictures of who was followed; never read
    dataset.json     schema version, joint names, license, citation, what was left out and why, how the files were read;
                     fingerprint: SHA-256 of the frames (pose of a walk, its confidence, pose of the next, ...) followed by
                     index.csv, as they were written; frames_digest and index_digest: of each alone
Image axes: x to the right, y down.
"""

import csv
import hashlib
import io
import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd

from gaitlib import InputError, files
from gaitlib.data.views import sorted_views
from gaitlib.skeleton import JOINTS, LEFT_HIP, LEFT_SHOULDER, MID_HIP, NECK, NUM_JOINTS, RIGHT_HIP, RIGHT_SHOULDER

SCHEMA = 1
COLUMNS = ["sequence", "recording", "subject", "condition", "run", "view", "start", "frames", "fps", "source"]
_TYPES = dict.fromkeys(COLUMNS, str) | {"run": np.int64, "start": np.int64, "frames": np.int64, "fps": np.float64}

#: The arrays, and what follows their first axis.
_ARRAYS = {"poses.npy": (NUM_JOINTS, 2), "confidence.npy": (NUM_JOINTS,)}
#: Bytes of the largest of them; they are mapped, not read.
_MOST_FRAMES = 2**50

#: Walks shorter than this are left out: less than about half a second shows no gait.
SHORTEST_WALK = 16


@dataclass(frozen=True)
class Walk:
    """One sequence of one person seen by one camera. Treat the arrays as read-only.

    pose: float32 [T, 15, 2], image x right and y down, a missing joint is NaN.
    confidence: float32 [T, 15], 0..1.
    fps: frames a second.
    subject, condition, run, view: who, how ("nm", "bg", "cl", ...), which repetition, and from where (degrees or a name).
    recording: walks with the same one are synchronous views of one performance; empty = subject-condition-run.
    source: the origin, for messages and tables.
    """

    pose: np.ndarray
    confidence: np.ndarray
    fps: float
    subject: str
    condition: str
    run: int
    view: str
    recording: str = ""
    source: str = ""

    def __post_init__(self):
        if not self.recording:
            object.__setattr__(self, "recording", f"{self.subject}-{self.condition}-{self.run:02d}")
        frames = len(self.pose)
        if self.pose.shape != (frames, NUM_JOINTS, 2) or self.confidence.shape != (frames, NUM_JOINTS):
            raise InputError(
                f"{self.source or self.sequence}: a walk needs pose [T,{NUM_JOINTS},2] and confidence "
                f"[T,{NUM_JOINTS}], not {list(self.pose.shape)} and {list(self.confidence.shape)}."
            )

    @property
    def sequence(self) -> str:
        """The walk's unique name, in CASIA-B's spelling: 001-nm-01-090."""
        return f"{self.recording}-{self.view}"


@dataclass(frozen=True)
class GaitDataset:
    """Many walks: `index` is a table with one row per walk, and the frames lie end to end in two arrays.

    index: DataFrame with COLUMNS; row i, counted from 0, is walk i; `start` and `frames` say where its frames lie.
    poses: float32 [F, 15, 2]; confidence: float32 [F, 15]; both memory-mapped and read-only when opened from a folder.
    info: the content of dataset.json. index_digest: SHA-256 of index.csv when it was opened.
    """

    index: pd.DataFrame
    poses: np.ndarray
    confidence: np.ndarray
    info: dict = field(default_factory=dict)
    folder: Path | None = None
    index_digest: str = ""

    @classmethod
    def open(cls, folder: str | Path) -> "GaitDataset":
        """Open a data set folder without reading its frames.

        Raises InputError if the folder is not a data set, is incomplete or damaged, or was written by another version.
        """
        folder, info = Path(folder), None
        try:
            info = files.read_json(folder / "dataset.json")
            _check_info(info)
            text = files.read_bytes(folder / "index.csv")
            index = pd.read_csv(io.BytesIO(text), dtype=_TYPES, keep_default_na=False)
            poses, confidence = (files.read_array(folder / name, memory_map=True, most=_MOST_FRAMES) for name in _ARRAYS)
            _check_rows(index, poses, confidence)
        except (ValueError, OverflowError, files.Unreadable) as error:
            said = f"{folder} cannot be used: {' '.join(str(error).split()).rstrip('.')}"
            if info is None and isinstance(error, files.Unreadable) and error.is_missing:
                said = f"{folder} is not a data set folder: it holds no dataset.json"
            raise InputError(f"{said}. Correct it, or prepare it again with `gaitlib prepare` or `gaitlib walkers`.") from None
        return cls(index, poses, confidence, info, folder, hashlib.sha256(text).hexdigest())

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the folder's content: its frames as they were written, and index.csv as it is now; "" without a folder.

        If index.csv is unchanged, this is the fingerprint in dataset.json. If dataset.json has no digest of index.csv, as in
        older versions, the frames are read.
        """
        written = self.info.get("index_digest", "")
        if self.folder and not written:
            digest = _digest_of_frames(self.folder)
            digest.update(files.read_bytes(self.folder / "index.csv"))
            return digest.hexdigest()
        if written == self.index_digest:
            return self.info.get("fingerprint", "")
        return hashlib.sha256(f"{self.info.get('frames_digest')} {self.index_digest}".encode()).hexdigest()

    def check_frames(self) -> None:
        """Read all frames of the folder; InputError if they have changed since they were written."""
        written = self.info.get("frames_digest")
        if self.folder and written and _digest_of_frames(self.folder).hexdigest() != written:
            raise InputError(
                f"{self.folder}: poses.npy or confidence.npy changed after they were written; copy or prepare them again."
            )

    @property
    def name(self) -> str:
        """The data set's name in tables and reports."""
        return self.info.get("name", "data set")

    @property
    def preparation(self) -> list[str]:
        """The decisions made when the files were read, a clause each; empty if there were none."""
        if "preparation" in self.info:
            return self.info["preparation"]
        kept = ("layouts", "choices", "repair", "remarks")  # of versions that did not write clauses
        return [f"{key}: {json.dumps(self.info[key])}" for key in kept if self.info.get(key)]

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, i: int) -> Walk:
        row = self.index.iloc[i]
        frames = slice(int(row["start"]), int(row["start"] + row["frames"]))
        texts = {k: row[k] for k in ("subject", "condition", "view", "recording", "source")}
        return Walk(self.poses[frames], self.confidence[frames], fps=float(row["fps"]), run=int(row["run"]), **texts)

    def __iter__(self) -> Iterator[Walk]:
        return (self[i] for i in range(len(self)))

    def select(self, **values) -> "GaitDataset":
        """The walks whose columns have the given values: `select(subject="001", view=["000", "090"])`.

        The arrays are shared, not copied. Raises InputError for a column that does not exist.
        """
        keep = np.ones(len(self), dtype=bool)
        for column, wanted in values.items():
            if column not in self.index:
                raise InputError(f"The data set index has no column {column!r}; it has {', '.join(self.index)}.")
            keep &= self.index[column].isin([wanted] if np.isscalar(wanted) else list(wanted)).to_numpy()
        return replace(self, index=self.index[keep].reset_index(drop=True))

    @property
    def views(self) -> list[str]:
        """The distinct views, sorted by degrees, others by name."""
        return sorted_views(self.index["view"])


def _check_info(info: dict) -> None:
    """Raise ValueError if dataset.json lacks a required entry or holds one of the wrong type."""
    if info.get("schema") != SCHEMA:
        raise ValueError(f"it was written with data set schema {info.get('schema')!r}, but this version reads {SCHEMA}")
    left_out, said = info.get("left_out"), info.get("preparation", [])
    if isinstance(left_out, list) and isinstance(said, list) and all(isinstance(entry, dict) for entry in left_out):
        texts = [info.get("name"), info.get("fingerprint"), info.get("frames_digest", ""), info.get("index_digest", ""), *said]
        texts += [entry.get(key) for entry in left_out for key in ("source", "reason")]
        if all(isinstance(text, str) for text in texts):
            return
    raise ValueError("dataset.json lacks its name, fingerprint or left_out, or they were changed")


def _check_rows(index: pd.DataFrame, *arrays: np.ndarray) -> None:
    """Raise ValueError if the columns are wrong, or if some frame of the arrays does not belong to exactly one walk."""
    if list(index.columns) != COLUMNS:
        raise ValueError(f"index.csv must have the columns {', '.join(COLUMNS)}")
    for array, (name, row) in zip(arrays, _ARRAYS.items(), strict=True):
        if array.shape != (*arrays[0].shape[:1], *row) or array.dtype != np.float32 or not array.flags.c_contiguous:
            raise ValueError(f"{name} must be float32 {['frames', *row]} in C order")
    walks = index[["start", "frames"]].sort_values("start")
    ends = np.append(0, np.cumsum(walks["frames"]))
    if (walks["frames"] < 1).any() or not np.array_equal(ends, [*walks["start"], len(arrays[0])]):
        raise ValueError("index.csv and the arrays do not fit together: each frame must belong to exactly one walk")


def _digest_of_frames(folder: Path):
    """The SHA-256 of all frames in a folder, walk by walk: the pose of one, its confidence, the pose of the next."""
    whole, digest = GaitDataset.open(folder), hashlib.sha256()
    walks = whole.index.sort_values("start")
    poses, confidence = np.asarray(whole.poses), np.asarray(whole.confidence)
    for first, last in zip(walks["start"].tolist(), (walks["start"] + walks["frames"]).tolist(), strict=True):
        digest.update(poses[first:last])
        digest.update(confidence[first:last])
    return digest


def write_dataset(
    folder: str | Path, walks: Iterable[Walk], *, name: str, license: str = "", citation: str = "",
    left_out: list[dict] | None = None, notes: dict | None = None, draw: Callable[[Walk, Path], None] | None = None,
) -> GaitDataset:  # fmt: skip
    """Write walks into a data set folder one by one, never holding them all in memory, and open it.

    The folder appears whole or not at all; an older data set there is replaced. Walks under SHORTEST_WALK frames, without
    neck or mid-hip in any frame, without a frame rate, or named like an earlier one are left out and listed in dataset.json
    with the reason.

    left_out: a list of {"source", "reason"} that the reader of the walks may still append to while they are consumed.
    notes: more entries for dataset.json (for example a generator's settings), which may also be added while walks are consumed.
    draw: called with each walk that is kept, and the new folder, to put pictures there.
    Raises InputError if no walk can be used, if `folder` exists and is not a data set, or if another process is writing it.
    """
    folder, left_out = Path(folder), [] if left_out is None else left_out
    hidden = folder.parent / f".{folder.name}.partial"

    def busy() -> None:
        raise InputError(f"{folder} is being written by another process; wait for it, or choose another --out.")

    try:
        if files.is_taken(folder) and not (folder / "dataset.json").exists():
            raise InputError(f"{folder} exists and is not a data set folder; choose another --out, nothing was written.")
        hidden.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        is_file = isinstance(error, (FileExistsError, NotADirectoryError))
        why = f"{folder.parent} is not a folder" if is_file else files.why_not(error)
        raise InputError(f"{folder} cannot be created because {why}; choose another --out.") from None
    with files.locked(hidden / "lock", busy):
        try:
            new = hidden / "data"
            shutil.rmtree(new, ignore_errors=True)  # left by a process that was killed
            new.mkdir()
            info = {"schema": SCHEMA, "name": name, "joints": list(JOINTS), "license": license, "citation": citation}
            info = _write_walks(new, walks, left_out, draw) | info | {"left_out": left_out, **(notes or {})}
            if not info["walks"]:
                why = f" The first reason: {left_out[0]['source']}: {left_out[0]['reason']}." if left_out else ""
                raise InputError(f"No walk can be used; nothing was written.{why}")
            files.write_text(new / "dataset.json", json.dumps(info, indent=1))
            GaitDataset.open(new)
            files.replace_folder(new, folder)
        finally:
            shutil.rmtree(hidden, ignore_errors=True)
    return GaitDataset.open(folder)


def _write_walks(folder: Path, walks: Iterable[Walk], left_out: list[dict], draw: Callable[[Walk, Path], None] | None) -> dict:
    """Write the arrays and index.csv of the usable walks; returns the fingerprint, its parts and the counts."""
    digest, names, frames, text = hashlib.sha256(), set(), 0, io.StringIO()
    row, quoted_row = (csv.writer(text, lineterminator="\n", quoting=q) for q in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
    row.writerow(COLUMNS)
    arrays = {folder / name: (folder / name).open("wb") for name in _ARRAYS}
    try:
        _write_headers(arrays, 0)
        for walk in walks:
            if reason := _unfit(walk, names):
                left_out.append({"source": walk.source or walk.sequence, "reason": reason})
                continue
            cells = {c: getattr(walk, c, None) for c in COLUMNS}
            cells |= {"start": frames, "frames": len(walk.pose), "fps": float(walk.fps)}
            # readers treat a carriage return as a line end, but csv does not quote it
            (quoted_row if "\r" in "".join(map(str, cells.values())) else row).writerow(cells.values())
            for (path, file), values in zip(arrays.items(), (walk.pose, walk.confidence), strict=True):
                data = np.ascontiguousarray(values, dtype="<f4").data
                digest.update(data)
                with files.naming(path):
                    file.write(data)
            frames += len(walk.pose)
            names.add(walk.sequence)
            if draw:
                draw(walk, folder)
        _write_headers(arrays, frames)
    finally:
        for file in arrays.values():
            with suppress(OSError):  # a full disk, reported before
                file.close()
    index = text.getvalue().encode("utf-8", "backslashreplace")  # file names may not be text
    with files.replacing(folder / "index.csv") as part:
        part.write_bytes(index)
    digests = {"frames_digest": digest.hexdigest(), "index_digest": hashlib.sha256(index).hexdigest()}
    digest.update(index)
    return {"fingerprint": digest.hexdigest(), **digests, "walks": len(names), "frames": frames}


def _write_headers(arrays: dict[Path, BinaryIO], frames: int) -> None:
    """Write the headers of the .npy files; numpy leaves room in them, so that more frames do not make them longer."""
    for (path, file), shape in zip(arrays.items(), _ARRAYS.values(), strict=True):
        header = {"descr": "<f4", "fortran_order": False, "shape": (frames, *shape)}
        with files.naming(path):
            file.seek(0)
            np.lib.format.write_array_header_1_0(file, header)
            file.flush()


def _unfit(walk: Walk, seen: set[str]) -> str:
    """Why a walk cannot be used, or an empty string."""
    if len(walk.pose) < SHORTEST_WALK:
        return f"only {len(walk.pose)} frames; at least {SHORTEST_WALK} are needed"
    if not np.isfinite(walk.pose).any():
        return "no joint in any frame"
    present = np.isfinite(walk.pose).all(-1)
    for middle, sides in ((NECK, [RIGHT_SHOULDER, LEFT_SHOULDER]), (MID_HIP, [RIGHT_HIP, LEFT_HIP])):
        if not (present[:, middle] | present[:, sides].all(-1)).any():
            return f"no frame has the {JOINTS[middle].replace('_', '-')}, without which the size is unknown"
    if not 0 < walk.fps < np.inf:
        return f"its frame rate is {walk.fps:g} a second, which no camera has"
    if walk.sequence in seen:
        return f"a walk named {walk.sequence} was read before"
    return ""
