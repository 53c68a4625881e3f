"""The renderer against cairo, against Google's own bitmaps, and against what must hold for any drawing."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inksight.drawing import render, render_many
from inksight.errors import DrawingError
from tests.drawing import oracle

simplified = oracle.drawings(st.integers(0, 255))


@pytest.mark.parametrize("name", oracle.PAIRED)
def test_equals_googles_bitmaps(shared_data: Path, name: str) -> None:
    strokes, bitmaps = oracle.pairs(shared_data, name)
    np.testing.assert_array_equal(render_many(strokes), bitmaps)


def test_is_fast(shared_data: Path) -> None:
    strokes = [drawing for name in oracle.PAIRED for drawing in oracle.pairs(shared_data, name)[0]]

    def rate() -> float:
        start = time.process_time()
        render_many(strokes)
        return len(strokes) / (time.process_time() - start)

    # docs/benchmarks/renderer.md: above 6,000 on a core of its own; here other tests share its caches.
    assert max(rate() for _ in range(5)) >= 3_500


@given(simplified)
@settings(max_examples=300, deadline=None)
def test_agrees_with_cairo(strokes: list[list[list[float]]]) -> None:
    ours, theirs = render(strokes).astype(int), oracle.draw(strokes).astype(int)
    # Equal but for rows at whose top several sides meet in one place: 1 in 600 random zigzags, none in the data.
    assert np.count_nonzero(ours != theirs) <= 8
    assert np.abs(ours - theirs).max() <= 40


@pytest.mark.parametrize("size", [20, 64, 224])
def test_agrees_with_cairo_at_other_sizes(shared_data: Path, size: int) -> None:
    strokes = oracle.pairs(shared_data, "dog")[0][:20]
    ours = render_many(strokes, size).astype(int)
    theirs = np.stack([oracle.draw(drawing, size) for drawing in strokes]).astype(int)
    assert np.abs(ours - theirs).mean() < 0.001


@given(st.lists(simplified, max_size=6))
@settings(max_examples=50, deadline=None)
def test_a_batch_is_its_drawings(many: list[list[list[list[float]]]]) -> None:
    together = render_many(many)
    assert together.shape == (len(many), 28, 28)
    for strokes, bitmap in zip(many, together, strict=True):
        np.testing.assert_array_equal(render(strokes), bitmap)


@given(simplified, st.integers(0, 4))
@settings(max_examples=50, deadline=None)
def test_repeated_points_and_times_change_nothing(strokes: list[list[list[float]]], times: int) -> None:
    doubled = [[[v for v in axis for _ in range(1 + times)] for axis in stroke] for stroke in strokes]
    timed = [[*stroke, [float(v) for v in range(len(stroke[0]))]] for stroke in doubled]
    np.testing.assert_array_equal(render(strokes), render(timed))


@given(simplified)
@settings(max_examples=50, deadline=None)
def test_more_strokes_never_take_ink_away(strokes: list[list[list[float]]]) -> None:
    corners: list[list[list[float]]] = [[[0], [0]], [[255], [255]]]  # hold the box still
    assert (render(corners + strokes) >= render(corners + strokes[:-1])).all()


def test_no_strokes_are_blank_and_no_drawings_are_empty() -> None:
    assert not render([]).any()
    assert render_many([]).shape == (0, 28, 28)
    mixed = render_many([[], [[[0], [0]]], []])
    assert mixed.any(axis=(1, 2)).tolist() == [False, True, False]


def test_a_dot_is_in_the_middle() -> None:
    dot = render([[[0], [0]]])
    np.testing.assert_array_equal(dot, dot[::-1, ::-1])
    assert dot[13:15, 13:15].min() == dot.max() > 100


@pytest.mark.parametrize(
    ("strokes", "words"),
    [
        ([[[0, 300], [0, 1]]], "outside 0..255"),
        ([[[-1, 30], [0, 1]]], "outside 0..255"),
        ([[[0, 30], [0]]], "differ in length"),
        ([[[], []]], "without points"),
        ([[[0, float("nan")], [0, 1]]], "not within"),
        ([[["a"], [0]]], "cannot be read"),
        ([[[0, 1]]], "cannot be read"),
    ],
)
def test_wrong_strokes_are_named(strokes: list[list[list[float]]], words: str) -> None:
    with pytest.raises(DrawingError, match=words):
        render(strokes)


@pytest.mark.parametrize("size", [0, 7, 4096])
def test_absurd_sizes_are_refused(size: int) -> None:
    with pytest.raises(DrawingError, match="cannot render at"):
        render([[[0], [0]]], size)
