"""GaitMixer has the published size; time is mixed as a loop would; joints differ only by what is learned of their places."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from gaitlib import InputError
from gaitlib.model.peers.gaitmixer import GaitMixer, reflect

#: As its first author gives it for 17 joints without confidences: https://github.com/exitudio/GaitMixer/issues/2
PUBLISHED = 166_304


def published_parameters(joints: int) -> int:
    """The parameters of the paper's network, counted by hand."""
    norm, attention, mlp = 2 * 32, 33 * 3 * 32 + 33 * 32, 33 * 64 + 65 * 32
    count = 3 * 32 + joints * 32 + 4 * (2 * norm + attention + mlp) + norm
    for a, b in pairwise([32, 32, 64, 128, 256]):
        count += 32 * a + (a + 1) * b + 2 * b  # depthwise, pointwise, batch normalization
        count += (a + 1) * b + 2 * b if a != b else 0  # shortcut with batch normalization
    return count + 2 * 256 + 257 * 128


def test_number_of_parameters():
    assert published_parameters(17) == PUBLISHED
    ours = sum(parameter.numel() for parameter in GaitMixer().parameters())
    assert ours == published_parameters(15)
    assert abs(ours / PUBLISHED - 1) < 0.02


def with_places(**arguments):
    """A network in evaluation whose joints have places, which are learned from zero."""
    torch.manual_seed(0)
    network = GaitMixer(**{"width": 8} | arguments).eval()
    torch.nn.init.normal_(network.place)
    return network


@pytest.mark.parametrize("frames", [7, 16, 64])
def test_large_kernels_against_loops(frames):
    layer = with_places().temporal[0]
    y = torch.randn(2, frames, 15, 8)
    with torch.no_grad():
        found = layer.depthwise(reflect(y, 30)).numpy()
    weight, bias = layer.depthwise.weight.detach().numpy(), layer.depthwise.bias.detach().numpy()
    there_and_back = [*range(frames), *range(frames - 2, 0, -1)]
    for t, channel in np.ndindex(frames, 8):
        expected = sum(
            weight[channel, 0, k, 0] * y[:, there_and_back[abs(t - 30 + k) % len(there_and_back)], :, channel].numpy()
            for k in range(31)
        )
        np.testing.assert_allclose(found[:, t, :, channel], expected + bias[channel], rtol=1e-4, atol=1e-5)


def test_no_frame_changes_what_lies_before_it():
    temporal = with_places().temporal
    y = torch.randn(1, 64, 15, 8)
    changed = y.clone()
    changed[:, 50] += 1
    difference = (temporal(changed) - temporal(y)).abs().amax((0, 2, 3))
    assert difference[:50].max() == 0
    assert difference[50:].min() > 0


def test_only_their_places_tell_joints_apart():
    network, x = with_places(), torch.randn(2, 30, 40)
    order = torch.randperm(15)
    reordered = x.unflatten(1, (15, 2))[:, order].flatten(1, 2)
    embedding = network(x)
    assert (network(reordered) - embedding).abs().max() > 1e-3
    network.place.data = network.place.data[order]
    torch.testing.assert_close(network(reordered), embedding, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("kernel", "same"), [(1, True), (31, False)])
def test_only_the_temporal_mixer_sees_the_order_of_frames(kernel, same):
    network, x = with_places(kernel=kernel), torch.randn(2, 30, 40)
    shuffled = network(x[:, :, torch.randperm(40)])
    assert torch.allclose(shuffled, network(x), rtol=1e-4, atol=1e-5) == same


@pytest.mark.parametrize("width", [0, 6, -4])
def test_impossible_width(width):
    with pytest.raises(InputError, match="multiple of 4"):
        GaitMixer(width=width)
