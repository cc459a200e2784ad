"""The autoencoder of `beyond`: motion and body codes make a walker in three dimensions, and the view code is the camera.

Axes of the walker: x the way the person walks, y to the person's left, z up; neck at the origin; about torso lengths. A camera
at a degrees sees the person walk toward a degrees: at 0 toward the camera, at 90 to the left of the image, as in data/walkers.py.
The camera stands still while the person passes by, so its direction changes within a window.
"""

import math
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gaitlib.model.autoencoder import ROWS, WINDOWS, Autoencoder, Codes, bone_ends
from gaitlib.model.discriminants import STATISTICS, Discriminants, window_statistics
from gaitlib.skeleton import BONES, MID_HIP, NECK, NUM_JOINTS

#: Code sizes: of motion in each frame; of the body, without discriminants; of the view: the directions of the camera in
#: the first and the last frame.
MOTION, BODY, VIEW = 64, 64, 4
#: The encoders see every second frame, so one of their frames covers two frames of the walk.
PACE = 2
#: Central differences are multiplied by this to be about as large as coordinates.
VELOCITY = 5
POSE_FEATURES = 2 * ROWS + 2 * len(BONES)
#: Units in the hidden layers for static quantities.
HIDDEN = 384
#: Discriminants have a deviation of one within a person and several between people; this scales them to the size of other codes.
DISCRIMINANT_SCALE = 0.3
#: A deviation too small to divide by, torso lengths.
STILL = 0.05
#: The steepest camera, in radians, and the nearest one, in torso lengths over its distance.
STEEPEST, NEAREST = 0.5, 0.12
#: Harmonics of the camera direction in the mean dependence of codes on it, and the ridge penalty, in windows.
HARMONICS, RIDGE = 7, 20


def pose_features(x: Tensor) -> Tensor:
    """Joints, bone vectors and velocities: [B, 30, T] -> [B, 88, T]; velocities: central differences, scaled to like size."""
    joints = x.unflatten(1, (NUM_JOINTS, 2))
    ends = bone_ends(x.device)
    bones = (joints[:, ends[:, 1]] - joints[:, ends[:, 0]]).flatten(1, 2)
    padded = F.pad(x, (1, 1), mode="replicate")
    velocity = (padded[..., 2:] - padded[..., :-2]) * VELOCITY
    return torch.cat([x, bones, velocity], 1)


def direction(view: Tensor) -> Tensor:
    """The direction of the camera in the middle of the window: view codes [B, VIEW] -> unit vectors [B, 2]."""
    return F.normalize(view[:, :2] + view[:, 2:], dim=1)


def camera(degrees: Tensor) -> Tensor:
    """The view code of a camera that always sees the person walk toward these degrees: [B] -> [B, VIEW]."""
    angle = torch.deg2rad(degrees)
    return torch.stack([angle.cos(), angle.sin()], 1).repeat(1, 2)


def turned(view: Tensor, degrees: float) -> Tensor:
    """The view codes of cameras moved around the walker by these degrees: [B, VIEW] -> [B, VIEW]."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x, y = view.unflatten(1, (2, 2)).unbind(2)
    return torch.stack([x * cosine - y * sine, x * sine + y * cosine], 2).flatten(1)


def project(walker: Tensor, view: Tensor, pitch: Tensor, nearness: Tensor) -> Tensor:
    """The image of a camera that looks at the neck, scaled to a mean torso length of 1: -> [B, 30, T].

    walker: [B, 15, 3, T]. view: [B, VIEW]; the direction is interpolated linearly from its first to its last value. pitch: [B],
    downward tilt of the camera in radians. nearness: [B], the inverse of its distance; 0 is parallel projection.
    """
    share = torch.linspace(0, 1, walker.shape[3], device=view.device, dtype=view.dtype)
    way = F.normalize(view[:, :2, None] * (1 - share) + view[:, 2:, None] * share, dim=1)  # [B, 2, T]
    x, y, z = walker.unbind(2)
    cosine, sine = way[:, :1], way[:, 1:]
    ahead = x * cosine + y * sine  # [B, 15, T], level, toward the camera
    up, level = pitch.sin()[:, None, None], pitch.cos()[:, None, None]
    across, down, toward = y * cosine - x * sine, ahead * up - z * level, ahead * level + z * up
    image = torch.stack([across, down], 2) / (1 - nearness[:, None, None] * toward).clamp(min=0.5)[:, :, None]
    torso = (image[:, MID_HIP] - image[:, NECK]).square().sum(1).add(1e-6).sqrt().mean(1)
    return (image / torso[:, None, None, None]).flatten(1, 2)


def halves(x: Tensor) -> Tensor:
    """The means over the first and the last half of the frames: [B, C, T] -> [B, 2 C]."""
    half = (x.shape[2] + 1) // 2
    return torch.cat([x[..., :half].mean(2), x[..., -half:].mean(2)], 1)


class StillHead(nn.Module):
    """The sum of a linear map and a network with one hidden layer: [B, a] -> [B, b]."""

    def __init__(self, a: int, b: int):
        super().__init__()
        self.straight = nn.Linear(a, b)
        self.bent = nn.Sequential(nn.Linear(a, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, b))

    def forward(self, x: Tensor) -> Tensor:
        return self.straight(x) + self.bent(x)


class Encoders(nn.Module):
    """Two shared layers and a head for each code: pose features [B, 88, T] -> motion, body, view.

    Body and view are read from the whole window: from the means over its halves, the features' deviation and the layers' maximum;
    the body also from its statistics, [B, STATISTICS]. The means over the halves are also added to the layer from which motion
    is read, because the appearance of a movement depends on the camera.
    """

    def __init__(self, width: int, kernel: int):
        super().__init__()
        self.first = nn.Conv1d(POSE_FEATURES, width, kernel, PACE, kernel // 2)
        self.second = nn.Conv1d(width, width, kernel, 1, kernel // 2)
        self.context = nn.Linear(2 * width, width)
        self.motion = nn.Conv1d(width, PACE * MOTION, 1)
        whole = 3 * (width + POSE_FEATURES)
        self.body, self.view = StillHead(whole + STATISTICS, BODY), StillHead(whole, VIEW)

    def forward(self, features: Tensor, statistics: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """-> motion [B, MOTION, T], body [B, BODY], view [B, VIEW]."""
        hidden = self.second(F.relu(self.first(features)))
        seen = F.relu(hidden)
        means = halves(seen)
        deviation = features.var(2, correction=0).add(1e-4).sqrt()  # smooth at zero deviation
        whole = torch.cat([means, seen.amax(2), halves(features), deviation], 1)
        paced = self.motion(F.relu(hidden + self.context(means)[..., None]))
        motion = paced.unflatten(1, (MOTION, PACE)).transpose(2, 3).flatten(2)[..., : features.shape[2]]
        body = self.body(torch.cat([whole, statistics], 1))
        return motion, body, F.normalize(self.view(whole).unflatten(1, (2, 2)), dim=2).flatten(1)


class GeometricDecoder(nn.Module):
    """Make a walker from motion and body, and project it into a camera. The published decoder discards its third coordinate."""

    def __init__(self, width: int, body: int = BODY):
        super().__init__()
        self.first = nn.Conv1d(PACE * MOTION, width, 5, padding=2)
        self.manner = nn.Linear(body, 2 * width)
        self.second = nn.Conv1d(width, width, 5, padding=2)
        self.third = nn.Conv1d(width, PACE * 3 * NUM_JOINTS, 3, padding=1)
        self.stance = nn.Sequential(nn.Linear(body, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 3 * NUM_JOINTS))
        self.optics = nn.Sequential(nn.Linear(VIEW, 32), nn.ReLU(), nn.Linear(32, 2))

    def walker(self, motion: Tensor, body: Tensor) -> Tensor:
        """[B, MOTION, T], [B, body] -> [B, 15, 3, T], neck at the origin."""
        frames = motion.shape[2]
        paced = F.pad(motion, (0, -frames % PACE), mode="replicate").unflatten(2, (-1, PACE)).transpose(2, 3).flatten(1, 2)
        gain, shift = self.manner(body)[..., None].chunk(2, 1)
        y = self.third(F.relu(self.second(F.relu(self.first(paced) * (1 + gain) + shift))))
        moving = y.unflatten(1, (3 * NUM_JOINTS, PACE)).transpose(2, 3).flatten(2)[..., :frames]
        walker = (moving + self.stance(body)[..., None]).unflatten(1, (NUM_JOINTS, 3))
        return walker - walker[:, NECK : NECK + 1]

    def see(self, walker: Tensor, view: Tensor) -> Tensor:
        """The image of a walker [B, 15, 3, T] in the camera of a view code [B, VIEW] -> [B, 30, T]."""
        pitch, nearness = self.optics(view).unbind(1)
        return project(walker, view, STEEPEST * pitch.tanh(), NEAREST * nearness.sigmoid())


class LevelByView(nn.Module):
    """Remove the mean dependence of codes on the camera, so that all views have the same mean and liveliness.

    Fitted in closed form on codes of training people, by ridge regression on harmonics of the camera direction; before
    that it is the identity.
    """

    def __init__(self, channels: int):
        super().__init__()
        terms = 1 + 2 * HARMONICS
        self.register_buffer("excess", torch.zeros(terms, channels))
        self.register_buffer("liveliness", torch.zeros(terms, channels))
        self.register_buffer("usual", torch.ones(channels))

    @staticmethod
    def harmonics(view: Tensor) -> Tensor:
        """1, cos k a, sin k a of the direction a: [B, VIEW] -> [B, 1 + 2 HARMONICS]."""
        way = direction(view)
        angle = torch.atan2(way[:, 1], way[:, 0])[:, None] * torch.arange(1, HARMONICS + 1, device=view.device)
        return torch.cat([torch.ones_like(angle[:, :1]), angle.cos(), angle.sin()], 1)

    def fit(self, mean: Tensor, spread: Tensor, view: Tensor) -> None:
        """mean, spread: of the codes of B windows over time, [B, channels] (spread: ones for codes without time)."""
        # on the CPU: GPUs of Macs have no 64-bit numbers
        basis, mean, spread = (values.cpu().double() for values in (self.harmonics(view), mean, spread))
        square = basis.T @ basis + RIDGE * torch.eye(basis.shape[1]).to(basis)

        def course(values: Tensor) -> Tensor:
            return torch.linalg.solve(square, basis.T @ (values - values.mean(0)))

        self.excess.copy_(course(mean))
        self.liveliness.copy_(course(spread))
        self.usual.copy_(spread.mean(0))

    def forward(self, code: Tensor, view: Tensor) -> Tensor:
        """code: [B, channels] or [B, channels, T] -> the leveled code, of the same shape."""
        basis = self.harmonics(view)
        if code.ndim == 2:
            return code - basis @ self.excess
        gain = (self.usual / (self.usual + basis @ self.liveliness).clamp(min=1e-4)).clamp(0.5, 2.0)
        mean = code.mean(2, keepdim=True)
        return (code - mean) * gain[..., None] + mean - (basis @ self.excess)[..., None]


class GeometricAutoencoder(Autoencoder):
    """Encoders on pose features and a decoder that works in three dimensions.

    width, kernel: channels and frames of the hidden layers (in the decoder, only channels).
    discriminants: how many numbers of the body code, beside the learned ones, are discriminants of the pose statistics, fitted in
    closed form before training. After training, in eval mode, codes are leveled (LevelByView).
    """

    fitted: ClassVar = True

    def __init__(self, width: int = 128, kernel: int = 9, discriminants: int = 0):
        super().__init__()
        self.sizes = {"pose": ROWS, "motion": MOTION, "body": BODY + discriminants, "view": VIEW}
        for name, size in (("feature", POSE_FEATURES), ("statistic", STATISTICS)):
            self.register_buffer(f"{name}_center", torch.zeros(size))
            self.register_buffer(f"{name}_spread", torch.ones(size))
        self.encoders, self.decoder = Encoders(width, kernel), GeometricDecoder(width, self.sizes["body"])
        self.discriminants = Discriminants(STATISTICS, discriminants, adaptable=False) if discriminants else None
        self.level_motion, self.level_body = LevelByView(MOTION), LevelByView(self.sizes["body"])

    def measure(self, x: Tensor, subject: np.ndarray) -> None:
        """Standardize features and statistics for the encoders on these windows, and fit the discriminants.

        The deviation is at least STILL, so that joints that hardly move are not amplified.
        """
        statistics = torch.cat([window_statistics(part) for part in x.split(WINDOWS)])
        for name, values, over in (("feature", pose_features(x), (0, 2)), ("statistic", statistics, 0)):
            deviation, mean = torch.std_mean(values, over)
            getattr(self, f"{name}_center").copy_(mean)
            getattr(self, f"{name}_spread").copy_(torch.hypot(deviation, torch.full_like(deviation, STILL)))
        if self.discriminants:
            self.discriminants.fit(statistics, subject)

    def _encode(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        features = (pose_features(x) - self.feature_center[:, None]) / self.feature_spread[:, None]
        statistics = window_statistics(x)
        motion, body, view = self.encoders(features, (statistics - self.statistic_center) / self.statistic_spread)
        if self.discriminants:
            body = torch.cat([body, DISCRIMINANT_SCALE * self.discriminants(statistics)], 1)
        return motion, body, view

    @torch.no_grad()
    def level(self, x: Tensor) -> None:
        """Fit the leveling of the codes in eval mode on windows [N, 30, T] of training people."""
        motion, body, view = map(torch.cat, zip(*(self._encode(part) for part in x.split(WINDOWS)), strict=True))
        self.level_motion.fit(motion.mean(2), motion.std(2, correction=0), view)
        self.level_body.fit(body, torch.ones_like(body), view)

    def encode(self, x: Tensor) -> Codes:
        """See Autoencoder; without sequences."""
        motion, body, view = self._encode(x)
        if not self.training:
            motion, body = self.level_motion(motion, view), self.level_body(body, view)
        return Codes(motion, body, view)

    def decode(self, motion: Tensor, body: Tensor, view: Tensor, which: Tensor | None = None) -> Tensor:
        """See Autoencoder."""
        walker = self.decoder.walker(motion, body)
        return self.decoder.see(walker if which is None else walker.index_select(0, which), view)
