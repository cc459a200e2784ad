"""The losses, each a function of tensors; METHOD names in brackets are those of the IJCB 2021 paper."""

import torch
from torch import Tensor
from torch.nn import functional as F

#: The aligned error tries shifts of 0..29 frames in both directions.
SHIFTS = 30


def aligned_error(prediction: Tensor, target: Tensor) -> Tensor:
    """[reconstruction] The smallest error over time shifts, for each sample.

    prediction, target: [B, 30, T]. For a shift of s frames in either direction the overlap, without its last frame, has
    n = T - 1 - s frames; its mean squared error is divided by T - s, and the smallest of all shifts counts.
    Returns [B]. The best shift is found without gradient from one batched product of all frames with all frames; the error and
    its gradient are then computed at that shift alone.
    """
    frames = target.shape[2]
    with torch.no_grad():
        p2, t2 = prediction.square().sum(1), target.square().sum(1)
        distance = p2[:, :, None] + t2[:, None, :] - 2 * prediction.transpose(1, 2) @ target  # [B, T (prediction), T (target)]
        most = min(SHIFTS, frames - 1)  # at least one frame of the overlap counts
        shifts = list(range(-most + 1, most))
        # a diagonal holds the overlap of one shift; its last frame is left out
        errors = torch.stack(
            [torch.diagonal(distance, s, 1, 2)[:, :-1].mean(1) / (prediction.shape[1] * (frames - abs(s))) for s in shifts],
            1,
        )
        best = torch.tensor(shifts, device=errors.device)[errors.argmin(1)]
    count = frames - 1 - best.abs()
    step = torch.arange(frames, device=best.device)
    inside = (step < count[:, None])[:, None]
    p = prediction.gather(2, _rows(step, -best.clamp(max=0), prediction))
    t = target.gather(2, _rows(step, best.clamp(min=0), target))
    error = torch.where(inside, (p - t).square(), 0).sum((1, 2))
    return error / (prediction.shape[1] * count * (frames - best.abs()))


def _rows(step: Tensor, first: Tensor, like: Tensor) -> Tensor:
    """Frame numbers first + step, kept inside the sequence, expanded to the shape of `like` for gather."""
    return (first[:, None] + step).clamp(max=like.shape[2] - 1)[:, None].expand_as(like)


def change_over_time(body_sequence: Tensor) -> Tensor:
    """[body over time] One minus the mean cosine between the body code of a frame and of the next: 0 where it is constant.

    body_sequence: [B, 128, T] -> scalar.
    """
    return 1 - F.cosine_similarity(body_sequence[..., :-1], body_sequence[..., 1:], dim=1).mean()


def triplet(anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """[triplet] Margin 1, Euclidean, codes [B, 128] not normalized -> scalar, 0 where there is none."""
    return F.triplet_margin_loss(anchor, positive, negative, margin=1.0, reduction="sum") / max(len(anchor), 1)


def masked_mse(a: Tensor, b: Tensor, keep: Tensor) -> Tensor:
    """Mean squared difference of the rows where `keep` (bool [B]) holds; 0 where none does. a, b: [B, ...] -> scalar."""
    error = (a - b).square().flatten(1).mean(1)
    return (error * keep).sum() / keep.sum().clamp(min=1)


def supervised_contrastive(embedding: Tensor, subject: Tensor, temperature: float) -> Tensor:
    """SupCon (Khosla et al., NeurIPS 2020) from pytorch-metric-learning; embedding [N, E] is normalized inside, subject [N]."""
    from pytorch_metric_learning.losses import SupConLoss

    return SupConLoss(temperature=temperature)(embedding, subject)
