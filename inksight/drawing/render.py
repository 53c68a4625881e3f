"""THE renderer: simplified strokes to the bitmap that Google's Quick, Draw! data set has for them, byte for byte.

Coordinates run from 0 to 255 (`simplify` makes them so). The drawing is centred in a square of 304 units (256, and
around it a padding of 16 and half a line's width), drawn with a round brush 16 units wide, each stroke painted over the
ones before, white on black, and scaled to `size` pixels; like Google, it takes the drawing's corner to be at 0. What
training reads, what the server computes and what the browser shows (`web/js/render.js`) must be the same picture; tests
hold them together.

Not guaranteed: a resemblance between sizes beyond geometry; Google's own bitmaps exist for size 28 only.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from inksight.drawing._coverage import coverage
from inksight.drawing._outline import outline, round_pen, to_fixed
from inksight.drawing.strokes import Points, Strokes, flatten
from inksight.errors import DrawingError

SIZE = 28
"""Pixels per side of a bitmap, unless asked otherwise."""

BOX = 256.0
"""Units per side of the square that a drawing is centred in."""

LINE_WIDTH = 16.0
"""Width of the brush in units."""

MARGIN = 24.0
"""Units around the box: a padding of 16 and half the brush."""

MIN_SIZE, MAX_SIZE = 8, 2048

_CHUNK_POINTS = 1_600
"""Points rendered at a time: the arrays of a chunk then stay in a core's cache, and malloc does not return them."""


def render(strokes: Strokes, size: int = SIZE) -> npt.NDArray[np.uint8]:
    """Draw simplified strokes: uint8 `(size, size)`, 0 paper, 255 ink.

    A drawing without strokes is blank. Raises DrawingError for coordinates outside 0..255 (use `simplify` first).
    """
    bitmap: npt.NDArray[np.uint8] = render_many([strokes], size)[0]
    return bitmap


def render_many(drawings: Sequence[Strokes], size: int = SIZE) -> npt.NDArray[np.uint8]:
    """Draw many drawings at once, the fast way: uint8 `(N, size, size)`; see `render`."""
    if not MIN_SIZE <= size <= MAX_SIZE:
        raise DrawingError(f"cannot render at {size} pixels", hint=f"Choose a size from {MIN_SIZE} to {MAX_SIZE}.")
    bitmaps = np.zeros((len(drawings), size, size), np.uint8)
    # Area, not points, is what a large picture costs.
    budget = max(1, _CHUNK_POINTS * SIZE * SIZE // (size * size))
    start = points = 0
    for stop, drawing in enumerate(drawings, start=1):
        points += sum(len(stroke[0]) for stroke in drawing)
        if points >= budget or stop == len(drawings):
            bitmaps[start:stop] = _render(flatten(drawings[start:stop]), size)
            start, points = stop, 0
    return bitmaps


def render_layers(strokes: Strokes, size: int = SIZE) -> npt.NDArray[np.uint8]:
    """Draw each stroke of one drawing by itself, where it lies in the whole: uint8 `(S, size, size)`; see `render`.

    Painting the layers over one another gives the drawing, to within 1 grey level.
    """
    points = flatten([strokes])
    return _layers(points, size) if len(points.stroke_lengths) else np.zeros((0, size, size), np.uint8)


def _render(points: Points, size: int) -> npt.NDArray[np.uint8]:
    if len(points.stroke_lengths) == 0:
        return np.zeros((len(points.drawing_strokes), size, size), np.uint8)
    return _paint(_layers(points, size), points.drawing_strokes)


def _layers(points: Points, size: int) -> npt.NDArray[np.uint8]:
    """Return what each stroke covers: uint8 `(strokes, size, size)`."""
    strokes = len(points.stroke_lengths)
    x, y = _centre(points)
    scale = size / (BOX + 2 * MARGIN)
    edges = outline(
        to_fixed(x * scale + MARGIN * scale),
        to_fixed(y * scale + MARGIN * scale),
        np.arange(strokes).repeat(points.stroke_lengths),
        round_pen(LINE_WIDTH / 2, scale),
    )
    return coverage(edges, strokes, size)


def _centre(points: Points) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Move every drawing from the corner to the middle of the square."""
    owner_strokes = points.drawing_strokes[points.drawing_strokes > 0]
    first_stroke = owner_strokes.cumsum() - owner_strokes
    first_point = (points.stroke_lengths.cumsum() - points.stroke_lengths)[first_stroke]
    lengths = np.add.reduceat(points.stroke_lengths, first_stroke)
    moved = []
    for values in (points.x, points.y):
        low, high = np.minimum.reduceat(values, first_point), np.maximum.reduceat(values, first_point)
        if low.min() < 0 or high.max() >= BOX:
            worst = low.min() if low.min() < 0 else high.max()
            raise DrawingError(
                f"coordinate {worst:g} lies outside 0..255", hint="Pass raw strokes through simplify() first."
            )
        moved.append(values + ((BOX - high) / 2).repeat(lengths))
    return moved[0], moved[1]


def _paint(alpha: npt.NDArray[np.uint8], drawing_strokes: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """Paint the strokes of each drawing over one another, rounding as cairo's span renderer does."""
    bitmaps = np.zeros((len(drawing_strokes), *alpha.shape[1:]), np.uint8)
    if len(bitmaps) == 1:  # what a server draws: without the index arrays in a quarter of the time
        for ink in alpha:
            bitmaps[0] = _over(ink, bitmaps[0])
        return bitmaps
    first = drawing_strokes.cumsum() - drawing_strokes
    for layer in range(drawing_strokes.max()):
        drawing = (drawing_strokes > layer).nonzero()[0]
        bitmaps[drawing] = _over(alpha[first[drawing] + layer], bitmaps[drawing])
    return bitmaps


def _over(ink: npt.NDArray[np.uint8], paper: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    below = paper * (~ink).astype(np.uint16)
    below += 127
    below += below >> 8
    below >>= 8
    painted: npt.NDArray[np.uint8] = ink + below.astype(np.uint8)
    return painted
