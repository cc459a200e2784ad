"""GaitTR has the size of the public implementation, describes joints as it does, and treats joints and frames alike."""

from itertools import pairwise

import pytest
import torch

from gaitlib import InputError
from gaitlib.model.peers.gaittr import GaitTR
from gaitlib.skeleton import NECK, PARENT

# Channels from layer to layer in FastPoseGait, configs/gaittr/gaittr_plus.yaml; its embedding has 128 numbers.
CHANNELS = [10, 64, 64, 128, 256]


def public_parameters(joints: int) -> int:
    """The parameters of FastPoseGait's GaitTR, counted by hand from its layers."""
    count = 2 * 10 * joints + 257 * 128  # batch normalization of the input, embedding
    for a, b in pairwise(CHANNELS):
        count += (9 * a + 1) * a + 2 * a  # convolution over 9 frames, batch normalization
        count += 2 * a * joints  # batch normalization of each joint
        count += (a + 1) * (b // 4 + b // 4 + b) + (b + 1) * b + 2 * b  # queries, keys, values; output; batch normalization
        count += 2 * ((a + 1) * b + 2 * b) if a != b else 0  # two shortcuts with batch normalization
    return count


def test_number_of_parameters():
    ours = sum(parameter.numel() for parameter in GaitTR().parameters())
    assert public_parameters(17) == 512_010
    assert ours == 510_458 == public_parameters(15) - (64 + 128 + 256)  # the biases of shortcuts
    assert abs(ours / public_parameters(17) - 1) < 0.02


def test_the_ten_numbers_of_a_joint_in_a_frame():
    network, seen = GaitTR(width=8), []
    network.norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = torch.randn(1, 30, 16)
    network(x)
    place = x[0].unflatten(0, (15, 2))
    for t, j in [(3, 4), (0, NECK), (13, 14)]:
        here, next_one, second = place[j, :, t : t + 3].unbind(1)
        parts = [here, here - place[NECK, :, t], next_one - here, second - here, here - place[PARENT[j], :, t]]
        torch.testing.assert_close(seen[0][0, t, j], torch.cat(parts))


def test_without_the_descriptions_of_the_input_the_order_of_joints_does_not_matter():
    torch.manual_seed(0)
    blocks = GaitTR(width=8).eval().blocks
    y = torch.randn(2, 20, 15, 10)
    order = torch.randperm(15)
    torch.testing.assert_close(blocks(y[:, :, order]), blocks(y)[:, :, order], rtol=1e-4, atol=1e-5)


def test_a_frame_reaches_sixteen_frames_to_either_side():
    torch.manual_seed(0)
    blocks = GaitTR(width=8).eval().blocks
    y = torch.randn(1, 64, 15, 10)
    changed = y.clone()
    changed[:, 30] += 1
    difference = (blocks(changed) - blocks(y)).abs().amax((0, 2, 3))
    assert difference[14:47].min() > 0
    assert difference[:14].max() == difference[47:].max() == 0


def test_what_comes_later_shifts_the_result_as_much():
    torch.manual_seed(0)
    blocks = GaitTR(width=8).eval().blocks
    y = torch.randn(1, 70, 15, 10)
    torch.testing.assert_close(blocks(y[:, 5:])[:, 16:-16], blocks(y)[:, 21:-16], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("width", [0, 12, -8])
def test_impossible_width(width):
    with pytest.raises(InputError, match="multiple of 8"):
        GaitTR(width=width)
