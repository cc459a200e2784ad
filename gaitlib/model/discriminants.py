"""Statistics of the pose over a window, and the directions in them that tell people apart: no iteration, no gradient."""

import numpy as np
import scipy.linalg
import scipy.sparse
import torch
from torch import Tensor, nn

from gaitlib.data.preprocess import mirror
from gaitlib.model.autoencoder import ROWS, Codes, bone_ends
from gaitlib.skeleton import (
    BONES,
    LEFT_ANKLE,
    LEFT_HIP,
    LEFT_KNEE,
    NUM_JOINTS,
    RIGHT_ANKLE,
    RIGHT_HIP,
    RIGHT_KNEE,
)

#: Every two joints.
PAIRS = torch.triu_indices(NUM_JOINTS, NUM_JOINTS, 1)
#: Four of every coordinate and distance, two of every velocity, one of every coordinate of a bone.
STATISTICS = 4 * (ROWS + PAIRS.shape[1]) + 2 * ROWS + 2 * len(BONES)
#: Added where a root is taken, so that there is a gradient at 0.
TINY = 1e-12
#: More discriminants than this add nothing that could be measured.
MOST_DISCRIMINANTS = 256
#: The covariance within people is drawn toward a multiple of the identity by this share.
SHRINKAGE = 0.02
#: Standardized statistics beyond this are cut off: a joint that an estimator lost does not decide.
LARGEST = 4.0


def forward_bend(x: Tensor) -> Tensor:
    """How far the knees are in front of the line from hip to ankle, along x, mean over time and both legs: [B, 30, T] -> [B].

    Knees bend forward only, so a positive value means that the person walks to the right.
    """
    across = x.unflatten(1, (NUM_JOINTS, 2))[:, :, 0].mean(2)
    legs = ((RIGHT_HIP, RIGHT_KNEE, RIGHT_ANKLE), (LEFT_HIP, LEFT_KNEE, LEFT_ANKLE))
    return sum(across[:, knee] - (across[:, hip] + across[:, ankle]) / 2 for hip, knee, ankle in legs) / 2


def facing_right(x: Tensor) -> Tensor:
    """Those that walk to the left in a mirror, the others as they are: [B, 30, T] -> [B, 30, T].

    The side of the body that is nearer to the camera then has the same joint numbers in every walk.
    """
    return torch.where((forward_bend(x) < 0)[:, None, None], mirror(x), x)


def window_statistics(x: Tensor) -> Tensor:
    """What a window is like, whichever way it faces and wherever in the gait cycle it begins: [B, 30, T] -> [B, STATISTICS].

    Mean, standard deviation, maximum and minimum over time of the coordinates and of the distances between all joints (torso
    lengths); standard deviation and mean absolute value of the velocities (torso lengths in two frames); standard deviation of
    the bone vectors.
    """
    x = facing_right(x)
    across, down = x[:, 0::2], x[:, 1::2]

    def between(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        return across[:, b] - across[:, a], down[:, b] - down[:, a]

    bone = torch.cat(between(*bone_ends(x.device).T), 1)
    distance = sum(side.square() for side in between(*PAIRS.to(x.device))).add(TINY).sqrt()
    course = torch.cat([x, distance], 1)
    velocity = x[..., 2:] - x[..., :-2]
    (mean, spread), (_, hurry), (_, swing) = (_mean_and_deviation(y) for y in (course, velocity, bone))
    return torch.cat([mean, spread, course.amax(2), course.amin(2), hurry, velocity.abs().mean(2), swing], 1)


def _mean_and_deviation(x: Tensor) -> tuple[Tensor, Tensor]:
    """Over time: [B, C, T] -> [B, C] each. Several times as fast as torch.std, and smooth at 0."""
    mean = x.mean(2)
    return mean, (x - mean[..., None]).square().mean(2).add(TINY).sqrt()


def fisher(values: np.ndarray, subject: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Directions in which what is seen of one person agrees and people differ (Fisher, 1936).

    values: float64 [N, D], standardized; subject: int64 [N], every person 0..people-1. Returns (origin [size], projection
    [D, size]): values @ projection - origin is wanted. Each direction is scaled so that the spread within a person is 1, then
    weighted by the square root of the share of its variance that lies between people: what one would expect of a person's mean
    given one observation (probabilistic LDA; Ioffe, ECCV 2006). Every person counts alike in the spread between people.
    """
    dimensions = values.shape[1]
    people = scipy.sparse.coo_array((np.ones(len(subject)), (subject, np.arange(len(subject))))).tocsr()
    means = (people @ values) / people.sum(1)[:, None]
    deviation = values - means[subject]
    within = deviation.T @ deviation / len(values)
    within = (1 - SHRINKAGE) * within + SHRINKAGE * np.trace(within) / dimensions * np.eye(dimensions)
    middle = means.mean(0)
    between = (means - middle).T @ (means - middle) / len(means)
    ratio, direction = scipy.linalg.eigh(between, within, subset_by_index=(dimensions - size, dimensions - 1))
    ratio = ratio.clip(0)
    projection = direction * np.sqrt(ratio / (1 + ratio))
    return middle @ projection, projection


def code_statistics(codes: Codes) -> Tensor:
    """What the codes of a window say of who walks: -> [B, N].

    Mean, standard deviation, maximum and minimum over time of the motion code; standard deviation and mean absolute value of its
    change in two frames; the body code.
    """
    motion = codes.motion
    change = motion[..., 2:] - motion[..., :-2]
    (mean, spread), (_, hurry) = _mean_and_deviation(motion), _mean_and_deviation(change)
    return torch.cat([mean, spread, motion.amax(2), motion.amin(2), hurry, change.abs().mean(2), codes.body], 1)


class Discriminants(nn.Module):
    """Linear discriminants of statistics, fitted in closed form on people who are not tested.

    statistics: how many there are. size: directions; there are fewer than people to fit on.
    """

    def __init__(self, statistics: int, size: int):
        super().__init__()
        self.size = size
        self.register_buffer("center", torch.zeros(statistics))
        self.register_buffer("scale", torch.ones(statistics))
        self.register_buffer("projection", torch.zeros(statistics, size))
        self.register_buffer("origin", torch.zeros(size))

    def _standardized(self, statistics: Tensor) -> Tensor:
        return ((statistics - self.center) / self.scale).clamp(-LARGEST, LARGEST)

    @torch.no_grad()
    def fit(self, statistics: Tensor, subject: np.ndarray) -> None:
        """statistics: [N, statistics] of training windows; subject: int64 [N], every person 0..people-1."""
        self.center.copy_(statistics.mean(0))
        self.scale.copy_(statistics.std(0) + 1e-6)  # the neck is at the origin in every frame
        values = self._standardized(statistics).double().cpu().numpy()
        origin, projection = fisher(values, subject, self.size)
        self.projection.copy_(torch.from_numpy(projection))
        self.origin.copy_(torch.from_numpy(origin))

    def forward(self, statistics: Tensor) -> Tensor:
        """[B, statistics] -> [B, size], not normalized."""
        return self._standardized(statistics) @ self.projection - self.origin
