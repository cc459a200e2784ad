"""The typed configuration: configs/default.yaml has every key, other files override some, and the command line overrides both."""

import copy
import difflib
import math
from collections.abc import Iterable, Iterator, Sequence
from functools import reduce
from itertools import accumulate
from operator import getitem
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from gaitlib import InputError, networks
from gaitlib.files import Unreadable, read_text

#: Limits of bytes, values and digits of a configuration, so that reading it ends soon.
_MOST_TEXT, _MOST_VALUES, _MOST_DIGITS = 2**20, 100_000, 100
#: The key under which any name may stand.
_FREE = "model.network_arguments"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


_Share = Annotated[float, Field(ge=0, lt=1)]
_Seed = Annotated[int, Field(ge=0, lt=2**63)]  # the range that torch accepts


class Walkers(_Section):
    """The synthetic people, used if no data set is given."""

    subjects: int = Field(ge=4, le=9999)
    more: int = Field(ge=0, le=9999)
    variety: float = Field(ge=0, le=2)
    seed: _Seed


class Model(_Section):
    """The networks; configs/default.yaml explains each key, here and below. Keys with a default are missing in older runs."""

    autoencoder: Literal["geometric", "paper", "none"]
    encoder_width: int = Field(ge=3)
    encoder_kernel: int = Field(ge=1)
    layout: Literal["trajectories", "scrambled"]
    static_rows: int = Field(ge=1, le=30)
    decoder_dropout: float = Field(ge=0, lt=1)
    recognizer: Literal["paper", "lean"]
    network: str = Field("", pattern=r"^([^\x00-\x1f\x7f]+:[A-Za-z_]\w*)?$", max_length=1000)
    network_arguments: dict[str, JsonValue] = {}
    recognizer_width: int = Field(ge=1)
    embedding: int = Field(ge=1)
    features: list[Literal["pose", "motion", "body", "view"]] = Field(min_length=1)
    end_to_end: bool
    discriminants: float = Field(ge=0)
    body_discriminants: int = Field(ge=0)
    window: int = Field(ge=16, le=4096)


#: The losses that have a weight.
TERMS = (
    "reconstruction", "view_exchange", "view_swap", "invariance_motion", "invariance_body", "invariance_view", "camera",
    "body_over_time", "triplet", "cycle", "identity", "center", "contrastive",
)  # fmt: skip


class Losses(_Section):
    """The weights of the losses, and how they are computed."""

    reconstruction: float = Field(ge=0)
    reconstruction_error: Literal["aligned", "frame", "distance"]
    time_shift: Literal["window", "batch"]
    target: Literal["truth", "seen"]
    frame_by_frame: Literal["synchronous", "all"]
    view_exchange: float = Field(ge=0)
    view_code_of: Literal["another", "partner", "both"]
    view_swap: float = Field(ge=0)
    invariance_motion: float = Field(ge=0)
    invariance_body: float = Field(ge=0)
    invariance_view: float = Field(ge=0)
    invariance: Literal["absolute", "relative"]
    camera: float = Field(ge=0)
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
    """How training walks are varied."""

    mirror: float = Field(ge=0, le=1)
    noise: float = Field(ge=0)
    missing: float = Field(ge=0, le=1)
    truth: float = Field(ge=0, le=1)


class Training(_Section):
    """Length, batches and optimizer."""

    start: str
    iterations: int = Field(ge=1)
    minutes: float = Field(0, ge=0)
    people: int = Field(ge=2)
    walks_per_person: int = Field(ge=1)
    partners: Literal["synchronous", "fixed"]
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
    """How walks are embedded and evaluated."""

    stride: int = Field(ge=1)
    mirrored: bool
    adapt: bool
    bootstrap: int = Field(ge=1)
    studies: bool


class Config(_Section):
    """A complete configuration; it cannot be changed."""

    seed: _Seed
    protocol: str
    walkers: Walkers
    model: Model
    losses: Losses
    augmentation: Augmentation
    training: Training
    evaluation: Evaluation

    @model_validator(mode="before")
    @classmethod
    def _without_codes(cls, content: dict):
        """Without an autoencoder, what needs its codes is off."""
        model, losses = content.get("model"), content.get("losses")
        if isinstance(model, dict) and isinstance(losses, dict) and model.get("autoencoder") == "none":
            off = dict.fromkeys(set(TERMS) - {"identity", "center", "contrastive"}, 0.0) | {"logged": []}
            return content | {"model": model | {"discriminants": 0.0, "body_discriminants": 0}, "losses": losses | off}
        return content

    @model_validator(mode="after")
    def _shapes(self):
        own, paper = bool(self.model.network), self.model.recognizer == "paper" and not self.model.network
        if self.model.network_arguments and not own:
            raise ValueError("model.network_arguments belongs to model.network, which names none")
        if paper and self.model.window % 2:
            raise ValueError("model.window must be even for the paper recognizer")
        if len(set(self.model.features)) < len(self.model.features):
            raise ValueError(f"model.features must name each feature once, not {', '.join(self.model.features)}")
        if self.model.encoder_kernel % 2 == 0:
            raise ValueError("model.encoder_kernel must be odd")
        used = {name for name in TERMS if getattr(self.losses, name)} | set(self.losses.logged)
        if self.model.autoencoder == "geometric":
            if self.model.layout == "scrambled" or self.model.static_rows < 30:
                raise ValueError("model.layout and model.static_rows belong to the paper autoencoder, not the geometric one")
            if paper:
                raise ValueError("model.recognizer must be lean: the body code of a geometric autoencoder is constant over time")
            if wrong := sorted(used & {"body_over_time", "triplet"}):
                raise ValueError(f"losses.{wrong[0]} belongs to the paper autoencoder; geometric codes differ in size")
        elif self.model.body_discriminants:
            raise ValueError("model.body_discriminants belongs to the geometric autoencoder")
        elif "camera" in used:
            raise ValueError("losses.camera needs the cameras of the geometric autoencoder")
        if self.model.autoencoder == "none" and not own and (paper or self.model.features != ["pose"]):
            raise ValueError(
                "without an autoencoder there are no codes: name a model.network, or choose features: [pose] and recognizer: lean"
            )
        if not paper and (self.losses.center or "center" in self.losses.logged):
            raise ValueError("losses.center needs the centers of the paper recognizer")
        if not any(getattr(self.losses, name) for name in TERMS):
            raise ValueError("all weights in losses are 0, so there is nothing to train")
        return self


def _clone() -> Path | None:
    """The clone of the repository that contains the working folder."""
    places = (Path.cwd(), *Path.cwd().parents)
    return next((p for p in places if (p / "configs" / "default.yaml").is_file() and (p / "notebooks").is_dir()), None)


def root() -> Path:
    """The folder with notebooks/ and configs/: the clone that contains the working folder, or else that of this package."""
    folder = _clone() or Path(__file__).parents[1]
    if not (folder / "configs" / "default.yaml").is_file():
        raise InputError("No configs/ and notebooks/ were found here; work in a clone of the repository.")
    return folder


def workspace() -> Path:
    """The folder for reports/ and cache/: the clone that contains the working folder, or else the working folder."""
    return _clone() or Path.cwd()


def config_folder() -> Path:
    """configs/ of the working folder, or else of `root`."""
    return Path("configs") if Path("configs/default.yaml").is_file() else root() / "configs"


def load_config(path: str | Path, overrides: Sequence[str] = (), layers: Iterable[tuple[str, dict]] = ()) -> Config:
    """default.yaml, then the overrides in `path`, then `layers`, then `overrides` like "training.iterations=200".

    layers: each a name for errors, and keys and values, nested or dotted.
    Raises InputError for a file that is missing or not YAML, an unknown key, and a value that does not fit.
    """
    content = read_yaml(config_folder() / "default.yaml")
    try:
        changes = read_yaml(path)
    except Unreadable as error:
        known = ", ".join(sorted(p.name for p in config_folder().glob("*.yaml")))
        raise InputError(f"The configuration {path} cannot be read ({error.why}); configs/ has: {known}.") from None
    for where, given in [(str(path), changes), *layers]:
        _merge(content, given, where)
    if Path(path).name != "config.yaml":  # which is that of a run folder, and may come from anybody
        networks.give(str(content["model"]["network"]), Path(path).parent)
    return resolve(content, str(path), overrides)


def resolve(content: dict, where: str, overrides: Sequence[str] = ()) -> Config:
    """Change a complete configuration like --set, in place, and check it; InputError as in `load_config`.

    where: its name in the error, which names the first key whose value does not fit.
    """
    sources: dict[str, str] = {}  # of the changed keys
    for text in overrides:
        key, equals, value = text.partition("=")
        said = f"--set {_short(text)}"
        if not equals:
            raise InputError(f"{said}: write it as key=value, for example training.iterations=200.")
        try:
            changes = {key.strip(): parse_yaml(value)}
        except yaml.YAMLError:
            raise InputError(f"{said}: the value is not valid YAML.") from None
        _merge(content, changes, said)
        networks.give(str(dict(_flat(changes)).get("model.network", "")))
        sources |= dict.fromkeys((name for name, _ in _flat(changes)), said)
    try:
        return Config.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:
            raise InputError(f"{where}: {first['ctx']['error']}.") from None
        *outer, key = accumulate(map(str, first["loc"]), "{}.{}".format)  # of features.1 also features
        if first["type"] == "missing":
            raise InputError(f"{where}: {key} is missing; configs/default.yaml explains it.") from None
        where = next((sources[name] for name in (key, *outer) if name in sources), where)
        raise InputError(f"{where}: {_short(key)} = {_short(repr(first['input']))}: {first['msg']}.") from None


class _Loader(yaml.SafeLoader):
    """YAML in which a repeated key is an error, because the first would be lost, and in which dates stay text."""

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
    """The content of a YAML text; yaml.YAMLError if it is not YAML, repeats a key, contains itself, or is too large."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node and _values(node, {}) > _MOST_VALUES:
            raise yaml.YAMLError(f"its anchors contain themselves, or expand to more than {_MOST_VALUES:,} values")
        return loader.construct_document(node) if node else None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:  # of tags like !!int, !!bool
        raise yaml.YAMLError(str(error)) from None
    finally:
        loader.dispose()


def _values(node: yaml.Node, known: dict[int, float]) -> float:
    """The number of values with all anchors expanded; `known` has the counts of nodes visited before."""
    if id(node) not in known:
        known[id(node)] = math.inf  # if it contains itself
        below = node.value if isinstance(node, yaml.CollectionNode) else ()
        if isinstance(node, yaml.MappingNode):
            below = [each for pair in below for each in pair]
        elif isinstance(node, yaml.ScalarNode) and len(node.value) > _MOST_DIGITS and node.tag.endswith((":int", ":float")):
            raise yaml.YAMLError(f"a number has {len(node.value):,} digits")
        known[id(node)] = 1 + sum(_values(each, known) for each in below)
    return known[id(node)]


def read_yaml(path: str | Path) -> dict:
    """The keys and values of a YAML file; Unreadable if it cannot be read, InputError if it holds something else."""
    try:
        content = parse_yaml(read_text(path, _MOST_TEXT))
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not valid YAML: {_short(' '.join(str(error).split()), 300)}") from None
    if content is not None and not isinstance(content, dict):
        raise InputError(f"{path} must hold keys and values, as configs/default.yaml does.")
    return content or {}


def _short(text: str, most: int = 150) -> str:
    """The text, or its beginning."""
    return text if len(text) <= most else f"{text[:most]}..."


def _flat(content: dict, prefix: str = "") -> Iterator[tuple[str, object]]:
    """The dotted keys and values of nested ones."""
    for key, value in content.items():
        if isinstance(value, dict) and f"{prefix}{key}" != _FREE:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _merge(base: dict, changes: dict, where: str) -> None:
    """Change values of a complete configuration; InputError for an unknown key."""
    known = dict(_flat(base))
    for key, value in _flat(changes):
        if key not in known and not key.startswith(f"{_FREE}."):
            near = difflib.get_close_matches(key[:100], known, 1, 0)[0]
            raise InputError(f"{where}: there is no key {_short(key)!r} in the configuration; the nearest is {near!r}.")
        *parents, last = key.split(".")
        try:
            reduce(getitem, parents, base)[last] = copy.deepcopy(value)  # a later change must not reach `changes`
        except (LookupError, TypeError):
            raise InputError(f"{where}: {_short(key)} is inside something without keys; set {_FREE} as a whole.") from None
