"""Each walk encoded once: the mean embedding of its windows, and the hand-made baseline."""

from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import pandas as pd
import torch

from gaitlib import InputError
from gaitlib.data.preprocess import NormalizedWalks, cut_windows, window_grid
from gaitlib.files import replacing
from gaitlib.model.recognizer import GaitModel


@dataclass(frozen=True)
class Embeddings:
    """values: float32 [N, D], a row a walk; index: the rows of the data set's table they belong to."""

    values: np.ndarray
    index: pd.DataFrame

    def save(self, path: str | Path) -> None:
        """Write values and the text columns of the index to one .npz without pickles, whole or not at all."""
        path = Path(path)
        columns = {c: self.index[c].to_numpy() for c in self.index}
        columns = {c: v if v.dtype.kind in "iuf" else v.astype(str) for c, v in columns.items()}
        with replacing(path) as part, part.open("wb") as file:
            np.savez_compressed(file, values=self.values, **columns)

    @classmethod
    def load(cls, path: str | Path) -> "Embeddings":
        try:
            with np.load(path, allow_pickle=False) as file:
                columns = {name: file[name] for name in file.files}
        except (OSError, ValueError, TypeError, EOFError, BadZipFile) as error:
            raise InputError(f"{path} cannot be read as embeddings ({error}).") from None
        values = columns.pop("values", None)
        if values is None:
            raise InputError(f"{path} holds no array named values; write it with `gaitlib embed`.")
        if values.ndim != 2 or any(column.shape != values.shape[:1] for column in columns.values()):
            raise InputError(f"{path} is damaged: its columns do not fit embeddings of shape {list(values.shape)}.")
        return cls(values, pd.DataFrame(columns))


@torch.no_grad()
def embed_walks(
    model: GaitModel, walks: NormalizedWalks, *, stride: int = 32, mirrored: bool = True, batch: int = 512, device="cpu"
) -> Embeddings:
    """The embedding of every walk: the mean over its windows (and their mirror images), scaled to length one.

    stride: frames between windows. Returns float32 [N, E].
    """
    model = model.to(device).eval()
    dtype = next(model.parameters()).dtype
    frames = torch.from_numpy(walks.frames)
    start, length = torch.tensor(walks.start), torch.tensor(walks.length)
    walk, offset = (torch.from_numpy(a) for a in window_grid(walks.length, model.window, stride))
    total = torch.zeros(len(walks), model.embedding_size, device=device, dtype=dtype)
    for rows in torch.arange(len(walk)).split(batch):
        which = walk[rows]
        x = cut_windows(frames, start[which], length[which], offset[rows], model.window).to(device, dtype)
        total.index_add_(0, which.to(device), model.embed(x, mirrored))
    return Embeddings(torch.nn.functional.normalize(total).float().cpu().numpy(), walks.index)


def pose_statistics(walks: NormalizedWalks) -> np.ndarray:
    """Mean and standard deviation over time of the 30 normalized coordinates: float64 [N, 60]."""
    flat = walks.frames.reshape(len(walks.frames), -1).astype(np.float64)
    count = walks.length[:, None]
    mean = np.add.reduceat(flat, walks.start) / count
    deviation = flat - np.repeat(mean, walks.length, 0)
    return np.concatenate([mean, np.sqrt(np.add.reduceat(deviation**2, walks.start) / count)], 1)


def baseline_embeddings(train: NormalizedWalks, test: NormalizedWalks) -> Embeddings:
    """The hand-made baseline: pose statistics, standardized on the training people; float32 [N, 60]."""
    reference = pose_statistics(train)
    scale = reference.std(0)
    scale[scale < 1e-9] = 1.0  # the neck is at the origin in every frame
    return Embeddings(((pose_statistics(test) - reference.mean(0)) / scale).astype(np.float32), test.index)
