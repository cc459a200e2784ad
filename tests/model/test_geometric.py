"""The camera sees what the cameras of the embedded walkers see; codes are leveled; the decoder goes by way of a walker."""

import numpy as np
import pytest
import torch

from gaitlib.data import walkers
from gaitlib.data.preprocess import as_poses, mirror
from gaitlib.model.discriminants import STATISTICS
from gaitlib.model.geometric import (
    POSE_FEATURES,
    GeometricAutoencoder,
    LevelByView,
    camera,
    direction,
    pose_features,
    project,
    turned,
)
from gaitlib.skeleton import BONES, MID_HIP, MIRROR, NECK


def double(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return GeometricAutoencoder(width=12, kernel=5).double().eval()


def walker_of(joints):
    """World points [T, 15, 3] about the neck as a batch of one: float64 [1, 15, 3, T]."""
    return torch.from_numpy((joints - joints[:, NECK : NECK + 1]).transpose(1, 2, 0))[None]


@pytest.mark.parametrize("view", [0, 18, 90, 144, 180, 250, 340])
def test_a_camera_far_away_sees_what_that_of_the_walkers_sees(view):
    joints = walkers.perform(1, 0)[0].joints
    seen = walkers.see(joints, view, walkers.Camera(distance=1e6, focal=1e6))
    seen -= seen[:, NECK : NECK + 1]
    seen /= np.linalg.norm(seen[:, MID_HIP], axis=-1).mean()
    nothing = torch.zeros(1, dtype=torch.float64)
    image = project(walker_of(joints), camera(nothing + view), nothing, nothing)
    np.testing.assert_allclose(as_poses(image)[0], seen, atol=1e-4)


def test_a_near_camera_that_looks_down_by_hand():
    joint = np.array([0.3, -0.4, 0.5])
    walker = torch.zeros(1, 15, 3, 2, dtype=torch.float64)
    walker[0, MID_HIP] = torch.tensor([[0, 0], [0, 0], [-1.0, -1.0]])
    walker[0, 4] = torch.from_numpy(joint)[:, None]
    angle, pitch, near = np.radians(36), 0.2, 0.1
    toward = np.array([np.cos(angle) * np.cos(pitch), np.sin(angle) * np.cos(pitch), np.sin(pitch)])
    right = np.array([-np.sin(angle), np.cos(angle), 0])
    up = np.cross(toward, right)

    def seen(point):
        return np.array([point @ right, -(point @ up)]) / (1 - near * (point @ toward))

    image = project(walker, camera(torch.tensor([36.0]).double()), *(torch.tensor([v]).double() for v in (pitch, near)))
    torso = np.linalg.norm(seen(np.array([0, 0, -1.0])))
    np.testing.assert_allclose(image[0, 8:10, 0], seen(joint) / torso, atol=1e-6)


def test_the_direction_goes_from_its_first_to_its_last_value():
    view = torch.cat([camera(torch.tensor([10.0]))[:, :2], camera(torch.tensor([50.0]))[:, :2]], 1)
    torch.testing.assert_close(direction(view), camera(torch.tensor([30.0]))[:, :2])
    nothing = torch.zeros(1)
    walker = torch.randn(1, 15, 3, 9)
    image = project(walker, view, nothing, nothing)
    for frame, degrees in ((0, 10.0), (4, 30.0), (8, 50.0)):
        still = project(walker, camera(torch.tensor([degrees])), nothing, nothing)
        shape = image[..., frame] / still[..., frame]  # but for the scale, which is that of the whole window
        torch.testing.assert_close(shape, shape[:, :1].expand_as(shape), rtol=1e-3, atol=1e-4)


def test_who_is_seen_in_a_mirror_is_mirrored_and_seen_from_the_other_side():
    walker, nothing = double(2, 15, 3, 8), torch.zeros(2, dtype=torch.float64)
    view = camera(torch.tensor([30.0, 200.0]).double())
    reflected = walker[:, MIRROR] * torch.tensor([1.0, -1, 1])[:, None]
    other = view * torch.tensor([1.0, -1, 1, -1])
    args = nothing + 0.1, nothing + 0.05
    torch.testing.assert_close(project(reflected, other, *args), mirror(project(walker, view, *args)), rtol=0, atol=1e-12)


def test_a_turned_camera_is_one_at_another_angle():
    for degrees, turn in ((20.0, 70.0), (100.0, -150.0), (350.0, 30.0)):
        torch.testing.assert_close(turned(camera(torch.tensor([degrees])), turn), camera(torch.tensor([degrees + turn])))
    view = torch.cat([camera(torch.tensor([10.0]))[:, :2], camera(torch.tensor([50.0]))[:, :2]], 1)
    torch.testing.assert_close(direction(turned(view, 40)), camera(torch.tensor([70.0]))[:, :2])


@pytest.mark.parametrize("frames", [16, 17, 64])
def test_codes_and_poses_have_their_shapes(model, frames):
    x = double(3, 30, frames)
    codes = model.encode(x)
    assert codes.motion.shape == (3, model.sizes["motion"], frames)
    assert codes.body.shape == (3, model.sizes["body"])
    assert codes.view.shape == (3, model.sizes["view"])
    torch.testing.assert_close(codes.view.unflatten(1, (2, 2)).norm(dim=2), torch.ones(3, 2, dtype=torch.float64))
    assert codes.body_sequence is codes.view_sequence is None
    pose = model(x).unflatten(1, (15, 2))
    assert pose.shape == (3, 15, 2, frames)
    assert not pose[:, NECK].any()
    torso = pose[:, MID_HIP].norm(dim=1).mean(1)
    torch.testing.assert_close(torso, torch.ones(3, dtype=torch.float64), rtol=0, atol=1e-3)


def test_each_window_is_decoded_with_the_walker_that_it_is_given(model):
    codes = model.encode(double(3, 30, 16))
    which = torch.tensor([2, 2, 0])
    shared = model.decode(codes.motion, codes.body, codes.view, which)
    torch.testing.assert_close(shared, model.decode(codes.motion[which], codes.body[which], codes.view), rtol=0, atol=1e-12)
    torch.testing.assert_close(shared[:1], model.decode(codes.motion[2:], codes.body[2:], codes.view[:1]), rtol=0, atol=1e-12)


def test_the_walker_does_not_depend_on_the_camera(model):
    """Level cameras far away see one walker equally high from everywhere, and across otherwise."""
    with torch.no_grad():
        model.decoder.optics[2].weight.zero_()
        model.decoder.optics[2].bias.copy_(torch.tensor([0.0, -50.0]))
    codes = model.encode(double(1, 30, 16))
    views = (camera(torch.tensor([degrees]).double()) for degrees in (20.0, 110.0))
    one, other = (model.decode(codes.motion, codes.body, view) for view in views)
    rows = [row for row in range(30) if row // 2 != NECK]
    ratio = one[:, rows] / other[:, rows]
    torch.testing.assert_close(ratio[:, 1::2], ratio[:, 1:2, :1].expand_as(ratio[:, 1::2]))  # the scale is that of the torso
    assert ratio[:, ::2].std() > 0.1


def test_a_network_can_be_trained_after_it_was_looked_at(model):
    x = double(2, 30, 41)
    with torch.inference_mode():
        model(x)
    model.train()(model(x)).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_codes_that_were_leveled_are_alike_in_every_view():
    torch.manual_seed(0)
    angle = 360 * torch.rand(4000).double()
    view = camera(angle)
    turn = torch.deg2rad(angle)[:, None]
    mean = 0.3 * torch.randn(4000, 2).double() + torch.cat([turn.cos() + 5, (2 * turn).sin()], 1)
    size = torch.cat([2 + turn.sin(), 3 + 0 * turn], 1)
    code = mean[..., None] + size[..., None] * torch.tensor([1.0, -1, 1, -1]).double()
    level = LevelByView(2).double()
    torch.testing.assert_close(level(code, view), code)  # before it is fitted
    level.fit(code.mean(2), code.std(2, correction=0), view)
    leveled = level(code, view)
    for some in (angle < 60, (angle > 80) & (angle < 140), angle > 300):
        torch.testing.assert_close(leveled[some].mean((0, 2)), code.mean((0, 2)), rtol=0, atol=0.05)
        torch.testing.assert_close(leveled[some].std(2, correction=0).mean(0), size.mean(0), rtol=0, atol=0.05)
    torch.testing.assert_close(leveled.mean(2) - code.mean(2), level(code.mean(2), view) - code.mean(2))
    still = LevelByView(2).double()
    still.fit(mean, torch.ones_like(mean), view)
    torch.testing.assert_close(still(mean, view), leveled.mean(2))


def test_codes_are_leveled_in_eval_mode_only(model):
    x = double(60, 30, 16)
    plain = model.encode(x)
    model.level(x)
    leveled = model.encode(x)
    assert (leveled.motion - plain.motion).abs().max() > 1e-6
    assert (leveled.body - plain.body).abs().max() > 1e-6
    assert torch.equal(leveled.view, plain.view)
    torch.testing.assert_close(model.train().encode(x).motion, plain.motion)
    again = GeometricAutoencoder(width=12, kernel=5).double().eval()
    again.load_state_dict(model.state_dict())  # it is kept with the weights
    assert torch.equal(again.encode(x).body, leveled.body)


def test_encoders_see_what_was_measured_with_mean_0_and_deviation_1(model):
    x = 3 + 2 * double(60, 30, 20)
    x[:, 4] = 0.7  # a coordinate that does not move
    model.measure(x, np.arange(60) % 6)
    seen = []
    model.encoders.register_forward_pre_hook(lambda _, given: seen.append(given))
    model.encode(x)
    features, statistics = seen[0]
    torch.testing.assert_close(features.mean((0, 2)), torch.zeros(88, dtype=torch.float64), rtol=0, atol=1e-6)
    assert (features[:, 4] == 0).all()
    torch.testing.assert_close(features[:, 5].std(), torch.tensor(1.0, dtype=torch.float64), rtol=0, atol=2e-3)
    torch.testing.assert_close(statistics.mean(0), torch.zeros(STATISTICS, dtype=torch.float64), rtol=0, atol=1e-6)
    assert (statistics.std(0) < 1).all()
    moved = x.clone()
    moved[0, 4] += 0.05  # torso lengths: not blown up
    model.encode(moved)
    torch.testing.assert_close(seen[1][0][0, 4], torch.ones(20, dtype=torch.float64), rtol=1e-4, atol=0)


def test_discriminants_are_a_part_of_the_body_code():
    """Of people who differ, and of their mirror images; the decoder sees them, leveling takes the view out of them too."""
    torch.manual_seed(0)
    plain, model = (GeometricAutoencoder(width=12, kernel=5, discriminants=n).double().eval() for n in (0, 3))
    person = np.arange(60) % 4
    x = 0.1 * double(60, 30, 20) + double(4, 30, 20, seed=1)[person]
    model.measure(x, person)
    body = model.encode(x).body
    assert body.shape == (60, model.sizes["body"]) == (60, plain.sizes["body"] + 3)
    told = body[:, -3:]
    within = torch.stack([told[person == p].std(0) for p in range(4)]).mean(0)
    assert (torch.stack([told[person == p].mean(0) for p in range(4)]).std(0) > 3 * within).all()
    torch.testing.assert_close(model.encode(mirror(x)).body[:, -3:], told)
    assert model.decoder.stance[0].in_features == model.sizes["body"]


def test_a_pose_has_a_gradient_where_nothing_moves(model):
    x = double(2, 30, 16)
    x[:, 2:6] = 0
    x.requires_grad_()
    sum(code.sum() for code in model.encode(x)[:3]).backward()
    assert torch.isfinite(x.grad).all()


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
