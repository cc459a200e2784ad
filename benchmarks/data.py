"""Cost of data, as ratios measured side by side: reading keypoint files compared with parsing them alone, two workers with one,
windows and partners by index with loops over samples, gathering a training batch by index with gathering it sample by sample.

python benchmarks/data.py        (with the dev extra, for msgspec)
"""

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from multiprocessing import Process
from pathlib import Path

import msgspec
import numpy as np
import orjson
import pandas as pd
import torch

from gaitlib.data.preprocess import cut_windows
from gaitlib.data.sampling import BatchSampler
from gaitlib.data.walkers import make_walkers
from gaitlib.poses import reading
from gaitlib.skeleton import BODY_25, COCO17, Layout

PEOPLE, VIEWS, RUNS, WINDOW, REPEATS = 74, 11, 10, 64, 51
PARTNERS = 15


def side_by_side(first: Callable, second: Callable, repeats: int) -> tuple[float, float, float]:
    """Median milliseconds of both, measured alternately, and the median of their ratios."""
    times = []
    for turn in range(repeats + 1):
        marks = [time.perf_counter()]
        for work in (first, second):
            work()
            marks.append(time.perf_counter())
        if turn:
            times.append(1000 * np.diff(marks))
    a, b = np.median(times, axis=0)
    return a, b, statistics.median(t[1] / t[0] for t in times)


# ----------------------------------------------------------------------------------------------------------- files


def keypoints(pose: np.ndarray, layout: Layout, people: int) -> list[np.ndarray]:
    """A walker in an estimator's output, [T, K, 3], after a smaller person who stands nearby."""
    points = np.repeat(pose[:, :1], layout.size, axis=1)
    for joint, sources in enumerate(layout.sources):
        if len(sources) == 1:
            points[:, sources[0]] = pose[:, joint]
    score = np.random.default_rng(0).uniform(0.3, 1, (*points.shape[:2], 1)) * np.isfinite(points[..., :1])
    points = np.concatenate([np.nan_to_num(points), score], axis=2)
    return [points[:1].repeat(len(points), axis=0) * (0.5, 0.5, 1) + (300, 20, 0), points][2 - people :]


def write_alphapose(folder: Path, name: str, pose: np.ndarray, people: int) -> None:
    found = keypoints(pose, COCO17, people)
    found = [np.where(p > 0, p, (320, 120, 0.05)) for p in found]  # every keypoint has a position, however uncertain
    found = [p.astype(np.float32).reshape(len(p), -1).tolist() for p in found]
    entries = [
        {"image_id": f"{t}.jpg", "category_id": 1, "keypoints": p[t], "score": 2.913, "box": [104.5, 63.0, 77.25, 198.5]}
        for t in range(len(pose))
        for p in found
    ]
    (folder / f"{name}.json").write_text(json.dumps(entries))


def write_openpose(folder: Path, name: str, pose: np.ndarray, people: int) -> None:
    (folder / name).mkdir()
    found = [p.round(3).reshape(len(p), -1).tolist() for p in keypoints(pose, BODY_25, people)]
    for t in range(len(pose)):
        content = [{"person_id": [-1], "pose_keypoints_2d": p[t], "face_keypoints_2d": []} for p in found]
        (folder / name / f"{t:012d}_keypoints.json").write_text(json.dumps({"version": 1.3, "people": content}))


def parse(files: list[Path], loads: Callable) -> None:
    for path in files:
        with open(path, "rb") as file:
            loads(file.read())


def read(source: Path, format: str, workers: int = 1) -> None:
    left_out: list[dict] = []
    for _ in reading.read(source, format, left_out=left_out, workers=workers):
        pass
    if left_out:
        raise SystemExit(f"{left_out[0]}")


def files(folder: Path) -> None:
    walks = list(islice(make_walkers(1, 0), 44))
    parsers = {"msgspec": msgspec.json.decode, "orjson": orjson.loads}
    print(f"\n{len(walks)} walks: opening and parsing only, reading; ms; ratio, at most 2 for one of the parsers")
    for format, write in (("alphapose", write_alphapose), ("openpose", write_openpose)):
        for people, length in ((1, 1), (2, 1), (1, 3), (2, 3)):
            source = folder / f"{format}-{people}-{length}"
            source.mkdir()
            for walk in walks:
                write(source, walk.sequence, np.concatenate([walk.pose, walk.pose[::-1], walk.pose][:length]), people)
            paths = sorted(source.rglob("*.json"))
            frames = length * len(walks[0].pose)
            for parser, loads in parsers.items():
                a, b, ratio = side_by_side(lambda p=paths, w=loads: parse(p, w), lambda s=source, f=format: read(s, f), 9)
                print(f"{format:10} {frames:4} frames, people: {people}, {parser:8} {a:8.1f} {b:8.1f} {ratio:8.2f}")
    print(f"\nreading with 1 process, 2 workers, 2 programs at once; {os.cpu_count()} cores")
    print("ms; speed-up by 2 workers, at least 1.6, and by 2 independent programs, the limit of this machine")
    for format in ("alphapose", "openpose"):
        many = folder / f"{format}-many"
        many.mkdir()
        for copy in range(20):
            for path in (folder / f"{format}-2-1").iterdir():
                os.symlink(path, many / path.name.replace("001-", f"{copy:03d}-", 1))
        arguments = ((read, (many, format)), (read, (many, format, 2)), (twice, (many, format)))
        times = np.array([[clock(work, *given) for work, given in arguments] for _ in range(7)])
        one, workers, programs = np.median(times, axis=0)
        gain, ceiling = np.median(times[:, 0] / times[:, 1]), np.median(2 * times[:, 0] / times[:, 2])
        print(f"{format:10} {one:8.0f} {workers:8.0f} {programs:8.0f} {gain:8.2f} {ceiling:8.2f}")


def clock(work: Callable, *given) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    work(*given)
    return 1000 * (time.perf_counter() - began)


def twice(source: Path, format: str) -> None:
    """Read everything in each of two processes."""
    processes = [Process(target=read, args=(source, format)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()


# --------------------------------------------------------------------------------------------------------- samples


def training_walks() -> tuple[pd.DataFrame, np.ndarray, np.ndarray, np.ndarray]:
    """A table like CASIA-B's training part, 8,140 walks: index, start and length of each, frames."""
    rng = np.random.default_rng(0)
    rows = [(f"{p:03d}", f"{p:03d}-{r}", "nm", f"{18 * v:03d}") for p in range(PEOPLE) for r in range(RUNS) for v in range(VIEWS)]
    index = pd.DataFrame(rows, columns=["subject", "recording", "condition", "view"])
    length = np.repeat(rng.integers(50, 120, len(index) // VIEWS), VIEWS)
    return index, np.cumsum(length) - length, length, rng.normal(size=(length.sum(), 15, 2)).astype(np.float32)


def partners(index: pd.DataFrame, start: np.ndarray, length: np.ndarray, frames: np.ndarray) -> None:
    """Draw PARTNERS pairs of windows for every walk. Both ways return frame numbers; nothing is copied."""
    sampler = BatchSampler(index, length, window=WINDOW, people=16, walks_per_person=4, seed=0)
    anchors = np.repeat(np.arange(len(index)), PARTNERS)
    subject, view, recording = (pd.factorize(index[c])[0] for c in ("subject", "view", "recording"))
    of_recording = [np.flatnonzero(recording == r).tolist() for r in range(recording.max() + 1)]

    def by_index() -> np.ndarray:
        partner, offset, partner_offset, _ = sampler.pairs(anchors, np.random.default_rng(0))
        return np.stack([start[anchors] + offset, start[partner] + partner_offset])

    def draw(walk: int, candidates: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        partner = candidates[rng.integers(len(candidates))]
        offset = rng.integers(max(min(length[walk], length[partner]) - WINDOW, 0) + 1)
        return start[walk] + offset, start[partner] + offset

    def by_lists(walks: np.ndarray) -> list:
        rng = np.random.default_rng(0)
        return [draw(i, [j for j in of_recording[recording[i]] if view[j] != view[i]], rng) for i in walks]

    def by_search(walks: np.ndarray) -> list:
        rng = np.random.default_rng(0)
        found = []
        for i in walks:
            same = (subject == subject[i]) & (recording == recording[i]) & (view != view[i])
            found.append(draw(i, np.flatnonzero(same), rng))
        return found

    print(f"\n{len(index)} walks x {PARTNERS} partners: windows and partners by index, in a loop over samples; ms; ratio")
    few = anchors[:: len(anchors) // 4000]
    for name, loop, goal in (("searching the table", by_search, ", at least 100"), ("looking up lists", by_lists, "")):
        a, b, ratio = side_by_side(by_index, lambda loop=loop: loop(few), 5)
        share = len(anchors) / len(few)
        print(f"{name:20} {a:8.1f} {b * share:8.0f} {ratio * share:8.0f}{goal}")
    print(f"the loops ran over {len(few)} samples; their time is multiplied by {share:.1f}")
    print(f"by index needs {by_index().nbytes / 2**20:.1f} MiB; the data set has {frames.nbytes / 2**20:.0f} MiB")


def batches(index: pd.DataFrame, start: np.ndarray, length: np.ndarray, frames: np.ndarray) -> None:
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
    print(f"\n{len(index)} walks, {len(x)} windows of {WINDOW} frames, {torch.get_num_threads()} threads, median of {REPEATS}")
    middle = {name: statistics.median(kept) for name, kept in times.items()}
    for name, value in middle.items():
        print(f"{name:20}{value:8.2f} ms")
    print(f"by index is {middle['sample by sample'] / middle['by index']:.1f} times as fast as sample by sample")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        files(Path(folder))
    walks = training_walks()
    partners(*walks)
    batches(*walks)


if __name__ == "__main__":
    main()
