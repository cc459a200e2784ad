"""Each loss against the slow loop that its definition is."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from gaitlib.model.losses import (
    aligned_error,
    change_over_time,
    masked_mse,
    supervised_contrastive,
    triplet,
)


def double(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def slow_aligned_error(prediction, target):
    """Shifts of 0..29 frames in both directions; the overlap without its last frame; divided by the frames of the overlap."""
    frames = prediction.shape[2]
    result = []
    for p, t in zip(prediction, target, strict=True):
        errors = []
        for shift in range(min(30, frames - 1)):
            last = frames - 1 - shift
            for a, b in ((p[:, :last], t[:, shift : shift + last]), (p[:, shift : shift + last], t[:, :last])):
                errors.append(((a - b) ** 2).mean() / (frames - shift))
        result.append(torch.stack(errors).min())
    return torch.stack(result)


@pytest.mark.parametrize("frames", [64, 40, 31, 30, 20, 16])
def test_aligned_error_is_the_best_of_sixty_shifts(frames):
    walk = double(6, 30, frames + 60).cumsum(2)  # smooth, so that the shift matters
    prediction = torch.stack([w[:, 30 + s : 30 + s + frames] for w, s in zip(walk, (0, 3, -7, 29, -29, 12), strict=True)])
    prediction = (prediction + 0.3 * double(6, 30, frames, seed=1)).requires_grad_()
    target = walk[:, :, 30 : 30 + frames].clone().requires_grad_()
    ours, wanted = aligned_error(prediction, target), slow_aligned_error(prediction, target)
    assert ours.shape == (6,)
    torch.testing.assert_close(ours, wanted, rtol=0, atol=1e-9)
    weight = torch.arange(1.0, 7.0, dtype=torch.float64)
    got = torch.autograd.grad(ours @ weight, [prediction, target])
    want = torch.autograd.grad(wanted @ weight, [prediction, target])
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-9)


@given(st.integers(-29, 29))
@settings(max_examples=20, deadline=None)
def test_a_shifted_copy_has_no_aligned_error(shift):
    walk = double(1, 30, 130)
    error = aligned_error(walk[:, :, 33 + shift : 97 + shift], walk[:, :, 33:97])
    assert error.item() == pytest.approx(0, abs=1e-12)


def test_a_copy_shifted_too_far_has_an_aligned_error():
    walk = double(1, 30, 130)
    assert aligned_error(walk[:, :, 64:128], walk[:, :, 33:97]).item() > 1e-3


def test_aligned_error_of_each_sample_is_its_own():
    walk = double(2, 30, 100)
    prediction = torch.stack([walk[0, :, 10:74], walk[1, :, 15:79]])
    target = torch.stack([walk[0, :, 15:79], walk[1, :, 10:74]])  # one early, one late
    torch.testing.assert_close(aligned_error(prediction, target), torch.zeros(2, dtype=torch.float64))


def test_change_over_time_by_hand():
    codes = torch.tensor([[[1.0, 1.0, 0.0, 0.0], [0.0, 1.0, 3.0, -1.0]]])  # (1,0) (1,1) (0,3) (0,-1)
    cosines = [2**-0.5, 2**-0.5, -1.0]
    assert change_over_time(codes).item() == pytest.approx(1 - np.mean(cosines), abs=1e-6)
    assert change_over_time(torch.randn(2, 128, 1).expand(-1, -1, 8)).item() == pytest.approx(0, abs=1e-6)


def test_triplet_by_hand():
    anchor = torch.zeros(3, 2)
    positive = torch.tensor([[3.0, 4.0], [0.0, 1.0], [0.0, 2.0]])
    negative = torch.tensor([[0.0, 4.0], [0.0, 5.0], [2.0, 0.0]])
    # 5 - 4 + 1 = 2; 1 - 5 + 1 < 0; 2 - 2 + 1 = 1
    assert triplet(anchor, positive, negative).item() == pytest.approx((2 + 0 + 1) / 3, abs=1e-4)


def test_masked_mse_ignores_the_other_rows():
    a, b = double(3, 4, 5), double(3, 4, 5, seed=1)
    keep = torch.tensor([True, False, True])
    wanted = F.mse_loss(a[keep], b[keep])
    torch.testing.assert_close(masked_mse(a, b, keep), wanted)
    moved = a.clone().requires_grad_()
    moved.data[1] += 100
    error = masked_mse(moved, b, keep)
    torch.testing.assert_close(error, wanted)
    error.backward()
    assert moved.grad[1].abs().max() == 0
    assert moved.grad[0].abs().max() > 0
    assert masked_mse(a, b, torch.zeros(3, dtype=torch.bool)).item() == 0


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_supervised_contrastive_is_equation_2_of_its_paper(temperature):
    embedding = double(9, 4).requires_grad_()
    subject = torch.tensor([0, 1, 0, 2, 1, 0, 2, 2, 1])
    z = embedding / embedding.norm(dim=1, keepdim=True)
    rows = []
    for i in range(9):
        others = [j for j in range(9) if j != i]
        denominator = sum(torch.exp(z[i] @ z[j] / temperature) for j in others)
        positives = [j for j in others if subject[j] == subject[i]]
        rows.append(-sum(torch.log(torch.exp(z[i] @ z[p] / temperature) / denominator) for p in positives) / len(positives))
    wanted = torch.stack(rows).mean()
    ours = supervised_contrastive(embedding, subject, temperature)
    torch.testing.assert_close(ours, wanted, rtol=0, atol=1e-9)
    got, want = (torch.autograd.grad(loss, embedding)[0] for loss in (ours, wanted))
    torch.testing.assert_close(got, want, rtol=0, atol=1e-9)
    torch.testing.assert_close(supervised_contrastive(7 * embedding, subject, temperature), wanted)
