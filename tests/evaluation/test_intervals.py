"""Intervals against scipy, published examples and their own coverage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from inksight.evaluation import intervals


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 2000), st.floats(0, 1), st.sampled_from([0.8, 0.95, 0.99]))
def test_wilson_agrees_with_scipy(trials: int, share: float, confidence: float) -> None:
    successes = round(trials * share)
    expected = binomtest(successes, trials).proportion_ci(confidence, "wilson")
    assert intervals.wilson_one(successes, trials, confidence=confidence) == pytest.approx(tuple(expected), abs=1e-9)


def test_wilson_knows_nothing_without_trials() -> None:
    low, high = intervals.wilson([0, 0, 5], [0, 5, 5])
    assert (low[0], high[0]) == (0, 1)
    assert low[1] == 0
    assert high[2] == 1
    assert high[1] == pytest.approx(1 - low[2])


def test_differences_match_newcombes_published_examples() -> None:
    # Newcombe 1998, independent: 56/70 against 48/80 (method 10); paired: 36, 12, 2, 0 (method 10).
    assert intervals.difference(56, 70, 48, 80) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    assert intervals.paired_difference(36, 12, 2, 0) == pytest.approx((0.0569, 0.3404), abs=5e-5)


def test_f1_interval_maps_the_share_behind_it() -> None:
    low, high = intervals.f1_interval([8, 0, 5], [10, 4, 5], [10, 0, 5])
    point = np.array([16 / 20, 0, 1])
    assert (low <= point).all()
    assert (point <= high).all()
    assert high[2] == 1
    assert low[1] == 0
    jaccard = binomtest(8, 12).proportion_ci(method="wilson")
    assert low[0] == pytest.approx(2 * jaccard.low / (1 + jaccard.low))


@pytest.mark.parametrize(("classes", "samples"), [(5, 40), (20, 50)])
def test_mean_of_shares_covers_the_truth_about_95_times_in_100(classes: int, samples: int) -> None:
    rng = np.random.default_rng(3)
    truth = rng.uniform(0.6, 0.98, classes)
    inside = 0
    for _ in range(2000):
        low, high = intervals.mean_of_shares(rng.binomial(samples, truth), np.full(classes, samples))
        inside += low <= truth.mean() <= high
    assert 0.93 <= inside / 2000 <= 0.98


def test_mean_of_one_share_is_wilson_and_of_none_is_unknown() -> None:
    assert intervals.mean_of_shares([7, 0], [9, 0]) == pytest.approx(intervals.wilson_one(7, 9))
    assert intervals.mean_of_shares([0], [0]) == (0, 1)


def test_paired_difference_covers_and_is_narrower_than_unpaired() -> None:
    rng = np.random.default_rng(5)
    shares = np.array([0.75, 0.1, 0.06, 0.09])
    tables = rng.multinomial(300, shares, size=2000)
    ends = np.array([intervals.paired_difference(*map(int, table)) for table in tables])
    covered = ((ends[:, 0] <= 0.04) & (ends[:, 1] >= 0.04)).mean()
    assert 0.93 <= covered <= 0.975
    low, high = intervals.difference(255, 300, 243, 300)
    assert np.median(ends[:, 1] - ends[:, 0]) < high - low


def test_mcnemar_is_exact_and_symmetric() -> None:
    assert intervals.mcnemar(0, 0) == 1
    assert intervals.mcnemar(0, 5) == pytest.approx(2 / 32)
    assert intervals.mcnemar(12, 3) == pytest.approx(intervals.mcnemar(3, 12))


def test_holm_matches_the_textbook() -> None:
    np.testing.assert_allclose(intervals.holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(intervals.holm([0.9, 0.8]), [1, 1])
    assert len(intervals.holm([])) == 0
