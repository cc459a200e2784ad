"""GaitGraph2: a residual graph convolutional network on joints, velocities and bones.

Teepe, Gilg, Herzog, Hörmann, Rigoll, "Towards a deeper understanding of skeleton-based gait recognition", CVPRW 2022, arXiv
2204.07855; the successor of GaitGraph (Teepe et al., ICIP 2021, arXiv 2101.11228), which sees the joints only.

Three branches see joints, velocities and bones; their features are concatenated for a common trunk. Every block mixes the joints
that are 0, 1 and 2 bones apart, then frames, through bottlenecks with residuals; the embedding is read from the mean over joints
and frames. Of the published networks this is the one for OUMVLP-Pose, "ResGCN-N51-R4" with three branches.

Parameters: 748,709. Neither paper was found to state a number. The released definition (github.com/tteepe/GaitGraph2,
configs/oumvlp.yaml) has 765,278. Of the difference, 11,532 have no effect there and are left out: weights of joints 3 bones apart
and biases before batch normalization. The other 5,037 are those of its 18 joints, instead of 15, and of its confidences.

What differs: coordinates in the image, which the published joint stream has beside those relative to a center joint, are unknown
here, where every frame is centered on the neck; the stream has coordinates relative to the neck and to the head. The graph is
normalized as in the paper on ResGCN, not as in its program. Trained on sequences of 30 frames there, on windows of 64 here.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gaitlib import InputError
from gaitlib.model.peers.layers import LastConv, LastNorm, neighbors
from gaitlib.model.peers.streams import adjacency, bones, hops, joints, velocities
from gaitlib.skeleton import HEAD

CHANNELS = 4
FRAMES = 9  # seen by a temporal convolution
REDUCTION = 4  # of the channels inside a bottleneck


def streams(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A window float32 [B, 30, T] -> what the branches see, each [B, T, 15, 4].

    The joints relative to the neck and to the head; the way to the next frame and to the one after it; the bones and the angles
    between them and the axes, in radians.
    """
    position = joints(x)
    bone = bones(position)
    angle = torch.atan2(bone.flip(1).abs(), bone)
    pairs = (position, position - position[..., HEAD, None]), (velocities(position), velocities(position, 2)), (bone, angle)
    return tuple(torch.cat(pair, 1).permute(0, 2, 3, 1) for pair in pairs)


class GraphConv(nn.Module):
    """[B, T, 15, a] -> [B, T, 15, b]: joints equally far apart share a matrix; each pair of joints has a weight."""

    def __init__(self, a: int, b: int):
        super().__init__()
        self.register_buffer("adjacency", adjacency(hops()), persistent=False)
        self.edge = nn.Parameter(torch.ones_like(self.adjacency))
        self.conv = LastConv(3 * a, b, 1, bias=False)

    def forward(self, y: Tensor) -> Tensor:
        return self.conv(neighbors(y, (self.adjacency * self.edge)[None]))


def over_time(a: int, b: int, frames: int = FRAMES, stride: int = 1) -> LastConv:
    """Convolution over time: [B, T, 15, a] -> [B, T / stride, 15, b]."""
    return LastConv(a, b, (frames, 1), (stride, 1), (frames // 2, 0), bias=False)


class Bottleneck(nn.Module):
    """relu(y + up(core(down(y)))): a convolution, over joints or frames, of fewer channels than outside."""

    def __init__(self, a: int, b: int, core: nn.Module, stride: int = 1):
        super().__init__()
        inner = b // REDUCTION
        self.down = nn.Sequential(LastConv(a, inner, 1, bias=False), LastNorm(inner), nn.ReLU())
        self.core = nn.Sequential(core, LastNorm(inner), nn.ReLU())
        self.up = nn.Sequential(LastConv(inner, b, 1, bias=False), LastNorm(b))
        same = (a, stride) == (b, 1)
        self.shortcut = nn.Identity() if same else nn.Sequential(over_time(a, b, 1, stride), LastNorm(b))

    def forward(self, y: Tensor) -> Tensor:
        return F.relu(self.up(self.core(self.down(y))) + self.shortcut(y))


def block(a: int, b: int, stride: int = 1) -> nn.Sequential:
    """A bottleneck over joints, then one over frames: [B, T, 15, a] -> [B, T / stride, 15, b]."""
    inner = b // REDUCTION
    space, time = GraphConv(inner, inner), over_time(inner, inner, stride=stride)
    return nn.Sequential(Bottleneck(a, b, space), Bottleneck(b, b, time, stride))


def branch(width: int) -> nn.Sequential:
    """One stream [B, T, 15, 4] -> [B, T, 15, width / 2]; the first block has neither bottlenecks nor residuals."""
    return nn.Sequential(
        LastNorm(CHANNELS),
        *(GraphConv(CHANNELS, width), LastNorm(width), nn.ReLU()),
        *(over_time(width, width), LastNorm(width), nn.ReLU()),
        block(width, width),
        block(width, width // 2),
    )


class GaitGraph(nn.Module):
    """width: the channels of the branches, a multiple of 8; those of the trunk are 2 and 4 times as many."""

    def __init__(self, *, width: int = 64, embedding: int = 128):
        super().__init__()
        if width < 8 or width % 8:
            raise InputError(f"GaitGraph cannot be {width} channels wide; set its width to a multiple of 8, such as 64 or 16.")
        self.branches = nn.ModuleList(branch(width) for _ in range(3))
        self.trunk = nn.Sequential(
            *(block(3 * width // 2, 2 * width, stride=2), block(2 * width, 2 * width), block(2 * width, 2 * width)),
            *(block(2 * width, 4 * width, stride=2), block(4 * width, 4 * width), block(4 * width, 4 * width)),
        )
        for layer in self.modules():
            if isinstance(layer, LastConv):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out")
        self.fc = nn.Linear(4 * width, embedding)

    def forward(self, x: Tensor) -> Tensor:
        """float32 [B, 30, T] -> embedding [B, E], not normalized."""
        early = [part(stream) for part, stream in zip(self.branches, streams(x), strict=True)]  # 3 of [B, T, 15, width / 2]
        y = self.trunk(torch.cat(early, 3))  # [B, T / 4, 15, 4 width]
        return self.fc(y.mean((1, 2)))
