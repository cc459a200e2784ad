"""Time to load a large gallery, to measure how close strangers come, and to answer.

python benchmarks/gallery.py --walks 100000
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from gaitlib.data.dataset import write_dataset
from gaitlib.data.preprocess import normalize
from gaitlib.data.walkers import make_walkers
from gaitlib.evaluation.identification import Descriptions, Identifier, describe
from gaitlib.gallery import Gallery

#: Walks per person, people per transaction.
WALKS, PEOPLE = 10, 500


def fill(gallery: Gallery, known: Descriptions, count: int) -> None:
    """Add many walks: those of `known` with noise, under new names."""
    chance = np.random.default_rng(0)
    values, spread = known.statistics.numpy(), known.statistics.numpy().std(0)
    windows = int(np.bincount(known.walk)[0])
    for first in range(0, count, WALKS * PEOPLE):
        with gallery._transaction() as connection:
            rows = []
            for walk in range(first, min(first + WALKS * PEOPLE, count)):
                person = walk // WALKS
                place = np.random.default_rng(person).normal(size=values.shape[1]) * spread
                start = windows * chance.integers(len(known.index))
                moved = values[start : start + windows] + place + 0.2 * chance.normal(size=(windows, values.shape[1])) * spread
                content = windows, moved.astype(np.float16).tobytes(), None
                rows.append((str(walk), f"{person:06d}", "090", str(walk), 25.0, *content))
            connection.executemany("INSERT INTO walks VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--walks", type=int, default=100_000)
    count = parser.parse_args().walks
    with tempfile.TemporaryDirectory() as folder, Gallery(Path(folder) / "many.gallery", create=True) as gallery:
        sides = (walk for walk in make_walkers(20, 5) if walk.view == "090" and walk.condition == "nm" and len(walk.pose) > 64)
        walks = normalize(write_dataset(Path(folder) / "walks", sides, name="walks"))
        found = describe(gallery.model, walks)
        usual = np.bincount(found.walk) == 3
        walks, known = walks.chosen(usual), found.chosen(usual)
        fill(gallery, known, count)
        print(f"{count:,} walks of {count // WALKS:,} people, {gallery.path.stat().st_size / 1e6:,.0f} MB")
        began = time.perf_counter()
        enrolled = gallery.descriptions()
        read = time.perf_counter()
        identifier = Identifier(gallery.model.discriminants, enrolled)
        ready = time.perf_counter()
        print(f"read: {read - began:.1f} s; adapted and ready: {ready - read:.1f} s")
        one = known.chosen(np.arange(len(known.index)) == 0)
        took = []
        for _ in range(5):
            began = time.perf_counter()
            identifier.scores(identifier.vectors(one))
            took.append(time.perf_counter() - began)
        print(f"an answer: {np.median(took):.3f} s")
        began = time.perf_counter()
        gallery.strangers(enrolled)
        print(f"measuring strangers, once after each change: {time.perf_counter() - began:.1f} s")


if __name__ == "__main__":
    torch.set_num_threads(2)
    main()
