"""deep_v2/hybrid: residual and dense connections side by side, with attention (after Chen et al. 2017, "Dual Path").

    net = models.create("deep_v2/hybrid", num_classes=20, image_shape=(28, 28), attention="cbam")

The maps of a stage are in two parts. Each unit sees both, adds to the first (residual: refine what is there) and
appends `growth` maps to the second (dense: keep what is new). Between stages a 1x1 convolution merges them and the
picture is halved. Options: attention in every unit, separable convolutions, stochastic depth.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from inksight.models.layers import ATTENTION, StochasticDepth, convolution, stem

STAGES = 4


class DualUnit(nn.Module):
    """Compute width + growth maps from all; the first `width` are summed in, the others appended."""

    def __init__(
        self, before: int, width: int, growth: int, *, attention: str, separable: bool, drop_rate: float
    ) -> None:
        super().__init__()
        self.width = width
        self.branch = nn.Sequential(
            nn.BatchNorm2d(before),
            nn.ReLU(),
            nn.Conv2d(before, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            convolution(width, width + growth, separable=separable),
            ATTENTION[attention](width + growth),
            StochasticDepth(drop_rate),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, h, w) to (N, C + growth, h, w)."""
        y = self.branch(x)
        return torch.cat([x[:, : self.width] + y[:, : self.width], x[:, self.width :], y[:, self.width :]], dim=1)


class Hybrid(nn.Module):
    """Stem, four stages of dual units, norm, global mean, out."""

    def __init__(
        self,
        *,
        num_classes: int,
        input_shape: tuple[int, int, int],
        attention: str = "cbam",
        separable: bool = False,
        stochastic_depth: float = 0.1,
        width: int = 32,
        growth: int = 12,
        depth: int = 2,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [stem(input_shape[0], width, input_shape)]
        channels, count = width, STAGES * depth
        for stage in range(STAGES):
            stage_width = width * 2**stage
            if stage:
                layers += [nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, stage_width, 1, bias=False)]
                # ceil_mode: tiny pictures never shrink to nothing.
                layers.append(nn.AvgPool2d(2, ceil_mode=True))
                channels = stage_width
            for unit in range(depth):
                layers.append(
                    DualUnit(
                        channels,
                        stage_width,
                        growth,
                        attention=attention,
                        separable=separable,
                        drop_rate=stochastic_depth * (stage * depth + unit) / max(1, count - 1),
                    )
                )
                channels += growth
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
