"""SkeletonGait: the skeleton is drawn, and a residual network for images recognizes the drawings.

Chao Fan, Jingzhe Ma, Dongyang Jin, Chuanfu Shen and Shiqi Yu, "SkeletonGait: Gait Recognition Using Skeleton Maps", AAAI 2024,
arXiv 2311.13444. Each frame becomes two images of soft dots (joints) and lines (bones). DeepGaitV2, a residual network with
convolutions over 3 frames (Fan et al., arXiv 2303.03301), finds features; their maximum over time is pooled in horizontal strips,
each with a linear map of its own.

Parameters: 13,196,544 here, of which 11,099,392 belong to the residual network and 2,097,152 to the linear maps of the strips.
These are the sizes in OpenGait (configs/skeletongait, mode p3d). The number of joints plays no part. No figure for this network
was found; the 27.5 M that the second paper states for its three-dimensional variant count the residual network alone.
What differs: 15 joints, each drawn at full strength because there are no confidences; the losses of this program, instead of
cross-entropy and a triplet loss for each strip. OpenGait draws 128 x 128 pixels, crops the image to where the figure is and
halves it. Here the figure is drawn in its final size at once, in the middle of its height, and Gaussians are not cut off at
three standard deviations. The papers' text could not be read; sizes are those of OpenGait's configuration.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gaitlib import InputError
from gaitlib.model.peers.layers import LastConv, LastNorm
from gaitlib.model.peers.streams import chosen
from gaitlib.skeleton import BONES, MID_HIP, NUM_JOINTS

STARTS, ENDS = zip(*BONES, strict=True)


def skeleton_maps(x: Tensor, height: int) -> Tensor:
    """Drawings of bones and joints between 0 and 1: [B, 30, T] -> [B, T, height, height * 11 / 16, 2].

    Each frame is moved and scaled so that its lowest and highest joint lie a sixth of the height from the border and the middle
    of the hips in the middle column. The value of a pixel at distance d from the nearest bone or joint is exp(-d^2 / (2 s^2)),
    where s is a sixteenth of the height.
    """
    pose = x.unflatten(1, (NUM_JOINTS, 2)).permute(0, 3, 1, 2)  # [B, T, 15, 2]
    top, bottom = pose[..., 1].amin(2), pose[..., 1].amax(2)
    middle = torch.stack([pose[:, :, MID_HIP, 0], (top + bottom) / 2], 2)
    scale = height / 1.5 / (bottom - top).clamp(min=0.5)  # a body half a torso high, or less, is no body
    across, down = ((pose - middle[:, :, None]) * scale[..., None, None])[..., None, None].unbind(3)  # [B, T, 15, 1, 1] each

    width = height * 11 // 16
    columns = torch.arange(width, device=x.device) - (width - 1) / 2
    rows = (torch.arange(height, device=x.device) - (height - 1) / 2)[:, None]
    to_joint = (columns - across).square() + (rows - down).square()  # [B, T, 15, height, width], squared distances

    start_x, start_y = chosen(across, STARTS, 2), chosen(down, STARTS, 2)
    bone_x, bone_y = chosen(across, ENDS, 2) - start_x, chosen(down, ENDS, 2) - start_y
    along = (columns - start_x) * bone_x + (rows - start_y) * bone_y
    length = bone_x.square() + bone_y.square()
    share = (along / length.clamp(min=1e-6)).clamp(0, 1)  # of the bone, up to its nearest point
    to_bone = chosen(to_joint, STARTS, 2) - share * (2 * along - share * length)  # [B, T, 14, height, width]
    nearest = torch.stack([to_bone.amin(2), to_joint.amin(2)], 4)
    return (nearest / (-2 * (height / 16) ** 2)).exp()


class Frames(nn.Sequential):
    """Layers that see one frame at a time: [B, T, H, W, a] -> [B, T, H', W', b]."""

    def forward(self, y: Tensor) -> Tensor:
        return super().forward(y.flatten(0, 1)).unflatten(0, (-1, y.shape[1]))


class Block(nn.Module):
    """A residual block with convolution over 3 frames in between if it is `temporal`: [B, T, H, W, a] -> [B, T, H', W', b]."""

    def __init__(self, a: int, b: int, stride: int, temporal: bool):
        super().__init__()
        self.first = Frames(LastConv(a, b, 3, stride, 1, bias=False), LastNorm(b), nn.ReLU())
        self.temporal = nn.Sequential(LastConv(b, b, (3, 1), padding=(1, 0), bias=False), LastNorm(b)) if temporal else None
        self.second = Frames(LastConv(b, b, 3, 1, 1, bias=False), LastNorm(b))
        self.shortcut = nn.Identity()
        if stride > 1 or a != b:
            self.shortcut = Frames(LastConv(a, b, 1, stride, bias=False), LastNorm(b))

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        if self.temporal:
            y = F.relu(y + self.temporal(y.flatten(2, 3)).reshape(y.shape))
        return F.relu(self.second(y) + self.shortcut(x))


class SkeletonGait(nn.Module):
    """width: channels of the first stage; blocks: how many each of the four stages has; height: of the drawings, in pixels.

    every: draw every so many frames. The embedding has height * width numbers, those of the strips from top to bottom.
    """

    def __init__(self, *, width: int = 64, blocks: Sequence[int] = (1, 4, 4, 1), height: int = 64, every: int = 1):
        super().__init__()
        if height not in range(16, 257, 16):
            raise InputError(f"SkeletonGait cannot draw {height} pixels high; set its height to a multiple of 16 up to 256.")
        if max(blocks) > 64:  # a few bytes of a file could ask for any number
            raise InputError(f"SkeletonGait cannot have {max(blocks)} blocks in a stage; set its blocks to 64 or fewer each.")
        self.height, self.every = height, every
        stem = LastConv(2, width, 3, padding=1, bias=False)
        layers, a = [Frames(stem, LastNorm(width), nn.ReLU())], width
        for stage, (count, stride) in enumerate(zip(blocks, (1, 2, 2, 1), strict=True)):
            for place in range(count):
                layers.append(Block(a, width * 2**stage, 1 if place else stride, temporal=stage > 0))
                a = width * 2**stage
        self.backbone = nn.Sequential(*layers)
        self.strips = nn.Parameter(torch.empty(height // 4, 8 * width, 4 * width))
        bound = (6 / (8 * width + 4 * width)) ** 0.5  # Xavier's, of each strip
        nn.init.uniform_(self.strips, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """float32 [B, 30, T] -> embedding [B, height * width], not normalized."""
        # a slice with a step exports for even numbers of frames only
        drawn = x.index_select(2, torch.arange(0, x.shape[2], self.every, device=x.device))
        y = self.backbone(skeleton_maps(drawn, self.height)).amax(1)  # [B, height / 4, _, 8 * width]
        strips = y.mean(2) + y.amax(2)  # [B, height / 4, 8 * width]
        return torch.einsum("bsc,sce->bse", strips, self.strips).flatten(1)
