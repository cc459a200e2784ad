"""The figures of the workbook: one look, colors for color-blind readers, a statement as title, a text alternative each.

Every function returns a matplotlib Figure; `fig.alt` describes it in words. `show(fig)` puts it into a notebook with
that text, `show(fig, folder)` saves it as well. Titles are worked out from the data; `title=` replaces them.
"""

import base64
import functools
import html
import io
import re
import textwrap
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from xml.sax.saxutils import escape

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogFormatter
from scipy.special import ndtri

from gaitlib import InputError
from gaitlib.data.views import sorted_views
from gaitlib.evaluation.verification import Scores
from gaitlib.poses.inspect import Inspection
from gaitlib.rounding import percent
from gaitlib.skeleton import (
    BONES,
    JOINTS,
    LEFT_ANKLE,
    LEFT_JOINTS,
    MID_HIP,
    NECK,
    NUM_JOINTS,
    RIGHT_ANKLE,
    RIGHT_JOINTS,
)  # fmt: skip

STYLE = Path(__file__).with_name("workbook.mplstyle")
BLUE, ORANGE, GREEN, PURPLE = "#0072b2", "#d55e00", "#009e73", "#cc79a7"
INK, MUTED, FAINT = "#1d2329", "#59636f", "#e6e9ed"
#: Fonts with the letters that DejaVu Sans lacks, Chinese, Japanese and Korean ones; those that are installed are used.
OTHER_FONTS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "WenQuanYi Zen Hei", "Microsoft YaHei", "SimHei", "PingFang SC",
    "Hiragino Sans", "Malgun Gothic", "Apple SD Gothic Neo", "Arial Unicode MS",
)  # fmt: skip


@functools.cache
def _style() -> list:
    """What `matplotlib.style.context` takes: the look, and the fonts in which a letter is looked for."""
    own = mpl.rc_params_from_file(STYLE, use_default_template=False)["font.family"]
    installed = set(font_manager.get_font_names())
    return [STYLE, {"font.family": [*own, *(font for font in OTHER_FONTS if font in installed)]}]


def _styled(function):
    """Draw in the workbook's style whatever style the caller uses."""

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        with mpl.style.context(_style()):
            return function(*args, **kwargs)

    return wrapper


def alt(fig: Figure, text: str) -> Figure:
    """Give a figure its text alternative, `fig.alt`, and return the figure."""
    fig.alt = text
    return fig


@_styled
def show(fig: Figure, folder: str | Path | None = None, name: str = "figure"):
    """Display a figure as an <img> with its text alternative; the picture is embedded, at twice the screen's density.

    folder: where NAME.png and NAME.svg are saved as well, created when missing; what cannot stand in a file name becomes "-".
    """
    from IPython.display import HTML, display

    png = _bytes(fig, "png")
    if folder is not None:
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"[^\w.+-]+", "-", name)  # a probe set may be called A/B
        (folder / f"{name}.png").write_bytes(png)
        (folder / f"{name}.svg").write_bytes(_bytes(fig, "svg"))
    display(HTML(embedded(fig, png)))


@_styled
def embedded(fig: Figure, png: bytes | None = None) -> str:
    """A figure as an <img> element with its text alternative and the picture inside; png: its picture where it is known."""
    width = round(fig.get_size_inches()[0] * 100)
    style = f"width:{width}px;max-width:100%;height:auto;background:#fff;border-radius:8px"
    return _embedded("image/png", png or _bytes(fig, "png"), getattr(fig, "alt", ""), style)


def show_svg(path: str | Path, text: str):
    """Display an SVG file, such as `exchange_animation` writes, with its text alternative; the picture is embedded."""
    from IPython.display import HTML, display

    display(HTML(_embedded("image/svg+xml", Path(path).read_bytes(), text, "max-width:100%;height:auto")))


def _embedded(kind: str, data: bytes, text: str, style: str) -> str:
    source = base64.b64encode(data).decode("ascii")
    return f'<img alt="{html.escape(text, quote=True)}" style="{style}" src="data:{kind};base64,{source}">'


def _bytes(fig: Figure, kind: str) -> bytes:
    """The file, without dates and versions, so that the same data give the same bytes."""
    buffer = io.BytesIO()
    fig.savefig(buffer, format=kind, dpi=200, metadata={"Software": None} if kind == "png" else {"Date": None})
    return buffer.getvalue()


def _axes(ax: Axes | None, size: tuple[float, float] = (8, 4.2)) -> tuple[Figure, Axes]:
    if ax is not None:
        return ax.figure, ax
    fig = Figure(figsize=size)
    return fig, fig.add_subplot()


def _pair(axes: Sequence[Axes] | None, size: tuple[float, float], rows=1, columns=2) -> tuple[Figure, Sequence[Axes]]:
    if axes is not None:
        return axes[0].figure, axes
    fig = Figure(figsize=size)
    return fig, fig.subplots(rows, columns, squeeze=False).ravel()


def _unit(views: Sequence[str]) -> str:
    """The unit of an axis of views: degrees where all are numbers, none for names."""
    try:
        return " (degrees)" if [float(v) for v in views] else ""
    except ValueError:
        return ""


def _title(ax: Axes, text: str, width: int = 74) -> str:
    ax.set_title(textwrap.fill(text, width))
    return text


# ----------------------------------------------------------------------------------------------------- skeletons


@_styled
def skeleton_strip(
    poses: np.ndarray | Mapping[str, np.ndarray],
    every: int = 5,
    *,
    ax: Axes | None = None,
    title: str | None = None,
) -> Figure:
    """Skeletons side by side, one of `every` frames, a row for each walk. Left limbs are dashed and lighter.

    poses: float [T, 15, 2], y down, NaN = missing, or a mapping from row names to such arrays. One scale for all rows.
    """
    rows = dict(poses) if isinstance(poses, Mapping) else {"": np.asarray(poses)}
    for name, pose in rows.items():
        if np.ndim(pose) != 3 or np.shape(pose)[1:] != (NUM_JOINTS, 2):
            raise InputError(f"{name or 'strip'}: a pose is [T,{NUM_JOINTS},2], not {list(np.shape(pose))}.")
    count = max(len(range(0, len(p), every)) for p in rows.values())
    # each skeleton is moved to its place by its hips' column, so that a walker who crosses the image stays in it
    known = {n: np.maximum(np.isfinite(p).sum(axis=1, keepdims=True), 1) for n, p in rows.items()}
    moved = {n: p - np.nansum(p, axis=1, keepdims=True) / known[n] * [1, 0] for n, p in rows.items()}
    tall = max(np.nanmax(p[..., 1]) - np.nanmin(p[..., 1]) for p in moved.values())
    wide = max(0.42 * tall, 2 * max(np.nanmax(np.abs(p[..., 0])) for p in moved.values()) * 0.94)
    fig, ax = _axes(ax, (8, max(1.3, 7 * tall * 1.15 * len(rows) / (wide * count)) + 1.1))
    for r, (name, pose) in enumerate(moved.items()):
        color = (BLUE, ORANGE, GREEN, PURPLE)[r % 4]
        down = r * tall * 1.15 - np.nanmin(pose[..., 1])
        for k, t in enumerate(range(0, len(pose), every)):
            points = pose[t] + [k * wide, down]
            for i, j in BONES:
                left = i in LEFT_JOINTS or j in LEFT_JOINTS
                line = {"ls": (0, (2, 1)), "lw": 1.2, "alpha": 0.75} if left else {"lw": 1.8}
                ax.plot(*points[[i, j]].T, color=color, solid_capstyle="round", **line)
            size = max(9, min(40, 190 / count))
            ax.scatter(*points[0], s=size, color=color, linewidths=0, zorder=3)
        if name:
            middle = down + np.nanmin(pose[..., 1]) + tall / 2
            label = textwrap.fill(name, 14)
            ax.text(-wide * 0.62, middle, label, ha="right", va="center", color=color, weight="bold")
    ax.set_aspect("equal")
    ax.set_xlim(-wide * 0.6, (count - 0.4) * wide)
    ax.set_ylim(tall * (1.15 * len(rows) - 0.1), -tall * 0.05)
    ax.set_xticks(np.arange(count) * wide, np.arange(count) * every)
    ax.set_yticks([])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_xlabel("frame    (right limbs solid, left limbs dashed)")
    names = ", ".join(n for n in rows if n)
    text = _title(ax, title or f"The walk, one frame in {every}")
    what = f"Rows of {count} skeletons each: {names}" if names else f"{count} skeletons in a row"
    return alt(fig, f"{text}. {what}; left limbs dashed.")


# --------------------------------------------------------------------------------------------------------- codes


@_styled
def motion_difference_maps(
    motion_a: np.ndarray,
    motion_v: np.ndarray,
    motion_i: np.ndarray,
    *,
    axes: Sequence[Axes] | None = None,
    title: str | None = None,
) -> Figure:
    """How far motion codes differ between two views of a person, and between two people, on one color bar.

    motion_a, motion_v, motion_i: float [128, T], of a walk, the same person from another view, another person.
    """
    fig, (left, right) = _pair(axes, (8, 4.6))
    maps = [np.abs(np.asarray(motion_a) - other) for other in (motion_v, motion_i)]
    means = [float(m.mean()) for m in maps]
    top = max(float(m.max()) for m in maps) or 1.0
    for ax, values, name, mean in zip(
        (left, right), maps, ("same person, another view", "another person, same view"), means, strict=True
    ):
        image = ax.imshow(values, aspect="auto", vmin=0, vmax=top, origin="lower")
        ax.set_title(f"{name}\nmean {mean:.3g}", fontsize=10.5, weight="normal", pad=7)
        ax.set_xlabel("frame")
        ax.spines[:].set_visible(False)
    left.set_ylabel("motion code channel")
    right.set_yticklabels([])
    fig.colorbar(image, ax=[left, right], label="absolute difference (code units)", pad=0.02).outline.set_visible(False)
    ratio = means[1] / means[0] if means[0] else float("inf")
    text = title or f"Motion codes differ {ratio:.1f} times as much between people as between views"
    fig.suptitle(text, x=0.01, ha="left", weight="bold", fontsize=12)
    return alt(fig, f"{text}. Mean absolute difference {means[0]:.3g} between views, {means[1]:.3g} between people.")


@_styled
def code_rows(
    body: np.ndarray,
    view: np.ndarray,
    labels: Sequence[str] = ("walk", "same person,\nanother view", "another person,\nsame view"),
    *,
    axes: Sequence[Axes] | None = None,
    title: str | None = None,
) -> Figure:
    """Body codes and view codes of three walks as rows of colored cells.

    body, view: float [3, 128] for the walk, the same person from another view, another person from the same view.
    Body codes should agree in the first two rows, view codes in the first and the last.
    """
    fig, axes = _pair(axes, (8, 5), rows=2, columns=1)
    far = {}
    for ax, name, codes in zip(axes, ("body", "view"), (np.asarray(body), np.asarray(view)), strict=True):
        image = ax.imshow(codes, aspect="auto")
        ax.set_yticks(range(len(codes)), labels)
        ax.set_xlabel("channel")
        ax.set_ylim(len(codes) - 0.5, -0.5)
        for k in range(1, len(codes)):
            ax.axhline(k - 0.5, color="white", lw=3)
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        far[name] = [float(np.linalg.norm(codes[0] - codes[k])) for k in (1, 2)]
        ax.set_title(
            f"{name} code: distance {far[name][0]:.2g} to the other view, {far[name][1]:.2g} to the other person",
            fontsize=10.5, weight="normal", pad=6,
        )  # fmt: skip
        fig.colorbar(image, ax=ax, pad=0.015, label="value (code units)").outline.set_visible(False)
    good = far["body"][0] < far["body"][1] and far["view"][1] < far["view"][0]
    text = title or (
        "Body codes follow the person, view codes follow the camera" if good else "Body and view codes are not separated"
    )
    fig.suptitle(text, x=0.01, ha="left", weight="bold", fontsize=12)
    return alt(fig, f"{text}. Distances to the other view and to the other person: " + "; ".join(
        f"{name} {a:.2g} and {b:.2g}" for name, (a, b) in far.items()) + ".")  # fmt: skip


@_styled
def code_maps(codes: Mapping[str, np.ndarray], table: pd.DataFrame, *, axes=None, title: str | None = None) -> Figure:
    """t-SNE of each code, a row each, colored by identity, view and condition; above each how often neighbors agree.

    codes: name -> float [N, D], N at least 7. table: N rows with the columns subject, view, condition. axes: len(codes) x 3.
    Agreement is measured on the codes themselves, not on the map: the share of the 5 nearest walks with the same label.
    """
    from sklearn.manifold import TSNE
    from sklearn.neighbors import NearestNeighbors

    columns = {"identity": "subject", "view": "view", "condition": "condition"}
    palette = sns.color_palette("colorblind")
    fig = Figure(figsize=(8, 2.75 * len(codes) + 0.5)) if axes is None else axes.flat[0].figure
    axes = np.atleast_2d(fig.subplots(len(codes), 3)) if axes is None else axes
    said = []
    for row, (name, values) in zip(axes, codes.items(), strict=True):
        values = np.asarray(values, dtype=np.float32)
        scaled = (values - values.mean(0)) / np.maximum(values.std(0), 1e-6)
        near = NearestNeighbors(n_neighbors=6).fit(scaled).kneighbors(scaled, return_distance=False)[:, 1:]
        tsne = TSNE(perplexity=min(30, (len(scaled) - 1) / 3), init="pca", random_state=0, max_iter=500)
        x, y = tsne.fit_transform(scaled).T
        for ax, (label, column) in zip(row, columns.items(), strict=True):
            kinds = sorted_views(table[column]) if column == "view" else sorted(table[column].unique())
            place = pd.Categorical(table[column], kinds).codes
            agree = 100 * float((place[near] == place[:, None]).mean())
            chance = 100 * float(((np.bincount(place) - 1) * np.bincount(place)).sum() / (len(place) * (len(place) - 1)))
            ordered = column == "view"
            for k in range(len(kinds)):
                color = mpl.colormaps["viridis"](k / max(len(kinds) - 1, 1)) if ordered else palette[k % 8]
                marker = "o" if ordered else "osD^vPX*"[k // 8 % 8 if len(kinds) > 8 else k]
                ax.scatter(x[place == k], y[place == k], s=9, color=color, marker=marker, lw=0, label=kinds[k])
            ax.set_title(
                f"by {label}\n{agree:.0f} % of neighbors agree (chance {chance:.0f})", fontsize=9, weight="normal", pad=4
            )
            ax.set(xticks=[], yticks=[])
            shown = f"dark {kinds[0]}, light {kinds[-1]}" if ordered else f"{len(kinds)} kinds"
            ax.set_xlabel(shown, fontsize=8)
            if len(kinds) <= 4 and not ordered:
                ax.legend(fontsize=7.5, handletextpad=0.1, borderpad=0.2, frameon=True, framealpha=0.7, edgecolor="none")
            said.append(f"{name} by {label} {agree:.0f} % (chance {chance:.0f} %)")
        row[0].set_ylabel(f"{name} code", weight="bold")
    text = title or f"t-SNE of the codes of {len(table):,} walks, and whether neighbors agree"
    fig.suptitle(text, x=0.01, ha="left", weight="bold", fontsize=12)
    return alt(fig, f"{text}. Of the five nearest walks so many share the label: {', '.join(said)}.")


# ------------------------------------------------------------------------------------------------- joints and time


def _joints_over_time(
    axes: Sequence[Axes], pose: np.ndarray, joints: np.ndarray, each: np.ndarray, labels: Sequence[str]
) -> None:
    """A skeleton, float [15, 2], whose joints are as large and dark as `joints`, float [15]; beside it `each`, float [T, 15]."""
    left, right = axes
    for i, j in BONES:
        dashed = i in LEFT_JOINTS or j in LEFT_JOINTS
        left.plot(*pose[[i, j]].T, color="#aab2bb", lw=2, ls=(0, (2, 1)) if dashed else "-", zorder=1)
    top = max(float(np.nanmax(joints)), 1e-9)
    sizes = 40 + 260 * np.nan_to_num(joints) / top
    dots = left.scatter(*pose.T, s=sizes, c=joints, cmap="cividis_r", vmin=0, vmax=top, zorder=2, edgecolor="white")
    left.set_aspect("equal")
    left.invert_yaxis()
    left.margins(0.18, 0.1)
    left.set(xticks=[], yticks=[], xlabel="right solid, left dashed")
    image = right.imshow(each.T, aspect="auto", cmap="cividis_r", vmin=0)
    right.set_yticks(range(NUM_JOINTS), _names(), fontsize=8.5)
    right.set_xlabel("frame")
    right.tick_params(length=0)
    for ax, artist, label in zip(axes, (dots, image), labels, strict=True):
        ax.spines[:].set_visible(False)
        ax.figure.colorbar(artist, ax=ax, label=label, pad=0.02).outline.set_visible(False)


def _names() -> list[str]:
    return [joint.replace("_", " ") for joint in JOINTS]


@_styled
def joint_errors(pose: np.ndarray, truth: np.ndarray, *, axes: Sequence[Axes] | None = None, title: str | None = None) -> Figure:
    """The error of each joint on a skeleton, and of each joint in each frame.

    pose, truth: float [T, 15, 2], one unit, y down. Errors are distances in % of the true torso length, mean over the frames.
    """
    fig, axes = _pair(axes, (8, 4.4))
    pose, truth = np.asarray(pose, float), np.asarray(truth, float)
    torso = np.linalg.norm(truth[:, NECK] - truth[:, MID_HIP], axis=-1).mean()
    errors = 100 * np.linalg.norm(pose - truth, axis=-1) / torso
    mean = np.nanmean(errors, axis=0)
    _joints_over_time(axes, truth[len(truth) // 2], mean, errors, ("mean, % of torso length", "% of torso length"))
    worst, best = (_names()[int(f(mean))] for f in (np.nanargmax, np.nanargmin))
    text = title or f"{worst.capitalize()} is off most, {mean.max():.0f} % of the torso length; the mean is {mean.mean():.0f} %"
    fig.suptitle(text, x=0.01, ha="left", weight="bold", fontsize=12)
    return alt(fig, f"{text}. A skeleton with its joints sized by error, and errors by joint and frame; best {best}.")


@_styled
def saliency(shares: np.ndarray, pose: np.ndarray, *, axes: Sequence[Axes] | None = None, title: str | None = None) -> Figure:
    """Which joints say who, on a skeleton and over time.

    shares: float [T, 15], as `joint_saliency` gives them: they add up to one. pose: float [15, 2], a skeleton to draw them on.
    """
    fig, axes = _pair(axes, (8, 4.4))
    shares = 100 * np.asarray(shares, float)
    joints = shares.sum(0)
    _joints_over_time(axes, np.asarray(pose), joints, shares, ("share of a joint (%)", "share of a joint in a frame (%)"))
    first = ", ".join(f"{_names()[j]} {joints[j]:.0f} %" for j in np.argsort(-joints)[:3])
    text = title or f"Joints that say who: {first}"
    fig.suptitle(text, x=0.01, ha="left", weight="bold", fontsize=12)
    return alt(fig, f"{text}; even shares would be 7 %. A skeleton with its joints sized by their share, and shares over time.")


@_styled
def gait_cycles(walks: Mapping[str, np.ndarray], *, axes: Sequence[Axes] | None = None, title: str | None = None) -> Figure:
    """Knee and hip angles of several walks over the gait cycle, all cycles of a walk laid over each other.

    walks: name -> float [T, 15, 2], y down, no missing joints. A cycle begins where the right ankle is farthest from the left on
    its side; angles are those in the image, degrees: of the knee from straight, of the thigh from the vertical. Right limbs
    solid, left dashed, the mean thick. Walks without two such moments are named as left out.
    """
    fig, (knee, hip) = _pair(axes, (8, 4.2))
    at = np.linspace(0, 1, 101)
    lengths, left_out = {}, []
    for k, (name, pose) in enumerate(walks.items()):
        pose = np.asarray(pose, float)
        starts = gait_starts(pose)
        if len(starts) < 2:
            left_out.append(name)
            continue
        lengths[name] = float(np.diff(starts).mean())
        color = (BLUE, GREEN, ORANGE, PURPLE)[k % 4]
        for side, (top, middle, end) in {"-": RIGHT_JOINTS[3:], "--": LEFT_JOINTS[3:]}.items():
            thigh, shank = pose[:, middle] - pose[:, top], pose[:, end] - pose[:, middle]
            lean, bend = (np.unwrap(np.arctan2(v[:, 0], v[:, 1])) for v in (thigh, shank))
            for ax, angle in ((knee, np.abs(bend - lean)), (hip, lean)):
                curves = [np.interp(a + at * (b - a), np.arange(len(pose)), np.degrees(angle)) for a, b in pairwise(starts)]
                for curve in curves:
                    ax.plot(100 * at, curve, color=color, ls=side, lw=0.7, alpha=0.35)
                ax.plot(100 * at, np.mean(curves, axis=0), color=color, ls=side, lw=2, label=name if side == "-" else None)
    for ax, what in ((knee, "knee"), (hip, "thigh")):
        ax.set(xlabel="gait cycle (%)", ylabel=f"{what} angle in image (degrees)", xlim=(0, 100))
        ax.grid(axis="y")
    if lengths:
        fig.legend(
            *knee.get_legend_handles_labels(), loc="outside lower center", ncols=len(lengths),
            title="right side solid, left dashed; thin: single cycles", title_fontsize=9,
        )  # fmt: skip
    frames = ", ".join(f"{name} {length:.0f}" for name, length in lengths.items()) or "none"
    text = title or f"Gait cycles in frames: {frames}"
    fig.suptitle(text, x=0.01, ha="left", weight="bold", fontsize=12)
    lost = f" Without two beginnings of a cycle: {', '.join(left_out)}." if left_out else ""
    return alt(fig, f"{text}. Knee and thigh angles over the cycle, right solid, left dashed.{lost}")


def gait_starts(pose: np.ndarray) -> np.ndarray:
    """Frames at which the ankles are farthest apart with the right one on the same side: int64 [n], ascending.

    pose: float [T, 15, 2]. The signal is the ankles' difference along the direction in which it varies most.
    """
    from scipy.ndimage import gaussian_filter1d  # slow to import, and only needed here
    from scipy.signal import find_peaks

    apart = pose[:, RIGHT_ANKLE] - pose[:, LEFT_ANKLE]
    apart = apart - apart.mean(0)
    direction = np.linalg.svd(apart, full_matrices=False)[2][0]
    signal = gaussian_filter1d(apart @ direction, 1.5)
    peaks, _ = find_peaks(signal, distance=12, prominence=0.5 * signal.std())
    return peaks


# --------------------------------------------------------------------------------------------------- recognition


@_styled
def exchange_matrix(
    errors: pd.DataFrame, copying: float, mean_walk: float, *, ax: Axes | None = None, title: str | None = None
) -> Figure:
    """How far a walk with its view exchanged is from what the camera of that view saw, for every two views.

    errors: rows = view of the walk, columns = view asked for, % of torso length, NaN = not measured.
    copying, mean_walk: the mean error of leaving the walk as it is, and of the mean walk of the view asked for.
    """
    n = len(errors)
    side = max(4.4, min(7.4, 0.6 * n + 1.2))
    fig, ax = _axes(ax, (max(side, 6.4), side))
    sns.heatmap(
        errors, annot=n <= 14, fmt=".1f", cmap="cividis_r", vmin=0, square=True, linewidths=1.5, annot_kws={"size": 9}, ax=ax,
        cbar_kws={"label": "% of torso length", "shrink": 0.8},
    )  # fmt: skip
    unit = _unit(list(errors.index))
    ax.set(xlabel=f"view asked for{unit}", ylabel=f"view of the walk{unit}")
    ax.tick_params(length=0, rotation=0)
    mean = float(np.nanmean(errors.to_numpy()))
    text = f"Exchanged views are {mean:.1f} % off; the walk as it is {copying:.1f} %"
    text += f", the mean walk {mean_walk:.1f} %" if np.isfinite(mean_walk) else ""
    _title(ax, title or text, 62)
    worst = errors.stack().idxmax()
    text += f". Heat map of {n} views by {n}; worst from {worst[0]} to {worst[1]}: {errors.loc[worst]:.1f} % of torso length."
    return alt(fig, text)


@_styled
def rank1_matrix(
    rank1: np.ndarray | pd.DataFrame,
    views: Sequence[str] | None = None,
    *,
    condition: str = "",
    ax: Axes | None = None,
    title: str | None = None,
) -> Figure:
    """Rank-1 of each probe view against each gallery view, with the means over other views in both margins.

    rank1: float [V, V], shares 0..1, rows = probe views, columns = gallery views; NaN = not measured. The same view is
        hatched, its number shown in gray and left out of the means.
    views: V names; by default the index of a DataFrame.
    """
    names = [str(v) for v in (views if views is not None else getattr(rank1, "index", range(len(rank1))))]
    table = np.asarray(rank1, dtype=float)
    n = len(names)
    if table.shape != (n, n):
        raise InputError(f"A rank-1 table of {n} views is [{n},{n}], not {list(table.shape)}.")
    other = pd.DataFrame(np.where(np.eye(n, dtype=bool), np.nan, table))
    by_probe, by_gallery, mean = other.mean(axis=1), other.mean(axis=0), float(np.nanmean(other)) if n > 1 else np.nan
    side = max(4.4, min(8.0, 0.62 * (n + 2) + 0.9))
    fig, ax = _axes(ax, (max(side, 6.4), side))
    color, gap = mpl.colormaps["cividis"], 0.35

    def cell(x, y, value, bold=False):
        if np.isnan(value):
            return
        ax.add_patch(Rectangle((x, y), 1, 1, facecolor=color(value), edgecolor="white", lw=1.5))
        ink = "white" if value < 0.55 else INK
        size = 9.5 if n <= 12 else 7
        weight = "bold" if bold else None
        ax.text(x + 0.5, y + 0.5, percent(value, 0), ha="center", va="center", color=ink, size=size, weight=weight)

    for p in range(n):
        for g in range(n):
            if p != g:
                cell(g, p, table[p, g])
                continue
            ax.add_patch(Rectangle((g, p), 1, 1, facecolor="#eef0f2", edgecolor="#c3cad1", hatch="////", lw=0))
            if not np.isnan(table[p, g]):
                ax.text(
                    g + 0.5, p + 0.5, percent(table[p, g], 0), ha="center", va="center", color=MUTED, size=9,
                    bbox={"facecolor": "#eef0f2", "edgecolor": "none", "pad": 1},
                )  # fmt: skip
        cell(n + gap, p, by_probe[p], bold=True)
        cell(p, n + gap, by_gallery[p], bold=True)
    cell(n + gap, n + gap, mean, bold=True)
    ticks = [*(np.arange(n) + 0.5), n + gap + 0.5]
    ax.set_xticks(ticks, [*names, "mean"])
    ax.set_yticks(ticks, [*names, "mean"])
    ax.set_xlim(0, n + gap + 1)
    ax.set_ylim(n + gap + 1, 0)
    ax.set_aspect("equal")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    unit = _unit(names)
    ax.set_xlabel(f"gallery view{unit}")
    ax.set_ylabel(f"probe view{unit}")
    bar = fig.colorbar(mpl.cm.ScalarMappable(mpl.colors.Normalize(0, 100), color), ax=ax, pad=0.03, shrink=0.75)
    bar.set_label("rank-1 (%)")
    bar.outline.set_visible(False)
    lead = f"{condition}: " if condition else ""
    text = _title(ax, title or f"{lead}{percent(mean)} % rank-1 on average across views", 60)
    best, worst = by_probe.idxmax() if n > 1 else 0, by_probe.idxmin() if n > 1 else 0
    return alt(
        fig,
        f"{text}. {n} by {n} heat map, rows are probe views, columns gallery views, the same view hatched. "
        f"Best probe view {names[best]} with {percent(by_probe[best])} %, worst {names[worst]} with "
        f"{percent(by_probe[worst])} %.",
    )


@_styled
def cmc(curves: Mapping[str, np.ndarray], *, ax: Axes | None = None, title: str | None = None) -> Figure:
    """Share of probes whose person is among the first k of the gallery, for one or several recognizers.

    curves: name -> float [K], shares 0..1 for rank 1..K.
    """
    fig, ax = _axes(ax, (8, 4))
    styles, marks = ("-", "--", ":", "-."), "osD^"
    for k, (name, curve) in enumerate(curves.items()):
        ranks = np.arange(1, len(curve) + 1)
        ax.plot(
            ranks, 100 * np.asarray(curve), ls=styles[k % 4], marker=marks[k % 4], ms=5, clip_on=False, zorder=3,
            markevery=max(1, len(ranks) // 10), label=f"{name}, rank-1 {percent(curve[0])} %",
        )  # fmt: skip
    ax.set_xlabel("rank k")
    ax.set_ylabel("person among the first k (%)")
    ax.set_ylim(0, 100)
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set_xlim(left=1)
    ax.grid(axis="y")
    ax.legend(loc="lower right")
    name, curve = max(curves.items(), key=lambda item: item[1][0])
    k = min(5, len(curve))
    first, among = 100 * curve[0], 100 * curve[k - 1]
    text = _title(
        ax,
        title or f"{name[:1].upper()}{name[1:]} finds the person first in {first:.1f} %, among {k} in {among:.1f} %",
    )
    return alt(fig, f"{text}. Rank-1: " + ", ".join(f"{n} {percent(c[0])} %" for n, c in curves.items()) + ".")


#: Ticks of a DET curve.
_DET_TICKS = (0.001, 0.01, 0.05, 0.2, 0.5)


@_styled
def det(curves: Mapping[str, pd.DataFrame], *, ax: Axes | None = None, title: str | None = None) -> Figure:
    """False rejection against false acceptance, on axes of the normal deviate, where normal scores make straight lines.

    curves: name -> columns far, frr (shares 0..1), as `evaluation.verification.detection_error` gives.
    """
    fig, ax = _axes(ax, (5.6, 5.2))
    styles, errors = ("-", "--", ":", "-."), {}
    for k, (name, curve) in enumerate(curves.items()):
        far, frr = curve["far"].to_numpy(), curve["frr"].to_numpy()
        if len(far):
            errors[name] = float((far + frr)[np.abs(far - frr).argmin()] / 2)
            shown = [ndtri(np.clip(share, 1e-5, 1 - 1e-5)) for share in (far, frr)]
            ax.plot(*shown, ls=styles[k % 4], label=f"{name}, equal error rate {percent(errors[name])} %")
    ends = ndtri([0.0005, 0.7])
    ax.plot(ends, ends, color=FAINT, lw=1, zorder=0)
    ticks, names = ndtri(_DET_TICKS), [f"{100 * share:g}" for share in _DET_TICKS]
    ax.set_xticks(ticks, names)
    ax.set_yticks(ticks, names)
    ax.set_xlim(*ends)
    ax.set_ylim(*ends)
    ax.set_aspect("equal")
    ax.set_xlabel("different people accepted (%)")
    ax.set_ylabel("the same person rejected (%)")
    ax.grid()
    if errors:
        ax.legend(loc="lower left")
    best = min(errors, key=errors.get, default=None)
    if best is None:
        text = "Nothing to verify"
    else:
        text = f"{best} has {'the lowest' if len(errors) > 1 else 'an'} equal error rate of {percent(errors[best])} %"
    text = _title(ax, title or text, 56)
    return alt(fig, f"{text}. Equal error rates: " + ", ".join(f"{n} {percent(e)} %" for n, e in errors.items()) + ".")


@_styled
def score_histograms(scores: Mapping[str, Scores], *, axes: Sequence[Axes] | None = None, title: str | None = None) -> Figure:
    """How far apart walks of one person and of different people are, a panel a probe set.

    scores: probe set -> pairs, as `evaluation.verification.cross_view_scores` gives.
    """
    fig, axes = _pair(axes, (8, 1.1 + 1.5 * len(scores)), rows=len(scores), columns=1)
    top = max(float(-s.score.min()) for s in scores.values())
    edges = np.linspace(0, top, 70)
    overlaps = {}
    for ax, (name, s) in zip(axes, scores.items(), strict=True):
        shares = []
        for kind, color, hatch, label in ((s.same, BLUE, "", "same person"), (~s.same, ORANGE, "////", "different people")):
            counts = np.histogram(-s.score[kind], edges)[0]
            shares.append(counts / max(1, counts.sum()))
            ax.stairs(100 * shares[-1], edges, fill=True, color=color, alpha=0.45, hatch=hatch, label=label)
        overlaps[name] = float(np.minimum(*shares).sum())
        ax.set_title(f"{name}: {percent(overlaps[name], 0)} % overlap", fontsize=10.5, weight="normal", pad=4)
        ax.set_ylabel("pairs (%)")
        ax.tick_params(labelbottom=ax is axes[-1])
    axes[0].legend(loc="upper left")
    axes[-1].set_xlabel("distance of embeddings")
    most = max(overlaps, key=overlaps.get)
    text = title or f"Distances within and between people overlap by {percent(overlaps[most], 0)} % at most ({most})"
    fig.suptitle(textwrap.fill(text, 74), weight="bold")
    return alt(
        fig, f"{text}. Overlap of the two histograms: " + ", ".join(f"{n} {percent(o, 0)} %" for n, o in overlaps.items()) + "."
    )


@_styled
def ablation_chart(table: pd.DataFrame, *, ax: Axes | None = None, title: str | None = None) -> Figure:
    """Mean rank-1 of each ablation with its interval, and a line where nothing was changed.

    table: columns kind, name, rank1 (a dictionary with "mean"), ci95 ([low, high]); the first row is the model as it is.
    """
    fig, ax = _axes(ax, (8, 0.27 * len(table) + 1.6))
    value = 100 * np.array([row["mean"] for row in table["rank1"]], float)
    ends = 100 * np.array(table["ci95"].tolist(), float)
    place = np.arange(len(table)) + 0.6 * (table["kind"] != table["kind"].shift()).cumsum().to_numpy()
    colors = {"input": BLUE, "halves": GREEN, "codes": ORANGE}
    for kind, mark in zip(colors, "osD", strict=True):
        rows = (table["kind"] == kind).to_numpy()
        whiskers = np.abs(ends[rows] - value[rows, None]).T
        ax.errorbar(value[rows], place[rows], xerr=whiskers, fmt=mark, ms=6, color=colors[kind], capsize=3, label=kind)
    ax.axvline(value[0], color=MUTED, lw=1, ls="--", zorder=0)
    ax.set_yticks(place, table["name"])
    ax.invert_yaxis()
    ax.set_xlim(0, 101)
    ax.set_xlabel("mean rank-1 across views (%), whiskers: 95 % interval")
    ax.grid(axis="x")
    ax.tick_params(axis="y", length=0)
    changed = np.flatnonzero((table["kind"] == "input").to_numpy())[1:]
    worst = changed[value[changed].argmin()] if len(changed) else 0
    text = _title(ax, title or f"From {value[0]:.0f} % to {value[worst]:.0f} % with {table['name'].iloc[worst]}", 60)
    return alt(fig, f"{text}. " + "; ".join(f"{n} {v:.1f} %" for n, v in zip(table["name"], value, strict=True)) + ".")


@_styled
def probe_grid(table: pd.DataFrame, kind: str = "linear", *, ax: Axes | None = None, title: str | None = None) -> Figure:
    """What a simple classifier reads from each code, and whether that belongs there.

    table: columns code, name ("view, linear probe"), value, low, high, chance, wanted, as `Experiment.scorecard` gives.
    """
    rows = table[table["name"].str.endswith(f", {kind} probe")]
    rows = rows.assign(target=rows["name"].str.partition(",")[0])
    codes, targets = list(dict.fromkeys(rows["code"])), list(dict.fromkeys(rows["target"]))
    fig, ax = _axes(ax, (1.6 + 1.9 * len(targets), 0.8 + 0.95 * len(codes)))
    colors = {"high": "#cfe4f3", "low": "#f6dccb", "": "#eef0f3"}
    for row in rows.itertuples():
        x, y = targets.index(row.target), codes.index(row.code)
        ax.add_patch(Rectangle((x + 0.02, y + 0.03), 0.96, 0.94, color=colors[row.wanted], lw=0))
        ax.text(x + 0.5, y + 0.36, f"{percent(row.value, 0)} %", ha="center", va="center", weight="bold", size=15)
        wish = {
            "high": "should be high",
            "low": f"should be {percent(row.chance, 0)}, chance",
            "": f"chance {percent(row.chance, 0)}",
        }
        note = f"[{percent(row.low, 0)}, {percent(row.high, 0)}]  {wish[row.wanted]}"
        ax.text(x + 0.5, y + 0.72, note, ha="center", va="center", size=8.5, color=MUTED)
    ax.set_xlim(0, len(targets))
    ax.set_ylim(len(codes), 0)
    ax.set_xticks(np.arange(len(targets)) + 0.5, targets)
    ax.set_yticks(np.arange(len(codes)) + 0.5, [f"{code} code" for code in codes])
    ax.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    ax.spines[:].set_visible(False)
    text = _title(ax, title or f"What a {kind} classifier reads from each code", 60)
    said = (f"{r.target} from {r.code} {percent(r.value, 0)} %, chance {percent(r.chance, 0)} %" for r in rows.itertuples())
    return alt(fig, f"{text}: " + "; ".join(said) + ".")


@_styled
def rank1_bars(table: pd.DataFrame, *, ax: Axes | None = None, title: str | None = None) -> Figure:
    """Rank-1 of each condition with its 95 % interval, recognizers side by side.

    table: columns condition, arm (say "model", "baseline"), rank1, low, high; shares 0..1; low and high may be NaN.
    """
    conditions, arms = list(dict.fromkeys(table["condition"])), list(dict.fromkeys(table["arm"]))
    fig, ax = _axes(ax, (8, 4))
    width = 0.76 / len(arms)
    rows = table.set_index(["condition", "arm"])
    for k, arm in enumerate(arms):
        part = rows.xs(arm, level="arm").reindex(conditions)
        x = np.arange(len(conditions)) + (k - (len(arms) - 1) / 2) * width
        value, low, high = (100 * part[c].to_numpy(float) for c in ("rank1", "low", "high"))
        color = (BLUE, "#aab2bb", ORANGE, GREEN)[k % 4]
        ax.bar(x, value, width * 0.9, color=color, hatch=("", "///", "..", "xx")[k % 4], edgecolor="white", lw=0, label=arm)
        ends = np.vstack([value - low, high - value]).clip(0)
        ax.errorbar(x, value, ends, fmt="none", ecolor=INK, elinewidth=1.3, capsize=4)
        for place, v, top in zip(x, value, np.fmax(high, value), strict=True):
            if np.isfinite(v):
                ax.text(place, top + 1.5, f"{v:.0f}", ha="center", va="bottom", weight="bold", size=10)
    ax.set_xticks(range(len(conditions)), conditions)
    ax.set_ylim(0, 109)
    ax.set_yticks(range(0, 101, 20))
    ax.set_ylabel("rank-1 (%), whiskers: 95 % interval")
    ax.set_xlabel("probe condition")
    ax.tick_params(axis="x", length=0)
    ax.grid(axis="y")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=len(arms))
    means = {arm: 100 * rows.xs(arm, level="arm")["rank1"].mean() for arm in arms}
    first, *rest = arms
    text = f"{first[:1].upper()}{first[1:]} reaches {means[first]:.0f} % rank-1 on average"
    text = _title(ax, title or text + "".join(f", {arm} {means[arm]:.0f} %" for arm in rest))
    return alt(fig, f"{text}. " + "; ".join(
        f"{r.condition}, {r.arm}: {percent(r.rank1)} % ({percent(r.low)} to {percent(r.high)})"
        for r in table.itertuples()
    ) + ".")  # fmt: skip


@_styled
def training_curves(history: pd.DataFrame, *, axes: Sequence[Axes] | None = None, title: str | None = None) -> Figure:
    """The parts of the loss, on a logarithmic axis, and rank-1 of the validation people over the iterations.

    history: columns iteration, one column for each part of the loss, and validation_rank1 or validation_rank1_same_view (share
        0..1, NaN where it was not measured; the column may be absent). Columns that are not numbers are left out.
    """
    fig, (above, below) = _pair(axes, (8, 5.6), rows=2, columns=1)
    if axes is None:
        below.sharex(above)
    score = next((c for c in history if c.startswith("validation_rank1")), "validation_rank1")
    measured = score.replace("_", " ").replace("rank1", "rank-1")
    parts = [c for c in history.select_dtypes("number") if c not in ("iteration", score)]
    colors = sns.color_palette("colorblind", max(len(parts), 1))
    styles = ("-", "--", "-.", ":")
    for k, part in enumerate(parts):
        known = history[["iteration", part]].dropna()
        known = known[known[part] > 0]
        ax_label = part.replace("_", " ")
        above.plot(known["iteration"], known[part], color=colors[k], ls=styles[k % 4], lw=1.7, label=ax_label)
    if (history[parts] > 0).any().any():
        above.set_yscale("log")
        above.yaxis.set_major_formatter("{x:g}")  # without mathematical text, which is off: a name may hold a $
        above.yaxis.set_minor_formatter(LogFormatter(labelOnlyBase=False))
    above.set_ylabel("loss")
    above.grid(axis="y")
    above.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=9)
    above.tick_params(axis="x", labelbottom=axes is not None)
    rank1 = history[["iteration", score]].dropna() if score in history else pd.DataFrame()
    text = f"Training ran for {int(history['iteration'].max()):,} iterations"
    if len(rank1):
        best = rank1.loc[rank1[score][::-1].idxmax()]  # of equals the later, as is kept
        below.plot(rank1["iteration"], 100 * rank1[score], marker="o", ms=4, color=BLUE)
        below.plot(best["iteration"], 100 * best[score], "o", ms=10, mfc="none", mec=ORANGE, mew=2)
        best_text = f"{percent(best[score])} % at iteration {int(best['iteration']):,}"
        below.set_title(f"best (ringed): {best_text}", fontsize=10.5, weight="normal", pad=6)
        text = f"{measured.capitalize()} is best with {best_text}"
    below.set_ylim(0, 103)
    below.set_ylabel(f"{measured} (%)")
    below.set_xlabel("iteration")
    below.grid(axis="y")
    text = _title(above, title or text)
    last = history.iloc[-1]
    return alt(fig, f"{text}. Last losses: " + ", ".join(f"{p.replace('_', ' ')} {last[p]:.3g}" for p in parts) + ".")


@_styled
def validation_curves(histories: Mapping[str, pd.DataFrame], *, ax: Axes | None = None, title: str | None = None) -> Figure:
    """Rank-1 of the validation people over the iterations of several runs.

    histories: name -> columns iteration and validation_rank1 (share 0..1, NaN where it was not measured).
    """
    fig, ax = _axes(ax, (8, 4))
    best = {}
    for k, (name, history) in enumerate(histories.items()):
        known = history[["iteration", "validation_rank1"]].dropna()
        best[name] = float(100 * known["validation_rank1"].max())
        mark = {"ls": ("-", "--", ":", "-.")[k % 4], "marker": "osD^"[k % 4], "ms": 4}
        ax.plot(known["iteration"], 100 * known["validation_rank1"], label=f"{name}, best {best[name]:.1f} %", **mark)
    ax.set_xlabel("iteration")
    ax.set_ylabel("validation rank-1 (%)")
    ax.set_ylim(0, 103)
    ax.grid(axis="y")
    ax.legend(loc="lower right")
    text = _title(ax, title or "Rank-1 of the validation people")
    return alt(fig, f"{text}. Best: " + ", ".join(f"{name} {share:.1f} %" for name, share in best.items()) + ".")


# ------------------------------------------------------------------------------------------------------ the data


@_styled
def missing_cells(inspection: Inspection, *, ax: Axes | None = None, title: str | None = None) -> Figure:
    """Where walks are missing: how many each subject has in each condition from each view. Many subjects are binned, and say so.

    Full is what most subjects with any walk in that condition have from a view.
    """
    counts = inspection.counts
    conditions = list(dict.fromkeys(counts.columns.get_level_values("condition")))
    views = list(dict.fromkeys(counts.columns.get_level_values("view")))
    values = counts.to_numpy()
    usual = {c: max(1, int(np.bincount(v[v > 0]).argmax())) for c in conditions for v in [counts[c].to_numpy().ravel()]}
    expected = np.array([usual[c] for c, _ in counts.columns])
    share = np.clip(values / expected, 0, 1)
    per_row = int(np.ceil(len(counts) / 120))
    binned = np.stack([share[i : i + per_row].mean(axis=0) for i in range(0, len(share), per_row)])
    fig, ax = _axes(ax, (8, float(np.clip(0.14 * len(binned) + 2.2, 3, 7))))
    image = ax.imshow(binned * 100, aspect="auto", vmin=0, vmax=100, cmap="cividis_r", interpolation="nearest")
    for column, empty in enumerate((binned == 0).T):  # a patch for each run of rows: thousands of hatched cells take long
        for first, end in np.flatnonzero(np.diff(empty, prepend=False, append=False)).reshape(-1, 2):
            ax.add_patch(Rectangle((column - 0.5, first - 0.5), 1, end - first, fc="white", ec=ORANGE, hatch="////", lw=0))
    for k, condition in enumerate(conditions):
        if k:
            ax.axvline(k * len(views) - 0.5, color="white", lw=4)
        if len(conditions) > 1:
            label = f"{condition or 'no condition'} ({usual[condition]})"
            ax.text((k + 0.5) * len(views) - 0.5, -0.8, label, ha="center", va="bottom", color=MUTED)
    every = max(1, int(np.ceil(counts.shape[1] / 18)))
    shown = [k for k in range(counts.shape[1]) if k % len(views) % every == 0]
    ax.set_xticks(shown, [counts.columns[k][1] for k in shown], rotation=90 if len(shown) > 14 else 0)
    rows = np.unique(np.linspace(0, len(binned) - 1, min(len(binned), 12)).round().astype(int))
    ax.set_yticks(rows, [str(counts.index[r * per_row]) for r in rows])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_xlabel(f"view{_unit(views)}" + (", by condition (walks of a full cell)" if len(conditions) > 1 else ""))
    ax.set_ylabel("subject" if per_row == 1 else f"subject ({per_row} a row)")
    hatched = ", hatched: none" if (binned == 0).any() else ""
    bar = fig.colorbar(image, ax=ax, pad=0.02, label=f"walks present (% of a full cell){hatched}")
    bar.outline.set_visible(False)
    short, empty = int((values < expected).sum()), int((values == 0).sum())
    cells = f"{values.size:,} subject-{'condition-' if len(conditions) > 1 else ''}view cells"
    if short > empty:
        text = f"{short:,} of {cells} lack walks, {empty:,} have none"
    else:
        text = f"{short:,} of {cells} have no walk" if short else f"All {cells} are full"
    text = _title(ax, title or text)
    if len(conditions) > 1:
        ax.set_title(ax.get_title(loc="left"), loc="left", pad=24)
    full = ", ".join(f"{usual[c]} in {c or 'no condition'}" for c in conditions)
    return alt(fig, f"{text}. {len(counts)} subjects, {len(views)} views; walks of a full cell: {full}.")


@_styled
def walk_lengths(frames: np.ndarray | pd.Series, window: int = 64, *, ax: Axes | None = None, title: str | None = None) -> Figure:
    """How many walks have how many frames, and which are shorter than the window the network sees.

    frames: int [N], frames of each walk. window: frames of a window.
    """
    frames = np.asarray(frames)
    fig, ax = _axes(ax, (8, 3.6))
    edges = np.histogram_bin_edges(frames, bins=min(40, max(8, len(np.unique(frames)))))
    sns.histplot(x=frames, bins=edges, color=BLUE, edgecolor="white", linewidth=0.8, alpha=1, ax=ax)
    ax.axvline(window, color=ORANGE, lw=2, ls="--")
    ax.annotate(
        f"window: {window} frames", (window, 1), xycoords=("data", "axes fraction"), xytext=(6, -4),
        textcoords="offset points", va="top", color="#a84a00",
    )  # fmt: skip
    ax.set_xlim(min(edges[0], window) - 2, max(edges[-1], window) + 2)
    ax.set_xlabel("length of the walk (frames)")
    ax.set_ylabel("walks")
    ax.grid(axis="y")
    short = int((frames < window).sum())
    start = f"{short:,} of {len(frames):,} walks are" if short else f"None of {len(frames):,} walks is"
    text = _title(ax, title or f"{start} shorter than a window of {window} frames")
    low, median, high = (int(f(frames)) for f in (np.min, np.median, np.max))
    return alt(fig, f"{text}. Lengths from {low} to {high} frames, median {median}.")


@_styled
def missing_joints(shares: pd.DataFrame, *, ax: Axes | None = None, title: str | None = None) -> Figure:
    """Which joints are missing from which view.

    shares: float table 0..1, views x 15 joints, as `Inspection.missing`.
    """
    fig, ax = _axes(ax, (8, max(3.2, 0.34 * len(shares) + 2.2)))
    percent = 100 * shares
    text_of = percent.map(lambda v: f"{v:.0f}" if v >= 0.5 else ("<1" if v > 0 else ""))
    sns.heatmap(
        percent, ax=ax, cmap="cividis", vmin=0, vmax=max(5.0, float(percent.max().max())), annot=text_of, fmt="",
        annot_kws={"size": 8.5}, linewidths=1, linecolor="white",
        cbar_kws={"label": "frames without it (%)", "pad": 0.02},
    )  # fmt: skip
    ax.set_xticks(np.arange(percent.shape[1]) + 0.5, [j.replace("_", " ") for j in percent.columns], rotation=40, ha="right")
    ax.set_yticks(np.arange(len(percent)) + 0.5, percent.index, rotation=0)
    ax.tick_params(length=0)
    ax.set_xlabel("joint")
    ax.set_ylabel(f"view{_unit(shares.index)}")
    view, joint = percent.stack().idxmax()
    worst = float(percent.loc[view, joint])
    if worst:
        name = joint.replace("_", " ").capitalize()
        text = f"{name} at view {view} is missing most often, in {worst:.1f} % of the frames"
    else:
        text = "No joint is missing in any frame"
    text = _title(ax, title or text)
    return alt(fig, f"{text}. Mean over all views and joints {percent.to_numpy().mean():.1f} %.")


# ------------------------------------------------------------------------------------------------ moving picture


def exchange_animation(
    path: str | Path,
    original: np.ndarray,
    exchange: np.ndarray,
    truth: np.ndarray | None = None,
    fps: float = 25.0,
    *,
    labels: Sequence[str] = ("original", "view exchanged", "truth"),
    description: str = "",
) -> Path:
    """Write skeletons that walk side by side as an animated SVG: original, its view exchanged, and the truth.

    It plays as <img> on GitHub and from a file, on light and dark pages (it brings its own background, dark where the
    reader prefers dark), stands still for readers who prefer that, and loops where the walk comes closest to its start.

    path: where the .svg goes. original, exchange, truth: float [T, 15, 2], one scale, y down, no missing joints.
    labels: a line under each. description: the text alternative inside the file.
    Returns the path. Raises InputError for another suffix, other shapes or missing joints.
    """
    path = Path(path)
    walks = [np.asarray(w, dtype=float) for w in (original, exchange, truth) if w is not None]
    if path.suffix != ".svg":
        raise InputError(f"{path}: the animation is an .svg file.")
    if any(w.shape != walks[0].shape or w.shape[1:] != (NUM_JOINTS, 2) or not np.isfinite(w).all() for w in walks):
        raise InputError("The animation needs walks of one length [T,15,2] without missing joints.")
    start, end = _loop(walks[0])
    walks = [w[start : end + 1] for w in walks]
    low = min(w[..., 1].min() for w in walks)
    tall = max(w[..., 1].max() for w in walks) - low
    across = 240
    scale = min(196 / tall, 0.44 * across / max(np.abs(w[..., 0] - w[:, :1, 0].mean()).max() for w in walks))
    width, height = across * len(walks), 306
    seconds = (end - start) / fps
    groups = []
    for k, (walk, label) in enumerate(zip(walks, labels, strict=False)):
        points = (walk - [walk[..., 0].mean(), low + tall]) * scale + [across * (k + 0.5), 246]
        groups.append(
            f'<g class="w{k}">{_walking(points, seconds)}</g>'
            f'<ellipse class="floor" cx="{across * (k + 0.5):g}" cy="256" rx="58" ry="4"/>'
            f'<text x="{across * (k + 0.5):g}" y="284">{escape(str(label))}</text>'
        )
    text = escape(description or "Walking skeletons side by side: " + ", ".join(labels[: len(walks)]))
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    card = f'class="card" x=".5" y=".5" width="{width - 1}" height="{height - 1}" rx="16"'
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">'
        f"<title>{text}</title><style>{_SVG_STYLE}</style>"
        f"<rect {card}/>{''.join(groups)}</svg>\n",
        encoding="utf-8",
    )
    return path


_SVG_STYLE = """
.card{fill:#fff;stroke:#dde1e6}.floor{fill:#1d2329;opacity:.09}
text{font:600 16px system-ui,-apple-system,"Segoe UI",Roboto,Helvetica,Arial,sans-serif;text-anchor:middle;fill:#59636f}
path{fill:none;stroke-linecap:round;stroke-linejoin:round;stroke-width:7}
.l{opacity:.5}.w0{color:#0072b2}.w1{color:#00875f}.w2{color:#59636f}path{stroke:currentColor}circle{fill:currentColor}
.still{display:none}
@media (prefers-color-scheme:dark){.card{fill:#1a1e23;stroke:#373d45}text{fill:#a5aeb8}.floor{fill:#fff}
.w0{color:#56b4e9}.w1{color:#3ccf9f}.w2{color:#a5aeb8}}
@media (prefers-reduced-motion:reduce){.moves{display:none}.still{display:inline}}
"""


def _loop(pose: np.ndarray, shortest: int = 20) -> tuple[int, int]:
    """First and last frame of the stretch that ends most like it began; longer ones win a tie."""
    frames = len(pose)
    if frames <= shortest:
        return 0, frames - 1
    moves = np.abs(np.diff(pose, axis=0)).mean()
    best = (np.inf, 0, frames - 1)
    for start in range(min(frames - shortest, 20)):
        for end in range(start + shortest, frames):
            jump = np.abs(pose[end] - pose[start]).mean() + moves * (frames - (end - start)) / frames
            best = min(best, (jump, start, end))
    return best[1:]


def _walking(points: np.ndarray, seconds: float) -> str:
    """The SVG elements of one walk, points float [T, 15, 2] in pixels: left limbs (paler, dashed), trunk, right."""
    chains = {
        "l": ((1, *LEFT_JOINTS[:3]), (8, *LEFT_JOINTS[3:])),
        "m": ((0, 1, 8),),
        "r": ((1, *RIGHT_JOINTS[:3]), (8, *RIGHT_JOINTS[3:])),
    }

    def line(frame, chains):
        return "".join("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in frame[list(chain)]) for chain in chains)

    def animate(name, values):
        timing = f'dur="{seconds:.3g}s" repeatCount="indefinite"'
        return f'<animate attributeName="{name}" {timing} values="{";".join(values)}"/>'

    radius = 0.36 * np.linalg.norm(points[:, 0] - points[:, 1], axis=-1).mean()
    moving, still = [], []
    for name, chain in chains.items():
        frames = [line(p, chain) for p in points]
        dash = ' stroke-dasharray="5 9"' if name == "l" else ""
        moving.append(f'<path class="{name}"{dash} d="{frames[0]}">{animate("d", frames)}</path>')
        still.append(f'<path class="{name}"{dash} d="{frames[0]}"/>')
    x, y = ([f"{v:.1f}" for v in points[:, 0, i]] for i in (0, 1))
    head = f'<circle r="{radius:.1f}" cx="{x[0]}" cy="{y[0]}"'
    moving.append(f"{head}>{animate('cx', x)}{animate('cy', y)}</circle>")
    still.append(f"{head}/>")
    return f'<g class="moves">{"".join(moving)}</g><g class="still">{"".join(still)}</g>'
