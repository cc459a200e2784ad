"""The decoder computes what the published layers compute, and the networks have the published names and shapes."""

import pytest
import torch
from torch import nn

from gaitlib.model.autoencoder import Decoder, PaperAutoencoder, scramble, unscramble, upsampled_conv

PUBLISHED = {
    "motion_encoder": {1: (64, 30, 3), 4: (128, 64, 3), 7: (128, 128, 3)},
    "body_encoder": {1: (64, 30, 3), 4: (128, 64, 3), 7: (128, 128, 3)},
    "view_encoder": {1: (64, 30, 3), 4: (32, 64, 3), 7: (128, 32, 3)},
    "decoder": {2: (256, 384, 7), 7: (128, 256, 7), 12: (45, 128, 7)},
}


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
        module = getattr(PaperAutoencoder(), network)
    wanted = {}
    for number, shape in PUBLISHED[network].items():
        wanted |= {f"model.{number}.weight": shape, f"model.{number}.bias": shape[:1]}
    assert {name: tuple(p.shape) for name, p in module.state_dict().items()} == wanted


@pytest.mark.parametrize("frames", [17, 64])
def test_code_shapes(frames):
    model = PaperAutoencoder().eval()
    x = torch.randn(3, 30, frames)
    codes = model.encode(x)
    assert codes.motion.shape == codes.body_sequence.shape == codes.view_sequence.shape == (3, 128, frames)
    assert codes.body.shape == codes.view.shape == (3, 128)
    assert model(x).shape == x.shape
    assert [c.shape[0] for c in codes.rows(torch.tensor([2, 0]))] == [2] * 5
    assert torch.equal(codes.rows(torch.tensor([2, 0])).body[1], codes.body[0])
    first, second = codes.anchors_and_partners(1)
    assert torch.equal(first.motion, codes.motion[:1])
    assert torch.equal(second.view_sequence, codes.view_sequence[1:2])


def test_static_codes_are_the_maximum_over_time():
    codes = PaperAutoencoder().double().eval().encode(double(2, 30, 20))
    torch.testing.assert_close(codes.body, codes.body_sequence.max(2).values, rtol=0, atol=1e-12)
    torch.testing.assert_close(codes.view, codes.view_sequence.max(2).values, rtol=0, atol=1e-12)


def test_static_codes_of_a_still_or_reversed_walk():
    """Kernels see three frames, so only orders that keep every frame's neighbors leave the maximum alone: none, or symmetric."""
    torch.manual_seed(0)
    model = PaperAutoencoder().double().eval()
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
    plain, released = PaperAutoencoder().eval(), PaperAutoencoder(layout="scrambled").eval()
    released.load_state_dict(plain.state_dict())
    x = torch.randn(2, 30, 20)
    assert torch.equal(plain.arrange(x), x)
    for ours, wanted in zip(released.encode(x), plain.encode(scramble(x)), strict=True):
        assert torch.equal(ours, wanted)
    assert torch.equal(scramble(released(x)), plain(scramble(x)))


def test_static_rows_are_all_that_body_and_view_see():
    torch.manual_seed(0)
    for layout, unseen in (("trajectories", (slice(28, 30), slice(None))), ("scrambled", (slice(None), slice(60, 64)))):
        model = PaperAutoencoder(layout=layout, static_rows=28).eval()
        x = torch.randn(2, 30, 64)
        changed = x.clone()
        changed[:, *unseen] += 1  # the left ankle, or the last four frames
        before, after = model.encode(x), model.encode(changed)
        assert torch.equal(before.body_sequence, after.body_sequence)
        assert torch.equal(before.view_sequence, after.view_sequence)
        assert not torch.equal(before.motion, after.motion)
        changed[:, 0, 0] += 1
        assert not torch.equal(before.body_sequence, model.encode(changed).body_sequence)
