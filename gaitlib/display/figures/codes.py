"""Figures of the codes: whether each holds what it should and nothing else, and what an exchanged view is worth."""

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from gaitlib.data.views import sorted_views
from gaitlib.display.figures import drawing
from gaitlib.display.figures.drawing import MUTED
from gaitlib.rounding import percent

#: The walks that `code_rows` compares.
TRIPLET = ("walk", "same person,\nanother view", "another person,\nsame view")
#: What `code_maps` are colored by.
LABELS = {"identity": "subject", "view": "view", "condition": "condition"}


@drawing.styled
def motion_difference_maps(motion_a: np.ndarray, motion_v: np.ndarray, motion_i: np.ndarray) -> Figure:
    """How far the motion code of a walk, float [128, T], is from the same person's in another view and from another person's."""
    fig = Figure(figsize=(8, 4.6))
    axes = fig.subplots(1, 2)
    maps = np.abs(motion_a - np.stack([motion_v, motion_i]))
    names = ("same person, another view", "another person, same view")
    for ax, differences, name in zip(axes, maps, names, strict=True):
        image = ax.imshow(differences, aspect="auto", vmin=0, vmax=maps.max() or 1.0, origin="lower")
        drawing.subtitle(ax, f"{name}\nmean {differences.mean():.3g}", pad=7)
        ax.set_xlabel("frame")
        ax.spines[:].set_visible(False)
    axes[0].set_ylabel("motion code channel")
    axes[1].set_yticklabels([])
    drawing.color_bar(image, list(axes), "absolute difference (code units)")
    between_views, between_people = (float(differences.mean()) for differences in maps)
    ratio = between_people / between_views if between_views else float("inf")
    text = f"Motion codes differ {ratio:.1f} times as much between people as between views"
    means = f"Mean absolute difference {between_views:.3g} between views, {between_people:.3g} between people."
    return drawing.stated(fig, text, means)


@drawing.styled
def code_rows(body: np.ndarray, view: np.ndarray) -> Figure:
    """Body codes and view codes of three walks as rows of colored cells.

    body, view: float [3, 128] for the walk, the same person from another view, another person from the same view.
    Body codes should agree in the first two rows, view codes in the first and the last.
    """
    fig = Figure(figsize=(8, 5))
    far = {}
    for ax, (name, codes) in zip(fig.subplots(2, 1), {"body": body, "view": view}.items(), strict=True):
        image = ax.imshow(codes, aspect="auto")
        ax.set(yticks=range(3), yticklabels=TRIPLET, xlabel="channel")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        for between in (0.5, 1.5):
            ax.axhline(between, color=drawing.PAPER, lw=3)
        drawing.bare(ax)
        to_view, to_person = far[name] = [float(np.linalg.norm(codes[0] - codes[k])) for k in (1, 2)]
        drawing.subtitle(ax, f"{name} code: distance {to_view:.2g} to the other view, {to_person:.2g} to the other person")
        drawing.color_bar(image, ax, "value (code units)", pad=0.015)
    good = far["body"][0] < far["body"][1] and far["view"][1] < far["view"][0]
    text = "body codes follow the person, view codes the camera" if good else "the codes do not follow person and camera"
    text = f"In these three walks, {text}"
    distances = "; ".join(f"{name} {to_view:.2g} and {to_person:.2g}" for name, (to_view, to_person) in far.items())
    return drawing.stated(fig, text, f"Distances to the other view and to the other person: {distances}.")


@drawing.styled
def code_maps(codes: Mapping[str, np.ndarray], table: pd.DataFrame) -> Figure:
    """t-SNE of each code, a row each, colored by identity, view and condition; above each how often neighbors agree.

    codes: name -> float [N, D], N at least 7. table: N rows with the columns subject, view, condition.
    Agreement is measured on the codes themselves, not on the map: the share of the 5 nearest walks with the same label.
    """
    from sklearn.manifold import TSNE
    from sklearn.neighbors import NearestNeighbors

    fig = Figure(figsize=(8, 2.75 * len(codes) + 0.5))
    said = []
    for row, (name, values) in zip(fig.subplots(len(codes), len(LABELS), squeeze=False), codes.items(), strict=True):
        values = np.asarray(values, dtype=np.float32)
        scaled = (values - values.mean(0)) / np.maximum(values.std(0), 1e-6)
        near = NearestNeighbors(n_neighbors=6).fit(scaled).kneighbors(scaled, return_distance=False)[:, 1:]
        perplexity = min(30, (len(scaled) - 1) / 3)
        points = TSNE(perplexity=perplexity, init="pca", random_state=0, max_iter=500).fit_transform(scaled)
        for ax, (label, column) in zip(row, LABELS.items(), strict=True):
            place = _color_by(ax, points, table[column])
            count = np.bincount(place)
            agree = 100 * float((place[near] == place[:, None]).mean())
            chance = 100 * float(((count - 1) * count).sum() / (len(place) * (len(place) - 1)))
            title = f"by {label}\n{agree:.0f} % of neighbors agree (chance {chance:.0f})"
            ax.set_title(title, fontsize=9, weight="normal", pad=4)
            said.append(f"{name} by {label} {agree:.0f} % (chance {chance:.0f} %)")
        row[0].set_ylabel(f"{name} code", weight="bold")
    text = f"t-SNE of the codes of {len(table):,} walks; linear probes may read more than neighbors show"
    return drawing.stated(fig, text, f"How many of the five nearest walks share the label: {', '.join(said)}.")


def _color_by(ax: Axes, points: np.ndarray, label: pd.Series) -> np.ndarray:
    """Draw points, float [N, 2], colored by their label; returns the place of each label among the kinds: int [N]."""
    is_view = label.name == "view"
    kinds = sorted_views(label) if is_view else sorted(label.unique())
    place = pd.Categorical(label, kinds).codes
    palette = sns.color_palette("colorblind")
    dots = []
    for k, kind in enumerate(kinds):
        color = mpl.colormaps["viridis"](0.2 + 0.7 * k / max(len(kinds) - 1, 1)) if is_view else palette[k % 8]
        marker = "o" if is_view else "osD^vPX*"[k // 8 % 8 if len(kinds) > 8 else k]
        dots.append(ax.scatter(*points[place == k].T, s=9, color=color, marker=marker, lw=0, label=kind))
    ax.set(xticks=[], yticks=[])
    ax.set_xlabel(f"from {kinds[0]} (dark) to {kinds[-1]} (light)" if is_view else f"{len(kinds)} in all", fontsize=8)
    if len(kinds) <= 4 and not is_view:
        frame = {"frameon": True, "framealpha": 0.7, "edgecolor": "none"}
        ax.legend(handles=dots, fontsize=7.5, handletextpad=0.1, borderpad=0.2, **frame)
    return place


@drawing.styled
def probe_grid(table: pd.DataFrame, kind: str = "linear") -> Figure:
    """What a simple classifier reads from each code, and whether that belongs there.

    table: columns code, name ("view, linear probe"), value, low, high, chance, wanted. kind: "linear" or "nearest-neighbor".
    """
    rows = table[table["name"].str.endswith(f", {kind} probe")]
    rows = rows.assign(target=rows["name"].str.partition(",")[0])
    codes, targets = list(dict.fromkeys(rows["code"])), list(dict.fromkeys(rows["target"]))
    ax = Figure(figsize=(1.6 + 1.9 * len(targets), 0.8 + 0.95 * len(codes))).subplots()
    colors = {"high": "#cfe4f3", "low": "#f6dccb", "": "#eef0f3"}
    wishes = {"high": "should be high", "low": "should be at chance, {} %", "": "chance {} %"}
    for row in rows.itertuples():
        x, y = targets.index(row.target), codes.index(row.code)
        ax.add_patch(Rectangle((x + 0.02, y + 0.03), 0.96, 0.94, color=colors[row.wanted], lw=0))
        ax.text(x + 0.5, y + 0.33, f"{percent(row.value, 0)} %", ha="center", va="center", weight="bold", size=15)
        note = f"[{percent(row.low, 0)}, {percent(row.high, 0)}]\n{wishes[row.wanted].format(percent(row.chance, 0))}"
        ax.text(x + 0.5, y + 0.73, note, ha="center", va="center", size=8.5, color=MUTED)
    ax.set(xlim=(0, len(targets)), ylim=(len(codes), 0))
    ax.set_xticks(np.arange(len(targets)) + 0.5, targets)
    ax.set_yticks(np.arange(len(codes)) + 0.5, [f"{code} code" for code in codes])
    ax.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False)
    drawing.bare(ax)
    said = (f"{r.target} from {r.code} {percent(r.value, 0)} %, chance {percent(r.chance, 0)} %" for r in rows.itertuples())
    return drawing.stated(ax, f"What a {kind} classifier reads from each code", f"{'; '.join(said)}.", 60)


@drawing.styled
def exchange_matrix(errors: pd.DataFrame, copying: float, mean_walk: float) -> Figure:
    """How far a walk with its view exchanged is from what the camera of that view saw, for every two views.

    errors: rows = view of the walk, columns = view asked for, % of torso length, NaN = not measured.
    copying, mean_walk: the mean error of the unchanged walk, and of the mean walk of the view asked for, where the colors end.
    """
    n = len(errors)
    side = max(4.4, min(7.4, 0.6 * n + 1.2))
    ax = Figure(figsize=(max(side, 6.4), side)).subplots()
    ends = [float(np.nanmin(errors)), mean_walk]
    ends[1] = ends[1] if np.isfinite(mean_walk) and mean_walk > ends[0] else float(np.nanmax(errors))
    texts = errors.map(lambda error: f"{error:.1f}" if n <= 14 else "")
    image = drawing.cells(ax, errors, texts, drawing.DARK_IS_LOW, ends)
    palest = ", palest: no better than the mean walk" if ends[1] == mean_walk else ""
    drawing.color_bar(image, ax, f"% of torso length; dark is good{palest}", shrink=0.8)
    unit = drawing.unit_of(errors.index)
    ax.set(xlabel=f"view asked for{unit}", ylabel=f"view of the walk{unit}", aspect="equal")
    text = f"Exchanged views miss the truth by {float(np.nanmean(errors)):.1f} % of torso length; "
    text += f"the unchanged walk by {copying:.1f} %"
    text += f", the mean walk by {mean_walk:.1f} %" if np.isfinite(mean_walk) else ""
    source, target = errors.stack().idxmax()
    worst = f"worst from {source} to {target}: {errors.loc[source, target]:.1f} % of torso length"
    return drawing.stated(ax, text, f"Heat map of {n} views by {n}; {worst}.", 62)
