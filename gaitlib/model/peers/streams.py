"""What peers see of a window: joints, bones and velocities as images [B, 2, T, 15], and the graph of the joints."""

import numpy as np
import torch
from torch import Tensor

from gaitlib.skeleton import BONES, NUM_JOINTS, PARENT


def joints(x: Tensor) -> Tensor:
    """The coordinates of each joint: float32 [B, 30, T] -> [B, 2, T, 15]."""
    return x.unflatten(1, (NUM_JOINTS, 2)).permute(0, 2, 3, 1)


def bones(y: Tensor) -> Tensor:
    """Each joint minus its parent: [B, 2, T, 15] -> [B, 2, T, 15]."""
    return y - y[..., PARENT]


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
