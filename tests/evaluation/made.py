"""Made answers for tests: truth and probabilities of a pretend model of a wanted skill."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from inksight.evaluation.judging import Evaluation, judge
from inksight.evaluation.metrics import FloatArray, IntArray


def answered(
    count: int = 400, classes: int = 5, skill: float = 2.5, seed: int = 0, truth: IntArray | None = None
) -> tuple[IntArray, FloatArray]:
    """Return truth (N,) and probabilities (N, C); more skill, fewer mistakes."""
    rng = np.random.default_rng(seed)
    if truth is None:
        truth = np.arange(count) % classes
    scores = skill * np.eye(classes)[truth] + rng.normal(size=(len(truth), classes))
    odds = np.exp(scores)
    return truth, odds / odds.sum(axis=1, keepdims=True)


def names(count: int) -> list[str]:
    """Return class names, one with characters that mean something to HTML and one with a space."""
    return ["<i>cat</i> & co", "smiley face", *(f"class {i}" for i in range(2, count))][:count]


def pictures(count: int, *, colour: bool = False) -> npt.NDArray[np.uint8]:
    """Return images uint8 (N, 28, 28) or (N, 40, 40, 3)."""
    shape = (count, 40, 40, 3) if colour else (count, 28, 28)
    return np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)


def judged(count: int = 400, classes: int = 5, skill: float = 2.5, seed: int = 0, colour: bool = False) -> Evaluation:
    """Return a whole evaluation of a pretend model."""
    truth, probabilities = answered(count, classes, skill, seed)
    return judge(
        truth,
        probabilities,
        names(classes),
        images=pictures(count, colour=colour),
        model={"name": f"pretend-{seed}"},
        data={"name": "made", "kind": "photo" if colour else "drawing"},
    )
