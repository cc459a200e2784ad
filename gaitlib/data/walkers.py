"""Synthetic walkers, without download or license: a kinematic model of many people, seen by eleven cameras.

A person is a skeleton (bone lengths) and a manner (posture, cadence, and a Fourier series for each of twelve angles over
the gait cycle, separate for both sides). A recording is one performance of that manner, with small deviations of its own and the
changes due to a bag or a coat. The feet determine the rest: the lowest point of the soles is on the ground and the standing foot
does not slide, so the speed, the bob and the sway of the pelvis follow from the angles. Cameras see the performance, and a pose
estimator reports it with its faults. The layout is that of CASIA-B: nm 1-6, bg 1-2, cl 1-2, in 11 synchronous views.

Axes and units. World: right-handed, meters, x the way the person walks, y to the person's left, z up, ground at z = 0,
origin in the middle of the path. Angles: degrees. Gait cycle: 0..1, from initial contact to the next of the same
foot. Image: pixels, x right, y down. A person seen at view a walks toward a degrees: at 0 toward the camera, at 90 to
the left of the image with the left side nearest, at 180 away.

Sources. The numbers in this file are rounded from these or modeled on them; no table is copied.
- Bones as fractions of stature: Drillis and Contini, "Body segment parameters" (1966), as given in Winter,
  "Biomechanics and Motor Control of Human Movement" (4th ed., 2009): hip at .530, shoulder at .818, thigh .245, shank
  .246, ankle at .039, foot .152, upper arm .186, forearm .146. The width of the hips is that of the joint centers, and
  it and the standard deviations of all fractions (about 5 %, more for small distances) are ours.
- Stature and biacromial breadth by sex: Gordon et al., "2012 Anthropometric Survey of U.S. Army Personnel" (2014).
- Cadence and stride: Kadaba, Ramakrishnan and Wootten, "Measurement of lower extremity kinematics during level walking"
  (J Orthop Res 8, 1990): about 112 +- 9 steps a minute and 1.41 +- .14 m for men, 115 +- 9 and 1.30 +- .10 m for women.
  The cadence is drawn from these numbers; the stride results from the model and is only compared with them.
- Thigh, knee and ankle: curves drawn by hand, every 5 % of the cycle, through the landmarks (contact, peaks, toe-off)
  of Perry and Burnfield, "Gait Analysis" (2nd ed., 2010) and Winter (2009). Our hip angle is that of the thigh relative to
  the vertical, so it excludes the tilt of the pelvis.
- Pelvis and frontal plane: sinusoids of the size in Kadaba et al. (1990). Thorax: likewise, after Crosbie, Vachalathiti
  and Smith, "Patterns of spinal motion during walking" (Gait & Posture 5, 1997). Arms: Murray, Sepic and Barnard,
  "Patterns of sagittal rotation of the upper limbs in walking" (Phys Ther 47, 1967) as cited by Perry: the shoulder
  from 24 degrees of extension to 8 of flexion.
- Deviations of curves between people, repetition, bags, coats, and the pose estimator: our judgment, set so that each
  person stays within what those sources call normal and recognition is neither trivial nor hopeless. With 40 people to
  train on and 20 to test, nearest neighbor by mean and standard deviation of the joints finds about 47 / 38 / 19 %
  (nm / bg / cl) across views; README.md has the results of configs/quick.yaml.

What they can show: that code is right, that an idea works at all, and what each part of it is worth when body, motion,
repetition and faults are known and can be turned off one by one (`Variation`). What they cannot show: how well anyone is
recognized by a real camera. Their differences are independent draws, whereas real ones depend on age, sex and weight; nobody
limps, turns, hurries or changes shoes; and a network has to undo only the faults that we thought of.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd

from gaitlib import InputError
from gaitlib.data.dataset import Walk
from gaitlib.data.views import view_name
from gaitlib.skeleton import HEAD, JOINTS, MID_HIP, MIRROR, NECK, NUM_JOINTS, RIGHT_JOINTS

#: Right and left of each pair of joints.
SHOULDERS, ELBOWS, WRISTS, HIPS, KNEES, ANKLES = (
    [JOINTS.index(f"right_{name}"), JOINTS.index(f"left_{name}")]
    for name in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
)

#: The ten recordings of a person and their views, as in CASIA-B.
RECORDINGS = tuple([("nm", r) for r in range(1, 7)] + [("bg", r) for r in (1, 2)] + [("cl", r) for r in (1, 2)])
VIEWS = range(0, 181, 18)
BAG = np.array([float(c == "bg") for c, _ in RECORDINGS])
COAT = np.array([float(c == "cl") for c, _ in RECORDINGS])

#: The twelve angles. The first six exist on both sides; the others follow the gait cycle of the right leg.
ANGLES = (
    "hip", "knee", "ankle", "adduction", "shoulder", "elbow",
    "pelvis_rotation", "pelvis_obliquity", "trunk_rotation", "trunk_side", "trunk_lean", "head_pitch",
)  # fmt: skip
HARMONICS = 6

_PHASE = 2 * np.pi * np.arange(20) / 20
#: Degrees at 0, 5, .. 95 % of the gait cycle. Positive: thigh, knee, shoulder and elbow flexed, ankle dorsiflexed, leg
#: adducted, right side of pelvis or shoulders forward, right hip up, trunk to the right, trunk or head forward.
_NORMAL = np.array([
    [21.5, 20, 17.5, 13.5, 9, 4, -1.5, -6.5, -11.5, -16, -19, -18.5, -12.5, -2, 9, 17.5, 23.5, 26, 25, 23],
    [5, 11, 16.5, 18, 16, 12.5, 8.5, 5.5, 4.5, 6, 10.5, 20, 36, 52, 61, 60, 49, 31, 13, 4.5],
    [-1, -5, -5, -1, 2.5, 5, 7, 8.5, 9.5, 9.5, 6.5, -2, -13, -17, -11, -4.5, 0, 2, 1.5, 0],
    1 + 1.5 * np.cos(_PHASE - 0.6 * np.pi),
    -8 - 16 * np.cos(_PHASE),
    33 - 12 * np.cos(_PHASE - 0.1 * np.pi),
    4.5 * np.cos(_PHASE),
    3.0 * np.cos(_PHASE - 0.25 * np.pi),
    -4.0 * np.cos(_PHASE - 0.1 * np.pi),
    1.5 * np.sin(_PHASE),
    3 + 1.0 * np.cos(2 * _PHASE),
    0 + 1.0 * np.cos(2 * _PHASE - 0.5 * np.pi),
])  # fmt: skip
_COEFFICIENTS = np.fft.rfft(_NORMAL, axis=1)[:, : HARMONICS + 1] / 20 * np.r_[1, np.full(HARMONICS, 2)]

# Standard deviations between people, in the order of ANGLES: of the amplitude (fraction), the offset (degrees), the
# timing (fraction of a cycle), and of each harmonic above the first (fraction of itself).
_AMPLITUDE = np.array([0.055, 0.05, 0.10, 0.25, 0.28, 0.28, 0.30, 0.30, 0.30, 0.35, 0.35, 0.40])
_OFFSET = np.array([1.6, 2.0, 1.6, 0.7, 4.0, 7.0, 0.6, 0.5, 1.2, 0.7, 2.4, 5.0])
_TIMING = np.array([0.007, 0.007, 0.007, 0.02, 0.025, 0.03, 0.025, 0.025, 0.025, 0.03, 0.03, 0.04])
_SHAPE = np.array([0.07, 0.07, 0.10, 0.2, 0.3, 0.3, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2])
#: The part of a person's deviation that differs between the two sides, and the part added by a single recording.
_ASYMMETRY, _REPETITION = 0.4, 0.25
#: Slow drift of each angle during a recording, degrees.
_WANDER = np.array([0.8, 1.0, 1.0, 0.3, 2.0, 2.5, 0.6, 0.5, 0.8, 0.5, 0.6, 1.5])

# Posture, the angles that do not move: mean and standard deviation between people, degrees.
_POSTURE = {"abduction": (7, 2.5), "arm_rotation": (20, 10), "leg_rotation": (3, 3)}

# Bones as fractions of stature: mean and standard deviation between people.
_BONES = {
    "thigh": (0.245, 0.012), "shank": (0.246, 0.012), "trunk": (0.288, 0.015), "upper_arm": (0.186, 0.010),
    "forearm": (0.146, 0.008), "head_up": (0.092, 0.009), "head_forward": (0.048, 0.009), "hips": (0.103, 0.013),
    "shoulder_drop": (0.012, 0.008), "shoulders": (0.0, 0.014), "bow_legs": (0.0, 2.2),
}  # fmt: skip
#: Women, men: stature and its standard deviation in meters; biacromial breadth over stature; steps a minute, its sd.
_STATURE = np.array([[1.629, 0.064], [1.756, 0.069]])
_BIACROMIAL, _CADENCE, _CADENCE_SD = (0.224, 0.237), (115, 112), 7.0
# Sole: heel and ball of the foot as seen from the ankle, fractions of stature, forward and up.
_SOLE = np.array([[-0.040, 0, -0.039], [0.085, 0, -0.039]])

#: The middle of the image, pixels.
CENTER = (200.0, 110.0)
#: People with consecutive numbers who share one estimator and one frame rate, if these vary.
SHARED = 20
#: How far an estimator misplaces a joint, standard deviation in meters: the top of the head or the nose, the middle
#: of the hip or its surface; and how far this differs from person to person.
_LAYOUT, _LAYOUT_OF_HEAD, _OWN_LAYOUT = 0.025, 0.06, 0.008


@dataclass(frozen=True)
class Camera:
    """distance to the middle of the path and height of the lens in meters; tilt downward in degrees; focal length in pixels."""

    distance: float = 7.0
    height: float = 1.3
    tilt: float = 0.0
    focal: float = 460.0


CAMERA = Camera()


@dataclass(frozen=True)
class Variation:
    """The amount of each kind of variation, as a multiple of the normal amount; 0 turns it off.

    body: bone lengths between people. motion: posture, cadence and curves between people. run: between recordings and
    strides of one person. faults: of the pose estimator.
    Not in CASIA-B's layout: cameras: their direction, distance, height and aim. estimators: where they place a joint, and how
    many faults they have. rates: the frame rate.
    """

    body: float = 1.0
    motion: float = 1.0
    run: float = 1.0
    faults: float = 1.0
    cameras: float = 0.0
    estimators: float = 0.0
    rates: float = 0.0

    @classmethod
    def world(cls, amount: float) -> "Variation":
        """People, cameras and estimators as varied as in the world for 1, and as in CASIA-B's layout for 0."""
        return cls(body=1 + amount / 2, motion=1 + amount / 4, cameras=amount, estimators=amount, rates=amount)


@dataclass(frozen=True)
class Recording:
    """The ground truth of one performance.

    joints: float64 [T, 15, 3], meters. soles: float64 [T, 4, 3]: right heel, right ball, left heel, left ball.
    angles: float64 [T, 2, 12], degrees, right and left, in the order of ANGLES. cadence: steps a minute. stature: meters.
    """

    condition: str
    run: int
    joints: np.ndarray
    soles: np.ndarray
    angles: np.ndarray
    cadence: float
    stature: float


def walkers_index(subjects: int) -> pd.DataFrame:
    """The index of `make_walkers` without making them: columns subject, condition, run, view, recording, sequence."""
    people, views = (f"{subject:03d}" for subject in range(1, subjects + 1)), map(view_name, VIEWS)
    rows = [(subject, *recording, view) for subject, recording, view in product(people, RECORDINGS, views)]
    index = pd.DataFrame(rows, columns=["subject", "condition", "run", "view"])
    recording = index["subject"] + "-" + index["condition"] + "-" + index["run"].map("{:02d}".format)
    return index.assign(recording=recording, sequence=recording + "-" + index["view"])


def make_walkers(
    subjects: int, seed: int, *, views: Sequence[int] = VIEWS, fps: float = 25.0, faults: bool = True, first_subject: int = 1,
    variation: Variation = Variation(),
) -> Iterator[Walk]:  # fmt: skip
    """Walks of `subjects` people, numbered from `first_subject`: 10 recordings, each in all `views`.

    A person depends only on seed and number: number 17 is the same among 20 and among 124, and for any choice of views.
    views: whole degrees, see the top of this file; if cameras vary, all cameras of a person are turned around that person by the
    same angle. fps: frames a second, at least 10; if rates vary, the middle one.
    faults: False gives the noise-free poses of the same performances, all joints present, confidence 1.
    Raises InputError if there is nobody to make or the settings make no sense.
    """
    views = list(views)
    odd_views = not views or len(set(views)) < len(views) or not set(views) <= set(range(360))
    if subjects < 1 or first_subject < 1 or seed < 0 or fps < 10 or odd_views:
        raise InputError(
            f"Cannot make {subjects} walkers from number {first_subject} on with seed {seed}, views {views} and {fps:g} frames a "
            "second; give at least 1 subject, number 1, seed 0, 10 frames a second, and different whole degrees from 0 to 359."
        )
    for subject in range(first_subject, first_subject + subjects):
        rate, faulty, moved = _estimator(subject, seed, variation)
        recordings = perform(subject, seed, fps=fps * rate, variation=variation)
        seen = []
        for view, camera in _cameras(subject, seed, views, variation.cameras):
            poses = [see(r.joints + moved, view, camera) for r in recordings]
            confidence = [np.ones(p.shape[:2]) for p in poses]
            if faults:
                chance = _stream(seed, subject, 2, view)
                poses, confidence = _estimate(poses, view, chance, fps * rate, variation.faults * faulty)
            seen.append((view_name(view), poses, confidence))
        for i, recording in enumerate(recordings):
            for view, poses, confidence in seen:
                yield Walk(
                    poses[i].astype(np.float32), confidence[i].astype(np.float32), fps=float(fps * rate),
                    subject=f"{subject:03d}", condition=recording.condition, run=recording.run, view=view,
                    source=f"walkers seed {seed}",
                )  # fmt: skip


def _estimator(subject: int, seed: int, variation: Variation) -> tuple[float, float, np.ndarray]:
    """A person's estimator: factors of the frame rate and of the faults, and the displacement of each joint, meters [15, 3]."""
    shared, own = _stream(seed, subject // SHARED, 3), _stream(seed, subject, 4)
    rate = np.exp(variation.rates * shared.uniform(-0.5, 0.5))
    faulty = np.exp(variation.estimators * 0.5 * shared.standard_normal())
    size = np.where(np.arange(NUM_JOINTS) == HEAD, _LAYOUT_OF_HEAD, _LAYOUT)[:, None]
    moved = size * _normal(shared, NUM_JOINTS, 3) + _OWN_LAYOUT * _normal(own, NUM_JOINTS, 3)
    left = moved[MIRROR] * [1, -1, 1]  # alike on both sides
    return rate, faulty, variation.estimators * (moved + left) / np.sqrt(2)


def _cameras(subject: int, seed: int, views: Sequence[int], amount: float) -> list[tuple[int, Camera]]:
    """The cameras of a person, and the view of each."""
    if not amount:
        return [(view, CAMERA) for view in views]
    chance = _stream(seed, subject, 5)
    turn, cameras = int(chance.integers(360)), []
    for view in views:
        z = amount * _normal(chance, 3)
        distance, height = CAMERA.distance * np.exp(0.4 * z[0]), max(CAMERA.height + 0.4 * z[1], 0.3)
        tilt = np.degrees(np.arctan2(height - 1.0, distance)) + 2 * z[2]  # toward the middle of the body
        cameras.append(((view + turn) % 360, Camera(distance, height, tilt)))
    return cameras


def perform(subject: int, seed: int, *, fps: float = 25.0, variation: Variation = Variation()) -> list[Recording]:
    """The ten recordings of a person in three dimensions, in the order of RECORDINGS."""
    person, repetition = _stream(seed, subject, 0), _stream(seed, subject, 1)
    man = person.integers(2)
    body, manner = _body(person, man, variation.body), _manner(person, man, variation.motion)
    runs = len(RECORDINGS)

    # the same kinds of deviation, smaller, for each recording
    scale = _REPETITION * variation.run
    coefficients = _deviate(manner["curves"], repetition, scale, runs)
    posture = {k: manner[k] + scale * sd * _normal(repetition, runs, 2) for k, (_, sd) in _POSTURE.items()}
    cadence = manner["cadence"] * (1 + 0.02 * variation.run * _normal(repetition, runs))
    path = variation.run * _normal(repetition, 2, runs) * [[np.radians(2)], [0.1]]
    start = repetition.random(runs)
    shoulders = _dress(coefficients, posture, cadence, manner)

    frames = int(np.ceil(4.2 * fps))
    cycles = np.arange(frames) / fps * cadence[:, None] / 120 + start[:, None]
    cycles = cycles + 0.008 * variation.run * _slow(repetition, (runs, frames), 0.6 * fps)
    phases = np.stack([cycles, cycles + 0.5], axis=-1)  # [R, T, 2]: right, left
    turns = np.exp(2j * np.pi * phases[..., None] * np.arange(HARMONICS + 1))
    # the angles of the middle follow the right leg, so their "left" curve is read at the right leg's phase too
    angles = np.einsum("rtsk,rsak->rtsa", turns, coefficients).real
    angles[..., 1, 6:] = angles[..., 0, 6:]
    wander = _slow(repetition, (runs, frames, 2, len(ANGLES)), 0.4 * fps)
    angles += variation.run * _WANDER * np.where(np.arange(len(ANGLES)) < 6, wander, wander[:, :, :1])
    angles[..., 1] = _at_least(angles[..., 1], 1.0)  # neither knees nor elbows bend backward
    angles[..., 5] = _at_least(angles[..., 5], 3.0)

    joints, soles = _pose(angles, body, posture, shoulders)
    _stand(joints, soles, phases, path, fps)
    # a camera sees about 4.6 m of the walk
    middle = frames // 2
    speed = (joints[:, -1, MID_HIP, 0] - joints[:, 0, MID_HIP, 0]) * fps / (frames - 1)
    lengths = np.clip(np.round(4.6 / speed * fps), 3 * fps, 4.2 * fps).astype(int)
    out = []
    for r, (condition, run) in enumerate(RECORDINGS):
        some = slice(middle - lengths[r] // 2, middle - lengths[r] // 2 + lengths[r])
        out.append(Recording(condition, run, joints[r, some], soles[r, some], angles[r, some], cadence[r], body["stature"]))
    return out


def opening_joints(index: pd.DataFrame, seed: int, frames: int) -> np.ndarray:
    """The first frames of the performances shown by walks, in three dimensions: float64 [N, frames, 15, 3], neck at the origin.

    index: subject, condition and run of N walks made by `make_walkers` with this seed; short ones are repeated.
    """
    known = {}
    for subject in index["subject"].unique():
        for recording in perform(int(subject), seed):
            opening = recording.joints[np.arange(frames) % len(recording.joints)]
            known[subject, recording.condition, recording.run] = opening - opening[:, [NECK]]
    return np.stack([known[key] for key in zip(index["subject"], index["condition"], index["run"], strict=True)])


def see(joints: np.ndarray, view: float, camera: Camera = CAMERA) -> np.ndarray:
    """The image of world points [..., 3] in the camera of a view: float64 [..., 2], pixels, x right and y down."""
    a, tilt = np.radians(view), np.radians(camera.tilt)
    ahead = camera.distance - joints[..., 0] * np.cos(a) - joints[..., 1] * np.sin(a)
    right, up = joints[..., 1] * np.cos(a) - joints[..., 0] * np.sin(a), joints[..., 2] - camera.height
    depth = ahead * np.cos(tilt) - up * np.sin(tilt)
    x = CENTER[0] + camera.focal * right / depth
    y = CENTER[1] - camera.focal * (up * np.cos(tilt) + ahead * np.sin(tilt)) / depth
    return np.stack([x, y], axis=-1)


def _stream(seed: int, subject: int, *purpose: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(subject, *purpose)))


def _normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Normal draws without the outer 3 %, so that everybody is plausible."""
    return np.clip(rng.standard_normal(shape), -2.2, 2.2)


def _slow(rng: np.random.Generator, shape: tuple[int, ...], knot: float) -> np.ndarray:
    """Unit noise, smooth along axis 1: random values every `knot` frames, joined by cubic (Catmull-Rom) curves."""
    at = np.arange(shape[1]) / max(knot, 1.0)
    i, u = at.astype(int), at % 1
    u = u.reshape(1, -1, *[1] * (len(shape) - 2)).astype(np.float32)
    knots = rng.standard_normal((shape[0], i[-1] + 4, *shape[2:]), dtype=np.float32)
    p0, p1, p2, p3 = (knots[:, i + k] for k in range(4))
    return 1.1 * (p1 + 0.5 * u * (p2 - p0 + u * (2 * p0 - 5 * p1 + 4 * p2 - p3 + u * (3 * (p1 - p2) + p3 - p0))))


def _at_least(angle: np.ndarray, floor: float) -> np.ndarray:
    """A smooth maximum of angle and floor."""
    return floor + 0.5 * (angle - floor + np.hypot(angle - floor, 2.0))


def _body(rng: np.random.Generator, man: int, scale: float) -> dict[str, float]:
    """Bone lengths in meters; with scale 0 everybody is between the mean woman and the mean man."""
    z, man = scale * _normal(rng, len(_BONES) + 1), 0.5 + (man - 0.5) * min(scale, 1)
    mean, sd = _STATURE[0] + man * (_STATURE[1] - _STATURE[0])
    stature = mean + sd * z[-1]
    body = {name: mean + sd * e for (name, (mean, sd)), e in zip(_BONES.items(), z, strict=False)}
    body["shoulders"] += _BIACROMIAL[0] + man * (_BIACROMIAL[1] - _BIACROMIAL[0])
    return {k: v * (1 if k == "bow_legs" else stature) for k, v in body.items()} | {"stature": stature}


def _deviate(coefficients: np.ndarray, rng: np.random.Generator, scale: float, *shape: int) -> np.ndarray:
    """Variations of curves [2, 12, K+1] in amplitude, offset, timing and shape: [*shape, 2, 12, K+1]."""

    def both(*tail: int) -> np.ndarray:
        """Draws for both sides, which share most of each."""
        shared, own = _normal(rng, *shape, 1, len(ANGLES), *tail), _normal(rng, *shape, 2, len(ANGLES), *tail)
        return scale * (np.sqrt(1 - _ASYMMETRY**2) * shared + _ASYMMETRY * own)

    k = np.arange(HARMONICS + 1)
    curve = coefficients * (1 + _AMPLITUDE * both())[..., None] * np.exp(2j * np.pi * k * (_TIMING * both())[..., None])
    curve = curve * np.where(k > 1, 1 + _SHAPE[:, None] * (both(len(k)) + 1j * both(len(k))), 1)
    curve[..., 0] = coefficients[..., 0] + _OFFSET * both()
    return curve


def _manner(rng: np.random.Generator, man: int, scale: float) -> dict:
    """How a person walks: curves [2, 12, K+1], posture [2], cadence, and how a bag and a coat change it."""
    z, man = scale * _normal(rng, 3), 0.5 + (man - 0.5) * min(scale, 1)
    manner = {"curves": _deviate(np.stack([_COEFFICIENTS] * 2), rng, scale)}
    for name, (mean, sd) in _POSTURE.items():
        manner[name] = mean + sd * scale * (0.9 * _normal(rng, 1) + 0.4 * _normal(rng, 2))
    manner["cadence"] = _CADENCE[0] + man * (_CADENCE[1] - _CADENCE[0]) + _CADENCE_SD * z[0]
    manner["curves"][:, 0, 1:] *= 1 + 0.03 * z[0]  # people with faster steps also take longer steps
    manner["bag"], manner["coat"] = 1 + 0.25 * z[1:]
    manner["bag_side"], manner["bag_by_strap"] = rng.integers(2, size=2) * (scale > 0)
    return manner


def _dress(coefficients: np.ndarray, posture: dict, cadence: np.ndarray, manner: dict) -> np.ndarray:
    """Change curves, posture and cadence for bag and coat, in place.

    Returns how far the right and left shoulders move out and down, meters [R, 2, 2].
    """
    bag, coat = manner["bag"] * BAG, manner["coat"] * COAT
    carrying = np.eye(2)[manner["bag_side"]] * bag[:, None]  # [R, 2]
    lean = np.array([1, -1])[manner["bag_side"]]
    shoulder, elbow = coefficients[:, :, 4], coefficients[:, :, 5]
    # the carrying arm hardly swings: it holds a handle with a straight arm, or a strap with a bent elbow
    shoulder[..., 1:] *= np.clip(1 - 0.5 * carrying, 0.1, 1)[..., None]
    elbow[..., 1:] *= np.clip(1 - 0.5 * carrying, 0.1, 1)[..., None]
    shoulder[..., 0] += carrying * (6 if manner["bag_by_strap"] else 2)
    elbow[..., 0] += carrying * (20 if manner["bag_by_strap"] else -6)
    posture["arm_rotation"] += carrying * (8 if manner["bag_by_strap"] else 0)
    posture["abduction"] += carrying * 2
    coefficients[:, :, 9, 0] -= (lean * 1.5 * bag)[:, None]  # away from the load
    coefficients[:, :, 10, 0] += (1.0 * bag)[:, None]
    # a coat stiffens the arms, holds them off the body and shortens the reach of hips and knees
    coefficients[:, :, 4:6, 1:] *= (1 - 0.40 * coat)[:, None, None, None]
    posture["abduction"] += (8 * coat)[:, None]
    coefficients[:, :, 0, 1:] *= (1 - 0.06 * coat)[:, None, None]
    coefficients[:, :, 1, 1:] *= (1 - 0.08 * coat)[:, None, None]
    coefficients[:, :, 8, 1:] *= (1 - 0.2 * coat)[:, None, None]
    cadence *= 1 - 0.025 * bag - 0.015 * coat
    outward = np.repeat(0.025 * coat[:, None], 2, axis=1)
    return np.stack([outward, 0.018 * carrying - 0.008 * coat[:, None]], axis=-1)


def _turn(axis: int, degrees: np.ndarray) -> np.ndarray:
    """Rotation matrices about a world axis: [...] -> [..., 3, 3]."""
    a = np.radians(degrees)
    i, j = (axis + 1) % 3, (axis + 2) % 3
    out = np.zeros((*a.shape, 3, 3))
    out[..., axis, axis] = 1
    out[..., i, i] = out[..., j, j] = np.cos(a)
    out[..., j, i] = np.sin(a)
    out[..., i, j] = -out[..., j, i]
    return out


def _pose(angles: np.ndarray, body: dict, posture: dict, shoulders: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Angles [R, T, 2, 12] to joints [R, T, 15, 3] and soles [R, T, 4, 3] about the mid-hip."""
    hip, knee, ankle, adduction, shoulder, elbow = np.moveaxis(angles[..., :6], -1, 0)  # each [R, T, 2]
    pelvis_yaw, pelvis_up, trunk_yaw, trunk_side, trunk_lean, head_pitch = np.moveaxis(angles[..., 0, 6:], -1, 0)
    side = np.array([1, -1])  # +1 right, -1 left; y grows to the left
    joints = np.zeros((*angles.shape[:2], NUM_JOINTS, 3))
    down = np.array([0, 0, -1.0])

    hips = np.array([[0, -s * body["hips"] / 2, 0] for s in side])
    pelvis = _turn(2, pelvis_yaw) @ _turn(0, -pelvis_up)
    rotation = (side * posture["leg_rotation"])[:, None]
    thigh = _turn(2, pelvis_yaw * 0.5)[..., None, :, :] @ _turn(0, side * adduction) @ _turn(1, -hip)
    thigh = thigh @ _turn(2, -rotation)
    shank = thigh @ _turn(1, knee) @ _turn(0, side * body["bow_legs"])
    foot = shank @ _turn(1, -ankle)
    joints[..., HIPS, :] = hips @ pelvis.swapaxes(-1, -2)
    joints[..., KNEES, :] = joints[..., HIPS, :] + body["thigh"] * (thigh @ down)
    ankles = joints[..., KNEES, :] + body["shank"] * (shank @ down)
    joints[..., ANKLES, :] = ankles
    soles = ankles[..., None, :] + _SOLE * body["stature"] @ foot.swapaxes(-1, -2)

    trunk = _turn(2, trunk_yaw) @ _turn(0, trunk_side) @ _turn(1, trunk_lean)
    joints[..., NECK, :] = body["trunk"] * trunk[..., :, 2]
    away = -side * (body["shoulders"] / 2 - 0.01 + shoulders[..., 0])
    drop = -body["shoulder_drop"] - shoulders[..., 1]
    points = np.stack([np.zeros_like(away), away, drop], axis=-1)[:, None]  # [R, 1, 2, 3]
    joints[..., SHOULDERS, :] = joints[..., None, NECK, :] + points @ trunk.swapaxes(-1, -2)
    arm = _turn(2, trunk_yaw)[..., None, :, :] @ _turn(0, -side * posture["abduction"])[:, None] @ _turn(1, -shoulder)
    forearm = arm @ _turn(2, (side * posture["arm_rotation"])[:, None]) @ _turn(1, -elbow)
    elbows = joints[..., SHOULDERS, :] + body["upper_arm"] * (arm @ down)
    joints[..., ELBOWS, :] = elbows
    joints[..., WRISTS, :] = elbows + body["forearm"] * (forearm @ down)
    head = _turn(2, 0.3 * trunk_yaw) @ _turn(1, trunk_lean + head_pitch)
    joints[..., HEAD, :] = joints[..., NECK, :] + head @ np.array([body["head_forward"], 0, body["head_up"]])
    return joints, soles.reshape(*soles.shape[:2], 4, 3)


def _stand(joints: np.ndarray, soles: np.ndarray, phases: np.ndarray, path: np.ndarray, fps: float) -> None:
    """Move the body, in place, so that its lowest sole point is on the ground and the standing foot does not slide.

    Knees, heel pads and inertia smooth both: the height over a fifth of a second, so that a sole sinks by up to a
    centimeter when the weight passes over, the speed over two fifths, so that soles slide a little. A swinging foot
    that comes near the ground does not count as standing. path: heading (radians) and offset (m) of each recording.
    """

    def smooth(a: np.ndarray, seconds: float) -> np.ndarray:
        """The mean over a duration, with a Hann window."""
        half = max(1, round(seconds / 2 * fps))
        window = np.hanning(2 * half + 3)[1:-1] / (half + 1)
        a = np.concatenate([a[:, :1]] * half + [a] + [a[:, -1:]] * half, axis=1)
        return sum(w * a[:, k : a.shape[1] + k - 2 * half] for k, w in enumerate(window))

    lowest = soles[..., 2].min(-1)
    swinging = np.repeat(np.abs(phases % 1 - 0.83) < 0.155, 2, axis=-1)  # [R, T, 4]
    weight = np.exp(-(soles[..., 2] - lowest[..., None]) / 0.012) * ~swinging + 1e-9
    weight = (weight[:, 1:] + weight[:, :-1])[..., None]
    step = smooth(-(weight * np.diff(soles[..., :2], axis=1)).sum(2) / weight.sum(2), 0.4)
    ground = np.concatenate([np.zeros((len(step), 1, 2)), step.cumsum(axis=1)], axis=1)
    frames = ground.shape[1]
    ground -= ground[:, [frames // 2]]
    # asymmetric steps would lead around a curve; people look where they go
    line = np.linspace(-1, 1, frames)
    curve = np.polynomial.polynomial.polyfit(line, ground[..., 1].T, 2)
    ground[..., 1] -= np.polynomial.polynomial.polyval(line, curve)
    root = np.concatenate([ground, -smooth(lowest, 0.2)[..., None]], axis=-1)[:, :, None]
    turn = _turn(2, np.degrees(path[0]))[:, None]
    for points in (joints, soles):
        points[:] = (points + root) @ turn.swapaxes(-1, -2)
        points[..., 1] += path[1][:, None, None]


def _episodes(rng: np.random.Generator, chance: np.ndarray, longest: int) -> np.ndarray:
    """Where episodes of 2..longest frames are active, along axis 1, which begin with the given chance in a frame."""
    begins = rng.random(chance.shape, dtype=np.float32) < chance
    length = np.where(begins, rng.integers(2, longest + 1, chance.shape), 0)
    running = length > 0
    for k in range(1, longest):
        running[:, k:] |= length[:, :-k] > k
    return running


def _estimate(
    poses: list[np.ndarray], view: int, rng: np.random.Generator, fps: float, scale: float
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """A pose estimator's output for the true images [T, 15, 2] of ten recordings in one view: poses and confidences.

    Joints of the far side behind the trunk or behind their twin are hidden: their error grows, their confidence falls,
    they are lost for a while or confused with their twin. A face seen from behind is guessed. A coat hides hips and knees.
    """
    longest = max(len(p) for p in poses)
    true = np.stack([np.concatenate([p, np.repeat(p[-1:], longest - len(p), axis=0)]) for p in poses])
    size = np.linalg.norm(true[:, :, NECK] - true[:, :, MID_HIP], axis=-1)[..., None]  # [R, T, 1], the trunk
    from_side, from_behind = np.sin(np.radians(view)), max(0.0, -np.cos(np.radians(view)))

    far = np.zeros(NUM_JOINTS)
    far[list(RIGHT_JOINTS)] = max(0.0, from_side)
    far[MIRROR[list(RIGHT_JOINTS)]] = max(0.0, -from_side)
    twin = np.linalg.norm(true - true[:, :, MIRROR], axis=-1)
    trunk = np.abs(true[..., 0] - true[:, :, [NECK], 0] * 0.5 - true[:, :, [MID_HIP], 0] * 0.5)
    trunk[..., KNEES + ANKLES] = np.inf
    hidden = far * np.exp(-((np.minimum(twin, trunk) / (0.25 * size)) ** 2))  # 0..1
    hidden[..., HEAD] = 0.6 * from_behind
    coat = np.zeros(NUM_JOINTS)
    coat[[MID_HIP, *HIPS, *KNEES]] = 1.0
    hidden += 0.5 * COAT[:, None, None] * coat

    runs, shape = len(true), (*true.shape[:3], 2)
    error = 0.014 * rng.standard_normal(shape, dtype=np.float32) + 0.018 * _slow(rng, shape, 0.2 * fps)
    error *= (1 + 2.5 * hidden)[..., None]
    bias = 0.016 * _normal(rng, runs, 1, NUM_JOINTS, 2)
    cloth = 0.05 * (_normal(rng, NUM_JOINTS, 2) + _normal(rng, runs, 1, 1, 2))  # one coat, worn differently
    bias += COAT[:, None, None, None] * coat[:, None] * cloth
    pose = true + scale * size[..., None] * (error + bias)
    missed = np.linalg.norm(error, axis=-1)

    # legs or arms that pass each other are confused
    for limb in ([ELBOWS, WRISTS], [KNEES, ANKLES]):
        joints = np.ravel(limb)
        close = abs(from_side) * np.exp(-((twin[..., limb[1][0]] / (0.4 * size[..., 0])) ** 2))
        swap = _episodes(rng, scale / fps * close, 5)
        pose[..., joints, :] = np.where(swap[..., None, None], pose[..., MIRROR[joints], :], pose[..., joints, :])
        missed[..., joints] += 0.05 * swap[..., None]

    fragile = np.where(np.isin(np.arange(NUM_JOINTS), WRISTS), 1.0, 0.5)
    lost = _episodes(rng, scale / fps * (0.01 + fragile * hidden), 6)
    doubt = 0.07 + 0.35 * hidden + 2.5 * missed + 0.03 * rng.standard_normal(lost.shape, dtype=np.float32)
    sure = np.clip(1 - scale * doubt, 0.05, 1.0)
    pose[lost], sure[lost] = np.nan, 0.0
    lengths = [len(p) for p in poses]
    return [p[:n] for p, n in zip(pose, lengths, strict=True)], [c[:n] for c, n in zip(sure, lengths, strict=True)]
