"""The scorecard on codes whose content is known by construction."""

import numpy as np
import pandas as pd
import pytest
import torch

from gaitlib.data.dataset import write_dataset
from gaitlib.data.preprocess import normalize
from gaitlib.data.walkers import make_walkers
from gaitlib.evaluation.codes import WANTED, cycle_consistency, invariance, readouts
from gaitlib.model.autoencoder import Codes
from gaitlib.model.recognizer import GaitModel


def table(people, seed):
    rows = [
        (p, c, r, v) for p in people for c, n in (("nm", 3), ("cl", 1)) for r in range(1, n + 1) for v in ("000", "090", "180")
    ]
    index = pd.DataFrame(rows, columns=["subject", "condition", "run", "view"])
    index["recording"] = index["subject"] + index["condition"] + index["run"].astype(str)
    return index, np.random.default_rng(seed)


def codes(index, rng, offset=0):
    """motion: who and which condition; body: who; view: from where."""
    rng_of = np.random.default_rng(offset)
    person, view = pd.factorize(index["subject"])[0], pd.factorize(index["view"], sort=True)[0]
    who = rng_of.normal(size=(person.max() + 1, 6))[person]
    coat = (index["condition"] == "cl").to_numpy()[:, None]

    def noisy(x):
        return (x + 0.1 * rng.normal(size=x.shape)).astype(np.float32)

    return {"motion": noisy(np.concatenate([who, coat * 2.0], 1)), "body": noisy(who), "view": noisy(np.eye(3)[view])}


@pytest.fixture(scope="module")
def known():
    (train_index, rng), (test_index, rng_2) = table([f"a{i}" for i in range(12)], 1), table([f"b{i}" for i in range(10)], 2)
    return codes(train_index, rng, 1), train_index, codes(test_index, rng_2, 2), test_index


def test_classifiers_find_what_is_there_and_not_what_is_not(known):
    index = known[3]
    usual, run = (index["condition"] == "nm").to_numpy(), index["run"].to_numpy()
    found = {(m.code, m.name): m for m in readouts(*known, usual & (run <= 2), usual & (run == 3), repeats=200)}
    assert len(found) == 2 * 3 * len(WANTED)
    for kind in ("linear", "nearest-neighbor"):
        for code, target, there in (
            *(("view", "view", True), ("motion", "view", False), ("body", "view", False)),
            *(("motion", "condition", True), ("view", "condition", False), ("body", "condition", False)),
            *(("motion", "identity", True), ("body", "identity", True), ("view", "identity", False)),
        ):
            measure = found[code, f"{target}, {kind} probe"]
            assert measure.chance == pytest.approx({"view": 1 / 3, "condition": 1 / 2, "identity": 1 / 10}[target])
            assert measure.low <= measure.value <= measure.high
            if there:
                assert measure.value > 0.85, measure
            else:
                assert abs(measure.value - measure.chance) < 0.17, measure


def test_classes_count_alike_however_many_walks_they_have(known):
    train, train_index, test, index = known
    blind = {code: np.zeros_like(values) for code, values in test.items()}
    nothing = {code: np.zeros_like(values) for code, values in train.items()}
    gallery = (index["run"] <= 2).to_numpy()
    with np.errstate(all="ignore"):
        found = list(readouts(nothing, train_index, blind, index, gallery, ~gallery, repeats=20))
    neighbors = [m for m in found if m.name == "condition, nearest-neighbor probe"]
    assert [m.value for m in neighbors] == [pytest.approx(0.5)] * 3  # three in four walks are nm


def test_invariance_by_hand(known):
    _, _, test, index = known
    found = {m.code: m for m in invariance(test, index, repeats=200)}
    assert found["body"].value < 0.15
    assert found["motion"].value < 0.15
    assert found["view"].value < 0.25
    swapped = list(invariance({"motion": test["view"], "body": test["view"], "view": test["body"]}, index, repeats=20))
    assert len(swapped) == 3
    assert all(m.value > 4 for m in swapped)
    noise = np.random.default_rng(0).normal(size=(len(index), 50)).astype(np.float32)
    found = invariance(dict.fromkeys(WANTED, noise), index, repeats=20)
    assert [m.value for m in found] == pytest.approx([1, 1, 1], abs=0.05)


def test_without_a_second_view_there_is_no_invariance_to_measure(known):
    _, _, test, index = known
    one = (index["view"] == "000").to_numpy()
    assert list(invariance({code: values[one] for code, values in test.items()}, index[one].reset_index(drop=True))) == []


def test_a_cycle_that_loses_nothing_and_one_that_loses_all(tmp_path):
    walks = normalize(write_dataset(tmp_path / "w", make_walkers(6, 0, views=[0, 54, 90]), name="w"))
    model = GaitModel(people=3).eval()

    class Perfect(torch.nn.Module):
        """Body and view are two numbers that the decoder writes into the pose, where the encoder reads them."""

        def encode(self, x):
            body, view = x[:, 4:5, 0], x[:, 5:6, 0]
            return Codes(x[:, 6:9], body, view, body[..., None], view[..., None])

        def decode(self, motion, body, view):
            x = torch.zeros(len(motion), 30, motion.shape[2])
            x[:, 6:9], x[:, 4], x[:, 5] = motion, body, view
            return x

    model.autoencoder = Perfect()
    model.autoencoder.register_parameter("p", torch.nn.Parameter(torch.zeros(1)))
    assert [m.value for m in cycle_consistency(model, walks, repeats=20)] == [0, 0, 0]
    decode = model.autoencoder.decode
    torch.manual_seed(0)
    model.autoencoder.decode = lambda motion, body, view: decode(*(y[torch.randperm(len(y))] for y in (motion, body, view)))
    assert [m.value for m in cycle_consistency(model, walks, repeats=20)] == pytest.approx([1, 1, 1], abs=0.25)
