"""The training loop: batches by index, losses by configuration, the checkpoint chosen on held-out training people."""

import copy
import ctypes
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy
from torch import Tensor
from torch.nn import functional as F
from torch.optim.swa_utils import get_ema_multi_avg_fn
from tqdm import tqdm

from gaitlib import InputError, Interrupted, progress
from gaitlib.config import Augmentation, Config
from gaitlib.data.preprocess import NormalizedWalks, cut_windows, mirror, normalize, opening_windows, window_grid
from gaitlib.data.protocol import Roles, Split
from gaitlib.data.sampling import Batch, BatchSampler
from gaitlib.evaluation.embedding import Embeddings, embed_walks
from gaitlib.evaluation.ranking import rank_matrix
from gaitlib.files import replacing
from gaitlib.model.checkpoint import STATE, WEIGHTS, load_state, save_state, save_weights
from gaitlib.model.discriminants import window_statistics
from gaitlib.model.objective import Objective
from gaitlib.model.recognizer import GaitModel
from gaitlib.skeleton import NUM_JOINTS

#: Pictures are drawn every so many looks, which take longer than the look itself.
PICTURES_EVERY = 5
#: The codes of so many validation walks are counted in a histogram.
HISTOGRAM_WALKS = 64
#: Discriminants are fitted on so many windows at most, spread evenly over the walks.
MOST_WINDOWS = 60_000


def keep_freed_memory() -> None:
    """Let glibc keep large freed buffers instead of returning them to the system after each use.

    Otherwise every training step pays again for the page faults of all its buffers, which can more than double its time on a
    CPU. Does nothing on systems without glibc.
    """
    if sys.platform == "linux":
        try:
            mallopt = ctypes.CDLL("libc.so.6").mallopt
        except (OSError, AttributeError):
            return
        mallopt(-4, 0)  # M_MMAP_MAX: no buffer is mapped by itself
        mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD
        mallopt(-2, 2**28)  # M_TOP_PAD


def disturb(x: Tensor, settings: Augmentation, generator: torch.Generator, rank: int = 0, processes: int = 1) -> Tensor:
    """Noise and frozen joints, for every window [B, 30, T] by itself.

    generator: on the device of x. Of several processes each draws for all and takes its own rows.
    """

    def mine(draw: Callable, *shape: int) -> Tensor:
        return draw(len(x) * processes, *shape, generator=generator, device=x.device)[rank::processes]

    if settings.joint_dropout:
        frozen = mine(torch.rand, NUM_JOINTS, 1) < settings.joint_dropout
        x = torch.where(frozen.repeat_interleave(2, 1), x.mean(2, keepdim=True), x)
    if settings.noise:
        x = x + settings.noise * mine(torch.randn, *x.shape[1:])
    return x


def measure_features(model: GaitModel, walks: NormalizedWalks) -> None:
    """Tell the encoders the mean and deviation of what they will see: of 2,000 of these walks at most and their mirror images."""
    rows = np.linspace(0, len(walks) - 1, min(len(walks), 2000)).astype(int)
    x = opening_windows(walks, rows, model.window)
    model.autoencoder.measure(torch.cat([x, mirror(x)]))


@torch.no_grad()
def fit_discriminants(model: GaitModel, *parts: NormalizedWalks) -> None:
    """Fit the model's discriminants, where it has them, on windows of all these walks.

    The people who choose the checkpoint can be among them, because the discriminants take no part in the choice.
    """
    if not model.discriminants:
        return
    grids = [window_grid(walks.length, model.window, model.window // 4) for walks in parts]
    thinned = slice(None, None, -(-sum(len(walk) for walk, _ in grids) // MOST_WINDOWS))
    statistics, subject = [], []
    for walks, (walk, offset) in zip(parts, grids, strict=True):
        walk, offset = walk[thinned], torch.from_numpy(offset[thinned])
        frames = torch.from_numpy(walks.frames)
        start, length = torch.tensor(walks.start[walk]), torch.tensor(walks.length[walk])
        for rows in torch.arange(len(walk)).split(1024):
            windows = cut_windows(frames, start[rows], length[rows], offset[rows], model.window)
            statistics.append(window_statistics(windows))
        subject.append(walks.index["subject"].to_numpy()[walk])
    model.discriminants.fit(torch.cat(statistics), pd.factorize(np.concatenate(subject), sort=True)[0])


def validation_rank1(model: GaitModel, walks: NormalizedWalks, roles: Roles, device) -> float:
    """Cross-view rank-1 on the held-out training people, the mean over the probe sets, one pass of each walk.

    The learned embedding ranks alone: the discriminants beside it do not change, and would hide what training does.
    """
    found = embed_walks(model, walks, stride=model.window, mirrored=False, device=device)
    learned = F.normalize(torch.from_numpy(found.values[:, : model.settings["embedding"]])).numpy()
    embeddings = Embeddings(learned, found.index)
    matrices = [rank_matrix(embeddings, roles.gallery, rows, name) for name, rows in roles.probes.items()]
    scores = [m.mean() if np.isfinite(m.mean()) else m.same_view_mean() for m in matrices]
    return float(np.mean(scores))


def learning_rate_factor(iteration: int, config: Config) -> float:
    """What the learning rate is multiplied with at an iteration (from 0)."""
    t = config.training
    if iteration < t.warmup:
        return (iteration + 1) / t.warmup
    if t.schedule == "step":
        return 0.5 ** (iteration // t.step_every)
    done = (iteration - t.warmup) / max(t.iterations - t.warmup, 1)
    return 0.5 * (1 + math.cos(math.pi * done))


def set_up_fabric(precision: str) -> Fabric:
    """The device, or with torchrun (which `fabric run` calls) the devices of all processes.

    precision: auto, 32-true, 64-true or bf16-mixed.
    """
    if precision == "auto":
        precision = "bf16-mixed" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "32-true"
    world, local = (int(os.environ.get(name, 1)) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    if world == 1:
        return Fabric(accelerator="auto", devices=1, precision=precision)
    strategy = DDPStrategy(find_unused_parameters=True)  # a code that no loss uses, centers that have no weight
    fabric = Fabric(accelerator="auto", strategy=strategy, devices=local, num_nodes=world // local, precision=precision)
    fabric.launch()
    return fabric


@torch.no_grad()
def follow(average: torch.nn.Module, model: torch.nn.Module, decay: float) -> None:
    """An exponential moving average of weights and buffers takes one step; counters are copied.

    torch's AveragedModel does the same and waits for the GPU in each step.
    """
    pairs = list(zip(average.state_dict().values(), model.state_dict().values(), strict=True))
    counters = [pair for pair in pairs if not pair[0].is_floating_point()]
    averages = [pair for pair in pairs if pair[0].is_floating_point()]
    get_ema_multi_avg_fn(decay)(*map(list, zip(*averages, strict=True)), None)
    if counters:
        torch._foreach_copy_(*map(list, zip(*counters, strict=True)))


class GraphedStep:
    """A step on a GPU recorded as a CUDA graph and replayed, so that launching a thousand small kernels costs no time.

    step: a function of a dictionary of tensors, whose shapes stay as they are at the first call; what it leaves behind (weights,
    sums) it writes in place. It must not wait for the GPU. The first calls are ordinary ones.
    """

    WARM_UP = 3

    def __init__(self, step: Callable[[dict[str, Tensor]], None]):
        self.step, self.calls, self.graph = step, 0, None

    def __call__(self, inputs: dict[str, Tensor]) -> None:
        if self.calls < self.WARM_UP:
            aside, here = torch.cuda.Stream(), torch.cuda.current_stream()
            aside.wait_stream(here)
            with torch.cuda.stream(aside):
                self.step(inputs)
            here.wait_stream(aside)
            self.calls += 1
            return
        if self.graph is None:
            self.inputs = {name: values.clone() for name, values in inputs.items()}
            self.graph = torch.cuda.CUDAGraph()
            torch.cuda.empty_cache()  # the recorded step has memory of its own and uses none of the first calls'
            with torch.cuda.graph(self.graph):
                self.step(self.inputs)
        for name, values in inputs.items():
            self.inputs[name].copy_(values)
        self.graph.replay()


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """An event that Ctrl-C or the stop button of JupyterLab sets; a second Ctrl-C stops at once."""
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


class Watch:
    """Is told what a training does, in its first process; entered when the training begins, left when it ends."""

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, kind, error, trace) -> None:
        """error: Interrupted, or what else ended it before its end; None where it is complete."""

    def step(self, done: int, iterations: int, left: float) -> None:
        """After each iteration; left: seconds, from the mean so far."""

    def look(self, history: pd.DataFrame, model: GaitModel) -> None:
        """After each look at the validation people, with the history so far and the model that is kept."""


class Report(Watch):
    """Writes how far a training is into the run's progress.json, so that a grid can show it."""

    PAUSE = 0.5  # seconds

    def __init__(self, run: Path):
        self._run, self._told = run, 0.0

    def step(self, done: int, iterations: int, left: float) -> None:
        """Twice a second at most."""
        if time.monotonic() - self._told >= self.PAUSE:
            self._told = time.monotonic()
            progress.report(self._run, iteration=done, iterations=iterations, seconds_left=left)

    def look(self, history: pd.DataFrame, model: GaitModel) -> None:
        """Each time."""
        now = history.iloc[-1]
        progress.report(self._run, iteration=int(now["iteration"]), validation=float(now["validation_rank1"]))


def looks_since_best(history: list[dict]) -> int:
    """How many looks at the validation people came after the best one; of equals, the first is the best."""
    scores = [row["validation_rank1"] for row in history]
    return len(scores) - 1 - scores.index(max(scores)) if scores else 0


def train(
    config: Config,
    split: Split,
    folder: str | Path,
    *,
    watch: Watch | None = None,
    pictures: Callable[[GaitModel], dict] | None = None,
    facts: dict | None = None,
) -> pd.DataFrame:
    """Train and leave model.safetensors (the best on the validation people), state.pt, history.csv and logs/ in `folder`.

    A state.pt that is already there is continued; the result is then the same as without the interruption. What is random depends
    on (seed, iteration, process) alone, so nothing has to be remembered of it. Processes that torchrun started share each batch;
    the first of them validates and writes. Batch normalization is over all of them on GPUs, over each part by itself on CPUs.
    watch: is told of each iteration and of each look at the validation people.
    pictures: name -> matplotlib figure of the model so far, for TensorBoard, every PICTURES_EVERY looks.
    facts: plain values that are saved with the weights.
    Returns the history: iteration, learning_rate, each loss term, loss, validation_rank1.
    Raises InputError where training became unstable (a loss is not finite); Interrupted after Ctrl-C, when the iteration is
    done and the state is saved (with several processes: at the next look).
    """
    keep_freed_memory()
    folder = Path(folder)
    t = config.training
    fabric = set_up_fabric(t.precision)
    device, rank, processes = fabric.device, fabric.global_rank, fabric.world_size
    if t.shards % processes:
        raise InputError(f"{processes} processes cannot share batches of {t.shards} shards; set training.shards={processes}.")
    if config.model.layout == "scrambled" and t.frame_share < 1:
        raise InputError(
            "training.frame_share must be 1 where model.layout is scrambled: the columns of its codes are no frames."
        )
    torch.manual_seed(config.seed)
    train_walks, validation_walks = normalize(split.train), normalize(split.validation.walks)
    sampler = BatchSampler(
        split.train.index, train_walks.length, window=config.model.window, people=t.people, shards=t.shards,
        walks_per_person=t.walks_per_person, seed=config.seed, mirror=config.augmentation.mirror, partners=t.partners,
    )  # fmt: skip
    decoded = (
        t.shards // processes * max(1, round(t.exchange_share * sampler.people * t.walks_per_person / t.shards)),
        max(1, round(t.frame_share * config.model.window)),
    )
    everyone = len(sampler.names) + validation_walks.index["subject"].nunique()
    model = GaitModel(people=len(sampler.names), discriminant_people=everyone, **config.model.model_dump())
    if not (folder / STATE).exists():
        measure_features(model, train_walks)
        fit_discriminants(model, train_walks, validation_walks)
    if processes > 1 and device.type == "cuda":
        model = torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)
    objective = Objective(model, config.losses)
    graphed = t.cuda_graph and device.type == "cuda" and processes == 1
    rate = torch.tensor(t.learning_rate, device=device) if graphed else t.learning_rate  # where a graph finds it
    optimizers = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    optimizer = optimizers[t.optimizer](
        objective.to(device).parameters(), lr=rate, betas=t.betas, weight_decay=t.weight_decay, fused=True, capturable=graphed
    )
    wrapped, optimizer = fabric.setup(objective, optimizer)
    kept = copy.deepcopy(model).requires_grad_(False) if t.average else model

    first, history, best, spent = 0, [], -1.0, 0.0
    sums = torch.zeros(len(objective.names), device=device, dtype=next(model.parameters()).dtype)  # of losses since the last look
    if (folder / STATE).exists():
        state = load_state(folder / STATE)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        for group in optimizer.param_groups:  # whatever the device of the training that is continued
            group.update(lr=rate, capturable=graphed)
        kept.load_state_dict(state["kept"])
        first, history, best, spent = (state[k] for k in ("iteration", "history", "best", "seconds"))
        sums = state["sums"].to(device)
    frames = torch.from_numpy(train_walks.frames).to(device)
    start, length = (torch.tensor(a, device=device) for a in (train_walks.start, train_walks.length))
    began = time.monotonic() - spent

    def save(iteration: int) -> None:
        state = {
            "model": model.state_dict(), "optimizer": optimizer.state_dict(), "iteration": iteration, "history": history,
            "best": best, "seconds": time.monotonic() - began, "kept": kept.state_dict(), "sums": sums,
        }  # fmt: skip
        save_state(folder / STATE, state)

    rows_of_batch = [field.name for field in fields(Batch)]

    def step(inputs: dict[str, Tensor]) -> None:
        """One change of the weights; adds the losses to `sums`. inputs: x, target and the rows of a batch."""
        optimizer.zero_grad()
        losses = wrapped(inputs["x"], inputs["target"], {name: inputs[name] for name in rows_of_batch}, *decoded)
        fabric.backward(losses[-1])
        if t.gradient_clip:
            torch.nn.utils.clip_grad_norm_(model.parameters(), t.gradient_clip)
        optimizer.step()
        if t.average:
            follow(kept, model, t.average)
        sums.add_(losses.detach())

    steps = {training: GraphedStep(step) if graphed else step for training in (True, False)}  # in train(), in eval()

    def windows(batch: Batch) -> tuple[Tensor, Tensor]:
        """What the encoders see and what the decoder is to give, [N, 30, T] each."""
        x = cut_windows(frames, start[batch.walk], length[batch.walk], batch.offset, config.model.window)
        x = torch.where((batch.walk < 0)[:, None, None], 0, x)
        mirrored = batch.mirrored.repeat(len(x) // len(batch.mirrored))[:, None, None]
        target = torch.where(mirrored, mirror(x), x)
        generator = torch.Generator(device).manual_seed(_seed(config.seed, iteration, 0))
        return disturb(target, config.augmentation, generator, rank, processes), target

    with (
        _Log(folder / "logs", first) if rank == 0 else nullcontext() as log,
        tqdm(total=t.iterations, initial=first, unit="step", disable=rank > 0 or not sys.stderr.isatty()) as bar,
        interruptible() as asked,
        watch if watch and rank == 0 else Watch() as watch,
    ):
        for iteration in range(first, t.iterations):
            if t.patience and looks_since_best(history) >= t.patience:
                break
            torch.manual_seed(_seed(config.seed, iteration, 1 + rank))  # of dropout; 0 is noise
            batch = sampler.batch(iteration).shard(rank, processes)
            batch = Batch(**{name: _on(device, rows) for name, rows in vars(batch).items()})
            x, target = windows(batch)
            now = t.learning_rate * learning_rate_factor(iteration, config)
            for group in optimizer.param_groups:
                if graphed:
                    group["lr"].fill_(now)
                else:
                    group["lr"] = now
            training = not (t.stay_in_eval and iteration >= t.validate_every)
            wrapped.train(training)
            steps[training]({"x": x, "target": target, **vars(batch)})
            bar.update()

            done = iteration + 1
            left = (time.monotonic() - began) / done * (t.iterations - done)
            watch.step(done, t.iterations, left)
            if done % t.validate_every and done < t.iterations:
                if processes == 1 and asked.is_set():
                    save(done)
                    raise _stopped(done, t.iterations)
                continue
            since = done - (history[-1]["iteration"] if history else 0)
            row = {"iteration": done, "learning_rate": now}
            row |= dict(zip(objective.names, (fabric.all_reduce(sums, reduce_op="mean") / since).tolist(), strict=True))
            sums.zero_()
            if not np.isfinite(row["loss"]):
                raise InputError(
                    f"Training became unstable before iteration {done}: the loss is {row['loss']}; lower training.learning_rate."
                )
            score = validation_rank1(kept, validation_walks, split.validation, device) if rank == 0 else 0.0
            row["validation_rank1"] = fabric.broadcast(score)
            history.append(row)
            if rank == 0:
                log.look(row, kept, validation_walks)
                if pictures and (len(history) % PICTURES_EVERY == 0 or done == t.iterations):
                    log.pictures(pictures(kept), done)
                if row["validation_rank1"] >= best:  # of equals, the one that has seen more
                    best = row["validation_rank1"]
                    save_weights(folder / WEIGHTS, model, kept.state_dict(), **(facts or {}), iteration=done)
                table = pd.DataFrame(history)
                with replacing(folder / "history.csv") as part:
                    table.to_csv(part, index=False)
                log.writer.flush()
                save(done)  # last: what it counts is on the disk
                bar.write(
                    f"iteration {done}/{t.iterations}  loss {row['loss']:.3f}  validation rank-1 {row['validation_rank1']:.1%}"
                    f"  about {left / 60:.1f} min left", file=sys.stdout,
                )  # fmt: skip
                sys.stdout.flush()
                watch.look(table, kept)
            if fabric.all_reduce(torch.tensor(float(asked.is_set()), device=device), reduce_op="sum") and done < t.iterations:
                raise _stopped(done, t.iterations)
    fabric.barrier()  # nobody leaves before the first process has written
    return pd.DataFrame(history)


def _seed(*numbers: int) -> int:
    """One seed from several numbers, such as the run's and the iteration."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _on(device: torch.device, rows: np.ndarray) -> Tensor:
    """To the device, without waiting for it."""
    tensor = torch.from_numpy(np.ascontiguousarray(rows))
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def _stopped(done: int, iterations: int) -> Interrupted:
    return Interrupted(f"Training stopped after iteration {done} of {iterations}; it is saved, and goes on from there.")


class _Log:
    """TensorBoard: the numbers of each look, how the codes are distributed, and pictures."""

    def __init__(self, folder: Path, first: int):
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(folder), purge_step=first + 1)

    def __enter__(self) -> "_Log":
        return self

    def __exit__(self, *_) -> None:
        self.writer.close()

    @torch.no_grad()
    def look(self, row: dict, model: GaitModel, walks: NormalizedWalks) -> None:
        for name, value in row.items():
            self.writer.add_scalar(name, value, row["iteration"])
        some = np.unique(np.linspace(0, len(walks) - 1, HISTOGRAM_WALKS).astype(int))
        codes = model.eval().autoencoder.encode(opening_windows(walks, some, model.window).to(next(model.parameters())))
        for name in ("motion", "body", "view"):
            self.writer.add_histogram(f"codes/{name}", getattr(codes, name).float(), row["iteration"])

    def pictures(self, figures: dict, iteration: int) -> None:
        for name, figure in figures.items():
            self.writer.add_figure(name, figure, iteration)
