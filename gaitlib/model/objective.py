"""What training minimizes: every loss of a batch, each window encoded once."""

import torch
from torch import Tensor
from torch.nn import functional as F

from gaitlib.config import Losses
from gaitlib.data.sampling import Batch
from gaitlib.model import losses as terms
from gaitlib.model.recognizer import GaitModel


def loss_terms(model: GaitModel, x: Tensor, target: Tensor, batch: Batch, weights: Losses, decoded: int) -> dict[str, Tensor]:
    """Every loss whose weight is not 0, not yet weighted.

    x: float32 [2B, 30, T], anchors then partners, as the encoders see them; target: the same before noise, what the decoder is
    to give; decoded: how many anchors (the first ones) the decoder's terms use. x_i is itself an anchor of the batch, so each
    exchange between x and x_i is counted once, from the side of x.
    """
    device = x.device
    synchronous = torch.as_tensor(batch.synchronous, device=device)
    other = torch.as_tensor(batch.other_person, device=device)
    has_other = torch.as_tensor(batch.has_other_person, device=device)
    subject = torch.as_tensor(batch.subject, device=device)
    pairs = len(x) // 2
    codes, embedding, logits = model(x)
    a, v, i = codes.rows(slice(0, pairs)), codes.rows(slice(pairs, None)), codes.rows(other)
    error = _aligned if weights.reconstruction_error == "aligned" else _frame

    n = slice(0, decoded)
    result: dict[str, Tensor] = {}
    # what to decode: the row of its motion code (those of x, then those of x_v), body, view, what it is to be, where it counts
    asked: dict[str, tuple[Tensor, Tensor, Tensor, Tensor, Tensor]] = {}
    everyone = torch.ones(pairs, dtype=torch.bool, device=device)
    own = torch.arange(decoded, device=device)
    if weights.reconstruction:
        asked["reconstruction"] = (own, a.body[n], a.view[n], target[:pairs][n], everyone[n])
        asked["reconstruction_v"] = (own + decoded, v.body[n], v.view[n], target[pairs:][n], everyone[n])
    if weights.view_exchange or weights.cycle:
        asked["view_exchange"] = (own, a.body[n], v.view[n], target[pairs:][n], synchronous[n])
    if weights.view_swap:
        asked["view_swap"] = (own, a.body[n], i.view[n], target[:pairs][n], has_other[n])
    if asked:
        which, body, view, _, _ = (torch.cat(parts) for parts in zip(*asked.values(), strict=True))
        motion = torch.cat([a.motion[n], v.motion[n]])
        poses = model.autoencoder.decode(motion, body, view, which).split(decoded)
        for (name, (*_, goal, keep)), pose in zip(asked.items(), poses, strict=True):
            result[name] = error(pose, goal, keep)
            if name == "view_exchange" and weights.cycle:
                again = model.autoencoder.encode(pose)
                wanted = (a.motion[n], a.body[n], v.view[n])
                result["cycle"] = sum(F.mse_loss(got, want) for got, want in zip(again[:3], wanted, strict=True))
        if weights.reconstruction:
            result["reconstruction"] = (result["reconstruction"] + result.pop("reconstruction_v")) / 2

    if weights.invariance_motion:
        result["invariance_motion"] = terms.masked_mse(a.motion, v.motion, synchronous)
    if weights.invariance_body:
        result["invariance_body"] = F.mse_loss(a.body, v.body)
    if weights.invariance_view:
        result["invariance_view"] = terms.masked_mse(a.view, i.view, has_other)
    if weights.body_over_time:
        result["body_over_time"] = terms.change_over_time(codes.body_sequence)
    if weights.triplet:
        motion_a, motion_v, motion_i = (c.motion.amax(2)[has_other] for c in (a, v, i))
        body_a, body_v, body_i = (c.body[has_other] for c in (a, v, i))
        view_a, view_v, view_i = (c.view[has_other] for c in (a, v, i))
        result["triplet"] = (
            terms.triplet(body_a, body_v, body_i)
            + terms.triplet(view_a, view_i, view_v)
            + terms.triplet(motion_a, motion_v, motion_i)
        )
    if weights.identity:
        result["identity"] = F.cross_entropy(logits.float(), subject, label_smoothing=weights.label_smoothing)
    if weights.contrastive:
        result["contrastive"] = terms.supervised_contrastive(embedding.float(), subject, weights.temperature)
    return {name: term for name, term in result.items() if getattr(weights, name)}


def _frame(pose: Tensor, goal: Tensor, keep: Tensor) -> Tensor:
    return terms.masked_mse(pose, goal, keep)


def _aligned(pose: Tensor, goal: Tensor, keep: Tensor) -> Tensor:
    return (terms.aligned_error(pose, goal) * keep).sum() / keep.sum().clamp(min=1)
