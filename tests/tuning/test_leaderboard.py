"""Which bundle the games should use: the rule, on made results."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest
from scipy.stats.contingency import odds_ratio

from inksight.evaluation.intervals import wilson_one
from inksight.tuning.leaderboard import choose, difference

SAMPLES = 1000


def row(
    model: str, right: np.ndarray[Any, np.dtype[np.bool_]], *, size: int = 1_000_000, ms: float = 1.0
) -> dict[str, Any]:
    return {
        "model": model, "reference": f"d-{model}:1", "bundle": "", "split": "test", "kind": "drawing",
        "samples": len(right), "accuracy": float(right.mean()), "bytes": size, "latency_ms": ms,
        "accuracy_interval": list(wilson_one(int(right.sum()), len(right))),
        "balanced_accuracy_interval": list(wilson_one(int(right.sum()), len(right))), "classes": 4,
        "right": base64.b64encode(np.packbits(right).tobytes()).decode(),
    }  # fmt: skip


def first(count: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    return np.arange(SAMPLES) < count


def test_the_best_wins_when_it_is_better() -> None:
    pick = choose([row("large", first(950), size=9_000_000), row("small", first(800))], 50)
    assert pick["model"] == "large"
    assert "small, 15.0 points lower" in pick["why"]
    assert "95.0" in pick["why"]


def test_of_equals_the_smallest_wins() -> None:
    almost = first(900)
    almost[[0, 1, 2, 950, 951]] ^= True  # three lost, two won: chance
    pick = choose([row("large", first(900), size=4_000_000), row("small", almost)], 50)
    assert pick["model"] == "small"
    assert pick["equals"] == ["large"]
    assert "large gets 0.1 points more right, which may be chance" in pick["why"]
    assert "4.0 times as large" in pick["why"]
    assert "but larger" not in pick["why"], "the one it was compared with is named already"
    three = [row("large", first(900), size=4_000_000), row("small", almost), row("middle", first(900), size=2_000_000)]
    assert choose(three, 50)["why"].endswith("As good, but larger: large.")


@pytest.mark.parametrize(("right", "guesses"), [(250, True), (270, True), (300, False)])
def test_a_model_that_only_guesses_is_called_so(right: int, guesses: bool) -> None:
    why = choose([row("only", first(right))], 50)["why"]
    assert ("no better than guessing among 4 classes" in why) == guesses


def test_chance_alone_makes_no_equals() -> None:
    """Forty images can explain a gap of ten points, but nobody wants to lose ten points."""
    many, few = np.arange(40) < 36, np.arange(40)[::-1] < 32
    _, low, _ = difference(row("large", many), row("small", few))
    assert low <= 0, "the case should be one that chance explains"
    assert choose([row("large", many, size=4_000_000), row("small", few)], 50)["model"] == "large"


def test_the_next_may_be_better_than_the_chosen_one() -> None:
    """Chance explains that the small one is worse than the best, but not that the middle one is."""
    small, middle = first(900), first(894)
    small[:57] = False
    small[900:950] = True
    rows = [row("best", first(900), size=9_000_000), row("middle", middle, size=5_000_000), row("small", small)]
    pick = choose(rows, 50)
    assert pick["model"] == "small"
    assert "is middle, 0.1 points higher (95 % interval" in pick["why"]


def test_the_limit_on_latency() -> None:
    slow, quick = row("slow", first(950), ms=80), row("quick", first(800), ms=2)
    pick = choose([slow, quick], 50)
    assert pick["model"] == "quick"
    assert "slow is better" in pick["why"]
    assert "80 ms, over the limit of 50 ms" in pick["why"]
    assert choose([slow, quick], 100)["model"] == "slow"
    hopeless = choose([slow, quick], 1)
    assert hopeless["model"] == "quick"
    assert "No model answers within 1 ms" in hopeless["why"]


def test_alone() -> None:
    assert "only one" in choose([row("one", first(500))], 50)["why"]


@pytest.mark.parametrize("seed", range(5))
def test_the_difference_is_that_of_the_same_images(seed: int) -> None:
    random = np.random.default_rng(seed)
    a, b = random.random(SAMPLES) < 0.9, random.random(SAMPLES) < 0.85
    gap, low, high = difference(row("a", a), row("b", b))
    assert gap == pytest.approx(a.mean() - b.mean())
    assert low < gap < high
    # Scipy's conditional odds ratio of the discordant pairs is on the same side of 1.
    won, lost = int((a & ~b).sum()), int((~a & b).sum())
    ratio = odds_ratio([[won, lost], [lost, won]], kind="sample").statistic
    assert (ratio > 1) == (gap > 0)
