"""GPGait: graphs of body parts, on poses in an upright frame of reference.

Fu, Meng, Hou, Hu, Huang, "GPGait: Generalized Pose-based Gait Recognition", ICCV 2023, arXiv 2303.05234.

Every frame is turned until the spine is vertical and scaled to the same height; its coordinates, its bones and the angles of its
limbs are three streams. In each, graph convolutions with attention between joints first stay within a limb, then, side by side,
within the whole body, its upper and lower half, and other unions of limbs. The maximum over time is pooled over each of the 19
parts, which have a linear layer each. The order of the frames plays no role.

Parameters: 3,266,826. The paper was not found to state a number. The released definition (github.com/BNU-IVC/FastPoseGait,
configs/gpgait/gpgait.yaml) has 3,285,146 without its classifier: 17 joints instead of 15, and biases that the next batch
normalization or softmax cancels and that are left out here.

What differs: there are no eyes and ears; the neck belongs to the head and the mid-hip to the legs, and in the first layers the
three share a part. Two joints of the limbs are as far apart as in the whole skeleton. The paper turns the spine upright as here;
the released configuration for CASIA-B only centers and scales. Its losses see each of the 19 parts by itself, those of this
program the embedding as a whole.
"""

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gaitlib import InputError
from gaitlib.model.peers.layers import LastNorm, neighbors
from gaitlib.model.peers.streams import adjacency, bones, chosen, hops, joints
from gaitlib.skeleton import HEAD, MID_HIP, MIRROR, NECK, NUM_JOINTS, RIGHT_JOINTS

SHOULDER, ELBOW, WRIST, HIP, KNEE, ANKLE = RIGHT_JOINTS
RIGHT_ARM, RIGHT_LEG = [SHOULDER, ELBOW, WRIST], [HIP, KNEE, ANKLE]
LEFT_ARM, LEFT_LEG = MIRROR[RIGHT_ARM].tolist(), MIRROR[RIGHT_LEG].tolist()
ARMS, LEGS, TOP = RIGHT_ARM + LEFT_ARM, [*RIGHT_LEG, *LEFT_LEG, MID_HIP], [HEAD, NECK]
#: The parts that the first layers see.
LIMBS = RIGHT_ARM, LEFT_ARM, RIGHT_LEG, LEFT_LEG, [HEAD, NECK, MID_HIP]
#: The partitions that the last layers see, one each; their parts are pooled.
WHOLE, HALVES = (ARMS + LEGS + TOP,), (ARMS + TOP, LEGS)
PARTITIONS = HALVES, (ARMS, LEGS + TOP), (ARMS, LEGS, TOP), WHOLE


def both_sides(*right: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The columns of rows of joints of the right side followed by the same rows of the left side."""
    return [tuple(column) for column in np.concatenate([right, MIRROR[np.array(right)]]).T.tolist()]


#: Joints with the two that they see at an angle, and ends of limbs with the joint before them.
INNER = both_sides((SHOULDER, ELBOW, HIP), (ELBOW, SHOULDER, WRIST), (HIP, SHOULDER, KNEE), (KNEE, HIP, ANKLE))
ENDS = both_sides((WRIST, ELBOW), (ANKLE, KNEE))
ANGLED = np.array(INNER[0] + ENDS[0])


def upright(y: Tensor) -> Tensor:
    """Every frame turned about the neck until the mid-hip is below it, and scaled to height one: [B, 2, T, 15] -> the same."""
    right, down = F.normalize(y[..., MID_HIP], dim=1)[..., None].unbind(1)  # of the spine, [B, T, 1]
    y = torch.stack([down * y[:, 0] - right * y[:, 1], right * y[:, 0] + down * y[:, 1]], 1)
    height = y[:, 1].amax(2) - y[:, 1].amin(2)
    return y / height.clamp(min=1e-6)[:, None, :, None]


def angles(y: Tensor) -> Tensor:
    """The angle at each joint of the limbs, at ends with the vertical, in radians: [B, 2, T, 15] -> [B, 1, T, 12]."""
    a, b = (chosen(y, other) - chosen(y, INNER[0]) for other in INNER[1:])
    inner = torch.atan2((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).abs(), (a * b).sum(1))
    end = (chosen(y, ENDS[1]) - chosen(y, ENDS[0])).abs()
    return torch.cat([inner, torch.atan2(end[:, 0], end[:, 1])], 2)[:, None]


class PartGraphConv(nn.Module):
    """[B, T, V, a] -> [B, T, V, b]: every joint adds up those of its part, weighted by the graph and by attention.

    distance: the number of bones between two joints, int64 [V, V]. parts: which joints a part has, bool [parts, V].
    """

    def __init__(self, a: int, b: int, distance: np.ndarray, parts: Tensor):
        super().__init__()
        self.register_buffer("adjacency", adjacency(distance), persistent=False)
        self.register_buffer("together", (parts[:, :, None] & parts[:, None]).any(0), persistent=False)
        self.learned = nn.Parameter(torch.full_like(self.adjacency, 1e-6))
        self.query, self.key = nn.Linear(a, 3 * (b // 4), bias=False), nn.Linear(a, 3 * (b // 4))
        self.mixed = nn.Sequential(nn.Linear(3 * a, b, bias=False), LastNorm(b), nn.Mish())
        self.shortcut = nn.Identity() if a == b else nn.Sequential(nn.Linear(a, b, bias=False), LastNorm(b))

    def forward(self, y: Tensor) -> Tensor:
        split = (layer(y).unflatten(3, (3, -1)).permute(0, 3, 2, 1, 4).flatten(3) for layer in (self.query, self.key))
        query, key = split  # [B, 3, V, T * b / 4]
        attention = (query @ key.mT / query.shape[3]).softmax(2)
        links = (attention + self.adjacency + self.learned) * self.together  # [B, 3, V, V], from the joints of axis 2
        return self.mixed(neighbors(y, links)) + self.shortcut(y)


class PartPool(nn.Module):
    """Maximum over time, then mean plus maximum over the joints of each part, bool [parts, V]: [B, T, V, C] -> [B, parts, C]."""

    def __init__(self, parts: Tensor):
        super().__init__()
        self.register_buffer("parts", parts, persistent=False)

    def forward(self, y: Tensor) -> Tensor:
        y = y.max(1).values  # [B, V, C]
        mean = (self.parts / self.parts.sum(1, keepdim=True)) @ y
        return mean + y[:, None].masked_fill(~self.parts[..., None], -torch.inf).amax(2)


class Stream(nn.Module):
    """What describes some joints, numbered as in gaitlib.skeleton: [B, C, T, V] -> features of parts, [B, parts, 4 width]."""

    def __init__(self, channels: int, width: int, numbers: np.ndarray, partitions: tuple):
        super().__init__()
        distance = hops()[np.ix_(numbers, numbers)]
        limbs, *wholes = (torch.from_numpy(np.stack([np.isin(numbers, part) for part in p])) for p in (LIMBS, *partitions))
        sizes = channels, width, width, 2 * width
        self.norm = nn.BatchNorm1d(channels * len(numbers))
        self.shared = nn.Sequential(*(PartGraphConv(a, b, distance, limbs) for a, b in pairwise(sizes)))
        self.paths = nn.ModuleList(
            nn.Sequential(PartGraphConv(2 * width, 4 * width, distance, parts), PartPool(parts)) for parts in wholes
        )

    def forward(self, y: Tensor) -> Tensor:
        y = self.norm(y.transpose(2, 3).flatten(1, 2)).unflatten(1, (y.shape[1], -1)).permute(0, 3, 2, 1)
        y = self.shared(y)  # [B, T, V, 2 width]
        return torch.cat([path(y) for path in self.paths], 1)


class GPGait(nn.Module):
    """width: the channels of the first layers, a multiple of 4; the last have 4 times as many, and so has each part."""

    def __init__(self, *, width: int = 64):
        super().__init__()
        if width < 4 or width % 4:
            raise InputError(f"GPGait cannot be {width} channels wide; set its width to a multiple of 4, such as 64 or 16.")
        everywhere = np.arange(NUM_JOINTS)
        self.coordinates, self.bones = (Stream(2, width, everywhere, PARTITIONS) for _ in range(2))
        self.angles = Stream(1, width, ANGLED, (HALVES, WHOLE))
        self.fc = nn.Parameter(nn.init.xavier_uniform_(torch.empty(19, 4 * width, 4 * width)))

    def forward(self, x: Tensor) -> Tensor:
        """float32 [B, 30, T] -> embedding [B, 19 * 4 width], not normalized."""
        y = upright(joints(x))  # [B, 2, T, 15]
        parts = torch.cat([self.coordinates(y), self.bones(bones(y)), self.angles(angles(y))], 1)  # [B, 19, 4 width]
        return torch.einsum("bpc,pce->bpe", parts, self.fc).flatten(1)
