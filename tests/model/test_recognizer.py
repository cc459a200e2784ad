"""The published recognizer has the published sizes; what the identity loss reaches is what is configured."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gaitlib.model.autoencoder import Codes, PaperAutoencoder
from gaitlib.model.recognizer import GaitModel, LeanRecognizer, PaperRecognizer

COMBINED = ["pose", "motion", "body"]


def random_codes(batch: int, frames: int, device: str = "cpu") -> Codes:
    moving = [torch.randn(batch, 128, frames, device=device) for _ in range(3)]
    still = [torch.randn(batch, 128, device=device) for _ in range(2)]
    return Codes(motion=moving[0], body=still[0], view=still[1], body_sequence=moving[1], view_sequence=moving[2])


def published(features):
    with torch.device("meta"):
        return GaitModel(
            people=74, autoencoder="paper", recognizer="paper", recognizer_width=32, embedding=512, features=features,
            end_to_end=False,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("features", "flat"),
    [
        (COMBINED, 304_128),
        (["pose"], 33_792),
        (["motion"], 137_280),
        (["body"], 137_280),
        (["view"], 137_280),
        ([*COMBINED, "view"], 439_296),
    ],
)
def test_published_flat_sizes(features, flat):
    model = published(features)
    assert model.recognizer.fc.in_features == flat
    embedding, logits = model.recognizer(torch.empty(2, 30, 64, device="meta"), random_codes(2, 64, "meta"))
    assert embedding.shape == (2, 512)
    assert logits.shape == (2, 74)


def test_published_number_of_parameters():
    model = published(COMBINED)
    assert model.recognizer.fc.weight.numel() == 155_713_536
    convolutions = 10 * 32 + (9 * 32 + 1) * 64 + 2 * (9 * 64 + 1) * 64
    batch_norms = 2 * (32 + 3 * 64)
    rest = 512 + 512 * 74 + 74
    centers = 74 * 512
    ours = sum(p.numel() for p in model.recognizer.parameters())
    assert ours == 155_713_536 + convolutions + batch_norms + rest + centers
    # the published program has three more convolutions that nothing uses; 64-128-128-128 channels make up its 156.3 million
    unused = (9 * 64 + 1) * 128 + 2 * (9 * 128 + 1) * 128 + 6 * 128
    assert round((ours + unused) / 1e6, 1) == 156.3


def test_published_names():
    with torch.device("meta"):
        state = PaperRecognizer({"pose": 30}, 64, 74).state_dict()
    for number, (a, b) in enumerate([(1, 32), (32, 64), (64, 64), (64, 64)], 1):
        assert state[f"conv{number}.0.weight"].shape == (b, a, 3, 3)
        assert state[f"conv{number}.1.running_mean"].shape == (b,)
    assert state["fc.weight"].shape == (512, 33_792)
    assert state["fc_cls.weight"].shape == state["center_loss.centers"].shape == (74, 512)


def test_paper_recognizer_step_by_step():
    torch.manual_seed(0)
    network = PaperRecognizer({"view": 128, "pose": 30}, 16, 3, width=2, embedding=5).eval()
    x, codes = torch.randn(2, 30, 16), random_codes(2, 16)
    rows = torch.cat([codes.view_sequence, x], 1)  # in the order of the features

    def block(layers, y):
        conv, norm = layers[0], layers[1]
        return F.relu(F.batch_norm(F.conv2d(y, conv.weight, conv.bias, padding=1), norm.running_mean, norm.running_var))

    p = F.max_pool2d(block(network.conv2, block(network.conv1, rows[:, None])), 2, 2, padding=1)
    wanted = network.fc((block(network.conv4, block(network.conv3, p)) + p).flatten(1))
    embedding, logits = network(x, codes)
    torch.testing.assert_close(embedding, wanted)
    torch.testing.assert_close(logits, network.fc_cls(wanted))


def test_lean_recognizer_sees_its_features_and_no_others():
    torch.manual_seed(0)
    x, codes = torch.randn(3, 30, 16), random_codes(3, 16)
    other_x, other = torch.randn(3, 30, 16), random_codes(3, 16)
    everything = ["pose", "motion", "body", "view"]
    for features in (["pose"], ["body"], ["motion", "body"], everything):
        network = LeanRecognizer({name: PaperAutoencoder.sizes[name] for name in features}, 4, width=8, embedding=16).eval()
        embedding = network(x, codes)[0]
        for name in everything:
            changed = network(other_x, codes) if name == "pose" else network(x, codes._replace(**{name: getattr(other, name)}))
            assert torch.equal(changed[0], embedding) is (name not in features)


@pytest.mark.parametrize("recognizer", ["lean", "paper"])
@pytest.mark.parametrize("end_to_end", [True, False])
def test_identity_reaches_the_encoders_only_end_to_end(recognizer, end_to_end):
    torch.manual_seed(0)
    model = GaitModel(
        people=3, window=16, autoencoder="paper", recognizer=recognizer, recognizer_width=4, embedding=8,
        features=COMBINED, end_to_end=end_to_end,
    )  # fmt: skip
    _, embedding, logits = model(torch.randn(4, 30, 16))
    (F.cross_entropy(logits, torch.tensor([0, 1, 2, 0])) + embedding.square().mean()).backward()

    def reached(module: nn.Module) -> bool:
        return any(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in module.parameters())

    assert reached(model.recognizer)
    assert reached(model.autoencoder.motion_encoder) is end_to_end
    assert reached(model.autoencoder.body_encoder) is end_to_end
    assert not reached(model.autoencoder.view_encoder)  # not among the features
    assert not reached(model.autoencoder.decoder)


def test_lean_recognizer_fits_a_batch():
    torch.manual_seed(0)
    model = LeanRecognizer({"motion": 128, "body": 128}, 4, width=8, embedding=16, dropout=0.0)
    x, codes, who = torch.randn(16, 30, 16), random_codes(16, 16), torch.arange(16) % 4
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 0.01)
    for _ in range(60):
        loss = F.cross_entropy(model(x, codes)[1], who)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.1 < 1.38  # chance: log 4
    assert torch.equal(model.neck.bias, torch.zeros(16))


def test_embeddings_have_length_one_and_no_gradient():
    model = GaitModel(people=2, window=16, encoder_width=12, recognizer_width=4, embedding=8).eval()
    x = torch.randn(3, 30, 16, requires_grad=True)
    embedding = model.embed(x)
    torch.testing.assert_close(embedding.norm(dim=1), torch.ones(3))
    assert not embedding.requires_grad


def test_settings_rebuild_the_model():
    model = GaitModel(people=2, window=16, encoder_width=12, recognizer_width=4, embedding=8, features=("pose", "view"))
    again = GaitModel(**model.settings)
    assert {k: v.shape for k, v in again.state_dict().items()} == {k: v.shape for k, v in model.state_dict().items()}
    assert again.settings == model.settings
