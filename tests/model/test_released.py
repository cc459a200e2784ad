"""Files of the released program load into the network they were trained for, or are refused with the key and the shapes."""

import os

import pytest
import torch
from torch.nn import functional as F

from gaitlib import InputError
from gaitlib.experiment import Experiment
from gaitlib.model.checkpoint import WEIGHTS, load_model, load_released

#: Shapes as published, written down independently of gaitlib; the recognizer with 2 channels in place of 32.
AUTOENCODER = {
    "motion_encoder": {1: (64, 30, 3), 4: (128, 64, 3), 7: (128, 128, 3)},
    "body_encoder": {1: (64, 28, 3), 4: (128, 64, 3), 7: (128, 128, 3)},
    "view_encoder": {1: (64, 28, 3), 4: (32, 64, 3), 7: (128, 32, 3)},
    "decoder": {2: (256, 384, 7), 7: (128, 256, 7), 12: (45, 128, 7)},
}
CONVOLUTIONS = {1: (2, 1), 2: (4, 2), 3: (4, 4), 4: (4, 4), 5: (8, 4), 6: (8, 8), 7: (8, 8)}
PEOPLE, EMBEDDING = 5, 6
COLUMNS = {"pose": 4 * 16 * 33, "combined": 4 * 144 * 33, "combined_all": 4 * 208 * 33, "one code": 4 * 65 * 33}


def random(*shape):
    return torch.randn(*shape) / max(1, torch.Size(shape[1:]).numel()) ** 0.5


def autoencoder_file():
    torch.manual_seed(0)
    state = {}
    for network, layers in AUTOENCODER.items():
        for number, shape in layers.items():
            state[f"{network}.model.{number}.weight"] = random(*shape)
            state[f"{network}.model.{number}.bias"] = random(shape[0])
    return state


def recognizer_file(columns=COLUMNS["combined"]):
    torch.manual_seed(1)
    state = {}
    for number, (b, a) in CONVOLUTIONS.items():
        state[f"conv{number}.0.weight"], state[f"conv{number}.0.bias"] = random(b, a, 3, 3), random(b)
        state[f"conv{number}.1.weight"], state[f"conv{number}.1.bias"] = torch.rand(b) + 0.5, random(b)
        state[f"conv{number}.1.running_mean"], state[f"conv{number}.1.running_var"] = random(b), torch.rand(b) + 0.5
        state[f"conv{number}.1.num_batches_tracked"] = torch.tensor(7)
    state["fc.weight"], state["fc.bias"] = random(EMBEDDING, columns), random(EMBEDDING)
    state["fc_cls.weight"], state["fc_cls.bias"] = random(PEOPLE, EMBEDDING), random(PEOPLE)
    state["center_loss.centers"] = random(PEOPLE, EMBEDDING)
    return state


@pytest.fixture
def files(tmp_path):
    def write(autoencoder=None, recognizer=None):
        paths = []
        for name, content in (("autoencoder.pt", autoencoder), ("recognizer.pth", recognizer)):
            if content is not None:
                torch.save(content, tmp_path / name)
                paths.append(str(tmp_path / name))
        return ",".join(paths)

    return write


def slow_embedding(auto, who, walk):
    """What the released program makes of one walk [64, 15, 2], step by step: codes, image, convolutions, matrix."""
    x = walk.reshape(30, 64)[None]  # reshaped where a transpose is meant

    def encode(network, y):
        for number in (1, 4, 7):
            y = F.pad(y, (1, 1), mode="reflect")
            y = F.leaky_relu(F.conv1d(y, auto[f"{network}.model.{number}.weight"], auto[f"{network}.model.{number}.bias"]), 0.2)
        return y

    image = torch.cat([x, encode("motion_encoder", x), encode("body_encoder", x[:, :28])], 1)[:, None]

    def block(number, y):
        w = {part: who[f"conv{number}.{part}"] for part in ("0.weight", "0.bias", "1.weight", "1.bias")}
        y = F.conv2d(y, w["0.weight"], w["0.bias"], padding=1)
        mean, var = who[f"conv{number}.1.running_mean"], who[f"conv{number}.1.running_var"]
        return F.relu(F.batch_norm(y, mean, var, w["1.weight"], w["1.bias"]))

    p = F.max_pool2d(block(2, block(1, image)), 2, 2, 1)
    return F.linear((block(4, block(3, p)) + p).flatten(1), who["fc.weight"], who["fc.bias"])


def test_a_released_checkpoint_gives_what_the_program_computes(files):
    auto, who = autoencoder_file(), recognizer_file()
    model, facts = load_model(files(auto, who))
    assert not model.training
    assert (model.settings["people"], model.settings["embedding"], model.settings["recognizer_width"]) == (PEOPLE, EMBEDDING, 2)
    assert model.settings["features"] == ["pose", "motion", "body"]
    assert (model.settings["layout"], model.settings["static_rows"]) == ("scrambled", 28)
    assert facts["config"]["losses"]["body_over_time_rewards"] == "change"
    walk = torch.randn(64, 15, 2)
    x = walk.flatten(1).T[None]  # rows are joints over time, as everywhere in gaitlib
    with torch.no_grad():
        torch.testing.assert_close(model(x)[1], slow_embedding(auto, who, walk), rtol=1e-4, atol=1e-4)
        codes = model.autoencoder.encode(x)
        plain = model.autoencoder.decoder.model(
            torch.cat([codes.motion, *(c[..., None].expand(-1, -1, 64) for c in (codes.body, codes.view))], 1)
        )
        kept = torch.stack([plain[0, 3 * j + c] for j in range(15) for c in (0, 1)])  # [30, 64]
        pose = model.autoencoder(x)[0].T.unflatten(1, (15, 2))  # [64, 15, 2]
        torch.testing.assert_close(pose, kept.reshape(64, 15, 2), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": {"state_dict": state}},
        lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
        lambda state: {"net": {f"module.{name}": tensor.double() for name, tensor in state.items()}, "loss": 0.5},
        lambda state: {name: tensor for name, tensor in state.items() if "num_batches" not in name},
    ],
)
def test_wrapped_files_are_the_same(files, wrap):
    auto, who = autoencoder_file(), recognizer_file()
    plain = load_model(files(auto, who))[0].state_dict()
    wrapped = load_model(files(wrap(auto), wrap(who)))[0].state_dict()
    assert plain.keys() == wrapped.keys()
    assert all(torch.equal(plain[name], wrapped[name]) for name in plain if "num_batches" not in name)


def test_both_in_one_file_and_in_either_order(files):
    one = load_model(files(autoencoder_file() | recognizer_file()))[0].state_dict()
    path = files(autoencoder_file(), recognizer_file())
    two = load_model(",".join(reversed(path.split(","))))[0].state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize(
    ("columns", "features"),
    [
        ("pose", ["pose"]),
        ("combined", ["pose", "motion", "body"]),
        ("combined_all", ["pose", "motion", "body", "view"]),
    ],
)
def test_features_are_told_by_the_size_of_the_matrix(files, columns, features):
    assert load_model(files(autoencoder_file(), recognizer_file(COLUMNS[columns])))[0].features == features


def test_single_codes_have_one_size_and_are_named(files):
    path = files(autoencoder_file(), recognizer_file(COLUMNS["one code"]))
    with pytest.raises(InputError, match="motion, body and view alike"):
        load_model(path)
    for name in ("motion", "body", "view"):
        assert load_released(path.split(","), [name])[0].features == [name]


def test_an_autoencoder_alone_decodes_and_recognizes_nobody(files):
    model, _ = load_model(files(autoencoder_file()))
    assert model.autoencoder(torch.zeros(2, 30, 64)).shape == (2, 30, 64)
    with pytest.raises(InputError, match="give the recognizer's file too"):
        model.embed(torch.zeros(2, 30, 64))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"body_encoder.model.1.weight": (64, 30, 3)},
            r"body_encoder\.model\.1\.weight has shape \[64, 30, 3\], not \[64, 28, 3\]",
        ),
        ({"decoder.model.12.bias": (30,)}, r"decoder\.model\.12\.bias has shape \[30\], not \[45\]"),
        ({"decoder.model.12.bias": None}, r"decoder\.model\.12\.bias is missing"),
        ({"decoder.model.13.bias": (3,)}, r"has no autoencoder\.decoder\.model\.13\.bias"),
        ({"discriminator.weight": (3,)}, r"autoencoder\.pt holds discriminator\.weight, which the released program does not"),
        ({"conv3.0.weight": (4, 3, 3, 3)}, r"conv3\.0\.weight has shape \[4, 3, 3, 3\], not \[4, 4, 3, 3\]"),
        ({"center_loss.centers": (4, EMBEDDING)}, r"center_loss\.centers has shape \[4, 6\], not \[5, 6\]"),
        ({"fc.weight": (EMBEDDING, 1000)}, r"fc\.weight has shape \[6, 1000\], which fits no features"),
        ({"fc_cls.weight": None}, r"recognizer\.fc_cls\.weight is missing"),
        ({"fc.weight": None}, r"recognizer\.fc\.weight is missing"),
    ],
)
def test_what_does_not_fit_is_named_with_both_shapes(files, change, words):
    state = autoencoder_file() | recognizer_file()
    for name, shape in change.items():
        if shape is None:
            del state[name]
        else:
            state[name] = torch.zeros(shape)
    with pytest.raises(InputError, match=words) as error:
        load_model(files(state))
    assert "\n" not in str(error.value)


def test_a_recognizer_alone_lacks_the_autoencoder(files):
    with pytest.raises(InputError, match=r"autoencoder\.motion_encoder\.model\.1\.weight is missing"):
        load_model(files(recognizer_file()))


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_nothing_in_a_file_is_run(files, tmp_path):
    trap = tmp_path / "ran"
    with pytest.raises(InputError, match="not a complete file of tensors"):
        load_model(files({"state_dict": autoencoder_file(), "bomb": Bomb(trap)}))
    assert not trap.exists()


@pytest.mark.parametrize("content", [{}, {"state_dict": {}}, [torch.zeros(2)], torch.zeros(2), {"a": 1.0}, {"state_dict": 3}])
def test_other_contents_are_refused(files, content):
    with pytest.raises(InputError, match=r"autoencoder\.pt holds no state_dict"):
        load_model(files(content))


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04" + bytes(60)])
def test_damaged_files_are_refused(tmp_path, content):
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.pt cannot be read: it is not a complete file of tensors"):
        load_model(tmp_path / "a.pt")
    with pytest.raises(InputError, match=r"b\.pth cannot be read: there is no such file"):
        load_model(tmp_path / "b.pth")


def test_a_file_that_holds_itself_ends(files):
    state = autoencoder_file()
    state["model"] = state
    with pytest.raises(InputError, match=r"autoencoder\.pt holds no state_dict"):
        load_model(files(state))


def test_small_files_of_huge_tensors_are_refused(files):
    huge = torch.zeros(1, dtype=torch.float16).expand(10**6, 10**6)
    with pytest.raises(InputError, match="far too large"):
        load_model(files(autoencoder_file() | {"decoder.model.12.bias": huge}))


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.pt")
    with pytest.raises(InputError, match="it is not a regular file"):
        load_model(tmp_path / "a.pt")


def test_an_experiment_on_released_files(files, tmp_path):
    path = files(autoencoder_file(), recognizer_file())
    opened = Experiment.open(checkpoint=path, run=str(tmp_path / "run"), cache=str(tmp_path / "cache"))
    assert opened.config.model.layout == "scrambled"
    assert (opened.trained() / WEIGHTS).is_file()
    assert opened.trained() == opened.trained()
    wanted = load_model(path)[0].state_dict()
    assert all(torch.equal(wanted[name], tensor) for name, tensor in opened.model.state_dict().items())
    assert opened.history() is None
