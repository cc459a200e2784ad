"""How telling statistics are, by hand, and of walkers against themselves."""

from dataclasses import replace

import numpy as np
import pytest

from gaitlib.data.dataset import write_dataset
from gaitlib.data.preprocess import normalize
from gaitlib.data.walkers import make_walkers
from gaitlib.evaluation.realism import area_under_curve, realism
from gaitlib.skeleton import HEAD


@pytest.fixture(scope="module")
def walks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("walkers") / "data"
    return normalize(write_dataset(folder, make_walkers(12, 3, views=[54, 90]), name="walkers"))


def test_the_area_under_the_curve_by_pairs():
    rng = np.random.default_rng(0)
    score, real = rng.integers(0, 6, 40).astype(float), rng.random(40) < 0.4
    pairs = [(a > b) + 0.5 * (a == b) for a in score[real] for b in score[~real]]
    assert area_under_curve(score, real) == pytest.approx(np.mean(pairs))
    assert area_under_curve(np.array([1.0, 2, 3]), np.array([False, True, True])) == 1


def test_people_of_one_kind_are_not_told_apart_and_moved_heads_are(walks):
    early = (walks.index["subject"].astype(int) <= 6).to_numpy()
    ours, others = walks.chosen(early), walks.chosen(~early)
    area, alone = realism(ours, others, window=32)
    assert 0.2 < area < 0.8
    assert (alone >= 0.5).all()
    frames = others.frames.copy()
    frames[:, HEAD, 0] += 0.5
    area, alone = realism(ours, replace(others, frames=frames), window=32)
    assert area > 0.95
    assert "head" in alone.index[0]
    assert alone.is_monotonic_decreasing
