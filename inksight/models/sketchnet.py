"""sketchnet: our own small residual nets for 28x28 ink drawings.

    from inksight import models

    net = models.create("sketchnet-s", num_classes=20, image_shape=(28, 28))    # 56,836 parameters
    net = models.create("sketchnet-m", num_classes=20, image_shape=(28, 28))    # 263,652 parameters
    net = models.create("sketchnet-l", num_classes=20, image_shape=(28, 28))    # 1,047,988 parameters

A 5x5 convolution halves the picture, then three stages (14x14, 6x6, 3x3) of one residual block each, joined by 3x3
convolutions of stride 2; the mean of the last maps goes to one linear layer. Ink is sparse and large compared with a
pixel, so hardly anything is lost by never computing at full size, and that is where small nets spend their time. The
second stage has no padding: a drawing's margin is blank, and 6x6 takes three quarters of the work of 7x7. Plain 3x3
convolutions, because on CPUs depthwise ones are memory-bound: fewer multiplications, yet slower to train.
docs/experiments.md has the measurements. Made for 28x28; larger images work but are seen through a small window.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inksight.errors import UsageError

WIDTHS = {"s": (16, 32, 32), "m": (16, 48, 96), "l": (32, 96, 192)}


PADDING = (2, 0, 1)
"""Blank pixels around what each stage's first convolution sees."""


def _convolution(before: int, after: int, size: int = 3, stride: int = 1, padding: int = 1) -> nn.Sequential:
    """A convolution with batch norm; the norm is folded into the weights at inference."""
    return nn.Sequential(
        nn.Conv2d(before, after, size, stride, padding, bias=False),
        nn.BatchNorm2d(after),
    )


class ResidualBlock(nn.Module):
    """x + two 3x3 convolutions of x, at one size and width (He et al. 2016)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _convolution(channels, channels)
        self.second = _convolution(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, h, w) to the same shape."""
        return F.relu(x + self.second(F.relu(self.first(x))))


class SketchNet(nn.Module):
    """Stem, three residual stages, global mean, one linear layer."""

    def __init__(
        self,
        *,
        num_classes: int,
        input_shape: tuple[int, int, int],
        widths: tuple[int, int, int],
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        channels, height, width = input_shape
        if min(height, width) < 5:
            raise UsageError(
                f"images of {height} x {width} pixels are too small for this model",
                hint="sketchnet needs at least 5 x 5; drawings are 28 x 28.",
            )
        layers: list[nn.Module] = []
        for maps, padding in zip(widths, PADDING, strict=True):
            size = 3 if layers else 5
            layers += [_convolution(channels, maps, size, stride=2, padding=padding), nn.ReLU(), ResidualBlock(maps)]
            channels = maps
        self.body = nn.Sequential(*layers)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(channels, num_classes)

    def get_features(self, x: Tensor) -> Tensor:
        """Return the (N, D) means of the last maps, D the last stage's width."""
        return torch.mean(self.body(x), dim=(2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Map float32 (N, C, h, w) to logits (N, num_classes)."""
        logits: Tensor = self.head(self.dropout(self.get_features(x)))
        return logits


def small(**options: Any) -> SketchNet:
    """Build sketchnet-s."""
    return SketchNet(widths=WIDTHS["s"], **options)


def medium(**options: Any) -> SketchNet:
    """Build sketchnet-m."""
    return SketchNet(widths=WIDTHS["m"], **options)


def large(**options: Any) -> SketchNet:
    """Build sketchnet-l."""
    return SketchNet(widths=WIDTHS["l"], **options)
