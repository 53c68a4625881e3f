"""Reading strokes: what is accepted, and that errors say what is wrong where."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inksight.drawing import parse, validate
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
