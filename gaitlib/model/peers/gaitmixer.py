"""GaitMixer: attention between the joints of every frame, then convolution over long stretches of time.

Ekkasit Pinyoanuntapong, Ayman Ali, Pu Wang, Minwoo Lee and Chen Chen, "GaitMixer: Skeleton-based Gait Representation Learning
via Wide-spectrum Multi-axial Mixer", ICASSP 2023, arXiv 2210.15491. Four transformer layers mix the joints of each frame; four
depthwise convolutions over 31 frames, each followed by one that mixes channels, mix the frames of each joint. The embedding is a
linear map of the mean over frames and joints.

Parameters: 166,240 here. With 17 joints there would be 64 more for their places, 166,304 in all, which is the number that the
first author gives (github.com/exitudio/GaitMixer/issues/2); confidences are not used there either.
What differs: 15 joints, the losses of this program instead of the triplet loss, and windows of fewer than 31 frames are allowed.
The paper's text could not be read; what is not in its abstract follows the authors' program: the 31 frames end at the present
one, windows are continued to the past by reflection, dropout is 1 %, and batch normalization has an epsilon of 0.001.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gaitlib import InputError
from gaitlib.model.peers.layers import JointAttention, LastConv, LastNorm
from gaitlib.model.peers.streams import joints
from gaitlib.skeleton import NUM_JOINTS


def reflect(y: Tensor, frames: int) -> Tensor:
    """Continue windows to the past by so many frames, forward and back again through their own: [B, T, 15, C], T > 1."""
    frame = torch.arange(-frames, y.shape[1], device=y.device)
    last = frame[-1:]
    return y.index_select(1, last - (last - frame.abs() % (2 * last)).abs())


class SpatialMixer(nn.Module):
    """A transformer layer over the joints of each frame: [B, T, 15, C] -> [B, T, 15, C]."""

    def __init__(self, channels: int):
        super().__init__()
        attention = JointAttention(channels, channels, channels, channels // 4)
        mlp = nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels)
        self.attention = nn.Sequential(nn.LayerNorm(channels, 1e-6), attention)
        self.mlp = nn.Sequential(nn.LayerNorm(channels, 1e-6), *mlp)

    def forward(self, y: Tensor) -> Tensor:
        y = y + self.attention(y)
        return y + self.mlp(y)


class TemporalMixer(nn.Module):
    """Each channel of each joint over `kernel` frames, then the channels of a frame: [B, T, 15, a] -> [B, T, 15, b]."""

    def __init__(self, a: int, b: int, kernel: int):
        super().__init__()
        self.kernel, self.dropout = kernel, nn.Dropout(0.01)
        self.depthwise, self.pointwise = LastConv(a, a, (kernel, 1), groups=a), nn.Linear(a, b)
        self.norm = LastNorm(b, 1e-3)
        self.shortcut = nn.Identity() if a == b else nn.Sequential(nn.Linear(a, b), nn.GELU(), LastNorm(b, 1e-3))

    def forward(self, y: Tensor) -> Tensor:
        mixed = self.pointwise(self.depthwise(reflect(self.dropout(y), self.kernel - 1)))
        return self.norm(F.gelu(mixed)) + self.shortcut(y)


class GaitMixer(nn.Module):
    """width: channels of the spatial mixer, a multiple of 4; 32 as published, with 8 heads, whose number changes with it.

    kernel: the frames that a temporal mixer sees.
    """

    def __init__(self, *, width: int = 32, kernel: int = 31, embedding: int = 128):
        super().__init__()
        if width < 4 or width % 4:
            raise InputError(f"GaitMixer cannot be {width} channels wide; set its width to a multiple of 4, such as 32 or 16.")
        sizes = width, width, 2 * width, 4 * width, 8 * width
        self.embed = nn.Linear(2, width)
        self.place = nn.Parameter(torch.zeros(NUM_JOINTS, width))
        self.spatial = nn.Sequential(*(SpatialMixer(width) for _ in range(4)), nn.LayerNorm(width, 1e-6))
        self.temporal = nn.Sequential(*(TemporalMixer(a, b, kernel) for a, b in pairwise(sizes)))
        self.fc = nn.Sequential(nn.LayerNorm(sizes[-1]), nn.Linear(sizes[-1], embedding))

    def forward(self, x: Tensor) -> Tensor:
        """float32 [B, 30, T] -> embedding [B, E], not normalized."""
        y = self.embed(joints(x).permute(0, 2, 3, 1)) + self.place  # [B, T, 15, width]
        return self.fc(self.temporal(self.spatial(y)).mean((1, 2)))
