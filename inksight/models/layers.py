"""Parts that the deep families share: attention over maps, separable convolutions, stochastic depth.

    ATTENTION["cbam"](64)(torch.rand(2, 64, 14, 14)).shape        # (2, 64, 14, 14)

Each attention keeps the shape of its maps and starts near the identity or a mild damping.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Tokens per side that self-attention looks at; larger maps are averaged down, so its cost stays linear in pixels.
_SEEN = 8


class SqueezeExcite(nn.Module):
    """Weigh channels by what the whole picture holds (Hu et al. 2018)."""

    def __init__(self, channels: int, reduction: int = 8) -> None:
        super().__init__()
        hidden = max(4, channels // reduction)
        self.gate = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, h, w) to the same shape."""
        return x * torch.sigmoid(self.gate(x.mean(dim=(2, 3))))[:, :, None, None]


class CBAM(nn.Module):
    """Weigh channels by their mean and maximum, then places by the same over channels (Woo et al. 2018)."""

    def __init__(self, channels: int, reduction: int = 8) -> None:
        super().__init__()
        hidden = max(4, channels // reduction)
        self.gate = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels))
        self.place = nn.Conv2d(2, 1, 7, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, h, w) to the same shape."""
        weight = self.gate(x.mean(dim=(2, 3))) + self.gate(x.amax(dim=(2, 3)))
        x = x * torch.sigmoid(weight)[:, :, None, None]
        seen = torch.cat([x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)], dim=1)
        return x * torch.sigmoid(self.place(seen))


class SelfAttention(nn.Module):
    """Let every place gather from all others, added to the maps (Vaswani et al. 2017; Wang et al. 2018)."""

    def __init__(self, channels: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads if channels % heads == 0 else 1
        self.norm = nn.GroupNorm(1, channels)
        self.query = nn.Conv2d(channels, channels, 1)
        self.key_value = nn.Conv2d(channels, 2 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        # Zero at first: a new net is the one without attention, and learns when to use it.
        self.strength = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, h, w) to the same shape."""
        n, channels, height, width = x.shape
        normed = self.norm(x)
        step = max(1, -(-max(height, width) // _SEEN))
        seen = F.avg_pool2d(normed, step, ceil_mode=True) if step > 1 else normed

        def tokens(maps: Tensor) -> Tensor:
            return maps.reshape(n, self.heads, channels // self.heads, -1).transpose(2, 3)

        key, value = self.key_value(seen).chunk(2, dim=1)
        mixed = F.scaled_dot_product_attention(tokens(self.query(normed)), tokens(key), tokens(value))
        maps: Tensor = self.out(mixed.transpose(2, 3).reshape(n, channels, height, width))
        return x + self.strength * maps


ATTENTION: dict[str, Callable[[int], nn.Module]] = {
    "none": lambda channels: nn.Identity(),
    "se": SqueezeExcite,
    "cbam": CBAM,
    "self": SelfAttention,
}


def convolution(before: int, after: int, *, stride: int = 1, separable: bool = False) -> nn.Module:
    """Return a padded 3x3 convolution without bias, or its depthwise-separable form (Chollet 2017)."""
    if not separable:
        return nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
    return nn.Sequential(
        nn.Conv2d(before, before, 3, stride, padding=1, groups=before, bias=False),
        nn.Conv2d(before, after, 1, bias=False),
    )


class StochasticDepth(nn.Module):
    """While training, drop a branch for a share `rate` of the samples and scale the rest (Huang et al. 2016)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, ...) to the same shape."""
        if not self.training or self.rate == 0:
            return x
        kept = torch.rand(len(x), *[1] * (x.dim() - 1), device=x.device) >= self.rate
        return x * kept / (1 - self.rate)


def stem(channels: int, width: int, input_shape: tuple[int, int, int]) -> nn.Module:
    """Return the first convolution: at full size for small pictures, a quarter of the sides for photos."""
    if max(input_shape[1:]) < 96:
        return nn.Conv2d(channels, width, 3, padding=1, bias=False)
    return nn.Sequential(nn.Conv2d(channels, width, 7, 2, padding=3, bias=False), nn.MaxPool2d(3, 2, padding=1))
