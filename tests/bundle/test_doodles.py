"""The built-in model: small, described, and right about plain drawings from a canvas of any size."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import inksight
from inksight.bundle.loading import locate
from inksight.drawing import render, simplify

Points = list[tuple[float, float]]


def circle(x: float, y: float, radius: float) -> Points:
    return [(x + radius * math.cos(t / 15 * math.pi), y + radius * math.sin(t / 15 * math.pi)) for t in range(31)]


DRAWINGS: dict[str, list[Points]] = {
    "triangle": [[(10, 180), (100, 10), (190, 180), (10, 180)]],
    "house": [
        [(20, 90), (20, 190), (180, 190), (180, 90), (20, 90)],
        [(10, 95), (100, 10), (190, 95)],
        [(85, 190), (85, 140), (115, 140), (115, 190)],
    ],
    "circle": [circle(100, 100, 90)],
    "smiley face": [
        circle(100, 100, 95),
        circle(65, 70, 6),
        circle(135, 70, 6),
        [(50, 125), (75, 150), (100, 157), (125, 150), (150, 125)],
    ],
}


def test_it_is_small_and_has_a_card() -> None:
    folder = locate("doodles")
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 2_000_000
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "CC BY 4.0" in card
    assert all(name in card for name in inksight.load("doodles").classes)


def test_it_tells_what_it_confuses() -> None:
    """The matrix is of the same drawings as the numbers beside it."""
    description = inksight.load("doodles").description
    metrics = description["metrics"]
    matrix = np.array(metrics["confusion"]["matrix"])
    assert matrix.shape == (84, 84)
    assert matrix.sum() == metrics["samples"]
    assert np.trace(matrix) / matrix.sum() == pytest.approx(metrics["accuracy"], abs=1e-6)
    for name, row in zip(description["classes"], matrix, strict=True):
        assert row.sum() == metrics["per_class"][name]["samples"]


@pytest.mark.parametrize("scale", [0.3, 1.0, 8.0])
@pytest.mark.parametrize("name", DRAWINGS)
def test_it_knows_plain_drawings_of_any_size(name: str, scale: float) -> None:
    strokes: list[Any] = [[[x * scale for x, _ in s], [y * scale for _, y in s]] for s in DRAWINGS[name]]
    assert inksight.load("doodles").predict(render(simplify(strokes))[None]) == [name]


def test_it_holds_up_on_official_bitmaps(shared_data: Path) -> None:
    """Most of these were learnt from: the card has the honest number; this only guards against a broken bundle."""
    model = inksight.load("doodles")
    right = total = 0
    for name in model.classes:
        path = shared_data / "quickdraw" / "full" / "numpy_bitmap" / f"{name}.npy"
        if path.exists():
            images = np.load(path, mmap_mode="r")[-40:].reshape(-1, 28, 28)
            right += sum(label == name for label in model.predict(np.ascontiguousarray(images)))
            total += len(images)
    assert total > 2000
    assert right / total > 0.8
