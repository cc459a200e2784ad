"""Networks by name: whose code is imported, what goes wrong with it, and how it is trained in place of the recognizer."""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
import yaml

from gaitlib import InputError, networks
from gaitlib.config import load_config
from gaitlib.data.protocol import Protocol
from gaitlib.grid import Grid
from gaitlib.model.checkpoint import WEIGHTS, load_model, save_weights
from gaitlib.model.recognizer import GaitModel

CONFIGS = Path(__file__).parents[1] / "configs"
#: Leaves a file where it is imported.
TELLTALE = "from pathlib import Path\nPath({!r}).touch()\n"
NET = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.fc = nn.Linear(30, width)

    def forward(self, x):
        return self.fc(x.mean(2))


class Coded(Net):
    def forward(self, x, codes):
        return torch.cat([self.fc(x.mean(2)), codes.motion.mean(2), codes.body], 1)


class Optional(Net):
    def forward(self, x, maps=False):
        return x if maps else super().forward(x)


class Images(Net):
    def forward(self, x):
        return x


class Pair(Net):
    def forward(self, x):
        return x, x


class Broken(Net):
    def forward(self, x):
        return self.missing(x)


def function(x):
    return x
"""


@pytest.fixture(autouse=True)
def nothing_given(monkeypatch):
    monkeypatch.setenv(networks.GIVEN, "")


@pytest.fixture
def net(tmp_path, monkeypatch):
    """A file with networks in the working folder, where the file `imported` appears as soon as it is imported."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(TELLTALE.format(str(tmp_path / "imported")) + NET)
    return tmp_path / "mine.py"


def model(network, **settings):
    torch.manual_seed(0)
    return GaitModel(people=3, window=16, autoencoder="none", network=network, **settings)


@pytest.fixture
def run(net, tmp_path):
    """A run folder from somewhere, whose network is in a file of that name."""
    networks.give("mine.py:Net")
    made = model("mine.py:Net", network_arguments={"width": 5})
    config = load_config(CONFIGS / "default.yaml", ["model.autoencoder=none", "model.network=mine.py:Net"]).model_dump(
        mode="json"
    )
    folder = tmp_path / "theirs"
    facts = {"config": config, "data": "", "people": {"train": ["1"], "validation": ["2"]}}
    save_weights(folder / "checkpoint" / WEIGHTS, made, made.state_dict(), **facts)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "metrics.json").write_text("{}")
    provenance = {"stage_seconds": {"02_training": 1.0}, "protocol": asdict(Protocol.named("walkers"))}
    (folder / "provenance.json").write_text(json.dumps(provenance))
    (folder / "embeddings.npz").touch()
    (tmp_path / "imported").unlink()
    return folder


COMMANDS = {
    "embed": ["embed", "theirs", ".", "--out", "walks.npz"],
    "export-model": ["export-model", "theirs", "--out", "net.onnx"],
    "evaluate": ["evaluate", "--checkpoint", "theirs"],
    "visualize": ["visualize", "--checkpoint", "theirs"],
    "run": ["run", "theirs/config.yaml"],
    "train": ["train", "theirs/config.yaml"],
    "rerun": ["rerun", "theirs"],
    "grid": ["grid", "seeds.yaml"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_run_folder_never_decides_whose_code_runs(command, run, tmp_path, monkeypatch, capsys):
    from gaitlib.cli import main

    monkeypatch.setenv(networks.GIVEN, "")
    (tmp_path / "seeds.yaml").write_text("base: theirs/config.yaml\naxes: {seed: [0, 1]}\n")
    with pytest.raises(SystemExit) as stop:
        main(COMMANDS[command], prog_name="gaitlib")
    said = capsys.readouterr().err
    assert stop.value.code == 2, said
    assert "names the network mine.py:Net, which is not part of gaitlib" in said
    assert "add --network mine.py:Net" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "imported").exists()


def test_a_network_given_to_a_configuration_that_names_none_is_not_left_out_in_silence(net, capsys):
    from gaitlib.cli import main

    with pytest.raises(SystemExit) as stop:
        main(["run", "quick", "--network", "mine.py:Net"], prog_name="gaitlib")
    assert stop.value.code == 2
    assert "to use it, add --set model.network=mine.py:Net" in capsys.readouterr().err


def test_a_network_that_the_user_names_again_is_loaded(run, tmp_path, monkeypatch):
    monkeypatch.setenv(networks.GIVEN, "")
    networks.give("mine.py:Net")
    loaded, _ = load_model(run)
    assert (tmp_path / "imported").exists()
    assert loaded.embedding_size == 5
    assert loaded.embed(torch.randn(2, 30, 16)).shape == (2, 5)


def test_the_name_in_an_error_is_safe_to_paste(net):
    with pytest.raises(InputError, match=r"add --network 'mine\.py; rm x:Net'"):
        networks.network_class("mine.py; rm x:Net")


def test_a_file_is_imported_as_it_is_now_and_nothing_is_written_beside_it(tmp_path):
    """Also within the second in which Python would take what it has cached for the same."""
    text = "from __future__ import annotations\nfrom dataclasses import dataclass\nfrom torch import nn\n"
    text += "@dataclass\nclass Sizes:\n    width: int = {}\nclass Net(nn.Module):\n    width = Sizes().width\n"
    networks.give(f"{tmp_path}/mine.py:Net")
    for width in (3, 4):
        (tmp_path / "mine.py").write_text(text.format(width))
        assert networks.network_class("mine.py:Net").width == width
    assert [path.name for path in tmp_path.iterdir()] == ["mine.py"]


@pytest.mark.parametrize("peer", sorted((CONFIGS / "peers").glob("*.yaml")), ids=lambda path: path.stem)
@pytest.mark.parametrize("autoencoder", ["none", "geometric", "paper"])
def test_the_checkpoint_of_a_peer_is_read_without_naming_it_again(autoencoder, peer, tmp_path):
    narrow = {"width": 4, "height": 16} if peer.stem == "skeletongait" else {"width": 8}
    settings = {"autoencoder": autoencoder, "encoder_width": 8, "network_arguments": narrow}
    made = GaitModel(people=3, window=16, network=load_config(peer).model.network, **settings).eval()
    save_weights(tmp_path / WEIGHTS, made, made.state_dict())
    x = torch.randn(2, 30, 16)
    loaded, _ = load_model(tmp_path)
    assert torch.equal(loaded.embed(x), made.embed(x))
    if autoencoder == "none":
        assert loaded.size == sum(parameter.numel() for parameter in made.recognizer.network.parameters())


def test_what_a_user_gave_reaches_processes_in_other_folders(net, tmp_path):
    networks.give("mine.py:Net")
    (tmp_path / "elsewhere").mkdir()
    code = "from gaitlib.networks import network_class; print(network_class('mine.py:Net').__name__)"
    made = subprocess.run([sys.executable, "-c", code], cwd=tmp_path / "elsewhere", capture_output=True, text=True, check=True)
    assert made.stdout == "Net\n"


def test_a_configuration_finds_its_file_in_the_working_folder_or_beside_itself(net, tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "mine.yaml").write_text("model: {network: mine.py:Net, network_arguments: {width: 3}}\n")
    load_config("work/mine.yaml")
    assert networks.network_class("mine.py:Net")(width=3).fc.out_features == 3
    net.rename(tmp_path / "work" / "mine.py")
    load_config("work/mine.yaml")
    assert networks.network_class("mine.py:Net")(width=3).fc.out_features == 3


def test_two_files_of_one_name_are_not_mistaken_for_each_other(net, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.py").write_text(NET)
    networks.give("mine.py:Net")
    networks.give("./mine.py:Net")
    with pytest.raises(InputError, match=r"both hold a network called mine\.py:Net; rename one of the files"):
        networks.give("other/mine.py:Net")


@pytest.mark.parametrize(("name", "said"), [
    ("mine.py:Nothing", "cannot be imported .AttributeError"),
    ("mine.py:function", "is not a class of networks"),
    ("damaged.py:Net", "cannot be imported .SyntaxError"),
    ("missing.py:Net", "missing.py cannot be read: there is no such file"),
    ("no_such_module:Net", "cannot be imported .ModuleNotFoundError"),
    ("gaitlib.config:Config", "is not a class of networks"),
    ("gaitlib.model.nowhere:Net", "cannot be imported .ModuleNotFoundError"),
    ("mine.py:Images", r"gives \[2, 30, 16\] for windows of shape \[2, 30, 16\]; it must give embeddings \[B, E\]"),
    ("mine.py:Pair", "gives tuple for windows"),
    ("mine.py:Broken", "fails on windows of shape .* .AttributeError"),
    ("mine.py:Coded", "takes codes, but there is no autoencoder"),
])  # fmt: skip
def test_what_is_wrong_with_a_network_is_one_sentence(name, said, net, tmp_path):
    (tmp_path / "damaged.py").write_text("class Net(:\n")
    networks.give(name)
    with pytest.raises(InputError, match=said):
        model(name)


def test_arguments_that_a_network_does_not_take(net):
    networks.give("mine.py:Net")
    with pytest.raises(InputError, match=r"Net cannot be built with .'depth': 3. .TypeError"):
        model("mine.py:Net", network_arguments={"depth": 3})
    with pytest.raises(InputError, match=r"cannot be built with .'xxx.{,500}$"):
        model("mine.py:Net", network_arguments={"x" * 10**6: 3})


def test_another_file_is_another_training(net):
    networks.give("mine.py:Net")
    before = networks.network_fingerprint("mine.py:Net")
    assert networks.network_fingerprint("mine.py:Net") == before
    net.write_text(net.read_text() + "#")
    assert networks.network_fingerprint("mine.py:Net") != before
    assert networks.network_fingerprint("gaitlib.model.recognizer:LeanRecognizer") != before
    with pytest.raises(InputError, match="does not exist"):
        networks.network_fingerprint("gaitlib.model.nowhere:Net")


@pytest.mark.parametrize("end_to_end", [True, False])
def test_a_network_that_asks_for_codes_gets_them(net, end_to_end):
    networks.give("mine.py:Coded")
    settings = {"encoder_width": 8, "network": "mine.py:Coded", "end_to_end": end_to_end, "discriminants": 2.0}
    made = GaitModel(people=3, window=16, **settings)
    x = torch.randn(4, 30, 16)
    codes, embedding, logits = made(x)
    torch.testing.assert_close(embedding[:, 8:], torch.cat([codes.motion.mean(2), codes.body], 1))
    assert logits.shape == (4, 3)
    assert made.embedding_size == made.embed(x).shape[1] == embedding.shape[1] + made.discriminants.size
    embedding.square().sum().backward()
    assert any(p.grad is not None for p in made.autoencoder.parameters()) == end_to_end


def test_a_second_argument_of_another_name_is_left_alone(net):
    networks.give("mine.py:Optional")
    assert model("mine.py:Optional").embedding_size == 8


def test_a_model_without_an_autoencoder_is_its_network(net):
    networks.give("mine.py:Net")
    made = model("mine.py:Net").eval()
    x = torch.randn(4, 30, 16)
    codes, embedding, _ = made(x)
    assert codes is None
    assert not made.fitted
    torch.testing.assert_close(embedding, made.recognizer.network(x))
    torch.testing.assert_close(made.embed(x), torch.nn.functional.normalize(embedding))
    assert made.size == 8 * 31  # without the classifier


def test_a_plain_temporal_network_needs_no_autoencoder_either():
    made = GaitModel(people=3, window=16, autoencoder="none", features=["pose"], recognizer_width=8, embedding=4).eval()
    assert made.embed(torch.randn(2, 30, 16)).shape == (2, 4)


# -- the configuration


def test_without_an_autoencoder_what_needs_codes_is_off():
    found = load_config(CONFIGS / "kgbd.yaml", ["model.autoencoder=none", "model.features=[pose]"])
    weighted = {name for name, weight in found.losses if isinstance(weight, float) and weight and name not in ("temperature",)}
    assert weighted == {"identity", "label_smoothing", "contrastive"}
    assert (found.model.discriminants, found.model.body_discriminants) == (0, 0)
    with pytest.raises(InputError, match=r"there are no codes: name a model\.network, or choose features"):
        load_config(CONFIGS / "default.yaml", ["model.autoencoder=none"])


def test_arguments_are_changed_as_a_whole_or_one_by_one(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("model: {network: 'a.b:C', network_arguments: {width: 3, kernel: 5}}\n")
    assert load_config(path).model.network_arguments == {"width": 3, "kernel": 5}
    changed = load_config(path, ["model.network_arguments.width=7", "model.network_arguments.depth=2"])
    assert changed.model.network_arguments == {"width": 7, "kernel": 5, "depth": 2}
    assert load_config(path, ["model.network_arguments={depth: 2}"]).model.network_arguments == {"depth": 2}
    with pytest.raises(InputError, match=r"network_arguments belongs to model\.network"):
        load_config(CONFIGS / "default.yaml", ["model.network_arguments={depth: 2}"])


def test_arguments_of_one_point_of_a_grid_are_not_those_of_the_next(tmp_path):
    path = tmp_path / "grid.yaml"
    path.write_text("""
base: configs/default.yaml
set: {model.network: 'a.b:C', model.network_arguments: {width: 3}}
axes: {size: {small: {}, large: {model.network_arguments.width: 7, model.network_arguments.depth: 2}, again: {seed: 1}}}
""")
    arguments = [point.config.model.network_arguments for point in Grid.load(path).points]
    assert arguments == [{"width": 3}, {"width": 7, "depth": 2}, {"width": 3}]


@pytest.mark.parametrize(("changes", "said"), [
    (["model.network_arguments=", "model.network_arguments.width=7"], r"width is inside something without keys"),
    (["model.network_arguments.sizes.first=7"], r"sizes\.first is inside something without keys"),
    (["model.network_arguments={sizes: {1: 2}}"], r"model\.network_arguments\.sizes"),
    (["model.network_arguments={picture: !!binary aGk=}"], r"model\.network_arguments\.picture"),
])  # fmt: skip
def test_arguments_that_no_checkpoint_can_hold(changes, said):
    with pytest.raises(InputError, match=said):
        load_config(CONFIGS / "default.yaml", ["model.network=a.b:C", *changes])


@pytest.mark.parametrize("name", ["mine.py", "mine.py:", ":Net", "mine.py:my net", "\x1b[2Jmine.py:Net", "m" * 1000 + ":Net"])
def test_a_name_is_a_place_and_a_class(name):
    with pytest.raises(InputError, match=r"model\.network"):
        load_config(CONFIGS / "default.yaml", layers=[("here", {"model.network": name})])
