"""Figures of a data set: which walks and joints are missing, and how long walks are."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from gaitlib.display.figures import drawing
from gaitlib.display.figures.drawing import BLUE, MUTED, ORANGE
from gaitlib.poses.inspect import Inspection

#: Rows of `missing_cells` at most; of more subjects several share a row.
MOST_ROWS = 120


@drawing.styled
def missing_cells(inspection: Inspection) -> Figure | str:
    """How many walks each subject has in each condition and view, out of the usual number; many subjects are binned.

    A sentence where no walk is missing, since all cells would have one color.
    """
    counts = inspection.counts
    conditions, views = (list(dict.fromkeys(counts.columns.get_level_values(name))) for name in ("condition", "view"))
    several, values = len(conditions) > 1, counts.to_numpy()
    usual = {name: int(counts[name].stack()[lambda walks: walks > 0].mode()[0]) for name in conditions}
    expected = np.array([usual[name] for name, _ in counts.columns])
    cells = f"{values.size:,} subject-{'condition-' if several else ''}view cells"
    if (values >= expected).all():
        return f"No walk is missing: all {cells} are full."
    share = np.clip(values / expected, 0, 1)
    per_row = -(-len(counts) // MOST_ROWS)
    binned = np.stack([share[i : i + per_row].mean(axis=0) for i in range(0, len(share), per_row)])
    ax = Figure(figsize=(8, float(np.clip(0.14 * len(binned) + 2.2, 3, 7)))).subplots()
    image = ax.imshow(binned * 100, aspect="auto", vmin=0, vmax=100, cmap=drawing.DARK_IS_GOOD, interpolation="nearest")
    for column, rows in enumerate((binned == 0).T):  # a patch for each run of rows: thousands of hatched cells take long
        for first, end in np.flatnonzero(np.diff(rows, prepend=False, append=False)).reshape(-1, 2):
            ax.add_patch(Rectangle((column - 0.5, first - 0.5), 1, end - first, fc=drawing.PAPER, ec=ORANGE, hatch="////", lw=0))
    if several:
        for k, condition in enumerate(conditions):
            middle = (k + 0.5) * len(views) - 0.5
            ax.text(middle, -0.8, f"{condition or 'no condition'} ({usual[condition]})", ha="center", va="bottom", color=MUTED)
            if k:
                ax.axvline(k * len(views) - 0.5, color=drawing.PAPER, lw=4)
    _name_cells(ax, counts, len(views), per_row)
    ax.set_xlabel(f"view{drawing.unit_of(views)}" + (", by condition (walks of a full cell)" if several else ""))
    hatched = ", hatched: none" if (binned == 0).any() else ""
    drawing.color_bar(image, ax, f"walks present (% of a full cell); dark is good{hatched}")
    short, empty = int((values < expected).sum()), int((values == 0).sum())
    lack = f"lack walks, {empty:,} have none" if short > empty else "have no walk"
    text = f"{short:,} of {cells} {lack}"
    full = ", ".join(f"{usual[c]} in {c or 'no condition'}" for c in conditions)
    details = f"{len(counts)} subjects, {len(views)} views; walks of a full cell: {full}."
    return drawing.stated(ax, text, details, pad=24 if several else None)


def _name_cells(ax: Axes, counts: pd.DataFrame, views: int, per_row: int) -> None:
    """Name at most about 18 columns by their view and 12 rows by their (first) subject."""
    every = -(-counts.shape[1] // 18)
    columns = [k for k in range(counts.shape[1]) if k % views % every == 0]
    ax.set_xticks(columns, [counts.columns[k][1] for k in columns], rotation=90 if len(columns) > 14 else 0)
    last = -(-len(counts) // per_row) - 1
    rows = np.unique(np.linspace(0, last, min(last + 1, 12)).round().astype(int))
    ax.set_yticks(rows, [str(counts.index[r * per_row]) for r in rows])
    ax.set_ylabel("subject" if per_row == 1 else f"subject ({per_row} a row)")
    drawing.bare(ax)


@drawing.styled
def walk_lengths(frames: pd.Series, window: int) -> Figure:
    """How many walks, int [N] frames each, have how many frames, and which are shorter than the window the network sees."""
    ax = Figure(figsize=(8, 3.6)).subplots()
    edges = np.histogram_bin_edges(frames, bins=min(40, max(8, frames.nunique())))
    sns.histplot(x=frames, bins=edges, color=BLUE, edgecolor=drawing.PAPER, linewidth=0.8, alpha=1, ax=ax)
    ax.axvline(window, color=ORANGE, lw=2, ls="--")
    look = {"xytext": (6, -4), "textcoords": "offset points", "va": "top", "color": "#a84a00"}
    ax.annotate(f"window: {window} frames", (window, 1), xycoords=("data", "axes fraction"), **look)
    ends = min(edges[0], window) - 2, max(edges[-1], window) + 2
    ax.set(xlim=ends, xlabel="length of the walk (frames)", ylabel="walks")
    ax.grid(axis="y")
    short = int((frames < window).sum())
    start = f"{short:,} of {len(frames):,} walks are" if short else f"None of the {len(frames):,} walks is"
    lengths = f"Lengths from {frames.min()} to {frames.max()} frames, median {int(frames.median())}."
    return drawing.stated(ax, f"{start} shorter than a window of {window} frames", lengths)


@drawing.styled
def missing_joints(shares: pd.DataFrame) -> Figure:
    """Which joints are missing from which view; shares: float table 0..1, views x 15 joints, as `Inspection.missing`."""
    ax = Figure(figsize=(8, max(3.2, 0.34 * len(shares) + 2.2))).subplots()
    lost = 100 * shares
    numbers = lost.map(lambda v: f"{v:.0f}" if v >= 0.5 else ("<1" if v > 0 else ""))
    image = drawing.cells(ax, lost, numbers, drawing.DARK_IS_LOW, (0, max(5.0, float(lost.max().max()))), 8.5)
    drawing.color_bar(image, ax, "frames without it (%); dark is good")
    ax.set_xticks(np.arange(lost.shape[1]) + 0.5, map(drawing.spoken, lost.columns), rotation=40, ha="right")
    ax.set(xlabel="joint", ylabel=f"view{drawing.unit_of(lost.index)}")
    view, joint = lost.stack().idxmax()
    worst, text = float(lost.loc[view, joint]), "No joint is missing in any frame"
    if worst:
        text = f"The {drawing.spoken(joint)} is missing most often at view {view}, in {worst:.1f} % of the frames"
    return drawing.stated(ax, text, f"Mean over all views and joints {lost.to_numpy().mean():.1f} %.")
