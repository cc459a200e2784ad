"""Take the view, the body or the motion of one walk from another walk, all or a share, and see what the decoder makes of it."""

from collections.abc import Sequence
from copy import deepcopy
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import pandas as pd
import torch
import traitlets

from gaitlib import InputError
from gaitlib.data.views import degrees
from gaitlib.display.identify import summaries
from gaitlib.display.player import CODES, Explorer, around, encode, evenly, packed, person_name
from gaitlib.model.autoencoder import CODE, Autoencoder
from gaitlib.model.geometric import NEAREST, PACE, STEEPEST, GeometricAutoencoder, GeometricDecoder, turned
from gaitlib.skeleton import NUM_JOINTS

#: A page holds at most this many walks. One takes 17 kB, the decoder 0.7 MB; as published 27 kB and 1.5 MB.
STATIC_WALKS = 99
#: What exchange.js reads of each walk.
_EACH = ("names", "keys", "people", "conditions", "views", "takes", "angles", "performances")


class ExchangeExplorer(Explorer):
    """Move the camera around a walker, take codes of one walk from another, see a grid of exchanges and maps of the codes.

    The decoder runs in the browser. A page holds the walks of `static`; in JupyterLab the others come from the kernel.
    autoencoder, windows, table, fps: see Explorer; of the autoencoder also decode(motion, body, view) -> [B,30,T].
    truth: the column of the table that walks of one subject share where they are synchronous views of one performance, so that
        each is what the other looks like from its view; None: that is not known.
    static: the walks of the page, as rows, at most 99; by default those of the first people, one of each condition and view.
    Raises InputError where the sizes do not fit or a joint is missing.
    """

    kind = traitlets.Unicode("exchange").tag(sync=True)
    label = traitlets.Unicode("Exchange explorer").tag(sync=True)
    exchange = traitlets.Any(None, help="what exchange.js reads").tag(sync=True)

    def __init__(
        self, autoencoder: torch.nn.Module, windows: np.ndarray, table: pd.DataFrame, fps: float = 25.0,
        truth: str | None = None, *, static: Sequence[int] | None = None,
    ):  # fmt: skip
        if truth not in {None, *table}:
            raise InputError(f"truth={truth!r} names a column of the table, and it has no such column.")
        super().__init__(autoencoder, windows, table, fps)
        self._table = table.reset_index(drop=True)
        self._performance = table.groupby(["subject", truth]).ngroup().to_numpy() if truth else np.arange(len(table))
        self._static = first_people(self._table) if static is None else [int(row) for row in static]
        if not 0 < len(self._static) <= STATIC_WALKS:
            raise InputError(f"A page holds 1 to {STATIC_WALKS} walks, not {len(self._static)}.")
        self.exchange = self._content()
        self.on_msg(self._answer)

    def decode(self, a: int, b: int, view: float = 0, body: float = 0, motion: float = 0, turn: float = 0) -> np.ndarray:
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

    def show(self, a: int | str, b: int | str, view: float = 0, body: float = 0, motion: float = 0, turn: float = 0) -> None:
        """Show an exchange: two walks, by row, name or key, shares of codes from B, 0 to 1, and degrees the camera is turned by.

        Raises InputError for any other walk or share, and for more degrees than 180.
        """
        shares = dict(zip(CODES, (view, body, motion), strict=True))
        for name, share in shares.items():
            if not 0 <= share <= 1:
                raise InputError(f"The share of the {name} code is between 0 and 1, not {share}.")
        if not -180 <= turn <= 180:
            raise InputError(f"The camera turns by -180 to 180 degrees, not {turn}.")
        self.choice = {"mode": "exchange", "a": self._place(a), "b": self._place(b), "turn": turn, **shares}

    def _place(self, walk: int | str) -> int:
        for names in (self._keys, self._names):
            if walk in names:
                return names.index(walk)
        if not (isinstance(walk, int | np.integer) and 0 <= walk < len(self._names)):
            raise InputError(f"There is no walk {walk!r}; the explorer has {len(self._names)}, such as {self._keys[0]!r}.")
        return int(walk)

    @lru_cache(64)  # noqa: B019, the walks that were looked at last; those of 10,000 would take 330 MB
    def _codes(self, walk: int) -> dict[str, torch.Tensor]:
        return {name: code[0] for name, code in encode(self._autoencoder, self._windows[[walk]]).items()}

    @cached_property
    def _spread(self) -> dict[str, np.ndarray]:
        """The standard deviation of each channel over at most 256 of the walks (and frames): float32 [C] each, never 0."""
        codes = encode(self._autoencoder, self._windows[evenly(len(self._windows), 256)])
        spread = {name: code.transpose(0, 1).flatten(1).std(1, correction=0) for name, code in codes.items()}
        return {name: s.clamp(min=1e-6).cpu().numpy() for name, s in spread.items()}

    def _answer(self, _widget, message: dict, _buffers) -> None:
        """Send a walk that explorer.js wants and does not have."""
        if (wanted := message.get("want")) in range(len(self._names)):
            self.send({"walk": wanted, "codes": self._packed(wanted)})

    def _packed(self, walk: int) -> dict[str, dict]:
        codes = {name: packed(code.cpu().numpy()) for name, code in self._codes(walk).items()}
        return {"pose": packed(self._windows[walk]), **codes}

    def _content(self) -> dict[str, Any]:
        """What exchange.js reads, a list entry per walk of the table; those of `static` come with their poses and codes."""
        table = self._table
        return {
            "names": self._names, "keys": self._keys, "people": [person_name(subject) for subject in table["subject"]],
            "conditions": table["condition"].tolist(), "views": table["view"].tolist(),
            "takes": (table["condition"] + "-" + table["run"].astype(str) + "-" + table["view"]).tolist(),
            "angles": [degrees(view) for view in table["view"]], "performances": self._performance.tolist(),
            "frames": self._windows.shape[1], "fps": self._fps, "box": around(self._windows),
            "walks": {row: self._packed(row) for row in self._static},
            "mapped": self._static, "maps": code_maps(self._autoencoder, self._windows[self._static]),
            "spread": {name: spread.tolist() for name, spread in self._spread.items()},
            "decoder": decoder_weights(self._autoencoder), "start": self._start(),
        }  # fmt: skip

    def _start(self) -> dict[str, Any]:
        """What is shown first: a walk seen from another camera that recorded it, or else with the view of somebody else's."""
        views, people = self._table["view"], self._table["subject"]
        own = [row for row in self._static if self._performance[row] == self._performance[self._static[0]]]
        a, seen = own[len(own) // 4], own[len(own) // 2]
        others = [row for row in self._static if people[row] != people[a]]
        b = next((row for row in others if views[row] != views[a]), (others or own)[-1])
        if not isinstance(self._autoencoder, GeometricAutoencoder):
            return {"mode": "exchange", "a": a, "b": b, "view": 1}
        angles = degrees(views[a]), degrees(views[seen])
        return {"mode": "camera", "a": a, "b": b, "turn": 0 if None in angles else angles[1] - angles[0]}

    def page(self) -> dict[str, Any]:
        """See Skeletons; with the walks of `static` alone, and without a choice of others."""
        place, whole, choice = {row: k for k, row in enumerate(self._static)}, self.exchange, self.choice
        own = {name: [whole[name][row] for row in self._static] for name in _EACH}
        own |= {"walks": {place[row]: walk for row, walk in whole["walks"].items()}, "mapped": list(place.values())}
        own["start"] = whole["start"] | {name: place[whole["start"][name]] for name in "ab"}
        if choice:
            is_here = {choice["a"], choice["b"]} <= set(place)
            choice = {**choice, **{name: place[choice[name]] for name in "ab"}} if is_here else None
        return super().page() | {"choice": choice, "exchange": whole | own}


def first_people(table: pd.DataFrame) -> list[int]:
    """Rows of the first people, one walk of each condition and view, for as many people as a page holds."""
    each = table.drop_duplicates(["subject", "condition", "view"]).sort_values(["subject", "condition", "view"], kind="stable")
    chosen: list[int] = []
    for _, walks in each.groupby("subject", sort=False):
        # normal walks first, whatever the conditions are called
        walks = walks.assign(order=walks["condition"] != "nm").sort_values("order", kind="stable")
        if len(chosen) + len(walks) > STATIC_WALKS:
            return chosen or walks.index[:STATIC_WALKS].tolist()
        chosen += walks.index.tolist()
    return chosen


def code_maps(autoencoder: torch.nn.Module, windows: np.ndarray) -> dict[str, list[list[float]]]:
    """The first two principal components of each code of windows, float32 [N, T, 15, 2]: [N, 2], at most 1 from the center."""
    maps = {}
    for name, values in summaries(autoencoder, windows).items():
        values = values - values.mean(0)
        u, s, _ = np.linalg.svd(values, full_matrices=False)
        points = np.zeros((len(values), 2))
        points[:, : len(s)] = (u * s)[:, :2]
        maps[name] = np.round(points / max(np.abs(points).max(), 1e-9), 3).tolist()
    return maps


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
    # body and view do not change over time, so the first layer needs only the sum over their taps; the third coordinate of the
    # last layer is dropped
    first, second, third = (layer for layer in decoder.model if isinstance(layer, torch.nn.Conv1d))
    moving, still = first.weight.split([CODE, 2 * CODE], 1)
    flat = torch.arange(3 * NUM_JOINTS).view(NUM_JOINTS, 3)[:, :2].flatten()
    layers = {
        "first": (moving, first.bias), "still": (still.sum(2), first.bias), "second": (second.weight, second.bias),
        "third": (third.weight[flat], third.bias[flat]),
    }  # fmt: skip
    return {"kind": "paper", "layers": packed_layers(layers), "scrambled": autoencoder.scrambled}
