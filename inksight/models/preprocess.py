"""From a dataset's uint8 images to a model's input, as a module: the same steps in training, serving and ONNX.

    preprocess = Preprocess.from_spec(models.get("simple_cnn"), image_shape=(28, 28))
    preprocess(torch.zeros(5, 28, 28, dtype=torch.uint8)).shape       # (5, 1, 28, 28), float32
    Preprocess(preprocess.description)                                # the same again, from a plain dict

Resizing is two matrix products with fixed weights (a triangle filter, widened when it shrinks: what Pillow calls
BILINEAR, without its rounding to whole grey levels), so that every runtime gives the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from inksight.errors import UsageError
from inksight.models.registry import ModelSpec, input_shape

# ITU-R BT.601, as Pillow's convert("L").
_LUMA = (0.299, 0.587, 0.114)


def resize_matrix(before: int, after: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return the float32 (after, before) matrix that resamples a line of pixels; each row sums to 1."""
    scale = before / after
    reach = max(scale, 1.0)
    centres = (np.arange(after) + 0.5) * scale
    distance = np.abs(np.arange(before) + 0.5 - centres[:, None]) / reach
    weights = np.clip(1.0 - distance, 0.0, None)
    weights /= weights.sum(axis=1, keepdims=True)
    matrix: np.ndarray[Any, np.dtype[np.float32]] = weights.astype(np.float32)
    return matrix


class Preprocess(nn.Module):
    """Map uint8 (N, H, W) or (N, H, W, 3) to float32 (N, C, h, w): centre crop, resize, 0..1, normalise.

    Built from a dict of `input_shape` [H, W] or [H, W, 3], `size` [h, w], `channels` C, `mean` and `std` (C values, or
    one), and optionally `crop` [h, w]: the middle that is kept before resizing. It holds no trainable or saved values.
    Raises UsageError when the dict contradicts itself.
    """

    crop_box: tuple[int, int, int, int]
    scale: Tensor
    offset: Tensor
    luma: Tensor
    rows: Tensor | None
    columns: Tensor | None

    def __init__(self, description: Mapping[str, Any]) -> None:
        super().__init__()
        shape = [int(side) for side in description["input_shape"]]
        size = [int(side) for side in description["size"]]
        crop = [int(side) for side in description.get("crop") or shape[:2]]
        self.channels = int(description["channels"])
        self.image_channels = shape[2] if len(shape) == 3 else 1
        if len(shape) not in (2, 3) or self.image_channels not in (1, 3) or self.channels not in (1, 3):
            raise UsageError(f"preprocessing: input_shape {shape} or channels {self.channels} is not valid")
        if not (0 < crop[0] <= shape[0] and 0 < crop[1] <= shape[1] and min(size) > 0):
            raise UsageError(f"preprocessing: crop {crop} or size {size} does not fit images of {shape[:2]}")
        mean, std = (torch.tensor(description[key], dtype=torch.float32) for key in ("mean", "std"))
        if not (mean.numel() in (1, self.channels) and std.numel() in (1, self.channels) and bool((std > 0).all())):
            raise UsageError(f"preprocessing: mean {mean.tolist()} or std {std.tolist()} is not valid")
        self.description: dict[str, Any] = {
            "input_shape": shape,
            **({"crop": crop} if crop != shape[:2] else {}),
            "size": size,
            "channels": self.channels,
            "mean": [float(value) for value in description["mean"]],
            "std": [float(value) for value in description["std"]],
        }
        top, left = (shape[0] - crop[0]) // 2, (shape[1] - crop[1]) // 2
        self.crop_box = (top, top + crop[0], left, left + crop[1])
        self.cropped = crop != shape[:2]
        # One multiply and one add: (x / 255 - mean) / std.
        self.register_buffer("scale", (1.0 / (255.0 * std)).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("offset", (-mean / std).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("luma", torch.tensor(_LUMA).view(1, 3, 1, 1), persistent=False)
        resized = size != crop
        rows = torch.from_numpy(resize_matrix(crop[0], size[0])) if resized else None
        columns = torch.from_numpy(resize_matrix(crop[1], size[1]).T.copy()) if resized else None
        self.register_buffer("rows", rows, persistent=False)
        self.register_buffer("columns", columns, persistent=False)

    @classmethod
    def from_spec(
        cls,
        spec: ModelSpec,
        image_shape: Sequence[int],
        *,
        crop: Sequence[int] | None = None,
    ) -> Preprocess:
        """Build what a model needs for images of `image_shape` (H, W) or (H, W, 3)."""
        channels, height, width = input_shape(spec, [*(crop or image_shape[:2]), *image_shape[2:]])
        return cls(
            {
                "input_shape": list(image_shape),
                "crop": crop,
                "size": [height, width],
                "channels": channels,
                "mean": spec.mean,
                "std": spec.std,
            }
        )

    def forward(self, images: Tensor) -> Tensor:
        """Map uint8 (N, H, W[, 3]) to normalised float32 (N, C, h, w)."""
        x = images.to(torch.float32)
        x = x.permute(0, 3, 1, 2) if images.dim() == 4 else x.unsqueeze(1)
        if self.cropped:
            top, bottom, left, right = self.crop_box
            x = x[:, :, top:bottom, left:right]
        if self.image_channels == 3 and self.channels == 1:
            x = (x * self.luma).sum(dim=1, keepdim=True)
        if self.rows is not None and self.columns is not None:
            x = self.rows @ x @ self.columns
        x = x * self.scale + self.offset
        if self.image_channels == 1 and self.channels == 3:
            x = x.expand(-1, 3, -1, -1)
        return x
