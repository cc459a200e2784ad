"""What recognition rests on: the trained model on impoverished walks, and linear discriminants of single codes.

Skeleton gait recognizers are said to rely on height and static shape rather than on movement (arXiv 2402.08320). These
experiments test that. Inputs are changed only at test time, for gallery and probes alike; nothing is trained again. When codes
are left out, discriminants of the remaining ones are fitted on the training people in closed form; the encoders stay as they are.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from gaitlib.data.dataset import GaitDataset
from gaitlib.data.preprocess import NormalizedWalks, normalize
from gaitlib.evaluation.bootstrap import paired_differences, rank_intervals
from gaitlib.evaluation.embedding import Embeddings, embed_walks
from gaitlib.evaluation.ranking import RankMatrix, rank_matrix, with_mean
from gaitlib.model.discriminants import LARGEST, fisher
from gaitlib.model.recognizer import GaitModel
from gaitlib.skeleton import BONES, MID_HIP, NECK, NUM_JOINTS

#: The codes whose discriminants are evaluated.
CODE_SETS = {
    "pose only": ("pose",),
    "motion only": ("motion",),
    "body only": ("body",),
    "view only": ("view",),
    "combined (pose, motion, body)": ("pose", "motion", "body"),
    "combined, all (and view)": ("pose", "motion", "body", "view"),
}
#: The number of rows in the table; a model without codes has fewer.
ABLATIONS = 15 + len(CODE_SETS)


@dataclass(frozen=True)
class Ablation:
    """One row of the table. kind: "input", "codes" or "halves"; matrices: probe set -> RankMatrix."""

    kind: str
    name: str
    matrices: dict[str, RankMatrix]


def shuffled_frames(walks: NormalizedWalks, seed: int = 0) -> NormalizedWalks:
    """The same frames of each walk in random order."""
    order = np.random.default_rng(seed).random(len(walks.frames))
    walk = np.repeat(np.arange(len(walks)), walks.length)
    return replace(walks, frames=walks.frames[np.lexsort([order, walk])])


def one_frame(walks: NormalizedWalks) -> NormalizedWalks:
    """The middle frame of each walk, standing still."""
    return replace(walks, frames=walks.frames[np.repeat(walks.start + walks.length // 2, walks.length)])


def opening_frames(walks: NormalizedWalks, most: int) -> NormalizedWalks:
    """The first frames of each walk, at most `most`; windows loop them, like all short walks."""
    return replace(walks, length=np.minimum(walks.length, most))


def halves(walks: NormalizedWalks) -> tuple[NormalizedWalks, np.ndarray]:
    """The first halves of all walks, then the second; and which are second, bool [2N]."""
    half = walks.length // 2
    start, length = np.concatenate([walks.start, walks.start + half]), np.concatenate([half, walks.length - half])
    both = replace(walks, start=start, length=length, index=pd.concat([walks.index] * 2, ignore_index=True))
    return both, np.arange(len(both)) >= len(walks)


def joint_noise(walks: NormalizedWalks, share: float, seed: int = 0) -> NormalizedWalks:
    """Normal noise on every coordinate; its standard deviation is a share of the torso length."""
    noise = np.random.default_rng(seed).standard_normal(walks.frames.shape, dtype=np.float32)
    return replace(walks, frames=walks.frames + np.float32(share) * noise)


def without_body_shape(walks: NormalizedWalks, reference: NormalizedWalks) -> NormalizedWalks:
    """Give every bone its mean length in that view in the reference; directions over time stay.

    Normalization has already removed size; this removes proportions. Views missing from the reference get the mean of all views.
    """
    known = _bone_lengths(reference).groupby(reference.index["view"].to_numpy()).mean()
    wanted = known.reindex(walks.index["view"].to_numpy()).fillna(known.mean()).to_numpy()
    factor = np.repeat(wanted / _bone_lengths(walks).to_numpy().clip(1e-6), walks.length, 0).astype(np.float32)
    frames = np.zeros_like(walks.frames)
    placed = {NECK}
    while len(placed) < NUM_JOINTS:  # from the neck outward
        for bone, (a, b) in enumerate(BONES):
            if (a in placed) != (b in placed):
                near, far = (a, b) if a in placed else (b, a)
                offset = walks.frames[:, far] - walks.frames[:, near]
                frames[:, far] = frames[:, near] + offset * factor[:, bone, None]
                placed.add(far)
    return replace(walks, frames=frames / np.linalg.norm(frames[:, MID_HIP], axis=1).mean())


def missing_joints(dataset: GaitDataset, share: float, seed: int = 0) -> NormalizedWalks:
    """Joint dropout: a share of all joints removed at random and filled in like joints that an estimator misses."""
    length = dataset.index["frames"].to_numpy()
    start = np.cumsum(length) - length
    rows = np.arange(length.sum()) + np.repeat(dataset.index["start"].to_numpy() - start, length)
    poses = np.array(dataset.poses[rows])
    poses[np.random.default_rng(seed).random(poses.shape[:2]) < share] = np.nan
    return normalize(replace(dataset, poses=poses, index=dataset.index.assign(start=start)))


def _bone_lengths(walks: NormalizedWalks) -> pd.DataFrame:
    """The mean length of each bone over each walk in torso lengths: one row per walk, one column per bone."""
    ends = np.array(BONES)
    lengths = np.linalg.norm(walks.frames[:, ends[:, 1]] - walks.frames[:, ends[:, 0]], axis=-1)
    return pd.DataFrame(np.add.reduceat(lengths, walks.start) / walks.length[:, None])


def light_head(train: np.ndarray, subject: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Fit linear discriminants on the training people and apply them to others: [N, D], int64 [N], [M, D] -> float32 [M, E].

    Features are standardized on the training people; the result has length one.
    """
    center, scale = train.mean(0), train.std(0)
    scale = np.where(scale < 1e-6, 1.0, scale)
    known, asked = (((x - center) / scale).clip(-LARGEST, LARGEST).astype(np.float64) for x in (train, test))
    origin, projection = fisher(known, subject, min(subject.max(), train.shape[1]))
    return F.normalize(torch.from_numpy(asked @ projection - origin)).float().numpy()


def ablations(
    model: GaitModel, train: NormalizedWalks, test: GaitDataset, gallery: np.ndarray, probes: dict[str, np.ndarray],
    codes: tuple[dict[str, np.ndarray], dict[str, np.ndarray]], *, stride: int = 32, mirrored: bool = True, adapt: bool = False,
    seed: int = 0, device="cpu",
) -> Iterator[Ablation]:  # fmt: skip
    """The rows of the table, one after another, starting with the unchanged model.

    train: walks of training people. test, gallery, probes: the walks of the test people and their roles, bool [N].
    codes: `code_features` of the walks of train and of test. adapt: to the enrolled people, see `embed_walks`.
    """
    whole = normalize(test)

    def embed(walks: NormalizedWalks, enrolled: np.ndarray = gallery, adapt: bool = adapt) -> Embeddings:
        known = enrolled if adapt else None
        return embed_walks(model, walks, stride=stride, mirrored=mirrored, enrolled=known, device=device)

    def ranked(found: Embeddings, enrolled=gallery, asked=probes) -> dict[str, RankMatrix]:
        """The matrix of each probe set."""
        return {name: rank_matrix(found, enrolled, rows, name) for name, rows in asked.items()}

    changes: dict[str, Callable[[], NormalizedWalks]] = {
        "nothing changed": lambda: whole,
        "frames shuffled": lambda: shuffled_frames(whole, seed),
        "one frame kept": lambda: one_frame(whole),
        "body shape removed": lambda: without_body_shape(whole, train),
        **{f"first {n} frames": lambda n=n: opening_frames(whole, n) for n in (16, 32, 48, 64)},
        **{f"{n} % of joints missing": lambda n=n: missing_joints(test, n / 100, seed) for n in (10, 30)},
        **{f"joint noise of {n} % of the torso": lambda n=n: joint_noise(whole, n / 100, seed) for n in (1, 3, 5)},
    }
    for name, change in changes.items():
        yield Ablation("input", name, ranked(embed(change())))
    name = "without adaptation to the enrolled" if adapt else "adapted to the enrolled"
    yield Ablation("input", name, ranked(embed(whole, adapt=not adapt)))

    both, later = halves(whole)
    enrolled = ~later & np.tile(np.any(list(probes.values()), axis=0), 2)
    asked = {name: later & np.tile(rows, 2) for name, rows in probes.items()}
    yield Ablation("halves", "second halves of the probes against first halves", ranked(embed(both, enrolled), enrolled, asked))

    subject = pd.factorize(train.index["subject"])[0]
    for name, chosen in CODE_SETS.items():
        if not codes[0].keys() >= set(chosen):  # a network without an autoencoder
            continue
        known, asked = (np.concatenate([features[code] for code in chosen], 1) for features in codes)
        yield Ablation("codes", name, ranked(Embeddings(light_head(known, subject, asked), whole.index)))


def ablation_table(rows: list[Ablation], *, repeats: int = 2000, seed: int = 0) -> list[dict]:
    """The rows for metrics.json: rank-1 of each probe set across views and in the same view, and the interval of the mean.

    "difference": from the first row, for the same people, [difference, low, high].
    """
    return [
        {
            "kind": row.kind,
            "name": row.name,
            "rank1": with_mean({name: m.mean() for name, m in row.matrices.items()}),
            "rank1_same_view": with_mean({name: m.same_view_mean() for name, m in row.matrices.items()}),
            "ci95": rank_intervals(row.matrices, repeats=repeats, seed=seed)["mean"],
            "difference": paired_differences(row.matrices, rows[0].matrices, repeats=repeats, seed=seed)["mean"],
        }
        for row in rows
    ]
