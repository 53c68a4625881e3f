"""A picture of a drawing to the bitmap that the renderer would have made of it.

The ink is found, its lines are made as wide as the renderer's brush, and it is placed as the renderer places strokes:
the width of the pen, the size of the picture and where the drawing is in it no longer matter. Widening or narrowing by
the distance to the ink's edge came out nearer to Google's bitmaps than thinning to centre lines and drawing those anew
(mean difference of 1.7 against 3.6 grey levels for a 4 px pen in 400 px), and works without finding strokes at all.

Not guaranteed: sense for pictures that are no line drawings. A photo of a thing gives some bitmap, or a blank one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from inksight.drawing.render import BOX, LINE_WIDTH, MARGIN, SIZE, render

if TYPE_CHECKING:
    from PIL.Image import Image

Bitmap = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

WORK = 192
"""Pixels of the drawing's longer side while widths are changed: 1.3 units of the renderer's box each."""

_BRUSH = int(WORK * LINE_WIDTH / BOX)
"""More than the renderer's brush reaches from a line's centre, in pixels of WORK."""

_SUB = 4
"""Samples per pixel of the bitmap and axis."""

DOT = 5
"""Pixels that a dot is wide in a bitmap, at most: a brush of two to four, set down. The smallest drawing among 116,953
official bitmaps has 22."""

BLOT, BLOT_SHARE = 8, 0.1
"""Most pixels that a dot in a larger picture is wide, or share of its longer side, if that is more: pens are wide."""

FILLED = 0.4
"""Share of the drawing's longer side from which on ink so wide is no line but an area, of which the outline is drawn:
a silhouette. Of 1,500 real drawings the widest ink has 0.1."""


def from_picture(image: Image | npt.NDArray[Any]) -> Bitmap:
    """Return the drawing in a picture as a bitmap: uint8 `(28, 28)`, 0 paper, 255 ink, blank if there is none.

    `image`: a PIL image of any mode, or uint8 `(H, W)`, `(H, W, 3)` or `(H, W, 4)`; dark on light or light on dark, any
    size and pen. A picture of 28x28 is taken for a bitmap already, and only turned to light on dark. A lone dot comes
    out as the renderer draws one, and not as large as the box. Raises DrawingError for arrays that are no pictures.
    """
    from inksight.drawing._ink import find_ink, is_plain, plain, to_grey

    picture = plain(image)
    grey = to_grey(picture)
    if is_plain(grey):
        return np.zeros((SIZE, SIZE), np.uint8)
    if grey.shape == (SIZE, SIZE):
        ring = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
        return 255 - grey if np.median(ring) > 127 else grey
    ink = find_ink(grey)
    if not ink.any():
        return np.zeros((SIZE, SIZE), np.uint8)
    top, bottom, left, right = _bounds(ink > 127)
    reach = max(bottom - top, right - left)
    if reach <= max(BLOT, BLOT_SHARE * max(grey.shape)) and _is_blot(ink[top:bottom, left:right] > 127):
        return render([[[0], [0]]])
    if max(picture.size) > max(grey.shape) and 2 * reach < max(grey.shape):
        # A small drawing on a large sheet: look at it from nearer.
        scale = max(picture.size) / max(grey.shape)
        margin = reach / 4
        box = (
            max(0, int((left - margin) * scale)),
            max(0, int((top - margin) * scale)),
            min(picture.width, int((right + margin) * scale)),
            min(picture.height, int((bottom + margin) * scale)),
        )
        closer = find_ink(to_grey(picture.crop(box)))
        ink = closer if closer.any() else ink
    return _place(*_depth(ink))


def shows_nothing(bitmap: Bitmap) -> bool:
    """Return whether a bitmap, light on dark, uint8 `(H, W)` or `(H, W, 3)`, is blank or shows a lone dot.

    A dot is a blot no wider and higher than DOT of SIZE pixels, at most twice as long as wide, and more ink than paper.
    """
    if bitmap.ndim == 3:
        bitmap = bitmap.max(axis=2)
    most = DOT * len(bitmap) / SIZE
    # Ink as below, if not all of it: more than fits into a dot. Quick, and enough for nearly every drawing.
    if np.count_nonzero(bitmap > 255 // 4) > most * most:
        return False
    peak = int(bitmap.max())
    if peak == 0:
        return True
    ink = bitmap > peak // 4
    short, long = sorted(int(np.ptp(places)) + 1 for places in ink.nonzero())
    return bool(long <= min(most, 2 * short) and 2 * np.count_nonzero(ink) >= short * long)


def _is_blot(mask: npt.NDArray[np.bool_]) -> bool:
    """Tell a dot from lines, which no disc half as wide as the whole fits into: an outline is a pen wide."""
    from inksight.drawing._ink import squared_distance

    side = max(mask.shape)
    widest = int(squared_distance(np.pad(mask, 1), side).max())  # the square of its half
    return bool(16 * widest >= side * side)


def _bounds(mask: npt.NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """First and one past the last row and column that hold ink."""
    from PIL import Image

    box = Image.fromarray(mask.view(np.uint8)).getbbox()
    assert box is not None
    left, top, right, bottom = box
    return top, bottom, left, right


def _depth(ink: npt.NDArray[np.uint8]) -> tuple[Floats, float, float]:
    """Return how deep each pixel lies in the ink, the width of its lines, and the drawing's longer side, all in pixels.

    Negative depth is the distance to the ink, exact as far as the renderer's brush reaches. The pixels are those of a
    crop of the ink scaled to WORK, with a margin as wide.
    """
    from skimage.morphology import skeletonize

    from inksight.drawing._ink import highest, line_width, squared_distance

    top, bottom, left, right = _bounds(ink > 127)
    crop = ink[top:bottom, left:right]
    scale = WORK / max(crop.shape)
    height, width = (max(1, round(length * scale)) for length in crop.shape)
    rows, columns = (
        (np.arange(length) + 0.5) * (of / length) - 0.5 for length, of in zip((height, width), crop.shape, strict=True)
    )
    mask = np.zeros((height + 2 * _BRUSH, width + 2 * _BRUSH), bool)
    # Lines thinner than a pixel of the scaled picture never reach half of its grey.
    least = 255 * min(0.5, 0.45 * line_width(crop > 127) * scale)
    np.greater(_between(crop, rows, columns), least, out=mask[_BRUSH:-_BRUSH, _BRUSH:-_BRUSH])
    by_outline = line_width(mask)
    # Where lines cross, the ink is deeper than half of one, and deeper still where they fill a corner.
    reach = math.ceil(0.75 * by_outline) + 1
    while (inside := squared_distance(mask, reach)).max() > reach * reach:
        reach = min(2 * reach, WORK // 2 + 1)  # no pixel is farther from paper; uint16 holds squares up to 180
    line = 2 * math.sqrt(np.median(inside[(inside == highest(inside, 1)) & mask])) - 0.5
    if line < 6:  # in whole pixels too coarse; area by outline is finer, but where lines touch it is too much
        line = min(0.96 * by_outline, line + 0.75)
    side = float(max(height, width))
    # Where a wide pen crosses its own line, the ink is up to twice as wide as the pen.
    widest = 2 * math.sqrt(inside.max())
    filled = widest > max(FILLED * side, 2.5 * line) or line > FILLED * side
    if filled:
        line = 1.0  # what was measured are its corners
    # Half the brush, half of the finest step, and a pixel to interpolate with.
    reach = math.ceil(max(0.0, _BRUSH / 2 - line / 2)) + 3
    depth = np.sqrt(inside, dtype=np.float32) - np.sqrt(squared_distance(~mask, reach), dtype=np.float32)
    if filled:
        depth = np.minimum(depth, line - depth)
    if line * (BOX - 1) > LINE_WIDTH * (side - line):
        # Narrowing would lose what is much thinner than the rest: keep its centre lines, but not their ends in corners.
        thin: npt.NDArray[np.bool_] = skeletonize(mask)  # type: ignore[no-untyped-call]
        around = squared_distance(~(thin & (depth > line / 8)), _BRUSH)
        depth = np.maximum(depth, line / 2 - np.sqrt(around, dtype=np.float32))
    return depth - np.copysign(np.float32(0.5), depth), line, side


def _place(depth: Floats, line: float, side: float) -> Bitmap:
    """Scale so that the centre lines fill the renderer's box, centre, draw lines as wide as its brush."""
    units = (BOX - 1) / max(side - line, 1.0)  # per pixel of `depth`
    step = (BOX + 2 * MARGIN) / (SIZE * _SUB) / units  # pixels of `depth` per sample
    samples = np.arange(SIZE * _SUB) - (SIZE * _SUB - 1) / 2
    rows, columns = ((length - 1) / 2 + samples * step for length in depth.shape)
    beyond = _between(depth, rows, columns) + np.float32(LINE_WIDTH / 2 / units - line / 2)
    inked = np.clip(beyond * np.float32(1 / step) + np.float32(0.5), 0, 1)
    for _ in range(2):
        inked = sum(inked[first::_SUB] for first in range(_SUB)).T
    bitmap: Bitmap = np.rint(inked * np.float32(255 / _SUB**2)).astype(np.uint8)
    return bitmap


def _between(pixels: npt.NDArray[Any], rows: npt.NDArray[Any], columns: npt.NDArray[Any]) -> Floats:
    """Return values between the pixels by linear interpolation, `(rows, columns)`; beyond the edge, those at it."""
    values = pixels.astype(np.float32)
    for places in (rows, columns):
        last = len(values) - 1
        inner = np.clip(places, 0, last)
        before = inner.astype(np.intp)
        low, high = values[before], values[np.minimum(before + 1, last)]
        values = (low + (high - low) * (inner - before).astype(np.float32)[:, None]).T
    return values
