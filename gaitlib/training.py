"""The training loop: batches by index, losses by configuration, the checkpoint chosen on held-out training people."""

import ctypes
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from gaitlib import InputError
from gaitlib.config import Augmentation, Config
from gaitlib.data.preprocess import NormalizedWalks, cut_windows, mirror, normalize, window_grid
from gaitlib.data.protocol import Roles, Split
from gaitlib.data.sampling import BatchSampler
from gaitlib.evaluation.embedding import embed_walks
from gaitlib.evaluation.ranking import rank_matrix
from gaitlib.model.checkpoint import STATE, WEIGHTS, load_state, save_state, save_weights
from gaitlib.model.discriminants import window_statistics
from gaitlib.model.objective import loss_terms
from gaitlib.model.recognizer import GaitModel
from gaitlib.skeleton import NUM_JOINTS

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


def disturb(x: Tensor, settings: Augmentation, generator: torch.Generator) -> Tensor:
    """Noise and frozen joints, for every window [B, 30, T] by itself."""
    if settings.joint_dropout:
        frozen = torch.rand(len(x), NUM_JOINTS, 1, generator=generator) < settings.joint_dropout
        x = torch.where(frozen.repeat_interleave(2, 1).to(x.device), x.mean(2, keepdim=True), x)
    if settings.noise:
        x = x + settings.noise * torch.randn(x.shape, generator=generator).to(x.device)
    return x


@torch.no_grad()
def fit_discriminants(model: GaitModel, walks: NormalizedWalks, subject: np.ndarray) -> None:
    """Fit the model's discriminants, where it has them, on windows of the training walks; subject: int64 [N], 0..people-1."""
    if not model.discriminants:
        return
    walk, offset = window_grid(walks.length, model.window, model.window // 4)
    thinned = slice(None, None, -(-len(walk) // MOST_WINDOWS))
    walk, offset = walk[thinned], torch.from_numpy(offset[thinned])
    frames = torch.from_numpy(walks.frames)
    start, length = torch.tensor(walks.start[walk]), torch.tensor(walks.length[walk])
    statistics = [
        window_statistics(cut_windows(frames, start[rows], length[rows], offset[rows], model.window))
        for rows in torch.arange(len(walk)).split(1024)
    ]
    model.discriminants.fit(torch.cat(statistics), subject[walk])


def validation_rank1(model: GaitModel, walks: NormalizedWalks, roles: Roles, device) -> float:
    """Cross-view rank-1 on the held-out training people, the mean over the probe sets, one pass of each walk."""
    embeddings = embed_walks(model, walks, stride=model.window, mirrored=False, device=device)
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


def train(
    config: Config,
    split: Split,
    folder: str | Path,
    *,
    on_progress: Callable[[pd.DataFrame], None] | None = None,
    facts: dict | None = None,
) -> pd.DataFrame:
    """Train and leave model.safetensors (the best on the validation people), state.pt, history.csv and logs/ in `folder`.

    A state.pt that is already there is continued; the result is then the same as without the interruption.
    on_progress: called with the history so far after each look at the validation people.
    facts: plain values that are saved with the weights.
    Returns the history: iteration, learning_rate, each loss term, loss, validation_rank1.
    Raises InputError where training became unstable (a loss is not finite).
    """
    from torch.utils.tensorboard import SummaryWriter

    keep_freed_memory()
    folder = Path(folder)
    t = config.training
    precision = t.precision
    if precision == "auto":
        precision = "bf16-mixed" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "32-true"
    fabric = Fabric(accelerator="auto", devices=1, precision=precision)
    torch.manual_seed(config.seed)
    train_walks, validation_walks = normalize(split.train), normalize(split.validation.walks)
    sampler = BatchSampler(
        split.train.index, train_walks.length, window=config.model.window, people=t.people,
        walks_per_person=t.walks_per_person, seed=config.seed, mirror=config.augmentation.mirror, partners=t.partners,
    )  # fmt: skip
    model = GaitModel(people=len(sampler.names), **config.model.model_dump())
    if not (folder / STATE).exists():
        fit_discriminants(model, train_walks, sampler.subject)
    model.to(fabric.device)  # where a state is loaded to
    optimizers = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    optimizer = optimizers[t.optimizer](
        model.parameters(), lr=t.learning_rate, betas=t.betas, weight_decay=t.weight_decay, fused=True
    )
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(t.average), use_buffers=True) if t.average else None

    first, history, best, spent = 0, [], -1.0, 0.0
    if (folder / STATE).exists():
        state = load_state(folder / STATE)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        if averaged:
            averaged.load_state_dict(state["averaged"])
        torch.set_rng_state(state["random"])
        first, history, best, spent = (state[k] for k in ("iteration", "history", "best", "seconds"))
    wrapped, optimizer = fabric.setup(model, optimizer)
    wrapped.mark_forward_method("embed")
    device = fabric.device

    frames = torch.from_numpy(train_walks.frames).to(device)
    start, length = (torch.tensor(a, device=device) for a in (train_walks.start, train_walks.length))
    decoded = max(1, round(t.exchange_share * sampler.people * t.walks_per_person))
    writer = SummaryWriter(str(folder / "logs"), purge_step=first)
    sums: dict[str, Tensor] = {}
    since, began = 0, time.monotonic() - spent
    bar = tqdm(total=t.iterations, initial=first, unit="step", disable=not sys.stderr.isatty())

    def save(iteration: int) -> None:
        state = {
            "model": model.state_dict(), "optimizer": optimizer.state_dict(), "iteration": iteration, "history": history,
            "best": best, "seconds": time.monotonic() - began, "random": torch.get_rng_state(),
            "averaged": averaged.state_dict() if averaged else {},
        }  # fmt: skip
        save_state(folder / STATE, state)

    try:
        for iteration in range(first, t.iterations):
            batch = sampler.batch(iteration)
            walk = torch.as_tensor(batch.walk, device=device)
            offset = torch.as_tensor(batch.offset, device=device)
            x = cut_windows(frames, start[walk], length[walk], offset, config.model.window)
            x = torch.where((walk < 0)[:, None, None], 0, x)
            generator = torch.Generator().manual_seed(hash((config.seed, iteration)) % 2**63)
            mirrored = torch.as_tensor(batch.mirrored, device=device).repeat(len(walk) // len(batch.mirrored))[:, None, None]
            target = torch.where(mirrored, mirror(x), x)
            x = disturb(target, config.augmentation, generator)
            for group in optimizer.param_groups:
                group["lr"] = t.learning_rate * learning_rate_factor(iteration, config)
            wrapped.train(not (t.stay_in_eval and iteration >= t.validate_every))
            with fabric.autocast():
                parts = loss_terms(model, x, target, batch, config.losses, decoded)
                loss = sum(getattr(config.losses, name) * part for name, part in parts.items())
            optimizer.zero_grad()
            fabric.backward(loss)
            if t.gradient_clip:
                torch.nn.utils.clip_grad_norm_(model.parameters(), t.gradient_clip)
            optimizer.step()
            if averaged:
                averaged.update_parameters(model)
            for name, part in {**parts, "loss": loss}.items():
                sums[name] = sums.get(name, 0) + part.detach()
            since += 1
            bar.update()

            done = iteration + 1
            if done % t.validate_every and done < t.iterations:
                continue
            row = {"iteration": done, "learning_rate": optimizer.param_groups[0]["lr"]}
            row |= {name: float(total) / since for name, total in sums.items()}
            if not np.isfinite(row["loss"]):
                raise InputError(
                    f"Training became unstable before iteration {done}: the loss is {row['loss']}; lower training.learning_rate."
                )
            kept = averaged.module if averaged else model
            row["validation_rank1"] = validation_rank1(kept, validation_walks, split.validation, device)
            history.append(row)
            sums, since = {}, 0
            for name, value in row.items():
                writer.add_scalar(name, value, done)
            if row["validation_rank1"] >= best:  # of equals, the one that has seen more
                best = row["validation_rank1"]
                save_weights(folder / WEIGHTS, model, kept.state_dict(), **(facts or {}), iteration=done)
            save(done)
            table = pd.DataFrame(history)
            table.to_csv(folder / "history.csv", index=False)
            left = (time.monotonic() - began) / done * (t.iterations - done)
            bar.write(
                f"iteration {done}/{t.iterations}  loss {row['loss']:.3f}  validation rank-1 {row['validation_rank1']:.1%}"
                f"  about {left / 60:.1f} min left", file=sys.stdout,
            )  # fmt: skip
            sys.stdout.flush()
            if on_progress:
                on_progress(table)
    finally:
        writer.close()
        bar.close()
    return pd.DataFrame(history)
