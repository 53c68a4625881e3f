"""deep_v2/densenet: every layer sees all maps before it (Huang et al. 2017).

    net = models.create("deep_v2/densenet", num_classes=20, image_shape=(28, 28), growth=16, depth=4)

Each layer adds `growth` maps to those of its block; between blocks a 1x1 convolution keeps half of them and the
picture is halved. Options: attention at the end of each block, separable convolutions, stochastic depth (a layer's new
maps are blank for some samples).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from inksight.models.layers import ATTENTION, StochasticDepth, convolution, stem

BLOCKS = 4


class DenseLayer(nn.Module):
    """Norm, 1x1 convolution to 4 growth, norm, 3x3 convolution to growth, appended to the input."""

    def __init__(self, before: int, growth: int, *, separable: bool, drop_rate: float) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.BatchNorm2d(before),
            nn.ReLU(),
            nn.Conv2d(before, 4 * growth, 1, bias=False),
            nn.BatchNorm2d(4 * growth),
            nn.ReLU(),
            convolution(4 * growth, growth, separable=separable),
            StochasticDepth(drop_rate),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, h, w) to (N, C + growth, h, w)."""
        return torch.cat([x, self.branch(x)], dim=1)


class DenseNet(nn.Module):
    """Stem, four dense blocks, norm, global mean, out."""

    def __init__(
        self,
        *,
        num_classes: int,
        input_shape: tuple[int, int, int],
        attention: str = "se",
        separable: bool = False,
        stochastic_depth: float = 0.1,
        growth: int = 16,
        depth: int = 4,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        channels, count = 2 * growth, BLOCKS * depth
        layers: list[nn.Module] = [stem(input_shape[0], channels, input_shape)]
        for block in range(BLOCKS):
            for layer in range(depth):
                rate = stochastic_depth * (block * depth + layer) / max(1, count - 1)
                layers.append(DenseLayer(channels, growth, separable=separable, drop_rate=rate))
                channels += growth
            layers.append(ATTENTION[attention](channels))
            if block < BLOCKS - 1:
                half = channels // 2
                layers += [nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, half, 1, bias=False)]
                # ceil_mode: tiny pictures never shrink to nothing.
                layers.append(nn.AvgPool2d(2, ceil_mode=True))
                channels = half
        self.body = nn.Sequential(*layers, nn.BatchNorm2d(channels), nn.ReLU())
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(channels, num_classes)

    def get_features(self, x: Tensor) -> Tensor:
        """Return the (N, D) means of the last maps."""
        features: Tensor = self.body(x).mean(dim=(2, 3))
        return features

    def forward(self, x: Tensor) -> Tensor:
        """Map float32 (N, C, h, w) to logits (N, num_classes)."""
        logits: Tensor = self.head(self.dropout(self.get_features(x)))
        return logits
