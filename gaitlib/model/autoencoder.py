"""Disentanglement: three encoders take a walk apart into motion, body and view codes, a decoder puts codes together."""

from collections.abc import Callable
from itertools import chain, pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gaitlib.data.preprocess import constant
from gaitlib.skeleton import BONES, NUM_JOINTS

CODE = 128
ROWS = 2 * NUM_JOINTS


class Codes(NamedTuple):
    """The codes of B windows of T frames, float32. The lean encoders give the sequences where they are asked for, else None."""

    motion: Tensor  # [B, 128, T]
    body: Tensor  # [B, 128]
    view: Tensor  # [B, 128]
    body_sequence: Tensor | None  # [B, 128, T]
    view_sequence: Tensor | None  # [B, 128, T]

    def each(self, change: Callable[[Tensor], Tensor]) -> "Codes":
        """The same codes, each of them changed."""
        return Codes(*(None if code is None else change(code) for code in self))

    def rows(self, which: Tensor | slice) -> "Codes":
        """The codes of some of the windows."""
        return self.each(lambda code: code[which])

    def anchors_and_partners(self, anchors: int) -> tuple["Codes", "Codes"]:
        """The codes of the first windows, which are anchors, and of as many that follow, their partners.

        The gradient takes one copy, where that of two slices takes two sums over all windows.
        """
        parts = [None if code is None else code.split(anchors)[:2] for code in self]
        first, second = (Codes(*(part and part[side] for part in parts)) for side in (0, 1))
        return first, second


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
    """What reshaping a walk [T, 15, 2] to [30, T] gives where a transpose is meant; [B, 30, T] -> [B, 30, T].

    A row then holds T / 30 consecutive frames of all joints instead of one coordinate over time.
    """
    return x.transpose(1, 2).reshape(x.shape)


def unscramble(x: Tensor) -> Tensor:
    """The inverse of `scramble`."""
    return x.reshape(len(x), x.shape[2], x.shape[1]).transpose(1, 2)


def bone_ends(device: torch.device) -> Tensor:
    """The joints at the two ends of each bone, int64 [14, 2]."""
    return constant(BONES, device)


#: What central differences are multiplied with.
VELOCITY = 5


def pose_features(x: Tensor) -> Tensor:
    """Joints, bone vectors and velocities: [B, 30, T] -> [B, 88, T]; velocities: central differences, scaled to a like size."""
    joints = x.unflatten(1, (NUM_JOINTS, 2))
    ends = bone_ends(x.device)
    bones = (joints[:, ends[:, 1]] - joints[:, ends[:, 0]]).flatten(1, 2)
    padded = F.pad(x, (1, 1), mode="replicate")
    velocity = (padded[..., 2:] - padded[..., :-2]) * VELOCITY
    return torch.cat([x, bones, velocity], 1)


POSE_FEATURES = 2 * ROWS + 2 * len(BONES)
#: A deviation that is too small to be divided by, torso lengths.
STILL = 0.05


def features_conv(x: Tensor, weight: Tensor, bias: Tensor, center: Tensor, spread: Tensor) -> Tensor:
    """A convolution, padded with zeros, of the pose features less `center` by `spread`, at 2/5 of the multiplications.

    A step of `beyond` takes 5 to 8 % less CPU time with it (medians of 40 steps each way, in turns), at 256 windows 15 %.

    x: float [B, 30, T], T >= K // 2, torso lengths; weight: [b, 88, K], K odd; bias: [b]; center, spread: [88]; -> [B, b, T].
    Features are linear in the pose, so this is a convolution of the pose itself, with a kernel two frames longer. It is made for
    a walker who stands still before the first frame and after the last; what the first and the last frames see of that is taken
    off again. Not for short floats, which would round neighboring frames before they are subtracted.
    """
    half = weight.shape[2] // 2
    weight = weight / spread[:, None]
    joints, bones, velocities = weight.split([ROWS, 2 * len(BONES), ROWS], 1)
    first, last = bone_ends(x.device).T
    bones = bones.unflatten(1, (-1, 2))
    still = joints.unflatten(1, (-1, 2)).index_add(1, last, bones).index_add(1, first, bones, alpha=-1).flatten(1, 2)
    taps = F.pad(still, (1, 1)) + VELOCITY * (F.pad(velocities, (2, 0)) - F.pad(velocities, (0, 2)))
    fixed = torch.einsum("bfk,f->bk", weight, center)
    y = F.conv1d(F.pad(x, (half + 1, half + 1), mode="replicate"), taps, bias - fixed.sum(1))

    def outside(weights: Tensor) -> Tensor:
        """[b, ..., K] -> [b, ..., 2, 2 half], the sums of the taps that meet the walker before the first frame and after the last
        one, in the first `half` frames and in the last ones."""
        before, after = weights[..., :half].cumsum(-1).flip(-1), weights[..., half + 1 :].flip(-1).cumsum(-1)
        return torch.stack([F.pad(before, (0, half)), F.pad(after, (half, 0))], -2)

    frames = x.shape[2]
    ends = x[..., :: frames - 1].flatten(1)
    seen = torch.einsum("br,ork->bok", ends, outside(still).flatten(1, 2)) - outside(fixed).sum(1)
    return y.index_add_(2, constant((*range(half), *range(frames - half, frames)), x.device), seen, alpha=-1)


def normalized_conv(a: int, b: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Convolution, batch normalization, ReLU: [B, a, T] -> [B, b, T / stride]."""
    conv = nn.Conv1d(a, b, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm1d(b), nn.ReLU(inplace=True))


def lean_encoder(width: int, kernel: int) -> nn.Sequential:
    """An encoder of `beyond`, one hidden layer on pose features: [B, 88, T] -> [B, 128, T], signed."""
    hidden = nn.Sequential(nn.Conv1d(POSE_FEATURES, width, kernel, padding=kernel // 2), nn.ReLU(inplace=True))
    return nn.Sequential(hidden, nn.Conv1d(width, CODE, 1))


#: Of a kernel of 7 on frames shown twice: which of 4 frames each tap meets, and which taps are to see another frame than the
#: nearest one, before the first frame and after the last.
TAPS = ((1, 0, 0, 0), (0, 1, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 1, 0), (0, 0, 0, 1), (0, 0, 0, 1))
ENDS = ((1, 0), (1, 0), (0, 0), (0, 0), (0, 0), (0, 0), (0, 1))


def upsampled_conv(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """What nearest up-sampling x2, reflection padding 3 and Conv1d(kernel 7, stride 2) compute, at 4/7 of the cost.

    x: [B, a, T], T >= 3; weight: [b, a, 7]; returns [B, b, T]. Taps that meet the same frame are added up beforehand, which
    leaves a kernel of 4 over frames t-2..t+1. Beyond the ends it sees the end frame again; what reflection would have shown to
    the first and the last frame instead is added to them.
    """
    last = x.shape[2] - 1
    taps, ends = (weight @ constant(sums, x.device, weight.dtype) for sums in (TAPS, ENDS))
    y = F.conv1d(F.pad(x, (2, 1), mode="replicate"), taps, bias)
    reflected, seen = x.index_select(2, constant((1, last - 1, 0, last), x.device)).chunk(2, 2)
    instead = torch.einsum("bae,oae->boe", reflected - seen, ends)
    return y.index_add_(2, constant((0, last), x.device), instead.to(y.dtype))


class Decoder(nn.Module):
    """Three times (up-sample x2, pad 3, Conv1d kernel 7 stride 2), 384-256-128-45, as published, without the third coordinate.

    The module list carries the published parameter names and is never called as such: `forward` computes the same with
    `upsampled_conv`, and adds the parts of body and view, which do not change over time, after the first convolution.

    gated: not as published, how a movement and a body look depends on the view. The view code then scales what the first
    convolution makes of the motion (by 0 to 2 a channel), and one hidden layer on body and view adds a pose that stands still.
    """

    def __init__(self, dropout: float = 0.2, gated: bool = False):
        super().__init__()
        up, pad = nn.Upsample(scale_factor=2), nn.ReflectionPad1d(3)
        sizes = [(3 * CODE, 2 * CODE), (2 * CODE, CODE), (CODE, 3 * NUM_JOINTS)]
        convs = [nn.Conv1d(a, b, 7, stride=2) for a, b in sizes]
        tail = [nn.Dropout(dropout), nn.LeakyReLU(0.2)]
        self.model = nn.Sequential(up, pad, convs[0], *tail, up, pad, convs[1], *tail, up, pad, convs[2])
        self.gated = gated
        if gated:
            self.gate = nn.Linear(CODE, 2 * CODE)
            self.stance = nn.Sequential(nn.Linear(2 * CODE, 2 * CODE), nn.LeakyReLU(0.2), nn.Linear(2 * CODE, ROWS))

    def forward(self, motion: Tensor, body: Tensor, view: Tensor, which: Tensor | None = None) -> Tensor:
        """[B, 128, T], [B, 128], [B, 128] -> [B, 30, T].

        which: int64 [B], the row of `motion` that belongs to each row of body and view; None: each its own.
        """
        first, second, third = self.model[2], self.model[7], self.model[12]
        moving, still = first.weight.split([CODE, 2 * CODE], 1)
        fixed = torch.cat([body, view], 1)
        y = upsampled_conv(motion, moving)
        y = y if which is None else y.index_select(0, which)  # whose gradient adds up in a fixed order
        if self.gated:
            y = y * (2 * torch.sigmoid(self.gate(view)))[..., None]
        y = y + F.linear(fixed, still.sum(2), first.bias)[..., None]
        y = self.model[4](self.model[3](y))
        y = self.model[9](self.model[8](upsampled_conv(y, second.weight, second.bias)))
        weight, bias = (values.unflatten(0, (NUM_JOINTS, 3))[:, :2].flatten(0, 1) for values in (third.weight, third.bias))
        pose = upsampled_conv(y, weight, bias)
        return pose + self.stance(fixed)[..., None] if self.gated else pose


class Autoencoder(nn.Module):
    """Three encoders and the decoder.

    encoder: "paper" (convolutions on the 30 coordinates; the static codes are the maximum over time) or "lean" (one hidden
    layer on joints, bones and velocities; the static codes are the mean over time).
    layout, static_rows, of the paper encoders: "trajectories" (a row is a coordinate over time) or "scrambled" (as released);
    the rows that the body and view encoders see (28 as released).
    width, kernel: channels and frames of the hidden layer of the lean encoders; that for the view has a third of the channels.
    decoder: "paper" or "gated", see Decoder.
    """

    def __init__(
        self, encoder: str = "paper", *, layout: str = "trajectories", static_rows: int = ROWS,
        width: int = 96, kernel: int = 11, decoder: str = "paper", dropout: float = 0.2,
    ):  # fmt: skip
        super().__init__()
        self.paper, self.scrambled = encoder == "paper", layout == "scrambled"
        if self.paper:
            self.motion_encoder = PaperEncoder(ROWS, 64, 128, CODE)
            self.body_encoder = PaperEncoder(static_rows, 64, 128, CODE)
            self.view_encoder = PaperEncoder(static_rows, 64, 32, CODE)
        else:
            self.register_buffer("center", torch.zeros(POSE_FEATURES))
            self.register_buffer("spread", torch.ones(POSE_FEATURES))
            self.motion_encoder = lean_encoder(width, kernel)
            self.body_encoder = lean_encoder(width, kernel)
            self.view_encoder = lean_encoder(width // 3, kernel)
        self.decoder = Decoder(dropout, decoder == "gated")
        if self.paper:
            for parameter in self.parameters():
                if parameter.ndim > 1:
                    nn.init.kaiming_normal_(parameter, 0.2)

    def arrange(self, x: Tensor) -> Tensor:
        """The rows of a pose as this network sees and makes them: [B, 30, T] -> [B, 30, T]."""
        return scramble(x) if self.scrambled else x

    def measure(self, x: Tensor) -> None:
        """Let the lean encoders see the features of poses like these, [N, 30, T], with mean 0 and deviation 1.

        Those of the batch, as batch normalization has them, would depend on the few views in it, and take from each walk what it
        has in common with them. The deviation is no smaller than STILL, so that nothing is made of joints that hardly move.
        """
        if not self.paper:
            deviation, mean = torch.std_mean(pose_features(x), (0, 2))
            self.center.copy_(mean)
            self.spread.copy_(torch.hypot(deviation, torch.full_like(deviation, STILL)))

    def encode(self, x: Tensor, sequences: bool = False) -> Codes:
        """x: float32 [B, 30, T], neck at the origin, torso length 1, rows j0x, j0y, j1x, ...

        sequences: whether the lean encoders, too, give the body and view codes frame by frame. They do not need them: what a
        layer of kernel 1 makes of the mean over time is the mean of what it makes of each frame.
        """
        if self.paper:
            x = self.arrange(x)
            motion, body, view = self.motion_encoder(x), self.body_encoder(x), self.view_encoder(x)
            return Codes(motion, body.max(2).values, view.max(2).values, body, view)
        hidden, last = zip(*(self.motion_encoder, self.body_encoder, self.view_encoder), strict=True)
        moving, *static = self._hidden(x, hidden)
        static = list(zip(static, last[1:], strict=True))
        codes = (F.linear(y.mean(2), layer.weight.squeeze(2), layer.bias) for y, layer in static)
        over_time = (layer(y) if sequences else None for y, layer in static)
        return Codes(last[0](moving), *codes, *over_time)

    def _hidden(self, x: Tensor, layers: tuple[nn.Sequential, ...]) -> list[Tensor]:
        """What the hidden layers of the lean encoders make of a pose, [B, width, T] each."""
        long_enough = x.shape[2] >= layers[0][0].kernel_size[0]
        if long_enough and x.device.type == "cpu" and not torch.is_autocast_enabled("cpu"):
            scale = self.center, self.spread
            return [relu(features_conv(x, conv.weight, conv.bias, *scale)) for conv, relu in layers]
        features = (pose_features(x) - self.center[:, None]) / self.spread[:, None]
        return [layer(features) for layer in layers]

    def decode(self, motion: Tensor, body: Tensor, view: Tensor, which: Tensor | None = None) -> Tensor:
        """Codes of the same or of different walks to a pose: [B,128,T], [B,128], [B,128] -> float32 [B, 30, T].

        which: int64 [B], where several poses share a motion code: motion is [M, 128, T], row b is decoded with motion[which[b]].
        """
        pose = self.decoder(motion, body, view, which)
        return unscramble(pose) if self.scrambled else pose

    def forward(self, x: Tensor) -> Tensor:
        """What the decoder makes of a pose's own codes, [B, 30, T] -> [B, 30, T]."""
        codes = self.encode(x)
        return self.decode(codes.motion, codes.body, codes.view)
