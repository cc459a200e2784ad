"""Times of the decoder and of the aligned error, each against the plain way, as ratios measured side by side.

    python benchmarks/model.py

Both are timed in turns, so that what else the machine does meets both; the medians count.
"""

import statistics
import time

import torch
from torch import Tensor

from gaitlib.model.autoencoder import CODE, Decoder
from gaitlib.model.losses import SHIFTS, aligned_error
from gaitlib.training import keep_freed_memory

BATCH, FRAMES, REPEATS = 128, 64, 9


def plain_decoder(decoder: Decoder, motion: Tensor, body: Tensor, view: Tensor) -> Tensor:
    """The codes repeated over time and the module list as published."""
    still = [code[:, :, None].expand(-1, -1, motion.shape[2]) for code in (body, view)]
    y = decoder.model(torch.cat([motion, *still], 1))
    return y.unflatten(1, (15, 3))[:, :, :2].flatten(1, 2)


def plain_aligned_error(prediction: Tensor, target: Tensor) -> Tensor:
    """Sixty shifts one after the other, the gradient through all of them."""
    frames, errors = prediction.shape[2], []
    for shift in range(SHIFTS):
        last = frames - 1 - shift
        for p, t in ((0, shift), (shift, 0)):
            difference = prediction[..., p : p + last] - target[..., t : t + last]
            errors.append(difference.square().mean((1, 2)) / (frames - shift))
    return torch.stack(errors, 1).amin(1)


def there_and_back(function, *inputs: Tensor):
    """Forward and backward to the inputs and to the parameters."""

    def step() -> None:
        function(*inputs).sum().backward()

    return step


def medians(ours, plain) -> tuple[float, float]:
    """Milliseconds of each, timed in turns after a warm-up."""
    times = ([], [])
    for turn in range(REPEATS + 2):
        for function, kept in zip((ours, plain), times, strict=True):
            began = time.perf_counter()
            function()
            if turn > 1:
                kept.append(1000 * (time.perf_counter() - began))
    return statistics.median(times[0]), statistics.median(times[1])


def main() -> None:
    torch.manual_seed(0)
    keep_freed_memory()
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

    rows = [
        ("decoder", there_and_back(decoder, *codes), there_and_back(decode_plainly, *codes), wrong),
        (
            "aligned error",
            there_and_back(aligned_error, pose, goal),
            there_and_back(plain_aligned_error, pose, goal),
            late,
        ),
    ]
    print(f"batch {BATCH}, {FRAMES} frames, forward and backward, {torch.get_num_threads()} threads, median of {REPEATS}")
    print(f"{'':15}{'plain':>10}{'ours':>10}{'ratio':>8}{'largest difference':>21}")
    for name, ours, plain, difference in rows:
        mine, theirs = medians(ours, plain)
        print(f"{name:15}{theirs:7.1f} ms{mine:7.1f} ms{theirs / mine:7.1f}x{difference:21.1e}")


if __name__ == "__main__":
    main()
