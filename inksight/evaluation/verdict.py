"""What the numbers say in plain words: evenness of the classes, the weak ones, the pairs that are mixed up.

The verdict on evenness is the guide's: by the standard deviation of the class accuracies. Thresholds are conventions,
not theory; with few samples per class the deviation is partly chance (5 points of it at 20 samples and 95 %).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from inksight.evaluation.intervals import wilson
from inksight.evaluation.metrics import FloatArray, IntArray, PerClass

# Upper bounds of the standard deviation of class accuracies, and the word for what lies below.
EVENNESS = ((0.05, "excellent"), (0.10, "good"), (0.15, "fair"))
EVENNESS_WORST = "poor"
EVENNESS_RULE = "under 5 points excellent, under 10 good, under 15 fair, else poor"


def evenness(recall: FloatArray) -> dict[str, Any]:
    """Return mean, spread and the verdict on class accuracies, float (C,), NaN for classes without samples."""
    known = recall[~np.isnan(recall)]
    if len(known) == 0:
        return {"mean": None, "std": None, "min": None, "max": None, "verdict": "unknown", "rule": EVENNESS_RULE}
    spread = float(known.std())
    word = next((word for bound, word in EVENNESS if spread < bound), EVENNESS_WORST)
    return {
        "mean": float(known.mean()),
        "std": spread,
        "min": float(known.min()),
        "max": float(known.max()),
        "verdict": word,
        "rule": EVENNESS_RULE,
    }


def ordered(table: PerClass) -> IntArray:
    """Return the indices of the classes with samples from best to worst: by accuracy, then F1, then class order."""
    known = np.flatnonzero(table.support > 0)
    return known[np.lexsort((known, -table.f1[known], -table.recall[known]))]


def best_and_worst(table: PerClass, most: int = 5) -> tuple[list[int], list[int]]:
    """Return up to `most` best classes (best first) and worst ones (worst first), never the same class in both."""
    order = ordered(table).tolist()
    count = min(most, len(order) // 2)
    return order[:count], order[::-1][:count]


def needing_improvement(table: PerClass, matrix: IntArray) -> list[dict[str, Any]]:
    """Return the classes whose accuracy is below the mean class accuracy by more than chance, worst first.

    By more than chance: the whole 95 % interval lies below the mean. Each comes with what it is mostly taken for.
    """
    order = ordered(table)[::-1]
    if len(order) == 0:
        return []
    mean = float(table.recall[order].mean())
    _, high = wilson(table.hits, table.support)
    found = []
    for index in order[high[order] < mean].tolist():
        wrong = matrix[index].copy()
        wrong[index] = 0
        other = int(wrong.argmax())
        found.append(
            {
                "index": index,
                "recall": float(table.recall[index]),
                "below_mean": mean - float(table.recall[index]),
                "taken_for": other if wrong[other] else None,
                "taken_for_count": int(wrong[other]),
            }
        )
    return found


def confused_pairs(matrix: IntArray, most: int = 10) -> list[dict[str, Any]]:
    """Return the pairs of classes mixed up most often, both directions together, with the share of their samples."""
    upper = np.triu(matrix + matrix.T, 1)
    places = np.argsort(-upper, axis=None, kind="stable")[:most]
    support = matrix.sum(axis=1)
    pairs = []
    for a, b in zip(*(axis.tolist() for axis in np.unravel_index(places, matrix.shape)), strict=True):
        if not upper[a, b]:
            break
        # The direction that happens more often is told first.
        first, second = (a, b) if matrix[a, b] >= matrix[b, a] else (b, a)
        pairs.append(
            {
                "a": first,
                "b": second,
                "a_as_b": int(matrix[first, second]),
                "b_as_a": int(matrix[second, first]),
                "share": float(upper[a, b] / (support[a] + support[b])),
            }
        )
    return pairs
