"""Grids: two workers with one thread each compared with one worker with two, and the overhead of a point beside its notebooks.

python benchmarks/grid.py [--points 200]

Both on two cores, in temporary folders; the first takes about six minutes, 200 points about fifteen.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import yaml

ROOT = Path(__file__).parents[1]
LEAST_GAIN, MOST_OVERHEAD = 1.3, 5.0


def clone(folder: Path) -> Path:
    """A folder with configs/ and notebooks/ to run in."""
    for name in ("configs", "notebooks"):
        shutil.copytree(ROOT / name, folder / name)
    return folder


def grid(folder: Path, file: str, workers: int, threads: int) -> float:
    """Seconds that a grid takes with `workers` workers; threads: of all workers together."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "gaitlib.cli", "grid", file, "--workers", str(workers)]
    began = time.perf_counter()
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def gain() -> bool:
    """The smoke grid, each time from scratch."""
    seconds = {}
    for workers in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            seconds[workers] = grid(clone(Path(folder)), "configs/grids/smoke.yaml", workers, 2)
    ratio = seconds[1] / seconds[2]
    print(f"smoke grid, 1 worker of 2 threads   {seconds[1]:8.0f} s")
    print(f"smoke grid, 2 workers of 1 thread   {seconds[2]:8.0f} s  {ratio:.2f} x, at least {LEAST_GAIN}")
    return ratio >= LEAST_GAIN


def overhead(points: int) -> bool:
    """Many points of one notebook with one cell, two at a time."""
    with tempfile.TemporaryDirectory() as name:
        folder = clone(Path(name))
        path = folder / "notebooks" / "01_data_preparation.ipynb"
        notebook = nbformat.read(path, as_version=4)
        parameters = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
        notebook.cells = [notebook.cells[0], *parameters, nbformat.v4.new_code_cell("print(config)")]
        nbformat.write(notebook, path)
        content = {"base": "configs/quick.yaml", "set": {"walkers.subjects": 4}, "axes": {"seed": list(range(points))}}
        (folder / "many.yaml").write_text(yaml.safe_dump(content | {"notebooks": [path.stem]}))
        seconds = grid(folder, "many.yaml", 2, 2) / points
        done = len(list((folder / "reports" / "many").glob("*/index.html")))
    print(f"{done} of {points} points done, {seconds:.2f} s per point, at most {MOST_OVERHEAD:.0f}")
    return done == points and seconds <= MOST_OVERHEAD


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=200)
    points = parser.parse_args().points
    return 0 if all([gain(), overhead(points)]) else 1


if __name__ == "__main__":
    sys.exit(main())
