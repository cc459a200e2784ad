"""Tables of what stands behind a run's numbers: its people, missing joints, losses and training."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from gaitlib.data.dataset import GaitDataset
from gaitlib.data.protocol import Split
from gaitlib.poses.inspect import missing_by_view
from gaitlib.progress import SCORES
from gaitlib.reports.tables import Table
from gaitlib.skeleton import JOINTS


def exchange_by_view(errors: pd.DataFrame, mean_walk: float) -> Table:
    """The errors of exchanged views for every two views, shaded from the least to that of the mean walk, or else to the largest.

    errors: % of torso length, a row per source view, a column per target view, NaN where nothing was measured.
    """
    least, most, which = float(np.nanmin(errors)), float(np.nanmax(errors)), "the largest error"
    if mean_walk > least:
        most, which = mean_walk, "the error of the mean walk"
    title = "Exchanged views by pair of views: error in % of torso length"
    note = f"Rows: view of the walk. Columns: view it was exchanged for. White: the least error; orange: {which}."
    frame = errors.rename_axis(index="Source view ↓ target view →", columns=None).reset_index(allow_duplicates=True)
    return Table("Exchange", title, note, frame, dict.fromkeys(errors, "percent"), dict.fromkeys(errors, (least, most)))


def split(parts: Split) -> Table:
    """Who trains, validates and is tested, and how many walks of each are gallery and probes: a row per person."""
    roles = {"Gallery": parts.test.gallery, **{f"Probes {name}": rows for name, rows in parts.test.probes.items()}}
    rows = []
    for part, walks in (("train", parts.train), ("validation", parts.validation.walks), ("test", parts.test.walks)):
        counts = pd.DataFrame({"Walks": walks.index.groupby("subject").size()})
        if part == "test":
            counts = counts.assign(**{name: walks.index["subject"][chosen].value_counts() for name, chosen in roles.items()})
        rows.append(counts.rename_axis("Subject").reset_index().assign(Part=part))
    numbers = ["Walks", *roles]
    frame = pd.concat(rows).reindex(columns=["Subject", "Part", *numbers]).astype(dict.fromkeys(numbers, float))
    note = "Everybody is in one part only. The checkpoint is chosen on the validation people and measured on the test people."
    return Table("Split", "Who trains and who is tested", note, frame, dict.fromkeys(numbers, "count"))


def missing_joints(dataset: GaitDataset) -> Table:
    """How often each joint is missing: a row per joint, a column per view."""
    index = dataset.index
    walks = zip(index["start"], index["frames"], strict=True)
    # walk by walk, so that the frames of a large data set are never in memory at once
    lost = np.stack([np.isnan(dataset.poses[start : start + frames, :, 0]).sum(0) for start, frames in walks])
    shares = missing_by_view(lost, index).T.assign(**{"All views": lost.sum(0) / index["frames"].sum()})
    frame = shares.set_axis([name.replace("_", " ") for name in JOINTS]).rename_axis(index="Joint", columns=None)
    frame = frame.reset_index(allow_duplicates=True)
    note = "Share of frames in which the joint was not detected, by view. Missing joints are interpolated in time."
    shaded = dict.fromkeys(shares, (0, max(0.05, shares.max(axis=None))))
    return Table("Missing joints", "Missing joints", note, frame, dict.fromkeys(shares, "lost"), shaded)


def losses(weights: Mapping[str, float]) -> Table:
    """The weight of each term of the loss, except those of weight 0."""
    used = [[name.replace("_", " "), weight] for name, weight in weights.items() if weight]
    frame = pd.DataFrame(used, columns=["Term", "Weight"])
    note = "The loss is the weighted sum of these terms; configs/default.yaml explains them. Terms of weight 0 are left out."
    return Table("Losses", "Losses", note, frame, {"Weight": "weight"})


def training(history: pd.DataFrame) -> Table:
    """The losses and the rank-1 at each validation: a row per validation."""
    names = {name: SCORES.get(name, name.replace("_", " ")).capitalize() for name in history}
    scores = {names[name] for name in SCORES if name in names}
    formats = {name: "number" for name in names.values() if name not in scores} | {names["iteration"]: "count"}
    note = "Losses are means since the row before. The checkpoint with the best validation rank-1 is kept; of equals, the last."
    return Table("Training", "Training history", note, history.astype(float).rename(columns=names), formats)
