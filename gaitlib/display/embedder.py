"""Pages that identify a dropped walk without a kernel, with the weights of the network: the input of embedder.js.

reading.js turns dropped files into a walk, embedder.js a walk into its vector, as `Identifier.vectors` has it for a view from
which nobody is enrolled, and that into the scores of the enrolled people:

    const vectorOf = readEmbedder(weights), scores = scoresOf(vectorOf(readWalk(files, layouts)), people);
"""

import json
from copy import deepcopy
from pathlib import Path

import torch

from gaitlib import InputError
from gaitlib.data.dataset import SHORTEST_WALK
from gaitlib.data.preprocess import MIDDLES
from gaitlib.display.exchange import packed_layers
from gaitlib.display.player import PAGE_MODULE, SkeletonPlayer, packed
from gaitlib.evaluation.identification import FEWEST_PEOPLE, STRIDE, Identifier, Strangers
from gaitlib.model.discriminants import LARGEST, LEGS, Discriminants
from gaitlib.model.geometric import DISCRIMINANT_SCALE, PACE, VELOCITY, GeometricAutoencoder, LevelByView
from gaitlib.model.recognizer import GaitModel
from gaitlib.poses.formats.tables import LABELS, POSITIONS
from gaitlib.skeleton import BODY_25B, BONES, JOINTS, LAYOUTS, MID_HIP, MIRROR, NECK

#: A module for pages on which walks are dropped: readWalk, readEmbedder, scoresOf and takeWalks, and the player.
MODULE = "\n".join([
    PAGE_MODULE,
    f"const PLAYER = {json.dumps(SkeletonPlayer.defaults())};",
    *(Path(__file__).with_name(name).read_text(encoding="utf-8") for name in ("reading.js", "embedder.js", "dropped.js")),
])  # fmt: skip
#: Pages know the scores that one stranger in this many reaches.
ONE_IN = [2, 5, 10, 20, 50, 100, 200, 500, 1000, 10_000, 100_000]


def layouts() -> dict:
    """What reading.js needs to know about files: the columns of our table, and how keypoints map to our joints, by their number.

    Of 25 keypoints those are BODY_25.
    """
    keypoints = {layout.size: layout.sources for layout in LAYOUTS.values() if layout is not BODY_25B}
    return {
        "labels": ["path", *LABELS], "positions": POSITIONS, "keypoints": keypoints, "joints": JOINTS, "middles": MIDDLES,
        "shortest": SHORTEST_WALK,
    }  # fmt: skip


def embedder_weights(model: GaitModel, identifier: Identifier) -> dict:
    """The network for embedder.js, which computes the embedding of a walk as `identifier` does.

    Raises InputError where it is not the geometric autoencoder with discriminants of poses and of codes.
    """
    coder = deepcopy(model.autoencoder).float().cpu().eval().requires_grad_(False)
    if not (isinstance(coder, GeometricAutoencoder) and coder.discriminants and model.discriminants):
        raise InputError(
            "Pages describe walks by a geometric autoencoder with discriminants of poses and of codes; choose a run of "
            "configs/kgbd.yaml, or pretrained."
        )
    encoders, adapted = coder.encoders, identifier.discriminants
    named = {name: getattr(encoders, name) for name in ("first", "second", "context", "motion")}
    for name, head in (("body", encoders.body), ("view", encoders.view)):
        named |= {f"{name}_straight": head.straight, f"{name}_first": head.bent[0], f"{name}_second": head.bent[2]}
    layers = {name: (layer.weight, layer.bias) for name, layer in named.items()}
    layers["discriminants"] = _projection(coder.discriminants)
    weight, bias = _projection(adapted)
    middle = torch.tensor(identifier.views.mean().to_numpy())
    layers["places"] = weight / identifier.weight[:, None], bias / identifier.weight - middle
    return {
        "layers": packed_layers(layers),
        "levels": {"motion": _level(coder.level_motion), "body": _level(coder.level_body)},
        "scales": {
            "features": _scale(coder.feature_center, coder.feature_spread),
            "statistics": _scale(coder.statistic_center, coder.statistic_spread),
            "discriminants": _scale(coder.discriminants.center, coder.discriminants.scale),
            "codes": _scale(adapted.center, adapted.scale),
        },
        "variance": identifier.total.tolist(), "gain": identifier.gain.tolist(),
        "skeleton": {
            "bones": BONES, "mirror": MIRROR.tolist(), "middles": MIDDLES, "legs": LEGS, "neck": NECK, "mid_hip": MID_HIP,
        },
        "window": model.window, "stride": STRIDE, "share": DISCRIMINANT_SCALE, "largest": LARGEST, "pace": PACE,
        "velocity": VELOCITY,
    }  # fmt: skip


def enrolled_people(identifier: Identifier, strangers: Strangers, far: float) -> dict:
    """The enrolled people for embedder.js: their vectors, from which score on somebody is named, and what strangers reach."""
    known = strangers.people >= FEWEST_PEOPLE
    return {
        "names": identifier.people.tolist(), "person": identifier.person.tolist(), "vectors": packed(identifier.enrolled),
        "share": identifier.share.tolist(), "offset": identifier.offset, "threshold": strangers.score(far),
        "strangers": [[strangers.score(1 / one_in), one_in] for one_in in ONE_IN if known],
    }  # fmt: skip


def _projection(discriminants: Discriminants) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight and bias of the layer that standardized statistics go through."""
    return discriminants.projection.T, -discriminants.origin


def _scale(center: torch.Tensor, spread: torch.Tensor) -> dict:
    """(x - center) / spread as x * gain + shift."""
    return {"gain": (1 / spread.double()).tolist(), "shift": (-center.double() / spread.double()).tolist()}


def _level(level: LevelByView) -> dict:
    """What is taken off, and how lively a motion is, as layers over the harmonics of the direction of the camera."""
    excess, liveliness = level.excess.T, level.liveliness.T
    return packed_layers({"excess": (excess, torch.zeros(len(excess))), "liveliness": (liveliness, level.usual)})
