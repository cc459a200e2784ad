"""Open-set identification: how much more likely a walk is if it is an enrolled person's than if it is a stranger's.

Discriminants are adapted to the enrolled people (gaitlib/model/discriminants.py). In their directions a person is normal
with variance r around the mean of all people, and a walk is normal with variance 1 around its person, so the likelihood ratio of
two walks coming from one person or from two has a closed form (probabilistic LDA: Ioffe, ECCV 2006; Prince and Elder,
ICCV 2007). Vectors are first scaled to the length that the model expects (Garcia-Romero and Espy-Wilson,
"Analysis of i-vector length normalization", Interspeech 2011). The score of a person is the logarithm of the ratio for the
most likely of their enrolled walks.
"""

import copy
from dataclasses import dataclass
from math import nan, sqrt

import numpy as np
import pandas as pd
import torch
from scipy import stats

from gaitlib import InputError
from gaitlib.data.preprocess import MOST_WINDOWS, NormalizedWalks, groups, mirror
from gaitlib.evaluation.embedding import windows_of
from gaitlib.model.discriminants import Discriminants
from gaitlib.model.recognizer import GaitModel

#: Frames between the windows of a walk. With 32, as in the evaluation, recognition was 1.5 points lower; 8 is no better.
STRIDE = 16
#: With fewer people, the rate at which strangers are accepted cannot be measured, as it is measured on the enrolled people.
FEWEST_PEOPLE = 5
#: Then this score is the threshold; with two to four of people 1-74 of kgbd enrolled, 1 to 8 % of strangers reach it.
SCORE_OF_FEW = 50.0
#: The enrolled people serve as strangers to a gallery without them, a tenth of them at a time, until about ENOUGH_PEOPLE were
#: tested, with at most MOST_WALKS walks each time.
FOLDS, ENOUGH_PEOPLE, MOST_WALKS = 10, 200, 200


@dataclass(frozen=True)
class Descriptions:
    """Statistics of the codes of walks, window by window.

    statistics: float16 or float32 [W, S], `code_statistics`, the mean of a window's and its mirror image's; walk: int64 [W], the
    table row of each window's walk, in order; index: one row per walk, with columns subject and view.
    """

    statistics: torch.Tensor
    walk: np.ndarray
    index: pd.DataFrame

    def chosen(self, walks: np.ndarray) -> "Descriptions":
        """The descriptions of some of the walks, bool [N]."""
        windows = walks[self.walk]
        number = np.cumsum(walks) - 1
        index = self.index[walks].reset_index(drop=True)
        return Descriptions(self.statistics[torch.from_numpy(windows)], number[self.walk[windows]], index)


def check_describes(model: GaitModel) -> None:
    """Raise InputError for a model without discriminants."""
    if not model.discriminants:
        raise InputError("Enrolling adapts the discriminants of the codes, which this checkpoint does not have; train with "
                         "model.discriminants above 0, or use pretrained.")  # fmt: skip


@torch.no_grad()
def describe(model: GaitModel, walks: NormalizedWalks, device="cpu") -> Descriptions:
    """Describe walks by the codes of a model. Raises InputError for a model without discriminants."""
    check_describes(model)
    model, rows, found = model.to(device).eval(), [], []
    for walk, x in windows_of(model, walks, STRIDE):
        rows.append(walk)
        found.append(((model.code_statistics(x) + model.code_statistics(mirror(x))) / 2).cpu())
    return Descriptions(torch.cat(found), torch.cat(rows).numpy(), walks.index)


class Identifier:
    """Scores of walks against those of enrolled people.

    discriminants: as trained; they are adapted to `enrolled`. people: the names, in order.
    """

    def __init__(self, discriminants: Discriminants, enrolled: Descriptions):
        self.discriminants = copy.deepcopy(discriminants).cpu()
        some = _some(enrolled.walk, MOST_WINDOWS)
        group = groups(enrolled.index.iloc[enrolled.walk[some]], "subject", "view")
        self.discriminants.adapt(enrolled.statistics[torch.from_numpy(some)].float(), group)
        ratio = self.discriminants.ratio.double().numpy().clip(1e-4)
        self.weight = torch.from_numpy(np.sqrt(ratio / (1 + ratio)))  # the factor of a discriminant
        self.total = ratio + 1  # the variance of anybody's walk
        # of two walks of one person: covariance [[total, ratio], [ratio, total]]
        determinant = self.total**2 - ratio**2
        self.gain = np.sqrt(ratio / determinant)
        self.share = ratio / self.total
        self.offset = float((np.log(self.total) - np.log(determinant) / 2).sum())
        places = self._places(enrolled)
        view = enrolled.index["view"].to_numpy()
        self.views = pd.DataFrame(places).groupby(view).mean()
        self.people, self.person = np.unique(enrolled.index["subject"].to_numpy().astype(str), return_inverse=True)
        self._order = np.argsort(self.person, kind="stable")
        self._first = np.searchsorted(self.person[self._order], np.arange(len(self.people)))
        self.enrolled = self._vectors(places, view)
        self._weights = self._weighed(self.enrolled)

    def _places(self, described: Descriptions) -> np.ndarray:
        """The mean positions of walks along the discriminants, in standard deviations within a person: float64 [N, D]."""
        total = torch.zeros(len(described.index), len(self.weight), dtype=torch.float64)
        for rows in torch.arange(len(described.walk)).split(MOST_WINDOWS):
            found = self.discriminants(described.statistics[rows].float()).double() / self.weight
            total.index_add_(0, torch.from_numpy(described.walk)[rows], found)
        return total.numpy() / np.bincount(described.walk, minlength=len(described.index))[:, None]

    def _vectors(self, places: np.ndarray, view: np.ndarray) -> np.ndarray:
        """Positions minus the mean of the enrolled walks of that view (or of all views), scaled to the length of a walk's."""
        places = places - self.views.reindex(view).fillna(self.views.mean()).to_numpy()
        length = np.sqrt((places**2 / self.total).sum(1, keepdims=True) / len(self.total))
        return (places / np.maximum(length, 1e-12) * self.gain).astype(np.float32)

    def vectors(self, asked: Descriptions) -> np.ndarray:
        """The vectors of walks, float32 [N, D], as `scores` takes them."""
        return self._vectors(self._places(asked), asked.index["view"].to_numpy())

    def scores(self, vectors: np.ndarray) -> np.ndarray:
        """The score of each person, float [N, people]: the natural logarithm of the likelihood ratio."""
        each = vectors @ self.enrolled.T - self._weighed(vectors)[:, None] - self._weights + self.offset
        return np.maximum.reduceat(each[:, self._order], self._first, 1)

    def _weighed(self, vectors: np.ndarray) -> np.ndarray:
        """The part of its scores that depends on one vector alone: [N, D] -> [N]."""
        return vectors**2 @ self.share / 2


@dataclass(frozen=True)
class Strangers:
    """The best scores of people who are not enrolled: mean and deviation, and the number of people they were measured on."""

    mean: float
    deviation: float
    people: int

    def share(self, score: np.ndarray) -> np.ndarray:
        """The share of strangers who would reach a score, 0..1; NaN with fewer than FEWEST_PEOPLE.

        The prediction interval of a normal variable whose mean and deviation are estimated on `people` people: Student's t.
        """
        if self.people < FEWEST_PEOPLE:
            return np.full(np.shape(score), nan)
        return stats.t.sf((np.asarray(score) - self.mean) / self._spread, self.people - 1)

    def score(self, share: float) -> float:
        """The score that this share of strangers would reach; SCORE_OF_FEW with fewer than FEWEST_PEOPLE."""
        if self.people < FEWEST_PEOPLE:
            return SCORE_OF_FEW
        return float(self.mean + stats.t.isf(share, self.people - 1) * self._spread)

    @property
    def _spread(self) -> float:
        return self.deviation * sqrt(1 + 1 / self.people)


def strangers(discriminants: Discriminants, enrolled: Descriptions) -> Strangers:
    """How near strangers come, measured on the enrolled people themselves: each is probed against a gallery without them.

    Each of these galleries holds all but a tenth of the people and is adapted to them.
    """
    person = groups(enrolled.index, "subject")
    people = int(person.max()) + 1
    if people < 2:
        return Strangers(nan, nan, people)
    folds = min(FOLDS, people)
    part = np.random.default_rng(0).permutation(people) % folds
    asked = min(folds, -(-FOLDS * ENOUGH_PEOPLE // people))
    best = np.concatenate([_best_of_strangers(discriminants, enrolled, part[person] == k) for k in range(asked)])
    return Strangers(float(best.mean()), float(best.std()), int((part < asked).sum()))


def _best_of_strangers(discriminants: Discriminants, enrolled: Descriptions, left_out: np.ndarray) -> np.ndarray:
    """The best score of each walk that is left out, or of some of them, against a gallery of the others."""
    identifier = Identifier(discriminants, enrolled.chosen(~left_out))
    asked = np.zeros_like(left_out)
    asked[np.flatnonzero(left_out)[_some(np.flatnonzero(left_out), MOST_WALKS)]] = True
    return identifier.scores(identifier.vectors(enrolled.chosen(asked))).max(1)


def _some(rows: np.ndarray, most: int) -> np.ndarray:
    """Indices of at most `most` of the rows, evenly spread."""
    return np.unique(np.linspace(0, len(rows) - 1, min(len(rows), most)).astype(int))
