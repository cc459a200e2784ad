"""How realistic synthetic walkers are: whether a linear classifier can tell their windows from those of recorded people."""

import numpy as np
import pandas as pd
import scipy.stats
import torch

from gaitlib.data.preprocess import NormalizedWalks, groups, some_windows
from gaitlib.model.autoencoder import WINDOWS
from gaitlib.model.discriminants import LARGEST, STATISTIC_NAMES, fisher, window_statistics

#: Windows of either kind, and folds of people for cross-validation.
MOST, FOLDS = 4_000, 5


def area_under_curve(score: np.ndarray, real: np.ndarray) -> float:
    """The chance that a real one, bool [N], has a higher score, float [N], than another; ties count half (Mann and Whitney)."""
    ranks, count = scipy.stats.rankdata(score), real.sum()
    return float((ranks[real].sum() - count * (count + 1) / 2) / (count * (~real).sum()))


def realism(walkers: NormalizedWalks, recorded: NormalizedWalks, window: int = 64) -> tuple[float, pd.Series]:
    """The area under the ROC curve of a linear discriminant of the pose statistics, and of each statistic alone.

    0.5: indistinguishable; 1: always distinguished. The discriminant is tested on people it was not fitted on; for a
    single statistic the better of both directions counts, and the most telling one comes first.
    """
    parts = [some_windows(window, walks, most=MOST // 2) for walks in (walkers, recorded)]  # and as many mirror images
    values = torch.cat([window_statistics(some) for x, _ in parts for some in x.split(WINDOWS)]).double().numpy()
    real = np.repeat([False, True], [len(x) for x, _ in parts])
    fold = np.concatenate([groups(index, "subject") for _, index in parts]) % FOLDS
    score = np.empty(len(values))
    for asked in (fold == number for number in range(FOLDS)):
        known = values[~asked]
        center, scale = known.mean(0), known.std(0) + 1e-6
        origin, projection = fisher(((known - center) / scale).clip(-LARGEST, LARGEST), real[~asked].astype(int), 1)
        standard = [((some - center) / scale).clip(-LARGEST, LARGEST) @ projection for some in (known, values[asked])]
        toward = np.sign(standard[0][real[~asked]].mean() - standard[0][~real[~asked]].mean())  # directions have no sign
        score[asked] = toward * (standard[1] - origin)[:, 0]
    each = [area_under_curve(column, real) for column in values.T]
    alone = pd.Series([max(area, 1 - area) for area in each], STATISTIC_NAMES).sort_values(ascending=False, kind="stable")
    return area_under_curve(score, real), alone
