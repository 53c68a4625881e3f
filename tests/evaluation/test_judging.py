"""Judging: the whole of the numbers, awkward splits, refusals, and the words on top."""

from __future__ import annotations

import json

import numpy as np
import pytest

from inksight.errors import DataError, UsageError
from inksight.evaluation import calibration, judge, verdict
from inksight.evaluation.metrics import per_class
from inksight.evaluation.words import sentences

from .made import answered, judged, names


def test_metrics_are_plain_json_and_agree_with_each_other() -> None:
    evaluation = judged()
    m = json.loads(json.dumps(evaluation.metrics, allow_nan=False))
    matrix = np.array(m["confusion_matrix"])
    assert m["samples"] == matrix.sum() == 400
    assert evaluation.accuracy == pytest.approx(np.trace(matrix) / 400)
    assert m["accuracy_interval"][0] < m["accuracy"] < m["accuracy_interval"][1]
    assert m["top_3"] >= m["accuracy"]
    assert evaluation.balanced_accuracy == pytest.approx(np.mean([row["recall"] for row in m["per_class"]]), abs=1e-6)
    assert m["class_accuracy"]["mean"] == m["balanced_accuracy"]
    assert [row["support"] for row in m["per_class"]] == matrix.sum(axis=1).tolist()
    for row in m["per_class"]:
        assert row["f1_interval"][0] <= row["f1"] <= row["f1_interval"][1]


def test_summary_holds_what_a_bundle_records() -> None:
    summary = judged().summary
    assert {"accuracy", "accuracy_interval", "balanced_accuracy", "worst_class", "per_class"} <= summary.keys()
    assert summary["worst_class"]["accuracy"] == min(row["accuracy"] for row in summary["per_class"].values())


def test_summary_holds_the_confusion_matrix_or_its_worst_part() -> None:
    evaluation = judged()
    matrix = np.array(evaluation.summary["confusion"]["matrix"])
    assert matrix.tolist() == evaluation.metrics["confusion_matrix"]
    errors = evaluation.summary["confusion"]["errors"]
    assert sum(count for *_, count in errors) == matrix.sum() - np.trace(matrix)
    assert all(matrix[truth, answer] == count and truth != answer for truth, answer, count in errors)
    assert [count for *_, count in errors] == sorted((count for *_, count in errors), reverse=True)
    random = np.random.default_rng(0)
    many = random.dirichlet(np.ones(345), 4000)
    short = judge(random.integers(0, 345, 4000), many, [f"class {i}" for i in range(345)]).summary["confusion"]
    assert short["matrix"] is None
    assert len(short["errors"]) == 100


def test_worst_errors_are_the_surest_mistakes() -> None:
    evaluation = judged(skill=1.5)
    errors = evaluation.metrics["worst_errors"]
    sure = evaluation.probabilities.max(axis=1)
    wrong = evaluation.probabilities.argmax(axis=1) != evaluation.y_true
    assert [row["confidence"] for row in errors] == pytest.approx(sorted(sure[wrong], reverse=True)[:24], abs=1e-6)
    first = errors[0]
    assert evaluation.classes[evaluation.y_true[first["index"]]] == first["truth"] != first["answer"]


@pytest.mark.parametrize(
    ("spread", "word"), [(0.049, "excellent"), (0.051, "good"), (0.11, "fair"), (0.149, "fair"), (0.151, "poor")]
)
def test_the_verdict_on_evenness_follows_its_thresholds(spread: float, word: str) -> None:
    recall = np.array([0.7 - spread, 0.7 + spread, np.nan])
    found = verdict.evenness(recall)
    assert found["std"] == pytest.approx(spread)
    assert found["verdict"] == word


def test_best_and_worst_never_share_a_class() -> None:
    table = per_class(np.array([0, 0, 1, 1, 2, 2]), np.array([0, 0, 1, 0, 0, 0]), 4)
    assert verdict.best_and_worst(table) == ([0], [2])
    assert verdict.ordered(table).tolist() == [0, 1, 2]


def test_a_planted_weak_class_and_pair_are_named() -> None:
    truth = np.repeat(np.arange(6), 60)
    guess = truth.copy()
    guess[:30] = 4  # half of class 0 is taken for class 4
    probabilities = np.full((360, 6), 0.02) + 0.88 * np.eye(6)[guess]
    m = judge(truth, probabilities, names(6)).metrics
    assert [row["class"] for row in m["needs_improvement"]] == ["<i>cat</i> & co"]
    assert m["needs_improvement"][0]["taken_for"] == "class 4"
    assert m["needs_improvement"][0]["taken_for_count"] == 30
    pair = m["confused_pairs"][0]
    assert (pair["a"], pair["b"], pair["a_as_b"], pair["b_as_a"]) == ("<i>cat</i> & co", "class 4", 30, 0)
    assert pair["share"] == pytest.approx(0.25)
    assert len(m["confused_pairs"]) == 1
    assert all(index < 30 for index in pair["a_as_b_examples"])


def test_chance_alone_marks_few_classes_as_weak() -> None:
    marked = [len(judged(count=2000, classes=20, seed=seed).metrics["needs_improvement"]) for seed in range(10)]
    # The upper end of a 95 % interval lies below the truth for 1 class in 40 by chance: 0.5 of 20.
    assert np.mean(marked) < 1.5


def test_one_class_of_several() -> None:
    truth, probabilities = answered(truth=np.ones(30, np.int64))
    m = judge(truth, probabilities, names(5)).metrics
    assert m["accuracy"] == m["balanced_accuracy"]
    assert len(m["classes_without_samples"]) == 4
    assert m["matthews"] == 0
    assert m["best_classes"] == []
    assert "No samples of" in " ".join(sentences(m)["warnings"])


def test_answers_that_are_not_numbers_are_counted_and_said() -> None:
    truth, probabilities = answered(skill=9)
    probabilities[:40] = np.nan
    m = judge(truth, probabilities, names(5)).metrics
    assert m["unusable_answers"] == 40
    assert m["accuracy"] == pytest.approx(0.9)
    assert json.dumps(m, allow_nan=False)
    assert "40 answers held values that are not numbers" in " ".join(sentences(m)["warnings"])


def test_a_model_that_never_answers_is_judged_too() -> None:
    truth, probabilities = answered(50)
    m = judge(truth, np.full_like(probabilities, np.nan), names(5), validation=(truth, probabilities * np.nan)).metrics
    assert m["accuracy"] == 0
    assert m["calibration"]["error"] is None
    assert all(isinstance(text, str | list) for text in sentences(m).values())


def test_log_losses_beside_each_other_can_be_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both keep away from 0 by the epsilon of float32, in which models answer."""
    monkeypatch.setattr(calibration, "fit_temperature", lambda *_: 1.0)
    truth = np.array([0, 1, 1])
    given = np.array([[1, 0], [0, 1], [1, 0]], np.float32)
    found = judge(truth, given, ["a", "b"], validation=(truth, given))
    after = found.metrics["calibration"]["log_loss_after_temperature"]
    assert after == pytest.approx(found.metrics["log_loss"], abs=1e-6)


def test_temperature_comes_from_validation_only() -> None:
    truth, probabilities = answered(2000)
    sharp = probabilities**6 / (probabilities**6).sum(axis=1, keepdims=True)
    without = judge(truth, sharp, names(5)).metrics["calibration"]
    assert without["temperature"] is None
    found = judge(truth, sharp, names(5), validation=(truth[:500], sharp[:500])).metrics["calibration"]
    assert found["temperature"] > 1.5
    assert found["error_after_temperature"] < found["error"]


@pytest.mark.parametrize(
    ("truth", "probabilities", "classes"),
    [
        ([0, 1], [[0.5, 0.5]], ["a", "b"]),
        ([0], [[0.2, 0.3, 0.5]], ["a", "b"]),
        ([2], [[0.5, 0.5]], ["a", "b"]),
        ([-1], [[0.5, 0.5]], ["a", "b"]),
        ([0], [[0.5, 0.5]], ["a", "a"]),
        ([], np.empty((0, 2)), ["a", "b"]),
    ],
)
def test_what_does_not_fit_is_refused(truth: object, probabilities: object, classes: list[str]) -> None:
    with pytest.raises(UsageError):
        judge(np.array(truth, int), np.array(probabilities), classes)


@pytest.mark.parametrize("row", [[3.2, -1.0], [90.0, 10.0], [0.5, 0.2]])
def test_logits_and_percentages_are_refused(row: list[float]) -> None:
    with pytest.raises(DataError, match="no probabilities"):
        judge([0], [row], ["a", "b"])
