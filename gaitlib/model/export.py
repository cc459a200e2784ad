"""The network as one ONNX graph: programs without Python and torch give it normalized windows and get embeddings and codes."""

import json
import logging
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from gaitlib import InputError, __version__
from gaitlib.data.dataset import SHORTEST_WALK
from gaitlib.files import check_writable, replacing
from gaitlib.fingerprints import file_fingerprint, fingerprint
from gaitlib.model.autoencoder import ROWS
from gaitlib.model.checkpoint import evaluation_of, find_weights, load_model, released_files
from gaitlib.model.recognizer import GaitModel
from gaitlib.skeleton import JOINTS, MIRROR

#: The version of ONNX's operators.
OPSET = 18
#: Not "view": that is also the name of an operator.
OUTPUTS = ("embedding", "motion_code", "body_code", "view_code")
_LAYOUT = "float32 [windows, 30, frames], rows: x and y of each joint, x to the right, y down"
_NORMALIZATION = (
    "missing joints are interpolated in time, the ends repeat the nearest frame; each frame is centered on the neck and divided "
    "by the length from neck to mid-hip, whose inverse is fitted by a straight line over the frames of the walk"
)
_WALK = (
    "one window every `stride` frames and one flush with the end; a walk shorter than a window is looped; the mean of their "
    "embeddings (and, where `mirrored`, of those of their mirror images: x negated, joints in the order of `mirror`), scaled to "
    "length one"
)


class _Graph(nn.Module):
    """The exported graph: normalized windows [B, 30, T] -> embedding [B, E] as in GaitModel.embed, and the codes if any."""

    def __init__(self, model: GaitModel):
        super().__init__()
        self.model = model

    def forward(self, walk: Tensor) -> tuple[Tensor, ...]:
        """-> embedding [B, E], motion [B, C, T], body [B, C], view [B, C]."""
        codes = self.model.encode(walk)
        return self.model.describe(walk, codes), *(codes or ())[:3]


def export_onnx(checkpoint: str | Path, out: Path) -> str:
    """Write the network of a checkpoint to the .onnx file `out`, whole or not at all; returns the window length it accepts.

    Windows may have any number of frames from 16 on ("16 or more"); for a network that takes one number only, such as the
    published recognizer, whose matrix has a column for each frame, it is that of training. The file's metadata describe how
    windows are made and averaged.
    Raises InputError if ONNX is not installed, `out` cannot be written, the checkpoint cannot be read or recognizes nobody, or
    its network computes what ONNX cannot.
    """
    try:
        import onnxscript  # noqa: F401, torch needs it, and its own message is long
    except ImportError:
        raise InputError('Writing ONNX needs packages that are not installed; install them: pip install -e ".[onnx]"') from None
    check_writable(out)
    model, facts = load_model(checkpoint)
    settings = evaluation_of(facts, checkpoint)
    fixed = not _takes(model, SHORTEST_WALK)
    sizes = {0: torch.export.Dim("windows")} | ({} if fixed else {2: torch.export.Dim("frames", min=SHORTEST_WALK)})
    example, graph = torch.randn(2, ROWS, model.window), _Graph(model)
    with torch.no_grad(), warnings.catch_warnings():
        graph(example)  # create constants now, as numbers, and not while tracing
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns about torchvision, which is not used
        try:
            program = torch.onnx.export(
                graph, (example,), dynamo=True, verbose=False, opset_version=OPSET, input_names=["walk"],
                output_names=OUTPUTS if model.autoencoder else OUTPUTS[:1], dynamic_shapes=(sizes,),
            )  # fmt: skip
        except torch.onnx.OnnxExporterError as error:
            why = str(error.__cause__ or error).strip().partition("\n")[0]
            raise InputError(f"The network of {checkpoint} cannot be written as ONNX ({why}).") from error
    program.model.metadata_props.update({
        "gaitlib": __version__, "checkpoint": _fingerprint(checkpoint), "opset": str(OPSET), "input": _LAYOUT,
        "joints": json.dumps(JOINTS), "mirror": json.dumps(MIRROR.tolist()), "normalization": _NORMALIZATION,
        "window": str(model.window), "stride": str(settings.stride), "mirrored": json.dumps(settings.mirrored), "walk": _WALK,
    })  # fmt: skip
    with replacing(out) as part:
        program.save(part, external_data=False)
    return str(model.window) if fixed else f"{SHORTEST_WALK} or more"


def _takes(model: GaitModel, frames: int) -> bool:
    """Whether a model embeds windows of so many frames, other than those it was trained on."""
    try:
        model.embed(torch.zeros(2, ROWS, frames))
    except RuntimeError:
        return False
    return True


def _fingerprint(checkpoint: str | Path) -> str:
    """SHA-256 of the weights file, or of all files of the released program."""
    if files := released_files(checkpoint):
        return fingerprint([file_fingerprint(file) for file in files])
    return file_fingerprint(find_weights(checkpoint))
