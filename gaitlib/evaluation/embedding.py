"""Encode each walk once: the mean over its windows of the embedding or of each code; and the hand-made baseline."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from gaitlib import InputError
from gaitlib.data.preprocess import MOST_WINDOWS, NormalizedWalks, cut_windows, groups, in_blocks, some_windows, window_grid
from gaitlib.files import read_arrays, replacing
from gaitlib.model.autoencoder import WINDOWS
from gaitlib.model.discriminants import window_statistics
from gaitlib.model.recognizer import GaitModel

#: The columns that are read from a file of embeddings, and the kinds of numpy types they may have.
_LABELS = {"sequence": "Uiu", "run": "iu"} | dict.fromkeys(("subject", "condition", "view"), "U")


@dataclass(frozen=True)
class Embeddings:
    """values: float32 [N, D], one row per walk; index: the rows of the data set's table they belong to."""

    values: np.ndarray
    index: pd.DataFrame

    def save(self, path: str | Path) -> None:
        """Write the values and the columns of the index to one .npz without pickles, whole or not at all."""
        path = Path(path)
        columns = {c: self.index[c].to_numpy() for c in self.index}
        columns = {c: v if v.dtype.kind in "iuf" else v.astype(str) for c, v in columns.items()}
        with replacing(path) as part, part.open("wb") as file:
            np.savez_compressed(file, values=self.values, **columns)

    @classmethod
    def load(cls, path: str | Path) -> "Embeddings":
        """Read what `save` wrote; InputError if the file is something else, damaged or incomplete."""
        columns = read_arrays(path)
        if lacking := [name for name in ("values", *_LABELS) if name not in columns]:
            raise InputError(f"{path} holds no array named {lacking[0]}; write it with `gaitlib embed`.")
        if wrong := [name for name, kinds in _LABELS.items() if columns[name].dtype.kind not in kinds]:
            raise InputError(f"{path} is damaged: its array {wrong[0]} holds {columns[wrong[0]].dtype} values.")
        values = columns.pop("values")
        if values.ndim != 2 or values.dtype.kind != "f" or any(column.shape != values.shape[:1] for column in columns.values()):
            raise InputError(f"{path} is damaged: its columns do not fit embeddings of shape {list(values.shape)}.")
        return cls(values, pd.DataFrame(columns))


def embed_walks(
    model: GaitModel, walks: NormalizedWalks, *, stride: int = 32, mirrored: bool = True, enrolled: np.ndarray | None = None,
    device="cpu",
) -> Embeddings:  # fmt: skip
    """The embedding of every walk: the mean over its windows (and their mirror images), scaled to length one: float32 [N, E].

    stride: frames between windows. enrolled: bool [N], walks whose people are known; discriminants are then adapted to them, and
    the mean of the enrolled walks of each view is subtracted.
    """
    model = model.to(device).eval()
    if enrolled is not None:
        model = adapted(model, walks.chosen(enrolled))
    total, _ = _sums_over_windows(lambda x: {"embedding": model.embed(x, mirrored)}, model, walks, stride)
    found = Embeddings(torch.nn.functional.normalize(total["embedding"]).float().cpu().numpy(), walks.index)
    return found if enrolled is None else without_view_means(found, enrolled)


def adapted(model: GaitModel, enrolled: NormalizedWalks) -> GaitModel:
    """A copy of the model with discriminants adapted to enrolled walks, see `Discriminants.adapt`; the model if it has none."""
    if not model.discriminants:
        return model
    model = copy.deepcopy(model)
    x, index = some_windows(model.window, enrolled, most=MOST_WINDOWS)
    statistics = model.code_statistics(x.to(next(model.parameters())))
    model.discriminants.adapt(statistics, groups(index, "subject", "view"))
    return model


def without_view_means(found: Embeddings, enrolled: np.ndarray) -> Embeddings:
    """Embeddings minus the mean of the enrolled ones (bool [N]) of the same view, scaled to length one.

    For views without enrolled walks, the mean over the other views is subtracted.
    """
    view = found.index["view"].to_numpy()
    means = pd.DataFrame(found.values[enrolled]).groupby(view[enrolled]).mean()
    mean = means.reindex(view).fillna(means.mean()).to_numpy(np.float32)
    return replace(found, values=torch.nn.functional.normalize(torch.from_numpy(found.values - mean)).numpy())


def code_features(model: GaitModel, walks: NormalizedWalks, *, stride: int = 32) -> dict[str, np.ndarray]:
    """Features of each code the model has for each walk, averaged over its windows: float32 [N, D] each.

    pose: the statistics of the window itself; motion, which changes over time: mean and standard deviation; body and view: the
    codes themselves. stride: frames between windows.
    """

    def of_windows(x: torch.Tensor) -> dict[str, torch.Tensor]:
        """The features of each window."""
        found = {"pose": window_statistics(x)}
        if codes := model.encode(x):
            found |= {"motion": _course(codes.motion), "body": codes.body, "view": codes.view}
        return found

    total, count = _sums_over_windows(of_windows, model, walks, stride)
    return {name: (value / count).float().cpu().numpy() for name, value in total.items()}


def _course(x: torch.Tensor) -> torch.Tensor:
    """Mean and standard deviation over time: [B, C, T] -> [B, 2 C]."""
    return torch.cat([x.mean(2), x.std(2, correction=0)], 1)


@torch.no_grad()
def _sums_over_windows(
    describe: Callable[[torch.Tensor], dict[str, torch.Tensor]], model: GaitModel, walks: NormalizedWalks, stride: int
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Sums of descriptions over the windows of each walk, and its number of windows: name -> [N, D], and int64 [N, 1].

    describe: maps windows, [B, 30, T] on the model's device and in its precision, to name -> [B, D].
    """
    total: dict[str, torch.Tensor] = {}
    count = torch.zeros(len(walks), dtype=torch.int64)
    for walk, x in windows_of(model, walks, stride):
        count += torch.bincount(walk, minlength=len(walks))
        for name, value in describe(x).items():
            total.setdefault(name, value.new_zeros(len(walks), value.shape[1])).index_add_(0, walk.to(x.device), value)
    return total, count.to(next(model.parameters()).device)[:, None]


def windows_of(model: GaitModel, walks: NormalizedWalks, stride: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """All windows of walks, walk after walk, in batches: the row of each window's walk, int64 [B] on the CPU, and the windows.

    stride: frames between windows, which are [B, 30, T] on the model's device and in its precision.
    """
    weight = next(model.parameters())
    frames, start, length = torch.from_numpy(walks.frames), torch.tensor(walks.start), torch.tensor(walks.length)
    walk, offset = (torch.from_numpy(a) for a in window_grid(walks.length, model.window, stride))
    for rows in torch.arange(len(walk)).split(WINDOWS):
        which = walk[rows]
        x = cut_windows(frames, start[which], length[which], offset[rows], model.window)
        yield which, x.to(weight.device, weight.dtype)


def pose_statistics(walks: NormalizedWalks) -> np.ndarray:
    """Mean and standard deviation over time of the 30 normalized coordinates: float64 [N, 60]."""
    found = []
    for pose, start, length in in_blocks(walks.frames, walks.start, walks.length):
        flat, count = pose.reshape(len(pose), -1).astype(np.float64), length[:, None]
        mean = np.add.reduceat(flat, start) / count
        deviation = flat - np.repeat(mean, length, 0)
        found.append(np.concatenate([mean, np.sqrt(np.add.reduceat(deviation**2, start) / count)], 1))
    return np.concatenate(found)


def baseline_embeddings(train: NormalizedWalks, test: NormalizedWalks) -> Embeddings:
    """The hand-made baseline: pose statistics, standardized on the training people; float32 [N, 60]."""
    reference = pose_statistics(train)
    scale = reference.std(0)
    scale[scale < 1e-9] = 1.0  # the neck is at the origin in every frame
    return Embeddings(((pose_statistics(test) - reference.mean(0)) / scale).astype(np.float32), test.index)
