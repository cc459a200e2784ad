"""Statistics of the pose over a window, and linear discriminants of people in them: no iteration, no gradient."""

import copy

import numpy as np
import scipy.linalg
import scipy.sparse
import torch
from torch import Tensor, nn

from gaitlib.data.preprocess import mirror
from gaitlib.model.autoencoder import ROWS, Codes, bone_ends
from gaitlib.skeleton import (
    BONES,
    JOINTS,
    LEFT_ANKLE,
    LEFT_HIP,
    LEFT_KNEE,
    NUM_JOINTS,
    RIGHT_ANKLE,
    RIGHT_HIP,
    RIGHT_KNEE,
)

#: Hip, knee and ankle.
LEGS = ((RIGHT_HIP, RIGHT_KNEE, RIGHT_ANKLE), (LEFT_HIP, LEFT_KNEE, LEFT_ANKLE))
#: All pairs of joints.
PAIRS = torch.triu_indices(NUM_JOINTS, NUM_JOINTS, 1)
#: Four for each coordinate and distance, two for each velocity, one for each coordinate of a bone.
STATISTICS = 4 * (ROWS + PAIRS.shape[1]) + 2 * ROWS + 2 * len(BONES)
_SEEN = [f"{joint} {axis}" for joint in JOINTS for axis in "xy"]
_COURSES = [*_SEEN, *(f"{JOINTS[a]} to {JOINTS[b]}" for a, b in PAIRS.T.tolist())]
#: Their names, in the order of `window_statistics`.
STATISTIC_NAMES = [
    *(f"{name} of {course}" for name in ("mean", "deviation", "maximum", "minimum") for course in _COURSES),
    *(f"{name} of the velocity of {joint}" for name in ("deviation", "size") for joint in _SEEN),
    *(f"deviation of {JOINTS[a]} to {JOINTS[b]} {axis}" for axis in "xy" for a, b in BONES),
]
#: Added under square roots, so that there is a gradient at 0.
TINY = 1e-12
#: More discriminants than this bring no measurable gain.
MOST_DISCRIMINANTS = 256
#: The covariance within people is shrunk toward a multiple of the identity by this share.
SHRINKAGE = 0.02
#: The weight of the training people's within-person covariance, next to that of the people whom discriminants are adapted to.
KEPT = 0.3
#: Standardized statistics are clipped at this, so that a joint lost by an estimator does not dominate.
LARGEST = 4.0


def forward_bend(x: Tensor) -> Tensor:
    """How far the knees are in front of the line from hip to ankle, along x, mean over time and both legs: [B, 30, T] -> [B].

    Knees bend only forward, so a positive value means that the person walks to the right.
    """
    across = x.unflatten(1, (NUM_JOINTS, 2))[:, :, 0].mean(2)
    return sum(across[:, knee] - (across[:, hip] + across[:, ankle]) / 2 for hip, knee, ankle in LEGS) / 2


def facing_right(x: Tensor) -> Tensor:
    """Mirror walks to the left and keep the others: [B, 30, T] -> [B, 30, T].

    The side of the body that is nearer to the camera then has the same joint numbers in every walk.
    """
    return torch.where((forward_bend(x) < 0)[:, None, None], mirror(x), x)


def window_statistics(x: Tensor) -> Tensor:
    """Statistics of a window, independent of its facing and its start in the gait cycle: [B, 30, T] -> [B, STATISTICS].

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
    """Mean and standard deviation over time: [B, C, T] -> [B, C] each. Several times as fast as torch.std, and smooth at 0."""
    mean = x.mean(2)
    return mean, (x - mean[..., None]).square().mean(2).add(TINY).sqrt()


def fisher(values: np.ndarray, subject: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Directions in which samples of one person agree and people differ (Fisher, 1936).

    values: float64 [N, D], standardized; subject: int64 [N], every person 0..people-1. Returns (origin [size], projection
    [D, size]), to be used as values @ projection - origin; see `discriminate`.
    """
    between, within, middle = scatter(values, subject)
    projection, _, _ = discriminate(between, within, size)
    return middle @ projection, projection


def scatter(values: np.ndarray, group: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The covariance of the group means, the covariance within groups, and the mean of the means: [D, D], [D, D], [D].

    values: float64 [N, D]; group: int64 [N], every group 0..groups-1; groups have equal weight in the first and the last.
    """
    groups = scipy.sparse.coo_array((np.ones(len(group)), (group, np.arange(len(group))))).tocsr()
    means = (groups @ values) / groups.sum(1)[:, None]
    deviation, middle = values - means[group], means.mean(0)
    return (means - middle).T @ (means - middle) / len(means), deviation.T @ deviation / len(values), middle


def discriminate(between: np.ndarray, within: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Covariances between and within people, [D, D] each -> projection [D, size], its factor of `within` [D, size], ratio [size].

    Each direction is scaled to unit variance within a person, then weighted by the square root of the share of its
    variance that lies between people: the expectation of a person's mean given one observation (probabilistic LDA; Ioffe,
    ECCV 2006). With the factor k and the ratio r of between to within in these directions, k k' is their part of `within` and
    k r k' their part of `between`.
    """
    dimensions = len(within)
    within = (1 - SHRINKAGE) * within + SHRINKAGE * np.trace(within) / dimensions * np.eye(dimensions)
    ratio, direction = scipy.linalg.eigh(between, within, subset_by_index=(dimensions - size, dimensions - 1))
    ratio = ratio.clip(0)
    return direction * np.sqrt(ratio / (1 + ratio)), within @ direction, ratio


def code_statistics(codes: Codes) -> Tensor:
    """Statistics of the codes of a window, for recognition: -> [B, N].

    Mean, standard deviation, maximum and minimum over time of the motion code; standard deviation and mean absolute value of its
    change in two frames; the body code.
    """
    motion = codes.motion
    change = motion[..., 2:] - motion[..., :-2]
    (mean, spread), (_, hurry) = _mean_and_deviation(motion), _mean_and_deviation(change)
    return torch.cat([mean, spread, motion.amax(2), motion.amin(2), hurry, change.abs().mean(2), codes.body], 1)


class Discriminants(nn.Module):
    """Linear discriminants of statistics, fitted in closed form on people who are not tested.

    statistics: their number. size: the number of directions, fewer than the people to fit on. adaptable: keep what `adapt` needs.
    """

    def __init__(self, statistics: int, size: int, adaptable: bool = True):
        super().__init__()
        self.size = size
        self.register_buffer("center", torch.zeros(statistics))
        self.register_buffer("scale", torch.ones(statistics))
        self.register_buffer("projection", torch.zeros(statistics, size))
        self.register_buffer("origin", torch.zeros(size))
        self.register_buffer("within", torch.zeros(statistics, size) if adaptable else None)
        self.register_buffer("ratio", torch.zeros(size))

    def _standardized(self, statistics: Tensor) -> Tensor:
        return ((statistics - self.center) / self.scale).clamp(-LARGEST, LARGEST)

    @torch.no_grad()
    def fit(self, statistics: Tensor, subject: np.ndarray, known: "Discriminants | None" = None) -> None:
        """Fit to statistics [N, statistics] of training windows; subject: int64 [N], every person 0..people-1.

        known: fitted elsewhere on the same statistics; its covariance between people then weighs as much as that found here.
        """
        between, within, middle = scatter(self._measure(statistics), subject)
        if known:
            elsewhere, _ = self._covariances(known)
            between += elsewhere * np.trace(between) / np.trace(elsewhere)
        self._set(middle, *discriminate(between, within, self.size))

    @torch.no_grad()
    def adapt(self, statistics: Tensor, group: np.ndarray) -> None:
        """Keep the covariance between training people, but take the covariance within people from enrolled people.

        statistics: [N, statistics] of windows of enrolled people; group: int64 [N], 0..groups-1, one person in one view each. The
        variation within a person depends on the estimator and the cameras; the variation between people depends less on them.
        Variation that enrolled people cannot show, such as other clothes, is kept from training with the weight KEPT.
        """
        before = copy.deepcopy(self)
        _, within, middle = scatter(self._measure(statistics), group)
        between, kept = self._covariances(before)
        self._set(middle, *discriminate(between, within + KEPT * kept, self.size))

    def _covariances(self, other: "Discriminants") -> tuple[np.ndarray, np.ndarray]:
        """The covariances between and within people of other discriminants, in our units: [statistics, statistics] each."""
        part = (other.within * (other.scale / self.scale)[:, None]).double().cpu().numpy()
        return part * other.ratio.double().cpu().numpy() @ part.T, part @ part.T

    def _measure(self, statistics: Tensor) -> np.ndarray:
        """Set center and scale to the mean and deviation of these statistics: float64 [N, statistics], standardized."""
        self.center.copy_(statistics.mean(0))
        self.scale.copy_(statistics.std(0) + 1e-6)  # the neck is at the origin in every frame
        return self._standardized(statistics).double().cpu().numpy()

    def _set(self, middle: np.ndarray, projection: np.ndarray, within: np.ndarray, ratio: np.ndarray) -> None:
        found = {"projection": projection, "within": within, "ratio": ratio, "origin": middle @ projection}
        for name, values in found.items():
            if getattr(self, name) is not None:
                getattr(self, name).copy_(torch.from_numpy(values))

    def forward(self, statistics: Tensor) -> Tensor:
        """[B, statistics] -> [B, size], not normalized."""
        return self._standardized(statistics) @ self.projection - self.origin
