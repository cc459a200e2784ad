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
    cross_entropy,
    masked_mean,
    sameness_over_time,
    scalar_triplet,
    squared_error,
    supervised_contrastive,
    triplet,
)
from gaitlib.model.recognizer import CenterLoss


def double(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def assert_same_with_gradients(ours, wanted, inputs):
    torch.testing.assert_close(ours, wanted, rtol=0, atol=1e-9)
    towards = double(*ours.shape, seed=9)
    for got, want in zip(*(torch.autograd.grad(y, inputs, towards) for y in (ours, wanted)), strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=1e-9)


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
    assert_same_with_gradients(ours, wanted, [prediction, target])


@pytest.mark.parametrize("together", [(True,) * 5, (True, False, True, True, False)])
def test_one_shift_for_all_is_that_of_the_mean_error(together):
    """The best of sixty means over the samples that choose; samples that do not are shifted alike."""
    walk = double(5, 30, 124).cumsum(2)
    prediction = torch.stack([w[:, 30 + s : 94 + s] for w, s in zip(walk, (3, 3, 3, -7, 12), strict=True)]).requires_grad_()
    target = walk[:, :, 30:94].clone()
    tables = []  # [60] numbers a sample
    for p, t in zip(prediction, target, strict=True):
        tables.append([])
        for shift in range(30):
            last = 63 - shift
            for a, b in ((p[:, :last], t[:, shift : shift + last]), (p[:, shift : shift + last], t[:, :last])):
                tables[-1].append(((a - b) ** 2).mean() / (64 - shift))
    means = [sum(tables[k][s].item() for k in range(5) if together[k]) for s in range(60)]
    wanted = torch.stack([table[int(np.argmin(means))] for table in tables])
    ours = aligned_error(prediction, target, torch.tensor(together))
    assert_same_with_gradients(ours, wanted, [prediction])
    assert (ours[:3] < 1e-12).all()  # three of five are late by the same time


def test_the_shift_is_chosen_in_32_bits_under_autocast():
    """A difference of large numbers that are nearly alike: in 16 bits any shift could win."""
    walk = 10 + double(4, 30, 80).cumsum(2).float() / 20
    prediction, target = walk[..., 8:72] + 0.001, walk[..., 5:69]
    wanted = aligned_error(prediction, target)
    torch.testing.assert_close(wanted, torch.full((4,), 1e-6 / 61), rtol=0.01, atol=0)  # three frames apart, 0.001 off
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(aligned_error(prediction, target), wanted)


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


def test_change_over_time_by_loops():
    codes = double(3, 5, 9).requires_grad_()
    cosines = [(c[:, t] @ c[:, t + 1]) / (c[:, t].norm() * c[:, t + 1].norm()) for c in codes for t in range(8)]
    assert_same_with_gradients(change_over_time(codes), 1 - sum(cosines) / 24, [codes])


def test_sameness_over_time_by_loops():
    """Frames 0..62 with those two later, the last with frame 0; along time; the released log falls as the code changes."""
    codes = double(2, 5, 64).requires_grad_()
    cosines = []
    for channel in codes.flatten(0, 1):
        pairs = [(channel[t], channel[t + 2] if t < 62 else channel[0]) for t in range(63)]
        product, one, two = (
            sum(a * b for a, b in rows) for rows in (pairs, [(a, a) for a, _ in pairs], [(b, b) for _, b in pairs])
        )
        cosines.append((product / (one * two).sqrt()).abs())
    assert_same_with_gradients(sameness_over_time(codes), sum(cosines) / 10, [codes])
    assert sameness_over_time(torch.ones(1, 3, 64)).item() == pytest.approx(1)
    quarter = torch.tensor([1.0, 0, 0, 0]).repeat(16).expand(1, 3, 64)  # a code that is elsewhere two frames later
    assert sameness_over_time(quarter).item() < 0.07


@pytest.mark.parametrize("samples", [1, 7, 30])
def test_triplets_by_loops(samples):
    codes = [double(samples, 6, seed=s).requires_grad_() for s in range(3)]
    whole, single = [], []
    for a, p, n in zip(*codes, strict=True):
        whole.append((((a - p) ** 2).sum().sqrt() - ((a - n) ** 2).sum().sqrt() + 1).clamp(min=0))
        single += [((a[k] - p[k]).abs() - (a[k] - n[k]).abs() + 1).clamp(min=0) for k in range(6)]
    keep = torch.arange(samples) % 3 != 1
    kept = int(keep.sum())
    whole = [term for term, counts in zip(whole, keep, strict=True) if counts]
    single = [term for k, term in enumerate(single) if keep[k // 6]]
    assert_same_with_gradients(triplet(*codes, keep), sum(whole) / kept, codes)
    assert_same_with_gradients(scalar_triplet(*codes, keep), sum(single) / (6 * kept), codes)


def test_triplets_of_nobody_and_of_equal_codes():
    equal = torch.ones(2, 4, requires_grad=True)
    for loss in (triplet, scalar_triplet):
        assert loss(equal, equal * 1, equal * 1, torch.zeros(2, dtype=torch.bool)).item() == 0
        value = loss(equal, equal * 1, equal * 1, torch.ones(2, dtype=torch.bool))
        assert value.item() == 1  # the margin
        (gradient,) = torch.autograd.grad(value, equal)
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("over", ["all", "others"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_cross_entropy_by_loops(over, smoothing):
    logits = double(5, 4).requires_grad_()
    subject = torch.tensor([0, 3, 1, 1, 2])
    rows = []
    for y, s in zip(logits, subject.tolist(), strict=True):
        share = torch.exp(y) / torch.exp(y).sum()
        for k in range(4):
            wanted = {"all": (1 - smoothing) * (k == s) + smoothing / 4, "others": 1 - smoothing if k == s else smoothing / 3}[
                over
            ]
            rows.append(-wanted * torch.log(share[k]))
    assert_same_with_gradients(cross_entropy(logits, subject, smoothing, over), sum(rows) / 5, [logits])


def test_center_loss_by_loops():
    loss = CenterLoss(3, 4).double()
    embedding = double(5, 4).requires_grad_()
    subject = torch.tensor([0, 2, 2, 0, 2])
    wanted = sum((e[k] - loss.centers[s][k]) ** 2 for e, s in zip(embedding, subject, strict=True) for k in range(4)) / 5
    ours = loss(embedding, subject)
    assert_same_with_gradients(ours, wanted, [embedding, loss.centers])
    (gradient,) = torch.autograd.grad(loss(embedding, subject), loss.centers)
    assert gradient.abs().sum(1).bool().tolist() == [True, False, True]  # nobody of number 1 is there


def test_triplet_by_hand():
    anchor = torch.zeros(3, 2)
    positive = torch.tensor([[3.0, 4.0], [0.0, 1.0], [0.0, 2.0]])
    negative = torch.tensor([[0.0, 4.0], [0.0, 5.0], [2.0, 0.0]])
    # 5 - 4 + 1 = 2; 1 - 5 + 1 < 0; 2 - 2 + 1 = 1
    everyone = torch.ones(3, dtype=torch.bool)
    assert triplet(anchor, positive, negative, everyone).item() == pytest.approx((2 + 0 + 1) / 3, abs=1e-4)


def test_the_mean_over_some_rows_ignores_the_others():
    a, b = double(3, 4, 5), double(3, 4, 5, seed=1)
    keep = torch.tensor([True, False, True])
    wanted = F.mse_loss(a[keep], b[keep])
    torch.testing.assert_close(masked_mean(squared_error(a, b), keep), wanted)
    moved = a.clone().requires_grad_()
    moved.data[1] += 100
    error = masked_mean(squared_error(moved, b), keep)
    torch.testing.assert_close(error, wanted)
    error.backward()
    assert moved.grad[1].abs().max() == 0
    assert moved.grad[0].abs().max() > 0
    assert masked_mean(squared_error(a, b), torch.zeros(3, dtype=torch.bool)).item() == 0


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
