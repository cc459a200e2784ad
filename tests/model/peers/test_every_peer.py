"""What every peer must do, each at a reduced width: any length of window, training, export, mixed precision."""

import pytest
import torch
from torch.nn import functional as F

from gaitlib.data.dataset import write_dataset
from gaitlib.data.preprocess import normalize, opening_windows
from gaitlib.data.walkers import make_walkers
from gaitlib.model.peers.gaitgraph import GaitGraph
from gaitlib.model.peers.gaitmixer import GaitMixer
from gaitlib.model.peers.gaittr import GaitTR
from gaitlib.model.peers.gpgait import GPGait
from gaitlib.model.peers.skeletongait import SkeletonGait

#: Each peer with the arguments that make it small, and the learning rate of `test_learns_four_people`.
PEERS = {
    "GaitGraph": (GaitGraph, {"width": 16}, 5e-3),
    "GPGait": (GPGait, {"width": 4}, 3e-3),
    "GaitMixer": (GaitMixer, {"width": 8}, 1e-2),
    "GaitTR": (GaitTR, {"width": 8}, 3e-3),
    "SkeletonGait": (SkeletonGait, {"width": 4, "blocks": (1, 1, 1, 1), "height": 16, "every": 2}, 1e-2),
}


@pytest.fixture(params=PEERS)
def peer(request):
    network, narrow, _ = PEERS[request.param]
    torch.manual_seed(0)
    return network(**narrow)


@pytest.fixture(scope="module")
def four_people(tmp_path_factory):
    """One window of each of four walks of four people seen from the side, float32 [16, 30, 64], and who walks, int64 [16]."""
    walks = normalize(write_dataset(tmp_path_factory.mktemp("walkers") / "w", make_walkers(4, 0, views=[90]), name="walkers"))
    x = opening_windows(walks, range(40), 64).unflatten(0, (4, 10))[:, :4]
    return x.flatten(0, 1), torch.arange(4).repeat_interleave(4)


def assert_same(found, expected):
    """Equal but for the last digits, whatever the scale."""
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()


def windows(batch=3, frames=64, seed=0):
    """Windows in which every joint moves about a place of its own."""
    chance = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 30, 1, generator=chance) + 0.3 * torch.randn(batch, 30, frames, generator=chance)


@pytest.mark.parametrize("frames", [16, 31, 64, 100])
def test_any_number_of_frames_gives_an_embedding_of_the_same_length(peer, frames):
    x = windows(2, frames)
    embedding = peer(x)
    assert embedding.dtype == torch.float32
    assert embedding.shape == peer(windows(2)).shape == (2, embedding.shape[1])
    assert embedding.std(0).max() > 1e-3 * embedding.abs().max(), "the embedding depends on the window"


def test_in_evaluation_a_window_does_not_depend_on_its_neighbors(peer):
    peer.eval()
    x = windows(4)
    assert_same(peer(x)[1:2], peer(x[1:2]))


def test_the_gradient_reaches_every_parameter(peer):
    peer(windows(8)).square().sum().backward()
    still = [name for name, parameter in peer.named_parameters() if not parameter.grad.abs().max() > 1e-6]
    assert not still


def test_joints_that_never_move_give_finite_embeddings_and_gradients(peer):
    peer(torch.zeros(2, 30, 64)).square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in peer.parameters())
    peer.eval()
    assert peer(torch.zeros(2, 30, 64)).isfinite().all()


def test_meta_device(peer):
    assert peer.to("meta")(torch.empty(5, 30, 64, device="meta")).shape[0] == 5


def test_exported_with_any_number_of_windows_and_frames_it_gives_the_same(peer):
    peer.eval()(windows())  # creates constants, as numbers
    sizes = {0: torch.export.Dim("windows"), 2: torch.export.Dim("frames", min=16)}
    network = torch.export.export(peer, (windows(2),), dynamic_shapes=(sizes,)).module()
    for x in (windows(5, 16), windows(1, 100)):
        assert_same(network(x), peer(x))


def test_batch_normalization_can_be_shared_by_several_gpus(peer):
    x = windows()
    peer(x)  # moves the running statistics away from their start
    alone = peer.eval()(x)
    assert_same(torch.nn.SyncBatchNorm.convert_sync_batchnorm(peer)(x), alone)
    assert any(isinstance(layer, torch.nn.SyncBatchNorm) for layer in peer.modules())


def test_half_precision_changes_little(peer):
    peer.eval()
    exact = peer(windows())
    with torch.autocast("cpu", torch.bfloat16):
        rounded = peer(windows())
    assert F.cosine_similarity(exact - exact.mean(0), rounded.float() - exact.mean(0)).min() > 0.95


def learn(peer, x, subject, rate, steps):
    """Loss and accuracy of every step while the peer and a linear classifier learn who walks in these windows."""
    torch.manual_seed(1)
    classifier = torch.nn.Linear(peer(x[:2]).shape[1], 4)
    optimizer = torch.optim.Adam([*peer.parameters(), *classifier.parameters()], rate)
    for _ in range(steps):
        logits = classifier(peer(x))
        loss = F.cross_entropy(logits, subject)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield loss.item(), (logits.argmax(1) == subject).float().mean().item()


@pytest.mark.parametrize("name", PEERS)
def test_learns_four_people_and_does_so_again(name, four_people):
    network, narrow, rate = PEERS[name]
    torch.manual_seed(0)
    run = []
    for step in learn(network(**narrow), *four_people, rate, 40):
        run.append(step)
        if step[1] > 0.95:
            break
    else:
        pytest.fail(f"after 40 steps, {run[-1][1]:.0%} of the windows are told apart")
    torch.manual_seed(0)
    assert list(learn(network(**narrow), *four_people, rate, 3)) == run[:3]
