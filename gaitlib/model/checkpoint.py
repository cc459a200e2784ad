"""Checkpoints: weights as safetensors that describe their own network, the state for resuming, and released weights."""

import json
from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from gaitlib import InputError, networks
from gaitlib.config import Evaluation, Model, config_folder, load_config
from gaitlib.files import MOST_ARRAY, Unreadable, is_deep, opened, replacing
from gaitlib.model.autoencoder import PaperAutoencoder
from gaitlib.model.recognizer import GaitModel

WEIGHTS, STATE = "model.safetensors", "state.pt"
#: The name and the path of the checkpoint that comes with the package.
PRETRAINED, _PRETRAINED = "pretrained", Path(__file__).parents[1] / "pretrained" / WEIGHTS

#: Settings that older checkpoints lack have their defaults.
_DEFAULTS = {name: p.default for name, p in signature(GaitModel).parameters.items() if p.default is not p.empty}

#: First parts of the names in files of the released program, and where they belong; conv5-7 exist but are unused.
_RELEASED = dict.fromkeys(("motion_encoder", "body_encoder", "view_encoder", "decoder"), "autoencoder")
_RELEASED |= dict.fromkeys(("conv1", "conv2", "conv3", "conv4", "fc", "fc_cls", "center_loss"), "recognizer")
_UNUSED = ("conv5", "conv6", "conv7")
#: What the released program calls pose, motion, body, view, combined and combined_all.
_RELEASED_FEATURES = (["pose"], ["motion"], ["body"], ["view"], ["pose", "motion", "body"], ["pose", "motion", "body", "view"])


class _Settings(Model):
    """The arguments of GaitModel."""

    recognizer: Literal["paper", "lean", "none"]
    network_arguments: dict | None
    people: int = Field(ge=0)
    discriminant_people: int = Field(ge=0)


class _People(BaseModel):
    train: list[str]
    validation: list[str]


class _Facts(BaseModel):
    """The facts stored beside the weights, as far as known."""

    config: dict = {}
    data: str = ""
    walkers: bool = False
    iteration: int = 0
    people: _People = _People(train=[], validation=[])


def save_weights(path: Path, model: GaitModel, weights: dict[str, torch.Tensor], **facts) -> None:
    """Write weights together with the model's settings and some facts (plain JSON values); whole or not at all."""
    metadata = {"model": json.dumps(model.settings), "facts": json.dumps(facts)}
    _atomically(path, lambda part: save_file({k: v.detach().cpu().contiguous() for k, v in weights.items()}, part, metadata))


def save_state(path: Path, state: dict) -> None:
    """Write the state for resuming: tensors and plain values; whole or not at all."""
    _atomically(path, lambda part: torch.save(state, part))


def _atomically(path: Path, write: Callable[[Path], None]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with replacing(path) as part:
            write(part)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise OSError(f"The checkpoint {path} could not be written ({error}); the previous one is kept.") from error


def find_weights(path: str | Path) -> Path:
    """The weights file of a run folder, a checkpoint folder, or the file itself; for "pretrained" the one in the package.

    Raises InputError if there is none that can be opened.
    """
    path = Path(path)
    for candidate in (path, path / WEIGHTS, path / "checkpoint" / WEIGHTS):
        try:
            with opened(candidate, MOST_ARRAY):
                return candidate
        except Unreadable as error:
            if not error.is_missing and not candidate.is_dir():
                raise
    if path.name == PRETRAINED:
        return _PRETRAINED
    raise InputError(f"{path} holds no checkpoint: expected a run folder, a folder with {WEIGHTS}, or such a file.")


def released_files(path: str | Path) -> list[Path]:
    """The files in the comma-separated `path` if all are .pt or .pth, as the released program writes them; else none."""
    files = [Path(part.strip()) for part in str(path).split(",")]
    return files if all(file.suffix in (".pt", ".pth") for file in files) else []


def load_model(path: str | Path) -> tuple[GaitModel, dict]:
    """Build the network a checkpoint describes and load its weights; returns it in eval mode, with the facts saved beside it.

    path: a run folder, a checkpoint folder, a weights file, or files of the released program, "autoencoder.pt,recognizer.pt".
    Raises InputError if the file is damaged, was not written by either program, a weight does not fit (it is named), or its
    network is neither part of gaitlib nor given by the user.
    """
    if files := released_files(path):
        return load_released(files)
    path = find_weights(path)
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
        settings, facts = (json.loads(metadata[name]) for name in ("model", "facts"))
        settings = _checked(_Settings, _DEFAULTS | settings).model_dump()
        _checked(_Facts, facts)
        networks.check_given(settings["network"], path)
        own = not settings["network"] or networks.is_ours(settings["network"])
        with torch.device("meta" if own else "cpu"):  # allocate nothing before the shapes are known to fit
            model = GaitModel(**settings)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError, OverflowError) as error:
        why = " ".join(str(error).split())
        raise InputError(f"{path} cannot be read as a gaitlib checkpoint ({why}).") from None
    _check_fit(weights, model, str(path))
    types = {name: tensor.dtype for name, tensor in model.state_dict().items()}
    model.load_state_dict({name: tensor.to(types[name]) for name, tensor in weights.items()}, assign=True)
    return model.eval(), facts


def save_small(checkpoint: str | Path, path: Path) -> None:
    """Rewrite the weights of a checkpoint with 16 bits per number, with its settings and facts; `load_model` reads them."""
    model, facts = load_model(checkpoint)
    weights = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in model.state_dict().items()}
    save_weights(path, model, weights, **facts)


def _checked(shape: type[BaseModel], content: dict) -> BaseModel:
    """The content if it has this shape; otherwise ValueError, which names the first value that does not fit."""
    if is_deep(content):
        raise ValueError("its values are nested too deeply")
    try:
        return shape.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))} = {first['input']!r:.60}: {first['msg']}") from None


def settings_of(facts: dict, where: str | Path) -> dict:
    """The configuration that a checkpoint was trained with, from its facts; InputError if it has none."""
    if "config" not in facts:
        raise InputError(f"{where} does not say which configuration it was trained with; name one, or train again.")
    return facts["config"]


def evaluation_of(facts: dict, where: str | Path) -> Evaluation:
    """How walks are to be embedded with a checkpoint, from its facts; InputError as in `settings_of`."""
    given = {"evaluation": settings_of(facts, where).get("evaluation", {})}
    return load_config(config_folder() / "default.yaml", layers=[(where, given)]).evaluation


def load_released(files: list[Path], features: list[str] | None = None) -> tuple[GaitModel, dict]:
    """The network of configs/as_released.yaml with the weights of the released program, in eval mode, and its facts.

    files: state dictionaries saved with torch.save, plain or within a dictionary (as "state_dict", "model", ...), with or without
    "module." before each name: the autoencoder's and, for recognition, the recognizer's.
    features: the recognizer's input; None: inferred from the size of its matrix, which is the same for motion, body and view.
    Raises InputError as `load_model` does.
    """
    named = ",".join(str(file) for file in files)
    weights: dict[str, torch.Tensor] = {}
    for file in files:
        for name, tensor in _tensors(file).items():
            name = name.removeprefix("module.")
            first = name.partition(".")[0]
            if first not in _RELEASED and first not in _UNUSED:
                raise InputError(f"{file} holds {name}, which the released program does not have.")
            if first in _RELEASED:
                weights[f"{_RELEASED[first]}.{name}"] = tensor.float() if tensor.is_floating_point() else tensor
    config = load_config(config_folder() / "as_released.yaml").model_dump(mode="json")
    settings = config["model"]

    def rows(name: str, otherwise: int) -> int:
        return len(weights[name]) if name in weights else otherwise

    settings["recognizer_width"] = rows("recognizer.conv1.0.weight", settings["recognizer_width"])
    settings["embedding"] = rows("recognizer.fc.weight", settings["embedding"])
    if features or "recognizer.fc.weight" in weights:
        settings["features"] = features or _released_features(weights["recognizer.fc.weight"], settings, named)
    alone = {} if any(name.startswith("recognizer.") for name in weights) else {"recognizer": "none"}
    with torch.device("meta"):
        model = GaitModel(people=rows("recognizer.fc_cls.weight", 1), **settings | alone)
    for name in model.state_dict():
        if name.endswith("num_batches_tracked"):  # files of early torch lack it
            weights.setdefault(name, torch.zeros((), dtype=torch.int64))
    _check_fit(weights, model, named)
    model.load_state_dict(weights, assign=True)
    return model.eval(), {"config": config}


def _tensors(file: Path) -> dict[str, torch.Tensor]:
    """The state dictionary in a file of torch.save, whatever dictionary it is wrapped in."""
    content = _unpickled(file)
    wrappers = ("state_dict", "model_state_dict", "model", "net", "weights")
    for _ in wrappers:  # bounded, since it may contain itself
        inside = [content[w] for w in wrappers if isinstance(content.get(w), dict)] if isinstance(content, dict) else []
        content = inside[0] if inside else content
    if not isinstance(content, dict) or not content or not all(isinstance(t, torch.Tensor) for t in content.values()):
        raise InputError(f"{file} holds no state_dict(): expected a dictionary of names and tensors.")
    # a few bytes can be expanded to a tensor of any size
    if any(t.layout != torch.strided for t in content.values()) or sum(t.nbytes for t in content.values()) > MOST_ARRAY:
        raise InputError(f"{file} holds tensors that no network of the released program has: sparse or far too large.")
    return content


def _unpickled(path: Path):
    """The content of a torch.save file: tensors and plain values, never code. Raises Unreadable for anything else."""
    with opened(path, MOST_ARRAY) as file:
        try:
            return torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:
            raise Unreadable(path, f"it is not a complete file of tensors saved by torch.save ({type(error).__name__})") from None


def _released_features(matrix: torch.Tensor, settings: dict, named: str) -> list[str]:
    """The recognizer's input features, from the columns of its large matrix [E, columns]."""
    height = matrix.shape[1] / (2 * settings["recognizer_width"] * (settings["window"] // 2 + 1))
    fitting = [f for f in _RELEASED_FEATURES if sum(PaperAutoencoder.sizes[name] for name in f) // 2 + 1 == height]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise InputError(f"{named}: fc.weight fits motion, body and view alike; name one in load_released(..., features=[...]).")
    raise InputError(f"{named}: fc.weight has shape {list(matrix.shape)}, which fits no features of 64-frame windows.")


def _check_fit(weights: dict[str, torch.Tensor], model: GaitModel, where: str) -> None:
    """Raise InputError for the first weight that is missing, superfluous, or differs in shape or type from the model's."""
    expected = model.state_dict()
    for name, wanted in expected.items():
        if name not in weights:
            raise InputError(f"{where} does not fit its network: {name} is missing.")
        if weights[name].shape != wanted.shape:
            raise InputError(
                f"{where} does not fit its network: {name} has shape {list(weights[name].shape)}, not {list(wanted.shape)}."
            )
        if wanted.is_floating_point() and not weights[name].is_floating_point():
            raise InputError(f"{where} does not fit its network: {name} holds {weights[name].dtype}, not {wanted.dtype}.")
    if surplus := [name for name in weights if name not in expected]:
        raise InputError(f"{where} does not fit its network, which has no {surplus[0]}.")


def load_state(path: Path) -> dict:
    """The state for resuming; InputError if it is damaged."""
    try:
        return _unpickled(path)
    except Unreadable as error:
        raise InputError(f"{error} Delete it to train from the beginning.") from None
