"""The measures against scikit-learn's, on random and awkward inputs."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from inksight.evaluation import metrics
from inksight.evaluation.metrics import IntArray, Probabilities


@st.composite
def cases(draw: st.DrawFn) -> tuple[IntArray, Probabilities, int]:
    """Draw truth and probabilities, with rare classes and classes that never occur."""
    classes = draw(st.integers(2, 9))
    count = draw(st.integers(1, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    present = rng.choice(classes, size=draw(st.integers(1, classes)), replace=False)
    truth = rng.choice(present, size=count).astype(np.int64)
    scores = rng.normal(size=(count, classes)) + draw(st.floats(0, 3)) * np.eye(classes)[truth]
    probabilities = np.exp(scores)
    return truth, probabilities / probabilities.sum(axis=1, keepdims=True), classes


@settings(max_examples=150, deadline=None)
@given(cases())
def test_counts_and_averages_agree_with_scikit_learn(case: tuple[IntArray, Probabilities, int]) -> None:
    truth, probabilities, classes = case
    labels = np.arange(classes)
    guess = metrics.answers(probabilities)
    table = metrics.per_class(truth, guess, classes)
    matrix = metrics.confusion_matrix(truth, guess, classes)

    assert metrics.accuracy(truth, guess) == pytest.approx(sk.accuracy_score(truth, guess))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of a single class and of answers that never occur as truth
        np.testing.assert_array_equal(matrix, sk.confusion_matrix(truth, guess, labels=labels))
        np.testing.assert_allclose(
            metrics.normalised(matrix), sk.confusion_matrix(truth, guess, labels=labels, normalize="true"), atol=1e-12
        )
        reference = sk.precision_recall_fscore_support(truth, guess, labels=labels, zero_division=np.nan)
        for ours, theirs in zip((table.precision, table.recall, table.f1, table.support), reference, strict=True):
            np.testing.assert_allclose(ours, theirs)
        assert metrics.balanced_accuracy(table) == pytest.approx(sk.balanced_accuracy_score(truth, guess))
        for name, ours_averaged in (("macro", metrics.macro(table)), ("weighted", metrics.weighted(table))):
            theirs = sk.precision_recall_fscore_support(truth, guess, average=name, zero_division=0)[:3]
            assert list(ours_averaged.values()) == pytest.approx(list(theirs))
        assert metrics.matthews(matrix) == pytest.approx(sk.matthews_corrcoef(truth, guess), abs=1e-12)


@settings(max_examples=150, deadline=None)
@given(cases(), st.integers(1, 9))
def test_probability_measures_agree_with_scikit_learn(case: tuple[IntArray, Probabilities, int], k: int) -> None:
    truth, probabilities, classes = case
    labels = np.arange(classes)
    if classes > 2 and k < classes:
        expected = sk.top_k_accuracy_score(truth, probabilities, k=k, labels=labels)
        assert metrics.top_k_accuracy(truth, probabilities, k) == pytest.approx(expected)
    assert metrics.top_k_accuracy(truth, probabilities, classes) == 1
    assert metrics.log_loss(truth, probabilities) == pytest.approx(sk.log_loss(truth, probabilities, labels=labels))
    expected = sk.brier_score_loss(np.eye(classes)[truth], probabilities, scale_by_half=False)
    assert metrics.brier(truth, probabilities) == pytest.approx(expected)


@settings(max_examples=60, deadline=None)
@given(cases(), st.integers(0, 2**32 - 1))
def test_rank_zero_is_the_answer_even_with_ties(case: tuple[IntArray, Probabilities, int], seed: int) -> None:
    truth, probabilities, classes = case
    tied = np.round(probabilities, 1)
    np.testing.assert_array_equal(metrics.ranks(truth, tied) == 0, metrics.answers(tied) == truth)
    order = np.random.default_rng(seed).permutation(len(truth))
    np.testing.assert_array_equal(metrics.ranks(truth[order], tied[order]), metrics.ranks(truth, tied)[order])
    assert metrics.ranks(truth, tied).max() < classes


def test_rows_that_are_not_finite_count_as_wrong() -> None:
    truth = np.array([0, 1, 1, 0])
    probabilities = np.array([[0.9, 0.1], [np.nan, 0.5], [0.2, 0.8], [np.inf, 0.0]], np.float32)
    guess = metrics.answers(probabilities)
    assert guess.tolist() == [0, -1, 1, -1]
    assert metrics.accuracy(truth, guess) == 0.5
    assert metrics.confusion_matrix(truth, guess, 2).tolist() == [[1, 0], [0, 1]]
    table = metrics.per_class(truth, guess, 2)
    assert table.support.tolist() == [2, 2]
    assert table.recall.tolist() == [0.5, 0.5]
    assert table.precision.tolist() == [1, 1]
    assert metrics.top_k_accuracy(truth, probabilities, 2) == 0.5
    assert metrics.log_loss(truth, probabilities) == pytest.approx((-np.log(0.9) - np.log(0.8) + 2 * 15.942385) / 4)
    assert metrics.brier(truth, probabilities) == pytest.approx((0.02 + 0.08 + 2 + 2) / 4)


def test_classes_that_never_occur_are_undefined_not_zero() -> None:
    table = metrics.per_class(np.array([0, 0]), np.array([0, 2]), 4)
    np.testing.assert_array_equal(table.recall, [0.5, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(table.precision, [1, np.nan, 0, np.nan])
    np.testing.assert_allclose(table.f1, [2 / 3, np.nan, 0, np.nan])
    assert metrics.balanced_accuracy(table) == 0.5


def test_no_samples_give_nan_without_a_warning() -> None:
    none, empty = np.empty(0, np.int64), np.empty((0, 3), np.float32)
    table = metrics.per_class(none, metrics.answers(empty), 3)
    values = [
        metrics.accuracy(none, none),
        metrics.top_k_accuracy(none, empty, 3),
        metrics.balanced_accuracy(table),
        metrics.log_loss(none, empty),
        metrics.brier(none, empty),
        *metrics.macro(table).values(),
        *metrics.weighted(table).values(),
    ]
    assert np.isnan(values).all()
    assert metrics.matthews(metrics.confusion_matrix(none, none, 3)) == 0
