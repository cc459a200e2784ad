"""Checkpoints come back as they were written, or say what is wrong with them."""

import json
import os
import pickle
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from gaitlib import InputError
from gaitlib.model.checkpoint import find_weights, load_model, load_state, save_small, save_state, save_weights, settings_of
from gaitlib.model.recognizer import GaitModel

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = GaitModel(people=3, window=16, encoder_width=6, recognizer_width=4, embedding=8, features=["pose", "body"])
    model(torch.randn(4, 30, 16))  # moves the running statistics away from their start
    return model.eval()


@pytest.fixture
def checkpoint(model, tmp_path):
    path = tmp_path / "checkpoint" / "model.safetensors"
    save_weights(path, model, model.state_dict(), iteration=7, config={"seed": 3})
    return path


def rewrite(path, change=lambda weights: None, **metadata):
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        kept = file.metadata() | metadata
    weights = load_file(path)
    change(weights)
    save_file(weights, path, {k: v for k, v in kept.items() if v is not None})


def test_round_trip(model, checkpoint):
    again, facts = load_model(checkpoint)
    assert facts == {"iteration": 7, "config": {"seed": 3}}
    assert again.settings == model.settings
    assert not again.training
    assert all(torch.equal(a, again.state_dict()[name]) for name, a in model.state_dict().items())
    x = torch.randn(2, 30, 16)
    assert torch.equal(again.embed(x), model.embed(x))


def test_a_run_folder_a_checkpoint_folder_and_the_file_itself(checkpoint, tmp_path):
    assert find_weights(checkpoint) == find_weights(checkpoint.parent) == find_weights(tmp_path) == checkpoint
    with pytest.raises(InputError, match="nothing-here holds no checkpoint"):
        load_model(tmp_path / "nothing-here")


def test_a_small_file_has_half_the_size_and_gives_nearly_the_same(model, checkpoint, tmp_path):
    small = tmp_path / "small.safetensors"
    save_small(checkpoint, small)
    assert small.stat().st_size < 0.6 * checkpoint.stat().st_size
    again, facts = load_model(small)
    assert facts == {"iteration": 7, "config": {"seed": 3}}
    assert {weight.dtype for weight in again.state_dict().values()} == {torch.float32, torch.int64}
    x = torch.randn(2, 30, 16)
    torch.testing.assert_close(again.embed(x), model.embed(x), rtol=0, atol=5e-3)


def test_the_package_brings_a_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model, facts = load_model("pretrained")
    assert facts["walkers"]
    assert find_weights(tmp_path / "pretrained").stat().st_size < 4 * 2**20
    assert torch.isfinite(model.embed(torch.randn(3, 30, 64), mirrored=True)).all()
    settings = settings_of(facts, "pretrained")
    written = yaml.safe_load((ROOT / "configs" / "pretrained.yaml").read_text())
    for section, values in written.items():
        assert values == settings[section] if section == "protocol" else values.items() <= settings[section].items()
    own = tmp_path / "pretrained"
    save_weights(own / "model.safetensors", model, model.state_dict())
    assert find_weights("pretrained").resolve() == own / "model.safetensors"


def test_a_weight_that_does_not_fit_is_named(checkpoint):
    rewrite(checkpoint, lambda w: w.update({"recognizer.fc.weight": torch.zeros(8, 17)}))
    with pytest.raises(InputError, match=r"recognizer\.fc\.weight"):
        load_model(checkpoint)


def test_a_missing_or_surplus_weight_is_named(checkpoint):
    rewrite(checkpoint, lambda w: w.update({"surplus.weight": torch.zeros(1)}))
    with pytest.raises(InputError, match=r"surplus\.weight"):
        load_model(checkpoint)
    rewrite(checkpoint, lambda w: (w.pop("surplus.weight"), w.pop("autoencoder.decoder.second.bias")))
    with pytest.raises(InputError, match=r"autoencoder\.decoder\.second\.bias"):
        load_model(checkpoint)


@pytest.mark.parametrize(
    "metadata",
    [
        {"model": None},
        {"facts": None},
        {"model": "no JSON"},
        {"model": "[1, 2]"},
        {"model": json.dumps({"people": 3, "unknown": 1})},
        {"model": json.dumps({"people": 3, "features": ["gait"]})},
        {"model": json.dumps({"people": 3, "autoencoder": "nonsense"})},
        {"model": json.dumps({"people": 3, "encoder": "lean", "decoder": "gated"})},  # of before the geometric autoencoder
        {"model": json.dumps({"people": 3, "window": -5})},
        {"model": json.dumps({"people": -3})},
        {"model": json.dumps({"window": 64})},
        {"facts": "[1]"},
        {"facts": json.dumps({"config": 3})},
        {"facts": json.dumps({"people": 3})},
        {"facts": json.dumps({"people": {"train": 1, "validation": ["7"]}})},
        {"facts": json.dumps({"data": 3})},
        {"facts": "[" * 10**5},
        {"facts": '{"config":' * 100 + "{}" + "}" * 100},
        {"model": json.dumps({"people": 3, "window": 10**7})},
        {"model": json.dumps({"people": 3, "encoder_width": 10**400})},
    ],
    ids=lambda metadata: str(metadata)[:40],
)
def test_descriptions_of_other_programs_are_refused(checkpoint, metadata):
    rewrite(checkpoint, **metadata)
    with pytest.raises(InputError, match="cannot be read as a gaitlib checkpoint") as error:
        load_model(checkpoint)
    assert "\n" not in str(error.value)


def test_a_network_that_no_memory_holds_is_not_made(checkpoint, model):
    rewrite(checkpoint, model=json.dumps(model.settings | {"people": 10**12}))
    with pytest.raises(InputError, match=r"recognizer\.fc_cls\.weight has shape \[3, 8\], not \[1000000000000, 8\]"):
        load_model(checkpoint)


def test_a_checkpoint_without_its_configuration_says_so(checkpoint):
    rewrite(checkpoint, facts=json.dumps({"iteration": 7}))
    _, facts = load_model(checkpoint)
    with pytest.raises(InputError, match="mine does not say which configuration it was trained with"):
        settings_of(facts, "mine")


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_pickles_are_refused_and_not_run(tmp_path):
    weights, state, trap = tmp_path / "model.safetensors", tmp_path / "state.pt", tmp_path / "ran"
    weights.write_bytes(pickle.dumps(Bomb(trap)))
    with pytest.raises(InputError, match=r"model\.safetensors cannot be read"):
        load_model(weights)
    torch.save({"model": Bomb(trap)}, weights)
    with pytest.raises(InputError, match=r"model\.safetensors cannot be read"):
        load_model(weights)
    torch.save({"model": Bomb(trap)}, state)
    with pytest.raises(InputError, match=r"state\.pt cannot be read"):
        load_state(state)
    assert not trap.exists()


@pytest.mark.parametrize("name", ["model.safetensors", "state.pt"])
def test_a_pipe_is_not_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match="it is not a regular file"):
        (load_state if name == "state.pt" else load_model)(tmp_path / name)


def test_weights_that_are_no_floats_are_refused(checkpoint):
    rewrite(checkpoint, lambda w: w.update({"recognizer.fc.bias": torch.zeros(8, dtype=torch.int64)}))
    with pytest.raises(InputError, match=r"recognizer\.fc\.bias holds torch\.int64"):
        load_model(checkpoint)


@pytest.mark.parametrize("content", [b"", b"hello", b"\xff" * 64])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(InputError, match="cannot be read"):
        load_model(tmp_path)
    (tmp_path / "state.pt").write_bytes(content)
    with pytest.raises(InputError, match="Delete it to train from the beginning"):
        load_state(tmp_path / "state.pt")


def test_a_truncated_checkpoint_is_refused(checkpoint):
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    with pytest.raises(InputError, match="cannot be read"):
        load_model(checkpoint)


def test_state_round_trip(tmp_path):
    state = {"model": {"w": torch.arange(3.0)}, "history": [{"iteration": 1, "loss": 0.5}], "best": -1.0}
    save_state(tmp_path / "state.pt", state)
    again = load_state(tmp_path / "state.pt")
    assert torch.equal(again.pop("model")["w"], state["model"]["w"])
    assert again == {"history": state["history"], "best": -1.0}


def test_a_failed_write_keeps_the_checkpoint_before_it(model, checkpoint, monkeypatch):
    before = checkpoint.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gaitlib.model.checkpoint.save_file", full)
    with pytest.raises(OSError, match="the previous one is kept"):
        save_weights(checkpoint, model, model.state_dict())
    monkeypatch.undo()
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="the previous one is kept"):
        save_weights(checkpoint, model, model.state_dict())
    monkeypatch.undo()
    assert checkpoint.read_bytes() == before
    assert os.listdir(checkpoint.parent) == [checkpoint.name]


def test_an_interrupted_write_leaves_no_half_file(tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_state(tmp_path / "state.pt", {})
    assert os.listdir(tmp_path) == []
