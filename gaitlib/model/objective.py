"""What training minimizes: every loss of a batch, each window encoded once."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gaitlib.config import TERMS, Losses
from gaitlib.data.sampling import Batch
from gaitlib.model import losses as terms
from gaitlib.model.autoencoder import Autoencoder, Codes, constant
from gaitlib.model.recognizer import GaitModel


def loss_terms(
    model: GaitModel, x: Tensor, target: Tensor, batch: Batch, weights: Losses, anchors: int, frames: int
) -> dict[str, Tensor]:
    """Every loss whose weight is not 0, not yet weighted, in the order of TERMS; those that are only logged have no gradient.

    x: float32 [N, 30, T], the windows of the batch as the encoders see them; target: the same before noise, what the decoder is
    to give; anchors, frames: how many anchors (the first ones) the decoder's terms use, and how many frames of their windows.
    Where x_i is itself an anchor of the batch, each exchange between x and x_i is counted once, from the side of x: its other
    side is that of another anchor.
    """
    batch = Batch(**{name: torch.as_tensor(rows, device=x.device) for name, rows in vars(batch).items()})
    weighted, logged = term_names(weights)
    codes = model.autoencoder.encode(x, model.sees_sequences or "body_over_time" in {*weighted, *logged})
    triple = _Triple.of(codes, batch, weights)

    def terms_of(wanted: set[str]) -> dict[str, Tensor]:
        result = _decoded_terms(model.autoencoder, triple, target, weights, anchors, frames, wanted)
        result |= _code_terms(triple, weights, wanted)
        if wanted & {"identity", "center", "contrastive"}:
            named = codes if len(batch.subject) == len(x) else triple.a
            embedding, logits = model.recognize(x[: len(batch.subject)], named)
            result |= _identity_terms(model, embedding, logits, batch.subject, weights, wanted)
        return result

    result = terms_of(set(weighted))
    with torch.no_grad():
        result |= terms_of(set(logged))
    return {name: result[name] for name in TERMS if name in result}


def term_names(weights: Losses) -> tuple[list[str], list[str]]:
    """The terms that have a weight, and those that are only logged."""
    weighted = [name for name in TERMS if getattr(weights, name)]
    return weighted, [name for name in TERMS if name in weights.logged and name not in weighted]


class Objective(nn.Module):
    """The model with its losses as one module, which several processes can share.

    names: of the losses, the last one "loss", their weighted sum. forward: x, target, anchors and frames as in `loss_terms`,
    batch: a Batch as a dictionary, whose tensors can be converted on the way here -> [len(names)], of which only the last one
    has a gradient.
    """

    def __init__(self, model: GaitModel, weights: Losses):
        super().__init__()
        self.model, self.weights = model, weights
        terms = [name for name in TERMS if any(name in some for some in term_names(weights))]
        self.factors = tuple(float(getattr(weights, name)) for name in terms)
        self.names = [*terms, "loss"]

    def forward(self, x: Tensor, target: Tensor, batch: dict[str, Tensor], anchors: int, frames: int) -> Tensor:
        terms = loss_terms(self.model, x, target, Batch(**batch), self.weights, anchors, frames)
        values = torch.stack(list(terms.values()))
        loss = (values * constant(self.factors, values.device, values.dtype)).sum()
        return torch.cat([values.detach(), loss[None]])


class _Triple(NamedTuple):
    """The codes of x, x_v and x_i, and bool [B]: where x and x_v are compared frame by frame, where there is an x_i, and where
    the last frames are decoded."""

    a: Codes
    v: Codes
    i: Codes
    together: Tensor
    has_other: Tensor
    late: Tensor

    @classmethod
    def of(cls, codes: Codes, batch: Batch, weights: Losses) -> "_Triple":
        """batch: with tensors."""
        pairs = len(batch.synchronous)
        a, v = codes.halves(pairs)
        return cls(
            a=a,
            v=v,
            i=codes.rows(batch.other_person),
            together=torch.ones_like(batch.synchronous) if weights.frame_by_frame == "all" else batch.synchronous,
            has_other=batch.other_person != torch.arange(pairs, device=batch.other_person.device),
            late=batch.late,
        )


def _decoded_terms(
    autoencoder: Autoencoder, triple: _Triple, target: Tensor, weights: Losses, anchors: int, frames: int, wanted: set[str]
) -> dict[str, Tensor]:
    """The terms on decoded poses, which are all decoded at once."""
    pairs, n = len(triple.together), slice(0, anchors)
    a, v, i = (codes.rows(n) for codes in triple[:3])
    together, has_other = triple.together[n], triple.has_other[n]
    everyone = torch.ones_like(together)
    # what to decode: whose motion it has and whose pose it is to be (0: x, 1: x_v, 2: x_i), body, view, and where it counts
    asked: dict[str, tuple[int, int, Tensor, Tensor, Tensor]] = {}
    if "reconstruction" in wanted:
        asked["reconstruction"] = (0, 0, a.body, a.view, everyone)
        asked["reconstruction_v"] = (1, 1, v.body, v.view, everyone)
    if wanted & {"view_exchange", "cycle"}:
        asked["view_exchange"] = (0, 1, a.body, v.view, together)
    if "view_swap" in wanted:
        asked["view_swap"] = (0, 0, a.body, i.view, has_other)
        if len(target) > 2 * pairs:  # else x_i is itself an anchor
            asked["view_swap_i"] = (2, 2, i.body, a.view, has_other)
    if not asked:
        return {}

    def part(sides: Iterable[Tensor]) -> Tensor:
        """The frames to decode, of several [anchors, C, T]."""
        y = torch.cat(list(sides))
        if frames == y.shape[2]:
            return y
        first = (y.shape[2] - frames) * triple.late[n].repeat(len(y) // anchors)
        frame = first[:, None] + torch.arange(frames, device=y.device)
        return y.gather(2, frame[:, None].expand(-1, y.shape[1], -1))

    def rows(side: tuple[int, ...]) -> Tensor:
        first = constant(side, target.device) * anchors
        return (first[:, None] + torch.arange(anchors, device=target.device)).flatten()

    source, goal, body, view, counts = zip(*asked.values(), strict=True)
    sides = range(1 + max(source + goal))
    motion = part((a.motion, v.motion, i.motion)[side] for side in sides)
    goals = part(target[side * pairs :][n] for side in sides).index_select(0, rows(goal))
    poses = autoencoder.decode(motion, torch.cat(body), torch.cat(view), rows(source))

    counts = torch.stack(counts)
    errors = _pose_errors(autoencoder, poses, goals, counts, weights)
    result = dict(zip(asked, terms.masked_mean(errors, counts).unbind(), strict=True))
    for name, side in (("reconstruction", "reconstruction_v"), ("view_swap", "view_swap_i")):
        if side in result:
            result[name] = (result[name] + result.pop(side)) / 2
    if "cycle" in wanted:
        again = autoencoder.encode(poses.split(anchors)[list(asked).index("view_exchange")])
        goals = (motion[n], a.body, v.view)
        result["cycle"] = sum(terms.masked_mse(got, goal, together) for got, goal in zip(again[:3], goals, strict=True))
    return {name: term for name, term in result.items() if name in wanted}


def _pose_errors(autoencoder: Autoencoder, poses: Tensor, goals: Tensor, counts: Tensor, weights: Losses) -> Tensor:
    """poses, goals: [kinds * anchors, 30, T]; counts: bool [kinds, anchors], what chooses a time shift for all -> like counts."""
    if weights.reconstruction_error == "frame":
        errors = (poses - goals).square().mean((1, 2))
    else:
        poses, goals = autoencoder.arrange(poses), autoencoder.arrange(goals)
        if weights.time_shift == "window":
            errors = terms.aligned_error(poses, goals)
        else:
            kinds = zip(poses.chunk(len(counts)), goals.chunk(len(counts)), counts, strict=True)
            errors = torch.cat([terms.aligned_error(*kind) for kind in kinds])
    return errors.view_as(counts)


def _code_terms(triple: _Triple, weights: Losses, wanted: set[str]) -> dict[str, Tensor]:
    """The terms on the codes themselves."""
    a, v, i, together, has_other, _ = triple
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
