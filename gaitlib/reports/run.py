"""One run folder: its configuration, its results, and whether its files can be trusted."""

import math
from collections.abc import Iterable, Mapping
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gaitlib import InputError
from gaitlib.config import Config, read_yaml, resolve
from gaitlib.data.protocol import Protocol
from gaitlib.files import Unreadable, opened, read_json

if TYPE_CHECKING:
    from gaitlib.evaluation.ranking import RankMatrix

#: The files of a finished run that others read.
FILES = ("config.yaml", "metrics.json", "provenance.json", "embeddings.npz")
_Share = Annotated[float, Field(ge=0, le=1)] | None
_Shares = dict[str, _Share]
_Ends = dict[str, Annotated[list[_Share], Field(min_length=2, max_length=2)]]
_Count = Annotated[int, Field(ge=0, le=10**15)]  # whatever is counted here
_Time = Annotated[float, Field(ge=0, le=1e12)]


class _Facts(BaseModel):
    model_config = ConfigDict(strict=True)  # further keys are allowed, but not a text for a number


class _Recognition(_Facts):
    rank1: _Shares = {}
    rank1_same_view: _Shares = {}
    ci95: _Ends = {}


class _Ablation(_Facts):
    name: str
    rank1: _Shares


class _Exchange(_Facts):
    exchange: list[float | None] = Field([None], min_length=1)
    mean_walk: list[float | None] = Field([None], min_length=1)


class _Metrics(_Recognition):
    """What other programs rely on in metrics.json."""

    rank1_everyone: _Shares = {}
    map: _Shares = {}
    eer: _Shares = {}
    counts: dict[str, _Count | dict[str, _Count]] = {}
    iterations: _Count | None = None
    parameters: _Count | None = None
    ablations: list[_Ablation] = []
    exchange: _Exchange = _Exchange()
    baseline: _Recognition = _Recognition()


class _Cost(_Facts):
    """Likewise in cost.json."""

    training_minutes: _Time | None = None
    milliseconds_per_walk: _Time | None = None


class _Hardware(_Facts):
    threads: _Count | None = None


class _Protocol(_Facts):
    gallery: dict[str, str | int | list[str | int]]
    probes: dict[str, dict[str, str | int | list[str | int]]]


class _Data(_Facts):
    name: str = ""
    synthetic: bool = False
    citation: str = ""


class _Provenance(_Facts):
    """Likewise in provenance.json."""

    commit: str | None = None
    data_fingerprint: str = ""
    data: _Data = _Data()
    config_fingerprint: str = ""
    protocol: _Protocol | None = None
    start: str = ""
    stage_seconds: dict[str, _Time] = {}
    hardware: _Hardware = _Hardware()
    versions: dict = {}


class Run:
    """A run folder, finished or not; its files are read when they are first needed.

    name: relative to reports/, such as "quick" or "smoke/seed-0"; by default that of the folder.
    Properties raise InputError if a file is damaged; `problem` reports it without raising.
    """

    def __init__(self, folder: Path, name: str = ""):
        self.folder, self.name = folder, name or folder.resolve().name

    @classmethod
    def open(cls, folder: str | Path) -> "Run":
        """A finished run; InputError if it is missing, not finished or damaged."""
        run = cls(Path(folder))
        if not run.folder.is_dir():
            raise InputError(f"There is no run folder {folder}; `gaitlib runs` lists the runs there are.")
        for file in FILES:
            if not (run.folder / file).is_file():
                raise InputError(f"{folder} is not a finished run: it has no {file}; `gaitlib run` makes one.")
        if run.problem:
            raise InputError(run.problem)
        return run

    @cached_property
    def problem(self) -> str:
        """Why the run cannot be read, in a sentence; empty if it can."""
        try:
            _ = self.content, self.metrics, self.provenance, self.cost, self.history
        except InputError as error:
            return str(error)
        return ""

    @property
    def is_finished(self) -> bool:
        """Whether it has a page, which is written last."""
        return (self.folder / "index.html").is_file()

    @cached_property
    def content(self) -> dict:
        """The content of config.yaml."""
        return read_yaml(self.folder / "config.yaml")

    @cached_property
    def config(self) -> Config:
        """The configuration it was run with."""
        return resolve(self.content, str(self.folder / "config.yaml"))

    @cached_property
    def metrics(self) -> dict:
        """The content of metrics.json; {} if there is none yet."""
        return self._facts("metrics.json", _Metrics)

    @cached_property
    def provenance(self) -> dict:
        """The content of provenance.json; {} if there is none yet."""
        return self._facts("provenance.json", _Provenance)

    def _facts(self, name: str, shape: type[_Facts]) -> dict:
        path = self.folder / name
        try:
            content = read_json(path)
        except Unreadable as error:
            if error.is_missing:
                return {}
            raise
        try:
            shape.model_validate(content)
        except ValidationError as error:
            first = error.errors()[0]
            raise Unreadable(path, f"{'.'.join(map(str, first['loc']))}: {first['msg'].lower()}") from None
        return content

    @cached_property
    def history(self) -> pd.DataFrame | None:
        """The training history, a row per validation, NaN for a rank-1 that is not a share; None if there was no training."""
        path = self.folder / "checkpoint" / "history.csv"
        try:
            with opened(path) as file:
                table = pd.read_csv(file)
        except Unreadable as error:
            if error.is_missing:
                return None
            raise
        except ValueError:
            raise Unreadable(path, "it is not a table") from None
        if lacking := {"iteration", "validation_rank1"} - set(table):
            raise Unreadable(path, f"it has no column {min(lacking)}")
        iterations, shares = (pd.to_numeric(table[name], errors="coerce") for name in ("iteration", "validation_rank1"))
        return table.assign(iteration=iterations, validation_rank1=shares.where(shares.between(0, 1)))

    @property
    def validation(self) -> float | None:
        """The best validation rank-1 of its training, a share; None if none was measured."""
        best = math.nan if self.history is None else self.history["validation_rank1"].max()
        return None if math.isnan(best) else float(best)

    def rank1(self, probe_set: str = "mean") -> float | None:
        """Cross-view rank-1 of a probe set, a share; None if it was not measured."""
        return self.metrics.get("rank1", {}).get(probe_set)

    @property
    def seed(self) -> object:
        """The seed of its random numbers; runs that differ only in it count as one."""
        return self.content.get("seed")

    @property
    def seconds(self) -> float | None:
        """How long all of its stages took; None before it was complete."""
        taken = self.provenance.get("stage_seconds")
        return sum(taken.values()) if taken else None

    @property
    def core_hours(self) -> float | None:
        """These seconds times the threads of torch, in hours; None if one of the two is not known."""
        threads = self.provenance.get("hardware", {}).get("threads")
        return None if self.seconds is None or threads is None else self.seconds * threads / 3600

    @property
    def cost(self) -> dict[str, float | None]:
        """How large the network is, how long it trained, and how long a walk takes; None where it is not known."""
        took = self._facts("cost.json", _Cost)
        return {
            "parameters": self.metrics.get("parameters"), "training minutes": took.get("training_minutes"),
            "ms a walk": took.get("milliseconds_per_walk"),
        }  # fmt: skip

    @property
    def data(self) -> str:
        """Fingerprint of the data set it was measured on."""
        return self.provenance.get("data_fingerprint", "")

    @cached_property
    def protocol(self) -> Protocol:
        """The protocol it was made with; the file of that name may have changed since."""
        try:
            return Protocol(**self.provenance["protocol"])
        except (KeyError, TypeError):
            raise Unreadable(self.folder / "provenance.json", "it holds no protocol of this version") from None

    @cached_property
    def matrices(self) -> dict[str, "RankMatrix"]:
        """Probe set -> rank-1 by pair of views, ranked again from embeddings.npz."""
        from gaitlib.evaluation.embedding import Embeddings  # imports torch, which lists of runs do not need
        from gaitlib.evaluation.ranking import rank_matrix

        embeddings = Embeddings.load(self.folder / "embeddings.npz")
        gallery, probes = self.protocol.roles(embeddings.index)
        return {name: rank_matrix(embeddings, gallery, rows, name) for name, rows in probes.items()}

    def matches(self, words: Iterable[str]) -> bool:
        """Whether it matches all words: key=value of its configuration, or part of its name, with * and ? as wildcards."""
        settings = {} if self.problem else {key: str(value).lower() for key, value in flat(self.content)}
        return all(
            settings.get(key) == value.lower() if equals else fnmatch(self.name, f"*{key}*")
            for key, equals, value in (word.partition("=") for word in words)
        )


def flat(content, prefix: str = "") -> Iterable[tuple[str, object]]:
    """Nested dicts as (dotted key, value); lists of plain values are one comma-separated value."""
    if isinstance(content, (list, tuple)) and any(isinstance(v, (Mapping, list, tuple)) for v in content):
        content = dict(enumerate(content))
    if isinstance(content, Mapping) and content:
        for key, value in content.items():
            yield from flat(value, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(content, (Mapping, list, tuple)):
        yield prefix, ", ".join(map(str, content)) if content else "none"
    else:
        yield prefix, content
