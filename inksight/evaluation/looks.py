"""Where a model looked: explanations of some answers, for the report."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from inksight.evaluation import metrics
from inksight.evaluation.explain import explain_many
from inksight.evaluation.figures import take
from inksight.evaluation.judging import Evaluation, plain

if TYPE_CHECKING:
    from inksight.bundle import Classifier

EACH = 6
SIDE = 196


def with_explanations(evaluation: Evaluation, classifier: Classifier) -> Evaluation:
    """Return the evaluation with pictures of where `classifier` looked: right answers first, then the worst errors.

    Right answers are the surest of up to 6 classes spread over all; needs the evaluation's images.
    """
    rows = [*_surest_right(evaluation), *(row["index"] for row in evaluation.metrics["worst_errors"][:EACH])]
    if not rows or evaluation.images is None:
        return evaluation
    found = explain_many(classifier, take(evaluation.images, rows))
    shown = [
        {
            "index": row,
            "truth": evaluation.classes[evaluation.y_true[row]],
            "answer": one.label,
            "confidence": one.probability,
        }
        for row, one in zip(rows, found, strict=True)
    ]
    section = plain({"method": found[0].method, "samples": shown})
    pictures: list[dict[str, Any]] = [
        {**row, "picture": one.picture(SIDE)} for row, one in zip(section["samples"], found, strict=True)
    ]
    return replace(evaluation, explanations=pictures, metrics={**evaluation.metrics, "explanations": section})


def _surest_right(evaluation: Evaluation) -> list[int]:
    guess = metrics.answers(evaluation.probabilities)
    right = guess == evaluation.y_true
    classes = np.unique(evaluation.y_true[right])
    chosen = classes[np.unique(np.linspace(0, len(classes) - 1, EACH).astype(int))] if len(classes) else classes
    rows = []
    for label in chosen:
        places = np.flatnonzero(right & (guess == label))
        rows.append(int(places[evaluation.probabilities[places, label].argmax()]))
    return rows
