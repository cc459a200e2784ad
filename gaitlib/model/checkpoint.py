"""Checkpoints: weights as safetensors that describe their own network, and the state that resuming needs."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from gaitlib import InputError
from gaitlib.files import replacing
from gaitlib.model.recognizer import GaitModel

WEIGHTS, STATE = "model.safetensors", "state.pt"


def save_weights(path: Path, model: GaitModel, weights: dict[str, torch.Tensor], **facts) -> None:
    """Write weights with the model's settings and some facts (plain JSON values) beside them; whole or not at all."""
    metadata = {"model": json.dumps(model.settings), "facts": json.dumps(facts)}
    _atomically(path, lambda part: save_file({k: v.detach().cpu().contiguous() for k, v in weights.items()}, part, metadata))


def save_state(path: Path, state: dict) -> None:
    """Write the state for resuming: tensors and plain values; whole or not at all."""
    _atomically(path, lambda part: torch.save(state, part))


def _atomically(path: Path, write) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with replacing(path) as part:
            write(part)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise OSError(f"The checkpoint {path} could not be written ({error}); the one before it is kept.") from error


def find_weights(path: str | Path) -> Path:
    """The weights file of a run folder, a checkpoint folder, or the file itself; InputError where there is none."""
    path = Path(path)
    for candidate in (path, path / WEIGHTS, path / "checkpoint" / WEIGHTS):
        if candidate.is_file():
            return candidate
    raise InputError(f"{path} holds no checkpoint: expected a run folder, a folder with {WEIGHTS}, or such a file.")


def load_model(path: str | Path) -> tuple[GaitModel, dict]:
    """Build the network a checkpoint describes and load its weights; returns it in eval mode, with the facts saved beside it.

    Raises InputError where the file is damaged, was not written by this program, or a weight does not fit (it is named).
    """
    path = find_weights(path)
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
        model = GaitModel(**json.loads(metadata["model"]))
        facts = json.loads(metadata["facts"])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a checkpoint of this program ({error}).") from None
    expected = model.state_dict()
    wrong = [k for k in expected if k not in weights or weights[k].shape != expected[k].shape]
    wrong += [k for k in weights if k not in expected]
    if wrong:
        raise InputError(f"{path} does not fit the network it describes, first at {wrong[0]}; train again or take another file.")
    model.load_state_dict(weights)
    return model.eval(), facts


def load_state(path: Path) -> dict:
    """The state for resuming; InputError where it is damaged."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InputError(f"{path} is damaged ({type(error).__name__}); delete it to train from the start.") from None
