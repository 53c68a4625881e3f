"""The outline of a stroke drawn with a round pen, as polygon edges, many strokes at once.

The pen is a regular polygon, points are 24.8 fixed point, every join and cap is a fan of the pen's vertices around the
point: the geometry of cairo 1.16 (cairo-path-stroke-polygon.c, cairo-pen.c), with which Google drew its bitmaps. All of
it is integer arithmetic but for the direction of a segment, which is rounded to 1/256 px at once.

An outline is not simple: it crosses itself at every bend. Filled by the non-zero winding rule it is the stroke.
"""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

FIXED = 256
"""Units of a fixed-point coordinate per pixel."""

_TOLERANCE = 0.1
"""Largest distance, in pixels, between the round pen and the polygon that stands for it (cairo's default)."""


class Edges(NamedTuple):
    """Edges of outlines, pointing down: `(x0, y0)` to `(x1, y1)` in fixed point, winding ±1, and whose stroke it is."""

    x0: Ints
    y0: Ints
    x1: Ints
    y1: Ints
    winding: Ints
    stroke: Ints


class Pen(NamedTuple):
    """A round pen of `radius` units at `scale` pixels per unit, with tables that say which vertices a turn needs.

    `edge_angles` are the directions of the polygon's sides, sorted. A direction's class is 2k + 1 if it equals side k,
    else 2k for the gap before side k. `start[turn, class_in]` is the first vertex of the fan and
    `inner[turn, class_in, class_out]` their number; turn 0 goes along the pen (clockwise on screen), turn 1 against it.
    """

    radius: float
    scale: float
    x: Ints
    y: Ints
    edge_angles: Floats
    start: Ints
    inner: Ints


def to_fixed(values: Floats) -> Ints:
    """Round pixels to fixed point, halves to even, as cairo's magic-number conversion does."""
    return np.rint(values * FIXED).astype(np.int64)


@cache
def round_pen(radius: float, scale: float) -> Pen:
    """Return the polygon for a round pen of `radius` user units drawn at `scale` pixels per unit."""
    pixels = radius * scale
    if pixels <= _TOLERANCE:
        sides = 4
    else:
        sides = max(4, math.ceil(2 * math.pi / math.acos(1 - _TOLERANCE / pixels)))
        sides += sides % 2
    x = to_fixed(np.array([radius * math.cos(2 * math.pi * i / sides) * scale for i in range(sides)]))
    y = to_fixed(np.array([radius * math.sin(2 * math.pi * i / sides) * scale for i in range(sides)]))
    side_x, side_y = x - np.roll(x, 1), y - np.roll(y, 1)  # side i leads to vertex i
    angles = np.sort(np.arctan2(side_y, side_x))
    start, inner = _fan_tables(side_x.tolist(), side_y.tolist())
    return Pen(radius, scale, x, y, angles, start, inner)


def outline(x: Ints, y: Ints, stroke: Ints, pen: Pen) -> Edges:
    """Outline polylines with `pen`.

    `x`, `y`: fixed point, `(P,)`; `stroke`: number of the stroke of each point, ascending.
    """
    x, y, stroke = _drop_needless(x, y, stroke)
    same = stroke[1:] == stroke[:-1]
    is_first, is_last = np.concatenate([[True], ~same]), np.concatenate([~same, [True]])

    # Segments, then dots: a stroke of one point is drawn as a segment of no length that faces right.
    dots = (is_first & is_last).nonzero()[0]
    head = np.concatenate([same.nonzero()[0], dots])
    tail = head + 1
    tail[len(head) - len(dots) :] = dots
    ax, ay, bx, by, owner = x[head], y[head], x[tail], y[tail], stroke[head]
    dx, dy = bx - ax, by - ay
    dx[len(head) - len(dots) :] = FIXED
    fx, fy = _face(dx, dy, pen)
    # Caps turn half a circle, from the segment's direction backwards at its end, and into it at the beginning.
    begin, end = is_first[head].nonzero()[0], is_last[tail].nonzero()[0]
    back = np.concatenate([begin, end])
    classes = _direction_class(np.concatenate([dx, -dx[back]]), np.concatenate([dy, -dy[back]]), pen)
    direction, back_begin = classes[: len(head)], classes[len(head) : -len(end)]
    back_end = classes[-len(end) :]

    # The two long sides of every segment.
    ones = np.ones(len(head), np.int64)
    sides = [(ax - fx, ay - fy, bx - fx, by - fy, ones, owner), (ax + fx, ay + fy, bx + fx, by + fy, -ones, owner)]

    # Joins: a detour through the point on the inner side of the bend, a fan on its outer side.
    out = (~is_first[head]).nonzero()[0]
    into = out - 1
    turn = np.where(_turns_left(dx[into], dy[into], dx[out], dy[out]), 0, 1)
    side = 1 - 2 * turn
    px, py, in_x, in_y, out_x, out_y = (
        ax[out],
        ay[out],
        side * fx[into],
        side * fy[into],
        side * fx[out],
        side * fy[out],
    )
    inner = [(px + in_x, py + in_y, px, py, -side, owner[out]), (px, py, px + out_x, py + out_y, -side, owner[out])]
    bend = ((in_x != out_x) | (in_y != out_y)).nonzero()[0]
    into, out = into[bend], out[bend]

    # Caps: half a pen at the beginning, facing backwards, and at the end.
    against = np.ones(len(begin), np.int64)
    fans = _fans(
        pen,
        np.concatenate([px[bend], ax[begin], bx[end]]),
        np.concatenate([py[bend], ay[begin], by[end]]),
        np.concatenate([-in_x[bend], -fx[begin], fx[end]]),
        np.concatenate([-in_y[bend], -fy[begin], fy[end]]),
        np.concatenate([-out_x[bend], fx[begin], -fx[end]]),
        np.concatenate([-out_y[bend], fy[begin], -fy[end]]),
        np.concatenate([turn[bend], against, against]),
        np.concatenate([direction[into], back_begin, direction[end]]),
        np.concatenate([direction[out], direction[begin], back_end]),
        np.concatenate([owner[out], owner[begin], owner[end]]),
    )
    return _downwards(*(np.concatenate(parts) for parts in zip(*sides, *inner, fans, strict=True)))


def _drop_needless(x: Ints, y: Ints, stroke: Ints) -> tuple[Ints, Ints, Ints]:
    """Drop repeated points, then points in the middle of a straight run: cairo's path does, and a join shows."""
    fresh = np.concatenate([[True], (x[1:] != x[:-1]) | (y[1:] != y[:-1]) | (stroke[1:] != stroke[:-1])])
    x, y, stroke = x[fresh], y[fresh], stroke[fresh]
    dx, dy = x[1:] - x[:-1], y[1:] - y[:-1]
    straight = (dx[:-1] * dy[1:] == dy[:-1] * dx[1:]) & (dx[:-1] * dx[1:] + dy[:-1] * dy[1:] > 0)
    keep = np.ones(len(x), bool)
    keep[1:-1] = ~(straight & (stroke[2:] == stroke[:-2]))
    return x[keep], y[keep], stroke[keep]


def _face(dx: Ints, dy: Ints, pen: Pen) -> tuple[Ints, Ints]:
    """Half the pen's width across each segment, in fixed point; the order of operations is that of cairo."""
    inverse = 1 / pen.scale
    ux, uy = _unit(dx / FIXED, dy / FIXED)
    ux, uy = _unit(ux * inverse, uy * inverse)
    return to_fixed(-uy * pen.radius * pen.scale), to_fixed(ux * pen.radius * pen.scale)


def _unit(dx: Floats, dy: Floats) -> tuple[Floats, Floats]:
    length = np.hypot(dx, dy)
    return dx / length, dy / length


def _turns_left(ax: Ints, ay: Ints, bx: Ints, by: Ints) -> npt.NDArray[np.bool_]:
    """True where direction a comes before direction b; a half turn counts by where a points."""
    cross = ay * bx - by * ax
    left: npt.NDArray[np.bool_] = (cross < 0) | ((cross == 0) & ((ax > 0) | ((ax == 0) & (ay > 0))))
    return left


def _direction_class(dx: Ints, dy: Ints, pen: Pen) -> Ints:
    # Integer directions that differ at all differ by far more than 1e-10 rad at any size we draw.
    angle = np.arctan2(dy, dx)
    below = np.searchsorted(pen.edge_angles - 1e-10, angle)
    equal = below - np.searchsorted(pen.edge_angles + 1e-10, angle)
    return (2 * below - equal) % (2 * len(pen.x))


def _fans(
    pen: Pen,
    x: Ints,
    y: Ints,
    from_x: Ints,
    from_y: Ints,
    to_x: Ints,
    to_y: Ints,
    turn: Ints,
    class_in: Ints,
    class_out: Ints,
    owner: Ints,
) -> tuple[Ints, Ints, Ints, Ints, Ints, Ints]:
    """Edges from `(x, y) + from` over the pen's vertices in between to `(x, y) + to`."""
    size = pen.inner[turn, class_in, class_out] + 2
    ends = size.cumsum()
    fan = np.arange(len(size)).repeat(size)
    place = np.arange(len(fan)) - (ends - size)[fan]
    winding = 1 - 2 * turn
    vertex = (pen.start[turn, class_in][fan] + (place - 1) * winding[fan]) % len(pen.x)
    at_x, at_y = pen.x[vertex], pen.y[vertex]
    at_x[ends - size], at_y[ends - size] = from_x, from_y
    at_x[ends - 1], at_y[ends - 1] = to_x, to_y
    at_x += x[fan]
    at_y += y[fan]
    inside = np.ones(len(fan), bool)
    inside[ends - 1] = False
    a = inside.nonzero()[0]
    return at_x[a], at_y[a], at_x[a + 1], at_y[a + 1], winding[fan[a]], owner[fan[a]]


def _downwards(ax: Ints, ay: Ints, bx: Ints, by: Ints, winding: Ints, owner: Ints) -> Edges:
    up = ay > by
    return Edges(
        np.where(up, bx, ax),
        np.where(up, by, ay),
        np.where(up, ax, bx),
        np.where(up, ay, by),
        np.where(up, -winding, winding),
        owner,
    )


def _fan_tables(side_x: list[int], side_y: list[int]) -> tuple[Ints, Ints]:
    """Work out the fan between every pair of direction classes, by cairo's own searches over one ray of each class.

    Searching by half-planes finds odd but definite answers for turns near half a circle, and they show in the bitmap.
    """
    sides = len(side_x)
    order = sorted(range(sides), key=lambda i: math.atan2(side_y[i], side_x[i]))
    rays = []
    for place, i in enumerate(order):
        before = order[place - 1]
        rays += [(side_x[i] + side_x[before], side_y[i] + side_y[before]), (side_x[i], side_y[i])]
    side = list(zip(side_x, side_y, strict=True))
    start = np.zeros((2, 2 * sides), np.int64)
    count = np.zeros((2, 2 * sides, 2 * sides), np.int64)
    for a, ray_in in enumerate(rays):
        along = _first_vertex([_compare(s, ray_in) < 0 for s in side])
        against = _first_vertex([_compare(ray_in, side[(i + 1) % sides]) < 0 for i in range(sides)])
        start[:, a] = along, against
        for b, ray_out in enumerate(rays):
            stop = along
            if _compare(ray_out, side[(along + 1) % sides]) >= 0:
                stop = _last_vertex(along, [_compare(s, ray_out) > 0 for s in side])
            count[0, a, b] = (stop - along) % sides
            stop = against
            if _compare(side[against], ray_out) <= 0:
                stop = _last_vertex(against, [_compare(ray_out, side[(i + 1) % sides]) > 0 for i in range(sides)])
            count[1, a, b] = (against - stop) % sides
    return start, count


def _compare(a: tuple[int, int], b: tuple[int, int]) -> int:
    """Sign of the turn from b to a; for a half turn, negative if a points right, or straight down."""
    cross = a[1] * b[0] - b[1] * a[0]
    if cross or a[0] * b[0] + a[1] * b[1] > 0:
        return cross
    return -1 if a > (0, 0) else 1


def _first_vertex(go_on: list[bool]) -> int:
    low, high = 0, len(go_on)
    middle = (low + high) // 2
    while True:
        low, high = (middle, high) if go_on[middle] else (low, middle)
        middle = (low + high) // 2
        if high - low <= 1:
            return (middle + go_on[middle]) % len(go_on)


def _last_vertex(low: int, stop: list[bool]) -> int:
    high = low + len(stop)
    middle = (low + high) // 2
    while True:
        low, high = (low, middle) if stop[middle % len(stop)] else (middle, high)
        middle = (low + high) // 2
        if high - low <= 1:
            return middle % len(stop)
