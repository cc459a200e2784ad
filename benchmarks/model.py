"""Times of parts and of whole training steps, each compared with the plain way, as ratios measured side by side.

    python benchmarks/model.py [--gpu | --against CLONE]

Both sides are timed alternately, so that other work on the machine affects both; medians are reported. If there is a GPU, the
training speed of each arm on it follows, and the share of time in which it is busy; with --gpu only that. Takes four minutes
and 14 GB. With --against, it times the steps of `configs/beyond.yaml` here and in a clone of another commit instead; three
minutes.
"""

import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gaitlib.config import Config, Losses, load_config
from gaitlib.data.dataset import write_dataset
from gaitlib.data.protocol import Protocol, Split
from gaitlib.data.walkers import make_walkers
from gaitlib.model.autoencoder import CODE, Decoder, PaperAutoencoder, scramble
from gaitlib.model.losses import SHIFTS, aligned_error, cross_entropy
from gaitlib.model.objective import Windows, loss_terms
from gaitlib.model.recognizer import GaitModel
from gaitlib.training import keep_freed_memory, train

BATCH, FRAMES = 128, 64
PEOPLE = 74
TURN = 2.0
TURNS = 15
ARMS = {"as_released": "configs/as_released.yaml", "as_published": "configs/as_published.yaml", "beyond": "configs/default.yaml"}

#: Runs in a clone, possibly of an older commit: trains on the synthetic walkers for TURN seconds per line that it reads, and
#: answers with the median of these steps in ms. The first step of a turn and the first turn do not count.
TRAINING = f"""
import statistics, sys, time
from gaitlib.experiment import Experiment
from gaitlib.training import Watch

class Turns(Watch):
    times, ends = [], 0

    def step(self, *_):
        self.times.append(time.process_time())  # less sensitive to other work on the machine
        if time.perf_counter() > self.ends:
            steps = [1000 * (b - a) for a, b in zip(self.times, self.times[1:])]
            print("median", statistics.median(steps[1:]) if steps[1:] else 0, flush=True)
            sys.stdin.readline() or sys.exit()
            self.times[:], self.ends = [], time.perf_counter() + {TURN}

Experiment.open("configs/beyond.yaml", sys.argv[2], cache=sys.argv[1]).trained(Turns())
"""


def plain_decoder(decoder: Decoder, motion: Tensor, body: Tensor, view: Tensor) -> Tensor:
    """Codes repeated over time, and the module list as published."""
    still = [code[:, :, None].expand(-1, -1, motion.shape[2]) for code in (body, view)]
    y = torch.cat([motion, *still], 1)
    for layer in decoder.model:
        y = F.dropout(y, layer.p, layer.training) if isinstance(layer, nn.Dropout) else layer(y)
    return y.unflatten(1, (15, 3))[:, :, :2].flatten(1, 2)


def plain_aligned_error(prediction: Tensor, target: Tensor) -> Tensor:
    """Sixty shifts one after another, with the gradient through all of them; [B]."""
    return sixty_errors(prediction, target).amin(1)


def sixty_errors(prediction: Tensor, target: Tensor) -> Tensor:
    """[B, 60]"""
    frames, errors = prediction.shape[2], []
    for shift in range(SHIFTS):
        last = frames - 1 - shift
        for p, t in ((0, shift), (shift, 0)):
            difference = prediction[..., p : p + last] - target[..., t : t + last]
            errors.append(difference.square().mean((1, 2)) / (frames - shift))
    return torch.stack(errors, 1)


def plain_released_loss(network: PaperAutoencoder, poses: Tensor, w: Losses) -> Tensor:
    """The loss of the released autoencoder as described: each term encodes and decodes what it needs separately.

    poses: [3B, 30, T], x, x_v and x_i.
    """
    x, x_v, x_i = scramble(poses).chunk(3)

    def motion(y: Tensor) -> Tensor:
        return network.motion_encoder(y)

    def body(y: Tensor) -> Tensor:
        return network.body_encoder(y).amax(2)

    def view(y: Tensor) -> Tensor:
        return network.view_encoder(y).amax(2)

    def decode(of_motion: Tensor, of_body: Tensor, of_view: Tensor) -> Tensor:
        return plain_decoder(network.decoder, motion(of_motion), body(of_body), view(of_view))

    def error(pose: Tensor, goal: Tensor) -> Tensor:
        return sixty_errors(pose, goal).mean(0).min()

    def over_time(y: Tensor) -> Tensor:
        sequence = network.body_encoder(y)
        return F.cosine_similarity(sequence[..., :-1], sequence.roll(-2, 2)[..., :-1], dim=2).abs().mean()

    def triplet(a: Tensor, p: Tensor, n: Tensor) -> Tensor:
        return F.triplet_margin_loss(a, p, n)

    loss = w.reconstruction * (error(decode(x, x, x), x) + error(decode(x_v, x_v, x_v), x_v)) / 2
    loss = loss + w.view_swap * (error(decode(x, x, x_i), x) + error(decode(x_i, x_i, x), x_i)) / 2
    loss = loss + w.invariance_body * F.mse_loss(body(x), body(x_v))
    loss = loss + w.invariance_motion * F.mse_loss(motion(x), motion(x_v))
    loss = loss + w.invariance_view * F.mse_loss(view(x), view(x_i))
    loss = loss + w.body_over_time * (over_time(x) + over_time(x_v))
    loss = loss + w.triplet * (
        triplet(*(body(y)[..., None] for y in (x, x_v, x_i)))
        + triplet(*(view(y)[..., None] for y in (x, x_i, x_v)))
        + triplet(*(motion(y).amax(2) for y in (x, x_v, x_i)))
    )
    exchanged = decode(x, x, x_v)
    cycle = [
        F.mse_loss(body(exchanged), body(x)),
        F.mse_loss(motion(exchanged), motion(x)),
        F.mse_loss(view(exchanged), view(x_v)),
    ]
    sum(term.item() for term in cycle)  # logged
    return loss


def some_windows(config: Config, anchors: int, of: Callable[..., Tensor]) -> Windows:
    """The given number of anchors, of 16 people, all with partners; separate x_i if the arm has them. of: shape -> poses."""
    apart = config.training.partners == "fixed"
    anchor = torch.arange(anchors)
    subject, other = anchor % 16, anchor + 2 * anchors if apart else anchor.roll(1)
    x = of((3 if apart else 2) * anchors, 30, FRAMES)
    together, subject = torch.ones(anchors, dtype=torch.bool), subject if apart else subject.tile(2)
    return Windows(x, x, other, together, subject, torch.zeros(len(x)))


def whole_step(config: Config, anchors: int):
    """One optimizer step of an arm, everything from the windows to the new weights."""
    torch.manual_seed(0)
    model = GaitModel(people=PEOPLE, **config.model.model_dump())
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    windows = some_windows(config, anchors, torch.randn)

    def step() -> None:
        parts = loss_terms(model, windows, config.losses)
        loss = sum(getattr(config.losses, name) * part for name, part in parts.items())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def released_steps(config: Config):
    """(ours, plain, difference): a step of the released program here and as described, with the recognizer if it has one.

    As described, the recognizer encodes x once more and has a backward pass and an optimizer of its own.
    """
    torch.manual_seed(0)
    model, described = (GaitModel(people=PEOPLE, **config.model.model_dump()) for _ in range(2))
    described.load_state_dict(model.state_dict())
    w = config.losses
    windows = some_windows(config, BATCH, lambda *shape: torch.randn(shape).cumsum(2) / 8)
    x, subject = windows.x, windows.subject

    def our_loss() -> Tensor:
        parts = loss_terms(model, windows, w)
        return sum(getattr(w, name) * part for name, part in parts.items())

    def autoencoder_loss() -> Tensor:
        return plain_released_loss(described.autoencoder, x, w)

    def recognizer_loss() -> Tensor:
        with torch.no_grad():
            codes = described.autoencoder.encode(x[:BATCH])
        embedding, logits = described.recognizer(scramble(x[:BATCH]), codes)
        loss = w.identity * cross_entropy(logits, subject, w.label_smoothing, w.smoothing_over)
        return loss + w.center * described.recognizer.center_loss(embedding, subject)

    def step(loss, network: nn.Module, **options):
        optimizer = torch.optim.Adam(network.parameters(), lr=0.0, **options)

        def run() -> None:
            optimizer.zero_grad()
            loss().backward()
            optimizer.step()

        return run

    parts = [(autoencoder_loss, described.autoencoder)]
    if w.identity:
        parts.append((recognizer_loss, described.recognizer))
    steps = [step(loss, network) for loss, network in parts]

    def plain() -> None:
        for one in steps:
            one()

    for network in (model, described):
        network.eval()  # no dropout, to compare
    with torch.no_grad():
        difference = (our_loss() / sum(loss() for loss, _ in parts) - 1).abs().item()
    for network in (model, described):
        network.train()
    return step(our_loss, model, fused=True), plain, difference


def there_and_back(function, *inputs: Tensor):
    """Forward and backward, to the inputs and the parameters."""

    def step() -> None:
        function(*inputs).sum().backward()

    return step


def medians(*functions, repeats: int) -> list[float]:
    """Milliseconds of each, timed alternately after a warm-up, in each turn as often as TURN seconds allow, at least once."""
    times = [[] for _ in functions]
    for turn in range(1 + repeats):
        for function, kept in zip(functions, times, strict=True):
            ends = time.perf_counter() + TURN
            while time.perf_counter() < ends:
                began = time.perf_counter()
                function()
                kept.append(1000 * (time.perf_counter() - began))
            if not turn:
                kept.clear()
    return [statistics.median(kept) for kept in times]


def parts() -> None:
    """The decoder, the aligned error, and a step of the autoencoder with both."""
    torch.manual_seed(0)
    decoder = Decoder()
    codes = [
        torch.randn(BATCH, CODE, FRAMES, requires_grad=True),
        *(torch.randn(BATCH, CODE, requires_grad=True) for _ in range(2)),
    ]
    pose, goal = torch.randn(BATCH, 30, FRAMES, requires_grad=True), torch.randn(BATCH, 30, FRAMES)
    with torch.no_grad():
        quiet = decoder.eval()
        wrong = (quiet(*codes) - plain_decoder(quiet, *codes)).abs().max().item()
        late = (aligned_error(pose, goal) - plain_aligned_error(pose, goal)).abs().max().item()
    decoder.train()

    def decode_plainly(*inputs: Tensor) -> Tensor:
        return plain_decoder(decoder, *inputs)

    ours, plain, off = released_steps(
        load_config(ARMS["as_released"], ["losses.identity=0", "losses.center=0", "model.recognizer_width=1"])
    )
    rows = [
        ("decoder", there_and_back(decoder, *codes), there_and_back(decode_plainly, *codes), wrong, 9),
        ("aligned error", there_and_back(aligned_error, pose, goal), there_and_back(plain_aligned_error, pose, goal), late, 9),
        ("as_released, autoencoder step", ours, plain, off, 3),
    ]
    print(f"batch {BATCH}, {FRAMES} frames, forward and backward, {torch.get_num_threads()} threads, medians")
    print(f"{'':30}{'plain':>11}{'ours':>11}{'ratio':>8}{'difference':>12}")
    for name, ours, plain, difference, repeats in rows:
        mine, theirs = medians(ours, plain, repeats=repeats)
        print(f"{name:30}{theirs:8.1f} ms{mine:8.1f} ms{theirs / mine:7.1f}x{difference:12.1e}", flush=True)


def whole_steps() -> None:
    """A step of `beyond`, with its own batch and with that of `as_released`, compared with `as_released` at full width."""
    config = load_config(ARMS["beyond"])
    own = config.training.people * config.training.walks_per_person
    ours, plain, off = released_steps(load_config(ARMS["as_released"]))
    theirs, here, *mine = medians(plain, ours, whole_step(config, own), whole_step(config, BATCH), repeats=5)
    print(f"\nwhole steps, {PEOPLE} people, median of 5")
    print(f"{'':40}{'a step':>11}{'plain is':>15}{'as_released is':>18}")
    print(f"{f'as_released as described, {BATCH} anchors':40}{theirs:8.0f} ms")
    print(f"{f'as_released here, {BATCH} anchors':40}{here:8.0f} ms{theirs / here:13.1f} x   (difference {off:.1e})")
    for name, time_taken in ((f"beyond, its own {own} anchors", mine[0]), (f"beyond, {BATCH} anchors", mine[1])):
        print(f"{name:40}{time_taken:8.0f} ms{theirs / time_taken:13.1f} x{here / time_taken:16.1f} x")


def against(clone: Path) -> None:
    """CPU time of a training step of `beyond`, own batch, one thread, here and in a clone of another commit."""
    here = Path(__file__).resolve().parents[1]
    with tempfile.TemporaryDirectory() as cache:
        trainings = [Training(here, f"{cache}/here", "walkers.more=0"), Training(clone.resolve(), f"{cache}/there")]
        turns = [[training.turn() for training in trainings] for _ in range(1 + TURNS)][1:]
        for training in trainings:
            training.end()
    ours, theirs = (statistics.median(times) for times in zip(*turns, strict=True))
    ratios = sorted(a / b for a, b in turns)
    print(f"a step of beyond, its own batch, CPU time of one thread, medians of {TURNS} turns")
    print(f"here {ours:.1f} ms, there {theirs:.1f} ms: {statistics.median(ratios):.2f} x ({ratios[0]:.2f} to {ratios[-1]:.2f})")


class Training:
    """The program TRAINING in a clone; it pauses between its turns."""

    def __init__(self, folder: Path, cache: str, settings: str = ""):
        settings += " training.iterations=100000 training.validate_every=100000"
        self.process = subprocess.Popen(
            [sys.executable, "-c", TRAINING, cache, settings], cwd=folder, text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        self.answer()  # after the walkers are made and the first step is done

    def turn(self) -> float:
        """The median of the steps of a turn, in ms."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.answer()

    def answer(self) -> float:
        return next(float(line.split()[1]) for line in self.process.stdout if line.startswith("median"))

    def end(self) -> None:
        self.process.communicate()  # end of its input


def on_a_gpu() -> None:
    """Anchors a second of the training loop, including batches and windows, and the share of time in which the GPU is busy."""
    print(f"\n{torch.cuda.get_device_name()}, torch {torch.__version__}, training on the synthetic walkers")
    print(f"{'':42}{'a step':>11}{'anchors/s':>11}{'busy':>8}")
    with tempfile.TemporaryDirectory() as folder:
        walks = write_dataset(Path(folder) / "walkers", make_walkers(60, 0), name="walkers")
        split = replace(Protocol.load("configs/protocols/walkers.yaml"), validation=2).split(walks)
        for arm, people, walks_each, steps, recorded in (
            ("beyond", 32, 16, 80, ("true", "false")), ("beyond", 8, 2, 80, ("true", "false")),
            ("as_published", 32, 16, 16, ("true",)), ("as_released", 32, 16, 16, ("true",)),
        ):  # fmt: skip
            for precision in ("bf16-mixed", "32-true"):
                for graph in recorded:
                    settings = {
                        "training.people": people, "training.walks_per_person": walks_each, "training.cuda_graph": graph,
                        "training.iterations": steps, "training.validate_every": steps, "training.precision": precision,
                        "model.discriminants": 0,
                    }  # fmt: skip
                    config = load_config(ARMS[arm], [f"{key}={value}" for key, value in settings.items()])
                    seconds, busy = loop_on_a_gpu(config, split)
                    anchors = people * walks_each
                    name = f"{arm}, {precision}, batch {anchors}{'' if graph == 'true' else ', not recorded'}"
                    print(f"{name:42}{1000 * seconds:8.1f} ms{anchors / seconds:11.0f}{busy:8.0%}", flush=True)


def loop_on_a_gpu(config: Config, split: Split) -> tuple[float, float]:
    """(seconds per step, busy share) of the last three quarters of a training."""
    profiling = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA])
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()), profiling as profile:
        train(config, split, folder)
    kernels = [e for e in profile.events() if e.device_type == torch.autograd.DeviceType.CUDA]
    spans = sorted((e.time_range.start, e.time_range.end) for e in kernels)
    updates = sorted(e.time_range.end for e in kernels if "Adam" in e.name)
    each = len(updates) // config.training.iterations  # kernels of one update
    steps = config.training.iterations - config.training.iterations // 4
    began, ended = updates[-1 - steps * each], updates[-1]
    busy, until = 0.0, began
    for first, last in spans:
        first, last = max(first, until), min(last, ended)
        if last > first:
            busy, until = busy + last - first, last
    return (ended - began) / steps / 1e6, busy / (ended - began)


def main() -> None:
    if "--against" in sys.argv:
        against(Path(sys.argv[sys.argv.index("--against") + 1]))
        return
    keep_freed_memory()
    if "--gpu" not in sys.argv:
        parts()
        whole_steps()
    if torch.cuda.is_available():
        on_a_gpu()


if __name__ == "__main__":
    main()
