"""Do two forms of one classifier say the same? Asked of every export before it is written.

An exact export (float32) may differ by 1e-4 in any probability and in none of its first answers. Of lossy ones
(float16, int8) the difference is only told; they are judged by their accuracy on labelled images (comparing.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inksight.data.at_once import judged_at_once, read_at_once
from inksight.errors import BundleError

TOLERANCE = 1e-4
SAMPLES = 1000

SMALL = 64 * 64
"""Numbers in an image up to which made ones fill up what a thousand lack."""

FEW = 100
"""How many larger images an export is checked on at least."""

Predict = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


@dataclass(frozen=True)
class Parity:
    """How far two runtimes are apart: images compared, whether they are real, largest difference, changed answers."""

    samples: int
    real: bool
    max_difference: float
    top1_changes: int


def compare(reference: NDArray[np.float32], other: NDArray[np.float32], *, real: bool) -> Parity:
    """Compare two arrays of probabilities (N, classes), row by row; a NaN anywhere counts as an infinite difference."""
    if reference.shape != other.shape:
        raise BundleError(f"the export gives probabilities of shape {other.shape}, the model {reference.shape}")
    difference = float(np.abs(reference.astype(np.float64) - other).max(initial=0.0))
    return Parity(
        samples=len(reference),
        real=real,
        max_difference=float("inf") if np.isnan(difference) else difference,
        top1_changes=int((reference.argmax(axis=1) != other.argmax(axis=1)).sum()),
    )


def require(parity: Parity, what: str, tolerance: float = TOLERANCE) -> None:
    """Raise BundleError when the export is not the same classifier as the model it comes from."""
    # Written so that a difference that is not a number fails too.
    if parity.max_difference <= tolerance and parity.top1_changes == 0:
        return
    raise BundleError(
        f"{what} refused: on {parity.samples:,} images its probabilities differ from PyTorch's by up "
        f"to {parity.max_difference:.2g} (allowed {tolerance:g}) and {parity.top1_changes} first answers change "
        "(allowed 0)",
        hint="The exported graph is not the trained model. Nothing was written.",
    )


def batched(predict: Predict, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return `predict` of all images, as many at once as are judged in training."""
    size = judged_at_once(images.shape[1:])
    return np.concatenate([predict(images[start : start + size]) for start in range(0, len(images), size)])


def parity_images(description: Mapping[str, Any], samples: Any) -> tuple[NDArray[np.uint8], int]:
    """Return the 1,000 images that an export is judged on, and how many of them are made.

    They are spread evenly over `samples`, uint8 (N, H, W[, 3]) in memory or in an HDF5 file, or None; where those are
    fewer, made ones follow them: of drawings all that are missing, of larger pictures, of which a thousand may take a
    network a minute, up to FEW.
    """
    shape = tuple(description["preprocessing"]["input_shape"])
    if samples is None:
        return made_images(shape), SAMPLES
    if samples.shape[1:] != shape or samples.dtype != np.uint8 or len(samples) == 0:
        raise BundleError(f"samples {samples.dtype} {samples.shape} are not uint8 (N, {', '.join(map(str, shape))})")
    real = spread(samples, SAMPLES)
    missing = (SAMPLES if math.prod(shape) <= SMALL else FEW) - len(real)
    return (np.concatenate([real, made_images(shape, missing)]), missing) if missing > 0 else (real, 0)


def spread(images: Any, count: int) -> NDArray[np.uint8]:
    """Return `count` images spread evenly over a split (N, H, W[, 3]), read in blocks, never the whole of it."""
    if len(images) <= count:
        everything: NDArray[np.uint8] = images[:]
        return everything
    rows = np.unique(np.linspace(0, len(images) - 1, count).astype(np.int64))
    block = read_at_once(images.shape[1:])
    parts = []
    for start in range(0, len(images), block):
        chosen = rows[(rows >= start) & (rows < start + block)]
        if len(chosen):
            parts.append(images[start : start + block][chosen - start])
    return np.concatenate(parts)


def made_images(shape: tuple[int, ...], count: int = SAMPLES, seed: int = 0) -> NDArray[np.uint8]:
    """Return `count` uint8 images of `shape` for when no real ones are given.

    Random grids of 2 to 14 cells, enlarged and posterised by a random threshold and contrast: blobs, bars and noise,
    from blank to full, so that many classes get to be first answers.
    """
    random = np.random.default_rng(seed)
    height, width = shape[:2]
    images = np.empty((count, *shape), np.uint8)
    for image in images:
        cells = random.integers(2, 15)
        grid = random.random((cells, cells, *shape[2:]))
        enlarged = grid[np.arange(height) * cells // height][:, np.arange(width) * cells // width]
        contrast, threshold = random.choice([1.0, 4.0, 50.0]), random.random()
        image[:] = np.clip((enlarged - threshold) * contrast + 0.5, 0, 1) * 255
    return images
