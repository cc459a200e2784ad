"""Time of a training step and of an embedding: networks of others relative to ours, each as published and as in the grid.

    python benchmarks/peers.py

Batches of 32 windows of 64 frames, all losses of the configuration. All networks take turns, so that other work on the machine
affects all of them; medians of TURNS. Takes about five minutes on two cores and 8 GB.
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from tabulate import tabulate

from gaitlib.config import Config, load_config
from gaitlib.grid import Grid
from gaitlib.model.objective import Objective, Windows
from gaitlib.model.recognizer import GaitModel
from gaitlib.training import keep_freed_memory

PEOPLE, ANCHORS, FRAMES, TURNS = 74, 16, 64, 5
CONFIGS = Path(__file__).parents[1] / "configs"
#: Takes minutes a step on a CPU.
TOO_SLOW = {"skeletongait as published"}


def some_windows() -> Windows:
    """Windows of noise: their content does not change the time."""
    x, subject = torch.randn(2 * ANCHORS, 30, FRAMES), torch.arange(2 * ANCHORS) % 8
    other = torch.arange(ANCHORS).roll(1)
    return Windows(x, x, other, torch.ones(ANCHORS, dtype=torch.bool), subject, torch.zeros(2 * ANCHORS))


def timed(act: Callable[[], object]) -> float:
    """Seconds."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def tasks(config: Config) -> tuple[GaitModel, Callable, Callable]:
    """The network, one training step, and the embedding of a batch."""
    model = GaitModel(people=PEOPLE, **config.model.model_dump())
    objective, windows = Objective(model, config.losses), some_windows()
    optimizer = torch.optim.AdamW(model.parameters())

    def step() -> None:
        model.train()
        optimizer.zero_grad()
        objective(windows)[-1].backward()
        optimizer.step()

    return model, step, lambda: model.eval().embed(windows.x)


def main() -> None:
    """Print the table."""
    keep_freed_memory()
    points = [point for point in Grid.load(CONFIGS / "grids" / "peers.yaml").points if point.labels["seed"] == "0"]
    configs = {point.labels["network"]: point.config for point in points}
    configs |= {f"{path.stem} as published": load_config(path) for path in sorted((CONFIGS / "peers").glob("*.yaml"))}
    made = {name: tasks(config) for name, config in configs.items() if name not in TOO_SLOW}
    seconds = {name: [] for name in made}
    for turn in range(TURNS + 1):
        for name, (_, step, embed) in made.items():
            took = timed(step), timed(embed)
            if turn:  # the first is slower
                seconds[name].append(took)
    medians = {name: [statistics.median(some) for some in zip(*took, strict=True)] for name, took in seconds.items()}
    ours = medians["beyond"]
    rows = [
        [
            name,
            f"{made[name][0].size:,}",
            f"{step / ours[0]:.1f} x",
            f"{embed / ours[1]:.1f} x",
            f"{1000 * embed / ANCHORS / 2:.1f}",
        ]
        for name, (step, embed) in medians.items()
    ]
    print(f"{torch.get_num_threads()} threads; a training step of ours takes {ours[0]:.2f} s")
    print(tabulate(rows, ["network", "parameters", "training step", "embedding", "ms a window"], tablefmt="github"))


if __name__ == "__main__":
    main()
