"""The typed configuration: configs/default.yaml has every key, other files override some, the command line overrides both."""

import difflib
import json
from collections.abc import Iterable, Mapping
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gaitlib import InputError


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


_Share = Annotated[float, Field(ge=0, lt=1)]
_Seed = Annotated[int, Field(ge=0, lt=2**63)]  # what torch takes


class Walkers(_Section):
    subjects: int = Field(ge=4, le=9999)
    seed: _Seed


class Model(_Section):
    encoder: Literal["paper", "lean"]
    layout: Literal["trajectories", "scrambled"]
    static_rows: int = Field(ge=1, le=30)
    encoder_width: int = Field(ge=3)
    encoder_kernel: int = Field(ge=1)
    decoder: Literal["gated", "paper"] = "paper"  # as all were when runs did not say
    decoder_dropout: float = Field(ge=0, lt=1)
    recognizer: Literal["paper", "lean"]
    recognizer_width: int = Field(ge=1)
    embedding: int = Field(ge=1)
    features: list[Literal["pose", "motion", "body", "view"]] = Field(min_length=1)
    end_to_end: bool
    discriminants: float = Field(ge=0)
    window: int = Field(ge=16, le=4096)


#: The losses that have a weight.
TERMS = (
    "reconstruction", "view_exchange", "view_swap", "invariance_motion", "invariance_body", "invariance_view",
    "body_over_time", "triplet", "cycle", "identity", "center", "contrastive",
)  # fmt: skip


class Losses(_Section):
    reconstruction: float = Field(ge=0)
    reconstruction_error: Literal["aligned", "frame"]
    time_shift: Literal["window", "batch"]
    frame_by_frame: Literal["synchronous", "all"]
    view_exchange: float = Field(ge=0)
    view_code_of: Literal["another", "partner"] = "partner"  # likewise
    view_swap: float = Field(ge=0)
    invariance_motion: float = Field(ge=0)
    invariance_body: float = Field(ge=0)
    invariance_view: float = Field(ge=0)
    body_over_time: float = Field(ge=0)
    body_over_time_rewards: Literal["constancy", "change"]
    triplet: float = Field(ge=0)
    triplet_distance: Literal["code", "scalar"]
    cycle: float = Field(ge=0)
    identity: float = Field(ge=0)
    label_smoothing: float = Field(ge=0, le=0.5)
    smoothing_over: Literal["all", "others"]
    center: float = Field(ge=0)
    contrastive: float = Field(ge=0)
    temperature: float = Field(gt=0)
    logged: list[Literal[TERMS]]


class Augmentation(_Section):
    mirror: float = Field(ge=0, le=1)
    noise: float = Field(ge=0)
    joint_dropout: float = Field(ge=0, le=1)


class Training(_Section):
    iterations: int = Field(ge=1)
    people: int = Field(ge=2)
    walks_per_person: int = Field(ge=1)
    partners: Literal["synchronous", "fixed"]
    exchange_share: float = Field(gt=0, le=1)
    frame_share: float = Field(gt=0, le=1)
    optimizer: Literal["adam", "adamw"]
    learning_rate: float = Field(gt=0)
    betas: tuple[_Share, _Share]
    weight_decay: float = Field(ge=0)
    schedule: Literal["cosine", "step"]
    warmup: int = Field(ge=0)
    step_every: int = Field(ge=1)
    gradient_clip: float = Field(ge=0)
    average: float = Field(ge=0, lt=1)
    validate_every: int = Field(ge=1)
    stay_in_eval: bool
    patience: int = Field(ge=0)
    shards: int = Field(ge=1)
    precision: Literal["auto", "32-true", "64-true", "bf16-mixed"]
    cuda_graph: bool


class Evaluation(_Section):
    stride: int = Field(ge=1)
    mirrored: bool
    bootstrap: int = Field(ge=1)
    studies: bool


class Config(_Section):
    seed: _Seed
    protocol: str
    walkers: Walkers
    model: Model
    losses: Losses
    augmentation: Augmentation
    training: Training
    evaluation: Evaluation

    @model_validator(mode="after")
    def _shapes(self):
        if self.model.recognizer == "paper" and self.model.window % 2:
            raise ValueError("model.window must be even for the paper recognizer")
        if len(set(self.model.features)) < len(self.model.features):
            raise ValueError(f"model.features must name each once, not {', '.join(self.model.features)}")
        if (decoded := round(self.training.frame_share * self.model.window)) < 3:
            raise ValueError(f"training.frame_share leaves {decoded} of {self.model.window} frames; the decoder needs 3")
        if self.model.encoder_kernel % 2 == 0:
            raise ValueError("model.encoder_kernel must be odd")
        if self.model.encoder == "lean" and (self.model.layout == "scrambled" or self.model.static_rows < 30):
            raise ValueError("model.layout and model.static_rows are of the paper encoder; the lean one sees whole joints")
        if self.model.decoder == "gated" and self.model.layout == "scrambled":
            raise ValueError("model.decoder must be paper where model.layout is scrambled: what stands still are then no poses")
        if self.model.layout == "scrambled" and self.training.frame_share < 1:
            raise ValueError(
                "training.frame_share must be 1 where model.layout is scrambled: the columns of its codes are no frames"
            )
        if self.model.recognizer == "lean" and (self.losses.center or "center" in self.losses.logged):
            raise ValueError("losses.center needs the centers of the paper recognizer")
        if not any(getattr(self.losses, name) for name in TERMS):
            raise ValueError("all weights in losses are 0, so there is nothing to train")
        return self


def config_folder() -> Path:
    """configs/ of the working folder, or else of the repository this package is installed from."""
    for folder in (Path("configs"), Path(__file__).parents[1] / "configs"):
        if (folder / "default.yaml").is_file():
            return folder
    raise InputError("There is no configs/default.yaml here; run from the root of the repository.")


def load_config(path: str | Path, overrides: list[str] | tuple = (), layers: Iterable[tuple[str, dict]] = ()) -> Config:
    """default.yaml, then the overrides in `path`, then `layers`, then `overrides` like "training.iterations=200".

    layers: what to call it in an error, and its keys and values, nested or dotted.
    Raises InputError for a file that is missing or not YAML, a key that does not exist (the nearest valid one is named) and a
    value that does not fit.
    """
    content = read_yaml(config_folder() / "default.yaml")
    known = dict(_flat(content))
    for where, changes in [(str(path), read_yaml(Path(path))), *layers]:
        _merge(content, changes, known, where)
    sources: dict[str, str] = {}
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"--set {text}: write it as key=value, for example training.iterations=200.")
        nested: dict = {}
        place = nested
        *parents, last = key.strip().split(".")
        for parent in parents:
            place = place.setdefault(parent, {})
        try:
            place[last] = parse_yaml(value)
        except yaml.YAMLError:
            raise InputError(f"--set {text}: the value is not valid YAML.") from None
        _merge(content, nested, known, f"--set {text}")
        sources |= dict.fromkeys((name for name, _ in _flat(nested)), f"--set {text}")
    return resolve(content, str(path), sources)


def resolve(content: dict, where: str, sources: Mapping[str, str] | None = None) -> Config:
    """Check a complete configuration; InputError names the first key whose value does not fit.

    where: what to call it in the error. sources: the same for keys that came from elsewhere.
    """
    try:
        return Config(**content)
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:
            raise InputError(f"{where}: {first['ctx']['error']}.") from None
        *outer, key = accumulate(map(str, first["loc"]), "{}.{}".format)  # of features.1 also features
        if first["type"] == "missing":
            raise InputError(f"{where}: {key} is missing; configs/default.yaml explains it.") from None
        where = next((sources[name] for name in (key, *outer) if name in sources), where) if sources else where
        raise InputError(f"{where}: {key} = {first['input']!r}: {first['msg']}.") from None


class _Loader(yaml.SafeLoader):
    """YAML in which no key is given twice, of which the first would be lost, and in which dates stay text."""

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is given twice", key.start_mark)
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:timestamp"]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def parse_yaml(text: str):
    """What a YAML text says. Raises yaml.YAMLError where it is none, repeats a key, or contains itself."""
    try:
        content = yaml.load(text, _Loader)
        json.dumps(content, default=str, skipkeys=True)  # fails where an anchor stands within itself
    except (ValueError, RecursionError) as error:
        raise yaml.YAMLError(str(error)) from None
    return content


def read_yaml(path: Path) -> dict:
    """The keys and values of a YAML file; InputError where it cannot be read or is something else."""
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        known = ", ".join(sorted(p.name for p in config_folder().glob("*.yaml")))
        raise InputError(f"The configuration {path} cannot be read ({type(error).__name__}); configs/ has: {known}.") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if content is not None and not isinstance(content, dict):
        raise InputError(f"{path} must hold keys and values, as configs/default.yaml does.")
    return content or {}


def _flat(content: dict, prefix: str = ""):
    for key, value in content.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _merge(base: dict, changes: dict, known: dict, where: str) -> None:
    for key, value in _flat(changes):
        if key not in known:
            near = difflib.get_close_matches(key, known, 1, 0) or [""]
            raise InputError(f"{where}: there is no key {key!r} in the configuration; the nearest is {near[0]!r}.")
        *parents, last = key.split(".")
        place = base
        for parent in parents:
            place = place[parent]
        place[last] = value
