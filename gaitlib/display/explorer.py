"""What the explorers of notebook 04 share: walks with their names and codes."""

from functools import lru_cache

import ipywidgets as widgets
import numpy as np
import pandas as pd
import torch

from gaitlib import InputError
from gaitlib.data.views import degrees
from gaitlib.display.player import PageForm
from gaitlib.skeleton import NUM_JOINTS

CODES = ("view", "body", "motion")


class Explorer(PageForm, widgets.VBox):
    """Walks to choose from, one above the other with what is made of them; set up by its subclasses.

    autoencoder: as gaitlib.model.autoencoder.Autoencoder: encode([B,30,T]) -> Codes; set to eval() here.
    windows: float [N, T, 15, 2], normalized (neck at the origin, torso length 1), no missing joints.
    table: N rows with the columns subject, condition, run, view. fps: frames a second.
    Raises InputError where the sizes do not fit or a joint is missing.
    """

    def __init__(self, autoencoder: torch.nn.Module, windows: np.ndarray, table: pd.DataFrame, fps: float):
        windows = np.asarray(windows, dtype=np.float32)
        if windows.ndim != 4 or windows.shape[2:] != (NUM_JOINTS, 2) or not len(windows):
            raise InputError(f"The explorer needs windows [N,T,{NUM_JOINTS},2], not {list(windows.shape)}.")
        if not np.isfinite(windows).all():
            n, t, j = np.argwhere(~np.isfinite(windows).all(axis=-1))[0]
            raise InputError(f"Window {n} has no joint {j} in frame {t}; fill missing joints before the explorer.")
        if len(table) != len(windows):
            raise InputError(f"There are {len(windows)} windows and the table has {len(table)} rows; give one row a window.")
        self._autoencoder, self._windows, self._labels, self._fps = autoencoder.eval(), windows, walk_labels(table), float(fps)
        super().__init__(layout={"overflow": "visible"})

    @lru_cache(64)  # noqa: B019, the walks that were looked at last; those of 10,000 would take 330 MB
    def _codes(self, walk: int) -> dict[str, torch.Tensor]:
        return {name: code[0] for name, code in encoded(self._autoencoder, self._windows[[walk]]).items()}


def walk_labels(walks: pd.DataFrame) -> list[str]:
    """A line for each walk from its subject, condition, run and view columns: "001 · nm-01 · 54°".

    Lines that occur more than once are numbered, so that each names one walk.
    """
    views = [view if (angle := degrees(view)) is None else f"{angle:g}°" for view in walks["view"]]
    names = [f"{walk.subject} · {walk.condition}-{int(walk.run):02d}" for walk in walks.itertuples()]
    labels = pd.Series([f"{name} · {view}" for name, view in zip(names, views, strict=True)])
    before = labels.groupby(labels).cumcount()
    return [label if not count else f"{label} ({count + 1})" for label, count in zip(labels, before, strict=True)]


def evenly(n: int, most: int) -> list[int]:
    """At most `most` of 0..n-1, evenly spread."""
    return sorted({round(i) for i in np.linspace(0, n - 1, min(n, most))})


def encoded(autoencoder: torch.nn.Module, windows: np.ndarray) -> dict[str, torch.Tensor]:
    """The codes of windows, float32 [N, T, 15, 2]: view [N, 128], body [N, 128], motion [N, 128, T]."""
    x = torch.from_numpy(windows).flatten(2).transpose(1, 2)  # [N, 30, T]
    device = next((p.device for p in autoencoder.parameters()), torch.device("cpu"))
    with torch.no_grad():
        parts = [autoencoder.encode(batch.contiguous().to(device)) for batch in x.split(256)]
    return {name: torch.cat([getattr(part, name) for part in parts]) for name in CODES}
