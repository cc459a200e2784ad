"""Networks of others: the time of a training step and of an embedding relative to ours, and whether they learn by heart.

    python benchmarks/peers.py [--four]

Batches of 32 windows of 64 frames, all losses of the configuration, each network as published and as in the grid of equal
minutes. All networks take turns, so that other work on the machine affects all of them; medians of TURNS. Takes two minutes on
two cores and 8 GB. With --four, each network of the grid is trained for up to three minutes on four people instead.
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from tabulate import tabulate

from gaitlib.config import Config, load_config
from gaitlib.data.dataset import write_dataset
from gaitlib.data.preprocess import groups, normalize, some_windows
from gaitlib.data.protocol import Roles, Split
from gaitlib.data.walkers import make_walkers
from gaitlib.grid import Grid
from gaitlib.model.checkpoint import load_model
from gaitlib.model.objective import Objective, Windows
from gaitlib.model.recognizer import GaitModel
from gaitlib.progress import SECONDS
from gaitlib.training import keep_freed_memory, train

PEOPLE, ANCHORS, FRAMES, TURNS = 74, 16, 64, 5
CONFIGS = Path(__file__).parents[1] / "configs"
#: Takes minutes a step on a CPU.
TOO_SLOW = {"skeletongait as published"}


def noise() -> Windows:
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
    objective, windows = Objective(model, config.losses), noise()
    optimizer = torch.optim.AdamW(model.parameters())

    def step() -> None:
        model.train()
        optimizer.zero_grad()
        objective(windows)[-1].backward()
        optimizer.step()

    return model, step, lambda: model.eval().embed(windows.x)


def of_the_grid(*changes: str) -> dict[str, Config]:
    """The configurations of the grid of equal minutes, with overrides."""
    points = Grid.load(CONFIGS / "grids" / "peers.yaml", overrides=changes).points
    return {point.labels["network"]: point.config for point in points if point.labels["seed"] == "0"}


def learned_by_heart(config: Config, split: Split) -> tuple[float, float, int]:
    """Minutes of training, the share of training windows whose person is told, and iterations."""
    with tempfile.TemporaryDirectory() as folder:
        history = train(config, split, folder)
        seconds = json.loads((Path(folder) / SECONDS).read_text())
        model, _ = load_model(folder)
    x, index = some_windows(model.window, normalize(split.train), most=2000)
    with torch.no_grad():
        found = torch.cat([model(part)[2].argmax(1) for part in x.split(64)])
    right = (found.numpy() == groups(index, "subject")).mean()
    return seconds / 60, right, int(history["iteration"].iloc[-1])


def learn_four() -> None:
    """Print what each network has learned of four people."""
    few = [w for w in make_walkers(4, seed=1) if w.condition == "nm"]
    with tempfile.TemporaryDirectory() as folder:
        walks = write_dataset(Path(folder) / "four", few, name="four")
        run = walks.index["run"].to_numpy()
        seen = Roles(walks, run <= 3, {"NM": run > 3})
        changes = ("training.minutes=3", "training.people=4", "training.validate_every=50", "walkers.subjects=4")
        rows = [[name, *learned_by_heart(config, Split(walks, seen, seen))] for name, config in of_the_grid(*changes).items()]
    print(tabulate(rows, ["network", "minutes", "right", "iterations"], floatfmt=".3f", tablefmt="github"))


def main() -> None:
    """Print the table."""
    keep_freed_memory()
    if "--four" in sys.argv:
        learn_four()
        return
    configs = of_the_grid()
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
