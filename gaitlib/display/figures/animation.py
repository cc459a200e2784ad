"""The moving picture of an exchange: skeletons that walk side by side, as an SVG file."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jinja2 import Template

from gaitlib import InputError
from gaitlib.skeleton import LEFT_JOINTS, NUM_JOINTS, RIGHT_JOINTS

#: Width of a walk, height of the picture, and where the ground is, pixels.
ACROSS, HEIGHT, GROUND = 240, 306, 246
#: Frames that a loop has at least, and the first so many frames are tried as its start.
SHORTEST_LOOP = 20
#: What is drawn as one line: left limbs (paler, dashed), trunk, right limbs.
CHAINS = {
    "l": ((1, *LEFT_JOINTS[:3]), (8, *LEFT_JOINTS[3:])),
    "m": ((0, 1, 8),),
    "r": ((1, *RIGHT_JOINTS[:3]), (8, *RIGHT_JOINTS[3:])),
}


def exchange_animation(
    path: str | Path, original: np.ndarray, exchange: np.ndarray, truth: np.ndarray, fps: float, labels: Sequence[str]
) -> Path:
    """Write skeletons that walk side by side as an animated SVG: original, its view exchanged, and the truth; returns the path.

    It plays as <img> on GitHub and from a file, on light and dark pages (it brings its own background, dark where the
    reader prefers dark), stands still for readers who prefer that, and loops where the walk comes closest to its start.
    original, exchange, truth: float [T, 15, 2], one scale, y down, no missing joints. labels: a line under each.
    Raises InputError for another suffix, other shapes or missing joints.
    """
    path = Path(path)
    walks = [np.asarray(walk, dtype=float) for walk in (original, exchange, truth)]
    if path.suffix != ".svg":
        raise InputError(f"{path}: the animation is an .svg file.")
    if any(w.shape != walks[0].shape or w.shape[1:] != (NUM_JOINTS, 2) or not np.isfinite(w).all() for w in walks):
        raise InputError("The animation needs walks of one length [T,15,2] without missing joints.")
    start, end = _loop(walks[0])
    walks = [walk[start : end + 1] for walk in walks]
    low = min(walk[..., 1].min() for walk in walks)
    tall = max(walk[..., 1].max() for walk in walks) - low
    scale = min(196 / tall, 0.44 * ACROSS / max(np.abs(w[..., 0] - w[:, :1, 0].mean()).max() for w in walks))
    drawn = []
    for k, (walk, label) in enumerate(zip(walks, labels, strict=True)):
        middle = int(ACROSS * (k + 0.5))
        points = (walk - [walk[..., 0].mean(), low + tall]) * scale + [middle, GROUND]
        drawn.append({"label": label, "middle": middle, **_lines(points)})
    template = Template(Path(__file__).with_name("exchange.svg.j2").read_text("utf-8"), autoescape=True, trim_blocks=True)
    sizes = {"width": ACROSS * len(walks), "height": HEIGHT, "ground": GROUND}
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
