"""How well the codes are taken apart: what can be read from each, how much it changes with what it should not see."""

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

CODES = ("motion", "body", "view")
#: What a probe of each code should find, where there is anything to say.
WANTED = {
    "motion": {"view": "low", "identity": "high"},
    "body": {"view": "low", "identity": "high"},
    "view": {"view": "high", "condition": "low", "identity": "low"},
}
#: Neighbors that vote in the nearest-neighbor probe.
NEIGHBORS = 5


@dataclass(frozen=True)
class Measure:
    """One line of the scorecard.

    code: motion, body or view. name: what is measured. value, low, high: with its 95 % interval over people. chance: what
    knowing nothing gives; NaN where there is no such thing. wanted: "high", "low" or "" where nothing is.
    """

    code: str
    name: str
    value: float
    low: float
    high: float
    chance: float
    wanted: str


def _measure(
    code: str, name: str, sums: tuple[np.ndarray, np.ndarray], chance: float, wanted: str, *, repeats: int, seed: int
) -> Measure:
    """A ratio of sums over people with its interval; sums: numerators and denominators, float [people] each."""
    draws = draw_people(len(sums[0]), repeats, seed)
    with np.errstate(invalid="ignore", divide="ignore"):
        value, drawn = (above / below for above, below in ([s.sum() for s in sums], [draws @ s for s in sums]))
    return Measure(code, name, float(value), *interval(drawn, len(sums[0])), chance, wanted)


def probes(
    train: dict[str, np.ndarray], train_index: pd.DataFrame, test: dict[str, np.ndarray], test_index: pd.DataFrame,
    gallery: np.ndarray, asked: np.ndarray, *, repeats: int = 2000, seed: int = 0,
) -> list[Measure]:  # fmt: skip
    """Accuracy of a linear and of a nearest-neighbor classifier for view, condition and identity on each code.

    train, test: from `code_features`. View and condition are learned on the training people and asked of all walks of the test
    people; identity is learned on their gallery walks and asked of their probes (bool [N] each). Every class counts alike.
    """
    person = pd.factorize(test_index["subject"], sort=True)[0]
    everyone = np.ones(len(test_index), bool)
    result = []
    for target in ("view", "condition", "identity"):
        column = "subject" if target == "identity" else target
        answers = test_index[column].to_numpy()
        for code in CODES:
            if target == "identity":
                known, labels, rows = test[code][gallery], answers[gallery], asked
            else:
                known, labels, rows = train[code], train_index[column].to_numpy(), everyone
            rows = rows & np.isin(answers, labels)
            classes, counts = np.unique(answers[rows], return_counts=True)
            if len(np.unique(labels)) < 2 or not len(classes):
                continue
            # every class has the same weight, however many walks it has
            weight = (1 / counts)[np.searchsorted(classes, answers[rows])]
            for kind, classifier in _classifiers(len(labels), len(np.unique(labels))).items():
                right = classifier.fit(known, labels).predict(test[code][rows]) == answers[rows]
                sums = tuple(np.bincount(person[rows], w, person.max() + 1) for w in (right * weight, weight))
                wanted = WANTED[code].get(target, "")
                chance = 1 / len(np.unique(labels))
                result.append(_measure(code, f"{target}, {kind} probe", sums, chance, wanted, repeats=repeats, seed=seed))
    return result


def _classifiers(walks: int, classes: int) -> dict[str, object]:
    linear = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto", priors=np.full(classes, 1 / classes))
    neighbors = KNeighborsClassifier(min(NEIGHBORS, walks))
    return {kind: make_pipeline(StandardScaler(), c) for kind, c in (("linear", linear), ("nearest-neighbor", neighbors))}


def invariance(test: dict[str, np.ndarray], index: pd.DataFrame, *, repeats: int = 2000, seed: int = 0) -> list[Measure]:
    """Distance within divided by distance between, for each code; 0 is perfectly invariant, 1 not at all.

    motion, body: of walks of one person in two views (of one recording where there is one), over that of two people in one view.
    view: of two people in one view, over that of one person in two views. Conditions are the same throughout.
    """
    person = pd.factorize(index["subject"], sort=True)[0]
    rng = np.random.default_rng(seed)
    own = _partners(index, ["subject", "condition"], "view", rng, prefer="recording")
    other = _partners(index, ["view", "condition"], "subject", rng)
    result = []
    for code in CODES:
        values = test[code] / test[code].std(0).clip(1e-6)

        def spread(partner: np.ndarray, values=values) -> np.ndarray:
            """The mean distance to the partners, a person; 0 where there is none."""
            rows = np.flatnonzero(partner >= 0)
            distance = np.linalg.norm(values[rows] - values[partner[rows]], axis=1)
            count = np.bincount(person[rows], minlength=person.max() + 1)
            return np.bincount(person[rows], distance, person.max() + 1) / np.maximum(count, 1)

        views, people = spread(own), spread(other)
        both = (views > 0) & (people > 0)
        within, between = (people, views) if code == "view" else (views, people)
        if both.sum():
            result.append(
                _measure(code, "within / between", (within[both], between[both]), 1.0, "low", repeats=repeats, seed=seed)
            )
    return result


def _partners(index: pd.DataFrame, same: list[str], other: str, rng: np.random.Generator, prefer: str = "") -> np.ndarray:
    """For each walk a random one that shares the columns `same` and differs in `other`; -1 where there is none.

    prefer: a column that is shared too wherever that is possible.
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
def cycle_consistency(
    model: GaitModel, walks: NormalizedWalks, *, most: int = 600, repeats: int = 2000, seed: int = 0
) -> list[Measure]:
    """How far each code is from itself after its walk was decoded with another view code and encoded again.

    The motion and body codes of a walk are decoded with the view code of another walk; the error of each code is the mean
    distance from what went in over that of two walks taken at random (1: no more alike than strangers). At most `most` walks.
    """
    index = walks.index.reset_index(drop=True)
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.permutation(len(index))[:most])
    person = pd.factorize(index["subject"].to_numpy()[rows], sort=True)[0]
    device = next(model.parameters()).device
    codes = model.autoencoder.encode(opening_windows(walks, rows, model.window).to(device))
    donor, stranger = (torch.from_numpy(rng.permutation(len(rows))).to(device) for _ in range(2))
    again = model.autoencoder.encode(model.autoencoder.decode(codes.motion, codes.body, codes.view[donor]))
    result = []
    for code, before, after in (
        ("motion", codes.motion, again.motion), ("body", codes.body, again.body), ("view", codes.view[donor], again.view)
    ):  # fmt: skip
        error, usual = ((before - x).flatten(1).norm(dim=1).cpu().numpy() for x in (after, before[stranger]))
        sums = tuple(np.bincount(person, w) for w in (error, usual))
        result.append(_measure(code, "lost in a cycle", sums, 1.0, "low", repeats=repeats, seed=seed))
    return result


def scorecard(
    model: GaitModel, train: NormalizedWalks, test: NormalizedWalks, gallery: np.ndarray, asked: np.ndarray,
    codes: tuple[dict[str, np.ndarray], dict[str, np.ndarray]], *, repeats: int = 2000, seed: int = 0,
) -> list[Measure]:  # fmt: skip
    """Probes, invariance ratios and cycle consistency of each code.

    train, test: walks of training and of test people; gallery, asked: bool over test. codes: what `code_features` gives of both.
    """
    known, found = codes
    return [
        *probes(known, train.index, found, test.index, gallery, asked, repeats=repeats, seed=seed),
        *invariance(found, test.index, repeats=repeats, seed=seed),
        *cycle_consistency(model, test, repeats=repeats, seed=seed),
    ]
