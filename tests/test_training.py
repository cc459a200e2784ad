"""The loop: its loss terms, the same result after an interruption, and that it learns."""

import copy
import dataclasses
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.nn import functional as F

from gaitlib import InputError, training
from gaitlib.config import TERMS, load_config
from gaitlib.data.dataset import GaitDataset, write_dataset
from gaitlib.data.preprocess import NormalizedWalks, groups, mapped, mirror, normalize, some_windows, write_normalized
from gaitlib.data.protocol import Roles, Split
from gaitlib.data.walkers import make_walkers
from gaitlib.evaluation.embedding import embed_walks
from gaitlib.evaluation.ranking import rank_matrix
from gaitlib.model import losses as terms
from gaitlib.model import objective
from gaitlib.model.checkpoint import load_model, load_state
from gaitlib.model.discriminants import Discriminants, code_statistics
from gaitlib.model.geometric import pose_features
from gaitlib.model.objective import Objective, Windows, loss_terms
from gaitlib.model.recognizer import GaitModel
from gaitlib.skeleton import NECK
from gaitlib.training import Trainer, Watch, disturb, learning_rate, looks_since_best, settle, train, update_average

TINY = [
    "model.encoder_width=12", "model.recognizer_width=8", "model.embedding=16", "model.window=24",
    "training.people=4", "training.walks_per_person=2", "training.iterations=6", "training.validate_every=2",
    "training.warmup=2", "training.precision=32-true", "model.decoder_dropout=0.2", "augmentation.missing=0.05",
    "model.discriminants=0",
]  # fmt: skip
OFF = dict.fromkeys(TERMS, 0.0)
OFF_IN_PAPER = {name: 0.0 for name in TERMS if name != "camera"}


def config(*overrides):
    return load_config("configs/default.yaml", [*TINY, *overrides])


@pytest.fixture(scope="module")
def walks(tmp_path_factory):
    """Six people, the first 40 frames of their normal walks 1-4, three views."""
    walkers = make_walkers(6, seed=1, views=[36, 90, 144])
    chosen = (
        dataclasses.replace(w, pose=w.pose[:40], confidence=w.confidence[:40])
        for w in walkers
        if w.condition == "nm" and w.run <= 4
    )
    return write_dataset(tmp_path_factory.mktemp("data") / "walks", chosen, name="six")


def roles(walks):
    run = walks.index["run"].to_numpy()
    return Roles(walks, run <= 2, {"NM": run > 2})


@pytest.fixture(scope="module")
def split(walks):
    people = sorted(walks.index["subject"].unique())
    held_out = roles(walks.select(subject=people[4:]))
    return Split(walks.select(subject=people[:4]), held_out, held_out)


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


# -- loss terms


def some_partners(synchronous=(True, False, True, False), other=(1, 0, 2, 3)):
    """Other persons, who is synchronous, and who walks."""
    return [torch.tensor(numbers) for numbers in (other, synchronous, (0, 1, 2, 0) * 2)]


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = GaitModel(people=3, window=24, autoencoder="paper", recognizer="paper", recognizer_width=4, embedding=8)
    return model.eval()


@pytest.fixture
def x():
    return torch.randn(8, 30, 24, generator=torch.Generator().manual_seed(1))


def weights(**on):
    return config().losses.model_copy(update=OFF | {"invariance": "absolute"} | on)


def found(model, x, partners=None, target=None, **on):
    windows = Windows(x, x if target is None else target, *(partners or some_partners()), torch.zeros(len(x)))
    return loss_terms(model, windows, weights(**on))


def test_a_term_is_there_exactly_where_it_has_a_weight(model, x):
    assert found(model, x) == {}
    for name in OFF_IN_PAPER:
        assert list(found(model, x, **{name: 2.0})) == [name]
    alone = {name: found(model, x, **{name: 2.0})[name] for name in OFF_IN_PAPER}
    together = found(model, x, **dict.fromkeys(OFF_IN_PAPER, 0.5))
    assert set(together) == set(OFF_IN_PAPER)
    for name, term in together.items():
        torch.testing.assert_close(term, alone[name])  # not yet weighted, and no term disturbs another


@pytest.mark.parametrize("view_code_of", ["another", "partner"])
@pytest.mark.parametrize("error", ["frame", "aligned"])
def test_decoded_terms_by_loops(model, x, error, view_code_of):
    target = x + 0.1
    measure = F.mse_loss if error == "frame" else lambda a, b: terms.aligned_error(a, b).mean()
    on = {"reconstruction": 1.0, "view_exchange": 1.0, "view_swap": 1.0, "reconstruction_error": error}
    on["view_code_of"] = view_code_of
    result = found(model, x, target=target, **on)
    c = model.autoencoder.encode(x)

    def decode(m, b, v):
        return model.autoencoder.decode(c.motion[[m]], c.body[[b]], c.view[[v]])

    own = [measure(decode(k, k, k), target[[k]]) for k in range(8)]
    torch.testing.assert_close(result["reconstruction"], torch.stack(own).mean())
    if view_code_of == "another":  # 0 alone is synchronous with its partner and has another person
        exchanged = [measure(decode(4, 4, 1), target[[0]])]
    else:  # 1 and 3 are not synchronous
        exchanged = [measure(decode(k, k, k + 4), target[[k + 4]]) for k in (0, 2)]
    torch.testing.assert_close(result["view_exchange"], torch.stack(exchanged).mean())
    swapped = [measure(decode(k, k, 1 - k), target[[k]]) for k in (0, 1)]  # 2 and 3 have no other person
    torch.testing.assert_close(result["view_swap"], torch.stack(swapped).mean())


def test_code_terms_by_loops(model, x):
    result = found(model, x, invariance_motion=1.0, invariance_body=1.0, invariance_view=1.0, triplet=1.0, identity=1.0)
    c, _, logits = model(x)

    def mean(pairs, code):
        return torch.stack([F.mse_loss(code[a], code[b]) for a, b in pairs]).mean()

    torch.testing.assert_close(result["invariance_motion"], mean([(0, 4), (2, 6)], c.motion))
    torch.testing.assert_close(result["invariance_body"], mean([(0, 4), (1, 5), (2, 6), (3, 7)], c.body))
    torch.testing.assert_close(result["invariance_view"], mean([(0, 1), (1, 0)], c.view))
    triplet = 0
    for code, reverse in ((c.body, False), (c.view, True), (c.motion.amax(2), False)):
        for a, v, i in ((0, 4, 1), (1, 5, 0)):
            near, far = (i, v) if reverse else (v, i)
            triplet += max(0, (code[a] - code[near]).norm() - (code[a] - code[far]).norm() + 1) / 2
    torch.testing.assert_close(result["triplet"], triplet, atol=1e-4, rtol=1e-4)
    share = F.log_softmax(logits, 1)
    smoothed = [-(0.9 * row[s] + 0.1 * row.mean()) for row, s in zip(share, [0, 1, 2, 0] * 2, strict=True)]
    torch.testing.assert_close(result["identity"], torch.stack(smoothed).mean())


@pytest.mark.parametrize("error", ["frame", "aligned"])
def test_pairs_that_are_not_synchronous_do_not_count(model, x, error):
    on = {"view_exchange": 1.0, "view_code_of": "partner", "invariance_motion": 1.0, "reconstruction_error": error}
    before = found(model, x, **on)
    moved = x.clone()
    moved[[1, 3, 5, 7]] = torch.randn(4, 30, 24)
    after = found(model, moved, **on)
    for name in ("view_exchange", "invariance_motion"):
        torch.testing.assert_close(after[name], before[name])
    moved[4] += 1
    assert all(found(model, moved, **on)[name] != before[name] for name in before)
    none = found(model, x, some_partners(synchronous=(False,) * 4), **on)
    assert all(term == 0 for term in none.values())


def test_rows_without_another_person_do_not_count(model, x):
    on = {"view_swap": 1.0, "invariance_view": 1.0, "triplet": 1.0}
    before = found(model, x, **on)
    moved = x.clone()
    moved[[2, 3, 6, 7]] = torch.randn(4, 30, 24)
    after = found(model, moved, **on)
    for name in on:
        torch.testing.assert_close(after[name], before[name])


def test_a_batch_without_other_persons_has_finite_losses(model, x):
    partners = some_partners(synchronous=(False,) * 4, other=(0, 1, 2, 3))
    result = found(model, x, partners, **dict.fromkeys(OFF_IN_PAPER, 1.0))
    assert all(torch.isfinite(term) for term in result.values())
    assert all(result[name] == 0 for name in ("view_swap", "invariance_view", "triplet", "view_exchange"))
    sum(result.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


# -- augmentation and schedule


def test_windows_are_disturbed_one_by_one():
    x = torch.randn(80, 30, 24, generator=torch.Generator().manual_seed(1))
    x[:, 2 * NECK : 2 * NECK + 2] = 0
    truth = torch.zeros_like(x)

    def changed(**on):
        update = {"noise": 0.0, "missing": 0.0, "truth": 0.0} | on
        return disturb(x, truth, config().augmentation.model_copy(update=update), torch.Generator().manual_seed(3))

    assert torch.equal(changed(), x)
    filled = (changed(missing=0.4) != x).unflatten(1, (15, 2))
    assert torch.equal(filled[:, :, 0], filled[:, :, 1])  # both coordinates of a joint
    assert not torch.equal(filled[:40], filled[40:])
    assert (changed(noise=0.5) - x).std().item() == pytest.approx(0.5, rel=0.05)
    shown = changed(truth=0.3)
    true = (shown == truth).flatten(1).all(1)
    assert 0.15 < true.float().mean() < 0.45
    assert torch.equal(shown[~true], x[~true])


def test_training_ends_after_its_minutes(split, tmp_path, monkeypatch):
    """A clock that advances by a second whenever it is looked at; the learning rate follows it to almost zero."""
    clock = iter(range(10**6))
    monkeypatch.setattr(training.time, "monotonic", lambda: float(next(clock)))
    settings = config("training.iterations=100000", "training.minutes=2", "training.validate_every=10", "training.warmup=1")
    history = train(settings, split, tmp_path)
    state = load_state(tmp_path / "state.pt")
    assert 120 <= state["seconds"] < 130
    assert 20 < state["iteration"] < 100
    assert history["iteration"].iloc[-1] == state["iteration"]
    assert history["learning_rate"].iloc[0] > 0.0015
    assert history["learning_rate"].iloc[-1] < 0.00002
    pd.testing.assert_frame_equal(train(settings, split, tmp_path), history)  # it is over
    torch.save(state | {"history": state["history"][:-1]}, tmp_path / "state.pt")  # stopped before the last look
    assert train(settings, split, tmp_path)["iteration"].iloc[-1] == state["iteration"] + 1


def test_several_processes_do_not_end_by_the_clock(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "set_up_fabric", lambda precision: SimpleNamespace(device="cpu", world_size=2))
    with pytest.raises(InputError, match=r"training\.minutes ends one process; with several, set training\.iterations"):
        Trainer(config("training.minutes=1", "training.shards=2"), None, tmp_path, {})


def test_learning_rate():
    cosine = config("training.iterations=100", "training.warmup=10", "training.learning_rate=1").training
    rates = [learning_rate(i, cosine) for i in range(100)]
    np.testing.assert_allclose(rates[:11], [*np.arange(1, 11) / 10, 1])
    assert (np.diff(rates[10:]) < 0).all()
    assert rates[55] == pytest.approx(0.5)
    assert 0 < rates[99] < 0.001
    assert learning_rate(55, cosine, spent=0.4) == rates[55]
    assert learning_rate(20, cosine, spent=0.5) == pytest.approx(0.5)  # whichever is further
    step = config("training.schedule=step", "training.warmup=0", "training.step_every=30", "training.learning_rate=0.2").training
    assert [learning_rate(i, step) for i in (0, 29, 30, 60)] == [0.2, 0.2, 0.1, 0.05]


def test_the_moving_average_by_hand():
    model, average = torch.nn.BatchNorm1d(2), torch.nn.BatchNorm1d(2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([3.0, 5.0]))
        model.running_var.copy_(torch.tensor([2.0, 0.0]))
        model.num_batches_tracked.fill_(7)
    update_average(average, model, 0.75)
    assert average.weight.tolist() == [1.5, 2.0]
    assert average.running_var.tolist() == [1.25, 0.75]
    assert average.num_batches_tracked.item() == 7
    assert model.weight.tolist() == [3.0, 5.0]
    update_average(average, model, 0.75)
    assert average.weight.tolist() == [1.875, 2.75]


# -- the loop


class Stopped(Exception):
    pass


def looking(told):
    """What calls told(history) after each look at the validation people."""
    watch = Watch()
    watch.look = lambda history, model: told(history)
    return watch


def test_gradients_are_clipped_before_the_step(split, tmp_path, monkeypatch):
    asked = []
    clip = torch.nn.utils.clip_grad_norm_
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda weights, limit: asked.append(limit) or clip(weights, limit))
    short = ["training.iterations=2", "training.validate_every=2"]
    train(config(*short, "training.gradient_clip=0.25"), split, tmp_path / "clipped")
    assert asked == [0.25, 0.25]
    train(config(*short, "training.gradient_clip=0"), split, tmp_path / "free")
    assert len(asked) == 2
    clipped, free = (load_state(tmp_path / name / "state.pt")["model"] for name in ("clipped", "free"))
    assert not same(clipped, free)


def test_noise_is_new_in_every_step_and_has_no_numbers_in_common_with_dropout(split, tmp_path, monkeypatch):
    seeds = []

    def telling(x, truth, settings, generator, *args):
        seeds.append((generator.initial_seed(), torch.initial_seed()))
        return disturb(x, truth, settings, generator, *args)

    monkeypatch.setattr(training, "disturb", telling)
    train(config("training.iterations=4", "training.validate_every=4"), split, tmp_path)
    assert len(seeds) == 4
    assert len({seed for pair in seeds for seed in pair}) == 8


@pytest.mark.parametrize(("average", "looks", "discriminants"), [(0.9, 1, 2), (0.0, 2, 0)])
def test_resuming_is_as_if_nothing_had_happened(split, tmp_path, average, looks, discriminants):
    def stop(table):
        if len(table) == looks:
            raise Stopped

    settings = config(f"training.average={average}", f"model.discriminants={discriminants}")
    whole = train(settings, split, tmp_path / "whole")
    with pytest.raises(Stopped):
        train(settings, split, tmp_path / "parts", watch=looking(stop))
    assert load_state(tmp_path / "parts" / "state.pt")["iteration"] == 2 * looks
    parts = train(settings, split, tmp_path / "parts")
    pd.testing.assert_frame_equal(parts, whole)
    assert whole["iteration"].tolist() == [2, 4, 6]
    a, b = (load_state(tmp_path / name / "state.pt") for name in ("whole", "parts"))
    assert same(a["model"], b["model"])
    assert same(a["kept"], b["kept"])
    assert same(a["kept"], a["model"]) == (average == 0)
    for one, other in zip(a["optimizer"]["state"].values(), b["optimizer"]["state"].values(), strict=True):
        assert same(one, other)
    one, other = (load_model(tmp_path / name) for name in ("whole", "parts"))
    assert same(one[0].state_dict(), other[0].state_dict())
    assert one[1] == other[1]
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "parts" / "history.csv"), whole)
    pd.testing.assert_frame_equal(train(settings, split, tmp_path / "parts"), whole)  # finished: nothing more to do


@pytest.mark.parametrize("arm", ["default", "as_published", "as_released"])
def test_a_step_never_asks_what_a_tensor_holds(arm):
    """What a CUDA graph needs, told without a GPU: tensors that hold nothing refuse to be asked, as by nonzero() or item()."""
    settings = load_config(f"configs/{arm}.yaml", ["model.recognizer_width=4", "model.discriminants=0"])

    def step():
        module, average = (Objective(GaitModel(people=3, **settings.model.model_dump()), settings.losses) for _ in range(2))
        other, synchronous, subject = some_partners()
        x = torch.randn(8, 30, 64)
        if arm == "as_released":
            x, other, subject = torch.randn(12, 30, 64), torch.arange(8, 12), subject[:4]
        module(Windows(x, x, other, synchronous, subject, torch.zeros(len(x))))[-1].backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 5.0)
        update_average(average, module, 0.9)
        return x

    step()  # small tensors that are kept from then on
    with FakeTensorMode(allow_non_fake_inputs=True):
        x = step()
        with pytest.raises(DataDependentOutputException):
            x.sum().item()


def test_nothing_is_copied_to_the_device_in_a_way_that_waits_for_it(split, tmp_path, monkeypatch):
    """Numbers and arrays that become tensors on a GPU wait for all that it still has to do; the third step makes none."""
    watch, made, done = Watch(), [], 0

    def count(now, iterations, left):
        nonlocal done
        done = now

    def telling(function):
        def call(numbers, *args, **kwargs):
            if done == 2 and not isinstance(numbers, torch.Tensor):
                made.append(numbers)
            return function(numbers, *args, **kwargs)

        return call

    watch.step = count

    for name in ("tensor", "as_tensor"):
        monkeypatch.setattr(torch, name, telling(getattr(torch, name)))
    train(config("training.iterations=4", "training.validate_every=4"), split, tmp_path, watch=watch)
    assert done == 4
    assert made == []


def test_what_is_decoded_is_compared_with_the_truth_and_the_camera_with_its_view(walks, split, tmp_path):
    truth = dataclasses.replace(split.train, poses=split.train.poses + 1000 * (np.arange(15) == 4)[:, None])  # a wrist far away
    settings = config("augmentation.mirror=0.5", "augmentation.truth=0", "augmentation.missing=0")
    trainer = training.Trainer(settings, split, tmp_path, {}, truth)
    windows, batch = trainer.windows(0), trainer.sampler.batch(0)
    others = [row for row in range(30) if row not in (8, 9, 14, 15)]  # the right wrist and, mirrored, the left one
    torch.testing.assert_close(windows.x[:, others], windows.target[:, others])
    assert ((windows.x - windows.target)[:, [8, 9, 14, 15]].abs().amax((1, 2)) > 10).all()
    view = split.train.index["view"].to_numpy(float)[batch.walk]
    wanted = np.radians(np.where(np.tile(batch.mirrored, 2), -view, view))
    np.testing.assert_allclose(windows.angle, wanted, rtol=1e-6)
    assert set(batch.mirrored) == {True, False}


def test_mapped_walks_train_to_the_same_weights(walks, split, tmp_path):
    write_normalized(walks, tmp_path / "frames.npy")
    truth = dataclasses.replace(split.train, poses=split.train.poses + np.float32(0.5))

    def from_file(part):
        return normalize(part) if part is truth else mapped(part, tmp_path / "frames.npy")

    for name, normalized in (("memory", normalize), ("file", from_file)):
        train(config("training.iterations=2"), split, tmp_path / name, truth=truth, normalized=normalized)
    assert same(*(load_model(tmp_path / name)[0].state_dict() for name in ("memory", "file")))


def test_codes_are_leveled_before_they_are_looked_at(split, tmp_path, monkeypatch):
    seen = []
    plain = training.validate

    def validate(model, *args):
        seen.append(model.autoencoder.level_body.excess.abs().sum().item())
        return plain(model, *args)

    monkeypatch.setattr(training, "validate", validate)
    train(config("training.iterations=4", "training.average=0.9"), split, tmp_path)
    assert len(seen) == 2
    assert min(seen) > 0
    kept = load_model(tmp_path)[0].autoencoder.level_body.excess
    assert kept.abs().sum() > 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU")
@pytest.mark.parametrize("settings", [[], ["training.stay_in_eval=true", "training.gradient_clip=0"]])
def test_the_recorded_step_is_the_step(split, tmp_path, settings):
    settings = [*settings, "training.iterations=12", "training.validate_every=6", "model.decoder_dropout=0.2"]
    recorded, launched = (train(config(*settings, f"training.cuda_graph={on}"), split, tmp_path / on) for on in ("true", "false"))
    pd.testing.assert_frame_equal(recorded.drop(columns="validation_rank1"), launched.drop(columns="validation_rank1"), rtol=1e-3)
    a, b = (load_state(tmp_path / on / "state.pt")["kept"] for on in ("true", "false"))
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=1e-2, atol=1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU")
def test_a_training_on_a_gpu_goes_on_without_one(split, tmp_path, monkeypatch):
    def stop(table):
        raise Stopped

    with pytest.raises(Stopped):
        train(config(), split, tmp_path / "run", watch=looking(stop))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert train(config(), split, tmp_path / "run")["iteration"].tolist() == [2, 4, 6]


def test_encoders_see_the_training_walks_with_mean_0(split, tmp_path):
    train(config("training.iterations=2", "training.validate_every=2", "augmentation.missing=0"), split, tmp_path)
    features = pose_features(windows_by_hand(split.train)[0])
    autoencoder = load_model(tmp_path)[0].autoencoder
    torch.testing.assert_close(autoencoder.feature_center, features.mean((0, 2)), rtol=1e-4, atol=1e-5)
    variance = features.transpose(1, 2).flatten(0, 1).var(0) + 0.05**2
    torch.testing.assert_close(autoencoder.feature_spread**2, variance, rtol=1e-3, atol=0)


def test_a_training_begins_with_the_weights_of_another(split, tmp_path):
    """Of other people; only what belongs to people is its own. What was known of how people differ stays known."""
    settings = config("training.iterations=1", "model.discriminants=2")
    train(settings, split, tmp_path / "first")
    first = load_model(tmp_path / "first")[0]
    start = [f"training.start={tmp_path / 'first'}", "model.discriminants=2"]
    trainer = training.Trainer(config(*start, "seed=1"), split, tmp_path / "second", {})
    for name, weight in trainer.state.model.state_dict().items():
        others = name == "recognizer.fc_cls.weight" or name.startswith("discriminants.")
        assert torch.equal(weight, first.state_dict()[name]) != others
    model = trainer.state.model
    trainer._settle(model, trainer.walks, most=500)
    found, wanted = model.discriminants, Discriminants(*model.discriminants.projection.shape)
    x, index = some_windows(24, trainer.walks, most=500, missing=0.05)
    wanted.fit(model.code_statistics(x), groups(index, "subject"), first.discriminants)
    torch.testing.assert_close(found.projection.abs(), wanted.projection.abs(), rtol=1e-3, atol=1e-4)
    assert (found.ratio > 1e-3).sum() >= split.train.index["subject"].nunique()
    with pytest.raises(InputError, match=r"training.start cannot be used: its network has a different .*set model"):
        training.Trainer(config(*start, "model.encoder_width=13"), split, tmp_path / "third", {})


def test_the_seed_decides(split, tmp_path):
    short = ["training.iterations=2"]
    one, two = (train(config(*short), split, tmp_path / name) for name in ("one", "two"))
    pd.testing.assert_frame_equal(one, two)
    other = train(config(*short, "seed=1"), split, tmp_path / "other")
    assert one["loss"].tolist() != other["loss"].tolist()


@pytest.mark.parametrize("stay", [True, False])
def test_the_network_may_stay_in_eval_after_the_first_look(split, tmp_path, monkeypatch, stay):
    modes, original = [], objective.loss_terms

    def spy(model, *arguments):
        modes.append(model.training)
        return original(model, *arguments)

    monkeypatch.setattr(objective, "loss_terms", spy)
    settings = config(f"training.stay_in_eval={stay}")
    train(settings, split, tmp_path / "whole")
    assert modes == [True, True, *[not stay] * 4]
    norms = [load_state(tmp_path / "whole" / "state.pt")["model"]["recognizer.neck.num_batches_tracked"].item()]
    assert norms == [2 if stay else 6]  # of how many batches the batch norm took notice


def test_fixed_partners_that_do_not_exist_are_zeros(split, tmp_path, monkeypatch):
    seen, original = [], objective.loss_terms

    def spy(model, windows, *rest):
        seen.append(windows.target)
        return original(model, windows, *rest)

    monkeypatch.setattr(objective, "loss_terms", spy)
    index = split.train.index
    person = index["subject"].iloc[0]  # is seen from one view, from which nobody else is
    alone = split.train.select(sequence=index["sequence"][(index["subject"] == person) == (index["view"] == "036")].tolist())
    history = train(
        config("training.partners=fixed", "augmentation.mirror=0.5"), Split(alone, split.validation, split.test), tmp_path
    )
    assert np.isfinite(history.to_numpy(float)).all()
    assert len(seen) == 6
    for target in seen:
        missing = (target == 0).flatten(1).all(1).view(3, 8)
        assert missing.sum(1).tolist() == [0, 2, 2]  # x_v and x_i of this person's two anchors
        assert torch.equal(missing[1], missing[2])


def test_the_history_sums_up_the_weighted_terms(split, tmp_path):
    settings = config("training.iterations=3", "training.validate_every=2")
    seen = []
    history = train(settings, split, tmp_path, watch=looking(lambda table: seen.append(len(table))))
    assert seen == [1, 2]
    assert history["iteration"].tolist() == [2, 3]  # the last iteration is always looked at
    names = [name for name in OFF if getattr(settings.losses, name)]
    total = sum(getattr(settings.losses, name) * history[name] for name in names)
    np.testing.assert_allclose(history["loss"], total, rtol=1e-5)


@pytest.mark.parametrize("column", training.SCORES)
def test_the_best_checkpoint_is_kept(split, tmp_path, monkeypatch, column):
    scores, kept = iter([0.3, np.nextafter(0.7, 1), 0.7, 0.5]), []  # two are equal but for the last bit

    def scored(model, *_):
        kept.append({k: v.clone() for k, v in model.state_dict().items()})
        return {column: next(scores)}

    monkeypatch.setattr(training, "validate", scored)
    settings = config("training.iterations=4", "training.validate_every=1")
    history = train(settings, split, tmp_path, facts={"data": "x"})
    assert history[column].tolist() == [0.3, 0.7, 0.7, 0.5]
    model, facts = load_model(tmp_path)
    assert facts == {"data": "x", "iteration": 3}  # the later of equals
    weights, chosen = model.state_dict(), kept[2]
    leveled = {name for name in weights if ".level_" in name}  # in the end anew, on validation people too
    assert weights.keys() == chosen.keys()
    changed = {name for name in weights if not torch.equal(weights[name], chosen[name])}
    assert changed
    assert changed <= leveled
    assert not same(kept[1], kept[2])


def test_an_unstable_training_stops_and_keeps_what_there_was(split, tmp_path, monkeypatch):
    spoiled = objective.loss_terms
    calls = []

    def unstable(*arguments):
        calls.append(1)
        parts = spoiled(*arguments)
        return parts | {"identity": parts["identity"] * float("nan")} if len(calls) == 3 else parts

    monkeypatch.setattr(objective, "loss_terms", unstable)
    with pytest.raises(InputError, match=r"unstable before iteration 4: the loss is nan; lower training\.learning_rate"):
        train(config(), split, tmp_path)
    assert load_state(tmp_path / "state.pt")["iteration"] == 2
    assert all(torch.isfinite(v).all() for v in load_model(tmp_path)[0].state_dict().values())


def test_validation_ranks_by_the_whole_embedding(split):
    torch.manual_seed(0)
    model = GaitModel(people=4, **config("model.discriminants=2.0", "model.features=[body]").model.model_dump())
    walks = normalize(split.validation.walks)
    scores = []
    for _ in range(2):
        found = embed_walks(model, walks, stride=24, mirrored=False)
        by_hand = rank_matrix(found, split.validation.gallery, split.validation.probes["NM"], "NM").mean()
        scores.append(training.validate(model, walks, split.validation, "cpu"))
        assert scores[-1] == {"validation_rank1": by_hand}
        settle(model, walks, most=1000)
    assert scores[0] != scores[1]


def test_where_there_is_one_view_what_is_measured_is_called_so(split, tmp_path, capsys):
    one = split.validation.walks
    one = roles(one.select(sequence=one.index["sequence"][one.index["view"] == "036"].tolist()))
    settings = config("training.iterations=2", "training.validate_every=1")
    history = train(settings, Split(split.train, one, one), tmp_path)
    assert "validation_rank1" not in history
    assert history["validation_rank1_same_view"].between(0, 1).all()
    assert capsys.readouterr().out.count("  validation rank-1 in the same view ") == 2
    assert looks_since_best(history.to_dict("records")) in (0, 1)
    logged = EventAccumulator(str(tmp_path / "logs")).Reload().Tags()["scalars"]
    assert "validation_rank1_same_view" in logged
    assert "validation_rank1" not in logged


def test_validation_people_do_not_train(split, tmp_path, monkeypatch):
    drawn = []

    class Spy(training.BatchSampler):
        def batch(self, iteration):
            batch = super().batch(iteration)
            drawn.extend(self.names[batch.subject])
            return batch

    monkeypatch.setattr(training, "BatchSampler", Spy)
    settings = config("training.iterations=4", "training.validate_every=2", "model.discriminants=2")
    train(settings, split, tmp_path / "one")
    assert set(drawn) == set(split.train.index["subject"])
    assert not set(drawn) & set(split.validation.walks.index["subject"])
    held = split.validation.walks
    noise = np.random.default_rng(0).normal(size=held.poses.shape).astype(np.float32)
    others = dataclasses.replace(split.validation, walks=GaitDataset(held.index, noise, held.confidence, held.info))
    train(settings, Split(split.train, others, others), tmp_path / "two")
    a, b = (load_state(tmp_path / name / "state.pt")["model"] for name in ("one", "two"))
    assert same(a, b)


def windows_by_hand(*parts):
    """All windows of these walks, a quarter of a window apart, and their mirror images, [N, 30, T]; whose they are, [N]."""
    windows, subject = [], []
    for walks in parts:
        normalized = normalize(walks)
        for walk in range(len(walks)):
            frames = normalized.frames[normalized.start[walk] :][: normalized.length[walk]]
            room = len(frames) - 24
            for first in [*range(0, room, 6), room]:
                window = torch.from_numpy(frames[first : first + 24].reshape(24, 30).T.copy())
                windows += [window, mirror(window[None])[0]]
                subject += 2 * [int(walks.index["subject"][walk])]
    return torch.stack(windows), np.array(subject) - min(subject)


def test_what_is_fitted_sees_all_views():
    """Three windows a walk, eleven views: every eleventh window is of three of the views."""
    view = np.tile(np.arange(11), 40)
    frames = np.repeat(view, 36)[:, None, None] * np.ones((1, 15, 2), np.float32)
    index = pd.DataFrame({"subject": np.repeat(["001", "002"], 220)})
    walks = NormalizedWalks(frames.astype(np.float32), np.arange(440) * 36, np.full(440, 36), index)
    x, rows = some_windows(24, walks, most=120)
    assert len(x) == len(rows)
    assert 80 < len(x) / 2 < 160
    seen = np.bincount(x[: len(x) // 2, 0, 0].long(), minlength=11)
    assert seen.min() > 3
    assert set(groups(rows, "subject")) == {0, 1}
    everything, _ = some_windows(24, walks, most=5000)
    assert len(everything) == 2 * 1320


def test_what_is_fitted_also_sees_missing_joints(split):
    walks = normalize(split.train)
    whole, index = some_windows(24, walks, most=50)
    x, rows = some_windows(24, walks, most=50, missing=0.5)
    half = len(whole) // 2
    assert rows["sequence"].tolist() == 4 * index["sequence"][:half].tolist()
    torch.testing.assert_close(x[:half], whole[:half], rtol=0, atol=0)
    changed = (x[half : 2 * half] != x[:half]).float().mean((1, 2))
    assert changed.std() > 0.05  # each its own share
    assert 0.1 < changed.mean() < 0.6


def test_discriminants_see_the_validation_people_only_when_these_have_chosen(split, tmp_path, capsys):
    looks, watch = [], Watch()
    watch.look = lambda history, model: looks.append(copy.deepcopy(model))
    settings = config("training.iterations=2", "training.validate_every=1", "model.discriminants=2", "augmentation.missing=0")
    train(settings, split, tmp_path, watch=watch)
    final = load_model(tmp_path)[0]
    for model, people in [(look, [split.train]) for look in looks] + [(final, [split.train, split.validation.walks])]:
        windows, subject = windows_by_hand(*people)
        with torch.no_grad():
            statistics = code_statistics(model.eval().autoencoder.encode(windows))
        wanted = Discriminants(statistics.shape[1], 5)
        wanted.fit(statistics, subject)
        for name in ("center", "scale"):
            torch.testing.assert_close(getattr(model.discriminants, name), getattr(wanted, name))
        x = torch.randn(4, 30, 24, generator=torch.Generator().manual_seed(0)).cumsum(2) / 5
        statistics = code_statistics(model.autoencoder.encode(x))
        torch.testing.assert_close(model.discriminants(statistics), wanted(statistics), rtol=1e-3, atol=1e-3)
    said = "the discriminants of the kept checkpoint were refitted on all 6 training and validation people"
    assert capsys.readouterr().out.splitlines()[-1] == said


@pytest.mark.parametrize("at", ["settle", "save_weights"])
def test_interrupted_while_the_discriminants_are_fitted_anew_it_ends_the_same(split, tmp_path, monkeypatch, at):
    settings = config("training.iterations=2", "training.validate_every=2", "model.discriminants=2")
    train(settings, split, tmp_path / "whole")
    original, calls = getattr(training, at), []

    def second_call_is_the_last(*arguments, **more):
        original(*arguments, **more)
        calls.append(1)
        if len(calls) == 2:  # the first is at the look
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(training, at, second_call_is_the_last)
        with pytest.raises(KeyboardInterrupt):
            train(settings, split, tmp_path / "parts")
    history = train(settings, split, tmp_path / "parts")
    assert history["iteration"].tolist() == [2]
    (whole, facts), (parts, same_facts) = (load_model(tmp_path / name) for name in ("whole", "parts"))
    assert same(whole.state_dict(), parts.state_dict())
    assert (whole.settings, facts) == (parts.settings, same_facts)


def test_it_learns_four_people(split, tmp_path):
    settings = config(
        "training.iterations=60", "training.validate_every=60", "model.encoder_width=24", "model.recognizer_width=16",
        "training.warmup=5", "training.walks_per_person=4", "training.average=0", "augmentation.mirror=0",
        "training.learning_rate=0.005",
    )  # fmt: skip
    people = roles(split.train)
    seen = normalize(people.walks)

    def rank1(model):
        found = embed_walks(model, seen, stride=24, mirrored=False)
        return rank_matrix(found, people.gallery, people.probes["NM"], "NM").mean()

    torch.manual_seed(0)
    untrained = rank1(GaitModel(people=4, **settings.model.model_dump()))
    history = train(settings, split, tmp_path)
    trained = rank1(load_model(tmp_path)[0])
    assert untrained < 0.6 < 0.8 < trained, (untrained, trained)  # chance: 0.25
    assert np.isfinite(history.to_numpy(float)).all()
