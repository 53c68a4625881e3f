"""Bitmaps drawn by cairo itself, the library that Google drew Quick, Draw!'s bitmaps with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from tests.conftest import skip_or_fail

PAIRED = ("bird", "bowtie", "circle", "cookie", "dog", "dragon")


def cairo() -> Any:
    """Import cairocffi, or skip: it needs Debian's libcairo2 (fails under CI)."""
    try:
        import cairocffi
    except (ImportError, OSError) as error:
        skip_or_fail(f"cairocffi cannot load cairo: {error}")
    return cairocffi


def draw(strokes: list[list[list[float]]], size: int = 28) -> npt.NDArray[np.uint8]:
    """Draw simplified strokes as Google describes it (white on black, width 16, padding 16, ANTIALIAS_BEST)."""
    c = cairo()
    surface = c.ImageSurface(c.FORMAT_ARGB32, size, size)
    context = c.Context(surface)
    context.set_antialias(c.ANTIALIAS_BEST)
    context.set_line_cap(c.LINE_CAP_ROUND)
    context.set_line_join(c.LINE_JOIN_ROUND)
    context.set_line_width(16)
    side = 256 + 2 * 16 + 16
    context.scale(size / side, size / side)
    context.translate(24, 24)
    context.set_source_rgb(1, 1, 1)
    dx, dy = ((256 - max(max(stroke[axis]) for stroke in strokes)) / 2 for axis in (0, 1))
    for stroke in strokes:
        context.move_to(stroke[0][0] + dx, stroke[1][0] + dy)
        for x, y in zip(stroke[0], stroke[1], strict=True):
            context.line_to(x + dx, y + dy)
        context.stroke()
    pixels = np.frombuffer(bytes(surface.get_data()), np.uint8).reshape(size, -1)
    return pixels[:, : size * 4 : 4].copy()


def pairs(shared_data: Path, name: str) -> tuple[list[list[list[list[float]]]], npt.NDArray[np.uint8]]:
    """Return a class's strokes and Google's own bitmaps of them, `(N, 28, 28)`."""
    folder = shared_data / "quickdraw" / "pairs"
    lines = (folder / f"{name}.ndjson").read_text().splitlines()
    return [json.loads(line)["drawing"] for line in lines], np.load(folder / f"{name}.npy").reshape(-1, 28, 28)


def drawings(coordinate: st.SearchStrategy[Any], max_points: int = 12) -> st.SearchStrategy[list[list[list[Any]]]]:
    """Strategy for drawings of one to five strokes with coordinates as given."""
    stroke = st.lists(st.tuples(coordinate, coordinate), min_size=1, max_size=max_points)
    return st.lists(
        stroke.map(lambda points: [list(axis) for axis in zip(*points, strict=True)]), min_size=1, max_size=5
    )
