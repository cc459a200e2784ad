"""The network of docs/networks.md, from a folder outside the package: trained, evaluated, compared, embedded, exported."""

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner

from gaitlib import InputError, networks
from gaitlib.cli import main
from gaitlib.config import load_config
from gaitlib.model.checkpoint import save_weights
from gaitlib.model.export import export_onnx
from gaitlib.model.recognizer import GaitModel
from gaitlib.reports.run import Run
from tests.notebooks.short import shorten
from tests.small_run import SMALL, lay_out

EXAMPLE = Path(__file__).parents[2] / "docs" / "network"
PAGE = EXAMPLE.with_name("networks.md")


def call(*arguments):
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return done.output


def test_the_page_shows_the_files():
    shown = re.findall(r"```(?:python|yaml)\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert shown[0] == (EXAMPLE / "mine.py").read_text("utf-8")
    assert (EXAMPLE / "mine.yaml").read_text("utf-8").endswith(shown[1])


def test_the_example_goes_all_the_way(tmp_path, monkeypatch, small_run):
    lay_out(tmp_path)
    shorten(tmp_path / "notebooks" / "01_data_preparation.ipynb")
    shutil.copytree(EXAMPLE, tmp_path / "work")
    monkeypatch.setenv(networks.GIVEN, "")
    monkeypatch.chdir(tmp_path / "work")

    changes = [part for setting in SMALL if not setting.startswith("model.") for part in ("--set", setting)]
    assert "Notebook 04_visualization is left out" in call("run", "mine.yaml", *changes)
    run = Run(tmp_path / "reports" / "mine")
    assert run.config.model.network == "mine.py:MyNet"
    ablations = {row["name"]: row["rank1"]["mean"] for row in run.metrics["ablations"]}
    assert ablations["nothing changed"] == run.metrics["rank1"]["mean"]
    assert "pose only" in ablations
    assert "body only" not in ablations
    assert run.metrics["scorecard"] == []
    assert run.metrics["parameters"] == 9 * (30 + 96) * 96 + 2 * 96 * 3  # weights; biases and batch normalization
    assert run.cost["training minutes"] > 0
    assert run.cost["ms a walk"] > 0

    call("compare", small_run, run.folder, "--name", "both")
    assert "mine" in (tmp_path / "reports" / "both" / "index.html").read_text("utf-8")

    (data,) = (tmp_path / "cache").glob("walkers-*/data")
    monkeypatch.setenv(networks.GIVEN, "")
    refused = CliRunner().invoke(main, ["embed", str(run.folder), str(data), "--out", "walks.npz"])
    assert refused.exit_code == 2
    assert "add --network mine.py:MyNet" in refused.output
    call("embed", run.folder, data, "--out", "walks.npz", "--network", "mine.py:MyNet")
    embedded, tested = (np.load(path) for path in ("walks.npz", run.folder / "embeddings.npz"))
    assert embedded["values"].shape[1] == 2 * 96
    rows = pd.Index(embedded["sequence"]).get_indexer(tested["sequence"])
    assert (rows >= 0).all()
    np.testing.assert_allclose(embedded["values"][rows], tested["values"], atol=1e-5)


FLAT = """
import torch
from torch import nn


class Flat(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(30 * 64, 4)

    def forward(self, x):
        return self.fc(x.flatten(1))


class Branching(Flat):
    def forward(self, x):
        return self.fc(x.flatten(1)) if x.sum() >= 0 else -self.fc(x.flatten(1))
"""


def test_a_network_of_one_window_length_is_exported_for_it_and_one_that_branches_is_not(tmp_path, monkeypatch):
    pytest.importorskip("onnxscript", reason="needs the extra onnx")
    monkeypatch.setenv(networks.GIVEN, "")
    monkeypatch.chdir(tmp_path)
    Path("flat.py").write_text(FLAT)
    for name in ("Flat", "Branching"):
        networks.give(f"flat.py:{name}")
        model = GaitModel(people=3, window=64, autoencoder="none", network=f"flat.py:{name}").eval()
        save_weights(Path(name) / "model.safetensors", model, model.state_dict(), config={})
    assert export_onnx("Flat", tmp_path / "net.onnx") == "64"
    with pytest.raises(InputError, match="The network of Branching cannot be written as ONNX"):
        export_onnx("Branching", tmp_path / "other.onnx")
    assert not (tmp_path / "other.onnx").exists()


def test_the_example_is_exported(tmp_path, monkeypatch):
    runtime = pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    pytest.importorskip("onnxscript", reason="needs the extra onnx")
    monkeypatch.setenv(networks.GIVEN, "")
    monkeypatch.chdir(EXAMPLE)
    networks.give("mine.py:MyNet")
    model = GaitModel(people=3, window=64, autoencoder="none", network="mine.py:MyNet", network_arguments={"width": 8}).eval()
    config = load_config("mine.yaml").model_dump(mode="json")
    save_weights(tmp_path / "model.safetensors", model, model.state_dict(), config=config)
    assert export_onnx(tmp_path, tmp_path / "net.onnx") == "16 or more"
    session = runtime.InferenceSession(tmp_path / "net.onnx")
    assert [output.name for output in session.get_outputs()] == ["embedding"]
    x = torch.randn(3, 30, 48)
    np.testing.assert_allclose(session.run(None, {"walk": x.numpy()})[0], model.embed(x), atol=1e-5)
