"""GaitGraph2 has the published size, and its graph convolution and streams do what loops over joints do."""

import numpy as np
import pytest
import torch

from gaitlib import InputError
from gaitlib.model.peers import gaitgraph
from gaitlib.model.peers.gaitgraph import GaitGraph, GraphConv
from gaitlib.model.peers.streams import adjacency, hops
from gaitlib.skeleton import BONES, HEAD, NECK, PARENT


def parameters(joints: int, channels: int, *, distances: int, biases: bool) -> int:
    """The size of ResGCN-N51-R4 with three branches and 128 outputs, counted by hand."""
    edges = distances * joints**2

    def conv(a, b, frames=1):
        return a * b * frames + b * biases + 2 * b  # with its batch normalization

    def graph(a, b):
        return 3 * a * b + 3 * b * biases + 2 * b  # each of three matrices has a bias of its own

    def block(a, b, stride=1):
        c = b // 4
        space = conv(a, c) + graph(c, c) + conv(c, b) + (conv(a, b) if a != b else 0)
        time = conv(b, c) + conv(c, c, 9) + conv(c, b) + (conv(b, b) if stride == 2 else 0)
        return space + time + edges

    branch = 2 * channels + graph(channels, 64) + conv(64, 64, 9) + edges + block(64, 64) + block(64, 32)
    trunk = block(96, 128, 2) + 2 * block(128, 128) + block(128, 256, 2) + 2 * block(256, 256)
    return 3 * branch + trunk + 256 * 128 + 128


def test_number_of_parameters():
    published = parameters(18, 5, distances=4, biases=True)  # tteepe/GaitGraph2, configs/oumvlp.yaml
    assert published == 765_278
    ours = sum(parameter.numel() for parameter in GaitGraph().parameters())
    assert ours == 748_709 == parameters(15, 4, distances=3, biases=False)
    assert published - parameters(18, 5, distances=3, biases=False) == 11_532, "has no effect"
    assert abs(ours / (published - 11_532) - 1) < 0.02


def test_a_width_that_bottlenecks_cannot_divide_is_refused():
    with pytest.raises(InputError, match="multiple of 8"):
        GaitGraph(width=12)


def test_graph_convolution_against_loops():
    torch.manual_seed(0)
    layer = GraphConv(2, 3)
    torch.nn.init.uniform_(layer.edge)
    y = torch.randn(1, 2, 15, 2)
    edge = layer.edge.detach().numpy()
    weight = layer.conv.weight.detach().numpy().reshape(3, 3, 2)  # [out, distance, in]
    neighbors = [{a if b == joint else b for a, b in BONES if joint in (a, b)} for joint in range(15)]
    near = [{joint} for joint in range(15)], neighbors, []
    for joint in range(15):
        near[2].append(set().union(*(neighbors[other] for other in neighbors[joint])) - {joint})
    expected = np.zeros((1, 2, 15, 3))
    for distance in range(3):
        for joint in range(15):
            for other in near[distance][joint]:
                scale = edge[distance, other, joint] / np.sqrt(len(near[distance][joint]) * len(near[distance][other]))
                expected[0, :, joint] += scale * y.numpy()[0, :, other] @ weight[:, distance].T
    np.testing.assert_allclose(layer(y).detach().numpy(), expected, rtol=1e-4, atol=1e-5)


def test_streams_against_loops():
    torch.manual_seed(0)
    x = torch.randn(1, 30, 16)
    pose = x.numpy()[0].reshape(15, 2, 16)
    joint, velocity, bone = (stream.numpy()[0] for stream in gaitgraph.streams(x))
    for j in range(15):
        for t in range(16):
            here = pose[j, :, t]
            np.testing.assert_allclose(joint[t, j], [*here, *(here - pose[HEAD, :, t])], rtol=1e-5)
            ways = [pose[j, :, t + ahead] - here if t + ahead < 16 else np.zeros(2) for ahead in (1, 2)]
            np.testing.assert_allclose(velocity[t, j], np.concatenate(ways), rtol=1e-5)
            way = here - pose[PARENT[j], :, t]
            angles = np.arccos(way / np.hypot(*way)) if j != NECK else np.zeros(2)
            np.testing.assert_allclose(bone[t, j], [*way, *angles], rtol=1e-3, atol=1e-4)


def test_only_coordinates_notice_where_the_body_is():
    torch.manual_seed(0)
    x = torch.randn(2, 30, 16)
    moved = x + torch.tensor([3.0, -1.0]).repeat(15)[:, None]
    for name, before, after in zip(("joints", "velocities", "bones"), *map(gaitgraph.streams, (x, moved)), strict=True):
        same = (before - after).abs().amax((0, 1, 2)) < 1e-4
        assert same.tolist() == [name != "joints"] * 2 + [True] * 2


def test_joints_renumbered_together_with_the_graph_change_nothing():
    torch.manual_seed(0)
    layers = gaitgraph.branch(8).eval()
    order = torch.randperm(15)
    y = torch.randn(2, 16, 15, 4)
    before = layers(y)
    assert not torch.allclose(layers(y[:, :, order]), before[:, :, order], rtol=1e-2)
    for layer in layers.modules():
        if isinstance(layer, GraphConv):
            layer.adjacency.copy_(layer.adjacency[:, order][:, :, order])
    torch.testing.assert_close(layers(y[:, :, order]), before[:, :, order], rtol=1e-4, atol=1e-4)


def test_adjacency_of_a_star():
    """The middle of a star with three ends: 0; the ends are two steps apart from each other."""
    distance = np.full((4, 4), 2)
    distance[0] = distance[:, 0] = 1
    np.fill_diagonal(distance, 0)
    itself, near, far = adjacency(distance)
    torch.testing.assert_close(itself, torch.eye(4))
    torch.testing.assert_close(near[0], torch.tensor([0, *[3**-0.5] * 3]))
    torch.testing.assert_close(far[1], torch.tensor([0, 0, 0.5, 0.5]))
    assert adjacency(hops()).shape == (3, 15, 15)


@pytest.mark.parametrize("shift", [4, 8])
def test_a_pattern_shifted_by_whole_strides_gives_shifted_features(shift):
    """The trunk halves the frame rate twice, so its features move by a quarter of the shift, away from both ends."""
    torch.manual_seed(0)
    model = GaitGraph(width=8).eval()
    y = torch.randn(1, 400, 15, 12)
    with torch.no_grad():
        before, after = model.trunk(y), model.trunk(y.roll(shift, 1))
    middle = slice(40, 60)
    torch.testing.assert_close(after[:, middle], before.roll(shift // 4, 1)[:, middle], rtol=1e-3, atol=1e-3)
