"""Layers on images with their channels last, [N, H, W, C]: convolution takes them uncopied, attention wants them."""

from torch import Tensor, nn


class LastConv(nn.Conv2d):
    """Convolution over two axes, such as time and joints: [N, H, W, a] -> [N, H', W', b]."""

    def forward(self, y: Tensor) -> Tensor:
        return super().forward(y.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class LastNorm(nn.Module):
    """Batch normalization of each channel: [N, H, W, C] -> [N, H, W, C].

    It holds torch's layer and is none, because torch puts another in the place of each when several GPUs share a batch.
    """

    def __init__(self, channels: int, eps: float = 1e-5):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, eps)

    def forward(self, y: Tensor) -> Tensor:
        return self.norm(y.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def neighbors(y: Tensor, links: Tensor) -> Tensor:
    """Sums over joints, each with three sets of weights: [B, T, V, C], weights [B or 1, 3, from V, to V] -> [B, T, V, 3 * C]."""
    weights = links.permute(0, 3, 1, 2).flatten(1, 2)[:, None]  # [B or 1, 1, V * 3, V]
    return (weights @ y).unflatten(2, (-1, 3)).flatten(3)


class JointAttention(nn.Module):
    """Self-attention of the joints of each frame: [B, T, 15, a] -> [B, T, 15, b].

    keys: the channels of queries and of keys, of all heads together; values have b.
    """

    def __init__(self, a: int, b: int, keys: int, heads: int):
        super().__init__()
        self.heads, self.sizes = heads, (keys, keys, b)
        self.qkv, self.out = nn.Linear(a, sum(self.sizes)), nn.Linear(b, b)

    def forward(self, y: Tensor) -> Tensor:
        parts = self.qkv(y).flatten(0, 1).split(self.sizes, 2)
        q, k, v = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in parts)  # [B * T, heads, 15, _]
        # with 15 joints and heads of few channels, torch's softmax and fused attention take two to three times as long
        score = (q * q.shape[3] ** -0.5) @ k.transpose(2, 3)
        share = (score - score.detach().amax(3, keepdim=True)).exp()
        mixed = (share @ v) / share.sum(3, keepdim=True)
        return self.out(mixed.transpose(1, 2).reshape(*y.shape[:3], -1))
