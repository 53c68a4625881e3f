"""How much of each pixel an outline covers, many outlines at once.

Fifteen scan lines per pixel row, crossings rounded to 1/256 px, the union of the inside intervals by non-zero winding;
a row in which no side begins, ends or crosses another is covered by trapezoids instead. So does cairo 1.16
(cairo-tor-scan-converter.c), to the byte; its rounding is the reason for every odd division here.

Not guaranteed: anything for edges outside the picture; the caller keeps them in.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from inksight.drawing._outline import Edges, Floats, Ints

LINES = 15
"""Scan lines per pixel row."""

GRID = 256
"""Steps of a crossing's position per pixel."""


class _Sides(NamedTuple):
    """Edges that meet a scan line: their first line, one past their last, and where they cross line `top + k`.

    The crossing, in 1/256 px, is the integer part of `at_top + slope * k`.
    """

    edges: Edges
    top: Ints
    bottom: Ints
    at_top: Floats
    slope: Floats


class _Deltas(NamedTuple):
    """Contributions to coverage: `height` scan lines from column `column` on, less `area` within that column."""

    row: Ints
    column: Ints
    height: Ints
    area: Ints


def coverage(edges: Edges, strokes: int, size: int) -> npt.NDArray[np.uint8]:
    """Return the alpha of every stroke by itself: uint8 `(strokes, size, size)`, 255 = wholly covered."""
    alpha = np.zeros((strokes * size, size), np.uint8)
    sides = _scan(edges)
    intervals = _intervals(sides, strokes, size)
    exact, trapezoids = _whole_rows(sides, strokes * size, size)
    # Most rows are empty: number those that are not.
    touched = np.zeros(strokes * size, bool)
    touched[intervals.row] = True
    number = touched.cumsum() - 1
    rows = touched.nonzero()[0]
    sampled = (~exact[intervals.row]).nonzero()[0]
    intervals = _Deltas(*(values[sampled] for values in intervals))
    cells = _add_up(intervals, trapezoids, number, size)
    # 7,680 is a wholly covered pixel: 17 / 512 makes it 255, and a half more rounds.
    cells *= 17 / 512
    cells[:, 0] += 0.5
    alpha[rows] = cells.cumsum(axis=1, out=cells)[:, :size]
    return alpha.reshape(strokes, size, size)


def _add_up(one: _Deltas, other: _Deltas, number: Ints, size: int) -> Floats:
    """Differences of coverage between neighbouring columns, `(rows, size + 2)`: sum along a row to get coverage."""
    row, column, height, area = (np.concatenate(values) for values in zip(one, other, strict=True))
    width, cells = size + 2, (number[-1] + 1) * (size + 2)
    at = number[row] * width + column
    here: Floats = np.bincount(at, height * (2 * GRID) - area, cells).astype(np.float64, copy=False)
    here[1:] += np.bincount(at, area, cells)[:-1]
    return here.reshape(-1, width)


def _scan(edges: Edges) -> _Sides:
    """Keep what meets a scan line, in the order of strokes."""
    top, bottom = _line(edges.y0), _line(edges.y1)
    meets = (bottom > top).nonzero()[0]
    meets = meets[np.argsort(edges.stroke[meets], kind="stable")]
    edges = Edges(*(column[meets] for column in edges))
    top, bottom = top[meets], bottom[meets]
    across, down = edges.x1 - edges.x0, 2 * LINES * (edges.y1 - edges.y0)
    # Crossings are multiples of 1 / down; half of that keeps whole numbers whole when they are computed step by step.
    at_top = edges.x0 + (across * ((2 * top + 1) * GRID - 2 * LINES * edges.y0) + 0.5) / down + 0.5
    return _Sides(edges, top, bottom, np.asarray(at_top, np.float64), across * (2 * GRID) / down)


def _line(y: Ints) -> Ints:
    """First scan line at or below a fixed-point y (lines lie at odd multiples of 1/30 px)."""
    return (y * LINES + GRID // 2) // GRID


def _intervals(sides: _Sides, strokes: int, size: int) -> _Deltas:
    """Cut every scan line into its inside intervals."""
    # A crossing is one integer that sorts by line, then by x, and whose last bit says which way the side goes. Along a
    # side it grows by a constant, so that two numbers per side make all its crossings: a + b * (place in the array).
    x_bits = (size * GRID).bit_length()
    fraction = 62 - x_bits - (strokes * size * LINES).bit_length()
    line = (sides.edges.stroke * (size * LINES) + sides.top) << x_bits + fraction
    a = line + np.ldexp(sides.at_top, fraction).astype(np.int64)
    b = (1 << x_bits + fraction) + np.ldexp(sides.slope, fraction).astype(np.int64)
    count = sides.bottom - sides.top
    ends = count.cumsum()
    a -= b * (ends - count)  # wraps around, and back below
    key = (b << 1).repeat(count)
    key *= np.arange(len(key))
    key += ((a << 1) | (sides.edges.winding < 0)).repeat(count)
    up = key & 1
    key >>= fraction + 1
    key <<= 1
    key |= up
    if strokes * size * LINES << x_bits + 1 < 2**32:
        key = key.astype(np.uint32)
    # Stroke by stroke: NumPy sorts some hundred numbers in 1 ns each, but 85,000 in 20 (Zen 4).
    stroke = sides.edges.stroke
    cuts = [0, *ends[:-1][stroke[1:] != stroke[:-1]].tolist(), len(key)]
    for start, stop in pairwise(cuts):
        key[start:stop].sort()
    # Outside: as many sides down as up so far.
    ups = (key & 1).cumsum(dtype=key.dtype)
    right = (ups + ups == np.arange(1, len(key) + 1, dtype=key.dtype)).nonzero()[0]
    left = np.concatenate([[0], right[:-1] + 1])
    crossing = key[np.concatenate([left, right])].astype(np.int64) >> 1
    x = crossing & ((1 << x_bits) - 1)
    height = np.repeat([1, -1], len(left))
    return _Deltas((crossing >> x_bits) // LINES, x >> 8, height, height * (2 * (x & 255)))


def _whole_rows(sides: _Sides, rows: int, size: int) -> tuple[npt.NDArray[np.bool_], _Deltas]:
    """Find the pixel rows that are covered by trapezoids: which they are, `(rows,)`, and their contributions."""
    row0 = sides.edges.stroke * size
    first, last = -(-sides.top // LINES), sides.bottom // LINES
    broken = np.zeros(rows, bool)
    broken[(row0 + first - 1)[first * LINES != sides.top]] = True
    broken[(row0 + last)[last * LINES != sides.bottom]] = True
    tall = (last > first).nonzero()[0]
    count = (last - first)[tall]
    side = tall.repeat(count)
    row = np.arange(len(side)) + (first[tall] - count.cumsum() + count).repeat(count)
    whole = (~broken[row0[side] + row]).nonzero()[0]
    side, row = side[whole], row[whole]

    step = row * LINES - sides.top[side]
    before = (sides.at_top[side] + sides.slope[side] * step).astype(np.int64)
    after = (sides.at_top[side] + sides.slope[side] * (step + LINES)).astype(np.int64)
    key = row0[side] + row
    # Sides that meet at the top of the row are still in the order in which they came, the steeper to the right first.
    order = np.lexsort((-after, before, key))
    side, row, before, after, key = side[order], row[order], before[order], after[order], key[order]
    same = key[1:] == key[:-1]
    broken[key[1:][same & (after[1:] < after[:-1])]] = True
    exact = np.zeros(rows, bool)
    exact[key] = True
    exact &= ~broken

    kept = exact[key].nonzero()[0]
    side, row, before, key = side[kept], row[kept], before[kept], key[kept]
    # Intervals that touch are one.
    touching = np.concatenate([(key[1:] == key[:-1]) & (before[1:] == before[:-1]), np.zeros(min(len(key), 1), bool)])
    right = ((sides.edges.winding[side].cumsum() == 0) & ~touching).nonzero()[0]
    left = np.concatenate([[0], right[:-1] + 1])[: len(right)]
    both = np.concatenate([left, right])
    sign = np.repeat([1, -1], len(left))
    return exact, _trapezoids(sides.edges, side[both], row[both], key[both], sign)


def _trapezoids(edges: Edges, side: Ints, row: Ints, key: Ints, sign: Ints) -> _Deltas:
    """Contributions of sides that cross a pixel row from top to bottom, in whole scan lines per column.

    `sign` is 1 where the inside begins, -1 where it ends.
    """
    x0, y0 = edges.x0[side], edges.y0[side]
    down = (edges.y1[side] - y0) * (LINES * 2 * GRID)
    across = (edges.x1[side] - x0) * GRID
    start = across * ((2 * LINES * GRID) * row + (GRID - 2 * LINES * y0))
    # Back from the first line to the top of the row, half a line's step; halving rounds twice, towards zero.
    across *= 2 * GRID
    part = np.fmod(across, down)
    x1 = x0 * down + start - _half((across - part) // down) * down - _half(part)
    x2 = x1 + across * LINES
    x1, x2 = np.minimum(x1, x2), np.maximum(x1, x2)
    q1, q2 = x1 // down, x2 // down
    column = q1 // GRID
    # One entry for each column from the first to the last.
    count = q2 // GRID - column + 1
    ends = count.cumsum()
    first, last = ends - count, ends - 1
    which = np.arange(len(count)).repeat(count)
    place = np.arange(len(which)) - first[which]
    # Lines above the place where the side leaves the column, and of those the lines within it.
    pixel = down * GRID
    above = (((column + 1) * pixel - x1) * LINES)[which] + place * (pixel * LINES)[which]
    above //= np.maximum(x2 - x1, 1)[which]
    above[last] = LINES
    lines = above.copy()
    lines[1:] -= above[:-1]
    lines[first] = above[first]
    lines *= sign[which]
    weight = np.full(len(which), GRID)
    weight[last] = q2 % GRID
    weight[first] += q1 % GRID
    return _Deltas(key[which], column[which] + place, lines, lines * weight)


def _half(values: Ints) -> Ints:
    """Divide by two as C does: rounding towards zero."""
    return (values - (values >> 63)) >> 1
