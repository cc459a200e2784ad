"""The whole way of CASIA-B: a tree of AlphaPose files with all their trouble, prepared and run by configs/casia_b.yaml."""

import json
import os
import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import openpyxl
import orjson
import pytest
from click.testing import CliRunner

from gaitlib.cli import main
from gaitlib.data.dataset import GaitDataset
from gaitlib.data.walkers import RECORDINGS, make_walkers
from tests.notebooks import short

ROOT = Path(__file__).parents[2]
VIEWS = [f"{view:03d}" for view in range(0, 181, 18)]
FRAMES = 24  # fewer than a window: every walk is looped
#: People 1-74 train in a part of the recordings, eight test people are complete, all others are only in the gallery.
TRAIN, COMPLETE, OTHERS = range(1, 75), range(75, 83), range(83, 125)
PART = [("nm", 1), ("nm", 5), ("bg", 1), ("cl", 1)]
SMALL = [
    "training.iterations=4", "training.validate_every=4", "training.people=8", "model.encoder_width=24",
    "model.recognizer_width=16", "model.embedding=32", "evaluation.bootstrap=100", "evaluation.mirrored=false",
    "evaluation.studies=false",
]  # fmt: skip

#: Our joints in C orderOCO's 17 keypoints; the eyes and ears are placed about the nose.
COCO_FROM_OURS = [0, 0, 0, 0, 0, 5, 2, 6, 3, 7, 4, 12, 9, 13, 10, 14, 11]
FACE = np.array([[2, -2], [-2, -2], [4, -1], [-4, -1]])
LEFT_WRIST, COCO_LEFT_WRIST = 7, 9
GAP = slice(12, 16)
SPELLINGS = ("{0}/{1}/{2}.json", "{0}/{1}/{0}-{1}-{2}.json", "{0}-{1}-{2}.json", "{0}-{1}-{2}/alphapose-results.json")


@dataclass(repr=False)
class Tree:
    """What was written: true joints and confidences of each walk, the files that cannot be used, and frames with two people."""

    folder: Path
    poses: dict[str, np.ndarray] = field(default_factory=dict)
    sure: dict[str, np.ndarray] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    crowded: Counter = field(default_factory=Counter)


def person(points):
    """One entry of AlphaPose, which gives everybody the number 0 where it does not track."""
    low, high = points[:, :2].min(0), points[:, :2].max(0)
    keypoints = points.round(3).ravel().tolist()
    return {"keypoints": keypoints, "score": 2.8, "box": [*low, *(high - low)], "idx": [0.0]}


def results(frames):
    """AlphaPose's list of lists of people: an image is in it where somebody is."""
    entries = [{"image_id": f"{t}.jpg", "category_id": 1, **person(p)} for t, people in enumerate(frames) for p in people]
    return orjson.dumps(entries, option=orjson.OPT_SERIALIZE_NUMPY)


def walk_file(tree, walk, number):
    """The file of a walk, with one of four kinds of trouble by its number; the truth is noted in the tree."""
    pose = walk.pose[:FRAMES].astype(np.float64)
    keypoints = np.full((FRAMES, 17, 3), 0.9)
    keypoints[..., :2] = pose[:, COCO_FROM_OURS]
    keypoints[:, 1:5, :2] += FACE
    keypoints[:, 1:5, 2] = 0.2
    passing = np.array([0.5, 0.5, 0.8]) * keypoints[::-1] + [180, 60, 0]  # half as large, the other way, across the path
    pose[:, [1, 8]] = (pose[:, [2, 9]] + pose[:, [5, 12]]) / 2
    sure = np.full((FRAMES, 15), 0.9)
    frames = [[points] for points in keypoints]
    trouble = number % 4
    if trouble == 0:
        rng = np.random.default_rng(number)
        for t in range(5, 20):
            frames[t].insert(rng.integers(2), passing[t])
        tree.crowded[walk.sequence] = 15
    elif trouble == 3:
        keypoints[10:20, COCO_LEFT_WRIST] += [6, 6, -0.85]
        keypoints[20:23, COCO_LEFT_WRIST, 2] = 0
        pose[10:20, LEFT_WRIST] += 6
        pose[20:23, LEFT_WRIST] = np.nan
        sure[10:20, LEFT_WRIST], sure[20:23, LEFT_WRIST] = 0.05, 0
    else:
        frames[GAP] = [[points] if trouble == 2 else [] for points in passing[GAP]]
        pose[GAP], sure[GAP] = np.nan, 0
    tree.poses[walk.sequence], tree.sure[walk.sequence] = pose, sure
    return results(frames)


def write(tree, path, content):
    file = tree.folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


@pytest.fixture(scope="module")
def casia_b(tmp_path_factory):
    """A working folder laid out as a clone, with the tree `poses` in it; it stays the working folder for all tests here."""
    folder = tmp_path_factory.mktemp("casia_b")
    tree, number = Tree(folder / "poses"), 0
    for subject in (*TRAIN, *COMPLETE, *OTHERS):
        views = VIEWS if subject in COMPLETE else ["000", "090"] if subject in TRAIN else ["090"]
        recordings = RECORDINGS if subject in COMPLETE else PART if subject in TRAIN else PART[:1]
        for walk in make_walkers(1, 0, views=map(int, views), faults=False, first_subject=subject):
            if (walk.condition, walk.run) in recordings:
                names = walk.subject, f"{walk.condition}-{walk.run:02d}", walk.view
                write(tree, SPELLINGS[subject % 4].format(*names), walk_file(tree, walk, number))
                number += 1
    whole = next(make_walkers(1, 0, views=[0], faults=False)).pose[:, COCO_FROM_OURS]
    frames = [[np.column_stack([points, np.full(17, 0.9)])] for points in whole]
    for path, content, reason in (
        ("001-nm-02-090.json", results(frames)[:-700], "is not JSON, or is damaged"),
        ("001-nm-03-090.json", b"[]", "nobody was found in any frame"),
        ("001-nm-04-090.json", results(frames[:12]), "only 12 frames; at least 16 are needed"),
        ("new/take two.json", results(frames), "does not name a subject in a known spelling"),
    ):
        write(tree, path, content)
        tree.left_out[path.removesuffix(".json")] = reason
    for name in ("configs", "notebooks"):
        shutil.copytree(ROOT / name, folder / name)
    notebooks = folder / "notebooks"  # what 02 and 04 draw is looked at in test_names.py
    short.shorten(notebooks / "02_training.ipynb", short.OPEN.format(more=""), short.TRAIN)
    on_checkpoint = short.OPEN.format(more="checkpoint=checkpoint")
    short.shorten(notebooks / "04_visualization.ipynb", on_checkpoint, "experiment.embeddings()")
    before = Path.cwd()
    os.chdir(folder)
    yield tree
    os.chdir(before)


@pytest.fixture(scope="module")
def prepared(casia_b):
    """What `gaitlib prepare` said, and the data set."""
    result = CliRunner().invoke(main, ["prepare", "poses", "--format", "auto", "--out", "data"])
    assert result.exit_code == 0, result.output
    return result.output, GaitDataset.open("data")


@pytest.fixture(scope="module")
def run(prepared):
    settings = [part for setting in SMALL for part in ("--set", setting)]
    result = CliRunner().invoke(main, ["run", "configs/casia_b.yaml", "--data", "data", "--name", "casia", *settings])
    assert result.exit_code == 0, result.output
    return Path("reports/casia")


def test_all_walks_are_found_under_their_names(casia_b, prepared):
    said, dataset = prepared
    assert "Format alphapose" in said
    assert set(dataset.index["sequence"]) == set(casia_b.poses)
    assert set(dataset.info["layouts"]) == {"COCO17"}


def test_the_walker_is_followed_not_who_passes_by(casia_b, prepared):
    _, dataset = prepared
    wrong = []
    for walk in dataset:
        true, sure = casia_b.poses[walk.sequence], casia_b.sure[walk.sequence]
        same = walk.pose.shape == true.shape and np.allclose(walk.pose, true, atol=0.01, equal_nan=True)
        if not same or not np.allclose(walk.confidence, sure, atol=1e-6):
            wrong.append(walk.sequence)
    assert not wrong, f"{len(wrong)} walks, the first: {wrong[:5]}"
    assert dataset.info["choices"] == {"walks": len(casia_b.crowded), "frames": casia_b.crowded.total()}


def test_what_cannot_be_used_is_listed_with_its_reason(casia_b, prepared):
    said, dataset = prepared
    found = {entry["source"]: entry["reason"] for entry in dataset.info["left_out"]}
    assert set(found) == set(casia_b.left_out)
    for source, reason in casia_b.left_out.items():
        assert reason in found[source]
        assert f"left out: {source}: {found[source]}" in said


def test_the_counts_are_what_was_written(run):
    metrics = json.loads((run / "metrics.json").read_text())
    complete = len(COMPLETE) * len(VIEWS)
    assert metrics["counts"] == {
        "people": 50, "training_people": 59, "validation_people": 15, "gallery": 4 * complete + len(OTHERS),
        "probes": {"NM": 2 * complete, "BG": 2 * complete, "CL": 2 * complete},
    }  # fmt: skip
    assert metrics["iterations"] == 4


def test_three_tables_of_11_by_11_views(run):
    metrics = json.loads((run / "metrics.json").read_text())
    book = openpyxl.load_workbook(run / "results.xlsx")
    assert book.sheetnames[1:4] == ["NM", "BG", "CL"]
    for name in ("NM", "BG", "CL"):
        cells = list(book[name].iter_rows())
        top = next(i for i, row in enumerate(cells) if row[0].value == "probe view ↓")
        assert [cell.value for cell in cells[top]][1:12] == VIEWS
        rows = cells[top + 1 : top + 12]
        assert [row[0].value for row in rows] == VIEWS
        shares = np.array([[cell.value for cell in row[1:12]] for row in rows], dtype=float)
        assert ((shares >= 0) & (shares <= 1)).all()
        gray = np.array([[cell.fill.fill_type == "solid" for cell in row[1:12]] for row in rows])
        assert (gray == np.eye(11, dtype=bool)).all()
        assert shares[~gray].mean() == pytest.approx(metrics["rank1"][name])


def test_the_report_says_what_was_left_out_and_why(casia_b, run):
    book = openpyxl.load_workbook(run / "results.xlsx")
    listed = {row[0]: row[1] for row in book["Left-out walks"].iter_rows(values_only=True)}
    pages = [(run / name).read_text() for name in ("index.html", "01_data_preparation.html")]
    for source, reason in casia_b.left_out.items():
        assert reason in listed[source]
        for page in pages:
            assert f">{source}</td>" in page
            assert reason in page
    choices = f"chosen in {casia_b.crowded.total()} frames of {len(casia_b.crowded)} walks"
    assert all(choices in page for page in pages)
