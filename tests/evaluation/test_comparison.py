"""Comparing two models: planted differences, no difference, and refusals."""

from __future__ import annotations

import json

import numpy as np
import pytest

from inksight.errors import UsageError
from inksight.evaluation import Evaluation, compare, judge

from .made import answered, judged, names


def test_a_better_model_is_found_and_the_order_does_not_matter() -> None:
    good, bad = judged(skill=3.5, seed=1), judged(skill=1.5, seed=2)
    there, back = compare(good, bad), compare(bad, good)
    json.dumps(there, allow_nan=False)
    assert there["verdict"] == "A is better"
    assert back["verdict"] == "B is better"
    assert there["difference"] == pytest.approx(-back["difference"]) == pytest.approx(good.accuracy - bad.accuracy)
    low, high = there["difference_interval"]
    assert 0 < low < there["difference"] < high
    assert there["both_right"] + there["only_a_right"] + there["only_b_right"] + there["both_wrong"] == 400
    assert there["only_a_examples"][0]["answer"] != there["only_a_examples"][0]["truth"]


def test_a_model_does_not_differ_from_itself() -> None:
    found = compare(judged(), judged())
    assert found["mcnemar_p"] == 1
    assert found["difference"] == 0
    assert found["same_answer"] == 1
    assert "no difference shown" in found["verdict"]


def test_a_class_that_changed_comes_first() -> None:
    truth, probabilities = answered(600, classes=6, skill=12)
    worse = probabilities.copy()
    rows = np.flatnonzero(truth == 3)[:60]
    worse[rows] = np.roll(worse[rows], 1, axis=1)
    found = compare(_judged(truth, probabilities), _judged(truth, worse))
    first = found["per_class"][0]
    assert first["class"] == "class 3"
    assert first["difference"] == pytest.approx(0.6)
    assert first["p"] < 1e-6
    assert {row["p"] for row in found["per_class"][1:]} == {1.0}


def test_equal_models_are_rarely_called_different() -> None:
    called = 0
    for seed in range(200):
        truth, a = answered(300, seed=2 * seed)
        _, b = answered(300, seed=2 * seed + 1)
        called += compare(_judged(truth, a), _judged(truth, b))["verdict"] in ("A is better", "B is better")
    assert called <= 0.08 * 200


def test_different_samples_are_refused() -> None:
    with pytest.raises(UsageError, match="different samples"):
        compare(judged(count=400), judged(count=395))


def _judged(truth: object, probabilities: object) -> Evaluation:
    found = np.asarray(probabilities)
    return judge(np.asarray(truth), found, names(found.shape[1]))
