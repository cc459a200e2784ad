"""Take the view, the body or the motion of one walk from another walk, and see what the decoder makes of it."""

from collections.abc import Callable, Sequence
from itertools import product

import ipywidgets as widgets
import numpy as np
import pandas as pd
import torch

from gaitlib import InputError
from gaitlib.display.player import SkeletonPlayer, panel, player_html, quantize, with_html
from gaitlib.evaluation.scorecard import torso_error
from gaitlib.skeleton import NUM_JOINTS

#: So many walks are embedded in a page at most: 6 give 96 decoded combinations, about 0.5 MB.
STATIC_WALKS = 6

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
    """Choose two walks and take view, body or motion from the second; four skeletons show what comes of it.

    In JupyterLab this is a live widget and the decoder runs in the kernel. Where there is no kernel (a report, an
    exported notebook), a page form with a few walks and every combination of them is shown instead.

    autoencoder: a module with encode([B,30,T]) -> Codes and decode(motion, body, view) -> [B,30,T]; set to eval() here.
    windows: float32 [N, T, 15, 2], normalized (neck at the origin, torso length 1), no missing joints.
    labels: N texts, or a table of N rows with the columns subject, condition, run, view.
    fps: frames a second.
    truth: what walk a looks like from the view of walk b, where that is known: a callable (a, b) -> float32 [T, 15, 2]
        or None; or an array [N, N, T, 15, 2] (NaN = unknown); or "recording" where `labels` has a column of that name:
        windows that share it are synchronous views of one performance.
    static: the walks of the page form, as indices; by default up to six of two people.
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
        self._codes = self._encode(windows)
        self._static = list(static) if static is not None else self._typical()
        if not self._static or len(self._static) > STATIC_WALKS:
            raise InputError(f"The page form takes 1 to {STATIC_WALKS} walks, not {len(self._static)}.")
        self._static_html = None
        super().__init__(self._controls())

    # ---------------------------------------------------------------------------------------------------- the exchange

    def exchange(self, a: int, b: int, view: bool, body: bool, motion: bool) -> np.ndarray:
        """Decode walk a with the chosen codes taken from walk b.

        Returns float32 [T, 15, 2]; with nothing taken it is the reconstruction of a, with all three that of b.
        """
        return self._decode([(b if view else a, b if body else a, b if motion else a)])[0]

    def truth(self, a: int, b: int) -> np.ndarray | None:
        """What walk a looks like from the view of walk b, float32 [T, 15, 2], or None where it is not known."""
        return self._truth(a, b) if a != b else self._windows[a]

    def _encode(self, windows: np.ndarray) -> dict[str, torch.Tensor]:
        n, frames = windows.shape[:2]
        x = torch.from_numpy(windows).reshape(n, frames, 2 * NUM_JOINTS).transpose(1, 2)  # [N, 30, T]
        device = next((p.device for p in self._autoencoder.parameters()), torch.device("cpu"))
        parts = []
        with torch.no_grad():
            for batch in x.split(256):
                codes = self._autoencoder.encode(batch.contiguous().to(device))
                parts.append([codes.view, codes.body, codes.motion])
        return {name: torch.cat([p[i] for p in parts]) for i, name in enumerate(("view", "body", "motion"))}

    def _decode(self, triples: Sequence[tuple[int, int, int]]) -> np.ndarray:
        """Decode (view, body, motion) sources in one batch: float32 [len(triples), T, 15, 2]."""
        view, body, motion = torch.tensor(triples).T
        with torch.no_grad():
            x = self._autoencoder.decode(self._codes["motion"][motion], self._codes["body"][body], self._codes["view"][view])
        return x.transpose(1, 2).reshape(len(triples), -1, NUM_JOINTS, 2).float().cpu().numpy()

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
            widgets.Combobox(
                value=self._labels[i],
                options=self._labels,
                placeholder="type to filter",
                ensure_option=True,
                description=description,
                style={"description_width": "50px"},
                layout={"flex": "1 1 220px", "max_width": "360px"},
            )
            for i, description in ((self._static[0], "Walk A"), (second, "Walk B"))
        )
        self.take_view, self.take_body, self.take_motion = (
            widgets.ToggleButton(value=name == "view", description=name, tooltip=f"take the {name} code from B")
            for name in ("view", "body", "motion")
        )
        for button in self._toggles:
            button.layout.width = "84px"
        self.player = SkeletonPlayer(label="Exchange explorer", box=self._box(self._windows))
        self.frame = widgets.IntSlider(max=self._windows.shape[1] - 1, description="Frame", style={"description_width": "50px"})
        self.frame.layout.width = "100%"
        widgets.jslink((self.player, "frame"), (self.frame, "value"))
        for control in (self.walk_a, self.walk_b, *self._toggles):
            control.observe(self._update, names="value")
        self._update()
        wrap = {"flex_flow": "row wrap", "align_items": "center", "grid_gap": "6px 12px"}
        take = widgets.HBox([widgets.Label("Take from B"), *self._toggles], layout={"align_items": "center"})
        return [widgets.HBox([self.walk_a, self.walk_b, take], layout=wrap), self.player, self.frame]

    @property
    def _toggles(self):
        return self.take_view, self.take_body, self.take_motion

    def _update(self, _change=None):
        # a Combobox holds any text while it is typed
        if self.walk_a.value in self._labels and self.walk_b.value in self._labels:
            a, b = (self._labels.index(w.value) for w in (self.walk_a, self.walk_b))
            self.player.panels = self.panels(a, b, *(button.value for button in self._toggles))

    def panels(self, a: int, b: int, view: bool, body: bool, motion: bool) -> list[dict]:
        """The four panels for the player: A, B, A reconstructed, and the exchange, over the truth where it is known."""
        sources = (b if view else a, b if body else a, b if motion else a)
        reconstruction, exchanged = self._decode([(a, a, a), sources])
        truth = self.truth(a, b) if (view, body, motion) == (True, False, False) else None
        codes = {name: "B" if on else "A" for name, on in (("view", view), ("body", body), ("motion", motion))}
        return [
            panel("A, original", self._windows[a], self._fps, self._labels[a], color=0),
            panel("B, original", self._windows[b], self._fps, self._labels[b], color=1),
            panel(
                "A, reconstructed",
                reconstruction,
                self._fps,
                f"{torso_error(reconstruction, self._windows[a]):.1f} % of torso length from A",
                color=0,
            ),
            panel(
                "Exchange",
                exchanged,
                self._fps,
                "" if truth is None else f"{torso_error(exchanged, truth):.1f} % of torso length from the truth",
                color=2,
                truth=truth,
                codes=codes,
            ),
        ]

    @staticmethod
    def _box(poses: np.ndarray) -> list[float]:
        """[left, right, top, bottom] around all poses; room for decoded ones that reach a little further."""
        low, high = np.nanmin(poses, axis=(0, 1, 2)), np.nanmax(poses, axis=(0, 1, 2))
        room = 0.05 * (high - low)
        return [float(v) for v in (low[0] - room[0], high[0] + room[0], low[1] - room[1], high[1] + room[1])]

    # -------------------------------------------------------------------------------------------------- without kernel

    def _typical(self) -> list[int]:
        """Up to six walks for the page: where a table tells, two people, each from three views of one recording."""
        n = len(self._windows)
        if self._table is None or not {"subject", "condition", "run", "view"} <= set(self._table):
            return sorted({round(i) for i in np.linspace(0, n - 1, min(n, STATIC_WALKS))})
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

        Every combination is decoded in one batch: with n walks the n + 3 n (n - 1) triples of at most two sources.
        """
        if self._static_html is None:
            chosen = self._static
            n = len(chosen)
            triples = [t for t in product(range(n), repeat=3) if len(set(t)) <= 2]
            decoded = self._decode([tuple(chosen[i] for i in t) for t in triples])
            originals = self._windows[chosen]
            place = {t: n + k for k, t in enumerate(triples)}
            poses, truth, truth_error = [*originals, *decoded], {}, {}
            for a, b in product(range(n), repeat=2):
                known = self.truth(chosen[a], chosen[b])
                if known is None:
                    continue
                same = next((i for i in range(n) if np.array_equal(known, originals[i])), None)
                if same is None:
                    same = len(poses)
                    poses.append(known)
                truth[f"{a}.{b}"] = same
                truth_error[f"{a}.{b}"] = round(torso_error(poses[place[b, a, a]], known), 3)
            data, scale = quantize(np.stack(poses))
            exchange = {
                "walks": [self._labels[i] for i in chosen],
                "frames": self._windows.shape[1],
                "fps": self._fps,
                "scale": scale,
                "data": data,
                "triples": {".".join(map(str, t)): k for t, k in place.items()},
                "reconstruction_error": [round(torso_error(poses[place[i, i, i]], originals[i]), 3) for i in range(n)],
                "truth": truth,
                "truth_error": truth_error,
            }
            choice = {"a": 0, "b": min(1, n - 1), "view": True, "body": False, "motion": False}
            self._static_html = player_html(label="Exchange explorer", exchange=exchange, choice=choice)
        return self._static_html

    def _repr_mimebundle_(self, **kwargs):
        return with_html(super()._repr_mimebundle_(**kwargs), self.to_html())


def _distinct(labels: list[str]) -> list[str]:
    """Number labels that occur more than once, so that each names one walk."""
    seen: dict[str, int] = {}
    result = []
    for label in labels:
        seen[label] = seen.get(label, 0) + 1
        result.append(label if seen[label] == 1 else f"{label} ({seen[label]})")
    return result
