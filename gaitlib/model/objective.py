"""What training minimizes: every loss of a batch, each window encoded once."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gaitlib.config import TERMS, Losses
from gaitlib.data.sampling import Batch
from gaitlib.model import losses as terms
from gaitlib.model.autoencoder import Autoencoder, Codes
from gaitlib.model.recognizer import GaitModel


def loss_terms(model: GaitModel, x: Tensor, target: Tensor, batch: Batch, weights: Losses, decoded: int) -> dict[str, Tensor]:
    """Every loss whose weight is not 0, not yet weighted; those that are only logged come without gradient.

    x: float32 [N, 30, T], the windows of the batch as the encoders see them; target: the same before noise, what the decoder is
    to give; decoded: how many anchors (the first ones) the decoder's terms use. Where x_i is itself an anchor of the batch, each
    exchange between x and x_i is counted once, from the side of x: its other side is that of another anchor.
    """
    codes = model.autoencoder.encode(x)
    pairs, named = len(batch.synchronous), slice(0, len(batch.subject))
    synchronous, other, subject = (
        torch.as_tensor(rows, device=x.device) for rows in (batch.synchronous, batch.other_person, batch.subject)
    )
    has_other = other != torch.arange(pairs, device=x.device)
    triple = _Triple(
        a=codes.rows(slice(0, pairs)),
        v=codes.rows(slice(pairs, 2 * pairs)),
        i=codes.rows(other),
        together=torch.ones_like(synchronous) if weights.frame_by_frame == "all" else synchronous,
        has_other=has_other,
    )

    def terms_of(wanted: set[str]) -> dict[str, Tensor]:
        result = _decoded_terms(model.autoencoder, triple, target, weights, decoded, wanted)
        result |= _code_terms(triple, weights, wanted)
        if wanted & {"identity", "center", "contrastive"}:
            embedding, logits = model.recognize(x[named], codes.rows(named))
            result |= _identity_terms(model, embedding, logits, subject, weights, wanted)
        return result

    weighted = {name for name in TERMS if getattr(weights, name)}
    result = terms_of(weighted)
    with torch.no_grad():
        return result | terms_of(set(weights.logged) - weighted)


class Objective(nn.Module):
    """The model with its losses as one module, which several processes can share: forward gives `loss_terms` of a shard.

    batch: a Batch as a dictionary, whose tensors can be converted on the way here.
    """

    def __init__(self, model: GaitModel, weights: Losses):
        super().__init__()
        self.model, self.weights = model, weights

    def forward(self, x: Tensor, target: Tensor, batch: dict[str, Tensor], decoded: int) -> dict[str, Tensor]:
        return loss_terms(self.model, x, target, Batch(**batch), self.weights, decoded)


class _Triple(NamedTuple):
    """The codes of x, x_v and x_i, and bool [B]: where x and x_v are compared frame by frame, where there is an x_i."""

    a: Codes
    v: Codes
    i: Codes
    together: Tensor
    has_other: Tensor


def _decoded_terms(
    autoencoder: Autoencoder, triple: _Triple, target: Tensor, weights: Losses, decoded: int, wanted: set[str]
) -> dict[str, Tensor]:
    """The terms on decoded poses, which are all decoded at once."""
    pairs, n = len(triple.together), slice(0, decoded)
    a, v, i = (codes.rows(n) for codes in triple[:3])
    together, has_other = triple.together[n], triple.has_other[n]
    everyone = torch.ones_like(together)
    x, x_v, x_i = target[n], target[pairs:][n], target[2 * pairs :][n]  # the last one is empty where x_i is an anchor
    own = torch.arange(decoded, device=target.device)
    # what to decode: the row of its motion code (those of x, x_v, x_i), body, view, what it is to be, where it counts
    asked: dict[str, tuple[Tensor, Tensor, Tensor, Tensor, Tensor]] = {}
    if "reconstruction" in wanted:
        asked["reconstruction"] = (own, a.body, a.view, x, everyone)
        asked["reconstruction_v"] = (own + decoded, v.body, v.view, x_v, everyone)
    if wanted & {"view_exchange", "cycle"}:
        asked["view_exchange"] = (own, a.body, v.view, x_v, together)
    if "view_swap" in wanted:
        asked["view_swap"] = (own, a.body, i.view, x, has_other)
        if len(x_i):
            asked["view_swap_i"] = (own + 2 * decoded, i.body, a.view, x_i, has_other)
    if not asked:
        return {}

    def error(pose: Tensor, goal: Tensor, keep: Tensor) -> Tensor:
        if weights.reconstruction_error == "frame":
            return terms.masked_mse(pose, goal, keep)
        pose, goal = autoencoder.arrange(pose), autoencoder.arrange(goal)
        return terms.masked_mean(terms.aligned_error(pose, goal, keep if weights.time_shift == "batch" else None), keep)

    which, body, view, _, _ = (torch.cat(parts) for parts in zip(*asked.values(), strict=True))
    sides = 3 if "view_swap_i" in asked else 2 if "reconstruction" in asked else 1
    motion = torch.cat([a.motion, v.motion, i.motion][:sides])
    poses = dict(zip(asked, autoencoder.decode(motion, body, view, which).split(decoded), strict=True))
    counted = {name: ask for name, ask in asked.items() if name != "view_exchange" or name in wanted}
    result = {name: error(poses[name], goal, keep) for name, (*_, goal, keep) in counted.items()}
    for name, side in (("reconstruction", "reconstruction_v"), ("view_swap", "view_swap_i")):
        if side in result:
            result[name] = (result[name] + result.pop(side)) / 2
    if "cycle" in wanted:
        again = autoencoder.encode(poses["view_exchange"])
        goals = (a.motion, a.body, v.view)
        result["cycle"] = sum(terms.masked_mse(got, goal, together) for got, goal in zip(again[:3], goals, strict=True))
    return result


def _code_terms(triple: _Triple, weights: Losses, wanted: set[str]) -> dict[str, Tensor]:
    """The terms on the codes themselves."""
    a, v, i, together, has_other = triple
    result: dict[str, Tensor] = {}
    if "invariance_motion" in wanted:
        result["invariance_motion"] = terms.masked_mse(a.motion, v.motion, together)
    if "invariance_body" in wanted:
        result["invariance_body"] = F.mse_loss(a.body, v.body)
    if "invariance_view" in wanted:
        result["invariance_view"] = terms.masked_mse(a.view, i.view, has_other)
    if "body_over_time" in wanted:
        measure = terms.change_over_time if weights.body_over_time_rewards == "constancy" else terms.sameness_over_time
        result["body_over_time"] = measure(a.body_sequence) + measure(v.body_sequence)
    if "triplet" in wanted:
        static = terms.triplet if weights.triplet_distance == "code" else terms.scalar_triplet
        result["triplet"] = (
            static(a.body, v.body, i.body, has_other)
            + static(a.view, i.view, v.view, has_other)
            + terms.triplet(*(codes.motion.amax(2) for codes in (a, v, i)), has_other)
        )
    return result


def _identity_terms(
    model: GaitModel, embedding: Tensor, logits: Tensor, subject: Tensor, weights: Losses, wanted: set[str]
) -> dict[str, Tensor]:
    """The terms on who walks; embedding [N, E], logits [N, people], subject int64 [N]."""
    embedding, logits = (y.to(torch.promote_types(y.dtype, torch.float32)) for y in (embedding, logits))
    result: dict[str, Tensor] = {}
    if "identity" in wanted:
        result["identity"] = terms.cross_entropy(logits, subject, weights.label_smoothing, weights.smoothing_over)
    if "center" in wanted:
        result["center"] = model.recognizer.center_loss(embedding, subject)
    if "contrastive" in wanted:
        result["contrastive"] = terms.supervised_contrastive(embedding, subject, weights.temperature)
    return result
