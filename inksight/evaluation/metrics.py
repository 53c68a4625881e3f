"""Measures of a classifier as plain functions on arrays; each agrees with scikit-learn's function of the same meaning.

Throughout: `y_true` int (N,) in 0..C-1; `probabilities` float (N, C), rows sum to 1; `y_pred` int (N,) with -1 where
the model gave no usable answer. A row with a value that is not finite is such a case: it is never right, and it counts.

A ratio whose denominator is 0 is NaN (precision of a class that was never predicted, recall of one that never occurs),
and averages say what they do with it. Nothing here says how sure a number is: see intervals.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
Probabilities = npt.NDArray[np.floating[Any]]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class PerClass:
    """Counts and ratios of each class: int64 or float64 (C,), NaN where a ratio is undefined."""

    support: IntArray
    predicted: IntArray
    hits: IntArray
    precision: FloatArray
    recall: FloatArray
    f1: FloatArray


def usable(probabilities: Probabilities) -> BoolArray:
    """Return which rows are finite throughout, bool (N,)."""
    finite: BoolArray = np.isfinite(probabilities).min(axis=1, initial=True)
    return finite


def answers(probabilities: Probabilities) -> IntArray:
    """Return the most probable class of each row (the first of equals), -1 for rows that are not finite."""
    if probabilities.shape[1] == 0:
        return np.full(len(probabilities), -1, np.int64)
    good = usable(probabilities)
    best: IntArray = np.argmax(np.where(good[:, None], probabilities, 0), axis=1)
    return np.where(good, best, -1)


def ranks(y_true: IntArray, probabilities: Probabilities) -> IntArray:
    """Return how many classes are placed before the true one, int64 (N,); 0 is right, C for a row not finite.

    Equals are placed in class order, as argmax does, so `ranks == 0` is exactly `answers == y_true`.
    """
    count = probabilities.shape[1]
    own = probabilities[np.arange(len(y_true)), y_true][:, None]
    earlier = np.arange(count)[None, :] < y_true[:, None]
    before = (probabilities > own) | ((probabilities == own) & earlier)
    places: IntArray = np.where(usable(probabilities), before.sum(axis=1), count)
    return places


def accuracy(y_true: IntArray, y_pred: IntArray) -> float:
    """Return the share of right answers in 0..1, NaN for no samples."""
    return float(np.mean(y_true == y_pred)) if len(y_true) else float("nan")


def top_k_accuracy(y_true: IntArray, probabilities: Probabilities, k: int) -> float:
    """Return the share of samples whose class is among the `k` most probable, in 0..1."""
    return float(np.mean(ranks(y_true, probabilities) < k)) if len(y_true) else float("nan")


def confusion_matrix(y_true: IntArray, y_pred: IntArray, classes: int) -> IntArray:
    """Return counts int64 (C, C), rows the truth and columns the answer; samples without an answer are left out."""
    given = y_pred >= 0
    cells: IntArray = np.bincount(y_true[given] * classes + y_pred[given], minlength=classes * classes)
    return cells.reshape(classes, classes)


def normalised(matrix: IntArray) -> FloatArray:
    """Return a confusion matrix with each row as shares of its sum, float64 (C, C); empty rows stay 0."""
    sums = matrix.sum(axis=1, keepdims=True)
    shares: FloatArray = np.divide(matrix, sums, out=np.zeros(matrix.shape), where=sums > 0)
    return shares


def per_class(y_true: IntArray, y_pred: IntArray, classes: int) -> PerClass:
    """Return precision, recall and F1 of each class with the counts behind them."""
    support = np.bincount(y_true, minlength=classes)
    predicted = np.bincount(y_pred[y_pred >= 0], minlength=classes)
    hits = np.bincount(y_true[y_true == y_pred], minlength=classes)
    return PerClass(
        support=support,
        predicted=predicted,
        hits=hits,
        precision=_ratio(hits, predicted),
        recall=_ratio(hits, support),
        f1=_ratio(2 * hits, support + predicted),
    )


def balanced_accuracy(table: PerClass) -> float:
    """Return the mean recall of the classes that occur, also called mean class accuracy, in 0..1."""
    return _mean(table.recall[table.support > 0])


def macro(table: PerClass) -> dict[str, float]:
    """Return precision, recall and F1 averaged over the classes that occur or were predicted.

    An undefined ratio counts as 0 there, as in scikit-learn with zero_division=0.
    """
    seen = (table.support + table.predicted) > 0
    return {name: _mean(np.nan_to_num(getattr(table, name)[seen])) for name in ("precision", "recall", "f1")}


def weighted(table: PerClass) -> dict[str, float]:
    """Return precision, recall and F1 averaged with each class's number of samples as its weight."""
    total = table.support.sum()
    if total == 0:
        return dict.fromkeys(("precision", "recall", "f1"), float("nan"))
    return {
        name: float(np.nan_to_num(getattr(table, name)) @ table.support / total)
        for name in ("precision", "recall", "f1")
    }


def matthews(matrix: IntArray) -> float:
    """Return Matthews' correlation for any number of classes (Gorodkin 2004), -1..1; 0 where it is undefined."""
    truth, answer = matrix.sum(axis=1).astype(float), matrix.sum(axis=0).astype(float)
    total = float(matrix.sum())
    covariance = float(np.trace(matrix)) * total - float(truth @ answer)
    spread = (total**2 - float(truth @ truth)) * (total**2 - float(answer @ answer))
    return covariance / float(np.sqrt(spread)) if spread > 0 else 0.0


def log_loss(y_true: IntArray, probabilities: Probabilities) -> float:
    """Return the mean negative log probability of the true class, in nats.

    Probabilities are kept at least the type's epsilon away from 0 and 1 (as scikit-learn does), which is also what a
    row that is not finite is charged: 15.9 nats in float32.
    """
    if len(y_true) == 0:
        return float("nan")
    epsilon = float(np.finfo(probabilities.dtype).eps)
    own = probabilities[np.arange(len(y_true)), y_true].astype(float)
    own = np.where(usable(probabilities), own, 0.0)
    return float(-np.log(np.clip(own, epsilon, 1 - epsilon)).mean())


def brier(y_true: IntArray, probabilities: Probabilities) -> float:
    """Return the mean squared distance between the probabilities and the truth (Brier 1950), 0 best, 2 worst.

    A row that is not finite is charged 2, the worst.
    """
    if len(y_true) == 0:
        return float("nan")
    good = usable(probabilities)
    clean = np.where(good[:, None], probabilities, 0)
    own = clean[np.arange(len(y_true)), y_true].astype(float)
    squares = np.einsum("nc,nc->n", clean, clean, dtype=float) - 2 * own + 1
    return float(np.where(good, squares, 2.0).mean())


def _ratio(numerator: IntArray, denominator: IntArray) -> FloatArray:
    ratio: FloatArray = np.divide(numerator, denominator, out=np.full(len(numerator), np.nan), where=denominator > 0)
    return ratio


def _mean(values: FloatArray) -> float:
    return float(values.mean()) if len(values) else float("nan")
