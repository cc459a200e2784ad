"""Pages that embed a dropped walk without a kernel, by the weights of the network: what embedder.js needs.

reading.js turns dropped files into a walk, embedder.js a walk into its embedding, as `embed_walks` has it:

    const embedWalk = readEmbedder(weights), embedding = embedWalk(readWalk(files, layouts));
"""

from copy import deepcopy
from pathlib import Path

import torch
from torch.nn.utils.fusion import fuse_conv_bn_eval

from gaitlib import InputError
from gaitlib.data.dataset import SHORTEST_WALK
from gaitlib.data.preprocess import MIDDLES
from gaitlib.display.exchange import packed_layers
from gaitlib.model.discriminants import LARGEST, LEGS, Discriminants
from gaitlib.model.geometric import DISCRIMINANT_SCALE, PACE, VELOCITY, GeometricAutoencoder, LevelByView
from gaitlib.model.recognizer import GaitModel, LeanRecognizer
from gaitlib.poses.formats.tables import LABELS, POSITIONS
from gaitlib.skeleton import BODY_25B, BONES, JOINTS, LAYOUTS, MID_HIP, MIRROR, NECK

#: An ES module that exports readWalk and readEmbedder.
MODULE = "\n".join(
    Path(__file__).with_name(name).read_text(encoding="utf-8") for name in ("decoder.js", "reading.js", "embedder.js")
)


def layouts() -> dict:
    """What reading.js has to know of files: the columns of our table, and how keypoints, by their number, become our joints.

    Of 25 keypoints those are BODY_25.
    """
    keypoints = {layout.size: layout.sources for layout in LAYOUTS.values() if layout is not BODY_25B}
    return {
        "labels": ["path", *LABELS], "positions": POSITIONS, "keypoints": keypoints, "joints": JOINTS, "middles": MIDDLES,
        "shortest": SHORTEST_WALK,
    }  # fmt: skip


def embedder_weights(model: GaitModel, *, stride: int = 32, mirrored: bool = True) -> dict:
    """The network for embedder.js, which embeds a walk as `embed_walks(model, ..., stride, mirrored)` does, to 1e-3.

    Raises InputError where it is not the geometric autoencoder with the lean recognizer and both kinds of discriminants.
    """
    model = deepcopy(model).float().cpu().eval().requires_grad_(False)
    coder, recognizer = model.autoencoder, model.recognizer
    fits = isinstance(coder, GeometricAutoencoder) and isinstance(recognizer, LeanRecognizer) and hasattr(recognizer, "temporal")
    if not (fits and coder.discriminants and model.discriminants):
        raise InputError(
            "Pages embed walks by a geometric autoencoder, a lean recognizer and discriminants of poses and of codes; choose a "
            "run of configs/beyond.yaml, or pretrained."
        )
    encoders = coder.encoders
    normalization, *convolutions = recognizer.temporal
    named = {name: getattr(encoders, name) for name in ("first", "second", "context", "motion")}
    for name, head in (("body", encoders.body), ("view", encoders.view)):
        named |= {f"{name}_straight": head.straight, f"{name}_first": head.bent[0], f"{name}_second": head.bent[2]}
    for name, (conv, norm, _) in zip(("early", "middle", "late"), convolutions, strict=True):
        named[name] = fuse_conv_bn_eval(conv, norm)
    named["embedding"] = recognizer.fc
    layers = {name: (layer.weight, layer.bias) for name, layer in named.items()}
    layers |= {"discriminants": _projection(coder.discriminants), "codes": _projection(model.discriminants)}
    deviation = (normalization.running_var + normalization.eps).sqrt() / normalization.weight
    return {
        "layers": packed_layers(layers),
        "levels": {"motion": _level(coder.level_motion), "body": _level(coder.level_body)},
        "scales": {
            "features": _scale(coder.feature_center, coder.feature_spread),
            "statistics": _scale(coder.statistic_center, coder.statistic_spread),
            "discriminants": _scale(coder.discriminants.center, coder.discriminants.scale),
            "moving": _scale(normalization.running_mean - normalization.bias * deviation, deviation),
            "codes": _scale(model.discriminants.center, model.discriminants.scale),
        },
        "skeleton": {
            "bones": BONES, "mirror": MIRROR.tolist(), "middles": MIDDLES, "legs": LEGS, "neck": NECK, "mid_hip": MID_HIP,
        },
        "window": model.window, "stride": stride, "mirrored": mirrored, "features": model.features, "size": model.embedding_size,
        "weight": model.discriminant_weight, "share": DISCRIMINANT_SCALE, "largest": LARGEST, "pace": PACE, "velocity": VELOCITY,
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
