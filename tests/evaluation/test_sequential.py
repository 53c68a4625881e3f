"""The sequential test by simulation: few false promotions however often one looks, and enough power."""

from __future__ import annotations

import json

import numpy as np
import numpy.typing as npt
import pytest

from inksight.errors import UsageError
from inksight.evaluation.sequential import Counts, Trial

Values = npt.NDArray[np.float64]


def running_evidence(trial: Trial, candidate: Values, right: Values, sign: int) -> Values:
    """Return the log evidence after each answer of each trial (trials, answers), computed answer by answer."""
    payoff = sign * (right - trial.expected) * np.where(candidate > 0, 1 / trial.share, -1 / (1 - trial.share))
    largest = max(trial.expected, 1 - trial.expected) / min(trial.share, 1 - trial.share)
    total = np.full(payoff.shape, -np.inf)
    for part in (1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32, 1 / 64, 1 / 128):
        total = np.logaddexp(total, np.cumsum(np.log1p(part / largest * payoff), axis=1))
    return np.asarray(total - np.log(7))


def simulated(
    trial: Trial, champion: npt.ArrayLike, candidate: npt.ArrayLike, trials: int, answers: int, seed: int = 0
) -> tuple[Values, Values]:
    rng = np.random.default_rng(seed)
    meets: Values = (rng.random((trials, answers)) < trial.share).astype(float)
    right = rng.random((trials, answers)) < np.where(meets > 0, candidate, champion)
    return meets, right.astype(float)


NULLS = [
    (Trial(), 0.8),
    (Trial(share=0.1), 0.9),
    (Trial(share=0.7, expected=0.3), 0.95),
    # The crowd changes during the trial: from 60 to 95 % right, for both models.
    (Trial(), np.linspace(0.6, 0.95, 3000)),
]


@pytest.mark.parametrize(("trial", "accuracy"), NULLS)
def test_at_most_5_percent_false_decisions_in_1000_null_trials_with_a_look_after_every_answer(
    trial: Trial, accuracy: npt.ArrayLike
) -> None:
    meets, right = simulated(trial, accuracy, accuracy, 1000, 3000)
    for sign in (1, -1):
        wrong = (running_evidence(trial, meets, right, sign) >= np.log(20)).any(axis=1).mean()
        assert wrong <= 0.05


def test_an_ordinary_test_looked_at_as_often_would_not_do() -> None:
    meets, right = simulated(Trial(), 0.8, 0.8, 300, 3000)
    totals = [np.maximum(np.cumsum(group, axis=1), 1) for group in (meets, 1 - meets)]
    shares = [np.cumsum(right * group, axis=1) / n for group, n in zip((meets, 1 - meets), totals, strict=True)]
    pooled = right.cumsum(axis=1) / np.arange(1, 3001)
    spread = np.sqrt(np.maximum(pooled * (1 - pooled), 1e-9) * (1 / totals[0] + 1 / totals[1]))
    alarms = (np.abs(shares[0] - shares[1]) > 1.96 * spread)[:, 50:].any(axis=1).mean()
    assert alarms > 0.25


@pytest.mark.parametrize(("champion", "candidate", "sign"), [(0.8, 0.9, 1), (0.9, 0.8, -1), (0.5, 0.6, 1)])
def test_real_differences_are_found_soon(champion: float, candidate: float, sign: int) -> None:
    meets, right = simulated(Trial(), champion, candidate, 200, 2500)
    found = running_evidence(Trial(), meets, right, sign) >= np.log(20)
    assert found.any(axis=1).mean() > 0.95
    assert not (running_evidence(Trial(), meets, right, -sign) >= np.log(20)).any()
    # A one-sided test at one chosen moment needs 310 to 610 answers for 80 % power.
    assert np.median(found.argmax(axis=1)) < 950


@pytest.mark.parametrize("trial", [Trial(), Trial(share=0.2, expected=0.6)])
def test_counts_alone_give_the_same_evidence_as_the_stream(trial: Trial) -> None:
    meets, right = simulated(trial, 0.7, 0.8, 3, 400)
    for sign in (1, -1):
        stream = running_evidence(trial, meets, right, sign)
        for row, moment in ((0, 399), (1, 57), (2, 3)):
            champion, candidate = _counts(meets[row, : moment + 1], right[row, : moment + 1])
            assert trial.log_evidence(champion, candidate, sign) == pytest.approx(stream[row, moment])


def test_the_interval_holds_the_truth_at_every_look() -> None:
    trial, missed = Trial(), 0
    meets, right = simulated(trial, 0.75, 0.85, 200, 2000, seed=3)
    for row in range(200):
        for moment in (10, 30, 100, 300, 1000, 2000):
            low, high = trial.interval(*_counts(meets[row, :moment], right[row, :moment]))
            if not low <= 0.1 <= high:
                missed += 1
                break
    assert missed <= 0.05 * 200


def test_decisions() -> None:
    trial = Trial()
    better = trial.judge(Counts(800, 1000), Counts(880, 1000))
    assert better.decision == "promote"
    assert better.interval[0] > 0
    assert better.fixed_interval[0] > better.interval[0]
    assert trial.judge(Counts(880, 1000), Counts(800, 1000)).decision == "roll back"
    equal = trial.judge(Counts(800, 1000), Counts(805, 1000))
    assert equal.decision == "go on"
    assert equal.interval[0] < 0 < equal.interval[1]
    strict = Trial(alpha=1e-6).judge(Counts(800, 1000), Counts(880, 1000))
    assert strict.decision == "go on"
    assert json.loads(json.dumps(better.as_dict(), allow_nan=False))["candidate"]["accuracy"] == 0.88


def test_nothing_is_known_at_the_start_and_everything_stays_finite_at_the_end() -> None:
    start = Trial().judge(Counts(0, 0), Counts(0, 0))
    assert start.decision == "go on"
    assert start.evidence == start.harm == 1
    assert start.difference is None
    assert start.interval == pytest.approx((-1, 1))
    end = Trial().judge(Counts(0, 10**7), Counts(10**7, 10**7))
    assert end.decision == "promote"
    assert json.dumps(end.as_dict(), allow_nan=False)
    assert end.as_dict()["p_worse"] == 1


def test_impossible_values_are_refused() -> None:
    with pytest.raises(UsageError, match="5 right of 4"):
        Counts(5, 4)
    for wrong in ({"share": 0.0}, {"share": 1.0}, {"expected": 1.5}, {"alpha": 0.0}):
        with pytest.raises(UsageError, match="between 0 and 1"):
            Trial(**wrong)


def _counts(meets: Values, right: Values) -> tuple[Counts, Counts]:
    seen = meets.astype(bool)
    first, second = (Counts(int(right[mask].sum()), int(mask.sum())) for mask in (~seen, seen))
    return first, second
