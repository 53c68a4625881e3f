"""Centring bitmaps by their centre of mass, as the balanced-classifier guide does, but without wrapping ink around."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_CHUNK = 2_048
"""Bitmaps at a time: 1.6 MB at 28x28 stays in the second-level cache."""


def shift_to_centroid(bitmaps: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Shift each bitmap by whole pixels so that its centre of mass comes nearest to the middle; uint8 `(N, H, W)`.

    The shift stops where ink would leave the picture, so that nothing is cut or wrapped and no pixel changes its value.
    Blank bitmaps stay as they are. A second pass changes nothing.
    """
    shifted = np.zeros_like(bitmaps)
    for start in range(0, len(bitmaps), _CHUNK):
        _shift(bitmaps[start : start + _CHUNK], shifted[start : start + _CHUNK])
    return shifted


def _shift(bitmaps: npt.NDArray[np.uint8], out: npt.NDArray[np.uint8]) -> None:
    n, height, width = bitmaps.shape
    # A matrix product is the fastest way to the sums, and at 28x28 they are exact in float32 (below 2 ** 24).
    exact = np.float32 if height * width * max(height, width) * 255 < 2**24 else np.float64
    flat = bitmaps.reshape(n, -1).astype(exact)
    y, x = np.divmod(np.arange(height * width), width)
    mass, moment_y, moment_x = (flat @ np.stack([np.ones_like(y), y, x], axis=1).astype(exact)).T.astype(np.float64)
    mass = np.maximum(mass, 1)
    dy = _limit(np.floor((height - 1) / 2 - moment_y / mass + 0.5), np.asarray(bitmaps.any(axis=2)))
    dx = _limit(np.floor((width - 1) / 2 - moment_x / mass + 0.5), np.asarray(bitmaps.any(axis=1)))
    shift = dy * (2 * width) + dx
    order = np.argsort(shift, kind="stable")
    for same in np.split(order, np.flatnonzero(np.diff(shift[order])) + 1):
        if len(same):
            down, right = int(dy[same[0]]), int(dx[same[0]])
            out[same, max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)] = bitmaps[
                same, max(-down, 0) : height + min(-down, 0), max(-right, 0) : width + min(-right, 0)
            ]


def _limit(shift: npt.NDArray[np.float64], inked: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Keep shifts within the blank margins before and after the inked lines `(N, length)`; blank pictures stay."""
    before, after = inked.argmax(axis=1), inked[:, ::-1].argmax(axis=1)
    return np.where(inked.any(axis=1), np.clip(shift, -before, after), 0).astype(np.int64)
