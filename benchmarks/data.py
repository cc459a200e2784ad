"""Time of gathering a training batch by index against a loop over its samples, measured side by side.

python benchmarks/data.py
"""

import statistics
import time

import numpy as np
import pandas as pd
import torch

from gaitlib.data.preprocess import cut_windows
from gaitlib.data.sampling import BatchSampler

PEOPLE, VIEWS, RUNS, WINDOW, REPEATS = 74, 11, 10, 64, 51


def main() -> None:
    rng = np.random.default_rng(0)
    rows = [(f"{p:03d}", f"{p:03d}-{r}", "nm", f"{18 * v:03d}") for p in range(PEOPLE) for r in range(RUNS) for v in range(VIEWS)]
    index = pd.DataFrame(rows, columns=["subject", "recording", "condition", "view"])
    length = np.repeat(rng.integers(50, 120, len(index) // VIEWS), VIEWS)
    start = np.cumsum(length) - length
    frames = rng.normal(size=(length.sum(), 15, 2)).astype(np.float32)
    sampler = BatchSampler(index, length, window=WINDOW, people=16, walks_per_person=4, seed=0)
    tensors = torch.from_numpy(frames), torch.from_numpy(start), torch.from_numpy(length)

    def by_index(walk: np.ndarray, offset: np.ndarray) -> torch.Tensor:
        which = torch.from_numpy(walk)
        return cut_windows(tensors[0], tensors[1][which], tensors[2][which], torch.from_numpy(offset), WINDOW)

    def by_loop(walk: np.ndarray, offset: np.ndarray) -> torch.Tensor:
        samples = []
        for i, first in zip(walk, offset, strict=True):
            pose = frames[start[i] : start[i] + length[i]]
            window = pose[(first + np.arange(WINDOW)) % len(pose)]
            samples.append(torch.from_numpy(window.reshape(WINDOW, 30).T.copy()))
        return torch.stack(samples)

    times: dict[str, list[float]] = {"drawing the batch": [], "by index": [], "sample by sample": []}
    for turn in range(REPEATS + 2):
        marks = [time.perf_counter()]
        batch = sampler.batch(turn)
        marks.append(time.perf_counter())
        x = by_index(batch.walk, batch.offset)
        marks.append(time.perf_counter())
        y = by_loop(batch.walk, batch.offset)
        marks.append(time.perf_counter())
        if not torch.equal(x, y):
            raise SystemExit("the two ways differ")
        if turn > 1:
            for kept, took in zip(times.values(), np.diff(marks), strict=True):
                kept.append(1000 * took)
    print(f"{len(index)} walks, {len(x)} windows of {WINDOW} frames, {torch.get_num_threads()} threads, median of {REPEATS}")
    middle = {name: statistics.median(kept) for name, kept in times.items()}
    for name, value in middle.items():
        print(f"{name:20}{value:8.2f} ms")
    print(f"by index is {middle['sample by sample'] / middle['by index']:.1f} times as fast as sample by sample")


if __name__ == "__main__":
    main()
