"""The exported graph gives what torch gives, says how to use it, and the example of its page works as it stands."""

import builtins
import errno
import json
import re
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from gaitlib import InputError
from gaitlib.cli import main
from gaitlib.data.dataset import write_dataset
from gaitlib.data.preprocess import cut_windows, mirror, normalize, window_grid
from gaitlib.data.walkers import make_walkers
from gaitlib.evaluation.embedding import embed_walks
from gaitlib.model.checkpoint import load_model, save_weights
from gaitlib.model.export import OPSET, OUTPUTS, export_onnx
from gaitlib.model.recognizer import GaitModel

PAGE = Path(__file__).parents[2] / "docs" / "model_export.md"


@pytest.fixture(scope="module")
def onnx():
    pytest.importorskip("onnxscript", reason='ONNX is not installed: pip install -e ".[onnx]"')
    return pytest.importorskip("onnx", reason='ONNX is not installed: pip install -e ".[onnx]"')


@pytest.fixture(scope="module")
def runtime(onnx):
    return pytest.importorskip("onnxruntime", reason='onnxruntime is not installed: pip install -e ".[onnx]"')


@pytest.fixture(scope="module")
def exported(onnx, tmp_path_factory):
    """The model that comes along, as the command writes it."""
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    done = CliRunner().invoke(main, ["export-model", "pretrained", "--out", str(path)], catch_exceptions=False)
    assert "windows of 16 or more frames" in done.output
    return path


@pytest.fixture(scope="module")
def walks(tmp_path_factory):
    """A hundred walks of one walker, normalized."""
    walks = islice(make_walkers(1, seed=5), 100)
    return normalize(write_dataset(tmp_path_factory.mktemp("walks") / "data", walks, name="walkers"))


def windows(walks, frames):
    walk, offset = window_grid(walks.length, frames, 32)
    places = (torch.tensor(values) for values in (walks.start[walk], walks.length[walk], offset))
    return cut_windows(torch.from_numpy(walks.frames), *places, frames)


@pytest.mark.parametrize("frames", [16, 33, 64, 75])
def test_the_graph_gives_what_torch_gives(exported, walks, runtime, frames):
    model, _ = load_model("pretrained")
    x = windows(walks, frames)
    if frames != model.window:
        x = x[::10]
    found = runtime.InferenceSession(exported).run(OUTPUTS, {"walk": x.numpy()})
    codes = model.autoencoder.encode(x)
    for one, expected in zip(found, (model.embed(x), codes.motion, codes.body, codes.view), strict=True):
        np.testing.assert_allclose(one, expected.detach(), atol=1e-4)


def test_one_window_alone_is_embedded_alike(exported, walks, runtime):
    x = windows(walks, 64)[:5].numpy()
    session = runtime.InferenceSession(exported)
    alone = [session.run(["embedding"], {"walk": window[None]})[0][0] for window in x]
    np.testing.assert_allclose(alone, session.run(["embedding"], {"walk": x})[0], atol=1e-5)


def test_the_file_says_how_it_is_used(exported, onnx):
    model = onnx.load(exported)
    onnx.checker.check_model(model, full_check=True)
    assert [entry.version for entry in model.opset_import if not entry.domain] == [OPSET]
    (walk,) = model.graph.input
    assert [size.dim_param or size.dim_value for size in walk.type.tensor_type.shape.dim] == ["windows", 30, "frames"]
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert (facts["window"], facts["stride"], facts["mirrored"], facts["opset"]) == ("64", "32", "true", str(OPSET))
    assert json.loads(facts["joints"])[:2] == ["head", "neck"]
    assert re.fullmatch("[0-9a-f]{64}", facts["checkpoint"])
    pose = torch.arange(30.0).view(1, 30, 1)
    by_hand = pose.view(15, 2)[json.loads(facts["mirror"])] * torch.tensor([-1, 1])
    assert torch.equal(mirror(pose).view(15, 2), by_hand)


def test_the_example_of_the_page_embeds_a_walk(exported, walks, runtime, monkeypatch):
    """Of a short walk, which is looped, and of a long one."""
    model, _ = load_model("pretrained")
    example = re.search(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)[1]
    chosen = walks.chosen(np.isin(np.arange(100), [walks.length.argmin(), walks.length.argmax()]))
    chosen.length[0] = 50
    expected = embed_walks(model, chosen).values
    monkeypatch.chdir(exported.parent)
    for start, length, wanted in zip(chosen.start, chosen.length, expected, strict=True):
        np.save("walk.npy", chosen.frames[start : start + length])
        names = {}
        exec(example, names)
        np.testing.assert_allclose(names["embedding"], wanted, atol=1e-4)


def test_the_published_arm_takes_windows_of_the_length_of_training(runtime, tmp_path):
    torch.manual_seed(0)
    features = ["pose", "motion", "body"]
    model = GaitModel(
        people=3, window=24, autoencoder="paper", recognizer="paper", recognizer_width=2, embedding=8, features=features
    ).eval()
    save_weights(tmp_path / "model.safetensors", model, model.state_dict(), config={"evaluation": {"mirrored": False}})
    assert export_onnx(tmp_path, tmp_path / "model.onnx") == "24"
    x = torch.randn(5, 30, 24)
    session = runtime.InferenceSession(tmp_path / "model.onnx")
    np.testing.assert_allclose(session.run(["embedding"], {"walk": x.numpy()})[0], model.embed(x), atol=1e-4)
    assert session.get_modelmeta().custom_metadata_map["mirrored"] == "false"
    assert session.get_inputs()[0].shape == ["windows", 30, 24]


def test_an_autoencoder_alone_is_refused(onnx, tmp_path):
    model = GaitModel(people=3, window=16, encoder_width=4, recognizer="none")
    save_weights(tmp_path / "model.safetensors", model, model.state_dict(), config={})
    with pytest.raises(InputError, match="recognizes nobody"):
        export_onnx(tmp_path, tmp_path / "model.onnx")


def test_without_onnx_it_is_said_how_to_install_it(tmp_path, monkeypatch):
    original = builtins.__import__

    def refuse(name, *arguments):
        if name == "onnxscript":
            raise ImportError(name)
        return original(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(InputError, match=re.escape('pip install -e ".[onnx]"')):
        export_onnx("pretrained", tmp_path / "model.onnx")


def test_what_goes_wrong_leaves_the_old_file(onnx, tmp_path, monkeypatch):
    def save(path, **options):
        path.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    program = SimpleNamespace(model=SimpleNamespace(metadata_props={}), save=save)
    monkeypatch.setattr(torch.onnx, "export", lambda *arguments, **options: program)
    file = tmp_path / "model.onnx"
    file.write_text("old")
    with pytest.raises(OSError, match="No space"):
        export_onnx("pretrained", file)
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    assert file.read_text() == "old"
