"""deep_v1 and deep_v1_residual: four blocks of two convolutions, 32-64-128-256, and a dense head.

    net = models.create("deep_v1", num_classes=20, image_shape=(28, 28))             # 1,208,116 parameters
    net = models.create("deep_v1_residual", num_classes=20, image_shape=(28, 28))    # 1,252,116 parameters

Batch norm after every convolution, max pooling and dropout after every block, global mean, dense 128. In the residual
form a 1x1 convolution carries each block's input around it. Halves the picture four times, so at least 2 x 2 pixels.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

WIDTHS = (32, 64, 128, 256)


class Block(nn.Module):
    """Two 3x3 convolutions with batch norm, optionally with a shortcut, then max pooling and dropout."""

    def __init__(self, before: int, after: int, *, residual: bool, dropout: float) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(before, after, 3, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, padding=1, bias=False),
            nn.BatchNorm2d(after),
        )
        self.shortcut = (
            nn.Sequential(nn.Conv2d(before, after, 1, bias=False), nn.BatchNorm2d(after)) if residual else None
        )
        # ceil_mode: 7 pixels become 4, not 3, and 1 stays 1.
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, before, h, w) to (N, after, h / 2, w / 2), rounded up."""
        y: Tensor = self.convolutions(x)
        if self.shortcut is not None:
            y = y + self.shortcut(x)
        pooled: Tensor = self.dropout(self.pool(F.relu(y)))
        return pooled


class DeepV1(nn.Module):
    """Four blocks, global mean, dense 128, out."""

    def __init__(
        self,
        *,
        num_classes: int,
        input_shape: tuple[int, int, int],
        residual: bool = False,
        block_dropout: float = 0.1,
        dropout: float = 0.4,
    ) -> None:
        super().__init__()
        widths = (input_shape[0], *WIDTHS)
        self.body = nn.Sequential(
            *(
                Block(before, after, residual=residual, dropout=block_dropout)
                for before, after in zip(widths, WIDTHS, strict=False)
            )
        )
        self.dense = nn.Sequential(nn.Linear(WIDTHS[-1], 128), nn.ReLU())
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(128, num_classes)

    def get_features(self, x: Tensor) -> Tensor:
        """Return the (N, 128) activations before the last layer."""
        features: Tensor = self.dense(self.body(x).mean(dim=(2, 3)))
        return features

    def forward(self, x: Tensor) -> Tensor:
        """Map float32 (N, C, h, w) to logits (N, num_classes)."""
        logits: Tensor = self.head(self.dropout(self.get_features(x)))
        return logits


def deep_v1_residual(
    *, num_classes: int, input_shape: tuple[int, int, int], block_dropout: float = 0.1, dropout: float = 0.4
) -> DeepV1:
    """Build deep_v1 with shortcuts."""
    return DeepV1(
        num_classes=num_classes, input_shape=input_shape, residual=True, block_dropout=block_dropout, dropout=dropout
    )
