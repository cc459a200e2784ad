"""Figures of a training: its losses, and rank-1 of the validation people."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from gaitlib.display.figures import drawing
from gaitlib.display.figures.drawing import BLUE, DASHES, MARKERS, ORANGE
from gaitlib.progress import SCORES, score_column
from gaitlib.rounding import percent

#: The network of configs/default.yaml, drawn by hand.
NETWORK = Path(__file__).with_name("network.svg")


@drawing.styled
def training_curves(history: pd.DataFrame) -> Figure:
    """The parts of the loss, on a logarithmic axis, and rank-1 of the validation people over the iterations.

    history: columns iteration, each part of the loss, and one of `gaitlib.progress.SCORES` (share 0..1, NaN: not measured).
    """
    above, below = Figure(figsize=(8, 5.6)).subplots(2, 1, sharex=True)
    score = score_column(history)
    parts = [c for c in history.select_dtypes("number") if c not in ("iteration", score)]
    for k, (part, color) in enumerate(zip(parts, sns.color_palette("colorblind", max(len(parts), 1)), strict=False)):
        known = history[history[part] > 0]
        above.plot(known["iteration"], known[part], color=color, ls=DASHES[k % 4], lw=1.7, label=drawing.spoken(part))
    if (history[parts] > 0).any().any():
        above.set_yscale("log")
        above.yaxis.set_major_formatter("{x:g}")  # without mathematical text, which is off: a name may hold a $
        above.yaxis.set_minor_formatter(LogFormatter(labelOnlyBase=False))
    above.set_ylabel("loss")
    above.grid(axis="y")
    above.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=9)
    text = f"Training ran for {int(history['iteration'].max()):,} iterations"
    measured = history.dropna(subset=score)
    if len(measured):
        best = measured.loc[measured[score][::-1].idxmax()]  # of equals the later, as is kept
        below.plot(measured["iteration"], 100 * measured[score], marker="o", ms=4, color=BLUE)
        below.plot(best["iteration"], 100 * best[score], "o", ms=10, mfc="none", mec=ORANGE, mew=2)
        best_text = f"{percent(best[score])} % at iteration {int(best['iteration']):,}"
        drawing.subtitle(below, f"best (ringed): {best_text}")
        text = f"{SCORES[score].capitalize()} is best with {best_text}"
    below.set(ylim=(0, 103), ylabel=f"{SCORES[score]} (%)", xlabel="iteration")
    below.grid(axis="y")
    last = history.iloc[-1]
    losses = ", ".join(f"{drawing.spoken(part)} {last[part]:.3g}" for part in parts)
    return drawing.stated(above, text, f"Last losses: {losses}.")


@drawing.styled
def validation_curves(histories: Mapping[str, pd.DataFrame]) -> Figure:
    """Rank-1 of the validation people; histories: run -> columns iteration, validation_rank1 (share 0..1, NaN: not measured)."""
    ax = Figure(figsize=(8, 4)).subplots()
    best = {}
    for k, (name, history) in enumerate(histories.items()):
        measured = history.dropna(subset="validation_rank1")
        best[name] = float(100 * measured["validation_rank1"].max())
        look = {"ls": DASHES[k % 4], "marker": MARKERS[k % 4], "ms": 4}
        ax.plot(measured["iteration"], 100 * measured["validation_rank1"], label=f"{name}, best {best[name]:.1f} %", **look)
    ax.set(xlabel="iteration", ylabel="validation rank-1 (%)", ylim=(0, 103))
    ax.grid(axis="y")
    ax.legend(handles=list(ax.lines), loc="lower right")
    each = ", ".join(f"{name} {share:.1f} %" for name, share in best.items())
    return drawing.stated(ax, "Rank-1 of the validation people while training", f"Best: {each}.")
