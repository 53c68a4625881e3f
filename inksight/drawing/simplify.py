"""Raw strokes, as a pen made them on a canvas of any size, to the simplified strokes of Quick, Draw!.

Google's published steps: move the drawing's corner to 0, scale the longer side to 255, resample every stroke at 1 px,
simplify with Ramer-Douglas-Peucker at epsilon 2.0. What they leave open (the last point is kept besides the regular
samples, distances are to the line rather than to the segment, coordinates are rounded at the very end, a dot becomes
two equal points) was found by comparing with the 31 drawings that exist both raw and simplified: 173 of their 179
strokes come out identical, the others differ by ties between equally distant points.

`web/js/render.js` does the same operations in the same order on doubles, and agrees exactly.

Not guaranteed: that simplifying twice changes nothing; rounded points may fall below epsilon the second time.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from inksight.drawing.strokes import Strokes, flatten

SIDE = 255.0
"""Longest side of a simplified drawing."""

DOT = 1e-9
"""A drawing no larger than this is a dot, whatever the units of the canvas."""

EPSILON = 2.0
"""Points closer than this to the line between kept ones are dropped."""

MAX_SAMPLES = 30_000
"""Samples per drawing. A longer way of the pen (118 times across) is sampled more coarsely, to bound the work."""

MAX_DEPTH = 200
"""Levels of splitting, after which all points are kept. Real drawings need fewer than 40, a comb one per tooth."""

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def simplify(strokes: Strokes) -> list[list[list[int]]]:
    """Return the drawing as `[[xs, ys], ...]` with whole coordinates 0..255; times are ignored.

    Works for any canvas size, pen speed, number of repeated points. A drawing without strokes stays one; a lone dot is
    `[[[0, 0], [0, 0]]]`. Raises DrawingError for strokes that cannot be read.
    """
    points = flatten([strokes])
    if not len(points.x):
        return []
    x, y = points.x - points.x.min(), points.y - points.y.min()
    side = max(x.max(), y.max())
    scale = SIDE / side if side > DOT else 1.0
    x, y = x * scale, y * scale
    cuts = np.cumsum(points.stroke_lengths)[:-1]
    lines = list(zip(np.split(x, cuts), np.split(y, cuts), strict=True))
    ways = [_way(xs, ys) for xs, ys in lines]
    step = max(1, math.ceil(sum(float(way[-1]) for way in ways) / MAX_SAMPLES))
    sampled = [_resample(xs, ys, way, step) for (xs, ys), way in zip(lines, ways, strict=True)]
    x, y = np.concatenate([xs for xs, _ in sampled]), np.concatenate([ys for _, ys in sampled])
    ends = np.cumsum([len(xs) for xs, _ in sampled])
    kept = _peucker(x, y, np.r_[0, ends[:-1]], ends - 1)
    x, y = np.floor(x + 0.5).astype(np.int64), np.floor(y + 0.5).astype(np.int64)
    cuts = np.searchsorted(kept, ends[:-1])
    return [[x[part].tolist(), y[part].tolist()] for part in np.split(kept, cuts)]


def _way(x: Floats, y: Floats) -> Floats:
    """Distance along the stroke at each point."""
    dx, dy = np.diff(x), np.diff(y)
    way: Floats = np.r_[0.0, np.cumsum(np.sqrt(dx * dx + dy * dy))]
    return way


def _resample(x: Floats, y: Floats, way: Floats, step: int) -> tuple[Floats, Floats]:
    """Points every `step` along the stroke, and its last point; a stroke of no length becomes two equal points."""
    if way[-1] == 0:
        return x[[0, 0]], y[[0, 0]]
    at = np.arange(int(np.ceil(way[-1] / step))) * step
    at = at[at < way[-1]]
    before = np.searchsorted(way, at, side="right") - 1
    share = (at - way[before]) / (way[before + 1] - way[before])
    xs = x[before] + share * (x[before + 1] - x[before])
    ys = y[before] + share * (y[before + 1] - y[before])
    return np.r_[xs, x[-1]], np.r_[ys, y[-1]]


def _peucker(x: Floats, y: Floats, first: Ints, last: Ints) -> Ints:
    """Indices of the points to keep of polylines `first..last`, all at once, level by level (Douglas, Peucker 1973)."""
    keep = np.zeros(len(x), bool)
    keep[first] = keep[last] = True
    for _ in range(MAX_DEPTH):
        wide = last - first > 1
        first, last = first[wide], last[wide]
        if not len(first):
            return np.flatnonzero(keep)
        count = last - first - 1
        start = np.cumsum(count) - count
        span = np.repeat(np.arange(len(count)), count)
        inner = np.arange(len(span)) - start[span] + first[span] + 1
        dx, dy = x[last] - x[first], y[last] - y[first]
        length = np.sqrt(dx * dx + dy * dy)
        px, py = x[inner] - x[first][span], y[inner] - y[first][span]
        closed = length == 0
        distance = np.where(
            closed[span],
            np.sqrt(px * px + py * py),
            np.abs(dx[span] * py - dy[span] * px) / np.where(closed, 1.0, length)[span],
        )
        farthest = np.maximum.reduceat(distance, start)
        peaks = np.flatnonzero(distance == farthest[span])
        peak = inner[peaks[np.searchsorted(peaks, start)]]  # the first of equals
        split = farthest > EPSILON
        keep[peak[split]] = True
        first, last = np.r_[first[split], peak[split]], np.r_[peak[split], last[split]]
        order = np.argsort(first)
        first, last = first[order], last[order]
    for a, b in zip(first, last, strict=True):
        keep[a : b + 1] = True
    return np.flatnonzero(keep)
