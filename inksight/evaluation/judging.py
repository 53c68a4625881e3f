"""Judge answers: from the truth and a model's probabilities to every number of the report. Needs no model.

    evaluation = judge(y_true, probabilities, classes, images=images)
    evaluation.accuracy
    evaluation.write("report/")          # report.html, report.json, PNGs

What is not guaranteed: that the samples are like those the model will meet. About one official drawing in ten is
mislabelled or unfinished, so the ceiling is below 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from inksight.errors import DataError, UsageError
from inksight.evaluation import calibration, intervals, metrics, verdict
from inksight.evaluation.metrics import IntArray, Probabilities

_SUMMARY = (
    "split",
    "samples",
    "accuracy",
    "accuracy_interval",
    "top_3",
    "top_3_interval",
    "balanced_accuracy",
    "balanced_accuracy_interval",
    "class_accuracy",
    "log_loss",
    "matthews",
)
MATRIX, CONFUSIONS = 100, 100
"""Classes up to which a summary holds the whole confusion matrix, and how many confusions it holds in any case."""

WORST_ERRORS = 24
PAIR_EXAMPLES = 4


@dataclass(frozen=True)
class Evaluation:
    """The outcome of judging one model on one split.

    `metrics` is the JSON-able whole; `y_true` int64 (N,), `probabilities` float (N, C) and `images` (anything that
    gives image i by index, or None) are kept for pictures and for comparing models.
    """

    classes: tuple[str, ...]
    y_true: IntArray
    probabilities: Probabilities
    images: Any | None
    metrics: dict[str, Any]
    comparison: dict[str, Any] | None = None
    explanations: list[dict[str, Any]] = field(default_factory=list)

    @property
    def accuracy(self) -> float:
        """Share of right answers, 0..1."""
        return float(self.metrics["accuracy"])

    @property
    def balanced_accuracy(self) -> float:
        """Mean of the class accuracies, 0..1."""
        return float(self.metrics["balanced_accuracy"])

    @property
    def summary(self) -> dict[str, Any]:
        """The few numbers that go into a bundle's description, a registry and a leaderboard, with intervals."""
        m = self.metrics
        short = {name: m[name] for name in _SUMMARY}
        short["macro_f1"] = m["macro"]["f1"]
        short["expected_calibration_error"] = m["calibration"]["error"]
        short["per_class"] = {
            row["class"]: {"accuracy": row["recall"], "interval": row["recall_interval"], "samples": row["support"]}
            for row in m["per_class"]
        }
        short["confusion"] = _confusion(m["confusion_matrix"])
        worst = m["worst_classes"][:1]
        short["worst_class"] = {"class": worst[0], **short["per_class"][worst[0]]} if worst else None
        return short

    def write(self, folder: str | Path) -> Path:
        """Write report.html (self-contained), report.json and the PNGs into `folder`; return the HTML file's path."""
        from inksight.evaluation.report import write_report

        return write_report(self.metrics, Path(folder), images=self.images, explanations=self.explanations)


def judge(
    y_true: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    classes: Sequence[str],
    *,
    images: Any | None = None,
    ids: Sequence[str] | npt.NDArray[np.str_] | None = None,
    split: str = "test",
    validation: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    distribution: Mapping[str, Mapping[str, int]] | None = None,
    model: Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
) -> Evaluation:
    """Judge probabilities float (N, C) against labels int (N,); C is the number of `classes`.

    `images` gives picture i, uint8 (H, W[, 3]), by index; `ids` names samples; `validation` is (labels, probabilities)
    of other samples, on which the temperature is fitted; `distribution` counts samples by split and class; `model` and
    `data` describe both and are passed through. Raises UsageError when shapes do not fit and DataError when rows are
    no probabilities.
    """
    truth, given = _checked(y_true, probabilities, classes)
    names = tuple(classes)
    guess = metrics.answers(given)
    table = metrics.per_class(truth, guess, len(names))
    matrix = metrics.confusion_matrix(truth, guess, len(names))
    places = metrics.ranks(truth, given)
    count = len(truth)
    right, near = int((places == 0).sum()), int((places < 3).sum())
    best, worst = verdict.best_and_worst(table)
    found: dict[str, Any] = {
        "model": dict(model or {}),
        "data": {**_kind(images), **(data or {})},
        "split": split,
        "samples": count,
        "classes": list(names),
        "unusable_answers": int((guess < 0).sum()),
        "classes_without_samples": [names[i] for i in np.flatnonzero(table.support == 0)],
        "accuracy": metrics.accuracy(truth, guess),
        "accuracy_interval": intervals.wilson_one(right, count),
        "top_3": near / count if count else None,
        "top_3_interval": intervals.wilson_one(near, count),
        "balanced_accuracy": metrics.balanced_accuracy(table),
        "balanced_accuracy_interval": intervals.mean_of_shares(table.hits, table.support),
        "class_accuracy": verdict.evenness(table.recall),
        "macro": metrics.macro(table),
        "weighted": metrics.weighted(table),
        "matthews": metrics.matthews(matrix),
        "log_loss": metrics.log_loss(truth, given),
        "brier": metrics.brier(truth, given),
        "per_class": _class_rows(table, names),
        "best_classes": [names[i] for i in best],
        "worst_classes": [names[i] for i in worst],
        "needs_improvement": _weak_classes(table, matrix, names),
        "confusion_matrix": matrix,
        "confused_pairs": _pairs(truth, guess, given, matrix, names),
        "calibration": _calibration(truth, given, validation),
        "worst_errors": _worst_errors(truth, guess, given, names, ids),
        "distribution": {part: dict(counts) for part, counts in (distribution or {}).items()}
        or {split: {name: int(n) for name, n in zip(names, table.support, strict=True)}},
    }
    return Evaluation(names, truth, given, images, plain(found))


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it: arrays as lists, floats rounded to 6 places, NaN and infinity as None."""
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value


def _kind(images: Any | None) -> dict[str, str]:
    return {} if images is None else {"kind": "drawing" if len(images.shape) == 3 else "photo"}


def _checked(
    y_true: npt.ArrayLike, probabilities: npt.ArrayLike, classes: Sequence[str]
) -> tuple[IntArray, Probabilities]:
    truth, given = np.asarray(y_true), np.asarray(probabilities)
    if given.dtype not in (np.float32, np.float64):
        given = given.astype(np.float32 if given.dtype == np.float16 else np.float64)
    if len(classes) < 1 or len(set(classes)) != len(classes):
        raise UsageError("classes must be at least one name, each once")
    if truth.ndim != 1 or given.shape != (len(truth), len(classes)):
        raise UsageError(
            f"labels {truth.shape} and probabilities {given.shape} do not fit {len(classes)} classes",
            hint="Labels are (N,), probabilities (N, number of classes).",
        )
    if len(truth) == 0:
        raise UsageError("there is not one sample to judge", hint="Choose a split that has images, e.g. --split test.")
    truth = truth.astype(np.int64)
    if truth.min() < 0 or truth.max() >= len(classes):
        raise UsageError(f"labels run from {truth.min()} to {truth.max()}, the classes from 0 to {len(classes) - 1}")
    good = given[metrics.usable(given)]
    # 1e-2 lets 16-bit and quantised models pass; logits and percentages do not.
    if len(good) and (good.min() < -1e-6 or np.abs(good.sum(axis=1, dtype=float) - 1).max() > 1e-2):
        raise DataError(
            f"rows are no probabilities: values from {good.min():.3g} to {good.max():.3g}, "
            f"sums from {good.sum(axis=1).min():.3g} to {good.sum(axis=1).max():.3g}",
            hint="Pass softmax outputs: each row in 0..1 with sum 1.",
        )
    return truth, given


def _confusion(matrix: list[list[int]]) -> dict[str, Any]:
    """Return the matrix (rows: truth, in the order of the classes) unless it is large, and its largest errors.

    An error is [truth, answer, count] with the classes' places.
    """
    errors = [
        [truth, answer, count] for truth, row in enumerate(matrix) for answer, count in enumerate(row)
        if count and truth != answer
    ]  # fmt: skip
    errors.sort(key=lambda error: (-error[2], error[0], error[1]))
    return {"matrix": matrix if len(matrix) <= MATRIX else None, "errors": errors[:CONFUSIONS]}


def _class_rows(table: metrics.PerClass, names: Sequence[str]) -> list[dict[str, Any]]:
    precision = intervals.wilson(table.hits, table.predicted)
    recall = intervals.wilson(table.hits, table.support)
    f1 = intervals.f1_interval(table.hits, table.support, table.predicted)
    return [
        {
            "class": name,
            "support": table.support[i],
            "predicted": table.predicted[i],
            "hits": table.hits[i],
            "precision": table.precision[i],
            "precision_interval": (precision[0][i], precision[1][i]),
            "recall": table.recall[i],
            "recall_interval": (recall[0][i], recall[1][i]),
            "f1": table.f1[i],
            "f1_interval": (f1[0][i], f1[1][i]),
        }
        for i, name in enumerate(names)
    ]


def _weak_classes(table: metrics.PerClass, matrix: IntArray, names: Sequence[str]) -> list[dict[str, Any]]:
    rows = []
    for row in verdict.needing_improvement(table, matrix):
        other = row["taken_for"]
        rows.append(
            {
                "class": names[row["index"]],
                "recall": row["recall"],
                "below_mean": row["below_mean"],
                "taken_for": names[other] if other is not None else None,
                "taken_for_count": row["taken_for_count"],
                "support": table.support[row["index"]],
            }
        )
    return rows


def _pairs(
    truth: IntArray, guess: IntArray, given: Probabilities, matrix: IntArray, names: Sequence[str]
) -> list[dict[str, Any]]:
    def examples(a: int, b: int) -> list[int]:
        rows = np.flatnonzero((truth == a) & (guess == b))
        surest: list[int] = rows[np.argsort(-given[rows, b], kind="stable")][:PAIR_EXAMPLES].tolist()
        return surest

    return [
        {
            "a": names[pair["a"]],
            "b": names[pair["b"]],
            "a_as_b": pair["a_as_b"],
            "b_as_a": pair["b_as_a"],
            "share": pair["share"],
            "a_as_b_examples": examples(pair["a"], pair["b"]),
            "b_as_a_examples": examples(pair["b"], pair["a"]),
        }
        for pair in verdict.confused_pairs(matrix)
    ]


def _calibration(
    truth: IntArray, given: Probabilities, validation: tuple[npt.ArrayLike, npt.ArrayLike] | None
) -> dict[str, Any]:
    found = calibration.reliability(truth, given)
    result: dict[str, Any] = {
        "error": found.error,
        "worst_gap": found.worst,
        "overconfidence": found.gap,
        "bins": {
            "edges": found.edges,
            "count": found.count,
            "confidence": found.confidence,
            "accuracy": found.accuracy,
            "low": found.low,
            "high": found.high,
        },
        "temperature": None,
        "error_after_temperature": None,
        "log_loss_after_temperature": None,
    }
    good = metrics.usable(given)
    if validation is not None and len(np.asarray(validation[0])) and good.any():
        temperature = calibration.fit_temperature(np.asarray(validation[0], np.int64), np.asarray(validation[1]))
        mended = calibration.apply_temperature(given[good], temperature)
        result["temperature"] = temperature
        result["error_after_temperature"] = calibration.reliability(truth[good], mended).error
        # In the type of what it stands beside: the log loss keeps away from 0 by the type's epsilon.
        result["log_loss_after_temperature"] = metrics.log_loss(truth[good], mended.astype(given.dtype))
    return result


def _worst_errors(
    truth: IntArray,
    guess: IntArray,
    given: Probabilities,
    names: Sequence[str],
    ids: Sequence[str] | npt.NDArray[np.str_] | None,
) -> list[dict[str, Any]]:
    wrong = np.flatnonzero((guess != truth) & (guess >= 0))
    surest = wrong[np.argsort(-given[wrong, guess[wrong]], kind="stable")][:WORST_ERRORS].tolist()
    return [
        {
            "index": row,
            "id": str(ids[row]) if ids is not None else None,
            "truth": names[truth[row]],
            "answer": names[guess[row]],
            "confidence": given[row, guess[row]],
            "truth_probability": given[row, truth[row]],
        }
        for row in surest
    ]
