"""Figures of skeletons: strips of walks, what belongs to each joint over time, gait cycles and parameters, walkers that move."""

import textwrap
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from jinja2 import Template
from matplotlib.collections import LineCollection
from matplotlib.colors import Colormap
from matplotlib.figure import Figure

from gaitlib import InputError
from gaitlib.display.figures import drawing
from gaitlib.display.figures.drawing import BLUE, GREEN, MARKERS, MUTED, ORANGE, PALE, PURPLE
from gaitlib.evaluation.gait import PARAMETERS, GaitParameters, joint_angles
from gaitlib.skeleton import BONES, JOINTS, LEFT_ANKLE, LEFT_JOINTS, MID_HIP, NECK, NUM_JOINTS, RIGHT_ANKLE, RIGHT_JOINTS

#: A strip shows one of so many frames.
EVERY = 5
LEFT_BONES = [bone for bone in BONES if not set(bone).isdisjoint(LEFT_JOINTS)]
RIGHT_BONES = [bone for bone in BONES if bone not in LEFT_BONES]  # and those of the middle
#: Of the moving picture: width of a walk, height, and where the ground is, pixels.
ACROSS, HEIGHT, GROUND = 240, 306, 246
#: Frames that a loop has at least, and the first so many frames are tried as its start.
SHORTEST_LOOP = 20
#: What is drawn as one line: left limbs (paler, dashed), trunk, right limbs.
CHAINS = {
    "l": ((1, *LEFT_JOINTS[:3]), (8, *LEFT_JOINTS[3:])),
    "m": ((0, 1, 8),),
    "r": ((1, *RIGHT_JOINTS[:3]), (8, *RIGHT_JOINTS[3:])),
}


@drawing.styled
def skeleton_strip(poses: Mapping[str, np.ndarray], title: str | None = None) -> Figure:
    """Skeletons side by side, one of five frames, a row for each walk. Left limbs are dashed and lighter.

    poses: row names -> float [T, 15, 2], y down, NaN = missing, one scale for all rows; InputError for another shape.
    """
    for name, pose in poses.items():
        if np.ndim(pose) != 3 or np.shape(pose)[1:] != (NUM_JOINTS, 2):
            raise InputError(f"{name}: a pose is [T,{NUM_JOINTS},2], not {list(np.shape(pose))}.")
    count = max(len(range(0, len(pose), EVERY)) for pose in poses.values())
    # each skeleton is moved to its place by its hips' column, so that a walker who crosses the image stays in it
    known = {n: np.maximum(np.isfinite(p).sum(axis=1, keepdims=True), 1) for n, p in poses.items()}
    moved = {n: p - np.nansum(p, axis=1, keepdims=True) / known[n] * [1, 0] for n, p in poses.items()}
    tall = max(np.nanmax(p[..., 1]) - np.nanmin(p[..., 1]) for p in moved.values())
    wide = max(0.42 * tall, 2 * max(np.nanmax(np.abs(p[..., 0])) for p in moved.values()) * 0.94)
    ax = Figure(figsize=(8, max(1.3, 7 * tall * 1.15 * len(poses) / (wide * count)) + 1.1)).subplots()
    for r, (name, pose) in enumerate(moved.items()):
        color = (BLUE, ORANGE, GREEN, PURPLE)[r % 4]
        top = np.nanmin(pose[..., 1])
        down = r * tall * 1.15 - top
        skeletons = pose[::EVERY]
        points = skeletons + np.stack([np.arange(len(skeletons)) * wide, np.full(len(skeletons), down)], 1)[:, None]
        for bones, line in ((RIGHT_BONES, {"lw": 1.8}), (LEFT_BONES, {"ls": (0, (2, 1)), "lw": 1.2, "alpha": 0.75})):
            segments = points[:, bones].reshape(-1, 2, 2)
            ax.add_collection(LineCollection(segments, color=color, capstyle="round", **line), autolim=False)
        ax.scatter(*points[:, 0].T, s=max(9, min(40, 190 / count)), color=color, linewidths=0, zorder=3)
        label = textwrap.fill(name, 14)
        ax.text(-wide * 0.62, down + top + tall / 2, label, ha="right", va="center", color=color, weight="bold")
    ax.set(xlim=(-wide * 0.6, (count - 0.4) * wide), ylim=(tall * (1.15 * len(poses) - 0.1), -tall * 0.05), aspect="equal")
    ax.set_xticks(np.arange(count) * wide, np.arange(count) * EVERY)
    ax.set(yticks=[], xlabel="frame    (right limbs solid, left limbs dashed)")
    drawing.bare(ax)
    details = f"Rows of {count} skeletons each: {', '.join(poses)}; left limbs dashed."
    return drawing.stated(ax, title or f"The walk, one frame in {EVERY}", details)


@drawing.styled
def joint_errors(pose: np.ndarray, truth: np.ndarray) -> Figure:
    """Errors of joints in % of the true torso length, mean and by frame; pose, truth: float [T, 15, 2], one unit, y down."""
    pose, truth = np.asarray(pose, float), np.asarray(truth, float)
    torso = np.linalg.norm(truth[:, NECK] - truth[:, MID_HIP], axis=-1).mean()
    errors = 100 * np.linalg.norm(pose - truth, axis=-1) / torso
    mean = np.nanmean(errors, axis=0)
    label = "% of torso length; dark is good"
    fig = _joints_over_time(truth[len(truth) // 2], mean, errors, "mean error", label, drawing.DARK_IS_LOW)
    worst, best = (drawing.spoken(JOINTS[find(mean)]) for find in (np.nanargmax, np.nanargmin))
    text = f"The {worst} is farthest off, by {mean.max():.0f} % of torso length; the mean joint by {mean.mean():.0f} %"
    return drawing.stated(fig, text, f"A skeleton with its joints sized by error, and errors by joint and frame; best: {best}.")


@drawing.styled
def saliency(shares: np.ndarray, pose: np.ndarray) -> Figure:
    """Which joints say who; shares: float [T, 15], as `joint_saliency` gives; pose: float [15, 2], a skeleton to draw them on."""
    shares = 100 * np.asarray(shares, float)
    joints = shares.sum(0)
    fig = _joints_over_time(pose, joints, shares, "share", "share of a joint in a frame (%)", drawing.DARK_IS_GOOD)
    first = ", ".join(f"{drawing.spoken(JOINTS[j])} {joints[j]:.0f} %" for j in np.argsort(-joints)[:3])
    details = "Equal shares would be 7 %. A skeleton with its joints sized by their share, and shares over time."
    return drawing.stated(fig, f"Joints that identify the person most: {first}", details)


def _joints_over_time(pose: np.ndarray, joints: np.ndarray, each: np.ndarray, size: str, label: str, colors: Colormap) -> Figure:
    """A skeleton, float [15, 2], with joints as large as `joints`, [15], says; beside it `each`, [T, 15], in colors.

    size: what the size of a joint is. label: of the color bar.
    """
    fig = Figure(figsize=(8, 4.4))
    left, right = fig.subplots(1, 2, width_ratios=(2, 3))
    for bone in BONES:
        left.plot(*pose[list(bone)].T, color=PALE, lw=2, ls=(0, (2, 1)) if bone in LEFT_BONES else "-", zorder=1)
    sizes = 30 + 270 * np.nan_to_num(joints) / max(float(np.nanmax(joints)), 1e-9)
    left.scatter(*pose.T, s=sizes, color=BLUE, zorder=2, edgecolor=drawing.PAPER)
    left.margins(0.18, 0.1)
    left.invert_yaxis()
    left.set(xticks=[], yticks=[], xlabel=f"larger joint: larger {size}\nright solid, left dashed", aspect="equal")
    image = right.imshow(each.T, aspect="auto", cmap=colors, vmin=0)
    right.set_yticks(range(NUM_JOINTS), map(drawing.spoken, JOINTS), fontsize=8.5)
    right.set_xlabel("frame")
    drawing.color_bar(image, right, label)
    for ax in (left, right):
        drawing.bare(ax)
    return fig


@drawing.styled
def gait_cycles(walks: Mapping[str, np.ndarray]) -> Figure:
    """Knee and hip angles of several walks over the gait cycle, all cycles of a walk laid over each other.

    walks: name -> float [T, 15, 2], y down, no missing joints. A cycle begins where the right ankle is farthest from the left on
    its side; angles are those in the image, degrees, as `gaitlib.evaluation.gait.joint_angles` has them. Right limbs solid, left
    dashed, the mean thick. Walks without two such moments are named as left out.
    """
    fig = Figure(figsize=(8, 4.2))
    axes = fig.subplots(1, 2)
    at = np.linspace(0, 1, 101)
    lengths, left_out, lines = {}, [], []
    for k, (name, pose) in enumerate(walks.items()):
        starts = gait_starts(pose)
        if len(starts) < 2:
            left_out.append(name)
            continue
        lengths[name] = float(np.diff(starts).mean())
        color = (BLUE, GREEN, ORANGE, PURPLE)[k % 4]
        angles = joint_angles(pose.astype(float)).T
        for dashes, side in (("-", angles[0::2]), ("--", angles[1::2])):
            for ax, angle in zip(axes, side, strict=True):
                curves = [np.interp(a + at * (b - a), np.arange(len(pose)), angle) for a, b in pairwise(starts)]
                for curve in curves:
                    ax.plot(100 * at, curve, color=color, ls=dashes, lw=0.7, alpha=0.35)
                (line,) = ax.plot(100 * at, np.mean(curves, axis=0), color=color, ls=dashes, lw=2, label=name)
                if dashes == "-" and ax is axes[0]:
                    lines.append(line)
    for ax, what in zip(axes, ("knee", "hip"), strict=True):
        ax.set(xlabel="gait cycle (%)", ylabel=f"{what} angle in image (degrees)", xlim=(0, 100))
        ax.grid(axis="y")
    if lines:
        note = "right side solid, left dashed; thin: single cycles"
        fig.legend(handles=lines, loc="outside lower center", ncols=len(lines), title=note, title_fontsize=9)
    frames = ", ".join(f"{name} {length:.0f}" for name, length in lengths.items()) or "none"
    details = "Knee and hip angles over the cycle, right solid, left dashed."
    details += f" Without two beginnings of a cycle: {', '.join(left_out)}." if left_out else ""
    return drawing.stated(fig, f"Gait cycles in frames: {frames}", details)


@drawing.styled
def gait_spread(walks: Mapping[str, GaitParameters], group: pd.DataFrame) -> Figure:
    """The gait parameters of one walk, measured in one way or several, among those of a group.

    walks: how it was measured -> what was found. group: a row a walk, as `gait_table` gives; bands hold the middle half and the
    middle 90 % of it. What is NaN is left out; where no walk says anything, the panel says so.
    """
    fig = Figure(figsize=(8, 6.6))
    axes = fig.subplots(4, 2).T.ravel()
    outside, said = [], []
    for ax, (name, unit) in zip(axes, PARAMETERS.items(), strict=True):
        label, known = name.replace("_", " "), group[name].dropna()
        low, first, median, third, high = known.quantile([0.05, 0.25, 0.5, 0.75, 0.95])
        ax.axvspan(low, high, color=BLUE, alpha=0.1, lw=0)
        ax.axvspan(first, third, color=BLUE, alpha=0.2, lw=0)
        ax.axvline(median, color=BLUE, lw=1.5)
        ax.scatter(known, np.arange(len(known)) * 0.618 % 1, s=7, color=MUTED, alpha=0.5, linewidths=0)  # spread, without chance
        values = {how: getattr(found, name) for how, found in walks.items() if np.isfinite(getattr(found, name))}
        for k, how in enumerate(walks):
            if how in values:
                look = {"color": (ORANGE, GREEN, PURPLE)[k % 3], "marker": MARKERS[1:][k % 3]}
                ax.scatter(values[how], (k + 1) / (len(walks) + 1), s=90, edgecolor=drawing.PAPER, zorder=3, label=how, **look)
                said.append(f"{label} {values[how]:.3g} {unit} ({how})")
                if (values[how] < low or values[how] > high) and label not in outside:
                    outside.append(label)
        if not values:
            ax.text(0.98, 0.9, "not seen", transform=ax.transAxes, ha="right", va="top", color=MUTED)
        ax.set(yticks=[], ylim=(-0.15, 1.15), xlabel=f"{label} ({unit})")
        ax.spines["left"].set_visible(False)
    points = {point.get_label(): point for ax in axes for point in ax.collections if point.get_label() in walks}
    note = "bands: the middle half and 90 % of the group; line: its median"
    fig.legend(points.values(), points.keys(), loc="outside lower center", ncols=len(walks), title=note, title_fontsize=9)
    middle = f"the middle 90 % of {len(group):,} walks"
    text = f"Outside {middle}: {', '.join(outside)}" if outside else f"Everything measured lies within {middle}"
    return drawing.stated(fig, text, f"A strip for each gait parameter; {'; '.join(said)}.")


def gait_starts(pose: np.ndarray) -> np.ndarray:
    """Frames, int64 [n], at which the ankles are farthest apart, the right one on the same side; pose: float [T, 15, 2]."""
    from scipy.ndimage import gaussian_filter1d  # slow to import, and only needed here
    from scipy.signal import find_peaks

    apart = pose[:, RIGHT_ANKLE].astype(float) - pose[:, LEFT_ANKLE]
    apart = apart - apart.mean(0)
    direction = np.linalg.svd(apart, full_matrices=False)[2][0]  # in which it varies most
    signal = gaussian_filter1d(apart @ direction, 1.5)
    peaks, _ = find_peaks(signal, distance=12, prominence=0.5 * signal.std())
    return peaks


def animation(path: str | Path, walks: Mapping[str, np.ndarray], fps: float) -> Path:
    """Write skeletons that walk side by side in step as an animated SVG; returns the path.

    It plays as <img> on GitHub and from a file, on light and dark pages (it brings its own background, dark where the
    reader prefers dark), stands still for readers who prefer that, and loops where the first walk comes closest to its start.
    walks: what is written under each, at most three -> float [T, 15, 2], one scale, y down, no missing joints.
    Raises InputError for another suffix, other shapes or missing joints.
    """
    path, labels = Path(path), list(walks)
    poses = [np.asarray(walk, dtype=float) for walk in walks.values()]
    if path.suffix != ".svg":
        raise InputError(f"{path}: the animation is an .svg file.")
    if any(p.shape != poses[0].shape or p.shape[1:] != (NUM_JOINTS, 2) or not np.isfinite(p).all() for p in poses):
        raise InputError("The animation needs walks of one length [T,15,2] without missing joints.")
    start, end = _loop(poses[0])
    poses = [pose[start : end + 1] for pose in poses]
    low = min(pose[..., 1].min() for pose in poses)
    tall = max(pose[..., 1].max() for pose in poses) - low
    scale = min(196 / tall, 0.44 * ACROSS / max(np.abs(p[..., 0] - p[:, :1, 0].mean()).max() for p in poses))
    drawn = []
    for k, (label, pose) in enumerate(zip(labels, poses, strict=True)):
        middle = int(ACROSS * (k + 0.5))
        points = (pose - [pose[..., 0].mean(), low + tall]) * scale + [middle, GROUND]
        drawn.append({"label": label, "middle": middle, **_lines(points)})
    template = Template(Path(__file__).with_name("exchange.svg.j2").read_text("utf-8"), autoescape=True, trim_blocks=True)
    sizes = {"width": ACROSS * len(drawn), "height": HEIGHT, "ground": GROUND}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(template.render(walks=drawn, seconds=(end - start) / fps, **sizes) + "\n", encoding="utf-8")
    return path


def _loop(pose: np.ndarray) -> tuple[int, int]:
    """First and last frame of the stretch that ends most like it began; longer ones win a tie."""
    frames, best = len(pose), (np.inf, 0, len(pose) - 1)
    moves = np.abs(np.diff(pose, axis=0)).mean()
    for start in range(min(frames - SHORTEST_LOOP, SHORTEST_LOOP)):
        for end in range(start + SHORTEST_LOOP, frames):
            jump = np.abs(pose[end] - pose[start]).mean() + moves * (frames - (end - start)) / frames
            best = min(best, (jump, start, end))
    return best[1:]


def _lines(points: np.ndarray) -> dict:
    """What the template draws of a walk, float [T, 15, 2] in pixels: each chain a frame as a path, and the head's circle."""
    lines = {}
    for name, chains in CHAINS.items():
        texts = ([[f"{x:.1f} {y:.1f}" for x, y in skeleton[list(chain)]] for chain in chains] for skeleton in points)
        lines[name] = ["".join("M" + "L".join(line) for line in skeleton) for skeleton in texts]
    x, y = ([f"{v:.1f}" for v in points[:, 0, i]] for i in (0, 1))
    radius = 0.36 * np.linalg.norm(points[:, 0] - points[:, 1], axis=-1).mean()
    return {"lines": lines, "x": x, "y": y, "radius": f"{radius:.1f}"}
