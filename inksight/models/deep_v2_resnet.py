"""deep_v2/resnet: pre-activation residual stages (He et al. 2016, "Identity Mappings").

    net = models.create("deep_v2/resnet", num_classes=20, image_shape=(28, 28), attention="se", depth=2)

Nothing but sums lies on the way from the stem to the end, so gradients arrive everywhere. Stages of width, 2, 4 and
8 width halve the picture between them. Options: attention after each branch, separable convolutions, stochastic depth
whose rate grows with depth.
"""

from __future__ import annotations

from torch import Tensor, nn

from inksight.models.layers import ATTENTION, StochasticDepth, convolution, stem


class Unit(nn.Module):
    """x + branch(norm, relu, convolution, twice); where the shape changes, the shortcut starts at the first norm."""

    def __init__(
        self, before: int, after: int, *, stride: int, attention: str, separable: bool, drop_rate: float
    ) -> None:
        super().__init__()
        self.norm = nn.Sequential(nn.BatchNorm2d(before), nn.ReLU())
        self.branch = nn.Sequential(
            convolution(before, after, stride=stride, separable=separable),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            convolution(after, after, separable=separable),
            ATTENTION[attention](after),
            StochasticDepth(drop_rate),
        )
        same = before == after and stride == 1
        self.shortcut = None if same else nn.Conv2d(before, after, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, before, h, w) to (N, after, h / stride, w / stride)."""
        ready = self.norm(x)
        y: Tensor = self.branch(ready)
        return y + (x if self.shortcut is None else self.shortcut(ready))


class ResNet(nn.Module):
    """Stem, four stages of units, norm, global mean, out."""

    def __init__(
        self,
        *,
        num_classes: int,
        input_shape: tuple[int, int, int],
        attention: str = "se",
        separable: bool = False,
        stochastic_depth: float = 0.1,
        width: int = 32,
        depth: int = 2,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [stem(input_shape[0], width, input_shape)]
        before, count = width, 4 * depth
        for index in range(count):
            stage, first = divmod(index, depth)
            after = width * 2**stage
            layers.append(
                Unit(
                    before,
                    after,
                    stride=2 if stage and not first else 1,
                    attention=attention,
                    separable=separable,
                    drop_rate=stochastic_depth * index / max(1, count - 1),
                )
            )
            before = after
        self.body = nn.Sequential(*layers, nn.BatchNorm2d(before), nn.ReLU())
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(before, num_classes)

    def get_features(self, x: Tensor) -> Tensor:
        """Return the (N, 8 width) means of the last maps."""
        features: Tensor = self.body(x).mean(dim=(2, 3))
        return features

    def forward(self, x: Tensor) -> Tensor:
        """Map float32 (N, C, h, w) to logits (N, num_classes)."""
        logits: Tensor = self.head(self.dropout(self.get_features(x)))
        return logits
