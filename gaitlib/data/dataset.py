"""One walk (`Walk`), and many of them in a folder of memory-mapped arrays (`GaitDataset`).

A data set folder holds
    index.csv        one row a walk: sequence, recording, subject, condition, run, view, start, frames, fps, source
    poses.npy        float32 [frames of all walks, 15, 2], the walks end to end, pixels or any other unit, NaN = missing
    confidence.npy   float32 [frames of all walks, 15], 0..1
    dataset.json     schema version, joint names, fingerprint, license and citation, and what was left out and why
Image axes: x to the right, y down.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from gaitlib import InputError
from gaitlib.data.draft import COLUMNS, Draft
from gaitlib.data.views import sorted_views
from gaitlib.skeleton import (
    JOINTS,
    LEFT_HIP,
    LEFT_SHOULDER,
    MID_HIP,
    NECK,
    NUM_JOINTS,
    RIGHT_HIP,
    RIGHT_SHOULDER,
)

SCHEMA = 1
_TEXT = dict.fromkeys(["sequence", "recording", "subject", "condition", "view", "source"], str)
_TYPES = _TEXT | {"run": np.int64, "start": np.int64, "frames": np.int64, "fps": np.float64}

#: Walks shorter than this are left out: under about half a second there is no gait to speak of.
SHORTEST_WALK = 16


@dataclass(frozen=True)
class Walk:
    """One sequence of one person seen by one camera. Treat the arrays as read-only.

    pose: float32 [T, 15, 2], image x right and y down, a missing joint is NaN.
    confidence: float32 [T, 15], 0..1.
    fps: frames a second.
    subject, condition, run, view: who, how ("nm", "bg", "cl", ...), which repetition, and from where (degrees or a name).
    recording: walks that share it are synchronous views of one performance; empty = subject-condition-run.
    source: where it came from, for messages and tables.
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
                f"{self.source or self.sequence}: a walk needs a pose [T,{NUM_JOINTS},2] and a confidence "
                f"[T,{NUM_JOINTS}], not {list(self.pose.shape)} and {list(self.confidence.shape)}."
            )

    @property
    def sequence(self) -> str:
        """The walk's unique name, as CASIA-B spells it: 001-nm-01-090."""
        return f"{self.recording}-{self.view}"


@dataclass(frozen=True)
class GaitDataset:
    """Many walks: `index` is a table of one row a walk, the frames lie end to end in two arrays.

    index: DataFrame with COLUMNS; row i, counted from 0, is walk i; `start` and `frames` say where its frames lie.
    poses: float32 [F, 15, 2]; confidence: float32 [F, 15]; both memory-mapped and read-only when opened from a folder.
    info: the content of dataset.json.
    """

    index: pd.DataFrame
    poses: np.ndarray
    confidence: np.ndarray
    info: dict = field(default_factory=dict)
    folder: Path | None = None

    @classmethod
    def open(cls, folder: str | Path) -> "GaitDataset":
        """Open a data set folder without reading its frames.

        Raises InputError where the folder is no data set, is incomplete, or was written by another version.
        """
        folder = Path(folder)
        advice = "Prepare it again with `gaitlib prepare` or `gaitlib walkers`."
        try:
            info = json.loads((folder / "dataset.json").read_text())
        except (FileNotFoundError, NotADirectoryError):
            raise InputError(f"{folder} is not a data set folder: it holds no dataset.json. {advice}") from None
        except ValueError:
            raise InputError(f"{folder}/dataset.json cannot be read as JSON. {advice}") from None
        if not isinstance(info, dict):
            raise InputError(f"{folder}/dataset.json is damaged: it holds no keys and values. {advice}")
        if info.get("schema") != SCHEMA:
            raise InputError(
                f"{folder} was written with data set schema {info.get('schema')!r}, this version reads {SCHEMA}. {advice}"
            )
        try:
            index = pd.read_csv(folder / "index.csv", dtype=_TYPES, keep_default_na=False)
            poses = np.load(folder / "poses.npy", mmap_mode="r")
            confidence = np.load(folder / "confidence.npy", mmap_mode="r")
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f"{folder} is damaged: {' '.join(str(error).split())}. {advice}") from None
        if list(index.columns) != COLUMNS:
            raise InputError(f"{folder} is damaged: index.csv must have the columns {', '.join(COLUMNS)}. {advice}")
        frames = int(index["frames"].sum())
        if poses.shape != (frames, NUM_JOINTS, 2) or confidence.shape != (frames, NUM_JOINTS):
            raise InputError(f"{folder} is damaged: index.csv and the arrays do not fit each other. {advice}")
        return cls(index, poses, confidence, info, folder)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over frames and index, from dataset.json."""
        return self.info.get("fingerprint", "")

    @property
    def name(self) -> str:
        return self.info.get("name", "data set")

    @property
    def preparation(self) -> list[str]:
        """What was decided when the files were read, a clause each; empty where nothing was."""
        from gaitlib.poses.repair import STEPS

        said = []
        if self.info.get("layouts"):
            said.append("layout " + ", ".join(f"{name}: {count} walks read" for name, count in self.info["layouts"].items()))
        choices = self.info.get("choices", {})
        if choices.get("frames"):
            said.append(f"one of several people had to be chosen in {choices['frames']} frames of {choices['walks']} walks")
        for step, count in self.info.get("repair", {}).get("changed", {}).items():
            said.append(f"repair {step}: {count} {STEPS[step].counts} changed")
        for entry in self.info.get("remarks", []):
            more = f" and {entry['walks'] - 1} more" * (entry["walks"] > 1)
            said.append(f"{entry['remark']}: {entry['first']}{more}")
        return said

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, i: int) -> Walk:
        row = self.index.iloc[i]
        frames = slice(int(row["start"]), int(row["start"] + row["frames"]))
        return Walk(
            pose=self.poses[frames],
            confidence=self.confidence[frames],
            **{k: row[k] for k in ("subject", "condition", "view", "recording", "source")},
            fps=float(row["fps"]),
            run=int(row["run"]),
        )

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
            wanted = [wanted] if np.isscalar(wanted) else list(wanted)
            keep &= self.index[column].isin(wanted).to_numpy()
        return GaitDataset(self.index[keep].reset_index(drop=True), self.poses, self.confidence, self.info, self.folder)

    @property
    def views(self) -> list[str]:
        return sorted_views(self.index["view"])


def write_dataset(
    folder: str | Path,
    walks: Iterable[Walk],
    *,
    name: str,
    license: str = "",
    citation: str = "",
    left_out: list[dict] | None = None,
    notes: dict | None = None,
    draft: Draft | None = None,
) -> GaitDataset:
    """Write walks, as they come, into a data set folder and open it.

    The folder appears whole or not at all; an older data set there is replaced. Walks under SHORTEST_WALK frames, without
    neck or mid-hip in any frame, without a frame rate, or named like an earlier one are left out and listed in dataset.json
    with the reason.

    walks: consumed once, never held together in memory.
    left_out: a list of {"source", "reason"} that the reader of the walks may still append to while they are consumed.
    notes: more entries for dataset.json (settings of a generator, say).
    draft: one for this folder that walks may be in already, to which those that come are added.
    Raises InputError where no walk is left, or where `folder` exists and is no data set.
    """
    folder, left_out = Path(folder), [] if left_out is None else left_out
    with draft or Draft(folder) as draft:
        for walk in walks:
            reason = _unfit(walk, draft.names)
            if reason:
                left_out.append({"source": walk.source or walk.sequence, "reason": reason})
            else:
                draft.append(walk)
                draft.record()
        if not draft.walks:
            why = f" The first reason: {left_out[0]['source']}: {left_out[0]['reason']}." if left_out else ""
            raise InputError(f"No walk is left for {folder}; nothing was written.{why}")
        info = {"schema": SCHEMA, "name": name, "joints": list(JOINTS), "license": license, "citation": citation}
        draft.publish(info | {"left_out": left_out, **(notes or {})})
    return GaitDataset.open(folder)


def _unfit(walk: Walk, seen: set[str]) -> str:
    """Why a walk cannot be used, or an empty string."""
    if len(walk.pose) < SHORTEST_WALK:
        return f"only {len(walk.pose)} frames, at least {SHORTEST_WALK} are needed"
    if not np.isfinite(walk.pose).any():
        return "no joint in any frame"
    present = np.isfinite(walk.pose).all(-1)
    for middle, sides in ((NECK, [RIGHT_SHOULDER, LEFT_SHOULDER]), (MID_HIP, [RIGHT_HIP, LEFT_HIP])):
        if not (present[:, middle] | present[:, sides].all(-1)).any():
            return f"no frame has the {JOINTS[middle].replace('_', '-')}, without which the size is unknown"
    if not 0 < walk.fps < np.inf:
        return f"its frame rate is {walk.fps:g} a second, which is no camera's"
    if walk.sequence in seen:
        return f"a walk named {walk.sequence} was read before"
    return ""
