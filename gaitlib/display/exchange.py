"""Take the view, the body or the motion of one walk from another walk, all or a share, and see what the decoder makes of it."""

from collections.abc import Sequence
from copy import deepcopy
from functools import cached_property
from itertools import product

import ipywidgets as widgets
import numpy as np
import pandas as pd
import torch
import traitlets

from gaitlib import InputError
from gaitlib.display.player import CODES, ROW, Explorer, SkeletonPlayer, around, encode, evenly, packed, panel, player_html
from gaitlib.evaluation.exchange import torso_error
from gaitlib.model.autoencoder import CODE, Autoencoder
from gaitlib.model.geometric import NEAREST, PACE, STEEPEST, GeometricAutoencoder, GeometricDecoder, turned
from gaitlib.skeleton import NUM_JOINTS

#: So many walks are embedded in a page at most. One takes 17 kB, the decoder 0.7 MB; as published 27 kB and 1.5 MB.
STATIC_WALKS = 24


class ExchangeExplorer(Explorer):
    """Choose two walks and take view, body or motion from the second, all or a share; four skeletons show what comes of it.

    Where the view code is a camera, another slider moves it around the walker.

    In JupyterLab the decoder runs in the kernel; without one (a report, an exported notebook) a few walks are shown with their
    codes, and the decoder runs in the page.
    autoencoder, windows, table, fps: see Explorer; of the autoencoder also decode(motion, body, view) -> [B,30,T].
    truth: the column of the table that walks of one subject share where they are synchronous views of one performance, so that
        each is what the other looks like from its view; None: that is not known.
    static: the walks of the page form, as rows, at most 24; by default six, evenly spread.
    Raises InputError where the sizes do not fit or a joint is missing.
    """

    def __init__(
        self, autoencoder: torch.nn.Module, windows: np.ndarray, table: pd.DataFrame, fps: float = 25.0,
        truth: str | None = None, *, static: Sequence[int] | None = None,
    ):  # fmt: skip
        super().__init__(autoencoder, windows, table, fps)
        if truth not in {None, *table}:
            raise InputError(f"truth={truth!r} names a column of the table, and it has no such column.")
        self._performance = table.groupby(["subject", truth]).ngroup().to_numpy() if truth else np.arange(len(table))
        self._static = list(static) if static is not None else evenly(len(table), 6)
        if not 0 < len(self._static) <= STATIC_WALKS:
            raise InputError(f"The page form takes 1 to {STATIC_WALKS} walks, not {len(self._static)}.")
        first = self._static[0]
        second = next((i for i in self._static if i != first), first)
        self.walk_a = self._picker("Walk A", self._labels, first)
        self.walk_b = self._picker("Walk B", self._labels, second, color=1)
        surprise = widgets.Button(description="Surprise me", tooltip="two walks and shares by chance", layout={"width": "110px"})
        surprise.on_click(lambda _: self.surprise())
        walks = widgets.HBox([self.walk_a, self.walk_b, surprise], layout={**ROW, "align_items": "flex-end"})
        self.take, self.share = {}, {}
        self.turn = widgets.FloatSlider(
            min=-180, max=180, step=1, description="Camera turned by", readout_format=".0f", layout={"width": "420px"},
            style={"description_width": "120px"},
        )  # fmt: skip
        self.turn.observe(self._update, names="value")
        turn = [widgets.HBox([self.turn, widgets.Label("degrees")])] if isinstance(autoencoder, GeometricAutoencoder) else []
        codes = widgets.HBox([widgets.Label("Take from B"), *map(self._taking, CODES), *turn], layout=ROW)
        self.player = SkeletonPlayer(label="Exchange explorer", box=around(self._windows))
        self.frame = widgets.IntSlider(
            max=self._windows.shape[1] - 1, description="Frame", style={"description_width": "50px"}, layout={"width": "100%"}
        )
        widgets.jslink((self.player, "frame"), (self.frame, "value"))
        self._quiet = False
        self._update()
        self.children = [walks, codes, self.player, self.frame]

    def exchange(self, a: int, b: int, view: float = 0, body: float = 0, motion: float = 0, turn: float = 0) -> np.ndarray:
        """Decode walk a with a share (0 to 1) of each code taken from walk b: (1 - share) of a's plus share of b's.

        turn: degrees the camera then moves around the walker, where the view code is one.
        Returns float32 [T, 15, 2]; with nothing taken it is the reconstruction of a, with all three that of b.
        """
        first, second, shares = self._codes(a), self._codes(b), {"view": view, "body": body, "motion": motion}
        mixed = {name: torch.lerp(first[name], second[name], float(share))[None] for name, share in shares.items()}
        if turn:
            mixed["view"] = turned(mixed["view"], turn)
        with torch.no_grad():
            x = self._autoencoder.decode(mixed["motion"], mixed["body"], mixed["view"])
        return x[0].T.reshape(-1, NUM_JOINTS, 2).float().cpu().numpy()

    def truth(self, a: int, b: int) -> np.ndarray | None:
        """What walk a looks like from the view of walk b, float32 [T, 15, 2], or None where it is not known."""
        return self._windows[b] if self._performance[a] == self._performance[b] else None

    def changes(self, a: int, b: int, view: float = 0, body: float = 0, motion: float = 0) -> dict[str, np.ndarray]:
        """How far each channel of each code moves, in units of its spread: float32 [C] each; of motion the mean over time."""
        change = {name: (self._codes(b)[name] - code).cpu().numpy() for name, code in self._codes(a).items()}
        change["motion"] = np.abs(change["motion"]).mean(1)
        shares = {"view": view, "body": body, "motion": motion}
        return {name: share * change[name] / self._spread[name] for name, share in shares.items()}

    @cached_property
    def _spread(self) -> dict[str, np.ndarray]:
        """The standard deviation of each channel over at most 256 of the walks (and frames): float32 [C] each, never 0."""
        codes = encode(self._autoencoder, self._windows[evenly(len(self._windows), 256)])
        spread = {name: code.transpose(0, 1).flatten(1).std(1, correction=0) for name, code in codes.items()}
        return {name: s.clamp(min=1e-6).cpu().numpy() for name, s in spread.items()}

    def panels(self, a: int, b: int, view: float = 0, body: float = 0, motion: float = 0, turn: float = 0) -> list[dict]:
        """The four panels for the player: A, B, A reconstructed, and the exchange, over the truth where it is known."""
        shares = {"view": float(view), "body": float(body), "motion": float(motion)}
        reconstruction, exchanged = self.exchange(a, a), self.exchange(a, b, **shares, turn=turn)
        truth = self.truth(a, b) if (view, body, motion, turn) == (1, 0, 0, 0) else None
        off = f"camera turned by {turn:g}°" if turn else ""
        if truth is not None:
            off = f"{torso_error(exchanged, truth):.1f} % of torso length from the truth"
        changes = {name: np.round(change, 3).tolist() for name, change in self.changes(a, b, **shares).items()}
        lost = f"{torso_error(reconstruction, self._windows[a]):.1f} % of torso length from A"
        return [
            panel("A, original", self._windows[a], self._fps, self._labels[a], color=0),
            panel("B, original", self._windows[b], self._fps, self._labels[b], color=1),
            panel("A, reconstructed", reconstruction, self._fps, lost, color=0),
            panel("Exchange", exchanged, self._fps, off, color=2, truth=truth, codes=shares, changes=changes),
        ]

    def _taking(self, name: str) -> widgets.HBox:
        """The button that takes a code as a whole and the slider for a share of it; each moves the other."""
        button = widgets.ToggleButton(description=name, tooltip=f"swap the {name} code", layout={"width": "84px"})
        slider = widgets.FloatSlider(
            float(name == "view"),  # at the start the view is exchanged
            min=0, max=1, step=0.01, description=f"{name} share", readout_format=".2f", layout={"width": "280px"},
            style={"description_width": "90px"},
        )  # fmt: skip
        traitlets.link((slider, "value"), (button, "value"), (lambda share: share == 1, float))
        slider.observe(self._update, names="value")
        self.take[name], self.share[name] = button, slider
        return widgets.HBox([button, slider])

    def show(self, a: int | str, b: int | str, view: float = 0, body: float = 0, motion: float = 0, turn: float = 0) -> None:
        """Set all controls: two walks, by place or label, shares of codes from B, 0 to 1, and degrees the camera is turned by.

        Raises InputError for any other walk or share, and for more degrees than 180.
        """
        shares = dict(zip(CODES, (view, body, motion), strict=True))
        for name, share in shares.items():
            if not 0 <= share <= 1:
                raise InputError(f"The share of the {name} code is between 0 and 1, not {share}.")
        if not -180 <= turn <= 180:
            raise InputError(f"The camera turns by -180 to 180 degrees, not {turn}.")
        places = self._place(a), self._place(b)
        self._quiet = True
        self.walk_a.value, self.walk_b.value = places
        for name, share in shares.items():
            self.share[name].value = float(share)
        self.turn.value = float(turn)
        self._quiet = False
        self._update()

    def _place(self, walk: int | str) -> int:
        place = self._labels.index(walk) if walk in self._labels else walk
        if not (isinstance(place, int | np.integer) and 0 <= place < len(self._labels)):
            raise InputError(f"There is no walk {walk!r}; the explorer has {len(self._labels)}, such as {self._labels[0]!r}.")
        return int(place)

    def surprise(self) -> None:
        """Two walks by chance and shares in quarters, one code swapped as a whole."""
        chance = np.random.default_rng()
        a, b = chance.choice(len(self._labels), 2, replace=len(self._labels) < 2)
        shares = {name: chance.integers(5) / 4 for name in CODES} | {CODES[chance.integers(3)]: 1.0}
        self.show(int(a), int(b), **shares)

    def _update(self, _change=None) -> None:
        if self._quiet:
            return
        a, b = self.walk_a.value, self.walk_b.value
        shares = {name: slider.value for name, slider in self.share.items()}
        if turn := self.turn.value:
            shares["turn"] = turn
        taken = ", ".join(f"{name}={share:g}" for name, share in shares.items())
        self.player.code = f"explorer.show({self._labels[a]!r}, {self._labels[b]!r}, {taken})"
        self.player.panels = self.panels(a, b, **shares)

    def to_html(self) -> str:
        """The explorer as an HTML fragment that needs neither kernel nor network: the walks of `static`, codes, the decoder."""
        chosen, pairs = self._static, product(range(len(self._static)), repeat=2)
        exchange = {
            "walks": [self._labels[i] for i in chosen],
            "frames": self._windows.shape[1],
            "fps": self._fps,
            "box": around(self._windows),
            "poses": packed(self._windows[chosen]),
            **{name: packed(code.cpu().numpy()) for name, code in encode(self._autoencoder, self._windows[chosen]).items()},
            "spread": {name: spread.tolist() for name, spread in self._spread.items()},
            "decoder": decoder_weights(self._autoencoder),
            # of each pair the place of the pose that is the truth
            "truth": {f"{a}.{b}": b for a, b in pairs if self.truth(chosen[a], chosen[b]) is not None},
        }
        choice = {"a": 0, "b": min(1, len(chosen) - 1), "view": 1, "body": 0, "motion": 0, "turn": 0}
        return player_html(label="Exchange explorer", exchange=exchange, choice=choice)


def packed_layers(layers: dict[str, tuple[torch.Tensor, torch.Tensor]]) -> dict:
    """Weights and biases of layers by name for decoder.js: {name: {"weight": rows, "bias": numbers}}.

    Each row, what one output sees, is packed alone: one large weight does not make all others coarse.
    """
    return {
        name: {"weight": [packed(row) for row in weight.numpy()], "bias": bias.tolist()}
        for name, (weight, bias) in layers.items()
    }


def decoder_weights(autoencoder: Autoencoder) -> dict:
    """The decoder for decoder.js, a few hundred thousand numbers: kind, layers, and whether it is scrambled."""
    decoder = deepcopy(autoencoder.decoder).float().cpu().requires_grad_(False)
    if isinstance(decoder, GeometricDecoder):
        stance, optics = decoder.stance, decoder.optics
        named = {name: getattr(decoder, name) for name in ("first", "manner", "second", "third")}
        named |= {"stance": stance[0], "standing": stance[2], "optics": optics[0], "lens": optics[2]}
        layers = packed_layers({name: (each.weight, each.bias) for name, each in named.items()})
        return {"kind": "geometric", "layers": layers, "pace": PACE, "steepest": STEEPEST, "nearest": NEAREST}
    # of the first layer body and view, which do not change over time, need only the sum over the taps; of the last one the third
    # coordinate is dropped
    first, second, third = (layer for layer in decoder.model if isinstance(layer, torch.nn.Conv1d))
    moving, still = first.weight.split([CODE, 2 * CODE], 1)
    flat = torch.arange(3 * NUM_JOINTS).view(NUM_JOINTS, 3)[:, :2].flatten()
    layers = {
        "first": (moving, first.bias), "still": (still.sum(2), first.bias), "second": (second.weight, second.bias),
        "third": (third.weight[flat], third.bias[flat]),
    }  # fmt: skip
    return {"kind": "paper", "layers": packed_layers(layers), "scrambled": autoencoder.scrambled}
