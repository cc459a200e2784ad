"""Attention between joints does what a loop over frames, heads and joints does, and stays finite for any scores."""

import numpy as np
import torch

from gaitlib.model.peers.layers import JointAttention


def test_attention_against_loops():
    torch.manual_seed(0)
    layer = JointAttention(6, 8, 4, 2)
    y = torch.randn(2, 3, 15, 6)
    with torch.no_grad():
        found = layer(y).numpy()
        qkv = layer.qkv(y).numpy().astype(np.float64)
        weight, bias = layer.out.weight.numpy(), layer.out.bias.numpy()
    for b, t, j in np.ndindex(2, 3, 15):
        mixed = np.zeros(8)
        for head in range(2):
            keys = slice(4 + 2 * head, 6 + 2 * head)
            score = [qkv[b, t, j, 2 * head : 2 * head + 2] @ qkv[b, t, other, keys] / np.sqrt(2) for other in range(15)]
            share = np.exp(score) / np.exp(score).sum()
            for other in range(15):
                mixed[4 * head : 4 * head + 4] += share[other] * qkv[b, t, other, 8 + 4 * head : 12 + 4 * head]
        np.testing.assert_allclose(found[b, t, j], weight @ mixed + bias, rtol=1e-4, atol=1e-5)


def test_enormous_scores_stay_finite():
    layer = JointAttention(6, 8, 4, 2)
    torch.nn.init.normal_(layer.qkv.weight, std=1e3)
    y = torch.randn(1, 2, 15, 6)
    layer(y).sum().backward()
    assert layer(y).isfinite().all()
    assert layer.qkv.weight.grad.isfinite().all()
