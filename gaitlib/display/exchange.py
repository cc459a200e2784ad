"""Take the view, the body or the motion of one walk from another walk, all or a share, and see what the decoder makes of it."""

from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from itertools import product

import ipywidgets as widgets
import numpy as np
import pandas as pd
import torch

from gaitlib import InputError
from gaitlib.display.player import SkeletonPlayer, WalkPicker, around, panel, player_html, quantize, with_html
from gaitlib.evaluation.exchange import torso_error
from gaitlib.model.autoencoder import CODE
from gaitlib.skeleton import NUM_JOINTS

#: So many walks are embedded in a page at most. One takes 27 kB, the decoder 1.8 MB.
STATIC_WALKS = 24
CODES = ("view", "body", "motion")

Truth = Callable[[int, int], np.ndarray | None]


def walk_labels(walks: pd.DataFrame) -> list[str]:
    """A line for each walk from its subject, condition, run and view columns: "001 · nm-01 · 54°"."""

    def view(text):
        try:
            return f"{float(text):g}°"
        except ValueError:
            return str(text)

    return [f"{w.subject} · {w.condition}-{int(w.run):02d} · {view(w.view)}" for w in walks.itertuples()]


class ExchangeExplorer(widgets.VBox):
    """Choose two walks and take view, body or motion from the second, all or a share; four skeletons show what comes of it.

    In JupyterLab this is a live widget and the decoder runs in the kernel. Where there is no kernel (a report, an
    exported notebook), a page form is shown instead: a few walks with their codes, and the decoder, which runs in the page.

    autoencoder: as gaitlib.model.autoencoder.Autoencoder: encode([B,30,T]) -> Codes, decode(motion, body, view) -> [B,30,T],
        and for the page form `decoder` and `scrambled`; set to eval() here.
    windows: float32 [N, T, 15, 2], normalized (neck at the origin, torso length 1), no missing joints.
    labels: N texts, or a table of N rows with the columns subject, condition, run, view.
    fps: frames a second.
    truth: what walk a looks like from the view of walk b, where that is known: a callable (a, b) -> float32 [T, 15, 2]
        or None; or an array [N, N, T, 15, 2] (NaN = unknown); or "recording" where `labels` has a column of that name:
        windows that share it are synchronous views of one performance.
    static: the walks of the page form, as indices, at most 24; by default up to six of two people.
    Raises InputError where the sizes do not fit or a joint is missing.
    """

    def __init__(
        self,
        autoencoder: torch.nn.Module,
        windows: np.ndarray,
        labels: Sequence[str] | pd.DataFrame,
        fps: float = 25.0,
        truth: Truth | np.ndarray | str | None = None,
        *,
        static: Sequence[int] | None = None,
    ):
        windows = np.asarray(windows, dtype=np.float32)
        if windows.ndim != 4 or windows.shape[2:] != (NUM_JOINTS, 2) or not len(windows):
            raise InputError(f"The explorer needs windows [N,T,{NUM_JOINTS},2], not {list(windows.shape)}.")
        if not np.isfinite(windows).all():
            n, t, j = np.argwhere(~np.isfinite(windows).all(axis=-1))[0]
            raise InputError(f"Window {n} has no joint {j} in frame {t}; fill missing joints before the explorer.")
        if len(labels) != len(windows):
            raise InputError(f"There are {len(windows)} windows and {len(labels)} labels; give one label a window.")
        self._table = labels if isinstance(labels, pd.DataFrame) else None
        self._labels = _distinct(walk_labels(labels) if self._table is not None else [str(x) for x in labels])
        self._autoencoder, self._windows, self._fps = autoencoder.eval(), windows, float(fps)
        self._truth = self._as_truth(truth)
        self._static = list(static) if static is not None else self._typical()
        if not self._static or len(self._static) > STATIC_WALKS:
            raise InputError(f"The page form takes 1 to {STATIC_WALKS} walks, not {len(self._static)}.")
        self._static_html = None
        super().__init__(self._controls())

    # ---------------------------------------------------------------------------------------------------- the exchange

    def exchange(self, a: int, b: int, view: float = 0, body: float = 0, motion: float = 0) -> np.ndarray:
        """Decode walk a with a share (0 to 1) of each code taken from walk b: (1 - share) of a's plus share of b's.

        Returns float32 [T, 15, 2]; with nothing taken it is the reconstruction of a, with all three that of b.
        """
        return self._decode(a, b, {"view": view, "body": body, "motion": motion})

    def truth(self, a: int, b: int) -> np.ndarray | None:
        """What walk a looks like from the view of walk b, float32 [T, 15, 2], or None where it is not known."""
        return self._truth(a, b) if a != b else self._windows[a]

    @lru_cache(64)  # noqa: B019, the walks that were looked at last; those of 10,000 would take 330 MB
    def _codes(self, walk: int) -> dict[str, torch.Tensor]:
        return {name: code[0] for name, code in encoded(self._autoencoder, self._windows[walk : walk + 1]).items()}

    def _decode(self, a: int, b: int, shares: dict[str, float]) -> np.ndarray:
        """The walk with shares of its codes exchanged: float32 [T, 15, 2]."""
        first, second = self._codes(a), self._codes(b)
        mixed = {name: torch.lerp(first[name], second[name], float(shares[name]))[None] for name in CODES}
        with torch.no_grad():
            x = self._autoencoder.decode(mixed["motion"], mixed["body"], mixed["view"])
        return x[0].T.reshape(-1, NUM_JOINTS, 2).float().cpu().numpy()

    @cached_property
    def _spread(self) -> dict[str, np.ndarray]:
        """The standard deviation of each channel over at most 256 of the walks (and frames): float32 [128] each, never 0."""
        codes = encoded(self._autoencoder, self._windows[some(len(self._windows), 256)])
        spread = {name: code.transpose(0, 1).flatten(1).std(1, correction=0) for name, code in codes.items()}
        return {name: s.clamp(min=1e-6).cpu().numpy() for name, s in spread.items()}

    def changes(self, a: int, b: int, view: float = 0, body: float = 0, motion: float = 0) -> dict[str, np.ndarray]:
        """How far each of the 128 channels of each code moves, in units of its spread over the walks: float32 [128] each.

        View and body signed; motion as the mean distance over time.
        """
        found = {}
        for name, share in zip(CODES, (view, body, motion), strict=True):
            change = (self._codes(b)[name] - self._codes(a)[name]).cpu().numpy()
            found[name] = share * (np.abs(change).mean(1) if name == "motion" else change) / self._spread[name]
        return found

    def _as_truth(self, truth) -> Truth:
        if truth is None:
            return lambda a, b: None
        if callable(truth):
            return truth
        if isinstance(truth, str):
            if self._table is None or truth not in self._table:
                raise InputError(f"truth={truth!r} names a column of the labels, and they have no such column.")
            group = self._table[truth].to_numpy()
            return lambda a, b: self._windows[b] if group[a] == group[b] else None
        known = np.asarray(truth, dtype=np.float32)
        n = len(self._windows)
        if known.shape != (n, n, *self._windows.shape[1:]):
            raise InputError(f"An array of truth is [{n},{n},T,{NUM_JOINTS},2], not {list(known.shape)}.")
        return lambda a, b: known[a, b] if np.isfinite(known[a, b]).any() else None

    # ------------------------------------------------------------------------------------------------- in JupyterLab

    def _controls(self) -> list[widgets.Widget]:
        second = next((i for i in self._static if i != self._static[0]), self._static[0])
        self.walk_a, self.walk_b = (
            WalkPicker(options=self._labels, value=i, label=f"Walk {letter}", color=color, layout={"width": "320px"})
            for i, letter, color in ((self._static[0], "A", 0), (second, "B", 1))
        )
        surprise = widgets.Button(description="Surprise me", tooltip="two walks and shares by chance", layout={"width": "110px"})
        surprise.on_click(lambda _: self.surprise())
        self.take, self.share = {}, {}
        for name in CODES:
            start = float(name == "view")
            self.take[name] = widgets.ToggleButton(
                value=bool(start), description=name, tooltip=f"swap the {name} code", layout={"width": "84px"}
            )
            self.share[name] = widgets.FloatSlider(
                start, min=0, max=1, step=0.01, description=f"{name} share", readout_format=".2f", layout={"width": "280px"},
                style={"description_width": "90px"},
            )  # fmt: skip
        self.player = SkeletonPlayer(label="Exchange explorer", box=around(self._windows))
        self.frame = widgets.IntSlider(max=self._windows.shape[1] - 1, description="Frame", style={"description_width": "50px"})
        self.frame.layout.width = "100%"
        widgets.jslink((self.player, "frame"), (self.frame, "value"))
        self._quiet = False
        for name in CODES:
            self.take[name].observe(lambda change, name=name: self._on_take(name, change["new"]), names="value")
            self.share[name].observe(lambda change, name=name: self._on_share(name, change["new"]), names="value")
        for picker in (self.walk_a, self.walk_b):
            picker.observe(self._update, names="value")
        self._update()
        wrap = {"flex_flow": "row wrap", "align_items": "flex-end", "grid_gap": "6px 16px", "overflow": "visible"}
        pairs = [widgets.HBox([self.take[name], self.share[name]]) for name in CODES]
        self.layout.overflow = "visible"
        return [
            widgets.HBox([self.walk_a, self.walk_b, surprise], layout=wrap),
            widgets.HBox([widgets.Label("Take from B"), *pairs], layout={**wrap, "align_items": "center"}),
            self.player,
            self.frame,
        ]

    def _on_take(self, name: str, on: bool):
        if on != (self.share[name].value == 1):
            self.share[name].value = float(on)

    def _on_share(self, name: str, share: float):
        self.take[name].value = share == 1
        self._update()

    def show(self, a: int | str, b: int | str, view: float = 0, body: float = 0, motion: float = 0) -> None:
        """Set all controls: two walks, by place or label, and the share of each code that A takes from B, 0 to 1.

        Raises InputError for a walk that is not there and a share outside 0..1.
        """
        places = []
        for walk in (a, b):
            place = self._labels.index(walk) if walk in self._labels else walk
            if not (isinstance(place, int | np.integer) and 0 <= place < len(self._labels)):
                raise InputError(f"There is no walk {walk!r}; the explorer has {len(self._labels)}, such as {self._labels[0]!r}.")
            places.append(int(place))
        shares = dict(zip(CODES, (view, body, motion), strict=True))
        for name, share in shares.items():
            if not 0 <= share <= 1:
                raise InputError(f"The share of the {name} code is between 0 and 1, not {share}.")
        self._quiet = True
        self.walk_a.value, self.walk_b.value = places
        for name, share in shares.items():
            self.share[name].value = float(share)
        self._quiet = False
        self._update()

    def surprise(self) -> None:
        """Two walks by chance and shares in quarters, one code swapped as a whole."""
        chance = np.random.default_rng()
        a, b = chance.choice(len(self._labels), 2, replace=len(self._labels) < 2)
        shares = {name: chance.integers(5) / 4 for name in CODES} | {CODES[chance.integers(3)]: 1.0}
        self.show(int(a), int(b), **shares)

    def _update(self, _change=None):
        if self._quiet:
            return
        a, b = self.walk_a.value, self.walk_b.value
        shares = {name: self.share[name].value for name in CODES}
        self.player.code = f"explorer.show({self._labels[a]!r}, {self._labels[b]!r}, " + ", ".join(
            f"{name}={share:g}" for name, share in shares.items()) + ")"  # fmt: skip
        self.player.panels = self.panels(a, b, **shares)

    def panels(self, a: int, b: int, view: float = 0, body: float = 0, motion: float = 0) -> list[dict]:
        """The four panels for the player: A, B, A reconstructed, and the exchange, over the truth where it is known."""
        shares = {"view": float(view), "body": float(body), "motion": float(motion)}
        exchanged = self.exchange(a, b, **shares)
        truth = self.truth(a, b) if tuple(shares.values()) == (1, 0, 0) else None
        return [
            *self._steady_panels(a, b),
            panel(
                "Exchange",
                exchanged,
                self._fps,
                "" if truth is None else f"{torso_error(exchanged, truth):.1f} % of torso length from the truth",
                color=2,
                truth=truth,
                codes=shares,
                changes={name: np.round(c, 3).tolist() for name, c in self.changes(a, b, **shares).items()},
            ),
        ]

    @lru_cache(8)  # noqa: B019, sliders ask for them again and again
    def _steady_panels(self, a: int, b: int) -> tuple[dict, ...]:
        """The panels that no slider changes: A, B, and A reconstructed."""
        reconstruction = self.exchange(a, a)
        off = f"{torso_error(reconstruction, self._windows[a]):.1f} % of torso length from A"
        return (
            panel("A, original", self._windows[a], self._fps, self._labels[a], color=0),
            panel("B, original", self._windows[b], self._fps, self._labels[b], color=1),
            panel("A, reconstructed", reconstruction, self._fps, off, color=0),
        )

    # -------------------------------------------------------------------------------------------------- without kernel

    def _typical(self) -> list[int]:
        """Up to six walks for the page: where a table tells, two people, each from three views of one recording."""
        n = len(self._windows)
        if self._table is None or not {"subject", "condition", "run", "view"} <= set(self._table):
            return some(n, 6)
        table = self._table.reset_index(drop=True)
        chosen = []
        for _, walks in list(table.groupby("subject", sort=False))[:2]:
            runs = walks.groupby(["condition", "run"], sort=False)
            _, run = max(runs, key=lambda item: item[1]["view"].nunique())
            places = run.drop_duplicates("view").index
            chosen += [int(places[round(i)]) for i in np.linspace(0, len(places) - 1, min(len(places), 3))]
        return chosen

    def to_html(self) -> str:
        """The explorer as an HTML fragment with the walks of `static`; needs neither kernel nor network.

        It holds the walks, their codes and the decoder as 16-bit numbers; the page decodes what is asked for.
        """
        if self._static_html is None:
            chosen = self._static
            poses, truth = list(self._windows[chosen]), {}
            for a, b in product(range(len(chosen)), repeat=2):
                known = self.truth(chosen[a], chosen[b])
                if known is None:
                    continue
                same = next((i for i, pose in enumerate(poses) if np.array_equal(known, pose)), len(poses))
                if same == len(poses):
                    poses.append(known)
                truth[f"{a}.{b}"] = same
            exchange = {
                "walks": [self._labels[i] for i in chosen],
                "frames": self._windows.shape[1],
                "fps": self._fps,
                "box": around(self._windows),
                "poses": packed(np.stack(poses)),
                **{name: packed(code.cpu().numpy()) for name, code in encoded(self._autoencoder, self._windows[chosen]).items()},
                "spread": {name: spread.tolist() for name, spread in self._spread.items()},
                "decoder": decoder_weights(self._autoencoder),
                "truth": truth,
            }
            choice = {"a": 0, "b": min(1, len(chosen) - 1), "view": 1, "body": 0, "motion": 0}
            self._static_html = player_html(label="Exchange explorer", exchange=exchange, choice=choice)
        return self._static_html

    def _repr_mimebundle_(self, **kwargs):
        return with_html(super()._repr_mimebundle_(**kwargs), self.to_html())


def some(n: int, most: int) -> list[int]:
    """At most `most` of 0..n-1, evenly spread."""
    return sorted({round(i) for i in np.linspace(0, n - 1, min(n, most))})


def encoded(autoencoder: torch.nn.Module, windows: np.ndarray) -> dict[str, torch.Tensor]:
    """The codes of windows, float32 [N, T, 15, 2]: view [N, 128], body [N, 128], motion [N, 128, T]."""
    x = torch.from_numpy(windows).flatten(2).transpose(1, 2)  # [N, 30, T]
    device = next((p.device for p in autoencoder.parameters()), torch.device("cpu"))
    with torch.no_grad():
        parts = [autoencoder.encode(batch.contiguous().to(device)) for batch in x.split(256)]
    return {name: torch.cat([getattr(part, name) for part in parts]) for name in CODES}


def packed(values: np.ndarray) -> dict:
    """An array for the page: {"data": base64 of int16, "scale": ...}."""
    data, scale = quantize(values)
    return {"data": data, "scale": scale}


def decoder_weights(autoencoder: torch.nn.Module) -> dict:
    """The decoder for decoder.js: its three convolutions without what `Decoder.forward` leaves out, 550,000 numbers.

    Of the first layer body and view, which do not change over time, need only the sum over the taps; of the last layer the
    third coordinate is dropped. A gated decoder has its linear layers beside them, 106,000 numbers.
    """
    decoder = autoencoder.decoder
    first, second, third = (layer for layer in decoder.model if isinstance(layer, torch.nn.Conv1d))
    moving, still = first.weight.split([CODE, 2 * CODE], 1)
    flat = torch.arange(3 * NUM_JOINTS).view(NUM_JOINTS, 3)[:, :2].flatten()
    layers = [(moving, first.bias), (second.weight, second.bias), (third.weight[flat], third.bias[flat])]

    def numbers(tensor):
        return tensor.detach().float().cpu().numpy()

    def layer(weight, bias):
        return {"weight": packed(numbers(weight)), "bias": numbers(bias).tolist()}

    gated = [decoder.gate, decoder.stance[0], decoder.stance[2]] if decoder.gated else []
    return {
        "layers": [layer(weight, bias) for weight, bias in layers],
        "still": packed(numbers(still.sum(2))),
        "gated": [layer(one.weight, one.bias) for one in gated],
        "scrambled": autoencoder.scrambled,
    }


def _distinct(labels: list[str]) -> list[str]:
    """Number labels that occur more than once, so that each names one walk."""
    seen: dict[str, int] = {}
    result = []
    for label in labels:
        seen[label] = seen.get(label, 0) + 1
        result.append(label if seen[label] == 1 else f"{label} ({seen[label]})")
    return result
