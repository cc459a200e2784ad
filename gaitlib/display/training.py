"""The training panel of notebook 02: how far training is, a button that ends it in good order, its curves, a walk that moves."""

import _thread
import os
import time
from collections.abc import Callable

import ipywidgets as widgets
import numpy as np
import pandas as pd
from IPython.display import display
from tqdm import tqdm

from gaitlib import Interrupted
from gaitlib.display import figures
from gaitlib.display.player import SkeletonPlayer, around, panel
from gaitlib.evaluation.exchange import torso_error
from gaitlib.progress import SCORES, Watch, score_column

#: Seconds between changes of the progress bar: each is a message to the browser.
PAUSE = 0.3


class TrainingPanel(Watch, widgets.VBox):
    """Shows a training while it runs; appears with its first iteration, so that a finished one that is used again shows none.

    example: the model -> name -> poses, float [T, 15, 2], of a walk, its reconstruction, the same exchanged to another view, and
        what was seen from there, in this order, as `Experiment.example` gives them; or nothing, then no walk is shown.
    fps: frames a second of the walk.
    The button works while the cell runs where JupyterLab and the kernel answer widgets beside it (JupyterLab 4.4, ipykernel 7).
    A page that is reloaded meanwhile shows the panel when the cell ends: it asks about widgets in the queue of the running cell.
    """

    def __init__(self, example: Callable[..., dict[str, np.ndarray]], fps: float = 25.0):
        self._example, self._fps, self._told, self._score = example, fps, 0.0, ""
        self.bar = widgets.IntProgress(layout={"width": "240px"})
        self.bar.style.bar_color = figures.BLUE
        self.text = widgets.Label()
        self.button = widgets.Button(
            description="Stop", icon="stop", disabled=True, layout={"width": "90px"},
            tooltip="ends training after this iteration and saves it; the stop button of JupyterLab does the same",
        )  # fmt: skip
        self.button.on_click(self._stop)
        self.player = SkeletonPlayer(label="The example walk as the network gives it back")
        self.player.layout.display = "none"
        self.curves = widgets.HTML()
        look = {"flex_flow": "row wrap", "align_items": "center", "grid_gap": "6px 16px", "overflow": "visible"}
        row = widgets.HBox([self.bar, self.text, self.button], layout=look)
        super().__init__([row, self.player, self.curves], layout={"overflow": "visible"})

    def __enter__(self) -> "TrainingPanel":
        self.button.disabled = False
        # ipykernel 7.4 hands messages of a widget to the thread that spoke last for it, which is the one that trains
        vars(self.button.comm).pop("_reply_subshell_id", None)
        return self

    def __exit__(self, kind, error, trace) -> None:
        self.button.disabled = True
        if error is None:
            self.text.value = f"iteration {self.bar.value:,} of {self.bar.max:,}, done{self._score}"
        elif isinstance(error, Interrupted):
            self.text.value = f"{error} Run the cell again."
        else:
            self.text.value = "Training ended with an error."
        self.bar.bar_style = "" if error is None else "warning"

    def step(self, done: int, iterations: int, left: float) -> None:
        """Move the bar, at most every PAUSE seconds."""
        if not self._told:
            display(self)
        elif done < iterations and time.monotonic() - self._told < PAUSE:
            return
        self._told = time.monotonic()
        self.bar.max, self.bar.value = iterations, done
        if not self.button.disabled:
            self.text.value = f"iteration {done:,} of {iterations:,}, about {tqdm.format_interval(left)} left{self._score}"

    def look(self, history: pd.DataFrame, model) -> None:
        """Draw the curves and the walk anew."""
        self.bar.value = int(history["iteration"].iloc[-1])  # which `step` may have left out
        name = score_column(history)
        self._score = f" · {SCORES[name]} {history[name].iloc[-1]:.1%}"
        self.curves.value = figures.embedded(figures.training_curves(history.drop(columns="learning_rate")))
        poses = self._example(model)
        if not poses:
            return
        names, (walk, back, exchanged, seen) = list(poses), poses.values()
        if self.player.box is None:
            self.player.box = around(np.stack([walk, seen]))
        self.player.panels = [
            panel(names[0], walk, self._fps, color=0),
            panel(names[1], back, self._fps, f"{torso_error(back, walk):.1f} % of torso length off", color=0, truth=walk),
            panel(names[2], exchanged, self._fps, f"{torso_error(exchanged, seen):.1f} % off", color=2, truth=seen),
            panel(names[3], seen, self._fps, color=1),
        ]
        self.player.layout.display = None

    def _stop(self, _button) -> None:
        """As Ctrl-C does, in the thread that trains."""
        if not self.button.disabled:
            self.button.disabled = True
            self.text.value = "stopping after this iteration ..."
            _thread.interrupt_main()


def live_panel(example: Callable[..., dict[str, np.ndarray]], fps: float = 25.0) -> TrainingPanel | None:
    """A TrainingPanel; None where nobody looks on: in runs, whose pages show the curves at the end (GAITLIB_HEADLESS is set)."""
    return None if os.environ.get("GAITLIB_HEADLESS") else TrainingPanel(example, fps)
