"""The three small convolutional nets of the drawing guides, parameter for parameter.

    from inksight import models

    net = models.create("convnet", num_classes=10, image_shape=(28, 28))        # 108,618 parameters
    net = models.create("simple_cnn", num_classes=20, image_shape=(28, 28))     # 50,836 parameters
    net = models.create("balanced_cnn", num_classes=50, image_shape=(28, 28))   # 427,634 parameters
    net.get_features(x).shape                                                   # (N, 128), before the last layer

Images of other sizes work; the dense layers grow with them. Convolutions are 3x3. Initial weights are PyTorch's, not
Keras'.
"""

from __future__ import annotations

from torch import Tensor, nn

from inksight.errors import UsageError


def _pooled(input_shape: tuple[int, int, int], *, padding: int, stages: int) -> int:
    """Return height x width after `stages` of 3x3 convolution and 2x2 pooling; raises UsageError if nothing is left."""
    _, height, width = input_shape
    for _ in range(stages):
        height, width = ((side + 2 * padding - 2) // 2 for side in (height, width))
    if min(height, width) < 1:
        raise UsageError(
            f"images of {input_shape[1]} x {input_shape[2]} pixels are too small for this model",
            hint="Use larger images; 28 x 28 is what these nets were made for.",
        )
    return height * width


class ConvNet(nn.Module):
    """Conv 16 and conv 32 without padding, each max-pooled, dropout, dense 128, out."""

    def __init__(self, *, num_classes: int, input_shape: tuple[int, int, int], dropout: float = 0.5) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(input_shape[0], 16, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Dropout(dropout),
            nn.Flatten(),
            nn.Linear(32 * _pooled(input_shape, padding=0, stages=2), 128),
            nn.ReLU(),
        )
        self.head = nn.Linear(128, num_classes)

    def get_features(self, x: Tensor) -> Tensor:
        """Return the (N, 128) activations before the last layer."""
        features: Tensor = self.body(x)
        return features

    def forward(self, x: Tensor) -> Tensor:
        """Map float32 (N, C, h, w) to logits (N, num_classes)."""
        logits: Tensor = self.head(self.get_features(x))
        return logits


class SimpleCNN(nn.Module):
    """Conv 32 and conv 64 without padding, each max-pooled, flattened, dropout, out: 320 + 18,496 + 1,601 per class."""

    def __init__(self, *, num_classes: int, input_shape: tuple[int, int, int], dropout: float = 0.5) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(input_shape[0], 32, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(64 * _pooled(input_shape, padding=0, stages=2), num_classes)

    def get_features(self, x: Tensor) -> Tensor:
        """Return the (N, 1600) flattened maps (for 28x28) before the last layer."""
        features: Tensor = self.body(x)
        return features

    def forward(self, x: Tensor) -> Tensor:
        """Map float32 (N, C, h, w) to logits (N, num_classes)."""
        logits: Tensor = self.head(self.dropout(self.get_features(x)))
        return logits


class BalancedCNN(nn.Module):
    """Conv 32, 64, 128, each padded, batch-normalised and max-pooled, then dense 256 and 128 with dropout, out."""

    def __init__(
        self,
        *,
        num_classes: int,
        input_shape: tuple[int, int, int],
        dropout: float = 0.5,
        dropout_2: float = 0.3,
    ) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        channels = input_shape[0]
        for width in (32, 64, 128):
            stages += [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)]
            channels = width
        self.body = nn.Sequential(
            *stages,
            nn.Flatten(),
            nn.Linear(128 * _pooled(input_shape, padding=1, stages=3), 256),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(256, 128),
            nn.ReLU(),
            nn.Dropout(dropout_2),
        )
        self.head = nn.Linear(128, num_classes)

    def get_features(self, x: Tensor) -> Tensor:
        """Return the (N, 128) activations before the last layer."""
        features: Tensor = self.body(x)
        return features

    def forward(self, x: Tensor) -> Tensor:
        """Map float32 (N, C, h, w) to logits (N, num_classes)."""
        logits: Tensor = self.head(self.get_features(x))
        return logits
