"""Disentanglement as published: encoders split a walk into motion, body and view codes, and a decoder recombines them."""

from collections.abc import Callable
from itertools import chain, pairwise
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gaitlib.data.preprocess import constant
from gaitlib.skeleton import BONES, NUM_JOINTS

CODE = 128
ROWS = 2 * NUM_JOINTS
#: Windows encoded at once.
WINDOWS = 512


class Codes(NamedTuple):
    """The codes of B windows of T frames, float32; the autoencoder's `sizes` has the number of channels C of each."""

    motion: Tensor  # [B, C, T]
    body: Tensor  # [B, C]
    view: Tensor  # [B, C]
    body_sequence: Tensor | None = None  # [B, C, T], of the published encoders
    view_sequence: Tensor | None = None

    def each(self, change: Callable[[Tensor], Tensor]) -> "Codes":
        """The codes with a change applied to each."""
        return Codes(*(None if code is None else change(code) for code in self))

    def rows(self, which: Tensor | slice) -> "Codes":
        """The codes of some of the windows."""
        return self.each(lambda code: code[which])

    def anchors_and_partners(self, anchors: int) -> tuple["Codes", "Codes"]:
        """The codes of the first windows, the anchors, and of as many that follow, their partners.

        The gradient needs one copy, whereas that of two slices needs two sums over all windows.
        """
        parts = [None if code is None else code.split(anchors)[:2] for code in self]
        first, second = (Codes(*(part and part[side] for part in parts)) for side in (0, 1))
        return first, second


class Autoencoder(nn.Module):
    """The interface of every autoencoder."""

    #: Channels of the pose and of each code.
    sizes: dict[str, int]
    #: Whether `measure` and `level` do anything.
    fitted: ClassVar[bool] = False

    def encode(self, x: Tensor) -> Codes:
        """x: float32 [B, 30, T], neck at the origin, torso length 1, rows j0x, j0y, j1x, ..."""
        raise NotImplementedError

    def decode(self, motion: Tensor, body: Tensor, view: Tensor, which: Tensor | None = None) -> Tensor:
        """Decode codes of the same or of different walks to a pose: [B, C, T], [B, C], [B, C] -> float32 [B, 30, T].

        which: int64 [B], if several poses show one walker: motion is [M, C, T], body [M, C], and pose b is decoded from
            motion[which[b]], body[which[b]] and view[b].
        """
        raise NotImplementedError

    def arrange(self, x: Tensor) -> Tensor:
        """The rows of a pose as this network sees and outputs them: [B, 30, T] -> [B, 30, T]."""
        return x

    def measure(self, x: Tensor, subject: np.ndarray) -> None:
        """Before training, measure windows [N, 30, T] of people, int64 [N], every person 0..people-1."""

    def level(self, x: Tensor) -> None:
        """After training, learn the mean dependence of codes on the view, from windows [N, 30, T] of training people."""

    def forward(self, x: Tensor) -> Tensor:
        """The reconstruction of a pose from its own codes, [B, 30, T] -> [B, 30, T]."""
        return self.decode(*self.encode(x)[:3])


class PaperEncoder(nn.Module):
    """An encoder as published: convolutions of kernel 3, padded by reflection, each followed by LeakyReLU(0.2).

    It sees the first `rows` rows of the pose: [B, 30, T] -> [B, 128, T].
    """

    def __init__(self, rows: int, *hidden: int):
        super().__init__()
        self.rows = rows
        layers = [(nn.ReflectionPad1d(1), nn.Conv1d(a, b, 3), nn.LeakyReLU(0.2)) for a, b in pairwise((rows, *hidden))]
        self.model = nn.Sequential(*chain(*layers))

    def forward(self, x: Tensor) -> Tensor:
        """[B, 30, T] -> [B, 128, T]."""
        return self.model(x[:, : self.rows])


def scramble(x: Tensor) -> Tensor:
    """The result of reshaping a walk [T, 15, 2] to [30, T] instead of transposing it; [B, 30, T] -> [B, 30, T].

    A row then holds T / 30 consecutive frames of all joints instead of one coordinate over time.
    """
    return x.transpose(1, 2).reshape(x.shape)


def unscramble(x: Tensor) -> Tensor:
    """The inverse of `scramble`."""
    return x.reshape(len(x), x.shape[2], x.shape[1]).transpose(1, 2)


def bone_ends(device: torch.device) -> Tensor:
    """The joints at the two ends of each bone, int64 [14, 2]."""
    return constant(BONES, device)


#: For a kernel of 7 on frames repeated twice: which of 4 frames each tap meets, and which taps must see another frame than the
#: nearest one, before the first frame and after the last.
TAPS = ((1, 0, 0, 0), (0, 1, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 1, 0), (0, 0, 0, 1), (0, 0, 0, 1))
ENDS = ((1, 0), (1, 0), (0, 0), (0, 0), (0, 0), (0, 0), (0, 1))


def upsampled_conv(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Nearest up-sampling x2, reflection padding 3 and Conv1d(kernel 7, stride 2), at 4/7 of the cost.

    x: [B, a, T], T >= 3; weight: [b, a, 7]; returns [B, b, T]. Taps that meet the same frame are summed beforehand, which
    leaves a kernel of 4 over frames t-2..t+1. Beyond the ends it sees the end frame again; the difference to reflection is added
    to the first and the last frame.
    """
    last = x.shape[2] - 1
    taps, ends = (weight @ constant(sums, x.device, weight.dtype) for sums in (TAPS, ENDS))
    y = F.conv1d(F.pad(x, (2, 1), mode="replicate"), taps, bias)
    reflected, seen = x.index_select(2, constant((1, last - 1, 0, last), x.device)).chunk(2, 2)
    instead = torch.einsum("bae,oae->boe", reflected - seen, ends)
    return y.index_add_(2, constant((0, last), x.device), instead.to(y.dtype))


class Decoder(nn.Module):
    """Three times (up-sample x2, pad 3, Conv1d kernel 7 stride 2), 384-256-128-45, as published, without the third coordinate.

    The module list provides the published parameter names and is never called: `forward` computes the same with
    `upsampled_conv`, and adds the parts of body and view, which are constant over time, after the first convolution.
    """

    def __init__(self, dropout: float = 0.2):
        super().__init__()
        up, pad = nn.Upsample(scale_factor=2), nn.ReflectionPad1d(3)
        sizes = [(3 * CODE, 2 * CODE), (2 * CODE, CODE), (CODE, 3 * NUM_JOINTS)]
        convs = [nn.Conv1d(a, b, 7, stride=2) for a, b in sizes]
        tail = [nn.Dropout(dropout), nn.LeakyReLU(0.2)]
        self.model = nn.Sequential(up, pad, convs[0], *tail, up, pad, convs[1], *tail, up, pad, convs[2])

    def forward(self, motion: Tensor, body: Tensor, view: Tensor, which: Tensor | None = None) -> Tensor:
        """[B, 128, T], [B, 128], [B, 128] -> [B, 30, T].

        which: int64 [B], the row of motion and body that belongs to each row of view; None: the same row.
        """
        first, second, third = self.model[2], self.model[7], self.model[12]
        moving, still = first.weight.split([CODE, 2 * CODE], 1)
        y = upsampled_conv(motion, moving)
        if which is not None:  # index_select, as its gradient adds up in a fixed order
            y, body = y.index_select(0, which), body.index_select(0, which)
        fixed = torch.cat([body, view], 1)
        y = y + F.linear(fixed, still.sum(2), first.bias)[..., None]
        y = self.model[4](self.model[3](y))
        y = self.model[9](self.model[8](upsampled_conv(y, second.weight, second.bias)))
        weight, bias = (values.unflatten(0, (NUM_JOINTS, 3))[:, :2].flatten(0, 1) for values in (third.weight, third.bias))
        return upsampled_conv(y, weight, bias)


class PaperAutoencoder(Autoencoder):
    """Three encoders and the decoder as published: the static codes are the maximum over time.

    layout: "trajectories" (a row is a coordinate over time) or "scrambled" (as released). static_rows: the number of rows the
    body and view encoders see; 28 as released.
    """

    sizes: ClassVar = {"pose": ROWS} | dict.fromkeys(("motion", "body", "view"), CODE)

    def __init__(self, *, layout: str = "trajectories", static_rows: int = ROWS, dropout: float = 0.2):
        super().__init__()
        self.scrambled = layout == "scrambled"
        self.motion_encoder = PaperEncoder(ROWS, 64, 128, CODE)
        self.body_encoder = PaperEncoder(static_rows, 64, 128, CODE)
        self.view_encoder = PaperEncoder(static_rows, 64, 32, CODE)
        self.decoder = Decoder(dropout)
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.kaiming_normal_(parameter, 0.2)

    def arrange(self, x: Tensor) -> Tensor:
        """See Autoencoder."""
        return scramble(x) if self.scrambled else x

    def encode(self, x: Tensor) -> Codes:
        """See Autoencoder; with the sequences of the static codes."""
        x = self.arrange(x)
        motion, body, view = self.motion_encoder(x), self.body_encoder(x), self.view_encoder(x)
        return Codes(motion, body.max(2).values, view.max(2).values, body, view)

    def decode(self, motion: Tensor, body: Tensor, view: Tensor, which: Tensor | None = None) -> Tensor:
        """See Autoencoder."""
        pose = self.decoder(motion, body, view, which)
        return unscramble(pose) if self.scrambled else pose
