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
from collections.abc import Sequence
from itertools import pairwise

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
    return simplify_many([strokes])[0]


def simplify_many(drawings: Sequence[Strokes]) -> list[list[list[list[int]]]]:
    """Simplify many drawings at once, each to what `simplify` makes of it; 16 at a time take a third of the time each.

    Raises DrawingError that names the drawing by its index.
    """
    points = flatten(drawings)
    if not len(points.x):
        return [[] for _ in drawings]
    inked = points.drawing_strokes > 0
    stroke_ends = points.stroke_lengths.cumsum()
    drawing_ends = stroke_ends[points.drawing_strokes.cumsum()[inked] - 1]
    x, y = _scale(points.x, points.y, drawing_ends)
    sampled_x, sampled_y, ends = _resample(x, y, stroke_ends.tolist(), points.drawing_strokes.tolist())
    kept = _peucker(sampled_x, sampled_y, _starts(ends), ends - 1)
    xs = np.floor(sampled_x[kept] + 0.5).astype(np.int64).tolist()
    ys = np.floor(sampled_y[kept] + 0.5).astype(np.int64).tolist()
    cuts: list[int] = kept.searchsorted(ends).tolist()
    strokes = [[xs[a:b], ys[a:b]] for a, b in pairwise([0, *cuts])]
    parts: list[int] = points.drawing_strokes.cumsum().tolist()
    return [strokes[a:b] for a, b in pairwise([0, *parts])]


def _starts(ends: Ints) -> Ints:
    """Where each part begins that ends before `ends`, with no gap between them."""
    starts = np.zeros_like(ends)
    starts[1:] = ends[:-1]
    return starts


def _scale(x: Floats, y: Floats, ends: Ints) -> tuple[Floats, Floats]:
    """Move the corner of each drawing to 0 and scale its longer side to 255; drawings end before `ends`."""
    starts = _starts(ends)
    count = ends - starts
    x = x - np.minimum.reduceat(x, starts).repeat(count)
    y = y - np.minimum.reduceat(y, starts).repeat(count)
    side = np.maximum(np.maximum.reduceat(x, starts), np.maximum.reduceat(y, starts))
    dots = side <= DOT
    scale = np.where(dots, 1.0, SIDE / np.where(dots, 1.0, side)).repeat(count)
    return x * scale, y * scale


def _resample(x: Floats, y: Floats, ends: list[int], drawing_strokes: list[int]) -> tuple[Floats, Floats, Ints]:
    """Points every `step` along each stroke, and its last point; a stroke of no length becomes two equal points.

    Returns the samples of all strokes end to end and where each stroke's end.
    """
    dx, dy = x[1:] - x[:-1], y[1:] - y[:-1]
    gap = np.sqrt(dx * dx + dy * dy)
    way = np.zeros_like(x)
    starts = [0, *ends[:-1]]
    for start, end in zip(starts, ends, strict=True):
        # Stroke by stroke: a running sum over all of them would round otherwise than the twin in JavaScript does.
        np.cumsum(gap[start : end - 1], out=way[start + 1 : end])
    first, last = np.array(starts), np.array(ends) - 1
    lengths = way[last]
    steps: list[int] = []
    stroke = 0
    for count in drawing_strokes:
        total = sum(lengths[stroke : stroke + count].tolist())
        steps += [max(1, math.ceil(total / MAX_SAMPLES))] * count
        stroke += count
    step = np.array(steps, np.float64)
    # How many samples lie before each point of its stroke, and so on each way from one point to the next. A quotient
    # may round across a whole number.
    per_point = step.repeat(last - first + 1)
    before = np.ceil(way / per_point)
    before -= (before - 1) * per_point >= way
    before += before * per_point < way
    before[first] = 0
    counts = np.zeros(len(x), np.int64)
    counts[:-1] = before[1:] - before[:-1]
    counts[last] = 1
    counts[first] += lengths == 0
    left = np.arange(len(x)).repeat(counts)
    samples = np.add.reduceat(counts, first)
    sample_ends = samples.cumsum()
    where = (np.arange(len(left)) - (sample_ends - samples).repeat(samples)) * step.repeat(samples)
    where[sample_ends - 1] = lengths
    right = np.minimum(left + 1, len(x) - 1)
    # The last point of a stroke is 0 beyond itself; whatever follows it must only not be 0 away.
    span = way[right] - way[left]
    share = (where - way[left]) / np.where(span == 0, 1.0, span)
    return x[left] + share * (x[right] - x[left]), y[left] + share * (y[right] - y[left]), sample_ends


def _peucker(x: Floats, y: Floats, first: Ints, last: Ints) -> Ints:
    """Indices of the points to keep of polylines `first..last`, all at once, level by level (Douglas, Peucker 1973)."""
    keep = np.zeros(len(x), bool)
    keep[first] = keep[last] = True
    for _ in range(MAX_DEPTH):
        wide = last - first > 1
        first, last = first[wide], last[wide]
        if not len(first):
            return keep.nonzero()[0]
        count = last - first - 1
        start = count.cumsum() - count
        inner = np.arange(start[-1] + count[-1]) + (first + 1 - start).repeat(count)
        dx, dy = x[last] - x[first], y[last] - y[first]
        length = np.sqrt(dx * dx + dy * dy)
        closed = length == 0
        px, py = x[inner] - x[first].repeat(count), y[inner] - y[first].repeat(count)
        distance = np.abs(dx.repeat(count) * py - dy.repeat(count) * px)
        distance /= np.where(closed, 1.0, length).repeat(count)
        if closed.any():
            distance = np.where(closed.repeat(count), np.sqrt(px * px + py * py), distance)
        farthest = np.maximum.reduceat(distance, start)
        peaks = (distance == farthest.repeat(count)).nonzero()[0]
        peak = inner[peaks[peaks.searchsorted(start)]]  # the first of equals
        split = farthest > EPSILON
        first, peak, last = first[split], peak[split], last[split]
        keep[peak] = True
        first, last = np.concatenate([first, peak]), np.concatenate([peak, last])
    for a, b in zip(first, last, strict=True):
        keep[a : b + 1] = True
    return keep.nonzero()[0]
