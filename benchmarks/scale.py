"""Memory and time of preparing and opening a large data set: one small OpenGait pickle per walk, in the layout of OU-MVLP.

python benchmarks/scale.py [FOLDER] [--sequences 20000] [--workers 2]

FOLDER is where the pickles and the data set are written (about 10 kB per walk); without it, a temporary folder. OU-MVLP has
288,000 sequences. Existing files are reused.
"""

import argparse
import os
import pickle
import resource
import sys
import tempfile
import time
from itertools import product
from pathlib import Path

import numpy as np

from gaitlib.cli import main as gaitlib
from gaitlib.data.dataset import GaitDataset

VIEWS = (0, 15, 30, 45, 60, 75, 90, 180, 195, 210, 225, 240, 255, 270)
RUNS, FRAMES = 2, 24
MOST_MEMORY, MOST_SECONDS = 1.5 * 2**30, 2.0


def write(folder: Path, sequences: int) -> None:
    """One pickled array per walk; a few contents are repeated."""
    rng = np.random.default_rng(0)
    body = rng.normal(100, 40, (16, 1, 17, 3)) + rng.normal(0, 2, (16, FRAMES, 17, 3)).cumsum(1)
    contents = [pickle.dumps(np.abs(pose).astype(np.float32)) for pose in body]
    people = range(1, 2 + sequences // (len(VIEWS) * RUNS))
    for i, (person, run, view) in enumerate(product(people, range(RUNS), VIEWS)):
        if i == sequences:
            return
        walk = folder / f"{person:05d}" / f"{run:02d}" / f"{view:03d}"
        walk.mkdir(parents=True, exist_ok=True)
        (walk / f"{view:03d}.pkl").write_bytes(contents[i % len(contents)])


def peak(who: int) -> float:
    """Peak bytes of the largest process."""
    return resource.getrusage(who).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def measure(folder: Path, sequences: int, workers: int) -> bool:
    source, out = folder / f"pickles-{sequences}", folder / f"data-{sequences}"
    marks = [time.perf_counter()]
    if not (source / "complete").exists():
        write(source, sequences)
        (source / "complete").touch()
    marks.append(time.perf_counter())
    options = ["--format", "opengait", "--workers", str(workers), "--out", str(out)]
    gaitlib(["prepare", str(source), *options], standalone_mode=False)
    marks.append(time.perf_counter())
    # each worker counts as much as the largest, and memory shared with the first process is counted again
    memory = peak(resource.RUSAGE_SELF) + workers * peak(resource.RUSAGE_CHILDREN)
    marks.append(time.perf_counter())
    dataset = GaitDataset.open(out)
    marks.append(time.perf_counter())
    writing, preparing, _, opening = np.diff(marks)
    print(f"{len(dataset)} sequences of {FRAMES} frames, {workers} workers, {os.cpu_count()} cores")
    print(f"writing the pickles {writing:8.1f} s")
    print(f"preparing           {preparing:8.1f} s  {1000 * preparing / sequences:.2f} ms per sequence")
    print(f"peak memory         {memory / 2**20:8.0f} MiB  at most {MOST_MEMORY / 2**20:.0f}, all processes together")
    print(f"  the first process {peak(resource.RUSAGE_SELF) / 2**20:8.0f} MiB")
    print(f"opening             {opening:8.2f} s  at most {MOST_SECONDS:.0f}")
    return len(dataset) == sequences and memory < MOST_MEMORY and opening < MOST_SECONDS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--sequences", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        return 0 if measure(given.folder or Path(temporary), given.sequences, given.workers) else 1


if __name__ == "__main__":
    sys.exit(main())
