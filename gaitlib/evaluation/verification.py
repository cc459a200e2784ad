"""Verification (are two walks the same person?) and open-set identification (who is it, if anybody enrolled?)."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import torch

from gaitlib.evaluation import FAR, OPEN_FAR
from gaitlib.evaluation.bootstrap import draw_people, interval
from gaitlib.evaluation.embedding import Embeddings

#: Open-set identification is averaged over this many ways to enroll half of the people.
ENROLLMENTS = 20
#: The DET curve has at most this many points.
CURVE = 400
#: Thresholds used for intervals.
_THRESHOLDS = 4000


@dataclass(frozen=True)
class Scores:
    """The similarity of pairs of probe and gallery walks in different views.

    score: float32 [pairs], minus the Euclidean distance. same: bool [pairs], whether of the same person. person: int64 [pairs],
    the number of the probe's person, in the order of names.
    """

    score: np.ndarray
    same: np.ndarray
    person: np.ndarray


def cross_view_scores(embeddings: Embeddings, gallery: np.ndarray, probes: np.ndarray) -> Scores:
    """The scores of all probe-gallery pairs in different views; gallery, probes: bool [N]."""
    view, _ = pd.factorize(embeddings.index["view"])
    subject, _ = pd.factorize(embeddings.index["subject"], sort=True)
    other_view = view[probes][:, None] != view[gallery]
    same = subject[probes][:, None] == subject[gallery]
    person = np.broadcast_to(subject[probes][:, None], same.shape)
    score = -_distances(embeddings, gallery, probes)
    return Scores(score[other_view], same[other_view], person[other_view])


def _distances(embeddings: Embeddings, gallery: np.ndarray, probes: np.ndarray) -> np.ndarray:
    probe, enrolled = (torch.from_numpy(embeddings.values[rows].astype(np.float32)) for rows in (probes, gallery))
    return torch.cdist(probe, enrolled, compute_mode="donot_use_mm_for_euclid_dist").numpy()  # exact for near copies


def equal_error_rate(score: np.ndarray, same: np.ndarray) -> float:
    """The rate at which false matches and false non-matches are equally frequent, interpolated on the ROC curve.

    score: float [pairs], larger is more alike; same: bool [pairs]. NaN if one kind of pair is missing.
    """
    if same.all() or not same.any():
        return float("nan")
    from sklearn.metrics import roc_curve  # slow to import

    false_match, match, _ = roc_curve(same, score)
    return float(_crossing(false_match[None], match[None])[0])


def true_acceptance(score: np.ndarray, same: np.ndarray, far: float) -> float:
    """TAR at FAR: the largest share of same-person pairs that a threshold accepts while it accepts at most `far` of the others.

    score, same: as for `equal_error_rate`. NaN if one kind of pair is missing.
    """
    if same.all() or not same.any():
        return float("nan")
    from sklearn.metrics import roc_curve  # slow to import

    false_match, match, _ = roc_curve(same, score, drop_intermediate=False)
    return float(match[false_match <= far].max())


def detection_error(score: np.ndarray, same: np.ndarray) -> pd.DataFrame:
    """The DET curve, thinned out evenly to CURVE points: columns far (false acceptance) and frr (false rejection), shares.

    score: float [pairs], larger is more alike; same: bool [pairs]. One row is the equal error rate, where both are equal.
    """
    if same.all() or not same.any():
        return pd.DataFrame({"far": [], "frr": []})
    from sklearn.metrics import det_curve  # slow to import

    far, frr, _ = det_curve(same, score)
    # evenly along the curve as drawn on logarithmic axes
    along = np.cumsum(np.abs(np.diff(np.log(far.clip(1e-6)), prepend=0)) + np.abs(np.diff(np.log(frr.clip(1e-6)), prepend=0)))
    chosen = np.unique(np.searchsorted(along, np.linspace(along[0], along[-1], CURVE - 1)).clip(max=len(far) - 1))
    equal = equal_error_rate(score, same)
    return pd.DataFrame({"far": np.sort([*far[chosen], equal])[::-1], "frr": np.sort([*frr[chosen], equal])})


def _crossing(false_match: np.ndarray, match: np.ndarray) -> np.ndarray:
    """Where false matches equal false non-matches on each of R curves: [R, thresholds] each, both increasing -> [R]."""
    difference = false_match - (1 - match)  # grows from -1 to 1
    i = (difference >= 0).argmax(1)[:, None]
    before, at = np.maximum(i - 1, 0), partial(np.take_along_axis, axis=1)
    low, high = at(difference, before), at(difference, i)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(high == low, 0.0, -low / (high - low))
    return (at(false_match, before) + share * (at(false_match, i) - at(false_match, before)))[:, 0]


def verification_metrics(scores: Scores, *, repeats: int = 2000, seed: int = 0) -> dict[str, list[float]]:
    """Equal error rate and TAR at each FAR of one probe set: name -> [value, low, high].

    The values are exact. The intervals resample the probes' people and use scores in fine bins, in which each person's pairs are
    counted once.
    """
    score, same = scores.score, scores.same
    values = {"eer": equal_error_rate(score, same)}
    values |= {f"tar_at_far_{far:g}": true_acceptance(score, same, far) for far in FAR}
    people, person = np.unique(scores.person, return_inverse=True)
    if np.isnan(values["eer"]):
        return {name: [value, float("nan"), float("nan")] for name, value in values.items()}
    # thresholds are dense where pairs of different people are rare, which matters for small FAR
    tail = np.geomspace(1 / max(10, (~same).sum()), 1, _THRESHOLDS // 2)
    grid = np.concatenate([np.quantile(score[~same], 1 - tail), np.quantile(score[same], np.linspace(0, 1, _THRESHOLDS // 2))])
    edges = np.unique(grid)[::-1]  # in order of decreasing similarity
    place = len(edges) - np.searchsorted(edges[::-1], score, side="right")  # the first threshold that accepts the pair
    shape = (2, len(people), len(edges) + 1)
    cell = np.ravel_multi_index((same.astype(int), person, place), shape)
    accepted = np.bincount(cell, minlength=np.prod(shape)).reshape(shape).astype(float)  # pairs of different and of same people
    draws = []
    for weight in np.array_split(draw_people(len(people), repeats, seed), -(-repeats // 200)):
        part = weight @ accepted
        with np.errstate(invalid="ignore"):
            curves = np.pad(part.cumsum(2), ((0, 0), (0, 0), (1, 0))) / part.sum(2, keepdims=True)  # the first accepts nothing
        false_match, match = curves
        draws.append([_crossing(false_match, match), *(np.where(false_match <= far, match, 0).max(1) for far in FAR)])
    drawn = zip(values.items(), np.concatenate(draws, 1), strict=True)
    return {name: [value, *interval(rates, len(people))] for (name, value), rates in drawn}


def open_set_metrics(
    embeddings: Embeddings, gallery: np.ndarray, probes: np.ndarray, *, repeats: int = 2000, seed: int = 0
) -> dict[str, list[float]]:
    """DIR at each FAR of one probe set with half of the people absent from the gallery: name -> [value, low, high].

    Detection and identification rate (Phillips, Grother & Micheals, 2011): the share of probes of enrolled people whose nearest
    gallery walk is their own and near enough, at the threshold that accepts FAR of the probes of people who are not
    enrolled. The gallery holds all views but the probe's. Mean over ENROLLMENTS ways to enroll half of the people.
    """
    names = [f"dir_at_far_{far:g}" for far in OPEN_FAR]
    subject, people = pd.factorize(embeddings.index["subject"], sort=True)
    view, _ = pd.factorize(embeddings.index["view"])
    enrolled, column = np.unique(subject[gallery], return_inverse=True)
    if len(enrolled) < 4:
        return {name: [float("nan")] * 3 for name in names}
    distance = np.where(view[probes][:, None] == view[gallery], np.inf, _distances(embeddings, gallery, probes))
    order = np.argsort(column, kind="stable")
    to_person = np.minimum.reduceat(distance[:, order], np.searchsorted(column[order], np.arange(len(enrolled))), 1)
    person = subject[probes]
    rng = np.random.default_rng(seed)
    ways = []
    for _ in range(ENROLLMENTS):
        chosen = np.sort(rng.permutation(len(enrolled))[: len(enrolled) // 2])
        part = to_person[:, chosen]
        best = part.min(1)
        # equally near people share the claim
        right = ((part == best[:, None]) * (enrolled[chosen] == person[:, None])).sum(1) / (part == best[:, None]).sum(1)
        known = np.isin(person, enrolled[chosen])
        order = np.argsort(best, kind="stable")
        ways.append((best[order], (right * known)[order], known[order], person[order]))
    count, drawn = len(np.unique(person)), draw_people(len(people), repeats, seed)
    value = np.mean([_detected(np.ones((1, len(people))), *way) for way in ways], 0)[0]
    draws = np.mean([_detected(drawn, *way) for way in ways], 0)
    return {name: [float(v), *interval(d, count)] for name, v, d in zip(names, value, draws.T, strict=True)}


def _detected(draws: np.ndarray, best: np.ndarray, right: np.ndarray, known: np.ndarray, person: np.ndarray) -> np.ndarray:
    """DIR at each OPEN_FAR in each draw of people: float [R, people] -> [R, OPEN_FAR]; NaN if one kind of probe is missing.

    The other arguments describe the probes, ordered from the nearest to its gallery to the farthest.
    """
    last = np.append(best[1:] != best[:-1], True)  # a threshold accepts all probes that are equally near
    weight = draws[:, person]
    with np.errstate(invalid="ignore"):
        let_in, found = (
            np.cumsum(weight * part, 1)[:, last] / (weight @ whole)[:, None] for part, whole in ((~known, ~known), (right, known))
        )
    rates = [np.where(let_in <= far, found, 0).max(1) for far in OPEN_FAR]
    return np.stack([np.where(np.isfinite(let_in[:, -1] + found[:, -1]), rate, np.nan) for rate in rates], 1)
