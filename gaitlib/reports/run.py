"""One run folder as everything else sees it: what it was asked, what it found, and whether its files can be believed."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path

import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError

from gaitlib import InputError
from gaitlib.config import Config, read_yaml, resolve
from gaitlib.data.protocol import Protocol
from gaitlib.evaluation.embedding import Embeddings
from gaitlib.evaluation.ranking import RankMatrix, rank_matrix
from gaitlib.files import Unreadable, opened, read_json

#: The files of a finished run that others read.
FILES = ("config.yaml", "metrics.json", "provenance.json", "embeddings.npz")
_Shares = dict[str, float | None]


class _Baseline(BaseModel):
    rank1: _Shares = {}
    rank1_same_view: _Shares = {}
    ci95: dict[str, list[float | None]] = {}


class _Metrics(BaseModel):
    """What other programs rely on in metrics.json; more may stand there."""

    model_config = ConfigDict(strict=True)
    rank1: _Shares = {}
    rank1_same_view: _Shares = {}
    ci95: dict[str, list[float | None]] = {}
    map: _Shares = {}
    eer: _Shares = {}
    counts: dict[str, int | dict[str, int]] = {}
    iterations: int | None = None
    baseline: _Baseline = _Baseline()


class _Provenance(BaseModel):
    """Likewise in provenance.json."""

    model_config = ConfigDict(strict=True)
    commit: str | None = None
    data_fingerprint: str = ""
    config_fingerprint: str = ""
    protocol: dict = {}
    start: str = ""
    stage_seconds: dict[str, float] = {}
    hardware: dict = {}
    versions: dict = {}


@dataclass(frozen=True)
class Run:
    """A run folder, finished or not; its files are read when they are first asked for.

    name: as seen from reports/, such as "quick" or "smoke/seed-0"; by default that of the folder.
    Properties raise InputError where a file is damaged; `problem` says it without raising.
    """

    folder: Path
    name: str = ""

    def __post_init__(self):
        object.__setattr__(self, "name", self.name or self.folder.resolve().name)

    @classmethod
    def open(cls, folder: str | Path) -> "Run":
        """A finished run; InputError where it is none, or damaged."""
        run = cls(Path(folder))
        for file in FILES:
            if not (run.folder / file).is_file():
                raise InputError(f"{folder} is no finished run: it holds no {file}; `gaitlib run` makes one.")
        if run.problem:
            raise InputError(run.problem)
        return run

    @cached_property
    def problem(self) -> str:
        """Why the run cannot be read, a sentence; empty where it can."""
        try:
            _ = self.content, self.metrics, self.provenance, self.history
        except InputError as error:
            return str(error)
        return ""

    @property
    def is_finished(self) -> bool:
        """Whether it has its page, which is written last."""
        return (self.folder / "index.html").is_file()

    @cached_property
    def content(self) -> dict:
        """What config.yaml says."""
        return read_yaml(self.folder / "config.yaml")

    @cached_property
    def config(self) -> Config:
        """The configuration it was run with."""
        return resolve(self.content, str(self.folder / "config.yaml"))

    @cached_property
    def metrics(self) -> dict:
        """What metrics.json says; {} where there is none yet."""
        return self._facts("metrics.json", _Metrics)

    @cached_property
    def provenance(self) -> dict:
        """What provenance.json says; {} where there is none yet."""
        return self._facts("provenance.json", _Provenance)

    def _facts(self, name: str, shape: type[BaseModel]) -> dict:
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
        """A row each look at the validation people; None where there was no training."""
        path = self.folder / "checkpoint" / "history.csv"
        try:
            with opened(path) as file:
                return pd.read_csv(file)
        except Unreadable as error:
            if error.is_missing:
                return None
            raise
        except ValueError:
            raise Unreadable(path, "it is no table") from None

    @property
    def validation(self) -> float | None:
        """The best rank-1 on the validation people that its training saw, a share; None where none was measured."""
        if self.history is None or "validation_rank1" not in self.history:
            return None
        scores = pd.to_numeric(self.history["validation_rank1"], errors="coerce")
        scores = scores[(scores >= 0) & (scores <= 1)]
        return float(scores.max()) if len(scores) else None

    def rank1(self, probe_set: str = "mean") -> float | None:
        """Cross-view rank-1 of a probe set, a share; None where it was not measured."""
        share = self.metrics.get("rank1", {}).get(probe_set)
        return share if share is not None and math.isfinite(share) else None

    @property
    def seconds(self) -> float | None:
        """What all of its stages took; None before it was complete."""
        taken = self.provenance.get("stage_seconds")
        return sum(taken.values()) if taken else None

    @property
    def data(self) -> str:
        """Fingerprint of the data set it was measured on."""
        return self.provenance.get("data_fingerprint", "")

    @cached_property
    def protocol(self) -> Protocol:
        """The protocol it was made by; its file may have changed since."""
        known = self.provenance.get("protocol")
        return Protocol(**known) if known else Protocol.named(self.config.protocol)

    @cached_property
    def matrices(self) -> dict[str, RankMatrix]:
        """Probe set -> what each person scored, ranked anew from embeddings.npz."""
        embeddings = Embeddings.load(self.folder / "embeddings.npz")
        gallery, probes = self.protocol.roles(embeddings.index)
        return {name: rank_matrix(embeddings, gallery, rows, name) for name, rows in probes.items()}

    def matches(self, words: Iterable[str]) -> bool:
        """Whether it fits all of the words: key=value of its configuration, or a part of its name, in which * and ? may stand."""
        settings = {} if self.problem else {key: str(value).lower() for key, value in flat(self.content)}
        for word in words:
            key, equals, value = word.partition("=")
            if equals and settings.get(key) != value.lower():
                return False
            if not equals and not fnmatch(self.name, f"*{word}*"):
                return False
        return True


def flat(content, prefix: str = "") -> Iterable[tuple[str, object]]:
    """Nested dicts as (dotted key, value); lists of plain values are one comma-separated value."""
    if isinstance(content, Mapping) and content:
        for key, value in content.items():
            yield from flat(value, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(content, (list, tuple)) and any(isinstance(v, (Mapping, list, tuple)) for v in content):
        for i, value in enumerate(content):
            yield from flat(value, f"{prefix}.{i}")
    elif isinstance(content, (list, tuple)):
        yield prefix, ", ".join(str(v) for v in content) if content else "none"
    elif isinstance(content, Mapping):
        yield prefix, "none"
    else:
        yield prefix, content
