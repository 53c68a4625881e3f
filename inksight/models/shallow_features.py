"""Hand-made features as tensor operations on whole batches: HOG, LBP and colour histograms.

    features = Features((1, 28, 28), hog_cell=7)
    features(x).shape                                 # float32 (N, C, h, w) in 0..1 -> (N, features.size)

HOG follows Dalal & Triggs (2005) as scikit-image computes it, LBP the uniform rotation-invariant patterns of Ojala et
al. (2002), colour histograms count hue, saturation and value (or grey levels). All of it is whole numbers up to the
final divisions, and those are in float64: a tree compares features with thresholds, so two runtimes that sum in another
order must still get the same bits.

Not guaranteed: LBP codes equal to scikit-image's where a neighbour between pixels equals the centre to 1/256; weights
are multiples of 1/256 here, and flat areas always count as "not darker".
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inksight.errors import UsageError
from inksight.models.preprocess import resize_matrix

# Magnitudes in steps of 1/64 grey level: sums over a cell of up to 26 x 26 pixels stay exact in float32.
_STEPS = 64
_LARGEST_CELL = 26
_EPSILON = 1e-5  # scikit-image's


class Features(nn.Module):
    """All chosen features of float32 images (N, C, h, w) in 0..1, side by side: float32 (N, size).

    Images with a side longer than `resize_to` are shrunk to that square first. What is not given follows from the
    channels: three are described by their colours and where these are (grids of 4, no HOG), one by its shapes. Raises
    UsageError when no feature is chosen or a cell does not fit the image.
    """

    def __init__(
        self,
        input_shape: tuple[int, int, int],
        *,
        resize_to: int = 64,
        hog: bool | None = None,
        hog_orientations: int = 9,
        hog_cell: int = 0,
        hog_block: int = 2,
        lbp: bool = True,
        lbp_radius: int = 1,
        lbp_points: int = 8,
        lbp_grid: int = 0,
        colour: bool = True,
        colour_bins: int = 16,
        colour_grid: int = 0,
    ) -> None:
        super().__init__()
        channels, height, width = input_shape
        self.shrink = Shrink((height, width), resize_to) if max(height, width) > resize_to else None
        height, width = (resize_to, resize_to) if self.shrink is not None else (height, width)
        coloured = channels == 3
        hog = not coloured if hog is None else hog
        lbp_grid = lbp_grid or (4 if coloured else 2)
        colour_grid = colour_grid or (4 if coloured else 1)
        cell = hog_cell or max(1, min(height, width) // (4 if min(height, width) < 48 else 8))
        self.hog = Hog((height, width), hog_orientations, cell, hog_block) if hog else None
        self.lbp = Lbp((height, width), lbp_radius, lbp_points, lbp_grid) if lbp else None
        self.colour = Colour((height, width), channels, colour_bins, colour_grid) if colour else None
        chosen = [part for part in (self.hog, self.lbp, self.colour) if part is not None]
        if not chosen:
            raise UsageError("no features are left", hint="Switch on at least one of hog, lbp and colour.")
        self.size = sum(part.size for part in chosen)

    def forward(self, x: Tensor) -> Tensor:
        """Return float32 (N, size)."""
        pixels = torch.round(x * 255)
        if self.shrink is not None:
            pixels = self.shrink(pixels)
        parts = [part(pixels) for part in (self.hog, self.lbp, self.colour) if part is not None]
        return torch.cat(parts, dim=1)


class Shrink(nn.Module):
    """Resize whole-numbered pixels (N, C, h, w) to a square, rounding to whole numbers, by a triangle filter."""

    rows: Tensor
    columns: Tensor

    def __init__(self, shape: tuple[int, int], size: int) -> None:
        super().__init__()
        self.register_buffer("rows", torch.from_numpy(_whole_weights(shape[0], size)), persistent=False)
        self.register_buffer("columns", torch.from_numpy(_whole_weights(shape[1], size).T.copy()), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return (N, C, size, size), 0..255."""
        # 255 * 128 * 128 < 2^24: every sum is exact.
        return torch.floor(self.rows @ pixels @ self.columns * (1 / 128**2) + 0.5)


class Hog(nn.Module):
    """Histograms of oriented gradients (N, size) of pixels (N, C, h, w) in 0..255; of the strongest channel, if many.

    Whole orientations without interpolation, blocks normalised by L2-Hys, as `skimage.feature.hog`.
    """

    sines: Tensor
    cosines: Tensor
    one_pixel: Tensor
    steps: Tensor
    limit: Tensor
    epsilon: Tensor
    over_rows: Tensor
    over_columns: Tensor

    def __init__(self, shape: tuple[int, int], orientations: int, cell: int, block: int) -> None:
        super().__init__()
        cells = (shape[0] // cell, shape[1] // cell)
        if not 1 <= cell <= _LARGEST_CELL or min(cells) < block or block < 1 or orientations < 2:
            raise UsageError(
                f"hog_cell {cell}, hog_block {block} and hog_orientations {orientations} do not fit {shape} pixels",
                hint=f"A cell is 1 to {_LARGEST_CELL} pixels wide; at least one block of cells must fit.",
            )
        self.cell, self.block, self.orientations = cell, block, orientations
        self.blocks = (cells[0] - block + 1, cells[1] - block + 1)
        self.size = self.blocks[0] * self.blocks[1] * block * block * orientations
        # Tensors, because exporters round bare numbers in a float64 expression to float32.
        for name, value in (
            ("one_pixel", 1 / (_STEPS * cell**2)),
            ("steps", _STEPS),
            ("limit", 0.2),
            ("epsilon", _EPSILON**2),
        ):
            self.register_buffer(name, torch.tensor(value, dtype=torch.float64), persistent=False)
        angles = torch.arange(1, orientations, dtype=torch.float64) * math.pi / orientations
        self.register_buffer("sines", angles.sin().float().view(1, -1, 1, 1), persistent=False)
        self.register_buffer("cosines", angles.cos().float().view(1, -1, 1, 1), persistent=False)
        self.register_buffer("over_rows", _sums(shape[0], cell, cells[0]).T.contiguous(), persistent=False)
        self.register_buffer("over_columns", _sums(shape[1], cell, cells[1]), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return float32 (N, size)."""
        down = F.pad(pixels[:, :, 2:] - pixels[:, :, :-2], (0, 0, 1, 1))
        right = F.pad(pixels[:, :, :, 2:] - pixels[:, :, :, :-2], (1, 1, 0, 0))
        squares = down * down + right * right
        best_down, best_right, best = down[:, :1], right[:, :1], squares[:, :1]
        for channel in range(1, pixels.shape[1]):
            more = squares[:, channel : channel + 1] > best
            best = torch.where(more, squares[:, channel : channel + 1], best)
            best_down = torch.where(more, down[:, channel : channel + 1], best_down)
            best_right = torch.where(more, right[:, channel : channel + 1], best_right)
        # In float64: float32 roots differ by a bit between runtimes, which rounding would then make a whole step.
        magnitude = torch.round(torch.sqrt(best.double()) * self.steps).float()
        # A direction and its opposite are one; turned so that it points down, or right when level.
        back = (best_down < 0) | ((best_down == 0) & (best_right < 0))
        sign = 1 - 2 * back.float()
        # At or past the k-th boundary: the side of that line the gradient lies on. No arctangent, which runtimes round
        # differently.
        past = (self.cosines * (best_down * sign) - self.sines * (best_right * sign) >= 0).float()
        votes = torch.cat([magnitude, magnitude * past], dim=1)
        cells = (self.over_rows @ (votes @ self.over_columns)).double() * self.one_pixel
        counts = torch.cat([cells[:, :-1] - cells[:, 1:], cells[:, -1:]], dim=1).permute(0, 2, 3, 1)
        high, wide = self.blocks
        corners = [(row, column) for row in range(self.block) for column in range(self.block)]
        blocks = torch.cat([counts[:, row : row + high, column : column + wide] for row, column in corners], dim=3)
        return self._unit(torch.minimum(self._unit(blocks), self.limit)).float().flatten(1)

    def _unit(self, blocks: Tensor) -> Tensor:
        # The larger instead of the sum, which differs by 1e-9 at most: onnxruntime 1.31 drops an addition of 1e-10 as
        # one of nothing, and an empty block became 0 / 0.
        squares = (blocks * blocks).sum(dim=3, keepdim=True)
        return blocks / torch.sqrt(torch.maximum(squares, self.epsilon))


class Lbp(nn.Module):
    """Histograms of uniform rotation-invariant local binary patterns, by cells of a grid: (N, size), shares of a cell.

    Each pixel is compared with `points` neighbours at `radius` (interpolated; 0 outside the picture). Its code is the
    number of neighbours not darker, or points + 1 when they change more than twice around the circle.
    """

    over_rows: Tensor
    over_columns: Tensor
    codes: Tensor

    def __init__(self, shape: tuple[int, int], radius: int, points: int, grid: int) -> None:
        super().__init__()
        if not 1 <= radius < min(shape) // 2 or not 4 <= points <= 24 or not 1 <= grid <= min(shape):
            raise UsageError(f"lbp_radius {radius}, lbp_points {points} or lbp_grid {grid} do not fit {shape} pixels")
        self.radius, self.points = radius, points
        self.size = (points + 2) * grid * grid
        angles = [2 * math.pi * point / points for point in range(points)]
        self.offsets = [(round(-radius * math.sin(a), 5), round(radius * math.cos(a), 5)) for a in angles]
        cell = (shape[0] // grid, shape[1] // grid)
        self.share = 1 / (cell[0] * cell[1])
        self.register_buffer("over_rows", _sums(shape[0], cell[0], grid).T.contiguous(), persistent=False)
        self.register_buffer("over_columns", _sums(shape[1], cell[1], grid), persistent=False)
        self.register_buffer("codes", torch.arange(points + 2).float().view(1, -1, 1, 1), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return float32 (N, size)."""
        grey = pixels
        if pixels.shape[1] == 3:
            red, green, blue = pixels[:, :1], pixels[:, 1:2], pixels[:, 2:]
            grey = torch.floor((77 * red + 150 * green + 29 * blue) * (1 / 256))
        padded = F.pad(grey, (self.radius + 1,) * 4)
        centre = grey * 256.0**2
        bits = torch.cat([(self._neighbour(padded, *offset) >= centre).float() for offset in self.offsets], dim=1)
        changes = (bits != torch.cat([bits[:, 1:], bits[:, :1]], dim=1)).float().sum(dim=1, keepdim=True)
        ones = bits.sum(dim=1, keepdim=True)
        code = torch.where(changes <= 2, ones, torch.full_like(ones, self.points + 1))
        counts = self.over_rows @ ((code == self.codes).float() @ self.over_columns)
        return (counts * self.share).flatten(1)

    def _neighbour(self, padded: Tensor, down: float, right: float) -> Tensor:
        """Return the picture shifted by a fraction of a pixel, times 256^2; whole numbers below 2^24."""
        margin = self.radius + 1
        high, wide = padded.shape[2] - 2 * margin, padded.shape[3] - 2 * margin
        top, left = math.floor(down), math.floor(right)
        below, beside = round((down - top) * 256), round((right - left) * 256)
        total: Tensor | None = None
        for row, row_weight in ((top, 256 - below), (top + 1, below)):
            for column, weight in ((left, 256 - beside), (left + 1, beside)):
                if row_weight and weight:
                    y, x = margin + row, margin + column
                    part = padded[:, :, y : y + high, x : x + wide] * float(row_weight * weight)
                    total = part if total is None else total + part
        assert total is not None
        return total


class Colour(nn.Module):
    """Histograms of hue, saturation and value (3 channels) or of grey levels (1), by cells of a grid: shares of a cell.

    Hue 0..1 runs red, green, blue, red; all three are cut into `bins` equal parts, as `skimage.color.rgb2hsv` scales
    them. A grey pixel has hue 0.
    """

    over_rows: Tensor
    over_columns: Tensor
    bounds: Tensor

    def __init__(self, shape: tuple[int, int], channels: int, bins: int, grid: int) -> None:
        super().__init__()
        if bins < 2 or not 1 <= grid <= min(shape):
            raise UsageError(f"colour_bins {bins} or colour_grid {grid} do not fit {shape} pixels")
        self.size = channels * bins * grid * grid
        cell = (shape[0] // grid, shape[1] // grid)
        self.share = 1 / (cell[0] * cell[1])
        self.register_buffer("over_rows", _sums(shape[0], cell[0], grid).T.contiguous(), persistent=False)
        self.register_buffer("over_columns", _sums(shape[1], cell[1], grid), persistent=False)
        self.register_buffer("bounds", (torch.arange(1, bins) / bins).view(1, 1, -1, 1, 1), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return float32 (N, size)."""
        values = _hsv(pixels) if pixels.shape[1] == 3 else pixels / 255
        past = (values.unsqueeze(2) >= self.bounds).float()
        all_pixels = torch.ones_like(past[:, :, :1])
        counts = self.over_rows @ (torch.cat([all_pixels, past], dim=2) @ self.over_columns)
        counts = torch.cat([counts[:, :, :-1] - counts[:, :, 1:], counts[:, :, -1:]], dim=2)
        return (counts * self.share).flatten(1)


def _hsv(pixels: Tensor) -> Tensor:
    """Return hue, saturation and value in 0..1 of red, green and blue in 0..255, (N, 3, h, w)."""
    red, green, blue = pixels[:, :1], pixels[:, 1:2], pixels[:, 2:]
    high = torch.maximum(torch.maximum(red, green), blue)
    low = torch.minimum(torch.minimum(red, green), blue)
    spread = high - low
    safe = torch.clamp(spread, min=1)  # where it is 0 the differences are 0 too
    from_red = (green - blue) / safe
    from_red = torch.where(from_red < 0, from_red + 6, from_red)
    # Ties go to blue, then green, as scikit-image overwrites them.
    hue = torch.where(
        high == blue, (red - green) / safe + 4, torch.where(high == green, (blue - red) / safe + 2, from_red)
    )
    hue = torch.where(spread == 0, torch.zeros_like(hue), hue / 6)
    return torch.cat([hue, spread / torch.clamp(high, min=1), high / 255], dim=1)


def _sums(length: int, cell: int, cells: int) -> Tensor:
    """Return the 0/1 matrix (length, cells) that sums `cell` neighbours; what is left over at the end is dropped."""
    matrix = torch.zeros(length, cells)
    for index in range(cells):
        matrix[index * cell : (index + 1) * cell, index] = 1
    return matrix


def _whole_weights(before: int, after: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Return the resize matrix (after, before) in steps of 1/128, times 128; every row sums to 128 exactly."""
    exact = resize_matrix(before, after).astype(np.float64) * 128
    whole = np.floor(exact)
    for row, rest in zip(whole, exact - whole, strict=True):
        missing = round(128 - row.sum())
        row[np.argsort(-rest, kind="stable")[:missing]] += 1
    weights: np.ndarray[tuple[int, int], np.dtype[np.float32]] = whole.astype(np.float32)
    return weights
