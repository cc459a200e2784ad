"""The losses, each a function of tensors; names in brackets are those of the IJCB 2021 paper."""

import torch
from torch import Tensor, distributed
from torch.nn import functional as F

#: The aligned error tries shifts of 0..29 frames in both directions.
SHIFTS = 30


def aligned_error(prediction: Tensor, target: Tensor, together: Tensor | None = None) -> Tensor:
    """[reconstruction] The smallest error over time shifts, for each sample.

    prediction, target: [B, 30, T]. For a shift of s frames in either direction the overlap, without its last frame, has
    n = T - 1 - s frames; its mean squared error is divided by T - s, and the smallest over all shifts counts.
    together: None, each sample has its own shift; bool [B], as released, the mean error of these samples chooses one for all.
    Returns [B]. The best shift is found without gradient from one batched product of all frames with all frames; the error and
    its gradient are then computed only at that shift.
    """
    rows, frames = target.shape[1:]
    with torch.no_grad(), torch.autocast(target.device.type, enabled=False):  # differences of similar numbers need 32 bits
        # the overlap without its last frame is the whole overlap of the sequences without their last frames
        p, t, n = prediction[..., :-1].flip(2).to(target.dtype), target[..., :-1], frames - 1
        distance = p.square().sum(1)[:, :, None] + t.square().sum(1)[:, None, :] - 2 * p.transpose(1, 2) @ t  # [B, n, n]
        # each row is shifted by one to the right of the row above, so that frames that meet at shift s are in column n - 1 + s
        skewed = F.pad(distance, (0, n)).flatten(1)[:, :-n].unflatten(1, (n, 2 * n - 1))
        most = min(SHIFTS, n)  # the overlap has at least one frame
        shifts = torch.arange(1 - most, most, device=target.device)
        errors = skewed.sum(1)[:, n - most : n - 1 + most] / (rows * (n - shifts.abs()) * (frames - shifts.abs()))
        if together is not None:
            errors = total((errors * together[:, None]).sum(0)).expand_as(errors)
        best = shifts[errors.argmin(1)]
    count = frames - 1 - best.abs()
    step = torch.arange(frames, device=best.device)
    inside = (step < count[:, None])[:, None]
    p = prediction.gather(2, _rows(step, -best.clamp(max=0), prediction))
    t = target.gather(2, _rows(step, best.clamp(min=0), target))
    error = torch.where(inside, (p - t).square(), 0).sum((1, 2))
    return error / (rows * count * (frames - best.abs()))


def _rows(step: Tensor, first: Tensor, like: Tensor) -> Tensor:
    """Frame numbers first + step, kept inside the sequence, expanded to the shape of `like` for gather."""
    return (first[:, None] + step).clamp(max=like.shape[2] - 1)[:, None].expand_as(like)


def change_over_time(body_sequence: Tensor) -> Tensor:
    """[body over time] One minus the mean cosine between the body codes of consecutive frames: 0 if the code is constant.

    body_sequence: [B, 128, T] -> scalar.
    """
    return 1 - F.cosine_similarity(body_sequence[..., :-1], body_sequence[..., 1:], dim=1).mean()


def sameness_over_time(body_sequence: Tensor) -> Tensor:
    """[body over time, as released] The mean |cosine| between the body code and itself two frames later.

    Small if the code changes, contrary to the paper's intention; the cosine is taken along time for each channel, over all frames
    but the last; the last pair wraps around to frame 0. body_sequence: [B, 128, T] -> scalar.
    """
    later = body_sequence.roll(-2, 2)
    return F.cosine_similarity(body_sequence[..., :-1], later[..., :-1], dim=2).abs().mean()


def triplet(anchor: Tensor, positive: Tensor, negative: Tensor, keep: Tensor) -> Tensor:
    """[triplet] Margin 1, Euclidean, codes [..., B, 128] not normalized, over the rows where `keep` (bool [B]) holds -> [...]."""
    return masked_mean(F.triplet_margin_loss(anchor, positive, negative, margin=1.0, eps=0.0, reduction="none"), keep)


def scalar_triplet(anchor: Tensor, positive: Tensor, negative: Tensor, keep: Tensor) -> Tensor:
    """[triplet, as released] Each number of a code [..., B, 128] is its own triplet -> [...]."""
    return masked_mean(F.relu((anchor - positive).abs() - (anchor - negative).abs() + 1).mean(-1), keep)


def squared_error(a: Tensor, b: Tensor) -> Tensor:
    """The mean squared difference of each row; a, b: [B, ...] -> [B]."""
    return F.mse_loss(a, b, reduction="none").flatten(1).mean(1)


def relative_error(a: Tensor, b: Tensor) -> Tensor:
    """The squared error over that of two random rows, so that codes cannot get closer by shrinking.

    a, b: [B, ...] -> [B]; a mean of 1 means that a and b are no more alike than random rows.
    """
    count = 2 * len(a) * processes()
    mean = summed(a.sum(0) + b.sum(0)) / count
    square = summed((a - mean).square().sum() + (b - mean).square().sum())
    return squared_error(a, b) / (2 * square / (count * mean.numel())).clamp(min=1e-6)


def joint_distance(a: Tensor, b: Tensor) -> Tensor:
    """The mean distance between the joints of two poses [B, 30, T] -> [B]; smooth at 0."""
    return (a - b).unflatten(1, (-1, 2)).square().sum(2).add(1e-5).sqrt().mean((1, 2))


def angle_error(direction: Tensor, angle: Tensor) -> Tensor:
    """[camera] One minus the cosine between unit vectors [N, 2] and angles [N] in radians, over known angles -> scalar."""
    known = angle.isfinite()
    angle = torch.where(known, angle, 0)
    return masked_mean(1 - direction[:, 0] * angle.cos() - direction[:, 1] * angle.sin(), known)


def masked_mean(error: Tensor, keep: Tensor) -> Tensor:
    """Mean of the numbers [..., B] where `keep` (bool [..., B]) holds; 0 if it holds nowhere -> [...].

    If several processes share a batch, the average of their results is the mean over the whole batch.
    """
    mean = (error * keep).sum(-1) / total(keep.sum(-1)).clamp(min=1)
    return mean if processes() == 1 else processes() * mean


def cross_entropy(logits: Tensor, subject: Tensor, smoothing: float, over: str) -> Tensor:
    """[identity] Cross-entropy with smoothed labels; logits [N, K], subject int64 [N] -> scalar.

    over: who shares the smoothing s: "all" K people (as in torch) or the "others": 1 - s for the person and s / (K - 1) for
    each other, as released, which equals torch's with s K / (K - 1).
    """
    people = logits.shape[1]
    share = smoothing if over == "all" else smoothing * people / max(people - 1, 1)
    return F.cross_entropy(logits, subject, label_smoothing=share)


def supervised_contrastive(embedding: Tensor, subject: Tensor, temperature: float) -> Tensor:
    """Equation 2 of "Supervised contrastive learning" (Khosla et al., NeurIPS 2020); mean over the rows that have a positive.

    embedding [N, E] is normalized inside; subject int64 [N] -> scalar. Shapes do not depend on who is in the batch, so nothing
    waits for the GPU. If several processes share a batch, each compares the embeddings of all of them. Its gradient is that of
    its own rows, multiplied by the number of processes, because they average their gradients.
    """
    z, who = F.normalize(gathered(embedding)), gathered(subject)
    positive = (who[:, None] == who).fill_diagonal_(False)
    likeness = (z @ z.T / temperature).fill_diagonal_(float("-inf"))
    surprise = likeness.logsumexp(1, keepdim=True) - likeness
    count = positive.sum(1)
    loss = masked_mean(torch.where(positive, surprise, 0).sum(1) / count.clamp(min=1), count > 0)
    return loss if processes() == 1 else loss + (processes() - 1) * (loss - loss.detach())


# ------------------------------------------------------------------------------------------- several processes that share a batch


def processes() -> int:
    """The number of processes that train together."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def total(values: Tensor) -> Tensor:
    """The sum over all processes, without gradient."""
    if processes() == 1:
        return values
    values = values.detach().clone()
    distributed.all_reduce(values)
    return values


def summed(values: Tensor) -> Tensor:
    """The sum over all processes; its gradient reaches all of them."""
    if processes() == 1:
        return values
    from torch.distributed.nn.functional import all_reduce  # missing in some builds of torch

    return all_reduce(values)


def gathered(rows: Tensor) -> Tensor:
    """The rows [N, ...] of all processes, [processes * N, ...]; the gradient is that of this process's rows."""
    if processes() == 1:
        return rows
    everyone = [torch.empty_like(rows) for _ in range(processes())]
    distributed.all_gather(everyone, rows.detach().contiguous())
    everyone[distributed.get_rank()] = rows
    return torch.cat(everyone)
