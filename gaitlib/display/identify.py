"""Who is it? Probes laid over the nearest walk of the gallery and over the right one, with what sets them apart."""

from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import pandas as pd
import torch
import traitlets

from gaitlib import InputError
from gaitlib.display.player import CODES, Explorer, encode, evenly, packed, page_html, person_name

#: The number of probes that are shown; each takes 15 kB.
PROBES = 20


class WhoIsIt(Explorer):
    """The probes that recognition finds hardest, the worst failures first, laid over the nearest walks of two people.

    A person's distance is that of their nearest gallery walk from another view than the probe's, as rank-1 is measured. The first
    card has the person who was found, the second the right one, or the runner-up where the right one was found; each walks at the
    probe's pace and in step with it. The bars tell why: distances of the single codes, where 1 is the median distance of the
    probe from the gallery.
    autoencoder, windows, table, fps: see Explorer. embeddings: float32 [N, D]. gallery, probes: bool [N].
    Raises InputError where the sizes do not fit, and where no probe's person has a gallery walk from another view.
    """

    kind = traitlets.Unicode("gallery").tag(sync=True)
    label = traitlets.Unicode("Who is it?").tag(sync=True)
    box = traitlets.Any(None).tag(sync=True)
    gallery = traitlets.Any(None, help="what identify.js reads").tag(sync=True)

    def __init__(
        self, autoencoder: torch.nn.Module, windows: np.ndarray, table: pd.DataFrame, embeddings: np.ndarray,
        gallery: np.ndarray, probes: np.ndarray, fps: float = 25.0,
    ):  # fmt: skip
        super().__init__(autoencoder, windows, table, fps, choice=0)
        sizes = {len(windows), len(embeddings), len(gallery), len(probes)}
        if len(sizes) > 1:
            raise InputError(f"Windows, embeddings, gallery and probes are of one length, not {sorted(sizes)}.")
        self._embeddings, self._gallery = np.asarray(embeddings), np.flatnonzero(gallery)
        self._subject, self._view = table["subject"].to_numpy(), table["view"].to_numpy()
        self.nearest = self._compare(np.flatnonzero(probes))
        if self.nearest.empty:
            raise InputError("No probe's person has a gallery walk from another view, so nobody can be found.")
        self.gallery = self._content()

    def _compare(self, probes: np.ndarray) -> pd.DataFrame:
        """A row for each probe whose person can be found, the hardest first.

        Columns: probe, right and wrong (the nearest gallery walks of its person and of all others: rows of the table),
        right_distance, wrong_distance, margin (how much nearer the right one is).
        """
        if not len(probes):
            return pd.DataFrame(columns=["probe"])
        to_gallery = torch.cdist(*(torch.from_numpy(self._embeddings[rows]).double() for rows in (probes, self._gallery))).numpy()
        to_gallery[self._view[probes][:, None] == self._view[self._gallery]] = np.inf
        is_right = self._subject[probes][:, None] == self._subject[self._gallery]
        table = pd.DataFrame({"probe": probes})
        for name, allowed in (("right", is_right), ("wrong", ~is_right)):
            distance = np.where(allowed, to_gallery, np.inf)
            table[name], table[f"{name}_distance"] = self._gallery[distance.argmin(1)], distance.min(1)
        table = table[np.isfinite(table[["right_distance", "wrong_distance"]]).all(axis=1)]
        table = table.assign(margin=table["wrong_distance"] - table["right_distance"])
        return table.sort_values("margin", kind="stable").reset_index(drop=True)

    @property
    def failures(self) -> int:
        """The number of probes that are taken for somebody else."""
        return int((self.nearest["margin"] < 0).sum())

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

    def _content(self) -> dict[str, Any]:
        """What identify.js reads: the hardest probes, each walk once."""
        places: dict[int, int] = {}

        def panel(title: str, walk: int, color: int, **shown: Any) -> dict[str, Any]:
            pose = places.setdefault(walk, len(places))
            return {"title": title, "subtitle": self._names[walk], "color": color, "pose": pose, **shown}

        def card(title: str, probe: int, walk: int, distance: float) -> list[dict[str, Any]]:
            mark, color = ("right", 2) if self._subject[walk] == self._subject[probe] else ("wrong", 1)
            shown = {"over": True, "mark": mark, "distances": self.code_distances(probe, walk)}
            return [panel("Probe", probe, 0), panel(f"{title}, distance {distance:.3f}", walk, color, **shown)]

        probes = []
        for row in self.nearest.head(PROBES).itertuples():
            right, wrong = (row.right, row.right_distance), (row.wrong, row.wrong_distance)
            if row.margin < 0:
                cards = [card("Nearest", row.probe, *wrong), card("Right person", row.probe, *right)]
            else:
                cards = [card("Nearest", row.probe, *right), card("Next person", row.probe, *wrong)]
            said = f"taken for person {person_name(self._subject[row.wrong])}" if row.margin < 0 else "recognized, but only just"
            probes.append({"label": f"{self._names[row.probe]}: {said}", "panels": [entry for pair in cards for entry in pair]})
        poses, frames = packed(self._windows[list(places)]), self._windows.shape[1]
        return {"poses": poses, "frames": frames, "fps": self._fps, "probes": probes}


def gallery_html(content: dict[str, Any]) -> str:
    """Walks beside those they were compared with, as an HTML fragment; content: what identify.js reads."""
    return page_html({**WhoIsIt.defaults(), "gallery": content, "choice": 0})


def summaries(autoencoder: torch.nn.Module, windows: np.ndarray) -> dict[str, np.ndarray]:
    """Codes without time: view, body float32 [N, 128]; motion [N, 256], its mean and standard deviation over time."""
    codes = encode(autoencoder, windows)
    motion = torch.cat([codes["motion"].mean(2), codes["motion"].std(2)], 1)
    return {name: (motion if name == "motion" else codes[name]).cpu().numpy() for name in CODES}


def joint_saliency(model: torch.nn.Module, x: torch.Tensor, subject: np.ndarray) -> np.ndarray:
    """Which joints identify a person, and when: float64 [T, 15], shares that add up to one.

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
