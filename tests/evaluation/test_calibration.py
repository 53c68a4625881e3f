"""Calibration: hand-made cases, a known temperature found again, and no answer changed."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from inksight.evaluation import calibration, metrics
from inksight.evaluation.metrics import FloatArray, IntArray


def drawn(count: int = 20_000, classes: int = 6, seed: int = 0) -> tuple[IntArray, FloatArray]:
    """Return truth drawn from the probabilities themselves: perfectly calibrated."""
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(classes, 0.4), size=count)
    truth = (probabilities.cumsum(axis=1) > rng.random((count, 1))).argmax(axis=1)
    return truth.astype(np.int64), probabilities


def test_expected_calibration_error_by_hand() -> None:
    truth = np.array([0, 0, 1, 1])
    probabilities = np.array([[0.95, 0.05], [0.95, 0.05], [0.95, 0.05], [0.4, 0.6]])
    found = calibration.reliability(truth, probabilities, bins=10)
    # Bin (0.9, 1]: 3 samples, confidence 0.95, accuracy 2/3; bin (0.5, 0.6]: 1 sample, 0.6 against 1.
    assert found.count.tolist() == [0, 0, 0, 0, 0, 1, 0, 0, 0, 3]
    assert found.error == pytest.approx(0.75 * abs(0.95 - 2 / 3) + 0.25 * 0.4)
    assert found.worst == pytest.approx(0.4)
    assert found.gap == pytest.approx((3 * 0.95 + 0.6) / 4 - 0.75)
    assert np.isnan(found.accuracy[0])


def test_honest_probabilities_have_little_error_and_temperature_one() -> None:
    truth, probabilities = drawn()
    assert calibration.reliability(truth, probabilities).error < 0.012
    assert calibration.fit_temperature(truth, probabilities) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("temperature", [0.5, 2.5])
def test_a_planted_temperature_is_found_and_mends(temperature: float) -> None:
    truth, honest = drawn()
    wrong = calibration.apply_temperature(honest, 1 / temperature).astype(np.float32)
    found = calibration.fit_temperature(truth[:10_000], wrong[:10_000])
    assert found == pytest.approx(temperature, rel=0.05)
    mended = calibration.apply_temperature(wrong[10_000:], found)
    before = calibration.reliability(truth[10_000:], wrong[10_000:]).error
    assert calibration.reliability(truth[10_000:], mended).error < 0.25 * before
    np.testing.assert_array_equal(metrics.answers(mended), metrics.answers(wrong[10_000:]))


@pytest.mark.parametrize("count", [2, 30, 3000])
@pytest.mark.parametrize("factor", [0.02, 0.6, 1.0, 3.0, 200.0])
def test_the_fit_is_what_scipy_finds(count: int, factor: float) -> None:
    truth, honest = drawn(count, seed=4)
    given = calibration.apply_temperature(honest, factor).astype(np.float32)

    def loss(log_temperature: float) -> float:
        return metrics.log_loss(truth, calibration.apply_temperature(given, np.exp(log_temperature)))

    best = minimize_scalar(loss, bounds=np.log([0.05, 20]), method="bounded", options={"xatol": 1e-7})
    assert loss(np.log(calibration.fit_temperature(truth, given))) == pytest.approx(best.fun, rel=1e-5)


def test_zeros_ones_and_rows_not_finite_do_no_harm() -> None:
    probabilities = np.array([[1, 0], [0, 1], [np.nan, 1], [1, 0]], np.float32)
    truth = np.array([0, 1, 0, 1])
    found = calibration.reliability(truth, probabilities)
    assert found.count.sum() == 3
    assert found.error == pytest.approx(1 / 3)
    assert calibration.fit_temperature(truth, probabilities) == pytest.approx(20, rel=0.01)
    assert calibration.fit_temperature(truth[2:3], probabilities[2:3]) == 1
    empty = calibration.reliability(truth[:0], probabilities[:0])
    assert np.isnan(empty.error)
    assert empty.count.sum() == 0
