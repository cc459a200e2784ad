"""Training that is killed, stopped, or shared by several processes comes to the same weights."""

import inspect
import multiprocessing
import os
import random
import runpy
import signal
import socket
import subprocess
import sys
import textwrap
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from gaitlib import Interrupted, training
from gaitlib.config import load_config
from gaitlib.data.dataset import GaitDataset, write_dataset
from gaitlib.data.protocol import Roles, Split
from gaitlib.data.walkers import make_walkers
from gaitlib.model import objective
from gaitlib.model.checkpoint import load_model, load_state
from gaitlib.model.recognizer import GaitModel
from gaitlib.training import Watch, looks_since_best, train

TINY = [
    "model.encoder_width=12", "model.recognizer_width=8", "model.embedding=16", "model.window=24", "training.people=4",
    "training.walks_per_person=2", "training.warmup=2", "training.precision=32-true", "augmentation.missing=0.05",
]  # fmt: skip

#: Frames of a walk: most of what a look takes is fitting on all windows.
SHORT = 40


def split_of(walks):
    """Four people train, two validate."""

    def roles(part):
        run = part.index["run"].to_numpy()
        return Roles(part, run <= 2, {"NM": run > 2})

    people = sorted(walks.index["subject"].unique())
    held = roles(walks.select(subject=people[4:]))
    return Split(walks.select(subject=people[:4]), held, held)


#: How a program of a test begins.
PRELUDE = f"""
import sys
from gaitlib.config import load_config
from gaitlib.data.dataset import GaitDataset
from gaitlib.data.protocol import Roles, Split
from gaitlib.training import train

{inspect.getsource(split_of)}

folder, out, *changes = sys.argv[1:]
split = split_of(GaitDataset.open(folder))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    walkers = make_walkers(6, seed=1, views=[36, 90, 144])
    chosen = (
        replace(w, pose=w.pose[:SHORT], confidence=w.confidence[:SHORT]) for w in walkers if w.condition == "nm" and w.run <= 4
    )
    path = tmp_path_factory.mktemp("data") / "walks"
    write_dataset(path, chosen, name="six")
    return path


@pytest.fixture(scope="module")
def split(folder):
    return split_of(GaitDataset.open(folder))


def config(*changes):
    return load_config("configs/default.yaml", [*TINY, *changes])


def script(path, text):
    path.write_text(PRELUDE + textwrap.dedent(text))
    return path


def environment():
    return os.environ | {"PYTHONUNBUFFERED": "1"}


def assert_same(one, other):
    """The same training to the last bit."""
    a, b = (load_state(path / "state.pt") for path in (one, other))
    assert a["iteration"] == b["iteration"]
    for part in ("model", "kept"):
        assert a[part].keys() == b[part].keys()
        assert all(torch.equal(a[part][name], b[part][name]) for name in a[part])
    for mine, yours in zip(a["optimizer"]["state"].values(), b["optimizer"]["state"].values(), strict=True):
        assert all(torch.equal(mine[name], yours[name]) for name in mine)
    one_model, other_model = (load_model(path) for path in (one, other))
    assert one_model[1] == other_model[1]
    weights = (model.state_dict() for model, _ in (one_model, other_model))
    assert all(torch.equal(x, y) for x, y in zip(*(w.values() for w in weights), strict=True))
    pd.testing.assert_frame_equal(*(pd.read_csv(path / "history.csv") for path in (one, other)))


class Telling(Watch):
    """Tells of each look."""

    def __init__(self, telling):
        self.telling = telling

    def look(self, history, model):
        self.telling.send(len(history))


def train_in_a_process(settings, folder, out, telling):
    train(settings, split_of(GaitDataset.open(folder)), out, watch=Telling(telling))


def test_killed_at_any_moment_training_comes_to_the_same_weights(folder, split, tmp_path):
    """In a process that has loaded torch already."""
    fork = multiprocessing.get_context("fork")
    changes = ["training.iterations=16", "training.validate_every=2"]
    train(config(*changes), split, tmp_path / "whole")
    chance = random.Random(int(os.environ.get("PYTEST_SEED", time.time_ns())))
    for turn in range(3):
        out = tmp_path / f"killed-{turn}"
        looks, later = chance.randint(1, 5), 0.1 * chance.random()
        told, telling = fork.Pipe(duplex=False)
        process = fork.Process(target=train_in_a_process, args=(config(*changes), folder, out, telling))
        process.start()
        for _ in range(looks):
            told.recv()
        time.sleep(later)
        process.kill()
        process.join()
        reached = load_state(out / "state.pt")["iteration"]
        assert process.exitcode == -signal.SIGKILL, f"it was done before it could be killed, {reached}"
        assert 2 * looks <= reached < 16
        train(config(*changes), split, out)
        assert_same(out, tmp_path / "whole")


TEN = ["training.iterations=10", "training.validate_every=4"]


@pytest.fixture(scope="module")
def whole(split, tmp_path_factory):
    """What ten iterations come to that nobody interrupts."""
    made = tmp_path_factory.mktemp("whole")
    train(config(*TEN), split, made)
    return made


@pytest.mark.parametrize("at", [3, 4, 9])
def test_ctrl_c_stops_after_the_iteration_and_loses_nothing(split, whole, tmp_path, monkeypatch, at):
    settings = config(*TEN)
    calls, original = [], objective.loss_terms

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == at:
            os.kill(os.getpid(), signal.SIGINT)
        return original(*arguments)

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(objective, "loss_terms", interrupted)
    with pytest.raises(Interrupted, match=f"stopped after iteration {at} of 10; it is saved"):
        train(settings, split, tmp_path / "parts")
    assert signal.getsignal(signal.SIGINT) is before
    assert load_state(tmp_path / "parts" / "state.pt")["iteration"] == at
    assert len(calls) == at
    train(settings, split, tmp_path / "parts")
    assert len(calls) == 10  # nothing was computed twice
    assert_same(tmp_path / "parts", whole)


def test_a_second_ctrl_c_stops_at_once(split, tmp_path, monkeypatch):
    def interrupted(*_):
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("it went on")

    monkeypatch.setattr(objective, "loss_terms", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(config("training.iterations=3"), split, tmp_path)
    assert not (tmp_path / "state.pt").exists()


def test_training_ends_where_validation_no_longer_improves(split, tmp_path, monkeypatch):
    scores = iter([0.3, 0.6, 0.6, 0.5, 0.9])
    monkeypatch.setattr(training, "validate", lambda *_: {"validation_rank1": next(scores)})
    settings = config("training.iterations=12", "training.validate_every=2", "training.patience=2")
    history = train(settings, split, tmp_path)
    assert history["validation_rank1"].tolist() == [0.3, 0.6, 0.6, 0.5]
    assert load_model(tmp_path)[1]["iteration"] == 6  # of equals, the one that has seen more
    pd.testing.assert_frame_equal(train(settings, split, tmp_path), history)  # and it stays ended


def test_looks_since_the_best():
    def after(*scores):
        return looks_since_best([{"validation_rank1": score} for score in scores])

    assert after() == after(0.5) == after(0.1, 0.5) == 0
    assert after(0.5, 0.1) == after(0.5, 0.5) == 1
    assert after(0.1, 0.5, 0.4, 0.4) == 2


#: Float64, batch norm held fixed, no dropout; the contrastive loss sees the embeddings of all processes.
QUIET = """
import torch
from gaitlib.model.recognizer import GaitModel

def train_quietly(self, mode=True):
    torch.nn.Module.train(self, mode)
    for module in self.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.Dropout):
            module.eval()
    return self

GaitModel.train = train_quietly
train(load_config("configs/default.yaml", changes), split, out)
"""
QUIETLY = [
    *TINY, "training.iterations=20", "training.validate_every=10", "training.precision=64-true", "training.shards=2",
    "losses.view_swap=0.1", "losses.cycle=0.1", "losses.invariance_view=0.1", "augmentation.mirror=0.4",
]  # fmt: skip


@pytest.fixture(scope="module")
def alone(folder, tmp_path_factory):
    """What one process comes to: this one."""
    made = tmp_path_factory.mktemp("alone")
    program = script(made / "program.py", QUIET)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GaitModel, "train", GaitModel.train)  # which the program replaces
        patch.setattr(sys, "argv", [str(program), str(folder), str(made / "one"), *QUIETLY])
        runpy.run_path(str(program))
    return made / "one"


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.mark.parametrize("nodes", [1, 2])
def test_two_processes_train_as_one_does(folder, tmp_path, alone, nodes):
    """Both by one torchrun, or one each by the torchrun of two machines, as docs/machines.md has it."""
    where = ["--standalone", "--nproc-per-node", "2"]
    if nodes == 2:
        where = ["--nnodes", "2", "--nproc-per-node", "1", "--rdzv-backend", "c10d", "--rdzv-id", "gaitlib"]
        where += ["--rdzv-endpoint", f"127.0.0.1:{free_port()}", "--local-addr", "127.0.0.1"]
    program = script(tmp_path / "program.py", QUIET)
    command = [sys.executable, "-m", "torch.distributed.run", *where, program, folder, tmp_path / "two", *QUIETLY]
    launchers = [subprocess.Popen(command, env=environment()) for _ in range(nodes)]
    try:
        assert [launcher.wait(timeout=240) for launcher in launchers] == [0] * nodes
    finally:
        for launcher in launchers:
            launcher.terminate()
    one, two = (load_state(path / "state.pt") for path in (alone, tmp_path / "two"))
    assert one["iteration"] == two["iteration"] == 20
    moved = 0.0
    for name, weights in one["model"].items():
        if weights.is_floating_point():
            assert weights.dtype == torch.float64
            torch.testing.assert_close(two["model"][name], weights, atol=1e-6, rtol=0)
    for mine, yours in zip(one["optimizer"]["state"].values(), two["optimizer"]["state"].values(), strict=True):
        moved += float(mine["exp_avg"].abs().sum())
        torch.testing.assert_close(mine["exp_avg"], yours["exp_avg"], atol=1e-6, rtol=0)
    assert moved > 1  # there was something to agree upon
    a, b = (pd.read_csv(path / "history.csv") for path in (alone, tmp_path / "two"))
    np.testing.assert_allclose(a, b, rtol=1e-5)
