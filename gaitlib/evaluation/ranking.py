"""Identification: rank-1 and mean average precision, probe view by gallery view."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from gaitlib import InputError
from gaitlib.data.dataset import sorted_views
from gaitlib.evaluation.embedding import Embeddings


@dataclass(frozen=True)
class RankMatrix:
    """One probe set: a row a probe view, a column a gallery view.

    values: float64 [P, G], share of probes whose nearest gallery walk in that view is the same person (NaN: nothing to compare).
    precision: float64 [P, G], mean average precision.
    counts: int64 [P, G], probes in the cell.
    hits: float64 [people, P, G], sum of rank-1 scores of each person's probes; probes: int64 [people, P, G], their number.
    """

    probe_set: str
    probe_views: list[str]
    gallery_views: list[str]
    values: np.ndarray
    precision: np.ndarray
    counts: np.ndarray
    people: list[str]
    hits: np.ndarray
    probes: np.ndarray

    @property
    def same_view(self) -> np.ndarray:
        """bool [P, G]: the cells whose probe and gallery view are the same."""
        return np.array(self.probe_views)[:, None] == np.array(self.gallery_views)

    def mean(self) -> float:
        """Rank-1 with identical views excluded: for each probe view the mean over the other gallery views, then the mean."""
        return _mean(self.probe_margin())

    def same_view_mean(self) -> float:
        return _mean(self.values[self.same_view])

    def mean_precision(self) -> float:
        return _mean(finite_mean(self.precision, ~self.same_view, 1))

    def probe_margin(self) -> np.ndarray:
        """float64 [P]: for each probe view the mean over the other gallery views."""
        return finite_mean(self.values, ~self.same_view, 1)

    def gallery_margin(self) -> np.ndarray:
        """float64 [G]: for each gallery view the mean over the other probe views."""
        return finite_mean(self.values, ~self.same_view, 0)

    def to_frame(self) -> pd.DataFrame:
        return pd.DataFrame(self.values, pd.Index(self.probe_views, name="probe view"), self.gallery_views)


def _mean(values: np.ndarray) -> float:
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else float("nan")


def finite_mean(values: np.ndarray, keep: np.ndarray | bool, axis: int) -> np.ndarray:
    """Mean of the kept, finite cells along an axis; NaN where there is none."""
    keep = keep & np.isfinite(values)
    count = keep.sum(axis)
    return np.where(count > 0, np.where(keep, values, 0).sum(axis) / np.maximum(count, 1), np.nan)


def rank_matrix(embeddings: Embeddings, gallery: np.ndarray, probes: np.ndarray, probe_set: str) -> RankMatrix:
    """Rank the gallery for every probe, one gallery view at a time, by Euclidean distance.

    gallery, probes: bool [N] over the rows of `embeddings`.
    Where several gallery walks are nearest, the probe scores the share of them that is the right person, so that a constant
    embedding scores chance. A probe whose person is not in that gallery view scores 0; it is not skipped.
    Raises InputError for embeddings that are not finite.
    """
    values, index = embeddings.values, embeddings.index
    bad = ~np.isfinite(values).all(1)
    if bad.any():
        raise InputError(
            f"{bad.sum()} embeddings are not finite, the first of walk {index['sequence'].iloc[int(bad.argmax())]}; "
            f"was the training unstable?"
        )
    gallery_views = sorted_views(index["view"][gallery])
    probe_views = sorted_views(index["view"][probes])
    subject, people = pd.factorize(index["subject"], sort=True)
    view = index["view"].to_numpy()
    shape = (len(people), len(probe_views), len(gallery_views))
    hits, precisions, number = np.zeros(shape), np.zeros(shape), np.zeros(shape, np.int64)
    p = np.flatnonzero(probes)
    row = pd.Categorical(view[p], categories=probe_views).codes
    for column, gallery_view in enumerate(gallery_views):
        g = np.flatnonzero(gallery & (view == gallery_view))
        hit, precision = rank_scores(values[p], values[g], subject[p], subject[g])
        np.add.at(hits[:, :, column], (subject[p], row), hit)
        np.add.at(precisions[:, :, column], (subject[p], row), precision)
        np.add.at(number[:, :, column], (subject[p], row), 1)
    counts = number.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        cells, precision = hits.sum(0) / counts, precisions.sum(0) / counts
    present = number.sum((1, 2)) > 0
    return RankMatrix(
        probe_set,
        probe_views,
        gallery_views,
        cells,
        precision,
        counts,
        list(people[present]),
        hits[present],
        number[present],
    )


def rank_scores(probe: np.ndarray, gallery: np.ndarray, probe_subject: np.ndarray, gallery_subject: np.ndarray):
    """Rank-1 score and average precision of each probe.

    probe: float32 [P, D]; gallery: float32 [G, D]; subjects: int64 [P], [G]. Returns (float64 [P], float64 [P]).
    Average precision takes tied gallery walks as one step of the ranking, as scikit-learn does.
    """
    distance = torch.cdist(
        torch.from_numpy(np.ascontiguousarray(probe)).double(),
        torch.from_numpy(np.ascontiguousarray(gallery)).double(),
        compute_mode="donot_use_mm_for_euclid_dist",
    ).numpy()  # fmt: skip
    same = probe_subject[:, None] == gallery_subject
    nearest = distance == distance.min(1, keepdims=True)
    rank1 = (nearest & same).sum(1) / nearest.sum(1)

    order = np.argsort(distance, 1, kind="stable")
    ranked, right = np.take_along_axis(distance, order, 1), np.take_along_axis(same, order, 1)
    last = np.concatenate([ranked[:, 1:] != ranked[:, :-1], np.ones((len(ranked), 1), bool)], 1)
    found = right.cumsum(1)
    precision = found / np.arange(1, distance.shape[1] + 1)
    # the precision at the end of its group of ties counts for every member of the group
    end = np.where(last, np.arange(distance.shape[1]), distance.shape[1])
    end = np.minimum.accumulate(end[:, ::-1], 1)[:, ::-1]
    precision = np.take_along_axis(precision, end, 1)
    total = same.sum(1)
    return rank1, np.where(total > 0, (precision * right).sum(1) / np.maximum(total, 1), 0.0)
