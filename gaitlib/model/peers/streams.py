"""What peers see of a window: joints, bones and velocities as images [B, 2, T, 15], and the graph of the joints."""

import numpy as np
import torch
from torch import Tensor

from gaitlib.data.preprocess import constant
from gaitlib.skeleton import BONES, NUM_JOINTS, PARENT

_PARENTS = tuple(PARENT.tolist())


def chosen(y: Tensor, numbers: tuple[int, ...], axis: int = -1) -> Tensor:
    """These joints along an axis; an index that is not a tensor would be copied to a GPU in every step."""
    return y.index_select(axis, constant(numbers, y.device))


def joints(x: Tensor) -> Tensor:
    """The coordinates of each joint: float32 [B, 30, T] -> [B, 2, T, 15]."""
    return x.unflatten(1, (NUM_JOINTS, 2)).permute(0, 2, 3, 1)


def bones(y: Tensor) -> Tensor:
    """Each joint minus its parent: [B, 2, T, 15] -> [B, 2, T, 15]."""
    return y - chosen(y, _PARENTS)


def velocities(y: Tensor, frames: int = 1) -> Tensor:
    """The change in the next frames, 0 at the end: [B, 2, T, 15] -> [B, 2, T, 15]."""
    return torch.nn.functional.pad(y[:, :, frames:] - y[:, :, :-frames], (0, 0, 0, frames))


def hops() -> np.ndarray:
    """The number of bones between two joints, int64 [15, 15]."""
    step = np.eye(NUM_JOINTS, dtype=bool)
    distance = np.where(step, 0, NUM_JOINTS)
    link = step.copy()
    link[tuple(np.array(BONES).T)] = link[tuple(np.array(BONES).T)[::-1]] = True
    for count in range(1, NUM_JOINTS):
        step = step @ link
        distance = np.where(step, np.minimum(distance, count), distance)
    return distance


def adjacency(distance: np.ndarray) -> Tensor:
    """Which joints are 0, 1 or 2 bones apart, for graph convolutions: int64 [V, V] -> float32 [3, V, V].

    Each of the three is normalized by its degrees, D^(-1/2) A D^(-1/2), as in Song et al., "Stronger, faster and more
    explainable: a graph convolutional baseline for skeleton-based action recognition", ACM MM 2020, arXiv 2010.09978.
    """
    links = torch.from_numpy(np.stack([distance == apart for apart in range(3)])).float()
    degree = links.sum(1, keepdim=True).clamp(min=1)
    return links / (degree * degree.mT).sqrt()
