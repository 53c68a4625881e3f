"""Pictures of drawings as people hand them in: any size and pen, on screen or photographed on paper."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from inksight.drawing import Strokes
from tests.drawing.oracle import cairo

Picture = npt.NDArray[np.uint8]


def paint(strokes: Strokes, size: int, pen: float) -> Picture:
    """Draw strokes (0..255) black on white with a round pen `pen` pixels wide, a twentieth of the size around."""
    c = cairo()
    surface = c.ImageSurface(c.FORMAT_RGB24, size, size)
    context = c.Context(surface)
    context.set_line_cap(c.LINE_CAP_ROUND)
    context.set_line_join(c.LINE_JOIN_ROUND)
    context.set_line_width(pen)
    context.set_source_rgb(1, 1, 1)
    context.paint()
    context.set_source_rgb(0, 0, 0)
    margin = pen / 2 + max(2.0, size / 20)
    scale = (size - 2 * margin) / 255
    for xs, ys in (stroke[:2] for stroke in strokes):
        context.move_to(xs[0] * scale + margin, ys[0] * scale + margin)
        for x, y in zip(xs, ys, strict=True):
            context.line_to(x * scale + margin, y * scale + margin)
        context.stroke()
    pixels = np.frombuffer(bytes(surface.get_data()), np.uint8).reshape(size, -1)
    return pixels[:, : size * 4 : 4].copy()


def photograph(picture: Picture, rng: np.random.Generator) -> Picture:
    """Put a picture on paper under a lamp: light falling off to one side, a shadow with a soft edge, grain."""
    height, width = picture.shape
    y, x = np.mgrid[:height, :width] / max(height, width)
    angle = rng.uniform(0, 2 * np.pi)
    slope = x * np.cos(angle) + y * np.sin(angle)
    light = 0.55 + 0.4 * (slope - slope.min()) / np.ptp(slope)
    at = slope + (slope.max() - slope.min()) * rng.uniform(-1, 1)
    light *= 1 - 0.3 / (1 + np.exp(30 * at))
    ink = 0.8 * (1 - picture / 255)
    grain = rng.normal(0, 4, picture.shape)
    photo: Picture = np.clip(235 * light * (1 - ink) + grain, 0, 255).astype(np.uint8)
    return photo


def on_desk(picture: Picture, sides: str, rng: np.random.Generator, *, reflects: float, degrees: float = 0) -> Picture:
    """Photograph a picture on a sheet with a grained desk at some sides (of "tblr") that reflects less than paper."""
    size = len(picture)
    top, bottom, left, right = (int(size * rng.uniform(0.15, 0.4)) if side in sides else 0 for side in "tblr")
    sheet = np.pad(picture, ((top, bottom), (left, right)), constant_values=255)
    is_desk = np.pad(np.zeros_like(picture), ((top, bottom), (left, right)), constant_values=255)
    if degrees:
        sheet, is_desk = (
            np.asarray(Image.fromarray(layer).rotate(degrees, Image.Resampling.BILINEAR, fillcolor=255))
            for layer in (sheet, is_desk)
        )
    y, x = np.mgrid[: len(sheet), : sheet.shape[1]] / size
    wood = reflects * (1 + 0.12 * np.sin(40 * x + 6 * np.sin(5 * y)))
    share = is_desk / 255
    # Ink of 0.8 is the darkest that `photograph` draws: what it makes of white is 1, of black 0.2.
    albedo = (0.2 + 0.8 * sheet / 255) * (1 - share) + wood * share
    return photograph(np.clip((albedo - 0.2) / 0.8 * 255, 0, 255).astype(np.uint8), rng)


def turned(strokes: Strokes, degrees: float) -> list[list[list[float]]]:
    """Turn a drawing, as a sheet lies askew before a camera."""
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    result = []
    for stroke in strokes:
        x, y = np.asarray(stroke[0], float), np.asarray(stroke[1], float)
        result.append([(cos * x - sin * y).tolist(), (sin * x + cos * y).tolist()])
    return result


def difference(ours: Picture, theirs: Picture) -> tuple[float, float]:
    """Mean absolute difference in grey levels, and overlap (intersection by union) of what is darker than half."""
    a, b = ours.astype(int), theirs.astype(int)
    both, either = ((a > 127) & (b > 127)).sum(axis=(1, 2)), ((a > 127) | (b > 127)).sum(axis=(1, 2))
    return float(np.abs(a - b).mean()), float((both / np.maximum(either, 1)).mean())
