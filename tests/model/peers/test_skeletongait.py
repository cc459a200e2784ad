"""SkeletonGait has the published size; drawings and strips agree with loops over pixels; where and how large does not matter."""

import numpy as np
import pytest
import torch

from gaitlib import InputError
from gaitlib.data.preprocess import mirror
from gaitlib.model.peers.skeletongait import SkeletonGait, skeleton_maps
from gaitlib.skeleton import BONES, MID_HIP, MIRROR

SMALL = {"width": 4, "blocks": (1, 1, 1, 1), "height": 16}


def residual_network(inputs: int, spatial: int, temporal: int) -> int:
    """Parameters of DeepGaitV2's residual network, counted by hand from OpenGait's configurations.

    spatial: weights of a kernel after the first stage; temporal: those of the convolution over time in between, or 0.
    """
    count = 9 * inputs * 64 + 2 * 64 + 2 * (9 * 64 * 64 + 2 * 64)
    for a, b, blocks in [(64, 128, 4), (128, 256, 4), (256, 512, 1)]:
        count += spatial * (a * b + (2 * blocks - 1) * b * b) + a * b + (2 * blocks + 1) * 2 * b
        count += blocks * (temporal * b * b + 2 * b) if temporal else 0
    return count


def test_number_of_parameters():
    with torch.device("meta"):
        network = SkeletonGait()
    ours = sum(parameter.numel() for parameter in network.backbone.parameters())
    assert ours == residual_network(2, 9, 3) == 11_099_392
    assert network.strips.numel() == 16 * 512 * 256
    # the count of the three-dimensional variant is published, https://github.com/ShiqiYu/OpenGait/issues/274 quotes 27.5 M
    assert abs(residual_network(1, 27, 0) / 27.5e6 - 1) < 0.02


def bodies(batch=2, frames=16):
    """Upright bodies of random proportions: [B, 30, T], heads about at -0.5 and ankles at 2.5 torso lengths."""
    chance = torch.Generator().manual_seed(3)
    height = torch.tensor([-0.5, 0, 0, 0.5, 1, 0, 0.5, 1, 1, 1, 1.8, 2.5, 1, 1.8, 2.5])
    pose = 0.2 * torch.randn(batch, 15, 2, frames, generator=chance)
    pose[:, :, 1] += height[:, None]
    return pose.flatten(1, 2)


def drawn_by_loops(pose, height):
    """The drawings of one frame, pose: float [15, 2] -> float [height, 11 / 16 height, 2]."""
    top, bottom = pose[:, 1].min(), pose[:, 1].max()
    width = height * 11 // 16
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    place = (pose - [pose[MID_HIP, 0], (top + bottom) / 2]) * (height / 1.5) / (bottom - top) + middle
    result = np.zeros((height, width, 2))
    for row, column in np.ndindex(height, width):
        pixel, dense = np.array([column, row]), np.linspace(0, 1, 2001)[:, None]
        to_bones = [np.hypot(*(pixel - place[a] - dense * (place[b] - place[a])).T).min() for a, b in BONES]
        to_joints = [np.hypot(*(pixel - joint)) for joint in place]
        result[row, column] = np.exp(-(np.array([min(to_bones), min(to_joints)]) ** 2) / 2 / (height / 16) ** 2)
    return result


def test_drawings_against_loops():
    x = bodies()
    found = skeleton_maps(x, 32)
    assert found.shape == (2, 16, 32, 22, 2)
    for b, t in [(0, 0), (1, 9)]:
        expected = drawn_by_loops(x[b, :, t].unflatten(0, (15, 2)).numpy().astype(np.float64), 32)
        np.testing.assert_allclose(found[b, t].numpy(), expected, atol=1e-4)


def test_neither_place_nor_size_of_the_body_changes_the_drawings():
    x = bodies()
    moved = (1.7 * x).unflatten(1, (15, 2)) + torch.tensor([3.0, -2.0])[:, None]
    torch.testing.assert_close(skeleton_maps(moved.flatten(1, 2), 32), skeleton_maps(x, 32), rtol=0, atol=1e-4)


def test_a_mirrored_walk_gives_mirrored_drawings_that_do_not_tell_left_from_right():
    x = bodies()
    drawings = skeleton_maps(x, 32)
    torch.testing.assert_close(skeleton_maps(mirror(x), 32), drawings.flip(3), rtol=0, atol=1e-5)
    swapped = x.unflatten(1, (15, 2))[:, torch.from_numpy(MIRROR)].flatten(1, 2)
    torch.testing.assert_close(skeleton_maps(swapped, 32), drawings, rtol=0, atol=1e-5)


def test_the_drawings_can_be_differentiated():
    weight = torch.randn(2, 16, 16, 11, 2, generator=torch.Generator().manual_seed(0))

    def total(x):
        return (skeleton_maps(x, 16) * weight.to(x)).sum()

    x = bodies().double().requires_grad_()
    slope = torch.autograd.grad(total(x), x)[0]
    step = torch.zeros_like(x)
    for row, t in [(7, 0), (22, 5), (29, 15)]:
        step.zero_()[0, row, t] = 1e-5
        with torch.no_grad():
            measured = (total(x + step) - total(x - step)) / 2e-5
        torch.testing.assert_close(slope[0, row, t], measured, rtol=1e-3, atol=1e-4)


def test_strips_against_loops():
    torch.manual_seed(0)
    network, x, seen = SkeletonGait(**SMALL).eval(), bodies(), []
    network.backbone.register_forward_hook(lambda *call: seen.append(call[2].detach().numpy()))
    found = network(x).detach().numpy()
    (features,), strips = seen, network.strips.detach().numpy()
    assert found.shape == (2, 4 * 16)
    assert features.shape == (2, 16, 4, 3, 32)
    for b, strip in np.ndindex(2, 4):
        over_time = [[max(features[b, :, strip, w, c]) for c in range(32)] for w in range(3)]
        pooled = np.mean(over_time, 0) + np.max(over_time, 0)
        np.testing.assert_allclose(found[b, 16 * strip : 16 * strip + 16], pooled @ strips[strip], rtol=1e-4, atol=1e-5)


def test_every_second_frame():
    networks = []
    for every in (1, 2):
        torch.manual_seed(0)
        networks.append(SkeletonGait(**SMALL, every=every).eval())
    x = bodies(2, 33)
    torch.testing.assert_close(networks[1](x), networks[0](x[:, :, ::2]))
    assert not torch.allclose(networks[1](x), networks[0](x))


def test_only_convolution_over_time_sees_the_order_of_frames():
    torch.manual_seed(0)
    network, x = SkeletonGait(**SMALL).eval(), bodies()
    shuffled = x[:, :, torch.randperm(16)]
    assert not torch.allclose(network(shuffled), network(x), atol=1e-4)
    for name, parameter in network.named_parameters():
        if ".temporal.0." in name:
            parameter.data[:, :, [0, 2]] = 0  # what is left of the kernel sees the frame itself
    torch.testing.assert_close(network(shuffled), network(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("height", [0, 24, -16, 10**6])
def test_impossible_height(height):
    with pytest.raises(InputError, match="multiple of 16"):
        SkeletonGait(height=height)


def test_more_blocks_than_anyone_needs_are_not_made():
    with pytest.raises(InputError, match="64 or fewer"):
        SkeletonGait(blocks=(1, 10**9, 1, 1))
