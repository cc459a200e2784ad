"""Who is it? A probe beside the people of the gallery that are nearest to it, walking, with the distances that decided."""

from functools import cached_property, lru_cache

import numpy as np
import pandas as pd
import torch

from gaitlib import InputError
from gaitlib.display.player import CODES, Explorer, SkeletonPlayer, encode, evenly, packed, panel, player_html

#: So many people of the gallery are shown; the right person comes in addition where it is not among them.
SHOWN = 5
#: So many probes are embedded in a page; each takes 30 to 40 kB.
STATIC_PROBES = 10


class WhoIsIt(Explorer):
    """Choose a probe; the people of the gallery walk beside it in the order of their distance, right and wrong marked.

    A person's distance is that of their nearest gallery walk from another view than the probe's, as rank-1 is measured. The bars
    tell why: distances of the single codes, where 1 is the median distance of the probe from the gallery.
    autoencoder, windows, table, fps: see Explorer. embeddings: float32 [N, D]. gallery, probes: bool [N].
    Raises InputError where the sizes do not fit, and without any probe that has a gallery.
    """

    def __init__(
        self, autoencoder: torch.nn.Module, windows: np.ndarray, table: pd.DataFrame, embeddings: np.ndarray,
        gallery: np.ndarray, probes: np.ndarray, fps: float = 25.0,
    ):  # fmt: skip
        super().__init__(autoencoder, windows, table, fps)
        sizes = {len(windows), len(embeddings), len(gallery), len(probes)}
        if len(sizes) > 1:
            raise InputError(f"Windows, embeddings, gallery and probes are of one length, not {sorted(sizes)}.")
        self._embeddings, self._gallery = np.asarray(embeddings), np.flatnonzero(gallery)
        self._subject, self._view = table["subject"].to_numpy(), table["view"].to_numpy()
        views = set(self._view[self._gallery])
        self._asked = [int(i) for i in np.flatnonzero(probes) if views - {self._view[i]}]
        if not self._asked:
            raise InputError("No probe has a gallery walk from another view, so there is nobody to be found.")
        self._static = self._typical()
        labels, first = [self._labels[i] for i in self._asked], self._asked.index(self._static[0])
        self.probe = self._picker("Probe", labels, first)
        self.player = SkeletonPlayer(label="Who is it?")
        self._update()
        self.children = [self.probe, self.player]

    def _update(self, _change=None) -> None:
        self.player.panels = self.panels(self._asked[self.probe.value])

    def ranked(self, probe: int) -> pd.DataFrame:
        """The gallery's people in the order of their distance: columns walk (a row of the table), subject, distance, right."""
        rows = self._gallery[self._view[self._gallery] != self._view[probe]]
        distance = np.linalg.norm(self._embeddings[rows] - self._embeddings[probe], axis=1)
        found = pd.DataFrame({"walk": rows, "subject": self._subject[rows], "distance": distance})
        nearest = found.sort_values("distance", kind="stable").drop_duplicates("subject").reset_index(drop=True)
        return nearest.assign(right=nearest["subject"] == self._subject[probe])

    def _nearest(self, probe: int) -> pd.DataFrame:
        """The ranked people who are shown: the first five, and the right one."""
        ranked = self.ranked(probe)
        return ranked[(ranked.index < SHOWN) | ranked["right"]]

    @lru_cache(64)  # noqa: B019, those that were looked at last
    def _summary(self, walk: int) -> dict[str, np.ndarray]:
        return {name: values[0] for name, values in summaries(self._autoencoder, self._windows[[walk]]).items()}

    @cached_property
    def _usual(self) -> dict[str, np.ndarray]:
        """Summaries of at most 256 gallery walks, float32 [n, 128 or 256] each."""
        return summaries(self._autoencoder, self._windows[self._gallery[evenly(len(self._gallery), 256)]])

    def code_distances(self, probe: int, walk: int) -> dict[str, float]:
        """How far two walks are in each code, in units of the median distance of the probe from the gallery."""
        a, b, distances = self._summary(probe), self._summary(walk), {}
        for name, usual in self._usual.items():
            spread = np.maximum(usual.std(axis=0), 1e-6)
            typical = np.median(np.linalg.norm((usual - a[name]) / spread, axis=1))
            distances[name] = float(np.linalg.norm((b[name] - a[name]) / spread) / max(typical, 1e-6))
        return distances

    def panels(self, probe: int) -> list[dict]:
        """The probe and the nearest people, for the player; the right person is added where it is not among the first five."""
        panels = [panel("Probe", self._windows[probe], self._fps, self._labels[probe], color=0)]
        for rank, walk, subject, distance, is_right in self._nearest(probe).itertuples(name=None):
            title, subtitle = f"{rank + 1}. {subject}", f"{self._labels[walk]}, distance {distance:.3f}"
            shown = {"color": 2, "mark": "right"} if is_right else {"color": 1, "mark": "wrong"}
            distances = self.code_distances(probe, walk)
            panels.append(panel(title, self._windows[walk], self._fps, subtitle, **shown, distances=distances))
        return panels

    def _typical(self) -> list[int]:
        """Ten probes for the page, spread over the table; up to half of them are not recognized."""
        candidates = [self._asked[i] for i in evenly(len(self._asked), 200)]
        right = [p for p in candidates if self.ranked(p)["right"][0]]
        wrong = [p for p in candidates if p not in right]
        failures = [wrong[i] for i in evenly(len(wrong), max(STATIC_PROBES // 2, STATIC_PROBES - len(right)))]
        successes = [right[i] for i in evenly(len(right), STATIC_PROBES - len(failures))]
        return sorted(failures + successes)

    def to_html(self) -> str:
        """The explorer as an HTML fragment with a few probes; needs neither kernel nor network. Each walk is in it once."""
        places, probes = {}, []
        for probe in self._static:
            panels = self.panels(probe)
            for walk, entry in zip([probe, *self._nearest(probe)["walk"]], panels, strict=True):
                for key in ("pose", "scale", "frames", "fps"):
                    del entry[key]
                entry["pose"] = places.setdefault(int(walk), len(places))
            probes.append({"label": self._labels[probe], "panels": panels})
        poses, frames = packed(self._windows[list(places)]), self._windows.shape[1]
        gallery = {"poses": poses, "frames": frames, "fps": self._fps, "probes": probes}
        return player_html(label="Who is it?", gallery=gallery, choice=0)


def summaries(autoencoder: torch.nn.Module, windows: np.ndarray) -> dict[str, np.ndarray]:
    """Codes without time: view, body float32 [N, 128]; motion [N, 256], its mean and standard deviation over time."""
    codes = encode(autoencoder, windows)
    motion = torch.cat([codes["motion"].mean(2), codes["motion"].std(2)], 1)
    return {name: (motion if name == "motion" else codes[name]).cpu().numpy() for name in CODES}


def joint_saliency(model: torch.nn.Module, x: torch.Tensor, subject: np.ndarray) -> np.ndarray:
    """Which joints say who, and when: float64 [T, 15], shares that add up to one.

    The gradient of the similarity between a window's learned embedding (without discriminants) and its person's mean embedding,
    times the joint's spread over the windows: how much the similarity changes where a joint is off by as much as walks differ.
    model: a GaitModel with a recognizer. x: float32 [N, 30, T]. subject: [N].
    """
    model.eval()
    x = x.detach().requires_grad_()
    embedding = torch.nn.functional.normalize(model(x)[1])
    people = torch.from_numpy(pd.factorize(np.asarray(subject))[0])
    own = people[:, None] == people  # [N, N]
    centers = torch.nn.functional.normalize((own.float() @ embedding).detach())
    (gradient,) = torch.autograd.grad((embedding * centers).sum(), x)
    change = (gradient * x.detach().std(0)).unflatten(1, (-1, 2)).norm(dim=2).mean(0).T.double().numpy()
    return change / change.sum()
