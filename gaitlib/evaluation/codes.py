"""How well the codes are separated: what can be read from each, and how much it changes with what it should not depend on."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gaitlib.data.preprocess import NormalizedWalks, opening_windows
from gaitlib.evaluation.bootstrap import draw_people, interval
from gaitlib.model.recognizer import GaitModel

#: Whether a classifier's accuracy on a code should be high or low; the others are open.
WANTED = {
    "motion": {"view": "low", "identity": "high"},
    "body": {"view": "low", "identity": "high"},
    "view": {"view": "high", "condition": "low", "identity": "low"},
}
#: Neighbors that vote in the nearest-neighbor classifier.
NEIGHBORS = 5
#: At most this many walks are decoded and encoded again.
CYCLES = 600


@dataclass(frozen=True)
class Measure:
    """One line of the scorecard.

    code: motion, body or view. name: what is measured. value, low, high: with the 95 % interval over people. chance: the value
    of guessing. wanted: "high", "low", or "" for neither.
    """

    code: str
    name: str
    value: float
    low: float
    high: float
    chance: float
    wanted: str


def scorecard(
    model: GaitModel, train: NormalizedWalks, test: NormalizedWalks, gallery: np.ndarray, probes: np.ndarray,
    codes: tuple[dict[str, np.ndarray], dict[str, np.ndarray]], *, repeats: int = 2000, seed: int = 0,
) -> list[Measure]:  # fmt: skip
    """What classifiers read from each code, how invariant each code is, and what it loses in a cycle.

    train, test: walks of training and of test people; gallery, probes: bool [N] over test. codes: `code_features` of both.
    """
    known, found = codes
    draws = {"repeats": repeats, "seed": seed}
    return [
        *readouts(known, train.index, found, test.index, gallery, probes, **draws),
        *invariance(found, test.index, **draws),
        *cycle_consistency(model, test, **draws),
    ]


def readouts(
    train: dict[str, np.ndarray], train_index: pd.DataFrame, test: dict[str, np.ndarray], test_index: pd.DataFrame,
    gallery: np.ndarray, probes: np.ndarray, *, repeats: int = 2000, seed: int = 0,
) -> Iterator[Measure]:  # fmt: skip
    """Balanced accuracy of a linear and of a nearest-neighbor probe for view, condition and identity on each code.

    train, test: from `code_features`. View and condition are learned on the training people and tested on all walks of the test
    people; identity is learned on the test people's gallery walks and tested on their probes (bool [N] each).
    """
    person = pd.factorize(test_index["subject"], sort=True)[0]
    everyone = np.ones(len(test_index), bool)
    for target in ("view", "condition", "identity"):
        column = "subject" if target == "identity" else target
        answers = test_index[column].to_numpy()
        for code, wanted in WANTED.items():
            if target == "identity":
                known, labels, rows = test[code][gallery], answers[gallery], probes
            else:
                known, labels, rows = train[code], train_index[column].to_numpy(), everyone
            rows = rows & np.isin(answers, labels)
            classes, counts = np.unique(answers[rows], return_counts=True)
            learned = len(np.unique(labels))
            if learned < 2 or not len(classes):
                continue
            # every class has the same weight, whatever its number of walks
            weight = (1 / counts)[np.searchsorted(classes, answers[rows])]
            linear = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto", priors=np.full(learned, 1 / learned))
            neighbors = KNeighborsClassifier(min(NEIGHBORS, len(labels)))
            for kind, classifier in (("linear", linear), ("nearest-neighbor", neighbors)):
                fitted = make_pipeline(StandardScaler(), classifier).fit(known, labels)
                right = fitted.predict(test[code][rows]) == answers[rows]
                sums = (np.bincount(person[rows], w, person.max() + 1) for w in (right * weight, weight))
                name = f"{target}, {kind} probe"
                yield _measure(code, name, *sums, 1 / learned, wanted.get(target, ""), repeats=repeats, seed=seed)


def invariance(test: dict[str, np.ndarray], index: pd.DataFrame, *, repeats: int = 2000, seed: int = 0) -> Iterator[Measure]:
    """Distance within divided by distance between, for each code; 0 is perfectly invariant, 1 not at all.

    motion, body: distance of walks of one person in two views (of one recording if possible) over that of two people in one view.
    view: distance of two people in one view over that of one person in two views. Conditions are the same throughout.
    """
    person = pd.factorize(index["subject"], sort=True)[0]
    rng = np.random.default_rng(seed)
    own = _partners(index, ["subject", "condition"], "view", rng, prefer="recording")
    other = _partners(index, ["view", "condition"], "subject", rng)

    def spread(values: np.ndarray, partner: np.ndarray) -> np.ndarray:
        """The mean distance to the partners, per person; 0 if there are none."""
        rows = np.flatnonzero(partner >= 0)
        distance = np.linalg.norm(values[rows] - values[partner[rows]], axis=1)
        count = np.bincount(person[rows], minlength=person.max() + 1)
        return np.bincount(person[rows], distance, person.max() + 1) / np.maximum(count, 1)

    for code in WANTED:
        values = test[code] / test[code].std(0).clip(1e-6)
        views, people = spread(values, own), spread(values, other)
        both = (views > 0) & (people > 0)
        within, between = (people, views) if code == "view" else (views, people)
        if both.any():
            yield _measure(code, "within / between", within[both], between[both], 1.0, "low", repeats=repeats, seed=seed)


def _partners(index: pd.DataFrame, same: list[str], other: str, rng: np.random.Generator, prefer: str = "") -> np.ndarray:
    """For each walk a random one that shares the columns `same` and differs in `other`; -1 if there is none.

    prefer: a column that is also shared if possible.
    """
    partner = np.full(len(index), -1)
    different, preferred = index[other].to_numpy(), index[prefer].to_numpy() if prefer else None
    for rows in index.groupby(same).indices.values():
        for i in rows:
            found = rows[different[rows] != different[i]]
            if prefer and (near := found[preferred[found] == preferred[i]]).size:
                found = near
            if len(found):
                partner[i] = rng.choice(found)
    return partner


@torch.no_grad()
def cycle_consistency(model: GaitModel, walks: NormalizedWalks, *, repeats: int = 2000, seed: int = 0) -> Iterator[Measure]:
    """How much each code changes when its walk is decoded with another view code and encoded again.

    The motion and body codes of a walk are decoded with the view code of another walk; the error of each code is its mean
    distance from the original over that of two random walks (1: no more alike than strangers). Uses at most CYCLES walks.
    """
    index = walks.index.reset_index(drop=True)
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.permutation(len(index))[:CYCLES])
    person = pd.factorize(index["subject"].to_numpy()[rows], sort=True)[0]
    device = next(model.parameters()).device
    codes = model.autoencoder.encode(opening_windows(walks, rows, model.window).to(device))
    donor, stranger = (torch.from_numpy(rng.permutation(len(rows))).to(device) for _ in range(2))
    again = model.autoencoder.encode(model.autoencoder.decode(codes.motion, codes.body, codes.view[donor]))
    for code, before, after in (
        ("motion", codes.motion, again.motion), ("body", codes.body, again.body), ("view", codes.view[donor], again.view)
    ):  # fmt: skip
        error, usual = ((before - x).flatten(1).norm(dim=1).cpu().numpy() for x in (after, before[stranger]))
        sums = (np.bincount(person, w) for w in (error, usual))
        yield _measure(code, "lost in a cycle", *sums, 1.0, "low", repeats=repeats, seed=seed)


def _measure(
    code: str, name: str, above: np.ndarray, below: np.ndarray, chance: float, wanted: str, *, repeats: int, seed: int
) -> Measure:
    """A ratio of sums over people with its interval; above, below: float [people], each person's part of the two sums."""
    draws = draw_people(len(above), repeats, seed)
    with np.errstate(invalid="ignore", divide="ignore"):
        value, drawn = above.sum() / below.sum(), (draws @ above) / (draws @ below)
    return Measure(code, name, float(value), *interval(drawn, len(above)), chance, wanted)
