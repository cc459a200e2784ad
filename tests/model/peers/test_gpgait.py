"""GPGait has the published size, does what loops over joints and parts do, and does not see what it claims not to see."""

import numpy as np
import pytest
import torch

from gaitlib import InputError
from gaitlib.data.preprocess import mirror
from gaitlib.model.peers import gpgait
from gaitlib.model.peers.gpgait import GPGait, PartGraphConv, PartPool
from gaitlib.model.peers.streams import adjacency, hops, joints
from gaitlib.skeleton import BONES, MID_HIP, MIRROR, NECK, NUM_JOINTS, PARENT


def parameters(joints: int, *, biases: bool) -> int:
    """The size of the published network, without its classifier, counted by hand; three numbers make a layer of its graph."""

    def layer(a, b, of):
        c = b // 4
        attention = 3 * (2 * a * c + c + c * biases)  # biases of queries move all scores of a joint alike
        values = 3 * (a * b + b * biases) + 2 * b  # with batch normalization
        shortcut = a * b + b * biases + 2 * b if a != b else 0
        return attention + values + shortcut + 3 * of**2

    def stream(channels, of, paths):
        shared = layer(channels, 64, of) + layer(64, 64, of) + layer(64, 128, of)
        return 2 * channels * of + shared + paths * layer(128, 256, of)

    return 2 * stream(2, joints, 4) + stream(1, 12, 2) + 19 * 256**2


def test_number_of_parameters():
    published = parameters(17, biases=True)  # BNU-IVC/FastPoseGait, configs/gpgait/gpgait.yaml
    assert published == 3_285_146
    ours = sum(parameter.numel() for parameter in GPGait().parameters())
    assert ours == 3_266_826 == parameters(15, biases=False)
    assert abs(ours / published - 1) < 0.02


def test_a_width_that_attention_cannot_divide_is_refused():
    with pytest.raises(InputError, match="multiple of 4"):
        GPGait(width=10)


def windows(batch: int = 2, frames: int = 16) -> torch.Tensor:
    """Windows with the neck at the origin."""
    pose = torch.randn(batch, NUM_JOINTS, 2, frames, generator=torch.Generator().manual_seed(0))
    return (pose - pose[:, [NECK]]).flatten(1, 2)


def turned(x: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
    """Every frame of [B, 30, T] turned about the neck by an angle [T]."""
    matrix = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()]).view(2, 2, -1)
    return torch.einsum("cdt,bjdt->bjct", matrix, x.unflatten(1, (NUM_JOINTS, 2))).flatten(1, 2)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return GPGait(width=4).eval()


def test_neither_the_camera_tilt_nor_the_distance_changes_the_embedding(model):
    x = windows()
    angle, scale = torch.linspace(-2, 2, 16), torch.linspace(0.5, 3, 16)
    torch.testing.assert_close(model(scale * turned(x, angle)), model(x), rtol=1e-3, atol=1e-4)
    assert not torch.allclose(model(x * torch.tensor([1.0, 1.1]).repeat(15)[:, None]), model(x), rtol=1e-3, atol=1e-4)


def test_the_order_of_frames_does_not_change_the_embedding(model):
    x = windows()
    order = torch.randperm(16)
    torch.testing.assert_close(model(x[:, :, order]), model(x), rtol=1e-3, atol=1e-4)
    assert not torch.allclose(model(x.roll(1, 1)), model(x), rtol=1e-3, atol=1e-4)


def test_upright_against_loops():
    found = gpgait.upright(joints(windows())).numpy()
    for sample, pose in enumerate(windows().unflatten(1, (NUM_JOINTS, 2)).numpy()):
        for t in range(16):
            frame = pose[..., t] @ [1, 1j]
            frame = frame * 1j / (frame[MID_HIP] / abs(frame[MID_HIP]))
            frame /= frame.imag.max() - frame.imag.min()
            np.testing.assert_allclose(found[sample, :, t], [frame.real, frame.imag], rtol=1e-4, atol=1e-5)


def test_angles_of_a_hand_made_pose():
    """An arm with the elbow at a right angle and the forearm level, a straight leg, and the same on the left."""
    pose = np.full((NUM_JOINTS, 2), np.nan)
    pose[[2, 3, 4, 9, 10, 11]] = [(0, 0), (0, 1), (1, 1), (0, 2), (0, 3), (0, 4)]
    pose[[5, 6, 7, 12, 13, 14]] = [(3, 0), (4, 0), (4, -1), (3, 2), (4, 2), (5, 3)]
    found = gpgait.angles(torch.tensor(pose.T[None, :, None]))[0, 0, 0]
    degrees = dict(zip(gpgait.ANGLED.tolist(), found.rad2deg().tolist(), strict=True))
    expected = {2: 0, 3: 90, 4: 90, 9: 180, 10: 180, 11: 0, 5: 90, 6: 90, 7: 0, 12: 90, 13: 135, 14: 45}
    assert degrees == pytest.approx(expected)


def test_mirrored_poses_have_mirrored_angles():
    y, other = (gpgait.angles(joints(x)) for x in (windows(), mirror(windows())))
    place = {number: i for i, number in enumerate(gpgait.ANGLED)}
    swapped = [place[MIRROR[number]] for number in gpgait.ANGLED]
    torch.testing.assert_close(other, y[..., swapped])


def test_the_streams_see_coordinates_bones_and_angles_of_the_upright_pose(model):
    seen = []
    for stream in (model.coordinates, model.bones, model.angles):
        stream.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    model(windows())
    y = gpgait.upright(joints(windows()))
    for found, expected in zip(seen, (y, y - y[..., PARENT], gpgait.angles(y)), strict=True):
        torch.testing.assert_close(found, expected)


def members(parts) -> torch.Tensor:
    return torch.from_numpy(np.stack([np.isin(range(15), part) for part in parts]))


def test_part_graph_convolution_against_loops():
    torch.manual_seed(0)
    parts = members(gpgait.LIMBS)
    layer = PartGraphConv(2, 8, hops(), parts).eval()
    torch.nn.init.normal_(layer.learned)
    y = torch.randn(1, 3, 15, 2)
    expected = torch.zeros(3, 15, 8)
    near = adjacency(hops())
    with torch.no_grad():
        query, key = (z[0].unflatten(2, (3, 2)) for z in (layer.query(y), layer.key(y)))  # [T, V, 3, 2]
        weight = layer.mixed[0].weight.unflatten(1, (3, 2))
        for subset in range(3):
            for joint in range(15):
                score = torch.stack([(query[:, other, subset] * key[:, joint, subset]).mean() for other in range(15)])
                part = next(part for part in gpgait.LIMBS if joint in part)
                for other in part:
                    link = score.softmax(0)[other] + near[subset, other, joint] + layer.learned[subset, other, joint]
                    expected[:, joint] += link * y[0, :, other] @ weight[:, subset].T
        expected = layer.mixed[1:](expected[None]) + layer.shortcut(y)
        torch.testing.assert_close(layer(y), expected, rtol=1e-4, atol=1e-5)


def test_part_pooling_against_loops():
    y = torch.randn(2, 5, 15, 3, generator=torch.Generator().manual_seed(0))
    found = PartPool(members(gpgait.HALVES))(y)
    for sample in range(2):
        for i, part in enumerate(gpgait.HALVES):
            for c in range(3):
                most = [max(y[sample, t, joint, c].item() for t in range(5)) for joint in part]
                assert found[sample, i, c].item() == pytest.approx(np.mean(most) + max(most), rel=1e-5)


def test_every_partition_has_every_joint_once():
    for partition in (gpgait.LIMBS, *gpgait.PARTITIONS):
        assert sorted(joint for part in partition for joint in part) == list(range(NUM_JOINTS))
    linked = {(a, b) for a, b in BONES if any(a in part and b in part for part in gpgait.HALVES)}
    assert set(BONES) - linked == {(NECK, MID_HIP)}, "the halves are cut at the spine alone"


def test_but_for_their_share_of_attention_other_limbs_are_not_seen_by_the_first_layers(model):
    layers = model.coordinates.shared
    y = joints(windows()).permute(0, 2, 3, 1)
    moved = y.clone()
    moved[:, :, gpgait.RIGHT_ARM] += 1
    assert (layers(moved) - layers(y)).abs().amax((0, 1, 3)).min() > 0
    for layer in layers:
        torch.nn.init.zeros_(layer.query.weight)
    change = (layers(moved) - layers(y)).abs().amax((0, 1, 3))
    assert np.flatnonzero(change > 1e-5).tolist() == gpgait.RIGHT_ARM
