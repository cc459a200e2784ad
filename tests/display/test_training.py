"""The training panel: what it shows while a training runs, how it ends one, and that it stays away where nobody looks."""

import numpy as np
import pandas as pd
import pytest

from gaitlib import Interrupted
from gaitlib.display import training
from gaitlib.display.training import TrainingPanel, live_panel


@pytest.fixture
def displayed(monkeypatch):
    shown = []
    monkeypatch.setattr(training, "display", shown.append)
    monkeypatch.setattr(training, "PAUSE", 0)
    return shown


@pytest.fixture
def poses():
    walk = np.random.default_rng(0).normal(size=(64, 15, 2)).astype(np.float32)
    walk[:, 1], walk[:, 8] = 0, [0, 1]  # a torso of length 1
    off = walk + np.float32([0.03, 0.04])
    return {"view 054": walk, "reconstruction": off, "exchanged to 000": off, "seen from 000": walk}


def history(looks):
    rank1 = [0.1, 0.25, 0.5][:looks]
    return pd.DataFrame({"iteration": 10 * np.arange(1, looks + 1), "learning_rate": 0.1, "loss": 2.0, "validation_rank1": rank1})


def test_it_says_how_far_training_is_and_shows_curves_and_the_walk(displayed, poses):
    asked = []
    panel = TrainingPanel(lambda model: asked.append(model) or poses, fps=30)
    with panel:
        assert displayed == []
        panel.step(1, 30, 61.0)
        assert displayed == [panel]
        assert (panel.bar.value, panel.bar.max) == (1, 30)
        assert panel.text.value == "iteration 1 of 30, about 01:01 left"
        pictures = []
        for looks in (1, 2):
            panel.look(history(looks), "the model")
            pictures.append(panel.curves.value)
        assert pictures[0] != pictures[1]
        assert all('alt="' in picture and "data:image/svg+xml" in picture for picture in pictures)
        assert asked == ["the model"] * 2
        assert [p["title"] for p in panel.player.panels] == list(poses)
        assert [p["fps"] for p in panel.player.panels] == [30.0] * 4
        assert panel.player.panels[1]["subtitle"].startswith("5.0 % of torso length off")
        assert "truth" in panel.player.panels[1]
        assert "truth" in panel.player.panels[2]
        assert panel.player.layout.display is None
        panel.step(20, 30, 10.0)
        assert panel.text.value == "iteration 20 of 30, about 00:10 left · validation rank-1 25.0%"
        panel.step(30, 30, 0.0)
        panel.look(history(3), "the model")
    assert panel.text.value == "iteration 30 of 30, done · validation rank-1 50.0%"
    assert panel.button.disabled
    assert displayed == [panel]


def test_a_walk_that_is_not_there_is_not_shown(displayed):
    panel = TrainingPanel(lambda model: {})
    with panel:
        panel.step(1, 2, 1.0)
        panel.look(history(1), None)
    assert panel.player.panels == []
    assert panel.player.layout.display == "none"
    assert panel.curves.value


def test_a_training_that_ends_early_is_done_too(displayed):
    panel = TrainingPanel(lambda model: {})
    with panel:
        panel.step(9, 30, 5.0)
        panel.look(history(1), None)  # of iteration 10, which came too soon after 9 to be told
    assert panel.text.value == "iteration 10 of 30, done · validation rank-1 10.0%"


def test_rank1_in_the_same_view_is_called_so(displayed):
    panel = TrainingPanel(lambda model: {})
    with panel:
        panel.step(1, 2, 1.0)
        panel.look(history(1).rename(columns={"validation_rank1": "validation_rank1_same_view"}), None)
    assert panel.text.value.endswith("done · validation rank-1 in the same view 10.0%")


def test_stop_is_a_ctrl_c_while_training_runs_and_nothing_otherwise(displayed, poses, monkeypatch):
    interrupts = []
    monkeypatch.setattr("_thread.interrupt_main", lambda: interrupts.append(panel.button.disabled))
    panel = TrainingPanel(lambda model: poses)
    panel.button.click()
    assert interrupts == []
    stopped = Interrupted("Training stopped after iteration 2 of 3.")
    for times in (1, 2):  # the cell is run again
        panel.__enter__()
        assert not panel.button.disabled
        panel.step(1, 3, 1.0)
        panel.button.click()
        panel.button.click()
        assert interrupts == [True] * times
        panel.step(2, 3, 1.0)
        assert panel.text.value == "stopping after this iteration ..."
        panel.__exit__(Interrupted, stopped, None)
        assert panel.text.value == "Training stopped after iteration 2 of 3. Run the cell again."
        assert panel.button.disabled
    panel.button.click()
    assert interrupts == [True] * 2


def test_messages_to_the_browser_are_few(displayed, monkeypatch):
    monkeypatch.setattr(training, "PAUSE", 1000)
    panel = TrainingPanel(lambda model: {})
    with panel:
        for done in range(1, 101):
            panel.step(done, 100, 1.0)
            assert panel.bar.value == (100 if done == 100 else 1)


def test_nothing_where_nobody_looks(monkeypatch):
    monkeypatch.setenv("GAITLIB_HEADLESS", "1")
    assert live_panel(lambda model: {}) is None
    monkeypatch.delenv("GAITLIB_HEADLESS")
    assert isinstance(live_panel(lambda model: {}), TrainingPanel)
