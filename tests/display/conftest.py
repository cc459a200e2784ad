"""A small procedural walker and a tiny autoencoder, both made for looking at."""

import base64
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import torch

from gaitlib.model.autoencoder import Decoder


def walker(view=90.0, frames=64, stride=0.5, arms=0.45, width=0.34, phase=0.0):
    """A person walking in place, view in degrees: float32 [frames, 15, 2], neck at the origin, torso 1, y down."""
    t = 2 * np.pi * np.arange(frames) / 26 + phase
    joints = np.zeros((frames, 15, 3))  # x forward, y down, z to the person's right

    def limb(start, first, second, angle, bend, lengths, side):
        for j, length, a in ((first, lengths[0], angle), (second, lengths[1], angle + bend)):
            joints[:, j] = joints[:, start] + length * np.stack([np.sin(a), np.cos(a), 0 * a], axis=1)
            joints[:, j, 2] += side * 0.02
            start = j

    joints[:, 0] = [0.08, -0.42, 0]
    joints[:, 8] = np.stack([0.02 * np.sin(2 * t), 1 + 0.02 * np.cos(2 * t), 0 * t], axis=1)
    sides = (1, (2, 3, 4), (9, 10, 11)), (-1, (5, 6, 7), (12, 13, 14))
    for side, (shoulder, elbow, wrist), (hip, knee, ankle) in sides:
        swing = side * np.sin(t)
        joints[:, shoulder] = np.stack([0.05 * side * np.sin(t), 0.08 + 0 * t, side * width + 0 * t], axis=1)
        joints[:, hip] = joints[:, 8] + [0, 0.04, side * 0.18]
        limb(shoulder, elbow, wrist, -arms * swing, 0.35 + 0.15 * np.clip(-swing, 0, None), (0.55, 0.5), side)
        lift = np.clip(-side * np.cos(t + 0.4), 0, None)
        limb(hip, knee, ankle, stride * swing + 0.06, -0.95 * lift**2 - 0.06, (0.8, 0.78), side)
    angle = np.deg2rad(view)
    x = np.sin(angle) * joints[:, :, 0] + np.cos(angle) * joints[:, :, 2]
    return np.stack([x, joints[:, :, 1]], axis=-1).astype(np.float32)


@dataclass
class Codes:
    motion: torch.Tensor
    body: torch.Tensor
    view: torch.Tensor


class LinearAutoencoder(torch.nn.Module):
    """View is the mean pose's x, body its y, motion all that moves: exact on any walk, and easy to reason about.

    The decoder adds the three: a channel and its negative pass LeakyReLU(0.2) as f(x) - f(-x) = 1.2 x.
    """

    scrambled = False

    def __init__(self):
        super().__init__()
        self.decoder = Decoder()
        first, second, third = (layer for layer in self.decoder.model if isinstance(layer, torch.nn.Conv1d))
        middle, rows = 3, torch.arange(30)  # the tap that meets the frame itself, see upsampled_conv
        with torch.no_grad():
            for layer in (first, second, third):
                layer.weight.zero_()
                layer.bias.zero_()
            for sign, start in ((1, 0), (-1, 30)):
                for code in (0, 128, 256):
                    first.weight[start + rows, code + rows, middle] = sign
                for other, first_sign in ((0, 1), (30, -1)):
                    second.weight[start + rows, other + rows, middle] = sign * first_sign / 1.2
                third.weight[rows // 2 * 3 + rows % 2, start + rows, middle] = sign / 1.2

    def encode(self, x):
        mean = x.mean(dim=2)
        motion = torch.zeros(len(x), 128, x.shape[2])
        motion[:, :30] = x - mean[:, :, None]
        body, view = torch.zeros(len(x), 128), torch.zeros(len(x), 128)
        view[:, :30:2], body[:, 1:30:2] = mean[:, ::2], mean[:, 1::2]
        return Codes(motion, body, view)

    def decode(self, motion, body, view):
        return self.decoder(motion, body, view)


def people():
    """Two people, each seen from three cameras at once: windows float32 [6, 64, 15, 2] and their table."""
    rows, windows = [], []
    for subject, shape in (("001", {}), ("002", {"stride": 0.32, "arms": 0.2, "width": 0.46, "phase": 1.1})):
        for view in ("000", "054", "090"):
            windows.append(walker(float(view), **shape))
            rows.append([subject, "nm", 1, view, f"{subject}-nm-01"])
    return np.stack(windows), pd.DataFrame(rows, columns=["subject", "condition", "run", "view", "recording"])


@pytest.fixture
def unpacked():
    """The numbers that `packed` put into a page, as player.js reads them: {"data", "scale"} -> float32 [n]."""

    def read(numbers):
        steps = np.frombuffer(base64.b64decode(numbers["data"]), dtype="<i2")
        return np.where(steps == -32768, np.nan, steps * numbers["scale"]).astype(np.float32)

    return read


@pytest.fixture(name="walker")
def walker_fixture():
    return walker


@pytest.fixture(name="people")
def people_fixture():
    return people()


@pytest.fixture
def autoencoder():
    return LinearAutoencoder()
