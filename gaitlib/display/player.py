"""Walking skeletons that play: a widget in JupyterLab, and the same drawing as an HTML fragment that needs no kernel.

Both use player.js with the files beside it, put together as one ES module, and neither fetches anything. `Explorer` is what the
explorers of notebook 04 share: walks with their names and codes.
"""

import base64
import hashlib
import html
import json
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import pandas as pd
import torch
import traitlets

from gaitlib import InputError
from gaitlib.data.views import degrees
from gaitlib.skeleton import BONES, LEFT_JOINTS, NUM_JOINTS, RIGHT_JOINTS

_PARTS = (
    "decoder.js", "gait.js", "picker.js", "saving.js", "player.js", "details.js", "exchange.js", "controls.js", "modes.js",
    "explorer.js", "identify.js",
)  # fmt: skip
MODULE = "\n".join(Path(__file__).with_name(name).read_text(encoding="utf-8") for name in _PARTS)
#: The same for pages, with mount(), which works without a widget.
PAGE_MODULE = f"{MODULE}\n{Path(__file__).with_name('mount.js').read_text(encoding='utf-8')}"
#: Draws into each element named FRAGMENT once.
_MOUNT = """
for (const el of document.querySelectorAll('[id="FRAGMENT"]:not([data-mounted])')) {
  el.dataset.mounted = "true";
  mount(el, JSON.parse(el.querySelector("script").textContent));
}
"""
_MISSING, _LARGEST = -32768, 32767
CODES = ("view", "body", "motion")


def packed(values: np.ndarray) -> dict[str, Any]:
    """Floats of any shape and unit, NaN = missing, as base64 of little-endian int16: a sixth of the size of plain numbers.

    Returns {"data": the text, "scale": the unit of one step}; value = integer x scale, -32768 = missing. The largest absolute
    value takes the largest integer, and the error is at most half a step.
    """
    known = np.isfinite(values)
    values = np.where(known, np.asarray(values, dtype=np.float64), 0)
    scale = float(np.abs(values).max(initial=0)) / _LARGEST or 1.0
    steps = np.where(known, np.rint(values / scale), _MISSING)
    return {"data": base64.b64encode(steps.astype("<i2").tobytes()).decode("ascii"), "scale": scale}


def panel(
    title: str, pose: np.ndarray, fps: float = 25.0, subtitle: str = "", *, truth: np.ndarray | None = None, **shown: Any
) -> dict[str, Any]:
    """One skeleton for the player, below a title and a subtitle in plain text.

    pose: float [T, 15, 2], any unit, x right and y down, NaN = missing. fps: frames a second.
    truth: float [T, 15, 2] in the same unit, drawn over it as a dotted skeleton.
    shown: what player.js shows with it:
        color: 0 blue, 1 orange, 2 green, 3 purple; by default the place among the panels.
        over: whether it is drawn over the panel before it, in one card.
        mark: "right" or "wrong", whether this is the person who was looked for.
        distances: name -> distance in units of the usual one, as short bars.
    Raises InputError for another shape, and for a frame rate that is not positive.
    """
    if not fps > 0:
        raise InputError(f"{title}: a frame rate must be positive, not {fps}.")

    def layer(pose):
        pose = np.asarray(pose)
        if pose.ndim != 3 or pose.shape[1:] != (NUM_JOINTS, 2) or not len(pose):
            raise InputError(f"{title}: a pose to play is [T,{NUM_JOINTS},2], not {list(pose.shape)}.")
        is_whole = np.isfinite(pose).all(axis=-1, keepdims=True)  # a joint of which one coordinate is missing is missing
        numbers = packed(np.where(is_whole, pose, np.nan))
        return {"pose": numbers["data"], "scale": numbers["scale"], "frames": len(pose)}

    entry = {"title": str(title), "subtitle": str(subtitle), "fps": float(fps), **layer(pose), **shown}
    return entry if truth is None else entry | {"truth": layer(truth)}


def around(poses: np.ndarray) -> list[float]:
    """[left, right, top, bottom] around walks, float [N, T, 15, 2], without the most extreme frames; the feet are at height 0.

    Leaves some room, since decoded walks reach further.
    """
    ground = np.quantile(poses[..., 1].max(axis=2), 0.95, axis=1)  # [N], as player.js finds it
    poses = poses - np.stack([np.zeros_like(ground), ground], axis=1)[:, None, None]
    low, high = np.quantile(poses.min(axis=2), 0.01, axis=(0, 1)), np.quantile(poses.max(axis=2), 0.99, axis=(0, 1))
    room = 0.04 * (high - low)
    return [float(v) for v in (low[0] - room[0], high[0] + room[0], low[1] - room[1], high[1] + room[1])]


class PageForm:
    """A widget that JupyterLab shows live, and as its `to_html()` where there is no kernel: in a report, a saved notebook."""

    def _repr_mimebundle_(self, **kwargs):
        bundle = super()._repr_mimebundle_(**kwargs)
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        return {**data, "text/html": self.to_html()}, metadata


class Skeletons(PageForm, anywidget.AnyWidget):
    """The base class of all widgets of player.js; `kind` says which one it is, and screen readers read `label`."""

    _esm = MODULE

    kind = traitlets.Unicode("").tag(sync=True)
    label = traitlets.Unicode("").tag(sync=True)
    playing = traitlets.Bool(True).tag(sync=True)
    bones = traitlets.List([list(bone) for bone in BONES]).tag(sync=True)
    left = traitlets.List(list(LEFT_JOINTS)).tag(sync=True)
    right = traitlets.List(list(RIGHT_JOINTS)).tag(sync=True)

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """The traits that player.js reads, with their defaults."""
        own = set(cls.class_trait_names(sync=True)) - set(anywidget.AnyWidget.class_trait_names())
        return {name: trait.default() for name, trait in sorted(cls.class_traits().items()) if name in own}

    def page(self) -> dict[str, Any]:
        """The state that the page form draws: the traits, and more in subclasses."""
        return {name: getattr(self, name) for name in self.defaults()}

    def to_html(self) -> str:
        """The widget as it stands, as an HTML fragment; needs neither kernel nor network."""
        return page_html(self.page())


class SkeletonPlayer(Skeletons):
    """Plays one or several skeletons; panels: from `panel(...)`. Traits are synced both ways."""

    kind = traitlets.Unicode("player").tag(sync=True)
    label = traitlets.Unicode("Skeleton player").tag(sync=True)
    panels = traitlets.List(traitlets.Dict(), help="from panel(...)").tag(sync=True)
    arrangement = traitlets.Enum(["side by side", "overlay"], "side by side").tag(sync=True)
    same_scale = traitlets.Bool(True, help="draw all panels at one scale, or each at its own").tag(sync=True)
    box = traitlets.Any(None, help="[left, right, top, bottom] to show, unit of the poses, or None").tag(sync=True)
    frame = traitlets.Int(0, help="of the panel that lasts longest").tag(sync=True)
    speed = traitlets.Float(1.0).tag(sync=True)
    loop = traitlets.Bool(True).tag(sync=True)
    onion = traitlets.Bool(False, help="show where each walker was shortly before").tag(sync=True)
    trails = traitlets.Bool(False, help="show the paths of wrists and ankles").tag(sync=True)

    def __init__(self, *panels: dict[str, Any], **traits: Any):
        super().__init__(panels=list(panels), **traits)


def player_html(*panels: dict[str, Any], **options: Any) -> str:
    """A player as an HTML fragment; options: traits of SkeletonPlayer, InputError for others."""
    defaults = SkeletonPlayer.defaults()
    if unknown := set(options) - set(defaults):
        raise InputError(f"The player has no option {sorted(unknown)[0]!r}; it has {', '.join(defaults)}.")
    return page_html({**defaults, **options, "panels": list(panels)})


def page_html(state: dict[str, Any]) -> str:
    """A div and an inline module in which `mount` draws a state; all text is escaped."""
    # "<" is escaped so that no text can end the script element or open a comment
    payload = json.dumps(state, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    name = "gait-" + hashlib.sha256(payload.encode()).hexdigest()[:12]
    return (
        f'<div class="gait-fragment" id="{name}" role="figure" aria-label="{html.escape(str(state["label"]))}">\n'
        f'<script type="application/json">{payload}</script>\n'
        "<noscript>The walking skeletons need JavaScript.</noscript>\n</div>\n"
        f'<script type="module">\n{PAGE_MODULE}{_MOUNT.replace("FRAGMENT", name)}</script>\n'
    )


class Explorer(Skeletons):
    """Walks to choose from; the base class of the explorers.

    autoencoder: as gaitlib.model.autoencoder.Autoencoder: encode([B,30,T]) -> Codes; set to eval() here.
    windows: float [N, T, 15, 2], normalized (neck at the origin, torso length 1), no missing joints.
    table: N rows with the columns subject, condition, run, view. fps: frames a second.
    Raises InputError where the sizes do not fit or a joint is missing.
    """

    choice = traitlets.Any(None, help="what is chosen").tag(sync=True)

    def __init__(self, autoencoder: torch.nn.Module, windows: np.ndarray, table: pd.DataFrame, fps: float, **traits: Any):
        windows = np.asarray(windows, dtype=np.float32)
        if windows.ndim != 4 or windows.shape[2:] != (NUM_JOINTS, 2) or not len(windows):
            raise InputError(f"The explorer needs windows [N,T,{NUM_JOINTS},2], not {list(windows.shape)}.")
        if not np.isfinite(windows).all():
            n, t, j = np.argwhere(~np.isfinite(windows).all(axis=-1))[0]
            raise InputError(f"Window {n} has no joint {j} in frame {t}; fill missing joints before the explorer.")
        if len(table) != len(windows):
            raise InputError(f"There are {len(windows)} windows and the table has {len(table)} rows; give one row a window.")
        self._autoencoder, self._windows, self._fps = autoencoder.eval(), windows, float(fps)
        self._names, self._keys = walk_names(table), walk_keys(table)
        super().__init__(**traits)


#: The conditions of CASIA-B in words.
CONDITIONS = {"nm": "normal walk", "bg": "walk with a bag", "cl": "walk in a coat"}


def person_name(subject: str) -> str:
    """A subject without leading zeros: "041" -> "41"."""
    return subject.lstrip("0") or subject


def walk_names(walks: pd.DataFrame) -> list[str]:
    """A name for each walk, "Person 41, normal walk 1, camera at 54°"; columns subject, condition, run, view."""
    return _numbered([
        f"Person {person_name(walk.subject)}, {CONDITIONS.get(walk.condition, walk.condition)} {int(walk.run)}, "
        + (f"view {walk.view}" if (angle := degrees(walk.view)) is None else f"camera at {angle:g}°")
        for walk in walks.itertuples()
    ])  # fmt: skip


def walk_keys(walks: pd.DataFrame) -> list[str]:
    """A short name for each walk, as CASIA-B names its files: "041-nm-01-054"."""
    return _numbered([f"{walk.subject}-{walk.condition}-{int(walk.run):02d}-{walk.view}" for walk in walks.itertuples()])


def _numbered(names: list[str]) -> list[str]:
    """The names, with a number where one occurs again."""
    before = pd.Series(names).groupby(names).cumcount()
    return [name if not count else f"{name} ({count + 1})" for name, count in zip(names, before, strict=True)]


def evenly(n: int, most: int) -> list[int]:
    """At most `most` of 0..n-1, evenly spread."""
    return sorted({round(i) for i in np.linspace(0, n - 1, min(n, most))})


def encode(autoencoder: torch.nn.Module, windows: np.ndarray) -> dict[str, torch.Tensor]:
    """The codes of windows, float32 [N, T, 15, 2]: view [N, C], body [N, C], motion [N, C, T]."""
    x = torch.from_numpy(windows).flatten(2).transpose(1, 2)  # [N, 30, T]
    device = next((p.device for p in autoencoder.parameters()), torch.device("cpu"))
    with torch.no_grad():
        parts = [autoencoder.encode(batch.contiguous().to(device)) for batch in x.split(256)]
    return {name: torch.cat([getattr(part, name) for part in parts]) for name in CODES}
