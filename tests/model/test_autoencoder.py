"""The decoder computes what the published layers compute, and the networks have the published names and shapes."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gaitlib.model.autoencoder import (
    POSE_FEATURES,
    Autoencoder,
    Decoder,
    features_conv,
    pose_features,
    scramble,
    unscramble,
    upsampled_conv,
)
from gaitlib.skeleton import BONES

PUBLISHED = {
    "motion_encoder": {1: (64, 30, 3), 4: (128, 64, 3), 7: (128, 128, 3)},
    "body_encoder": {1: (64, 30, 3), 4: (128, 64, 3), 7: (128, 128, 3)},
    "view_encoder": {1: (64, 30, 3), 4: (32, 64, 3), 7: (128, 32, 3)},
    "decoder": {2: (256, 384, 7), 7: (128, 256, 7), 12: (45, 128, 7)},
}
LEAN_ENCODERS = ("motion_encoder", "body_encoder", "view_encoder")


def double(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def plain_decoder(decoder, motion, body, view):
    """The published path: codes repeated over time, the whole module list, the third coordinate dropped."""
    frames = motion.shape[2]
    still = [code[:, :, None].expand(-1, -1, frames) for code in (body, view)]
    y = decoder.model(torch.cat([motion, *still], 1))
    return torch.stack([y[:, 3 * j + c] for j in range(15) for c in (0, 1)], 1)


@pytest.mark.parametrize("frames", [3, 4, 5, 16, 33, 64])
def test_upsampled_conv_is_upsampling_padding_and_convolution(frames):
    x = double(2, 5, frames).requires_grad_()
    conv = nn.Conv1d(5, 4, 7, stride=2, dtype=torch.float64)
    plain = nn.Sequential(nn.Upsample(scale_factor=2), nn.ReflectionPad1d(3), conv)
    ours, wanted = upsampled_conv(x, conv.weight, conv.bias), plain(x)
    torch.testing.assert_close(ours, wanted, rtol=0, atol=1e-12)
    towards = double(*wanted.shape, seed=1)
    for got, want in zip(
        torch.autograd.grad(ours, [x, conv.weight, conv.bias], towards),
        torch.autograd.grad(wanted, [x, conv.weight, conv.bias], towards),
        strict=True,
    ):
        torch.testing.assert_close(got, want, rtol=0, atol=1e-12)


def test_upsampled_conv_without_bias():
    x, weight = double(2, 3, 8), double(4, 3, 7, seed=1)
    torch.testing.assert_close(upsampled_conv(x, weight), upsampled_conv(x, weight, torch.zeros(4, dtype=torch.float64)))


@pytest.mark.parametrize("frames", [16, 33, 64])
def test_decoder_is_the_published_module_path(frames):
    torch.manual_seed(0)
    decoder = Decoder().double().eval()
    codes = [double(2, 128, frames).requires_grad_(), *(double(2, 128, seed=s).requires_grad_() for s in (1, 2))]
    inputs = [*codes, *decoder.parameters()]
    ours, wanted = decoder(*codes), plain_decoder(decoder, *codes)
    assert ours.shape == (2, 30, frames)
    torch.testing.assert_close(ours, wanted, rtol=0, atol=1e-10)
    towards = double(*wanted.shape, seed=3)
    for got, want in zip(torch.autograd.grad(ours, inputs, towards), torch.autograd.grad(wanted, inputs, towards), strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=1e-10)


@pytest.mark.parametrize("frames", [16, 64])
def test_the_gated_decoder_by_hand(frames):
    """The view scales each channel of what moves by 0 to 2, and body and view add the same pose to every frame."""
    torch.manual_seed(0)
    decoder = Decoder(gated=True).double().eval()
    motion, body, view = double(2, 128, frames), double(2, 128, seed=1), double(2, 128, seed=2)
    gain = 2 / (1 + torch.exp(-(view @ decoder.gate.weight.T + decoder.gate.bias)))
    assert ((gain > 0) & (gain < 2)).all()
    a, b = decoder.stance[0], decoder.stance[2]
    hidden = torch.cat([body, view], 1) @ a.weight.T + a.bias
    still = torch.where(hidden < 0, 0.2 * hidden, hidden) @ b.weight.T + b.bias
    plain = Decoder().double().eval()
    for k in range(2):  # as published, with the motion's part of the first layer scaled for this walk
        plain.load_state_dict({n: w for n, w in decoder.state_dict().items() if n.startswith("model.")})
        plain.model[2].weight.data[:, :128] *= gain[k, :, None, None]
        wanted = plain_decoder(plain, motion[[k]], body[[k]], view[[k]])[0] + still[k, :, None]
        torch.testing.assert_close(decoder(motion, body, view)[k], wanted, rtol=0, atol=1e-10)
    shared = decoder(motion, body, view, torch.tensor([1, 0]))
    torch.testing.assert_close(shared, decoder(motion.flip(0), body, view), rtol=0, atol=1e-12)


def test_decoder_dropout_is_as_large_as_told_and_only_in_training():
    torch.manual_seed(0)
    decoder = Decoder(dropout=0.5)
    codes = torch.randn(1, 128, 16), torch.randn(1, 128), torch.randn(1, 128)
    assert not torch.equal(decoder.train()(*codes), decoder(*codes))
    assert torch.equal(decoder.eval()(*codes), decoder(*codes))
    still = Decoder(dropout=0.0).train()
    assert torch.equal(still(*codes), still(*codes))


@pytest.mark.parametrize("network", PUBLISHED)
def test_published_parameter_names_and_shapes(network):
    with torch.device("meta"):
        module = getattr(Autoencoder("paper"), network)
    wanted = {}
    for number, shape in PUBLISHED[network].items():
        wanted |= {f"model.{number}.weight": shape, f"model.{number}.bias": shape[:1]}
    assert {name: tuple(p.shape) for name, p in module.state_dict().items()} == wanted


@pytest.mark.parametrize("encoder", ["paper", "lean"])
@pytest.mark.parametrize("frames", [17, 64])
def test_code_shapes(encoder, frames):
    model = Autoencoder(encoder, width=12).eval()
    x = torch.randn(3, 30, frames)
    codes = model.encode(x, sequences=True)
    assert codes.motion.shape == codes.body_sequence.shape == codes.view_sequence.shape == (3, 128, frames)
    assert codes.body.shape == codes.view.shape == (3, 128)
    assert model(x).shape == x.shape
    assert [c.shape[0] for c in codes.rows(torch.tensor([2, 0]))] == [2] * 5
    assert torch.equal(codes.rows(torch.tensor([2, 0])).body[1], codes.body[0])
    first, second = codes.anchors_and_partners(1)
    assert torch.equal(first.motion, codes.motion[:1])
    assert torch.equal(second.view_sequence, codes.view_sequence[1:2])


def test_a_network_can_be_trained_after_it_was_looked_at():
    """Nothing that is kept between calls, here for a length that no other test has, is bound to inference."""
    model, x = Autoencoder("lean", width=12), torch.randn(2, 30, 41)
    with torch.inference_mode():
        model.eval()(x)
    model.train()(model(x)).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_the_lean_encoders_give_sequences_where_asked():
    lean, paper = Autoencoder("lean", width=12).eval(), Autoencoder("paper").eval()
    x = torch.randn(3, 30, 20)
    for codes in (lean.encode(x), lean.encode(x).rows(torch.tensor([0])), *lean.encode(x).anchors_and_partners(1)):
        assert codes.body_sequence is codes.view_sequence is None
    for ours, asked in zip(lean.encode(x)[:3], lean.encode(x, sequences=True)[:3], strict=True):
        assert torch.equal(ours, asked)
    for ours, asked in zip(paper.encode(x), paper.encode(x, sequences=True), strict=True):
        assert torch.equal(ours, asked)


def test_static_codes_are_the_maximum_in_paper_and_the_mean_in_lean():
    x = torch.randn(2, 30, 20)
    for encoder, pool in (("paper", lambda c: c.max(2).values), ("lean", lambda c: c.mean(2))):
        codes = Autoencoder(encoder, width=12).double().eval().encode(x.double(), sequences=True)
        torch.testing.assert_close(codes.body, pool(codes.body_sequence), rtol=0, atol=1e-12)
        torch.testing.assert_close(codes.view, pool(codes.view_sequence), rtol=0, atol=1e-12)


def test_static_codes_of_a_still_or_reversed_walk():
    """Kernels see three frames, so only orders that keep every frame's neighbors leave the maximum alone: none, or symmetric."""
    torch.manual_seed(0)
    model = Autoencoder("paper").double().eval()
    pose = double(2, 30, 1).expand(-1, -1, 16)
    codes = model.encode(pose)
    torch.testing.assert_close(codes.body, codes.body_sequence[..., 5], rtol=0, atol=1e-12)
    for layer in (model.body_encoder.model[n] for n in (1, 4, 7)):
        layer.weight.data[..., 2] = layer.weight.data[..., 0]  # symmetric kernels do not know the direction of time
    x = double(2, 30, 16)
    torch.testing.assert_close(model.encode(x).body, model.encode(x.flip(2)).body, rtol=0, atol=1e-12)


@pytest.mark.parametrize("frames", [16, 33, 64])
def test_the_scrambled_layout_is_a_reshape_where_a_transpose_is_meant(frames):
    walk = torch.arange(2 * frames * 30.0).reshape(2, frames, 15, 2)
    x = walk.flatten(2).transpose(1, 2)  # joint-major rows over time
    assert torch.equal(scramble(x), walk.reshape(2, 30, frames))
    assert torch.equal(unscramble(scramble(x)), x)


def test_a_scrambled_network_takes_and_gives_poses():
    """Inside it works on scrambled rows; outside, on joints over time, as any other."""
    torch.manual_seed(0)
    plain, released = Autoencoder("paper").eval(), Autoencoder("paper", layout="scrambled").eval()
    released.load_state_dict(plain.state_dict())
    x = torch.randn(2, 30, 20)
    assert torch.equal(plain.arrange(x), x)
    for ours, wanted in zip(released.encode(x), plain.encode(scramble(x)), strict=True):
        assert torch.equal(ours, wanted)
    assert torch.equal(scramble(released(x)), plain(scramble(x)))


def test_static_rows_are_all_that_body_and_view_see():
    torch.manual_seed(0)
    for layout, unseen in (("trajectories", (slice(28, 30), slice(None))), ("scrambled", (slice(None), slice(60, 64)))):
        model = Autoencoder("paper", layout=layout, static_rows=28).eval()
        x = torch.randn(2, 30, 64)
        changed = x.clone()
        changed[:, *unseen] += 1  # the left ankle, or the last four frames
        before, after = model.encode(x), model.encode(changed)
        assert torch.equal(before.body_sequence, after.body_sequence)
        assert torch.equal(before.view_sequence, after.view_sequence)
        assert not torch.equal(before.motion, after.motion)
        changed[:, 0, 0] += 1
        assert not torch.equal(before.body_sequence, model.encode(changed).body_sequence)


def test_codes_of_one_window_do_not_depend_on_the_others():
    model = Autoencoder("lean", width=12).eval()
    x = torch.randn(4, 30, 16)
    torch.testing.assert_close(model.encode(x).motion[2:3], model.encode(x[2:3]).motion, rtol=1e-4, atol=1e-5)


def test_lean_encoders_see_measured_features_with_mean_0_and_deviation_1():
    torch.manual_seed(0)
    model = Autoencoder("lean", width=12).double().eval()
    x = 3 + 2 * double(6, 30, 20)
    x[:, 4] = 0.7  # a coordinate that does not move
    model.measure(x)

    def seen(x: torch.Tensor) -> torch.Tensor:
        return (pose_features(x) - model.center[:, None]) / model.spread[:, None]

    torch.testing.assert_close(seen(x).mean((0, 2)), torch.zeros(88, dtype=torch.float64), rtol=0, atol=1e-6)
    assert (seen(x)[:, 4] == 0).all()
    torch.testing.assert_close(seen(x)[:, 5].std(), torch.tensor(1.0, dtype=torch.float64), rtol=0, atol=2e-3)
    moved = x.clone()
    moved[0, 4] += 0.05  # torso lengths: not blown up
    torch.testing.assert_close(seen(moved)[0, 4], torch.ones(20, dtype=torch.float64), rtol=1e-4, atol=0)
    for poses in (x, moved):
        codes = model.encode(poses, sequences=True)
        for code, encoder in zip((codes.motion, *codes[3:]), LEAN_ENCODERS, strict=True):
            torch.testing.assert_close(code, getattr(model, encoder)(seen(poses)), rtol=0, atol=1e-11)
    again = Autoencoder("lean", width=12).double()
    again.load_state_dict(model.state_dict())  # it is kept with the weights
    assert torch.equal(again.encode(x).body, model.encode(x).body)


@pytest.mark.parametrize(("frames", "kernel"), [(64, 11), (16, 11), (11, 11), (12, 7), (9, 1), (33, 3)])
def test_a_convolution_of_the_features_is_one_of_the_pose(frames, kernel):
    torch.manual_seed(frames)
    x, center, spread = double(3, 30, frames), double(88), 0.1 + double(88).abs()
    weight, bias = double(5, 88, kernel).requires_grad_(), double(5).requires_grad_()
    features = (pose_features(x) - center[:, None]) / spread[:, None]
    plain = F.conv1d(features, weight, bias, padding=kernel // 2)
    ours = features_conv(x, weight, bias, center, spread)
    torch.testing.assert_close(ours, plain, rtol=0, atol=1e-11)
    wanted = double(*plain.shape)
    for a, b in zip(*(torch.autograd.grad((y * wanted).sum(), (weight, bias)) for y in (ours, plain)), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


def test_short_walks_and_short_floats_are_encoded_too():
    torch.manual_seed(0)
    model, x = Autoencoder("lean", width=12).eval(), torch.randn(2, 30, 40)
    model.measure(x)
    for frames in (4, 5, 10, 11):  # the kernel has 11
        seen = (pose_features(x[..., :frames]) - model.center[:, None]) / model.spread[:, None]
        torch.testing.assert_close(model.encode(x[..., :frames]).motion, model.motion_encoder(seen), rtol=1e-4, atol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        short = model.encode(x).motion.float()
    error = (short - model.encode(x).motion).square().mean().sqrt() / short.std()
    assert 1e-4 < error < 1e-2


def test_pose_features_by_hand():
    x = torch.randn(2, 30, 9)
    features = pose_features(x)
    assert POSE_FEATURES == 88
    assert features.shape == (2, 88, 9)
    assert torch.equal(features[:, :30], x)
    a, b = BONES[5]
    bone = x[:, 2 * b : 2 * b + 2] - x[:, 2 * a : 2 * a + 2]
    torch.testing.assert_close(features[:, 40:42], bone)
    torch.testing.assert_close(features[:, 58:, 4], (x[..., 5] - x[..., 3]) * 5)
    torch.testing.assert_close(features[:, 58:, 0], (x[..., 1] - x[..., 0]) * 5)
