"""Pictures of explanations: ink on paper, with what mattered in red."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from inksight.plotting import ACCENT, FAINT, INK, PAPER

Images = npt.NDArray[np.uint8]


def rgb(colour: str) -> npt.NDArray[np.float64]:
    """Return a colour "#rrggbb" as three floats 0..255."""
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)], float)


def heat_over_image(image: Images, heat: npt.NDArray[np.float32], side: int) -> Images:
    """Return `heat` (H, W), 0..1, in red over an image uint8 (H, W[, 3]): uint8 (side, side, 3).

    A drawing lies on the heat like ink on coloured paper; a photo loses some colour, so that the red is the heat's.
    """
    warm = _resized(heat, side)[..., None]
    if image.ndim == 2:
        ink = _resized(np.float32(1 / 255) * image, side)[..., None]
        paper = rgb(PAPER) + (rgb(ACCENT) - rgb(PAPER)) * 0.75 * warm
        mixed = paper + (rgb(INK) - paper) * ink
    else:
        colour = np.stack([_resized(image[..., i].astype(np.float32), side) for i in range(3)], axis=-1)
        pale = 0.55 * colour.mean(axis=-1, keepdims=True) + 0.45 * colour
        mixed = pale + (rgb(ACCENT) - pale) * 0.7 * warm
    return np.clip(np.rint(mixed), 0, 255).astype(np.uint8)


def coloured_strokes(strokes: Sequence[Any], importance: npt.NDArray[np.float64], side: int) -> Images:
    """Return a drawing (coordinates 0..255) with each stroke coloured by importance: uint8 (side, side, 3).

    From ink (no matter) to red (mattered most); strokes that spoke against the answer are pale.
    """
    from PIL import Image, ImageDraw

    # Drawn at twice the size and made smaller: Pillow's lines have no soft edges.
    scale = 2 * side / 304
    canvas = Image.new("RGB", (2 * side, 2 * side), PAPER)
    draw = ImageDraw.Draw(canvas)
    most = max(float(np.max(importance, initial=0)), 1e-9)
    offset = [24 + (255 - max(max(stroke[axis]) for stroke in strokes)) / 2 for axis in (0, 1)] if strokes else [24, 24]
    radius = 4.5 * scale
    for stroke, value in zip(strokes, importance, strict=True):
        share = value / most
        ink = rgb(INK) + (rgb(ACCENT) - rgb(INK)) * share if share > 0 else rgb(INK)
        ink = rgb(INK) + (rgb(FAINT) - rgb(INK)) * 0.6 if share < -0.1 else ink
        colour = tuple(int(channel) for channel in np.rint(ink))
        points = [(scale * (x + offset[0]), scale * (y + offset[1])) for x, y in zip(*stroke[:2], strict=True)]
        draw.line(points, fill=colour, width=round(2 * radius), joint="curve")
        for x, y in (points[0], points[-1]):
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    return np.asarray(canvas.resize((side, side), Image.Resampling.LANCZOS))


def _resized(values: npt.NDArray[Any], side: int) -> npt.NDArray[np.float32]:
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(values, np.float32))
    resized: npt.NDArray[np.float32] = np.asarray(picture.resize((side, side), Image.Resampling.BICUBIC), np.float32)
    return np.clip(resized, 0, None)
