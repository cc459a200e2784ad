"""Verification: are two walks the same person?"""

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import roc_curve

from gaitlib.evaluation.embedding import Embeddings


def cross_view_scores(embeddings: Embeddings, gallery: np.ndarray, probes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores (minus Euclidean distance) of all probe-gallery pairs in different views, and whether they are the same person.

    gallery, probes: bool [N]. Returns (float32 [pairs], bool [pairs]).
    """
    view, _ = pd.factorize(embeddings.index["view"])
    subject, _ = pd.factorize(embeddings.index["subject"])
    probe, enrolled = (torch.from_numpy(embeddings.values[rows].astype(np.float32)) for rows in (probes, gallery))
    score = -torch.cdist(probe, enrolled, compute_mode="donot_use_mm_for_euclid_dist").numpy()  # exact for near copies
    other_view = view[probes][:, None] != view[gallery]
    same = subject[probes][:, None] == subject[gallery]
    return score[other_view], same[other_view]


def equal_error_rate(score: np.ndarray, same: np.ndarray) -> float:
    """Where the share of false matches equals the share of false non-matches, interpolated on the ROC curve.

    score: float [pairs], larger is more alike; same: bool [pairs]. NaN where one kind of pair is missing.
    """
    if same.all() or not same.any():
        return float("nan")
    false_match, match, _ = roc_curve(same, score)
    difference = false_match - (1 - match)  # grows from -1 to 1
    i = int(np.searchsorted(difference, 0.0))
    if difference[i] == 0:
        return float(false_match[i])
    share = -difference[i - 1] / (difference[i] - difference[i - 1])
    return float(false_match[i - 1] + share * (false_match[i] - false_match[i - 1]))
