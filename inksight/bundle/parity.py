"""Do two forms of one classifier say the same? Asked of every export before it is written.

An exact export (float32) may differ by 1e-4 in any probability and in none of its first answers. Of lossy ones
(float16, int8) the difference is only told; they are judged by their accuracy on labelled images (comparing.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inksight.errors import BundleError

TOLERANCE = 1e-4
SAMPLES = 1000

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
    """Return `predict` of all images, in batches of at most about 4 MB of pixels."""
    size = max(1, 2**22 // int(np.prod(images.shape[1:])))
    return np.concatenate([predict(images[start : start + size]) for start in range(0, len(images), size)])


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
