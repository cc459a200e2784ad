"""What a walk becomes when its view is exchanged, against what that camera really saw and against the mean walk of that view."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from gaitlib import InputError
from gaitlib.data.preprocess import NormalizedWalks, as_poses, opening_windows
from gaitlib.data.views import sorted_views
from gaitlib.evaluation.bootstrap import mean_interval
from gaitlib.evaluation.ranking import finite_mean
from gaitlib.model.geometric import GeometricAutoencoder
from gaitlib.model.recognizer import GaitModel
from gaitlib.skeleton import LEFT_ANKLE, MID_HIP, NECK, NUM_JOINTS, RIGHT_ANKLE

#: Pairs of views that are decoded at once.
PAIRS = 512
#: The mean walk is a Fourier series of the gait phase with so many harmonics; SERIES numbers for each coordinate.
MEAN_WALK_HARMONICS = 4
SERIES = 1 + 2 * MEAN_WALK_HARMONICS
#: The phases and strides (in frames) that the mean walk is tried with.
PHASES, STRIDES = 48, np.geomspace(16, 64, 60)


def torso_error(pose: np.ndarray, truth: np.ndarray) -> float:
    """Mean distance between the joints of two poses in % of the true torso length (neck to mid-hip, mean over frames).

    pose, truth: float [T, 15, 2], same unit; joints that are missing (NaN) in either are left out. NaN where that leaves none.
    """
    return float(torso_errors(pose[None], truth[None])[0])


def torso_errors(pose: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """`torso_error` of each of B pairs: float [B, T, 15, 2] each (or what broadcasts to it) -> float [B]."""
    distance = np.linalg.norm(pose - truth, axis=-1)
    torso = np.linalg.norm(truth[..., NECK, :] - truth[..., MID_HIP, :], axis=-1)
    return 100 * finite_mean(distance, True, (-2, -1)) / finite_mean(torso, True, -1)


def walker_errors(walker: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Mean distance between the joints of two walkers in three dimensions, in % of the true torso length: [B].

    walker, truth: float [B, T, 15, 3], neck at the origin. The walker is turned and scaled as a whole so that it fits best
    (Umeyama, "Least-squares estimation of transformation parameters between two point patterns", PAMI 1991).
    """
    u, size, v = np.linalg.svd(np.einsum("btji,btjk->bik", walker, truth))
    flip = np.sign(np.linalg.det(u @ v))  # a walker is not mirrored
    size[:, 2] *= flip
    v[:, 2] *= flip[:, None]
    scale = size.sum(1) / np.square(walker).sum((1, 2, 3))
    fitted = scale[:, None, None, None] * np.einsum("btji,bik->btjk", walker, u @ v)
    torso = np.linalg.norm(truth[:, :, MID_HIP], axis=-1).mean(1)
    return 100 * np.linalg.norm(fitted - truth, axis=-1).mean((1, 2)) / torso


@torch.no_grad()
def exchange_view(model: GaitModel, x: torch.Tensor, donor: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Walks decoded from their own codes, and with the view codes of others: [B, 30, T] each -> [B, 30, T] each."""
    model.eval()
    own, view = model.autoencoder.encode(x), model.autoencoder.encode(donor).view
    return model.autoencoder.decode(*own[:3]), model.autoencoder.decode(own.motion, own.body, view)


@dataclass(frozen=True)
class ExchangeErrors:
    """Errors of three guesses at what the camera of another view saw, in % of torso length.

    exchange: the walk decoded with the view code of another person in the target view; copy: the walk as it is; mean_walk: the
    training people's mean walk of the target view, at the phase and stride that fit the truth best.
    float [P, V, V] each: person, source view, target view; NaN on the diagonal and where nothing was recorded.
    walker: float [P], of the walkers that are decoded against the true ones, in three dimensions (see `walker_errors`); None
    where these are not known or the decoder makes none.
    """

    people: list[str]
    views: list[str]
    exchange: np.ndarray
    copy: np.ndarray
    mean_walk: np.ndarray
    walker: np.ndarray | None = None

    def to_frame(self) -> pd.DataFrame:
        """The mean of `exchange` over people: a row a source view, a column a target view."""
        names = {"index": pd.Index(self.views, name="source"), "columns": pd.Index(self.views, name="target")}
        return pd.DataFrame(finite_mean(self.exchange, True, 0), **names)

    def per_person(self) -> pd.DataFrame:
        """The mean over view pairs: a row a person, columns exchange, copy, mean_walk and, where there is one, walker."""
        guesses = {name: finite_mean(getattr(self, name), True, (1, 2)) for name in ("exchange", "copy", "mean_walk")}
        if self.walker is not None:
            guesses["walker"] = self.walker
        return pd.DataFrame(guesses, index=pd.Index(self.people, name="subject"))

    def summary(self, *, repeats: int = 2000, seed: int = 0) -> dict[str, list[float]]:
        """The mean of each guess with its 95 % interval over people: guess -> [value, low, high], % of torso length.

        gain: how much smaller the error of `exchange` is than that of `mean_walk`, paired by person.
        """
        errors = self.per_person()
        errors.insert(3, "gain", errors["mean_walk"] - errors["exchange"])
        return {n: [float(e.mean()), *mean_interval(e.to_numpy(), repeats=repeats, seed=seed)] for n, e in errors.items()}


def exchange_errors(
    model: GaitModel, walks: NormalizedWalks, truth: NormalizedWalks, mean_walks: dict[str, np.ndarray],
    walkers: np.ndarray | None = None,
) -> ExchangeErrors:  # fmt: skip
    """Exchange the view of each walk for every other one that was recorded synchronously, and compare.

    walks: people to test on; the opening window of each is used. truth: the same walks in the same order without noise, or
    `walks` again where nothing better is known. mean_walks: from `mean_walks(...)` on the training people. walkers: the opening
    windows of these walks in three dimensions, float [N, T, 15, 3], neck at the origin, where they are known.
    The view code comes from another person in the target view under the same condition, so nothing of the truth leaks through it;
    a view that shows one person only is not asked for.
    Raises InputError where no two walks show the same moment from two views, or every view shows one person only.
    """
    index = walks.index.reset_index(drop=True)
    views = sorted_views(index["view"])
    source, target = _synchronous_pairs(index)
    if not len(source):
        raise InputError("No two walks show the same moment from two views, so exchanged views cannot be compared with a truth.")
    another = _another_person(index)
    source, target = (rows[another[target] >= 0] for rows in (source, target))
    if not len(source):
        raise InputError("Each view shows one person only; exchanging views needs the view code of another one.")
    device = next(model.parameters()).device
    x = opening_windows(walks, index.index, model.window)
    shown, goals = (as_poses(y) for y in (x, opening_windows(truth, index.index, model.window)))
    exchanged, copied, fitted = (np.full(len(rows), np.nan) for rows in (source, source, index))
    model.eval()
    with torch.inference_mode():
        parts = [model.autoencoder.encode(part.to(device))[:3] for part in x.split(PAIRS)]
        motion, body, view_code = map(torch.cat, zip(*parts, strict=True))
        walker = None
        if walkers is not None and isinstance(model.autoencoder, GeometricAutoencoder):
            decoded = torch.cat([model.autoencoder.decoder.walker(*part[:2]) for part in parts])
            walker = walker_errors(decoded.permute(0, 3, 1, 2).double().cpu().numpy(), walkers)
        for rows in np.array_split(np.arange(len(source)), -(-len(source) // PAIRS)):
            walk, own = np.unique(source[rows], return_inverse=True)
            goal, own = goals[target[rows]], torch.from_numpy(own).to(device)
            pose = model.autoencoder.decode(motion[walk], body[walk], view_code[another[target[rows]]], own)
            exchanged[rows] = torso_errors(as_poses(pose), goal)
            copied[rows] = torso_errors(shown[source[rows]], goal)
    for name in mean_walks.keys() & set(views):
        rows = np.flatnonzero(index["view"] == name)
        fitted[rows] = best_fit_errors(mean_walks[name], goals[rows])

    people, person = np.unique(index["subject"], return_inverse=True)
    view = pd.Categorical(index["view"], views).codes
    place = (person[source], view[source], view[target])
    shape = (len(people), len(views), len(views))

    def table(values: np.ndarray) -> np.ndarray:
        """The mean of the pairs of each cell."""
        cell = np.ravel_multi_index(place, shape)
        count = np.bincount(cell, minlength=np.prod(shape))
        with np.errstate(invalid="ignore"):
            return (np.bincount(cell, values, np.prod(shape)) / count).reshape(shape)

    if walker is not None:
        walker = np.bincount(person, walker) / np.bincount(person)
    return ExchangeErrors(list(people), views, table(exchanged), table(copied), table(fitted[target]), walker)


def _synchronous_pairs(index: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Rows of all ordered pairs of walks of one recording in different views: int64 [M] each."""
    rows = index[["view"]].assign(recording=index["subject"] + "/" + index["recording"], row=np.arange(len(index)))
    pairs = rows.merge(rows, on="recording").query("view_x != view_y")
    return pairs["row_x"].to_numpy(), pairs["row_y"].to_numpy()


def _another_person(index: pd.DataFrame) -> np.ndarray:
    """For each walk, one of the next person in the same view and, where there is one, condition: int64 [N]; -1: there is none."""
    other = np.full(len(index), -1)
    for columns in (["view", "condition"], ["view"]):
        for _, group in index.groupby(columns):
            rows = group.index.to_numpy()
            people, first, person = np.unique(group["subject"], return_index=True, return_inverse=True)
            if len(people) > 1:
                other[rows] = np.where(other[rows] < 0, rows[np.roll(first, -1)][person], other[rows])
    return other


def fourier(phase: np.ndarray) -> np.ndarray:
    """1, cos k phase, sin k phase for k = 1..MEAN_WALK_HARMONICS: phase [...] in radians -> [..., SERIES]."""
    angles = phase[..., None] * np.arange(1, MEAN_WALK_HARMONICS + 1)
    return np.concatenate([np.ones_like(phase)[..., None], np.cos(angles), np.sin(angles)], -1)


def _tracks(frames: int) -> np.ndarray:
    """Every phase over time that is tried: [PHASES * strides, T], in radians."""
    start = 2 * np.pi * np.arange(PHASES) / PHASES
    return (start[:, None, None] + 2 * np.pi * np.arange(frames) / STRIDES[:, None]).reshape(-1, frames)


def mean_walks(walks: NormalizedWalks, side: str, window: int) -> dict[str, np.ndarray]:
    """The mean walk of each view over people whose cameras are synchronous, as a function of the gait phase.

    The phase of a recording is the steady one that fits the distance of its ankles along x in the view `side` best; each joint's
    mean course over the phase is then the least-squares Fourier series. walks: training people. window: the frames that count.
    Returns view -> float64 [SERIES, 15, 2]; without views that were never recorded together with `side`.
    """
    index = walks.index.reset_index(drop=True)
    shown = as_poses(opening_windows(walks, index.index, window)).astype(np.float64)
    recording = index["subject"] + "/" + index["recording"]
    tracks = _tracks(window)
    seen = np.flatnonzero(index["view"] == side)
    ankles = shown[seen, :, RIGHT_ANKLE, 0] - shown[seen, :, LEFT_ANKLE, 0]
    ankles -= ankles.mean(1, keepdims=True)
    phase = dict(zip(recording[seen], tracks[(ankles @ np.cos(tracks).T).argmax(1)], strict=True))
    result = {}
    for view, rows in index.groupby("view").groups.items():
        rows = [row for row in rows if recording[row] in phase]
        if not rows:
            continue
        basis = fourier(np.stack([phase[recording[row]] for row in rows])).reshape(-1, SERIES)
        series = np.linalg.lstsq(basis, shown[rows].reshape(-1, 2 * NUM_JOINTS), rcond=None)[0]
        result[str(view)] = series.reshape(-1, NUM_JOINTS, 2)
    return result


def best_fit_errors(series: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The torso errors of a mean walk at the phases and strides that come nearest to each truth.

    series: float [SERIES, 15, 2]; truth: float [N, T, 15, 2]. Returns float64 [N].
    """
    basis = fourier(_tracks(truth.shape[1]))  # [tracks, T, SERIES]
    flat = series.reshape(len(series), -1)
    # squared distances multiplied out, without |truth|^2: no pose of the many tracks is built
    gram = basis.transpose(0, 2, 1) @ basis
    square = (gram * (flat @ flat.T)).sum((1, 2))
    along = truth.reshape(*truth.shape[:2], -1) @ flat.T  # [N, T, SERIES]
    product = along.reshape(len(truth), -1) @ basis.reshape(len(basis), -1).T
    best = (square - 2 * product).argmin(1)
    return torso_errors((basis[best] @ flat).reshape(truth.shape), truth)
