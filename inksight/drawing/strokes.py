"""Strokes as plain data: what they look like, how they are read, and what is wrong with the ones that cannot be read.

A drawing is a list of strokes; a stroke is `[xs, ys]` or `[xs, ys, ts]`, three lists of equal length (Quick, Draw!'s
ndjson files). Times are accepted everywhere and used nowhere: the bitmap depends on where the pen went, not on when.

Not guaranteed: that a drawing means anything, or that its numbers fit a certain box. Only `render` needs a box.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import chain, pairwise, starmap
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from inksight.errors import DrawingError

Strokes = Sequence[Sequence[Sequence[float]]]
"""A drawing: strokes of `[xs, ys]` or `[xs, ys, ts]`."""

MAX_POINTS = 100_000
"""Points in one drawing. The longest of Quick, Draw!'s raw drawings have a few thousand."""

MAX_COORDINATE = 1e9
"""Largest absolute coordinate; beyond it, differences of neighbouring points start to lose whole pixels."""

DOT = 3.0
"""A lone stroke no wider and higher than this, in the units it came in, is a dot: a tap moves by a pixel or two."""

UNITS = 10.0
"""A lone stroke as small as a dot may be a whole drawing in unit coordinates if it lies this near their origin."""

TAP_POINTS, TAP_WAY = 8, 2.5
"""Most places that a tap in unit coordinates goes through, and how many times its extent it may go: none of 278 Quick,
Draw! drawings of one stroke keeps to both. On pixels this tells nothing: a pen that reports its place 240 times a
second shakes through more places, and farther."""

SLACK = 2
"""How far within the box simplified drawings may end: 26 % of Quick, Draw!'s do, 0.5 % by more."""

_SHAPE_HINT = "A drawing is a list of strokes, each [xs, ys] or [xs, ys, ts] with numbers in lists of equal length."


class Points(NamedTuple):
    """Many drawings end to end: coordinates of every point, points per stroke and strokes per drawing."""

    x: npt.NDArray[np.float64]
    y: npt.NDArray[np.float64]
    stroke_lengths: npt.NDArray[np.int64]
    drawing_strokes: npt.NDArray[np.int64]


def validate(strokes: object, *, max_points: int = MAX_POINTS) -> list[list[list[float]]]:
    """Return the drawing as new lists `[[xs, ys], ...]` of finite floats, or raise DrawingError saying what is wrong.

    Made for input from outside (JSON of a request, a file): checks every type, so that nothing later fails oddly.
    A drawing without strokes, or a stroke without points, is an error; a single point is a dot and is fine.
    """
    if not _is_list(strokes):
        raise DrawingError(f"a drawing must be a list of strokes, not {_kind(strokes)}", hint=_SHAPE_HINT)
    drawing: list[list[list[float]]] = []
    total = 0
    for number, stroke in enumerate(strokes, start=1):  # type: ignore[arg-type,var-annotated]
        if not _is_list(stroke) or len(stroke) not in (2, 3):
            size = f" of {len(stroke)}" if _is_list(stroke) else ""
            raise DrawingError(f"stroke {number} is {_kind(stroke)}{size}, not [xs, ys]", hint=_SHAPE_HINT)
        if not all(_is_list(axis) for axis in stroke):
            raise DrawingError(f"stroke {number} must hold lists of numbers", hint=_SHAPE_HINT)
        if len({len(axis) for axis in stroke}) != 1:
            lengths = " and ".join(str(len(axis)) for axis in stroke)
            raise DrawingError(f"the lists of stroke {number} differ in length: {lengths}", hint=_SHAPE_HINT)
        if len(stroke[0]) == 0:
            raise DrawingError(f"stroke {number} has no points", hint="Leave empty strokes out.")
        total += len(stroke[0])
        if total > max_points:
            raise DrawingError(
                f"the drawing has more than {max_points:,} points", hint="Send fewer points: one per pixel is enough."
            )
        drawing.append([[_number(value, number) for value in axis] for axis in stroke[:2]])
    if not drawing:
        raise DrawingError("the drawing has no strokes", hint="Draw something first: a single point is enough.")
    return drawing


def parse(text: str | bytes) -> list[list[list[float]]]:
    """Read one drawing from JSON: bare strokes, or an object with `drawing` (ndjson lines) or `strokes` (requests)."""
    try:
        data: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DrawingError(f"not JSON: {error}", hint=_SHAPE_HINT) from error
    if isinstance(data, dict):
        for key in ("drawing", "strokes"):
            if key in data:
                return validate(data[key])
        raise DrawingError('the JSON object has neither "drawing" nor "strokes"', hint=_SHAPE_HINT)
    return validate(data)


def is_dot(strokes: Strokes) -> bool:
    """Return whether checked strokes are a lone tap of the pen, which shows nothing yet.

    That is one stroke no wider and higher than DOT. In coordinates from 0 to 1, or -1 to 1, whole drawings are that
    small: a stroke within UNITS of the origin is none where the pen went through more than TAP_POINTS places, or
    through three or more and TAP_WAY times the stroke's extent. Elsewhere so small a stroke is a tap however it shakes.
    """
    if len(strokes) != 1:
        return False
    xs, ys = strokes[0][:2]
    left, right, top, bottom = min(xs), max(xs), min(ys), max(ys)
    extent = max(right - left, bottom - top)
    if extent > DOT:
        return False
    if max(-left, right, -top, bottom) > UNITS:
        return True
    places = len(set(zip(xs, ys, strict=True)))
    if places > TAP_POINTS:
        return False
    way = sum(starmap(math.dist, pairwise(zip(xs, ys, strict=True))))
    return places < 3 or way < TAP_WAY * extent


def is_simplified(strokes: Strokes) -> bool:
    """Return whether checked strokes look like Quick, Draw!'s simplified ones: whole numbers that fill 0..255."""
    return fills_box(*(np.concatenate([np.asarray(stroke[axis]) for stroke in strokes]) for axis in (0, 1)))


def fills_box(x: npt.NDArray[Any], y: npt.NDArray[Any]) -> bool:
    """Return whether coordinates are whole and fill the box 0..255, to within SLACK."""
    low = max(x.min(), y.min())
    high = max(x.max(), y.max())
    if min(x.min(), y.min()) < 0 or low > SLACK or not 255 - SLACK <= high <= 255:
        return False
    return all(values.dtype.kind in "iu" or bool((values == np.rint(values)).all()) for values in (x, y))


def flatten(drawings: Sequence[Strokes]) -> Points:
    """Put many drawings end to end, the form that the vectorised code works on; drawings without strokes are fine.

    Quick on purpose (a quarter of the time to render): checks lengths, emptiness and finiteness, not every type.
    Raises DrawingError naming the drawing by its index.
    """
    try:
        x_lists = [stroke[0] for drawing in drawings for stroke in drawing]
        y_lists = [stroke[1] for drawing in drawings for stroke in drawing]
        x_lengths = np.fromiter(map(len, x_lists), np.int64, len(x_lists))
        y_lengths = np.fromiter(map(len, y_lists), np.int64, len(y_lists))
        x = _join(x_lists)
        y = _join(y_lists)
    except (TypeError, ValueError, IndexError, KeyError, OverflowError) as error:
        raise DrawingError(f"the strokes cannot be read: {error}", hint=_SHAPE_HINT) from error
    drawing_strokes = np.fromiter(map(len, drawings), np.int64, len(drawings))
    owner = np.repeat(np.arange(len(drawings)), drawing_strokes)
    _refuse("has a stroke whose xs and ys differ in length", owner[x_lengths != y_lengths])
    _refuse("has a stroke without points", owner[x_lengths == 0])
    # One comparison catches NaN, infinities and the absurd.
    odd = ~((np.abs(x) <= MAX_COORDINATE) & (np.abs(y) <= MAX_COORDINATE))
    if odd.any():
        _refuse(f"has a coordinate that is not within ±{MAX_COORDINATE:g}", np.repeat(owner, x_lengths)[odd])
    return Points(x, y, x_lengths, drawing_strokes)


def _join(lists: list[Sequence[float]]) -> npt.NDArray[np.float64]:
    if lists and all(isinstance(values, np.ndarray) for values in lists):
        return np.concatenate(lists).astype(np.float64)
    return np.fromiter(chain.from_iterable(lists), np.float64)


def _refuse(reason: str, where: npt.NDArray[np.int64]) -> None:
    if where.size:
        raise DrawingError(f"drawing {where[0]} (counted from 0) {reason}", hint=_SHAPE_HINT)


def _is_list(value: object) -> bool:
    return isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim > 0)


def _kind(value: object) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"


def _number(value: object, stroke: int) -> float:
    # A bool is an int to Python and a mistake in a drawing.
    if isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool):
        if -MAX_COORDINATE <= value <= MAX_COORDINATE:
            return float(value)
        raise DrawingError(
            f"stroke {stroke} has the coordinate {value}", hint=f"Coordinates must lie within ±{MAX_COORDINATE:g}."
        )
    raise DrawingError(f"stroke {stroke} holds {_kind(value)} where a number belongs", hint=_SHAPE_HINT)
