"""Clinical gait parameters of a walk in the image or of a walker in three dimensions.

A walk is float [T, 15, 2], image x right and y down, in any unit, or float [T, 15, 3], z up, x and y level and right-handed, in
any direction; NaN is a missing joint. A walker in three dimensions is viewed from the side, so that both are measured alike.

- Cadence: walking repeats itself every stride, and the left side does what the right side did half a stride before. So
  the differences between the sides hold the odd multiples of the stride frequency and their sums the even ones, which is also
  the basis of harmonic ratios (Bellanca et al., "Harmonic ratios: a quantification of step to step symmetry", J Biomech 46,
  2013). The frequency is the one whose multiples best explain the movement of the limbs, by least squares (Quinn and Thomson,
  "Estimating the frequency of a periodic function", Biometrika 78, 1991). Outliers, as when legs swap, get less weight (Huber).
- Steps: a step ends where the foot is farthest ahead of the hips (Zeni, Richards and Higginson, "Two simple methods for
  determining gait events during treadmill and overground walking using kinematic data", Gait & Posture 27, 2008). The ankles go
  through a zero-lag Butterworth filter (Winter, "Biomechanics and Motor Control of Human Movement", 4th ed., 2009), and a
  parabola through three frames gives the moment.
- Variability of step time: the standard deviation within each side, which excludes asymmetry, in % of the mean (Galna,
  Lord and Rochester, "Is gait variability reliable in older adults and Parkinson's disease?", Gait & Posture 37, 2013).
- Symmetry: right minus left step time in % of the mean of both, 0 is symmetric (Robinson, Herzog and Nigg, "Use of force
  platform variables to quantify the effects of chiropractic manipulation on gait symmetry", J Manipulative Physiol Ther 10,
  1987).
- Knee: between thigh and shank. Hip: between trunk and thigh (Winter 2009), because 15 joints do not show the tilt of the pelvis.
  The range is that of the mean cycle, because noise exaggerates the largest and the smallest angle of a walk.

docs/gait_parameters.md reports how well each is measured.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
import torch

from gaitlib import InputError
from gaitlib.data.cameras import project
from gaitlib.data.preprocess import NormalizedWalks, normalize_frames
from gaitlib.data.walkers import ANKLES, ELBOWS, HIPS, KNEES, WRISTS
from gaitlib.model.geometric import GeometricAutoencoder
from gaitlib.model.recognizer import GaitModel
from gaitlib.skeleton import JOINTS, MID_HIP, MIRROR, NECK, NUM_JOINTS

#: The parameters and their units.
PARAMETERS = {
    "cadence": "steps/min", "step_time": "s", "step_time_variability": "%", "step_time_symmetry": "%",
    "right_knee_range": "degrees", "left_knee_range": "degrees", "right_hip_range": "degrees", "left_hip_range": "degrees",
}  # fmt: skip
#: The stride frequencies tried, 60 to 190 steps a minute; a walk must hold at least this many strides.
STRIDE_FREQUENCIES, FEWEST_STRIDES = np.arange(0.5, 1.6, 0.02), 1.3
#: Frames a second below which steps cannot be found.
LOWEST_RATE = 12
#: With fewer strides, a remark says that more would make the result more reliable.
FEW_STRIDES = 3
#: Strides must explain at least this share of the movement, divided by the number of frames; of noise they explain half as much.
LEAST_EXPLAINED = 12
#: Harmonics of the stride frequency: in the mean cycle of angles, and in the low-pass filtered ankles used to find steps.
ANGLE_HARMONICS, STEP_HARMONICS = 6, 4
#: A residual this many times the median gets less weight.
FAR_OFF = 2.5
#: How far from its time in a steady rhythm a step is searched, in strides.
STEP_REACH = 0.15
#: If the ankles swing less than this along x, in torso lengths to either side, the view is frontal.
SMALLEST_SWING = 0.25
#: If a leg joint is missing in more than this share of the frames, nothing is measured.
MOST_MISSING = 0.5

LEGS = [*HIPS, *KNEES, *ANKLES]
#: The joints that swing on the right; MIRROR gives the left ones.
LIMBS = [pair[0] for pair in (KNEES, ANKLES, ELBOWS, WRISTS)]


@dataclass(frozen=True)
class GaitParameters:
    """The parameters of a walk; NaN if unknown, with the reason in `limits`.

    cadence: steps a minute. step_time: mean, seconds. step_time_variability: %, within sides. step_time_symmetry: %, positive
    if the steps of the right foot take longer. Ranges of motion: degrees, in the image or, in three dimensions, in the sagittal
    plane; those in the image are correct only from the side. steps: the length of the walk in steps. limits: what would make the
    results more reliable, a sentence each.
    """

    cadence: float = np.nan
    step_time: float = np.nan
    step_time_variability: float = np.nan
    step_time_symmetry: float = np.nan
    right_knee_range: float = np.nan
    left_knee_range: float = np.nan
    right_hip_range: float = np.nan
    left_hip_range: float = np.nan
    steps: int = 0
    limits: tuple[str, ...] = ()


def gait_parameters(joints: np.ndarray, fps: float) -> GaitParameters:
    """The gait parameters of one walk, float [T, 15, 2] or [T, 15, 3] (see the top of this file), at `fps` frames a second.

    Raises InputError for another shape or an impossible frame rate.
    """
    joints = np.asarray(joints, dtype=np.float64)
    is_walk = joints.ndim == 3 and joints.shape[1:] in ((NUM_JOINTS, 2), (NUM_JOINTS, 3)) and len(joints)
    if not is_walk or not 0 < fps < np.inf:
        raise InputError(
            f"Gait parameters need a walk [T,{NUM_JOINTS},2] or [T,{NUM_JOINTS},3] and its frames a second, not "
            f"{list(joints.shape)} and {fps:g}."
        )
    missing = ~np.isfinite(joints[:, LEGS]).all(-1)
    share = missing.any(1).mean()
    limits = []
    if share > 0.05:
        worst = JOINTS[LEGS[missing.mean(0).argmax()]].replace("_", " ")
        limits.append(f"A leg joint is missing in {share:.0%} of the frames, most often the {worst}.")
    if share > MOST_MISSING:
        return GaitParameters(limits=tuple(limits))
    if fps < LOWEST_RATE:
        limits.append(f"There are {fps:g} frames a second; finding steps takes at least {LOWEST_RATE}.")
        return GaitParameters(limits=tuple(limits))
    pose = _side_view(joints, fps)
    frequency = stride_frequency(pose, fps)
    seconds = len(pose) / fps
    if np.isnan(frequency):
        limits.append(f"No steady strides were found in {seconds:.1f} seconds; about {FEW_STRIDES} in a row are needed.")
        return GaitParameters(limits=tuple(limits))
    if seconds * frequency < FEW_STRIDES:
        limits.append(
            f"Only {seconds * frequency:.1f} strides in {seconds:.1f} seconds; {FEW_STRIDES} or more are more reliable."
        )
    time, right = steps(pose, fps, frequency)
    variability, symmetry = step_statistics(time, right)
    ranges = cycle_ranges(joint_angles(pose), fps, frequency)
    if not len(time):
        ranges[:] = np.nan
        limits.append(
            "The walk is seen from the front or from behind, where neither the angles of knees and hips nor the times of "
            "steps are visible; film from the side to get them."
        )
    elif np.isnan(variability):
        limits.append(f"Only {len(time)} steps were timed; the variability needs five in a row.")
    count = int(2 * frequency * seconds)
    return GaitParameters(120 * frequency, 0.5 / frequency, variability, symmetry, *ranges.tolist(), count, tuple(limits))


def gait_table(walks: Iterable[np.ndarray], fps: Iterable[float]) -> pd.DataFrame:
    """The gait parameters of many walks, one row each: columns of GaitParameters, the limits as one text."""
    table = pd.DataFrame([asdict(gait_parameters(*walk)) for walk in zip(walks, fps, strict=True)])
    return table.assign(limits=table["limits"].str.join(" "))


@torch.no_grad()
def decoded_walkers(model: GaitModel, walks: NormalizedWalks) -> list[np.ndarray]:
    """The walkers decoded by a model from whole walks: float32 [T, 15, 3] each, x ahead, z up, neck at the origin.

    Raises InputError for a model whose decoder does not make 3D walkers.
    """
    if not isinstance(model.autoencoder, GeometricAutoencoder):
        raise InputError("The decoder of this model does not make 3D walkers; use a model with `autoencoder: geometric`.")
    device = next(model.parameters()).device
    model.eval()
    walkers = []
    for start, length in zip(walks.start, walks.length, strict=True):
        x = torch.from_numpy(walks.frames[start : start + length]).flatten(1).T[None].to(device)
        codes = model.autoencoder.encode(x)
        walkers.append(model.autoencoder.decoder.walker(codes.motion, codes.body)[0].permute(2, 0, 1).cpu().numpy())
    return walkers


def _side_view(joints: np.ndarray, fps: float) -> np.ndarray:
    """The image of a walk, or of a walker in three dimensions who walks to the right, normalized: float64 [T, 15, 2]."""
    if joints.shape[2] == 3:
        joints = project(joints[..., [0, 2, 1]] * [1, 1, -1], [270], fps=fps)[0]  # its axes have y up
    pose = np.array(joints, dtype=np.float32)
    normalize_frames(pose, np.array([0]), np.array([len(pose)]))
    return pose.astype(np.float64)


def _trend(frames: int) -> np.ndarray:
    """A constant and a straight line over the walk: [T, 2]."""
    return np.stack([np.ones(frames), np.linspace(-1, 1, frames)], 1)


def _waves(time: np.ndarray, frequency: np.ndarray, harmonics: Iterable[int]) -> np.ndarray:
    """cos and sin of harmonics of frequencies: time [T], frequency [...] -> [..., T, 2 harmonics]."""
    angle = 2 * np.pi * np.multiply.outer(frequency, time)[..., None] * np.array(harmonics)
    return np.concatenate([np.cos(angle), np.sin(angle)], -1)


def _residual_weight(residual: np.ndarray) -> np.ndarray:
    """Huber's weight of residuals along the first axis."""
    far = np.abs(residual) / (FAR_OFF * np.median(np.abs(residual), axis=0) + 1e-12)
    return 1 / np.maximum(far, 1)


def stride_frequency(pose: np.ndarray, fps: float) -> float:
    """Strides a second of a walk without missing joints, float [T, 15, 2]; NaN if there are no steady strides."""
    frames = len(pose)
    tried = STRIDE_FREQUENCIES[STRIDE_FREQUENCIES * frames / fps >= FEWEST_STRIDES]
    if len(tried) < 3:
        return np.nan
    time, trend = np.arange(frames) / fps, _trend(frames)
    right, left = (pose[:, limbs].reshape(frames, -1) for limbs in (LIMBS, MIRROR[LIMBS]))
    parts = [y - trend @ np.linalg.lstsq(trend, y)[0] for y in (right - left, right + left)]
    weights = [np.ones(frames)] * 2

    def explained(frequency: np.ndarray, harmonics: Iterable[Iterable[int]]) -> np.ndarray:
        """The amount of movement explained by the series."""
        total = 0
        for y, weight, which in zip(parts, weights, harmonics, strict=True):
            root = np.sqrt(weight)[:, None]
            waves = _waves(time, frequency, which)
            q, _ = np.linalg.qr(np.concatenate([np.broadcast_to(trend, (*waves.shape[:2], 2)), waves], 2) * root)
            total = total + np.square(q.swapaxes(1, 2) @ (y * root)).sum((1, 2))
        return total

    # the first harmonics alone never mistake half the frequency for the whole
    of_tried = explained(tried, ((1,), (2,)))
    best = of_tried.argmax()
    total = sum(np.square(y).sum() for y in parts)
    if best in (0, len(tried) - 1) or of_tried[best] < LEAST_EXPLAINED / frames * total:
        return np.nan
    frequency, harmonics = tried[best], ((1, 3), (2, 4))
    for reach in (0.08, 0.02, 0.02):
        near = frequency + np.linspace(-reach, reach, 21)
        frequency = near[0] + _top(explained(near, harmonics)) * (near[1] - near[0])
        if np.isnan(frequency):
            return np.nan
        for k, (y, which) in enumerate(zip(parts, harmonics, strict=True)):
            basis = np.concatenate([trend, _waves(time, frequency, which)], 1)
            weights[k] = _residual_weight(np.linalg.norm(y - basis @ np.linalg.lstsq(basis, y)[0], axis=1))
    return float(frequency)


def _top(values: np.ndarray) -> np.ndarray:
    """The position of the largest value along the last axis, refined by a parabola: [..., n] -> float [...]; NaN at the ends."""
    best = values.argmax(-1)
    inside = (best > 0) & (best < values.shape[-1] - 1)
    around = np.where(inside, best, 1)[..., None] + [-1, 0, 1]
    before, at, after = np.moveaxis(np.take_along_axis(values, around, -1), -1, 0)
    bend = np.minimum(before - 2 * at + after, -1e-12)
    return np.where(inside, best + (before - after) / (2 * bend), np.nan)


def _turn(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The angle from vectors a to b, clockwise on the screen: [..., 2] -> degrees [...]."""
    return np.degrees(np.arctan2(a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0], (a * b).sum(-1)))


def joint_angles(pose: np.ndarray) -> np.ndarray:
    """Flexion in the image, degrees [T, 4]: right knee, left knee, right hip, left hip; 0 is straight.

    pose: float [T, 15, 2].
    """
    trunk, thigh, shank = pose[:, [MID_HIP]] - pose[:, [NECK]], pose[:, KNEES] - pose[:, HIPS], pose[:, ANKLES] - pose[:, KNEES]
    return np.concatenate([_turn(thigh, shank), _turn(thigh, trunk)], 1) * heading(pose)


def heading(pose: np.ndarray) -> int:
    """1 for a walk to the right of the image, -1 to the left, since knees bend only one way. pose: float [T, 15, 2]."""
    bend = _turn(pose[:, KNEES] - pose[:, HIPS], pose[:, ANKLES] - pose[:, KNEES])
    return 1 if bend.mean() >= 0 else -1


def cycle_ranges(angles: np.ndarray, fps: float, frequency: float) -> np.ndarray:
    """The ranges of the mean cycles of angles, [T, n] -> [n]: Fourier series, with less weight for outliers."""
    harmonics = range(1, min(ANGLE_HARMONICS, int(fps / 2 / frequency)) + 1)
    basis, cycle = (
        np.concatenate([np.ones((len(time), 1)), _waves(time, frequency, harmonics)], 1)
        for time in (np.arange(len(angles)) / fps, np.linspace(0, 1 / frequency, 100))
    )
    root = np.ones_like(angles)
    for _ in range(4):
        # one least-squares problem per angle, because each has its own weights
        series = np.stack([np.linalg.lstsq(basis * w[:, None], y * w)[0] for y, w in zip(angles.T, root.T, strict=True)], 1)
        root = np.sqrt(_residual_weight(angles - basis @ series))
    return np.ptp(cycle @ series, axis=0)


def steps(pose: np.ndarray, fps: float, frequency: float) -> tuple[np.ndarray, np.ndarray]:
    """The times at which a foot is farthest ahead of the hips: seconds [n], and whether it is the right foot, bool [n].

    pose: float [T, 15, 2], torso length 1. Empty if the ankles hardly swing along x.
    """
    from scipy.signal import butter, sosfiltfilt  # slow to import, and only needed here

    frames, ahead = len(pose), heading(pose) * (pose[:, ANKLES, 0] - pose[:, [MID_HIP], 0])
    time, trend = np.arange(frames) / fps, _trend(frames)
    wave = np.linalg.lstsq(np.concatenate([trend, _waves(time, frequency, (1,))], 1), ahead)[0]
    if np.hypot(*wave[2:]).mean() < SMALLEST_SWING:
        return np.zeros(0), np.zeros(0, bool)
    ahead = ahead - trend @ wave[:2]
    cutoff = STEP_HARMONICS * frequency
    if cutoff < 0.45 * fps:
        ahead = sosfiltfilt(butter(2, cutoff, fs=fps, output="sos"), ahead, axis=0)
    reach = max(1, round(STEP_REACH / frequency * fps))
    moments = []
    for foot, (cosine, sine) in zip(ahead.T, wave[2:].T, strict=True):
        first = np.arctan2(sine, cosine) / (2 * np.pi)  # strides; of a foot that swings steadily
        middle = np.rint((first + np.arange(2 + frequency * time[-1])) / frequency * fps).astype(int)
        middle = middle[(middle >= reach) & (middle < frames - reach)]
        moment = (middle - reach + _top(foot[middle[:, None] + np.arange(-reach, reach + 1)])) / fps
        moments.append(moment[np.isfinite(moment)])
    time, right = np.concatenate(moments), np.repeat([True, False], list(map(len, moments)))
    order = time.argsort()
    return time[order], right[order]


def step_statistics(time: np.ndarray, right: np.ndarray) -> tuple[float, float]:
    """Variability and symmetry, %, see GaitParameters; NaN if a side has fewer than two step times, or none.

    time: float [n], when steps end. right: bool [n], by which foot.
    """
    one_on_end = right[1:] != right[:-1]
    length, of_right = np.diff(time)[one_on_end], right[1:][one_on_end]
    sides = length[of_right], length[~of_right]
    fewest = min(map(len, sides))
    if not fewest:
        return np.nan, np.nan
    means = [side.mean() for side in sides]
    mean = np.mean(means)
    variability = 100 * np.sqrt(np.mean([side.var(ddof=1) for side in sides])) / mean if fewest > 1 else np.nan
    return float(variability), float(100 * (means[0] - means[1]) / mean)
