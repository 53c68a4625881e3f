"""Augmentation of whole batches of drawings, as tensors, where the training computes: no worker processes.

    augment = build_augmentation(settings)
    augmented = augment(images, generator)          # uint8 (N, H, W[, 3]) -> float32, same shape, 0..255

Rotation, zoom, stretch, shift and elastic bending are one resampling per image; pixels from outside are paper (0), so
nothing wraps around an edge. Line width changes by blending with the grey dilation (thicker) or erosion (thinner).
Ink that is moved out of the picture is lost; the default ranges keep that to a few per cent of the ink.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from inksight.settings import TrainSettings

Augmentation = Callable[[Tensor, Generator], Tensor]

# Maps images to blended images, the order of their partners (N,), and the share of the first of each pair.
Mix = Callable[[Tensor, Generator], tuple[Tensor, Tensor, float]]

# What drawings bear where the settings do not say: degrees, and a share of the side.
ROTATE, SHIFT = 10.0, 0.06

# Elastic bending: random shifts on a grid this wide, smoothly interpolated (Simard et al. 2003 blur a dense field).
ELASTIC_GRID = 4


def build_augmentation(settings: TrainSettings) -> Augmentation:
    """Return the augmentation of drawings that the settings describe; photos have another (augment_photos.py).

    It maps uint8 (N, H, W[, 3]) and a random generator on the same device to float32 of the same shape in 0..255. With
    strength 0 drawings are handed through untouched.
    """
    strength = settings.augment
    augmentation = DrawingAugmentation(
        rotate=(ROTATE if settings.rotate is None else settings.rotate) * strength,
        shift=(SHIFT if settings.shift is None else settings.shift) * strength,
        zoom=settings.zoom * strength,
        elastic=settings.elastic * strength,
        stroke=min(settings.stroke * strength, 1.0),
        flip=bool(settings.flip) and strength > 0,
    )
    return augmentation if augmentation != DrawingAugmentation() else _untouched


def _untouched(images: Tensor, generator: Generator) -> Tensor:
    return images


@dataclass(frozen=True)
class DrawingAugmentation:
    """Random changes within these ranges, drawn per image: degrees, shares of the side, blend factors."""

    rotate: float = 0.0
    shift: float = 0.0
    zoom: float = 0.0
    elastic: float = 0.0
    stroke: float = 0.0
    flip: bool = False

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """Map uint8 or float (N, H, W[, 3]) to float32 of the same shape, within the range of the images and 0."""
        x = images.to(torch.float32)
        x = x.permute(0, 3, 1, 2) if images.dim() == 4 else x.unsqueeze(1)
        if self.rotate or self.shift or self.zoom or self.elastic or self.flip:
            # Drawn in float32: the sampling grid must resolve a hundredth of a pixel.
            x = F.grid_sample(x, self._grid(x, generator), mode="bilinear", padding_mode="zeros", align_corners=False)
        if self.stroke:
            x = change_stroke_width(x, self._uniform(len(x), self.stroke, generator, x.device))
        return x.permute(0, 2, 3, 1) if images.dim() == 4 else x.squeeze(1)

    def _grid(self, x: Tensor, generator: Generator) -> Tensor:
        """Return where each output pixel is taken from: float32 (N, H, W, 2) in -1..1, one affine map per image."""
        n, device = len(x), x.device
        angle = self._uniform(n, math.radians(self.rotate), generator, device)
        # exp: zooming in and out by the same ratio is equally likely. Width and height share most of it.
        reach = math.log1p(self.zoom)
        both, stretch = self._uniform(n, reach, generator, device), self._uniform(n, reach / 3, generator, device)
        wide, high = torch.exp(both + stretch), torch.exp(both - stretch)
        if self.flip:
            wide = wide * (torch.randint(0, 2, (n,), generator=generator, device=device) * 2 - 1)
        # A shift by a share of the side is twice that in the grid's units, where the side runs from -1 to 1.
        move_x, move_y = (self._uniform(n, 2 * self.shift, generator, device) for _ in range(2))
        cos, sin = torch.cos(angle), torch.sin(angle)
        aspect = x.shape[3] / x.shape[2]
        theta = [cos * wide, sin * high / aspect, move_x, -sin * wide * aspect, cos * high, move_y]
        weights = torch.stack(theta, dim=1).view(n, 2, 3)
        if self.elastic:
            bends = torch.randn(n, 2, ELASTIC_GRID**2, generator=generator, device=device) * (2 * self.elastic)
            weights = torch.cat([weights, bends], dim=2)
        basis = _basis(x.shape[2], x.shape[3], bool(self.elastic)).to(device)
        return (weights @ basis).view(n, 2, x.shape[2], x.shape[3]).permute(0, 2, 3, 1)

    def _uniform(self, n: int, reach: float, generator: Generator, device: torch.device) -> Tensor:
        return (torch.rand(n, generator=generator, device=device) * 2 - 1) * reach


@lru_cache(maxsize=4)
def _basis(height: int, width: int, elastic: bool) -> Tensor:
    """Return what sampling grids are sums of, float32 (3 or 3 + ELASTIC_GRID^2, height * width).

    x, y and 1, which make affine maps, then the bilinear interpolation of each point of the elastic grid. Both are
    linear, so one matrix product makes the grids of a batch (F.affine_grid and F.interpolate took 8 times as long).
    """
    xs, ys = ((torch.arange(size) * 2 + 1) / size - 1 for size in (width, height))
    rows = [xs.expand(height, width), ys[:, None].expand(height, width), torch.ones(height, width)]
    if elastic:
        points = torch.eye(ELASTIC_GRID**2).view(1, -1, ELASTIC_GRID, ELASTIC_GRID)
        rows += F.interpolate(points, size=(height, width), mode="bilinear", align_corners=True)[0].unbind()
    return torch.stack(rows).reshape(len(rows), -1)


def change_stroke_width(x: Tensor, amount: Tensor) -> Tensor:
    """Make light lines on dark thicker (amount > 0) or thinner (< 0): float (N, C, H, W), amount (N,) in -1..1.

    An amount of 1 is a whole grey dilation, -1 a whole erosion, by 1 pixel in 28 to each side; between, a blend.
    Values stay within the image's own range.
    """
    radius = max(1, round(min(x.shape[2:]) / 28))
    amount = amount.view(-1, 1, 1, 1)
    # Erosion is dilation of the negative, so one pass of pooling serves both.
    sign = torch.where(amount < 0, -1.0, 1.0)
    pooled = x * sign
    for dim in (2, 3):
        pooled = _running_maximum(pooled, radius, dim)
    return torch.lerp(x, pooled * sign, amount.abs())


def _running_maximum(x: Tensor, radius: int, dim: int) -> Tensor:
    """Return the maximum over `radius` neighbours to both sides along `dim`; a tenth of max_pool2d's time on a CPU."""
    result = x.clone()
    for shift in range(1, radius + 1):
        rest = x.shape[dim] - shift
        for here, there in ((0, shift), (shift, 0)):
            part = result.narrow(dim, here, rest)
            torch.maximum(part, x.narrow(dim, there, rest), out=part)
    return result
