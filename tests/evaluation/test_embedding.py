"""Embeddings of walks are the mean over their windows, survive the disk, and the baseline is what it says."""

import os
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional as F

from gaitlib import InputError
from gaitlib.data import preprocess
from gaitlib.data.preprocess import NormalizedWalks, groups, mirror, opening_windows
from gaitlib.evaluation import embedding
from gaitlib.evaluation.embedding import (
    Embeddings,
    baseline_embeddings,
    code_features,
    embed_walks,
    pose_statistics,
    without_view_means,
)
from gaitlib.model.discriminants import window_statistics
from gaitlib.model.recognizer import GaitModel
from gaitlib.skeleton import LEFT_ANKLE, LEFT_WRIST, NUM_JOINTS, RIGHT_ANKLE, RIGHT_WRIST


def some_walks(lengths=(40, 16, 23, 9), seed=0):
    rng = np.random.default_rng(seed)
    length = np.array(lengths)
    frames = rng.normal(size=(length.sum(), NUM_JOINTS, 2)).astype(np.float32)
    labels = {"subject": "a", "condition": "nm", "view": "090", "run": range(len(length))}
    index = pd.DataFrame({"sequence": [f"w{n}" for n in range(len(length))], **labels})
    return NormalizedWalks(frames, np.cumsum(length) - length, length, index)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = GaitModel(people=3, window=16, encoder_width=6, recognizer_width=4, embedding=8)
    model(torch.randn(8, 30, 16))
    return model


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize(("stride", "batch"), [(16, 512), (5, 3)])
def test_a_walk_is_the_mean_of_its_windows(model, mirrored, stride, batch, monkeypatch):
    monkeypatch.setattr(embedding, "WINDOWS", batch)
    walks = some_walks()
    ours = embed_walks(model, walks, stride=stride, mirrored=mirrored)
    assert not model.training
    for i, (start, length) in enumerate(zip(walks.start, walks.length, strict=True)):
        walk = walks.frames[start : start + length]
        room = max(length - 16, 0)
        found = []
        for offset in [*range(0, room, stride), room]:
            x = torch.from_numpy(np.stack([walk[(offset + k) % length].reshape(30) for k in range(16)], 1)[None])
            found.append(F.normalize(model(x)[1])[0])
            if mirrored:
                found.append(F.normalize(model(mirror(x))[1])[0])
        wanted = F.normalize(torch.stack(found).mean(0), dim=0).detach().numpy()
        np.testing.assert_allclose(ours.values[i], wanted, atol=1e-5)
    assert ours.index is walks.index
    assert ours.values.dtype == np.float32


def test_mirrored_embeddings_do_not_tell_left_from_right(model):
    walks = some_walks()
    x = torch.from_numpy(walks.frames).flatten(1).T[None]
    turned = NormalizedWalks(mirror(x)[0].T.unflatten(1, (15, 2)).contiguous().numpy(), walks.start, walks.length, walks.index)
    same = [embed_walks(model, w, mirrored=True).values for w in (walks, turned)]
    np.testing.assert_allclose(*same, atol=1e-5)
    other = [embed_walks(model, w, mirrored=False).values for w in (walks, turned)]
    assert np.abs(other[0] - other[1]).max() > 1e-3


def test_adapted_to_the_enrolled_nothing_depends_on_who_the_others_are():
    torch.manual_seed(0)
    model = GaitModel(people=5, window=16, encoder_width=6, recognizer_width=4, embedding=8, discriminants=2.0).eval()
    walks = some_walks([40] * 40)
    places = np.random.default_rng(1).normal(size=(10, 15, 2)).repeat(4 * 40, 0).astype(np.float32)
    index = walks.index.assign(subject=np.repeat([f"{n}" for n in range(10)], 4), view=["000", "090"] * 20)
    walks = replace(walks, frames=0.3 * walks.frames + places, index=index)
    statistics = model.code_statistics(opening_windows(walks, range(40), 16))
    model.discriminants.fit(statistics, groups(index, "subject") % 5)
    enrolled = np.arange(40) % 4 < 3
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    found = embed_walks(model, walks, stride=8, enrolled=enrolled)
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
    assert np.abs(found.values - embed_walks(model, walks, stride=8).values).max() > 0.05
    np.testing.assert_allclose(np.linalg.norm(found.values, axis=1), 1, atol=1e-5)

    strangers = index.assign(subject=np.where(enrolled, index["subject"], "nobody"))
    again = embed_walks(model, replace(walks, index=strangers), stride=8, enrolled=enrolled)
    np.testing.assert_array_equal(again.values, found.values)
    moved = replace(walks, frames=np.where(np.repeat(enrolled, 40)[:, None, None], walks.frames, 0.5))
    others = embed_walks(model, moved, stride=8, enrolled=enrolled)
    np.testing.assert_allclose(others.values[enrolled], found.values[enrolled], atol=1e-6)


def test_the_mean_of_each_view_is_taken_off():
    values = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.6, 0.8, 0], [0, 0.6, 0.8]], np.float32)
    found = Embeddings(values, pd.DataFrame({"view": ["a", "a", "b", "a", "c"]}))
    level = without_view_means(found, np.array([True, True, True, False, False])).values
    means = np.array([[0.5, 0.5, 0]] * 2 + [[0, 0, 1], [0.5, 0.5, 0], [0.25, 0.25, 0.5]])
    wanted = values - means
    np.testing.assert_allclose(level, wanted / np.linalg.norm(wanted, axis=1, keepdims=True).clip(1e-12), atol=1e-6)


def test_code_features_are_means_over_windows(monkeypatch):
    monkeypatch.setattr(embedding, "WINDOWS", 5)
    torch.manual_seed(0)
    model, length = GaitModel(people=4).eval(), np.array([150, 20])
    rows = np.random.default_rng(0).normal(size=(170, 15, 2)).astype(np.float32)
    walks = NormalizedWalks(rows, np.array([0, 150]), length, pd.DataFrame(index=range(2)))
    found = code_features(model, walks, stride=16)
    starts = [0, 16, 32, 48, 64, 80, 150 - model.window]
    x = torch.stack([torch.from_numpy(rows[s : s + model.window].reshape(-1, 30).T.copy()) for s in starts])
    with torch.no_grad():
        codes = model.autoencoder.encode(x)
    motion = torch.cat([codes.motion.mean(2), codes.motion.std(2, correction=0)], 1)
    for name, wanted in (("body", codes.body), ("view", codes.view), ("motion", motion), ("pose", window_statistics(x))):
        np.testing.assert_allclose(found[name][0], wanted.mean(0), atol=1e-5)


def test_mirror():
    x = torch.randn(2, 30, 7)
    y = mirror(x)
    assert torch.equal(mirror(y), x)
    for left, right in ((LEFT_WRIST, RIGHT_WRIST), (LEFT_ANKLE, RIGHT_ANKLE)):
        assert torch.equal(y[:, 2 * left], -x[:, 2 * right])
        assert torch.equal(y[:, 2 * left + 1], x[:, 2 * right + 1])
        assert torch.equal(y[:, 2 * right], -x[:, 2 * left])
    assert torch.equal(y[:, 0], -x[:, 0])
    assert torch.equal(y[:, 1], x[:, 1])


def test_npz_round_trip(tmp_path):
    walks = some_walks()
    embeddings = Embeddings(np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32), walks.index)
    embeddings.save(tmp_path / "e.npz")
    again = Embeddings.load(tmp_path / "e.npz")
    np.testing.assert_array_equal(again.values, embeddings.values)
    assert again.values.dtype == np.float32
    pd.testing.assert_frame_equal(again.index, walks.index, check_dtype=False)
    assert again.index["run"].dtype.kind == "i"
    assert [p.name for p in tmp_path.iterdir()] == ["e.npz"]
    with np.load(tmp_path / "e.npz", allow_pickle=False) as file:
        assert set(file.files) == {"values", *walks.index}


WHOLE = {"values": np.zeros((2, 3)), "run": np.ones(2, int)} | dict.fromkeys(
    ("sequence", "subject", "condition", "view"), np.array(["a", "b"])
)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "cannot be read"),
        (b"hello", "cannot be read"),
        (b"PK\x03\x04 a torn zip file", "cannot be read"),
        (np.zeros(3), "cannot be read"),
        (WHOLE | {"values": np.array([{}], dtype=object)}, "cannot be read"),
        ({"numbers": np.zeros((2, 3))}, "no array named values"),
        ({"values": np.zeros((2, 3))}, "no array named sequence"),
        (WHOLE | {"view": np.array(["0"])}, "do not fit"),
        (WHOLE | {"values": np.zeros(2)}, "do not fit"),
        (WHOLE | {"values": np.array([["a"], ["b"]])}, "do not fit"),
        (WHOLE | {"subject": np.zeros(2)}, "array subject holds float64"),
        (WHOLE | {"run": np.array(["1", "2"])}, "array run holds <U1"),
        ("fifo", "not a regular file"),
        (None, "there is no such file"),
    ],
)
def test_other_files_are_refused(tmp_path, content, words):
    path = tmp_path / "e.npz"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None and not isinstance(content, str):
        with path.open("wb") as file:
            np.savez(file, **content) if isinstance(content, dict) else np.save(file, content)
    elif content:
        os.mkfifo(path)
    with pytest.raises(InputError, match=rf"e\.npz.*{words}"):
        Embeddings.load(path)


def test_pose_statistics_by_hand():
    walks = some_walks((2, 3))
    walks.frames[:] = 0
    walks.frames[:2, 4, 0] = [1, 5]  # row 8: mean 3, deviation 2
    walks.frames[2:, 4, 1] = [0, 3, 6]  # row 9: mean 3, deviation sqrt(6)
    statistics = pose_statistics(walks)
    wanted = np.zeros((2, 60))
    wanted[0, 8], wanted[0, 38] = 3, 2
    wanted[1, 9], wanted[1, 39] = 3, np.sqrt(6)
    np.testing.assert_allclose(statistics, wanted, atol=1e-12)


def test_pose_statistics_are_of_each_walk_by_itself(monkeypatch):
    walks, rows = some_walks((40, 30, 25, 16)), [2, 0]
    whole, some = pose_statistics(walks), replace(walks, start=walks.start[rows], length=walks.length[rows])
    np.testing.assert_array_equal(pose_statistics(some), whole[rows])
    monkeypatch.setattr(preprocess, "BLOCK", 30)
    np.testing.assert_array_equal(pose_statistics(walks), whole)


def test_baseline_is_standardized_on_the_training_people():
    train, test = some_walks((20, 30, 25), seed=1), some_walks((40, 16), seed=2)
    for walks in (train, test):
        walks.frames[:, 1] = 0  # the neck
    reference = pose_statistics(train)
    own = baseline_embeddings(train, train).values
    moving = reference.std(0) > 0
    np.testing.assert_allclose(own.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(own.std(0)[moving], 1, atol=1e-5)
    assert not own[:, ~moving].any()
    found = baseline_embeddings(train, test)
    wanted = (pose_statistics(test)[1, 8] - reference[:, 8].mean()) / reference[:, 8].std()
    assert found.values[1, 8] == pytest.approx(wanted, abs=1e-5)
    assert found.index is test.index
    assert np.isfinite(found.values).all()
