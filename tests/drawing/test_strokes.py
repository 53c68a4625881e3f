"""Reading strokes: what is accepted, and that errors say what is wrong where."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inksight.drawing import is_dot, is_simplified, parse, simplify, validate
from inksight.errors import DrawingError
from tests.drawing import oracle


@given(oracle.drawings(st.floats(-1e6, 1e6)))
def test_valid_drawings_come_back(strokes: list[list[list[float]]]) -> None:
    assert validate(strokes) == strokes
    assert parse(json.dumps(strokes)) == strokes
    assert parse(json.dumps({"word": "cat", "drawing": strokes}).encode()) == strokes
    assert validate([tuple(np.array(axis) for axis in stroke) for stroke in strokes]) == strokes


def test_times_are_dropped() -> None:
    assert validate([[[1, 2], [3, 4], [0, 16]]]) == [[[1.0, 2.0], [3.0, 4.0]]]


def test_official_simplified_drawings_are_known_as_such(shared_data: Path) -> None:
    known = [is_simplified(strokes) for name in oracle.PAIRED for strokes in oracle.pairs(shared_data, name)[0]]
    assert np.mean(known) > 0.99  # a quarter of them ends a unit or two within the box


@given(oracle.drawings(st.floats(0, 400)))
def test_what_was_simplified_is_known_as_such(strokes: list[list[list[float]]]) -> None:
    simple = simplify(strokes)
    dot = all(value == 0 for stroke in simple for axis in stroke for value in axis)
    assert dot or is_simplified(simple)


@pytest.mark.parametrize(
    "strokes",
    [
        [[[0, 255], [0, 9.5]]],  # not whole
        [[[0, 256], [0, 9]]],  # beyond the box
        [[[-1, 255], [0, 9]]],
        [[[3, 255], [0, 9]]],  # not in the corner
        [[[0, 252], [0, 9]]],  # not filling it
    ],
)
def test_raw_strokes_are_told_from_simplified_ones(strokes: list[list[list[float]]]) -> None:
    assert not is_simplified(strokes)


def _circle(points: int, size: float, at: float = 0.0) -> list[list[list[float]]]:
    turn = np.linspace(0, 2 * np.pi, points)
    return [[(at + size * (1 + f(turn)) / 2).tolist() for f in (np.cos, np.sin)]]


@pytest.mark.parametrize(
    "strokes",
    [
        [[[0.5], [0.5]]],
        [[[0.5, 0.501, 0.502, 0.501], [0.5, 0.5, 0.501, 0.502]]],
        [[[5, 7, 6], [5, 8, 8]]],
        [[[5, 6, 5, 6, 5], [5, 5, 5, 5, 5]]],  # to and fro
        [[[0, 1], [0, 1], [0, 16]]],
        _circle(40, 2.9, at=300),  # a shaking hand on a canvas of pixels
    ],
)
def test_a_tap_is_a_dot(strokes: list[list[list[float]]]) -> None:
    assert is_dot(strokes)
    assert is_dot([[np.array(axis) for axis in stroke] for stroke in strokes])  # type: ignore[misc]


@pytest.mark.parametrize(
    "strokes",
    [
        _circle(40, 1),
        _circle(40, 2.9),
        _circle(40, 2, at=-1),
        _circle(6, 0.3, at=0.5),
        [[[0, 1, 1, 0, 0], [0, 0, 1, 1, 0]]],
        [[np.linspace(0, 1, 20).tolist(), [0.5] * 20]],
        [[[0, 4], [0, 0]]],
        [[[0.5], [0.5]], [[0.7], [0.5]]],
    ],
)
def test_a_drawing_in_unit_coordinates_is_no_dot(strokes: list[list[list[float]]]) -> None:
    assert not is_dot(strokes)


def test_no_official_drawing_scaled_to_units_is_a_dot(shared_data: Path) -> None:
    for name in oracle.PAIRED:
        for strokes in oracle.pairs(shared_data, name)[0]:
            for side in (1, 2.9):
                assert not is_dot([[[value / 255 * side for value in axis] for axis in s[:2]] for s in strokes])


@pytest.mark.parametrize(
    ("strokes", "words"),
    [
        (None, "must be a list of strokes, not nothing"),
        ("abc", "must be a list of strokes, not a str"),
        ([], "has no strokes"),
        ([[[1], [2]], 5], "stroke 2 is a int"),
        ([[[1]]], "stroke 1 is a list of 1"),
        ([[1, 2]], "must hold lists of numbers"),
        ([[[1, 2], [3]]], "differ in length: 2 and 1"),
        ([[[1, 2], [3, 4], [5]]], "differ in length: 2 and 2 and 1"),
        ([[[], []]], "stroke 1 has no points"),
        ([[[1, None], [1, 2]]], "holds nothing where a number"),
        ([[[1, "2"], [1, 2]]], "holds a str where a number"),
        ([[[1, True], [1, 2]]], "holds a bool where a number"),
        ([[[1, float("nan")], [1, 2]]], "has the coordinate nan"),
        ([[[1, float("inf")], [1, 2]]], "has the coordinate inf"),
        ([[[1, 1e12], [1, 2]]], "has the coordinate 1000000000000"),
        ([[[0.0] * 60_000, [0.0] * 60_000]] * 2, "more than 100,000 points"),
    ],
)
def test_errors_say_what_is_wrong(strokes: object, words: str) -> None:
    with pytest.raises(DrawingError, match=words) as caught:
        validate(strokes)
    assert caught.value.hint


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"image": 1}', "3", b"\xff\xfe"])
def test_text_that_is_no_drawing(text: str | bytes) -> None:
    with pytest.raises(DrawingError):
        parse(text)
