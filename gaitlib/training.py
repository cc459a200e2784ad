"""The training loop: batches by index, losses by configuration, and the checkpoint chosen on held-out training people."""

import copy
import ctypes
import json
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn
from tqdm import tqdm

from gaitlib import InputError, Interrupted
from gaitlib.config import Augmentation, Config, Training, root
from gaitlib.data.dataset import GaitDataset
from gaitlib.data.preprocess import (
    MOST_WINDOWS,
    NormalizedWalks,
    cut_windows,
    groups,
    lose_joints,
    mirror,
    normalize,
    opening_windows,
    some_windows,
)
from gaitlib.data.protocol import Roles, Split
from gaitlib.data.sampling import Batch, BatchSampler
from gaitlib.data.views import degrees
from gaitlib.evaluation.embedding import embed_walks
from gaitlib.evaluation.ranking import rank_matrix
from gaitlib.files import replacing, write_text
from gaitlib.model.checkpoint import STATE, WEIGHTS, load_model, load_state, save_state, save_weights
from gaitlib.model.objective import Objective, Windows, needs_another_person
from gaitlib.model.recognizer import GaitModel
from gaitlib.progress import SCORES, SECONDS, Watch, score_column
from gaitlib.skeleton import NUM_JOINTS

#: Validations between pictures, which take longer than a validation.
PICTURES_EVERY = 5
#: Validation walks whose codes go into histograms.
HISTOGRAM_WALKS = 64
#: Windows for closed-form fits during a validation, fewer than in the end.
LOOK_WINDOWS = 2_000


def keep_freed_memory() -> None:
    """Let glibc keep large freed buffers instead of returning them to the system after each use.

    Otherwise every training step causes page faults for all its buffers again, which can more than double its time on a
    CPU. Does nothing on systems without glibc.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        mallopt(-4, 0)  # M_MMAP_MAX: no buffer gets its own mapping
        mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD
        mallopt(-2, 2**28)  # M_TOP_PAD


def disturb(
    x: Tensor, truth: Tensor, settings: Augmentation, generator: torch.Generator, rank: int = 0, processes: int = 1
) -> Tensor:
    """Augment each window [B, 30, T] independently: the true window in place of the seen one, joint dropout, and noise.

    generator: on the device of x. Each of several processes draws for all and takes its own rows.
    """

    def mine(draw: Callable, *shape: int) -> Tensor:
        return draw(len(x) * processes, *shape, generator=generator, device=x.device)[rank::processes]

    if settings.truth:
        x = torch.where(mine(torch.rand, 1, 1) < settings.truth, truth, x)
    if settings.missing:
        x = lose_joints(x, mine(torch.rand, NUM_JOINTS, x.shape[2]) < settings.missing * mine(torch.rand, 1, 1))
    if settings.noise:
        x = x + settings.noise * mine(torch.randn, *x.shape[1:])
    return x


@torch.no_grad()
def settle(model: GaitModel, *parts: NormalizedWalks, most: int, missing: float = 0, start: GaitModel | None = None) -> None:
    """Make the closed-form fits that depend on the weights, if any: the leveling of the codes, discriminants of leveled codes.

    missing: as for `some_windows`. start: the model that training started from, which knows more people.
    """
    model.eval()
    if not model.fitted:
        return
    x, index = some_windows(model.window, *parts, most=most, missing=missing)
    x = x.to(next(model.parameters()))
    model.autoencoder.level(x)
    if model.discriminants:
        model.discriminants.fit(model.code_statistics(x), groups(index, "subject"), start and start.discriminants)


def begin_with(model: GaitModel, start: GaitModel) -> None:
    """Copy all weights except those specific to the people of the other training.

    Raises InputError if the networks differ.
    """
    own, given = model.state_dict(), start.state_dict()
    for name, weight in own.items():
        if name == "recognizer.fc_cls.weight" or name.startswith("discriminants."):
            given[name] = weight
        elif name not in given or given[name].shape != weight.shape:
            said = f"its network has a different {name}; set model.* as in that training."
            raise InputError(f"training.start cannot be used: {said}")
    model.load_state_dict({name: given[name] for name in own})


def validate(model: GaitModel, walks: NormalizedWalks, roles: Roles, device: torch.device) -> dict[str, float]:
    """One of SCORES: rank-1 of the held-out training people, a share, the mean over the probe sets that have it.

    Uses the whole embedding, as in the evaluation, but with one pass over each walk and without mirror images.
    """
    found = embed_walks(model, walks, stride=model.window, mirrored=False, device=device)
    matrices = [rank_matrix(found, roles.gallery, rows, name) for name, rows in roles.probes.items()]
    cross, same = ([m.mean() for m in matrices], [m.same_view_mean() for m in matrices])
    scores = zip(SCORES, (cross, same), strict=True)
    return next({name: float(np.nanmean(shares))} for name, shares in scores if np.isfinite(shares).any())


def learning_rate(iteration: int, t: Training, spent: float = 0.0) -> float:
    """The learning rate of an iteration (from 0). spent: the share of `training.minutes` that is over."""
    if iteration < t.warmup:
        factor = (iteration + 1) / t.warmup
    elif t.schedule == "step":
        factor = 0.5 ** (iteration // t.step_every)
    else:
        done = max((iteration - t.warmup) / max(t.iterations - t.warmup, 1), spent)
        factor = 0.5 * (1 + math.cos(math.pi * min(done, 1)))
    return t.learning_rate * factor


def set_up_fabric(precision: str) -> Fabric:
    """Set up the device or, with torchrun (which `fabric run` calls), the devices of all processes.

    precision: auto, 32-true, 64-true or bf16-mixed.
    """
    if precision == "auto":
        precision = "bf16-mixed" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "32-true"
    world, local = (int(os.environ.get(name, 1)) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    # if processes share a batch: some codes are used by no loss, and centers may have no weight
    strategy = "ddp_find_unused_parameters_true" if world > 1 else "auto"
    fabric = Fabric(strategy=strategy, devices=local, num_nodes=world // local, precision=precision)
    if world > 1:
        fabric.launch()
    return fabric


@torch.no_grad()
def update_average(average: torch.nn.Module, model: torch.nn.Module, decay: float) -> None:
    """Move an exponential moving average of weights and buffers toward the model's by 1 - decay; counters are copied.

    torch's AveragedModel does the same but waits for the GPU in each step.
    """
    pairs = list(zip(average.state_dict().values(), model.state_dict().values(), strict=True))
    counters = [pair for pair in pairs if not pair[0].is_floating_point()]
    averages = [pair for pair in pairs if pair[0].is_floating_point()]
    get_ema_multi_avg_fn(decay)(*map(list, zip(*averages, strict=True)), None)
    if counters:
        torch._foreach_copy_(*map(list, zip(*counters, strict=True)))


class GraphedStep:
    """A step on a GPU recorded as a CUDA graph and replayed, so that launching a thousand small kernels costs no time.

    On an H200 this took a sixth to a ninth of the time for `beyond` before the geometric autoencoder, see benchmarks/RESULTS.md.
    step: a function of tensors whose shapes never change; it updates its results (weights, sums) in place and must not wait for
    the GPU. The first calls run normally.
    """

    WARM_UP = 3

    def __init__(self, step: Callable[[Windows], None]):
        self.step, self.calls, self.graph = step, 0, None

    def __call__(self, windows: Windows) -> None:
        if self.calls < self.WARM_UP:
            aside, here = torch.cuda.Stream(), torch.cuda.current_stream()
            aside.wait_stream(here)
            with torch.cuda.stream(aside):
                self.step(windows)
            here.wait_stream(aside)
            self.calls += 1
            return
        if self.graph is None:
            self.windows = Windows(*(values.clone() for values in windows))
            self.graph = torch.cuda.CUDAGraph()
            torch.cuda.empty_cache()  # the recorded step has its own memory and cannot reuse that of the first calls
            with torch.cuda.graph(self.graph):
                self.step(self.windows)
        for recorded, values in zip(self.windows, windows, strict=True):
            recorded.copy_(values)
        self.graph.replay()


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """An event set by Ctrl-C or JupyterLab's stop button; a second Ctrl-C stops at once."""
    asked = threading.Event()

    def ask(*_) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    if threading.current_thread() is not threading.main_thread():  # where signals cannot be handled
        yield asked
        return
    before = signal.signal(signal.SIGINT, ask)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


def looks_since_best(history: list[dict]) -> int:
    """The number of validations after the best one; of equal ones, the first is the best."""
    scores = [row[score_column(row)] for row in history]
    return len(scores) - 1 - scores.index(max(scores)) if scores else 0


@dataclass
class TrainingState:
    """The state of a training, sufficient for resuming because random numbers depend only on (seed, iteration, process).

    model: changed by each step; kept: its moving average, which is validated and saved, or the model itself.
    sums: of the losses since the last validation, [losses]; history: one row per validation; began: seconds of time.monotonic,
    as if there had been no interruption; rate: the learning rate of the last iteration.
    """

    model: GaitModel
    kept: GaitModel
    optimizer: torch.optim.Optimizer
    sums: Tensor
    iteration: int = 0
    history: list[dict] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    rate: float = 0.0

    @property
    def seconds(self) -> float:
        """How long it has taken: steps, validations, and what is fitted before the first step."""
        return time.monotonic() - self.began

    def spent(self, t: Training) -> float:
        """The share of `training.minutes` that is over; 0 without such a limit."""
        return self.seconds / (60 * t.minutes) if t.minutes else 0.0

    def done(self, t: Training) -> float:
        """How much of the training is over, from 0 to 1 or, by the last step, a little more."""
        return max(self.iteration / t.iterations, self.spent(t))

    def is_over(self, t: Training) -> bool:
        """Whether nothing is left to do, not even the last look: an interruption may have come before it."""
        return self.done(t) >= 1 and bool(self.history) and self.history[-1]["iteration"] == self.iteration

    def expected(self, done: float) -> tuple[int, float]:
        """The iterations in the end and the seconds left if this share is done, from the mean so far."""
        return round(self.iteration / min(done, 1)), self.seconds * max(1 / done - 1, 0)

    def save(self, path: Path) -> None:
        """Write the state, whole or not at all, and beside it how long it has taken."""
        parts = {name: getattr(self, name).state_dict() for name in ("model", "kept", "optimizer")}
        state = {**parts, "sums": self.sums, "iteration": self.iteration, "history": self.history, "seconds": self.seconds}
        save_state(path, state)
        write_text(path.with_name(SECONDS), json.dumps(self.seconds))

    def restore(self, path: Path) -> None:
        """Continue where a training stopped, on whatever device it ran."""
        saved = load_state(path)
        own = [{name: group[name] for name in ("lr", "capturable")} for group in self.optimizer.param_groups]
        for name in ("model", "kept", "optimizer"):
            getattr(self, name).load_state_dict(saved[name])
        for group, options in zip(self.optimizer.param_groups, own, strict=True):
            group.update(options)
        self.sums.copy_(saved["sums"])
        self.iteration, self.history, self.began = saved["iteration"], saved["history"], time.monotonic() - saved["seconds"]


class Trainer:
    """The batches, the network and the state of one training; a training consists of steps and validations.

    folder: gets model.safetensors and history.csv; training continues from its state.pt if there is one.
    facts: plain values that are saved with the weights.
    """

    def __init__(
        self, config: Config, split: Split, folder: Path, facts: dict, truth: GaitDataset | None = None,
        normalized: Callable[[GaitDataset], NormalizedWalks] = normalize,
    ):  # fmt: skip
        t, goes_on = config.training, (folder / STATE).exists()
        self.config, self.folder, self.facts = config, folder, facts
        self.fabric = set_up_fabric(t.precision)
        device, processes = self.fabric.device, self.fabric.world_size
        if t.minutes and processes > 1:
            raise InputError("training.minutes ends one process; with several, set training.iterations and training.minutes=0.")
        if t.shards % processes:
            raise InputError(f"{processes} processes cannot share batches of {t.shards} shards; set training.shards={processes}.")
        torch.manual_seed(config.seed)
        self.walks, self.held, self.roles = normalized(split.train), normalized(split.validation.walks), split.validation
        self.sampler = BatchSampler(
            split.train.index, self.walks.length, window=config.model.window, people=t.people, shards=t.shards,
            walks_per_person=t.walks_per_person, seed=config.seed, mirror=config.augmentation.mirror, partners=t.partners,
            alike=needs_another_person(config.losses),
        )  # fmt: skip
        self.length = torch.tensor(self.walks.length, device=device)
        self.seen = self._on_the_device(self.walks)
        self.truth = self.seen if truth is None else self._on_the_device(normalized(truth))
        angles = [degrees(view) for view in self.walks.index["view"]]
        self.angle = torch.tensor([math.nan if a is None else math.radians(a) for a in angles], device=device)

        everyone = len(self.sampler.names) + self.held.index["subject"].nunique()
        self.begins = load_model(root() / t.start)[0] if t.start else None
        if self.begins:
            everyone = max(everyone, self.begins.settings["discriminant_people"])
        began = time.monotonic()
        model = GaitModel(people=len(self.sampler.names), discriminant_people=everyone, **config.model.model_dump())
        if self.begins:
            begin_with(model, self.begins)
        elif not goes_on and model.autoencoder and model.autoencoder.fitted:
            x, index = some_windows(model.window, self.walks, most=MOST_WINDOWS, missing=config.augmentation.missing)
            model.autoencoder.measure(x, groups(index, "subject"))
        if processes > 1 and device.type == "cuda":
            model = torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)
        objective = Objective(model, config.losses).to(device)
        graphed = t.cuda_graph and device.type == "cuda" and processes == 1
        rate = torch.tensor(t.learning_rate, device=device) if graphed else t.learning_rate  # graphs see tensors
        optimizer = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[t.optimizer](
            objective.parameters(), lr=rate, betas=t.betas, weight_decay=t.weight_decay, fused=True, capturable=graphed
        )
        self.loss_names = objective.names
        self.objective, optimizer = self.fabric.setup(objective, optimizer)
        self.descents = {training: GraphedStep(self._descend) if graphed else self._descend for training in (True, False)}
        kept = copy.deepcopy(model).requires_grad_(False) if t.average else model
        sums = torch.zeros(len(self.loss_names), device=device, dtype=next(model.parameters()).dtype)
        self.state = TrainingState(model, kept, optimizer, sums, began=began)
        if goes_on:
            self.state.restore(folder / STATE)

    def _on_the_device(self, walks: NormalizedWalks) -> tuple[Tensor, Tensor]:
        """The frames and the start of each walk in them."""
        return torch.from_numpy(walks.frames).to(self.fabric.device), torch.tensor(walks.start, device=self.fabric.device)

    def windows(self, iteration: int) -> Windows:
        """This process's part of an iteration's batch, on the device: cut from the walks, mirrored and augmented."""
        rank, processes = self.fabric.global_rank, self.fabric.world_size
        batch = Batch(*(_on(self.length.device, rows) for rows in self.sampler.batch(iteration).shard(rank, processes)))
        walk, offset = batch.walk, batch.offset
        mirrored = batch.mirrored.repeat(len(walk) // len(batch.mirrored))

        def cut(frames: Tensor, start: Tensor) -> Tensor:
            x = cut_windows(frames, start[walk], self.length[walk], offset, self.config.model.window)
            x = torch.where((walk < 0)[:, None, None], 0, x)
            return torch.where(mirrored[:, None, None], mirror(x), x)

        seen = cut(*self.seen)
        target = seen if self.truth is self.seen else cut(*self.truth)
        generator = torch.Generator(seen.device).manual_seed(_seed(self.config.seed, iteration, 0))
        x = disturb(seen, target, self.config.augmentation, generator, rank, processes)
        angle = torch.where(mirrored, -self.angle[walk], self.angle[walk])
        return Windows(x, target, batch.other_person, batch.synchronous, batch.subject, angle)

    def step(self) -> None:
        """Train on one batch."""
        t, iteration = self.config.training, self.state.iteration
        torch.manual_seed(_seed(self.config.seed, iteration, 1 + self.fabric.global_rank))  # of dropout; 0 is noise
        windows = self.windows(iteration)
        rate = self.state.rate = learning_rate(iteration, t, self.state.spent(t))
        for group in self.state.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
        training = not (t.stay_in_eval and iteration >= t.validate_every)
        self.objective.train(training)
        self.descents[training](windows)
        self.state.iteration += 1

    def _descend(self, windows: Windows) -> None:
        """The part of a step that a GPU can record."""
        t, state = self.config.training, self.state
        state.optimizer.zero_grad()
        losses = self.objective(windows)
        self.fabric.backward(losses[-1])
        if t.gradient_clip:
            torch.nn.utils.clip_grad_norm_(state.model.parameters(), t.gradient_clip)
        state.optimizer.step()
        if t.average:
            update_average(state.kept, state.model, t.average)
        state.sums.add_(losses.detach())

    def look(self) -> dict:
        """Validate, and return the next row of the history: the losses since the last validation, and validation rank-1.

        The first process saves the history, and the weights if none before were better. Raises InputError if the loss is
        not finite.
        """
        state, first = self.state, self.fabric.is_global_zero
        since = state.iteration - (state.history[-1]["iteration"] if state.history else 0)
        losses = (self.fabric.all_reduce(state.sums, reduce_op="mean") / since).tolist()
        state.sums.zero_()
        if not math.isfinite(losses[-1]):
            raise InputError(
                f"Training became unstable before iteration {state.iteration}: the loss is {losses[-1]}; "
                "lower training.learning_rate."
            )
        row = {"iteration": state.iteration, "learning_rate": state.rate}
        row |= zip(self.loss_names, losses, strict=True)
        if first:
            self._settle(state.kept, self.walks, most=LOOK_WINDOWS)
        score = validate(state.kept, self.held, self.roles, self.fabric.device) if first else {}
        row |= {name: round(share, 9) for name, share in self.fabric.broadcast(score).items()}  # the last bits are random
        state.history.append(row)
        if first:
            name = score_column(row)
            if row[name] == max(earlier[name] for earlier in state.history):  # of equal ones, the latest
                kept, facts = state.kept.state_dict(), {**self.facts, "iteration": state.iteration}
                save_weights(self.folder / WEIGHTS, state.model, kept, **facts)
            with replacing(self.folder / "history.csv") as part:
                pd.DataFrame(state.history).to_csv(part, index=False)
        return row

    def _settle(self, model: GaitModel, *parts: NormalizedWalks, most: int) -> None:
        settle(model, *parts, most=most, missing=self.config.augmentation.missing, start=self.begins)

    def finish(self) -> str:
        """Repeat the closed-form fits of the kept weights on more windows, and on validation people; returns a remark, or "".

        Repeating it after an interruption gives the same weights.
        """
        if not self.state.model.fitted:
            return ""
        path, people = self.folder / WEIGHTS, len(self.sampler.names) + self.held.index["subject"].nunique()
        model, facts = load_model(path)
        self._settle(model, self.walks, self.held, most=MOST_WINDOWS)
        save_weights(path, model, model.state_dict(), **facts)
        what = "discriminants of the kept checkpoint were" if model.discriminants else "leveling of the kept checkpoint was"
        return f"the {what} refitted on all {people} training and validation people"


def train(
    config: Config, split: Split, folder: str | Path, *, watch: Watch | None = None,
    pictures: Callable[[GaitModel], dict] | None = None, facts: dict | None = None, truth: GaitDataset | None = None,
    normalized: Callable[[GaitDataset], NormalizedWalks] = normalize,
) -> pd.DataFrame:  # fmt: skip
    """Train, and leave the best model.safetensors, state.pt, history.csv, seconds.json and logs/ in `folder`.

    The best checkpoint is the one with the highest validation rank-1, with discriminants fitted without the validation people; in
    the end its discriminants are refitted on training and validation people together.
    Training continues from an existing state.pt; the result is then the same as without the interruption, unless the clock
    ends it (training.minutes). Processes started by torchrun share each batch; the first of them validates and writes. Batch
    normalization covers all of them on GPUs, and each part separately on CPUs.
    watch: is notified of each iteration and of each validation.
    pictures: name -> matplotlib figure of the current model, for TensorBoard, every PICTURES_EVERY validations.
    facts: plain values that are saved with the weights.
    truth: the training walks without noise, row by row, as the decoder's target; None: the seen walks are the target.
    normalized: how walks are normalized: by `normalize`, or memory-mapped.
    Returns the history: iteration, learning_rate, each loss term, loss, and one of SCORES.
    Raises InputError if training becomes unstable (a loss is not finite); Interrupted after Ctrl-C, when the iteration is
    done and the state is saved (with several processes: at the next validation).
    """
    keep_freed_memory()
    folder, t = Path(folder), config.training
    trainer = Trainer(config, split, folder, facts or {}, truth, normalized)
    fabric, state, first = trainer.fabric, trainer.state, trainer.fabric.is_global_zero
    with (
        _Log(folder / "logs", trainer.held, state.iteration) if first else nullcontext() as log,
        tqdm(total=t.iterations, initial=state.iteration, unit="step", disable=not first or not sys.stderr.isatty()) as bar,
        interruptible() as asked,
        watch if watch and first else Watch() as watch,
    ):
        over = state.is_over(t)
        while not over and not (t.patience and looks_since_best(state.history) >= t.patience):
            trainer.step()
            done = state.done(t)
            over, (total, left) = done >= 1, state.expected(done)
            bar.total = total
            bar.update()
            watch.step(state.iteration, total, left)
            if state.iteration % t.validate_every and not over:
                stop = fabric.world_size == 1 and asked.is_set()
            else:
                row = trainer.look()
                if first:
                    drawn = pictures and (len(state.history) % PICTURES_EVERY == 0 or over)
                    log.look(row, state.kept, pictures(state.kept) if drawn else {})
                    state.save(folder / STATE)  # last, when everything it refers to is on disk
                    _print(bar, _said(row, total, left))
                    watch.look(pd.DataFrame(state.history), state.kept)
                stop = fabric.all_reduce(torch.tensor(float(asked.is_set()), device=fabric.device), reduce_op="sum")
            if stop and not over:
                if first:
                    state.save(folder / STATE)
                raise Interrupted(
                    f"Training stopped after iteration {state.iteration} of {total}; it is saved and can be resumed."
                )
        if first and (said := trainer.finish()):
            _print(bar, said)
    fabric.barrier()  # no process leaves before the first one has written
    return pd.DataFrame(state.history)


def _print(bar: tqdm, text: str) -> None:
    """Print a line above the progress bar."""
    bar.write(text, file=sys.stdout)
    sys.stdout.flush()


def _said(row: dict, total: int, left: float) -> str:
    """What is printed of a row of the history; total: iterations in the end, left: seconds until then."""
    score = f"{SCORES[name := score_column(row)]} {row[name]:.1%}"
    return f"iteration {row['iteration']}/{total}  loss {row['loss']:.3f}  {score}  about {left / 60:.1f} min left"


def _seed(*numbers: int) -> int:
    """One seed from several numbers, such as the run's and the iteration."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _on(device: torch.device, rows: np.ndarray) -> Tensor:
    """Copy rows to the device without waiting for it."""
    tensor = torch.from_numpy(np.ascontiguousarray(rows))
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


class _Log(Watch):
    """TensorBoard: the numbers of each validation, histograms of the codes of some walks, and pictures."""

    def __init__(self, folder: Path, walks: NormalizedWalks, iteration: int):
        from torch.utils.tensorboard import SummaryWriter

        self.writer, self.walks = SummaryWriter(str(folder), purge_step=iteration + 1), walks

    def __exit__(self, *_) -> None:
        self.writer.close()

    @torch.no_grad()
    def look(self, row: dict, model: GaitModel, pictures: dict) -> None:
        """row: a row of the history; pictures: name -> matplotlib figure."""
        some = np.unique(np.linspace(0, len(self.walks) - 1, HISTOGRAM_WALKS).astype(int))
        x = opening_windows(self.walks, some, model.window).to(next(model.parameters()))
        codes = model.eval().encode(x)
        for name, value in row.items():
            self.writer.add_scalar(name, value, row["iteration"])
        for name, code in zip(("motion", "body", "view"), codes or (), strict=False):
            self.writer.add_histogram(f"codes/{name}", code.float(), row["iteration"])
        for name, figure in pictures.items():
            self.writer.add_figure(name, figure, row["iteration"])
        self.writer.flush()
