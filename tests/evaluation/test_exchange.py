"""Exchange errors against loops, with a model that knows every answer, and a mean walk that is known."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.spatial.transform import Rotation

from gaitlib import InputError
from gaitlib.data.dataset import GaitDataset, write_dataset
from gaitlib.data.preprocess import NormalizedWalks, as_poses, normalize, opening_windows
from gaitlib.data.walkers import make_walkers, opening_joints, see
from gaitlib.evaluation import exchange
from gaitlib.evaluation.exchange import (
    ExchangeErrors,
    best_fit_errors,
    exchange_errors,
    fourier,
    mean_walks,
    torso_error,
    torso_errors,
    walker_errors,
)
from gaitlib.model.autoencoder import Codes
from gaitlib.model.recognizer import GaitModel
from gaitlib.skeleton import MID_HIP, NECK, NUM_JOINTS


@pytest.fixture(scope="module")
def walks_and_truth(tmp_path_factory):
    found = []
    for faults in (True, False):
        folder = tmp_path_factory.mktemp("walkers") / "data"
        write_dataset(folder, make_walkers(3, 5, views=[0, 54, 90], faults=faults), name="walkers")
        found.append(normalize(GaitDataset.open(folder)))
    return found


class Knowing(torch.nn.Module):
    """A model that recognizes each window and decodes the truth of (recording, view), moved to the right by `off`."""

    def __init__(self, walks, truth, off=0.0):
        super().__init__()
        self.window, self.off = 64, off
        self.nothing = torch.nn.Parameter(torch.zeros(1))
        self.index = walks.index.reset_index(drop=True)
        self.row = {x.numpy().tobytes(): row for row, x in enumerate(opening_windows(walks, self.index.index, 64))}
        self.labels = list(self.index[["subject", "recording", "view"]].itertuples(index=False, name=None))
        self.goal = opening_windows(truth, self.index.index, 64)
        self.autoencoder = SimpleNamespace(encode=self.encode, decode=self.decode)
        self.asked = []

    def encode(self, x):
        row = torch.tensor([float(self.row[one.numpy().tobytes()]) for one in x])
        return Codes(row[:, None, None], row[:, None], row[:, None], row[:, None, None], row[:, None, None])

    def decode(self, motion, body, view, which):
        source, donor = motion[which, 0, 0].long().numpy(), view[:, 0].long().numpy()
        assert len(body) == len(motion)
        self.asked += list(zip(source, donor, strict=True))
        labels = self.labels
        answers = [labels.index((*labels[s][:2], labels[d][2])) for s, d in zip(source, donor, strict=True)]
        result = self.goal[answers].clone()
        result[:, 0::2] += self.off
        return result


def test_a_model_that_knows_makes_no_error(walks_and_truth):
    walks, truth = walks_and_truth
    model = Knowing(walks, truth)
    found = exchange_errors(model, walks, truth, {})
    off_diagonal = ~np.eye(3, dtype=bool)
    assert found.views == ["000", "054", "090"]
    assert found.people == ["001", "002", "003"]
    np.testing.assert_allclose(found.exchange[:, off_diagonal], 0, atol=1e-4)
    assert np.isnan(found.exchange[:, ~off_diagonal]).all()
    assert np.isnan(found.mean_walk).all()
    table = walks.index
    for source, donor in model.asked:  # nothing leaks: the view comes from somebody else, dressed alike
        assert table["subject"][source] != table["subject"][donor]
        assert table["condition"][source] == table["condition"][donor]
    assert len(model.asked) == 3 * 10 * 6


def test_errors_are_those_of_loops(walks_and_truth, monkeypatch):
    monkeypatch.setattr(exchange, "PAIRS", 7)
    walks, truth = walks_and_truth
    found = exchange_errors(Knowing(walks, truth, off=0.1), walks, truth, {})
    shown, goals = (as_poses(opening_windows(w, walks.index.index, 64)) for w in walks_and_truth)
    table = walks.index
    wanted_copy, wanted = np.full((3, 3, 3), np.nan), np.full((3, 3, 3), np.nan)
    for p, person in enumerate(found.people):
        for s, source in enumerate(found.views):
            for t, target in enumerate(found.views):
                copies, moved = [], []
                for recording in table["recording"][table["subject"] == person].unique():
                    own = table["recording"] == recording
                    a, b = (np.flatnonzero(own & (table["view"] == view))[0] for view in (source, target))
                    copies.append(torso_error(shown[a], goals[b]))
                    moved.append(torso_error(goals[b] + np.array([0.1, 0]), goals[b]))
                if s != t:
                    wanted_copy[p, s, t], wanted[p, s, t] = np.mean(copies), np.mean(moved)
    np.testing.assert_allclose(found.copy, wanted_copy, rtol=1e-4)
    np.testing.assert_allclose(found.exchange, wanted, rtol=1e-4)
    assert found.to_frame().loc["000", "090"] == pytest.approx(np.mean(wanted[:, 0, 2]))
    assert found.per_person()["copy"]["002"] == pytest.approx(np.nanmean(wanted_copy[1]))


def test_views_without_leading_zeros_are_in_the_order_of_their_degrees(walks_and_truth):
    """Sorted as texts, 108 came before 18."""
    walks, truth = walks_and_truth
    padded = exchange_errors(Knowing(walks, truth, off=0.1), walks, truth, {})
    for names, order in (
        ({"000": "0", "054": "18", "090": "108"}, [0, 1, 2]),
        ({"000": "108", "054": "18", "090": "90"}, [1, 2, 0]),
    ):
        renamed = replace(walks, index=walks.index.assign(view=walks.index["view"].map(names)))
        found = exchange_errors(Knowing(renamed, truth, off=0.1), renamed, truth, {})
        assert found.views == sorted(names.values(), key=int)
        np.testing.assert_allclose(found.copy, padded.copy[:, order][:, :, order])
        np.testing.assert_allclose(found.exchange, padded.exchange[:, order][:, :, order], atol=1e-3)


def test_torso_errors_are_shares_of_the_torso():
    pose = np.zeros((2, 5, NUM_JOINTS, 2))
    pose[:, :, MID_HIP, 1] = 2.0  # the torso
    guess = pose.copy()
    guess[0, :, 3] += [0.3, 0.4]  # one joint of fifteen is half a unit away: a quarter of the torso
    guess[1] += [0.2, 0]
    np.testing.assert_allclose(torso_errors(guess, pose), [25 / 15, 10])
    guess[0, :, 4] = np.nan
    np.testing.assert_allclose(torso_errors(guess, pose)[0], 25 / 14)
    assert np.isnan(torso_error(np.full_like(pose[0], np.nan), pose[0]))
    assert np.isnan(torso_error(pose[0], np.full_like(pose[0], np.nan)))


def test_the_nearest_phase_and_stride_are_found():
    rng = np.random.default_rng(0)
    series = rng.normal(size=(exchange.SERIES, NUM_JOINTS, 2)) / 3
    series[0, NECK], series[0, MID_HIP] = 0, [0, 1]
    tracks = exchange._tracks(40)
    flat = series.reshape(len(series), -1)
    exact = (fourier(tracks[[3, 1000]]) @ flat).reshape(2, 40, NUM_JOINTS, 2)
    noisy = exact + rng.normal(0, 0.2, exact.shape)
    np.testing.assert_allclose(best_fit_errors(series, exact), 0, atol=1e-6)
    found = best_fit_errors(series, noisy)
    for one, truth in zip(found, noisy, strict=True):
        tried = [(fourier(track) @ flat).reshape(truth.shape) for track in tracks]
        nearest = min(tried, key=lambda pose: ((pose - truth) ** 2).sum())
        assert one == pytest.approx(torso_error(nearest, truth))


def test_the_mean_walk_of_one_way_of_walking_is_that_walk():
    """Four people who walk alike at different phases and strides, seen by two cameras."""
    rng = np.random.default_rng(1)
    series = {view: rng.normal(size=(exchange.SERIES, NUM_JOINTS, 2)) / 5 for view in ("000", "090")}
    for joint, sign in ((11, 1), (14, -1)):  # ankles of the side view swing in opposition, and nothing else
        series["090"][:, joint, 0] = 0
        series["090"][1, joint, 0] = 0.5 * sign
    tracks = exchange._tracks(64)[[5, 700, 1500, 2400]]
    frames, table = [], []
    for person, track in enumerate(tracks):
        for view, s in series.items():
            frames.append((fourier(track) @ s.reshape(len(s), -1)).reshape(64, NUM_JOINTS, 2))
            table.append({"subject": str(person), "recording": "nm-01", "condition": "nm", "view": view})
    start = 64 * np.arange(len(frames))
    walks = NormalizedWalks(np.concatenate(frames).astype(np.float32), start, np.full(len(start), 64), pd.DataFrame(table))
    found = mean_walks(walks, "090", 64)
    for view, s in series.items():
        np.testing.assert_allclose(found[view], s, atol=0.03)


def test_what_cannot_be_compared_is_said(walks_and_truth):
    walks, truth = walks_and_truth
    model = Knowing(walks, truth)
    alone = walks.index.assign(recording=[f"r{i}" for i in range(len(walks))])
    apart = NormalizedWalks(walks.frames, walks.start, walks.length, alone)
    with pytest.raises(InputError, match="No two walks show the same moment"):
        exchange_errors(model, apart, apart, {})
    one = some(walks, walks.index["subject"] == "001")
    with pytest.raises(InputError, match="shows one person only"):
        exchange_errors(Knowing(one, one), one, one, {})


def some(walks, keep):
    rows = np.flatnonzero(keep)
    index = walks.index.iloc[rows].reset_index(drop=True)
    return NormalizedWalks(walks.frames, walks.start[rows], walks.length[rows], index)


def test_a_view_of_one_person_is_not_asked_for(walks_and_truth):
    walks, truth = (some(w, (w.index["view"] != "090") | (w.index["subject"] == "002")) for w in walks_and_truth)
    found = exchange_errors(Knowing(walks, truth), walks, truth, {})
    asked = np.isfinite(found.exchange)
    assert not asked[:, :, 2].any()
    assert asked[1, 2, :2].all()  # but from there to the others
    assert asked[:, 0, 1].all()


def test_a_view_never_recorded_with_the_side_has_no_mean_walk(walks_and_truth):
    walks, _ = walks_and_truth
    person = walks.index["subject"]
    keep = np.where(walks.index["view"] == "000", person == "001", person != "001")
    assert set(mean_walks(some(walks, keep), "090", 64)) == {"054", "090"}


def test_the_gain_over_the_mean_walk_is_paired_by_person():
    """Everybody's walk is 2 % better than the mean walk, however hard they are: the gain has no spread."""
    rng = np.random.default_rng(0)
    hard = rng.uniform(1, 9, (20, 2, 2))
    found = ExchangeErrors([f"{p:03d}" for p in range(20)], ["000", "090"], hard, hard + 20, hard + 2).summary()
    assert list(found) == ["exchange", "copy", "mean_walk", "gain"]
    np.testing.assert_allclose(found["gain"], 2)
    assert found["exchange"][2] - found["exchange"][1] > 0.5


# -- in three dimensions


def test_a_walker_may_be_turned_and_scaled_but_not_mirrored():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(3, 8, 15, 3))
    truth[:, :, NECK] = 0
    turned = np.stack([2.5 * walker @ Rotation.random(rng=rng).as_matrix() for walker in truth])
    np.testing.assert_allclose(walker_errors(turned, truth), 0, atol=1e-10)
    assert (walker_errors(turned * [1, -1, 1], truth) > 20).all()
    noisy = truth + 0.1 * rng.normal(size=truth.shape)
    for one, two, found in zip(noisy, truth, walker_errors(noisy, truth), strict=True):
        rotation = Rotation.align_vectors(two.reshape(-1, 3), one.reshape(-1, 3))[0]
        fitted = rotation.apply(one.reshape(-1, 3))
        fitted *= (fitted * two.reshape(-1, 3)).sum() / (fitted**2).sum()
        torso = np.linalg.norm(two[:, MID_HIP], axis=1).mean()
        assert found == pytest.approx(100 * np.linalg.norm(fitted - two.reshape(-1, 3), axis=1).mean() / torso)


def test_decoded_walkers_are_compared_with_the_true_ones(walks_and_truth):
    walks, truth = walks_and_truth
    joints = opening_joints(walks.index, 5, 64)
    assert joints.shape == (len(walks), 64, 15, 3)
    shown = as_poses(opening_windows(truth, np.arange(len(walks)), 64))
    for row in (0, 40, 80):  # the same performance as in the images, which are of a near camera
        seen = see(joints[row] + [0, 0, 1.4], float(walks.index["view"].iloc[row]))
        seen -= seen[:, [NECK]]
        seen /= np.linalg.norm(seen[:, MID_HIP], axis=1).mean()
        assert np.abs(seen - shown[row]).mean() < 0.05
    torch.manual_seed(0)
    model = GaitModel(people=2, encoder_width=6, recognizer_width=4, embedding=8)
    found = exchange_errors(model, walks, truth, {}, joints)
    assert found.walker.shape == (3,)
    assert np.isfinite(found.walker).all()
    assert found.per_person()["walker"].tolist() == found.walker.tolist()
    assert "walker" not in exchange_errors(model, walks, truth, {}).per_person()
