"""The three arms: each learns four people by heart, and `as_released` shows in its log what is wrong with it."""

import numpy as np
import pytest
import torch

from gaitlib.config import TERMS, load_config
from gaitlib.data.dataset import write_dataset
from gaitlib.data.preprocess import cut_windows, normalize, window_grid
from gaitlib.data.protocol import Roles, Split
from gaitlib.data.walkers import make_walkers
from gaitlib.model.checkpoint import load_model, load_state
from gaitlib.training import train

#: Small networks, short windows and a short schedule; all else is as the arm has it.
SMALL = ["model.window=24", "training.people=4", "training.walks_per_person=2", "training.precision=32-true"]
PAPER = [
    "model.recognizer_width=4", "model.embedding=64", "training.learning_rate=0.0005",
    "training.schedule=cosine", "training.warmup=5", "training.validate_every=90",
]  # fmt: skip
ARMS = {
    "as_released": [*PAPER, "training.iterations=160", "training.validate_every=80", "training.learning_rate=0.001"],
    "as_published": [*PAPER, "training.iterations=100"],
    "default": ["model.encoder_width=24", "training.warmup=5", "training.iterations=150", "training.validate_every=150",
                "training.average=0"],
}  # fmt: skip


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    """Four people to train on, a walk each; two to validate, two walks each; two synchronous views."""
    chosen = (w for w in make_walkers(6, seed=1) if w.condition == "nm" and w.run <= 2 and w.view in ("036", "090"))
    walks = write_dataset(tmp_path_factory.mktemp("data") / "walks", chosen, name="six")
    people = sorted(walks.index["subject"].unique())
    held = walks.select(subject=people[4:])
    run = held.index["run"].to_numpy()
    roles = Roles(held, run == 1, {"NM": run == 2})
    return Split(walks.select(subject=people[:4], run=1), roles, roles)


@pytest.fixture(scope="module", params=ARMS)
def trained(request, split, tmp_path_factory):
    """The arm's name, its configuration, its history and its last network."""
    config = load_config(f"configs/{request.param}.yaml", SMALL + ARMS[request.param])
    folder = tmp_path_factory.mktemp(request.param)
    history = train(config, split, folder)
    model = load_model(folder)[0]
    model.load_state_dict(load_state(folder / "state.pt")["model"])
    return request.param, config, history, model


def test_every_arm_learns_four_people_by_heart(trained, split):
    _, _, history, model = trained
    walks = normalize(split.train)
    walk, offset = (torch.from_numpy(a) for a in window_grid(walks.length, model.window, model.window // 2))
    start, length = (torch.tensor(a)[walk] for a in (walks.start, walks.length))
    x = cut_windows(torch.from_numpy(walks.frames), start, length, offset, model.window)
    person = torch.from_numpy(np.unique(walks.index["subject"], return_inverse=True)[1])[walk]
    with torch.no_grad():
        right = (model(x)[2].argmax(1) == person).float().mean().item()
    assert right > 0.95, right  # chance: 0.25
    assert np.isfinite(history.to_numpy(float)).all()


def test_the_loss_is_the_sum_of_the_weighted_terms_and_of_no_others(trained):
    name, config, history, _ = trained
    weighted = {term: getattr(config.losses, term) for term in TERMS if getattr(config.losses, term)}
    np.testing.assert_allclose(history["loss"], sum(weight * history[term] for term, weight in weighted.items()), rtol=1e-4)
    logged = set(TERMS) & set(history.columns) - set(weighted)
    assert logged == ({"cycle"} if name == "as_released" else set())


def test_the_body_code_of_as_released_is_made_to_change(trained):
    """Its term falls from nearly 1 for each of x and x_v, as the released log does; what the paper means stays constant."""
    name, _, history, _ = trained
    if name == "as_released":
        over_time = history["body_over_time"]
        assert over_time.iloc[-1] < 0.8 * over_time.iloc[0]
        assert (history["cycle"] > 0).all()
    elif name == "as_published":
        assert history["body_over_time"].iloc[-1] < 0.02
    else:
        assert "body_over_time" not in history
