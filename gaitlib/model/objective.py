"""The training objective: all losses of a batch, with each window encoded once."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from gaitlib.config import TERMS, Losses
from gaitlib.data.preprocess import constant
from gaitlib.model import losses as terms
from gaitlib.model.autoencoder import Autoencoder, Codes
from gaitlib.model.geometric import direction
from gaitlib.model.recognizer import GaitModel


class Windows(NamedTuple):
    """The input of the losses of a batch: B anchors x and their partners, N windows of T frames.

    x: float [N, 30, T], N = 2B (x, then x_v) or, with fixed partners, 3B (also x_i), as the encoders see them; target: the
    same without noise, the decoder's target. other_person: int64 [B]; synchronous: bool [B]; subject: [2B] or [B]; all as
    in gaitlib.data.sampling.Batch. angle: float [N], the view in radians, NaN if the view is not a number.
    """

    x: Tensor
    target: Tensor
    other_person: Tensor
    synchronous: Tensor
    subject: Tensor
    angle: Tensor

    @property
    def has_other(self) -> Tensor:
        """bool [B], where there is an x_i."""
        return self.other_person != torch.arange(len(self.other_person), device=self.other_person.device)


def loss_terms(model: GaitModel, windows: Windows, weights: Losses) -> dict[str, Tensor]:
    """Every loss with nonzero weight, not yet weighted, in the order of TERMS; those that are only logged have no gradient.

    If x_i is itself an anchor of the batch, each exchange between x and x_i is counted once, from the side of x: the other
    side belongs to another anchor.
    """
    if weights.frame_by_frame == "all":
        windows = windows._replace(synchronous=torch.ones_like(windows.synchronous))
    weighted, logged = term_names(weights)
    codes = model.encode(windows.x)

    def terms_of(wanted: set[str]) -> dict[str, Tensor]:
        result: dict[str, Tensor] = {}
        if codes:
            result |= _decoded_terms(model.autoencoder, codes, windows, weights, wanted)
            result |= _code_terms(codes, windows, weights, wanted)
        if wanted & {"identity", "center", "contrastive"}:
            named = len(windows.subject)
            known = codes and (codes if named == len(windows.x) else codes.rows(slice(0, named)))
            embedding, logits = model.recognize(windows.x[:named], known)
            result |= _identity_terms(model, embedding, logits, windows.subject, weights, wanted)
        return result

    result = terms_of(set(weighted))
    if logged:
        with torch.no_grad():
            result |= terms_of(set(logged))
    return {name: result[name] for name in TERMS if name in result}


def term_names(weights: Losses) -> tuple[list[str], list[str]]:
    """The terms with a weight, and those that are only logged."""
    weighted = [name for name in TERMS if getattr(weights, name)]
    return weighted, [name for name in TERMS if name in weights.logged and name not in weighted]


def needs_another_person(weights: Losses) -> bool:
    """Whether any term compares an anchor with another person in its view."""
    of_another = {"view_swap", "invariance_view", "triplet"}
    if weights.view_code_of == "another":
        of_another |= {"view_exchange", "cycle"}
    weighted, logged = term_names(weights)
    return not of_another.isdisjoint([*weighted, *logged])


class Objective(nn.Module):
    """The model and its losses as one module, which several processes can share.

    names: the losses; the last one, "loss", is their weighted sum.
    """

    def __init__(self, model: GaitModel, weights: Losses):
        super().__init__()
        self.model, self.weights = model, weights
        terms = [name for name in TERMS if any(name in some for some in term_names(weights))]
        self.factors = tuple(float(getattr(weights, name)) for name in terms)
        self.names = [*terms, "loss"]

    def forward(self, windows: Windows) -> Tensor:
        """-> [len(names)]; only the last one has a gradient."""
        terms = loss_terms(self.model, windows, self.weights)
        values = torch.stack(list(terms.values()))
        loss = (values * constant(self.factors, values.device, values.dtype)).sum()
        return torch.cat([values.detach(), loss[None]])


def _decoded_terms(
    autoencoder: Autoencoder, codes: Codes, windows: Windows, weights: Losses, wanted: set[str]
) -> dict[str, Tensor]:
    """The terms on decoded poses; all poses are decoded at once."""
    target, together, has_other = windows.target, windows.synchronous, windows.has_other
    everyone = torch.ones_like(together)
    # what to decode: whose walker and whose view (0: x, 1: x_v, 2: x_i), whose pose is the target, and where it counts
    asked: dict[str, tuple[int, int, int, Tensor]] = {}
    if "reconstruction" in wanted:
        asked["reconstruction"], asked["reconstruction_v"] = (0, 0, 0, everyone), (1, 1, 1, everyone)
    if wanted & {"view_exchange", "cycle"}:
        asked["view_exchange"] = (1, 2, 0, together & has_other) if weights.view_code_of == "another" else (0, 1, 1, together)
    if weights.view_code_of == "both" and "view_exchange" in wanted:
        asked["view_exchange_v"] = (1, 0, 0, together)
    if "view_swap" in wanted:
        asked["view_swap"] = (0, 2, 0, has_other)
        if len(target) > 2 * len(together):  # else x_i is itself an anchor
            asked["view_swap_i"] = (2, 0, 2, has_other)
    if not asked:
        return {}

    of_walker, of_view, of_goal, counts = zip(*asked.values(), strict=True)
    anchors = len(together)
    anchor = torch.arange(anchors, device=target.device)
    side = torch.stack([anchor, anchor + anchors, windows.other_person])  # rows of x, x_v and x_i

    def rows(y: Tensor, sides: tuple[int, ...]) -> Tensor:
        """The rows of y, one per window, of some sides of each anchor: [N, ...] -> [sides * anchors, ...]."""
        return y.index_select(0, side.index_select(0, constant(sides, y.device)).flatten())

    walkers = tuple(range(1 + max(of_walker)))  # each once, since several poses show one walker
    motion, body = rows(codes.motion, walkers), rows(codes.body, walkers)
    shared = (constant(of_walker, target.device)[:, None] * anchors + anchor).flatten()
    view, goals = rows(codes.view, of_view), rows(target, of_goal)
    poses = autoencoder.decode(motion, body, view, shared)

    counts = torch.stack(counts)
    errors = _pose_errors(autoencoder, poses, goals, counts, weights)
    result = dict(zip(asked, terms.masked_mean(errors, counts).unbind(), strict=True))
    halves = {"reconstruction": "reconstruction_v", "view_exchange": "view_exchange_v", "view_swap": "view_swap_i"}
    for name, other in halves.items():
        if other in result:
            result[name] = (result[name] + result.pop(other)) / 2
    if "cycle" in wanted:
        exchanged = list(asked).index("view_exchange")
        again = autoencoder.encode(poses.split(anchors)[exchanged])
        of = of_walker[exchanged]
        given = motion.split(anchors)[of], body.split(anchors)[of], view.split(anchors)[exchanged]
        errors = sum(terms.squared_error(got, code) for got, code in zip(again[:3], given, strict=True))
        result["cycle"] = terms.masked_mean(errors, counts[exchanged])
    return {name: term for name, term in result.items() if name in wanted}


def _pose_errors(autoencoder: Autoencoder, poses: Tensor, goals: Tensor, counts: Tensor, weights: Losses) -> Tensor:
    """poses, goals: [kinds * anchors, 30, T]; counts: bool [kinds, anchors], samples choosing a common shift -> like counts."""
    if weights.reconstruction_error != "aligned":
        measure = {"frame": terms.squared_error, "distance": terms.joint_distance}[weights.reconstruction_error]
        errors = measure(poses, goals)
    else:
        poses, goals = autoencoder.arrange(poses), autoencoder.arrange(goals)
        if weights.time_shift == "window":
            errors = terms.aligned_error(poses, goals)
        else:
            kinds = zip(poses.chunk(len(counts)), goals.chunk(len(counts)), counts, strict=True)
            errors = torch.cat([terms.aligned_error(*kind) for kind in kinds])
    return errors.view_as(counts)


def _code_terms(codes: Codes, windows: Windows, weights: Losses, wanted: set[str]) -> dict[str, Tensor]:
    """The terms on the codes themselves."""
    anchors, other, together, has_other = len(windows.synchronous), windows.other_person, windows.synchronous, windows.has_other
    a, v = codes.anchors_and_partners(anchors)
    compared: dict[str, tuple[Tensor, Tensor, Tensor]] = {}
    if "invariance_motion" in wanted:
        compared["invariance_motion"] = (a.motion, v.motion, together)
    if "invariance_body" in wanted:
        compared["invariance_body"] = (a.body, v.body, torch.ones_like(together))
    if "invariance_view" in wanted:
        compared["invariance_view"] = (a.view, codes.view.index_select(0, other), has_other)
    result: dict[str, Tensor] = {}
    if compared:
        measure = {"absolute": terms.squared_error, "relative": terms.relative_error}[weights.invariance]
        errors = torch.stack([measure(one, other) for one, other, _ in compared.values()])
        counts = torch.stack([counts for _, _, counts in compared.values()])
        result |= dict(zip(compared, terms.masked_mean(errors, counts).unbind(), strict=True))
    if "camera" in wanted:
        result["camera"] = terms.angle_error(direction(codes.view), windows.angle)
    if "body_over_time" in wanted:
        measure = terms.change_over_time if weights.body_over_time_rewards == "constancy" else terms.sameness_over_time
        result["body_over_time"] = measure(a.body_sequence) + measure(v.body_sequence)
    if "triplet" in wanted:
        every = torch.stack([codes.body, codes.view, codes.motion.max(2).values])  # [3, N, 128]
        (x, x_v), x_i = every.split(anchors, 1)[:2], every.index_select(1, other)
        (body_v, view_v, motion_v), (body_i, view_i, motion_i) = x_v, x_i  # of the same person, and of the same view
        like, unlike = torch.stack([body_v, view_i, motion_v]), torch.stack([body_i, view_v, motion_i])
        if weights.triplet_distance == "code":
            result["triplet"] = terms.triplet(x, like, unlike, has_other).sum()
        else:  # of the body and the view
            static, motion = ([code[part] for code in (x, like, unlike)] for part in (slice(2), 2))
            result["triplet"] = terms.scalar_triplet(*static, has_other).sum() + terms.triplet(*motion, has_other)
    return result


def _identity_terms(
    model: GaitModel, embedding: Tensor, logits: Tensor, subject: Tensor, weights: Losses, wanted: set[str]
) -> dict[str, Tensor]:
    """The identity terms; embedding [N, E], logits [N, people], subject int64 [N]."""
    embedding, logits = (y.to(torch.promote_types(y.dtype, torch.float32)) for y in (embedding, logits))
    result: dict[str, Tensor] = {}
    if "identity" in wanted:
        result["identity"] = terms.cross_entropy(logits, subject, weights.label_smoothing, weights.smoothing_over)
    if "center" in wanted:
        result["center"] = model.recognizer.center_loss(embedding, subject)
    if "contrastive" in wanted:
        result["contrastive"] = terms.supervised_contrastive(embedding, subject, weights.temperature)
    return result
