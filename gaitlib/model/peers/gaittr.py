"""GaitTR: attention between the joints of a frame and convolution over time, in turn.

Cun Zhang, Xing-Peng Chen, Guo-Qiang Han and Xiang-Jie Liu, "Spatial Transformer Network on Skeleton-based Gait Recognition",
2022, arXiv 2204.03873. Five descriptions of each joint (coordinates, offset from a central joint, two velocities, bone) pass
four blocks; in each, a convolution over 9 frames is followed by self-attention over the joints of every frame. The embedding is
a linear map of the mean over joints and frames.

Parameters: 510,458 here. With 17 joints the layers of FastPoseGait's implementation (BNU-IVC/FastPoseGait, configs/gaittr) have
512,010: 1,104 belong to the two more joints, and 448 are biases that the batch normalization right behind them cancels and that
are left out here. The paper's text, and a figure of its own if it has one, could not be read: the order of the layers, channels
and kernels are those of that implementation, whose results are close to the paper's.
What differs: 15 joints, with the neck as the central one, and the losses of this program instead of the triplet loss. Walks
arrive with the neck at the origin, so the offsets from it repeat the coordinates; they are kept for the size of the network.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from gaitlib import InputError
from gaitlib.model.peers.layers import JointAttention, LastConv, LastNorm
from gaitlib.model.peers.streams import bones, joints, velocities
from gaitlib.skeleton import NECK, NUM_JOINTS


class JointNorm(LastNorm):
    """Batch normalization of each channel of each joint: [B, T, 15, C] -> [B, T, 15, C]."""

    def __init__(self, channels: int):
        super().__init__(NUM_JOINTS * channels)

    def forward(self, y: Tensor) -> Tensor:
        return super().forward(y.flatten(2)[:, :, None]).reshape(y.shape)


def activated(layer: nn.Module, channels: int) -> nn.Sequential:
    """A layer, then Mish and batch normalization of its output."""
    return nn.Sequential(layer, nn.Mish(), LastNorm(channels))


class Block(nn.Module):
    """Convolution over 9 frames, then attention between joints, with shortcuts: [B, T, 15, a] -> [B, T, 15, b]."""

    def __init__(self, a: int, b: int, heads: int):
        super().__init__()
        self.temporal = nn.Sequential(nn.Dropout(0.1), activated(LastConv(a, a, (9, 1), padding=(4, 0)), a))
        self.spatial = nn.Sequential(JointNorm(a), activated(JointAttention(a, b, b // 4, heads), b))
        same = a == b
        self.inner = nn.Identity() if same else nn.Sequential(nn.Linear(a, b, bias=False), LastNorm(b))
        self.outer = nn.Identity() if same else activated(nn.Linear(a, b), b)

    def forward(self, x: Tensor) -> Tensor:
        y = self.temporal(x) + x
        return self.spatial(y) + self.inner(y) + self.outer(x)


class GaitTR(nn.Module):
    """width: channels of the first two blocks, a multiple of 8; 64 as published, with 8 heads, whose number changes with it."""

    def __init__(self, *, width: int = 64, embedding: int = 128):
        super().__init__()
        if width < 8 or width % 8:
            raise InputError(f"GaitTR cannot be {width} channels wide; set its width to a multiple of 8, such as 64 or 32.")
        sizes = 10, width, width, 2 * width, 4 * width
        self.norm = JointNorm(sizes[0])
        self.blocks = nn.Sequential(*(Block(a, b, width // 8) for a, b in pairwise(sizes)))
        self.fc = nn.Linear(sizes[-1], embedding)

    def forward(self, x: Tensor) -> Tensor:
        """float32 [B, 30, T] -> embedding [B, E], not normalized."""
        y = joints(x)  # [B, 2, T, 15]
        parts = [y, y - y[..., NECK, None], velocities(y), velocities(y, 2), bones(y)]
        y = self.norm(torch.cat(parts, 1).permute(0, 2, 3, 1))  # [B, T, 15, 10]
        return self.fc(self.blocks(y).mean((1, 2)))
