"""Simplification against Google's published steps, its own results, and what must hold for any pen."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inksight.drawing import render, simplify, simplify_many
from tests.drawing import oracle

raw = oracle.drawings(st.floats(-2000, 2000), max_points=30)


def test_equals_googles_own(shared_data: Path) -> None:
    """The drawings of `face` exist both raw and simplified."""
    folder = shared_data / "quickdraw" / "full"
    theirs = {
        line["key_id"]: line["drawing"]
        for line in map(json.loads, (folder / "simplified" / "face.ndjson").read_text().splitlines())
    }
    same = total = 0
    differences = []
    for line in map(json.loads, (folder / "raw" / "face.ndjson").read_text().splitlines()):
        ours, official = simplify(line["drawing"]), theirs[line["key_id"]]
        assert len(ours) == len(official)
        same += sum(a == b for a, b in zip(ours, official, strict=True))
        total += len(ours)
        differences.append(np.abs(render(ours).astype(int) - render(official)).mean())
    assert total > 150
    assert same / total >= 0.97  # the rest are ties between equally distant points
    assert np.mean(differences) < 0.2


@given(raw)
@settings(max_examples=200, deadline=None)
def test_fills_the_box_from_the_corner(strokes: list[list[list[float]]]) -> None:
    simple = simplify(strokes)
    assert len(simple) == len(strokes)
    x = [v for stroke in simple for v in stroke[0]]
    y = [v for stroke in simple for v in stroke[1]]
    assert min(x + y) >= 0
    assert max(x + y) <= 255
    assert all(isinstance(v, int) for v in x + y)


@given(raw, st.floats(0.01, 100), st.floats(-500, 500))
@settings(max_examples=100, deadline=None)
def test_canvas_size_and_place_do_not_matter(strokes: list[list[list[float]]], scale: float, shift: float) -> None:
    moved = [[[v * scale + shift for v in axis] for axis in stroke] for stroke in strokes]
    extent = max(np.ptp([v for stroke in strokes for v in stroke[axis]]) for axis in (0, 1))
    if 0 < extent < 1e-6:
        return  # rounding of the shift is as large as the drawing
    # Floating point decides near-ties either way: a kept point more or less may move the ink a little.
    assert np.abs(render(simplify(strokes)).astype(int) - render(simplify(moved))).mean() < 8


@given(raw, st.integers(2, 9))
@settings(max_examples=100, deadline=None)
def test_pen_speed_does_not_matter(strokes: list[list[list[float]]], slower: int) -> None:
    """A slow pen leaves more points on the same lines."""
    dense = [
        [np.interp(np.arange((len(axis) - 1) * slower + 1) / slower, np.arange(len(axis)), axis).tolist() for axis in s]
        for s in strokes
    ]
    assert np.abs(render(simplify(strokes)).astype(int) - render(simplify(dense))).mean() < 8


@given(raw)
@settings(max_examples=100, deadline=None)
def test_ends_stay_where_they_were(strokes: list[list[list[float]]]) -> None:
    """The first and last point of every stroke are kept, to within rounding."""
    low = [min(v for stroke in strokes for v in stroke[axis]) for axis in (0, 1)]
    extent = max(max(v for stroke in strokes for v in stroke[axis]) - low[axis] for axis in (0, 1))
    scale = 255 / extent if extent > 1e-9 else 1.0
    for before, after in zip(strokes, simplify(strokes), strict=True):
        for axis in (0, 1):
            for end in (0, -1):
                assert abs((before[axis][end] - low[axis]) * scale - after[axis][end]) <= 0.5 + 1e-6


def test_dots() -> None:
    assert simplify([[[7.5], [3]]]) == [[[0, 0], [0, 0]]]
    assert simplify([[[5, 5, 5], [5, 5, 5]]]) == [[[0, 0], [0, 0]]]
    assert simplify([]) == []


def test_changes_simplified_drawings_little(shared_data: Path) -> None:
    strokes, _ = oracle.pairs(shared_data, "dog")
    again = [simplify(drawing) for drawing in strokes]
    change = [np.abs(render(a).astype(int) - render(b)).mean() for a, b in zip(strokes, again, strict=True)]
    assert np.mean(change) < 1.5


@pytest.mark.parametrize("teeth", [100, 20_000])
def test_a_comb_takes_bounded_work(teeth: int) -> None:
    """A regular zigzag splits once per level, the worst case of the algorithm."""
    comb = [[[float(i) for i in range(teeth)], [0.0, 255.0] * (teeth // 2)]]
    assert 2 <= len(simplify(comb)[0][0]) <= 40_000


@given(st.lists(raw, max_size=6))
@settings(max_examples=50, deadline=None)
def test_many_at_once_are_what_each_is_alone(many: list[list[list[list[float]]]]) -> None:
    many.insert(len(many) // 2, [])
    assert simplify_many(many) == [simplify(one) for one in many]
