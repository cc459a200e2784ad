"""Evaluation against the usual way: encoding once against encoding for every table cell, and the search of a large gallery.

python benchmarks/evaluation.py
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch

from gaitlib.data.dataset import write_dataset
from gaitlib.data.preprocess import NormalizedWalks, normalize
from gaitlib.data.walkers import make_walkers
from gaitlib.evaluation.embedding import embed_walks
from gaitlib.evaluation.ranking import nearest, rank_matrix
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
    print(f"{len(walks):,} walks, {len(views) ** 2 * len(probes)} cells: {once:.1f} s, encoded for every cell {everywhere:.0f} s")
    return everywhere / once


def some(walks: NormalizedWalks, rows: np.ndarray) -> NormalizedWalks:
    return NormalizedWalks(walks.frames, walks.start[rows], walks.length[rows], walks.index[rows], walks.filled)


def bare(p: np.ndarray, g: np.ndarray, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Matrix product and top-k in blocks, and nothing else."""
    a, b = torch.from_numpy(p), torch.from_numpy(g)
    best, place = torch.zeros(len(a), 0), torch.zeros(len(a), 0, dtype=torch.int64)
    for start in range(0, len(b), 1 << 15):
        value, where = (a @ b[start : start + (1 << 15)].T).topk(k, 1)
        best, order = torch.cat([best, value], 1).topk(k, 1)
        place = torch.cat([place, where + start], 1).gather(1, order)
    return best, place


def search(gallery: int, probes: int, size: int, k: int, repeats: int) -> float:
    rng = np.random.default_rng(0)
    g = rng.standard_normal((gallery, size), dtype=np.float32)
    g /= np.linalg.norm(g, axis=1, keepdims=True)
    p = g[rng.integers(0, gallery, probes)] + 0.05 * rng.standard_normal((probes, size), dtype=np.float32)
    p /= np.linalg.norm(p, axis=1, keepdims=True)
    seconds = {"ours": [], "bare": []}
    for _ in range(repeats):
        for name, run in (("ours", nearest), ("bare", bare)):
            began = time.perf_counter()
            run(p, g, k)
            seconds[name].append(time.perf_counter() - began)
    ours, theirs = (median(seconds[name]) for name in ("ours", "bare"))
    print(f"gallery {gallery:,} x {size}, {probes:,} probes, top {k}: {ours:.2f} s, bare product and top-k {theirs:.2f} s")
    return ours / theirs


def peak(gallery: int, probes: int, size: int, k: int) -> float:
    """GiB at most in a process that makes the gallery and searches it."""
    made = f"np.random.default_rng(0).standard_normal(({gallery}, {size}), dtype=np.float32)"
    code = f"import numpy as np; from gaitlib.evaluation.ranking import nearest; g = {made}; nearest(g[:{probes}].copy(), g, {k})"
    subprocess.run([sys.executable, "-c", code], check=True)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=50)
    parser.add_argument("--gallery", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    sizes = {"gallery": options.gallery, "probes": 1000, "size": 256, "k": 20}
    memory = peak(**sizes)
    print(f"search / bare product and top-k  {search(**sizes, repeats=options.repeats):.2f}")
    print(f"peak memory of the search        {memory:.2f} GiB")
    print(f"encoded for every cell / once    {table(options.people):.1f}")


if __name__ == "__main__":
    main()
