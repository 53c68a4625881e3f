"""The page's renderer (web/js/render.js, run by node) against the Python one: the same strokes, the same bytes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import inksight
from inksight.drawing import render, simplify

SCRIPT = Path(inksight.__file__).parent / "web" / "js" / "render.js"


def _javascript(node: str, cases: list[tuple[Any, int]]) -> dict[str, Any]:
    run = subprocess.run(
        [node, str(Path(__file__).parent / "agree.mjs"), str(SCRIPT)],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    answer: dict[str, Any] = json.loads(run.stdout)
    return answer


def _compare(cases: list[tuple[Any, int]], results: list[Any]) -> None:
    for (raw, size), (strokes, pixels) in zip(cases, results, strict=True):
        ours = simplify(raw)
        assert ours == strokes
        difference = render(ours, size).reshape(-1).astype(int) - pixels
        assert np.abs(difference).max() <= 1
        # Two square roots in the last place: one pixel in a million may round the other way.
        assert np.count_nonzero(difference) <= 2


def test_agrees_on_random_drawings(require: Callable[..., str]) -> None:
    node = require("node", "nodejs")
    rng = np.random.default_rng(20)
    cases: list[tuple[Any, int]] = []
    for number in range(1000):
        strokes = []
        for _ in range(rng.integers(1, 6)):
            points = rng.random((2, rng.integers(1, 40)))
            if number % 2:  # a wandering pen instead of a zigzag
                points = np.cumsum(points - 0.5, axis=1) / 4
            strokes.append((points * 10 ** rng.uniform(-1, 4) + rng.uniform(-100, 100)).round(3).tolist())
        cases.append((strokes, 28 if number % 5 else int(rng.choice([16, 64, 96]))))
    cases.append(([[list(range(3000)), [0, 255] * 1500]], 28))
    cases.append(([[[3], [4]]], 28))
    cases.append(([], 28))
    _compare(cases, _javascript(node, cases)["results"])


def test_agrees_and_keeps_up_with_a_real_pen(shared_data: Path, require: Callable[..., str]) -> None:
    node = require("node", "nodejs")
    files = sorted((shared_data / "quickdraw" / "full" / "raw").glob("*.ndjson"))
    cases = [(json.loads(line)["drawing"], 28) for path in files for line in path.read_text().splitlines()[:12]]
    answer = _javascript(node, cases)
    _compare(cases, answer["results"])
    assert np.median(answer["times"]) < 2  # ms for a whole drawing: at every move of the pointer
