"""Identification: the nearest neighbor in the gallery, for each pair of probe and gallery view or for all views at once."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch

from gaitlib import InputError
from gaitlib.data.views import sorted_views
from gaitlib.evaluation.embedding import Embeddings

#: The cumulative match characteristic is known up to this rank.
MOST_RANKS = 20
#: The metrics of every probe. map: average precision; minp: inverse negative penalty (Ye et al., TPAMI 2021).
METRICS = ("rank1", "rank5", "rank10", "map", "minp")
#: The gallery walks a probe is compared with. "single view": those of one view at a time, the field's usual table, whose means
#: exclude identical views. "other views": all walks from other views than the probe's at once, the other published meaning of
#: "excluding identical view". "all views": all at once, including the probe's view. "everyone": the person's enrolled walks from
#: other views, among all walks of all other people in every view and condition, enrolled or not: the harder gallery, in which
#: strangers share the probe's view and clothes, of the second protocol of MMGait.
GALLERIES = ("single view", "other views", "all views", "everyone")
#: Distances held in memory at once, eight bytes each.
_AT_ONCE = 1 << 23


@dataclass(frozen=True)
class RankMatrix:
    """One probe set: one row per probe view, one column per gallery view (or one column for all of them).

    sums: for each of METRICS, float64 [people, P, G]: its sum over the probes of each person.
    probes: int64 [people, P, G], their number.
    cmc: float64 [MOST_RANKS, P, G], share of probes whose person is among the first 1, 2, ... of the gallery.
    """

    probe_set: str
    probe_views: list[str]
    gallery_views: list[str]
    people: list[str]
    sums: dict[str, np.ndarray]
    probes: np.ndarray
    cmc: np.ndarray

    @property
    def same_view(self) -> np.ndarray:
        """bool [P, G]: the cells whose probe and gallery view are the same."""
        return np.array(self.probe_views)[:, None] == np.array(self.gallery_views)

    @property
    def counts(self) -> np.ndarray:
        """int64 [P, G], probes in the cell."""
        return self.probes.sum(0)

    def cells(self, metric: str = "rank1") -> np.ndarray:
        """float64 [P, G], the mean over the probes of each cell, a share; NaN if there is nothing to compare."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.sums[metric].sum(0) / self.counts

    def mean(self, metric: str = "rank1") -> float:
        """Identical views excluded: for each probe view the mean over the other gallery views, then the mean."""
        return _mean(self.probe_margin(metric))

    def same_view_mean(self, metric: str = "rank1") -> float:
        """The mean over the cells of identical views."""
        return _mean(self.cells(metric)[self.same_view])

    def probe_margin(self, metric: str = "rank1") -> np.ndarray:
        """float64 [P]: for each probe view the mean over the other gallery views."""
        return finite_mean(self.cells(metric), ~self.same_view, 1)

    def gallery_margin(self, metric: str = "rank1") -> np.ndarray:
        """float64 [G]: for each gallery view the mean over the other probe views."""
        return finite_mean(self.cells(metric), ~self.same_view, 0)

    def curve(self) -> np.ndarray:
        """The cumulative match characteristic, float64 [MOST_RANKS]; views as in `mean`."""
        return np.array([_mean(finite_mean(cells, ~self.same_view, 1)) for cells in self.cmc])

    def per_person(self, metric: str = "rank1") -> pd.Series:
        """The mean over each person's probes in other views; NaN if there are none."""
        other = ~self.same_view
        with np.errstate(invalid="ignore", divide="ignore"):
            values = self.sums[metric][:, other].sum(1) / self.probes[:, other].sum(1)
        return pd.Series(values, pd.Index(self.people, name="subject"), name=self.probe_set)

    def to_frame(self, metric: str = "rank1") -> pd.DataFrame:
        """`cells` with the names of the views."""
        return pd.DataFrame(self.cells(metric), pd.Index(self.probe_views, name="probe view"), self.gallery_views)


def _mean(values: np.ndarray) -> float:
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else float("nan")


def with_mean(values: dict[str, float]) -> dict[str, float]:
    """Values of probe sets and, as "mean", the mean of those that are finite."""
    return {**values, "mean": _mean(np.array(list(values.values())))}


def finite_mean(values: np.ndarray, keep: np.ndarray | bool, axis: int | tuple[int, ...]) -> np.ndarray:
    """Mean of the kept, finite cells along one axis or several; NaN if there are none."""
    keep = keep & np.isfinite(values)
    count = keep.sum(axis)
    return np.where(count > 0, np.where(keep, values, 0).sum(axis) / np.maximum(count, 1), np.nan)


def rank_matrix(
    embeddings: Embeddings, gallery: np.ndarray, probes: np.ndarray, probe_set: str, against: str = "single view"
) -> RankMatrix:
    """Rank the gallery for every probe by Euclidean distance.

    gallery, probes: bool [N] over the rows of `embeddings`. against: one of GALLERIES.
    If several gallery walks are equally far, the probe gets the average score over their possible orders, so that a
    constant embedding scores chance. A probe whose person is not in the gallery scores 0; it is not skipped.
    Raises InputError for embeddings that are not finite.
    """
    values, index = embeddings.values, embeddings.index
    bad = ~np.isfinite(values).all(1)
    if bad.any():
        raise InputError(
            f"{bad.sum()} embeddings are not finite, the first is that of walk {index['sequence'].iloc[int(bad.argmax())]}; "
            f"was the training unstable?"
        )
    view = index["view"].to_numpy()
    probe_views = sorted_views(view[probes])
    single = against == "single view"
    gallery_views = sorted_views(view[gallery]) if single else [against]
    subject, people = pd.factorize(index["subject"], sort=True)
    shape = (len(people), len(probe_views), len(gallery_views))
    sums, number = {name: np.zeros(shape) for name in METRICS}, np.zeros(shape, np.int64)
    found = np.zeros((MOST_RANKS, *shape[1:]))
    # each step: one gallery view against the probes of all views, or one probe view against the walks of all (other) views
    for name in gallery_views if single else probe_views:
        of_view = view == name
        p = np.flatnonzero(probes if single else probes & of_view)
        enrolled = gallery & (of_view if single else True if against == "all views" else ~of_view)
        if not enrolled.any():
            continue
        g = np.flatnonzero(enrolled | (against == "everyone"))
        row = pd.Categorical(view[p], categories=probe_views).codes
        column = gallery_views.index(name) if single else 0
        hits, precision, penalty = rank_scores(values[p], values[g], subject[p], subject[g], enrolled[g])
        scores = {"rank1": hits[:, 0], "rank5": hits[:, 4], "rank10": hits[:, 9], "map": precision, "minp": penalty}
        for metric, score in scores.items():
            np.add.at(sums[metric][:, :, column], (subject[p], row), score)
        np.add.at(number[:, :, column], (subject[p], row), 1)
        np.add.at(found[:, :, column].T, row, hits)
    present = number.sum((1, 2)) > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        cmc = found / number.sum(0)
    sums = {metric: values[present] for metric, values in sums.items()}
    return RankMatrix(probe_set, probe_views, gallery_views, list(people[present]), sums, number[present], cmc)


def pooled(matrices: list[RankMatrix]) -> RankMatrix:
    """Pool several runs (seeds) over the same people, views and probes into one with the probes of all runs.

    Raises InputError if people or views differ.
    """
    first = matrices[0]
    for other in matrices[1:]:
        if (first.people, first.probe_views, first.gallery_views) != (other.people, other.probe_views, other.gallery_views):
            raise InputError(f"Probe set {first.probe_set} has different people or views in one run; they cannot be pooled.")
    return replace(
        first,
        sums={metric: sum(m.sums[metric] for m in matrices) for metric in METRICS},
        probes=sum(m.probes for m in matrices),
        cmc=np.mean([m.cmc for m in matrices], 0),
    )


def rank_scores(
    probe: np.ndarray,
    gallery: np.ndarray,
    probe_subject: np.ndarray,
    gallery_subject: np.ndarray,
    enrolled: np.ndarray | bool = True,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How early each probe's person appears in the ranked gallery.

    probe: float32 [P, D]; gallery: float32 [G, D]; subjects: int64 [P], [G]. enrolled: bool [G]; a walk that is not is nobody's
    match: probes of its own person ignore it. Distances are float64; memory is bounded.
    Returns, float64: [P, MOST_RANKS], the chance that the person is among the first 1, 2, ... if ties are ordered at random;
    [P], average precision, with tied walks as one step of the ranking, as in scikit-learn; [P], the number of the person's
    gallery walks divided by the rank of the last of them, counted after those tied with it.
    """
    parts = []
    walks = torch.from_numpy(np.ascontiguousarray(gallery)).double()
    for rows in np.array_split(np.arange(len(probe)), -(-len(probe) * len(gallery) // _AT_ONCE) or 1):
        x = torch.from_numpy(np.ascontiguousarray(probe[rows])).double()
        distance = torch.cdist(x, walks, compute_mode="donot_use_mm_for_euclid_dist")  # exact for near copies
        same = probe_subject[rows][:, None] == gallery_subject
        if not np.all(enrolled):
            distance[torch.from_numpy(same & ~enrolled)] = torch.inf
            same &= enrolled
        parts.append(_ranks(distance, torch.from_numpy(same)))
    return tuple(torch.cat(part).numpy() for part in zip(*parts, strict=True))


def _ranks(distance: torch.Tensor, same: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """`rank_scores` of a block: distance float64 [B, G], same bool [B, G]."""
    count = same.sum(1)
    # the distances of the right walks, ascending, padded with infinity; nearer: how many walks are nearer; within: at most as far
    right = torch.where(same, distance, torch.inf).sort(1).values[:, : max(1, int(count.max()))].contiguous()
    everyone = distance.sort(1).values
    nearer = torch.searchsorted(everyone, right).double()
    within = torch.searchsorted(everyone, right, right=True).clamp(min=1).double()
    known = right.isfinite()
    right_within = torch.searchsorted(right, right, right=True)
    some = count.clamp(min=1)
    precision = (right_within / within * known).sum(1) / some
    last = within.gather(1, (some - 1)[:, None])[:, 0]
    # for the group of ties that holds the first right walk: its size, and how many of it are right
    before, size, of_them = nearer[:, :1], (within - nearer)[:, :1], right_within[:, :1]
    rank = torch.arange(1, MOST_RANKS + 1)
    drawn = rank - before  # how many of that group are drawn by this rank
    wrong = (size - of_them - drawn + 1) / (size - drawn + 1)  # the chance that the next one drawn is not right, either
    wrong = torch.where((drawn >= 1) & (drawn <= size), wrong.clamp(min=0), torch.where(drawn < 1, 1.0, 0.0))
    hits = 1 - wrong.cumprod(1)
    found = count > 0
    return hits * found[:, None], precision * found, count / last * found
