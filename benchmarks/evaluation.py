"""Evaluation compared with the usual way: encoding once instead of for every table cell.

python benchmarks/evaluation.py
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from gaitlib.data.dataset import write_dataset
from gaitlib.data.preprocess import NormalizedWalks, normalize
from gaitlib.data.walkers import make_walkers
from gaitlib.evaluation.embedding import embed_walks
from gaitlib.evaluation.ranking import rank_matrix
from gaitlib.model.recognizer import GaitModel

PROBES = {"NM": ("nm", 5), "BG": ("bg", 1), "CL": ("cl", 1)}


def table(people: int) -> float:
    """The three 11 x 11 tables of `people` walkers: seconds of one pass, and of encoding both sides of each of the 363 cells.

    All cells cost the same; every eleventh is timed.
    """
    with tempfile.TemporaryDirectory() as folder:
        walks = normalize(write_dataset(Path(folder) / "walkers", make_walkers(people, 0), name="walkers"))
    model = GaitModel(people=74, discriminants=2.0)
    index = walks.index
    gallery = ((index["condition"] == "nm") & (index["run"] <= 4)).to_numpy()
    probes = {n: ((index["condition"] == c) & (index["run"] >= r)).to_numpy() for n, (c, r) in PROBES.items()}
    views = sorted(index["view"].unique())
    view = index["view"].to_numpy()

    began = time.perf_counter()
    found = embed_walks(model, walks)
    for name, rows in probes.items():
        rank_matrix(found, gallery, rows, name)
    once = time.perf_counter() - began

    began, cells = time.perf_counter(), 0
    for rows in probes.values():
        for i, probe_view in enumerate(views):
            sides = (gallery & (view == views[(i + 1) % len(views)]), rows & (view == probe_view))
            for side in sides:
                embed_walks(model, some(walks, side))
            cells += 1
    everywhere = (time.perf_counter() - began) / cells * len(views) ** 2 * len(probes)
    print(f"{len(walks):,} walks, {len(views) ** 2 * len(probes)} cells: {once:.1f} s, encoding every cell {everywhere:.0f} s")
    return everywhere / once


def some(walks: NormalizedWalks, rows: np.ndarray) -> NormalizedWalks:
    return NormalizedWalks(walks.frames, walks.start[rows], walks.length[rows], walks.index[rows])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=50)
    options = parser.parse_args()
    print(f"encoding for every cell / once    {table(options.people):.1f}")


if __name__ == "__main__":
    main()
