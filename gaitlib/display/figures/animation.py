"""The moving picture of an exchange: skeletons that walk side by side, as an SVG file."""

from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np

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
STYLE = """
.card{fill:#fff;stroke:#dde1e6}.floor{fill:#1d2329;opacity:.09}
text{font:600 16px system-ui,-apple-system,"Segoe UI",Roboto,Helvetica,Arial,sans-serif;text-anchor:middle;fill:#59636f}
path{fill:none;stroke-linecap:round;stroke-linejoin:round;stroke-width:7}
.l{opacity:.5}.w0{color:#0072b2}.w1{color:#00875f}.w2{color:#59636f}path{stroke:currentColor}circle{fill:currentColor}
.still{display:none}
@media (prefers-color-scheme:dark){.card{fill:#1a1e23;stroke:#373d45}text{fill:#a5aeb8}.floor{fill:#fff}
.w0{color:#56b4e9}.w1{color:#3ccf9f}.w2{color:#a5aeb8}}
@media (prefers-reduced-motion:reduce){.moves{display:none}.still{display:inline}}
"""


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
    groups = []
    for k, (walk, label) in enumerate(zip(walks, labels, strict=True)):
        middle = ACROSS * (k + 0.5)
        points = (walk - [walk[..., 0].mean(), low + tall]) * scale + [middle, GROUND]
        groups.append(
            f'<g class="w{k}">{_walking(points, (end - start) / fps)}</g>'
            f'<ellipse class="floor" cx="{middle:g}" cy="{GROUND + 10}" rx="58" ry="4"/>'
            f'<text x="{middle:g}" y="284">{escape(label)}</text>'
        )
    width, title = ACROSS * len(walks), escape("Walking skeletons side by side: " + ", ".join(labels))
    size = f'viewBox="0 0 {width} {HEIGHT}" width="{width}" height="{HEIGHT}"'
    card = f'<rect class="card" x=".5" y=".5" width="{width - 1}" height="{HEIGHT - 1}" rx="16"/>'
    start = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img"><title>{title}</title><style>{STYLE}</style>'
    path.write_text(f"{start}{card}{''.join(groups)}</svg>\n", encoding="utf-8")
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


def _walking(points: np.ndarray, seconds: float) -> str:
    """The SVG elements of one walk, points float [T, 15, 2] in pixels: in motion, and its first frame standing still."""

    def animate(attribute, values):
        """The element that leads an attribute through values again and again."""
        timing = f'dur="{seconds:.3g}s" repeatCount="indefinite"'
        return f'<animate attributeName="{attribute}" {timing} values="{";".join(values)}"/>'

    radius = 0.36 * np.linalg.norm(points[:, 0] - points[:, 1], axis=-1).mean()
    moving, still = [], []
    for name, chains in CHAINS.items():
        lines = ([[f"{x:.1f} {y:.1f}" for x, y in skeleton[list(chain)]] for chain in chains] for skeleton in points)
        frames = ["".join("M" + "L".join(line) for line in skeleton) for skeleton in lines]
        dash = ' stroke-dasharray="5 9"' if name == "l" else ""
        path = f'<path class="{name}"{dash} d="{frames[0]}"'
        moving.append(f"{path}>{animate('d', frames)}</path>")
        still.append(f"{path}/>")
    x, y = ([f"{v:.1f}" for v in points[:, 0, i]] for i in (0, 1))
    head = f'<circle r="{radius:.1f}" cx="{x[0]}" cy="{y[0]}"'
    moving.append(f"{head}>{animate('cx', x)}{animate('cy', y)}</circle>")
    still.append(f"{head}/>")
    return f'<g class="moves">{"".join(moving)}</g><g class="still">{"".join(still)}</g>'
