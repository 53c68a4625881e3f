"""Is one model better than another? Both answer the same samples, so the comparison is paired.

Only samples that exactly one of them got right tell them apart: McNemar's exact test and Newcombe's paired interval
use those. It says nothing of other data, nor of training again with another seed, which alone moves a small network by
several tenths of a point.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from inksight.errors import UsageError
from inksight.evaluation import intervals, metrics
from inksight.evaluation.judging import Evaluation, plain
from inksight.evaluation.metrics import BoolArray, IntArray

EXAMPLES = 12


def compare(a: Evaluation, b: Evaluation) -> dict[str, Any]:
    """Return how model `a` differs from `b`, as a JSON-able dict; differences are a minus b, in 0..1.

    Answers are compared by name, so the models may know different classes, as long as both know those that occur.
    Raises UsageError when they were not judged on the same samples.
    """
    truth = np.array(a.classes)[a.y_true]
    if not np.array_equal(truth, np.array(b.classes)[b.y_true]):
        raise UsageError(
            "the two models were judged on different samples", hint="Evaluate both on the same split of one dataset."
        )
    answers_a, answers_b = _answers(a), _answers(b)
    right_a, right_b = answers_a == truth, answers_b == truth
    table = [int((right_a & right_b).sum()), int((right_a & ~right_b).sum())]
    table += [int((~right_a & right_b).sum()), int((~right_a & ~right_b).sum())]
    p_value = intervals.mcnemar(table[1], table[2])
    low, high = intervals.paired_difference(*table)
    gap = a.accuracy - b.accuracy
    return plain(  # type: ignore[no-any-return]
        {
            "a": a.metrics["model"].get("name", "A"),
            "b": b.metrics["model"].get("name", "B"),
            "samples": len(a.y_true),
            "accuracy": [a.accuracy, b.accuracy],
            "balanced_accuracy": [a.balanced_accuracy, b.balanced_accuracy],
            "log_loss": [a.metrics["log_loss"], b.metrics["log_loss"]],
            "both_right": table[0],
            "only_a_right": table[1],
            "only_b_right": table[2],
            "both_wrong": table[3],
            "same_answer": float((answers_a == answers_b).mean()),
            "difference": gap,
            "difference_interval": [low, high],
            "mcnemar_p": p_value,
            "verdict": _verdict(gap, low, high, p_value),
            "per_class": _class_differences(a.y_true, right_a, right_b, a.classes),
            "only_a_examples": _surest(a, right_a & ~right_b, answers_b, b),
            "only_b_examples": _surest(b, right_b & ~right_a, answers_a, a),
            "models": [a.metrics["model"], b.metrics["model"]],
            "classes": [len(a.classes), len(b.classes)],
            "warnings": b.metrics["data"].get("warnings", []),
        }
    )


def with_comparison(a: Evaluation, b: Evaluation) -> Evaluation:
    """Return evaluation `a` with its comparison to `b` in metrics and report."""
    found = compare(a, b)
    return replace(a, comparison=found, metrics={**a.metrics, "comparison": found})


def _verdict(gap: float, low: float, high: float, p_value: float) -> str:
    if p_value < 0.05 and gap != 0:
        return "A is better" if gap > 0 else "B is better"
    reach = 100 * max(abs(low), abs(high))
    return f"no difference shown; if there is one, it is at most {reach:.1f} points"


def _class_differences(
    truth: IntArray, right_a: BoolArray, right_b: BoolArray, classes: tuple[str, ...]
) -> list[dict[str, Any]]:
    count = len(classes)
    support = np.bincount(truth, minlength=count)
    only_a = np.bincount(truth[right_a & ~right_b], minlength=count)
    only_b = np.bincount(truth[right_b & ~right_a], minlength=count)
    known = np.flatnonzero(support)
    adjusted = intervals.holm([intervals.mcnemar(int(only_a[i]), int(only_b[i])) for i in known])
    rows = [
        {
            "class": classes[i],
            "support": support[i],
            "difference": float(only_a[i] - only_b[i]) / float(support[i]),
            "only_a_right": only_a[i],
            "only_b_right": only_b[i],
            "p": p,
        }
        for i, p in zip(known, adjusted, strict=True)
    ]
    return sorted(rows, key=lambda row: (-abs(row["difference"]), row["class"]))


def _answers(evaluation: Evaluation) -> npt.NDArray[np.str_]:
    """Return the name of each answer, empty where there was none."""
    return np.array([*evaluation.classes, ""])[metrics.answers(evaluation.probabilities)]


def _surest(
    winner: Evaluation, rows: BoolArray, other_answers: npt.NDArray[np.str_], loser: Evaluation
) -> list[dict[str, Any]]:
    places = np.flatnonzero(rows)
    own = winner.probabilities[places, winner.y_true[places]]
    first = places[np.argsort(-own, kind="stable")][:EXAMPLES].tolist()
    return [
        {
            "index": i,
            "truth": winner.classes[winner.y_true[i]],
            "answer": str(other_answers[i]) or None,
            "confidence": loser.probabilities[i].max() if other_answers[i] else None,
        }
        for i in first
    ]
