"""How many images are held at once where nobody asks for a number: of drawings hundreds, of photos a few."""

from __future__ import annotations

import math
from collections.abc import Sequence

READ = 2**22  # bytes of a dataset file that are read at once and not kept

# Bytes of images that go through a network at once: a photo of 224 pixels takes EfficientNet-Lite0 14 MB, 256 of them
# 3.5 GB, and nothing is faster for more than a few. A gradient takes it all the maps on the way as well.
JUDGED, EXPLAINED = 2**20, 2**18


def read_at_once(shape: Sequence[int]) -> int:
    """Return how many images of a shape (H, W[, 3]) are read at once: 5,349 drawings or 21 photos of 256 pixels."""
    return _fit(READ, shape)


def judged_at_once(shape: Sequence[int]) -> int:
    """Return how many images of a shape (H, W[, 3]) are judged at once: 256 drawings or 5 photos of 256 pixels."""
    return min(256, _fit(JUDGED, shape))


def explained_at_once(shape: Sequence[int]) -> int:
    """Return of how many images (H, W[, 3]) the gradients are held at once: 256 drawings or one photo of 256 pixels."""
    return min(256, _fit(EXPLAINED, shape))


def _fit(size: int, shape: Sequence[int]) -> int:
    return max(1, size // max(1, math.prod(shape)))
