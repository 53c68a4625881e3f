"""Is the candidate better than the champion? A test that may be looked at after every answer.

    trial = Trial(share=0.2)                          # one visitor in five meets the candidate
    verdict = trial.judge(champion=Counts(430, 520), candidate=Counts(118, 130))
    verdict.decision                                  # "promote", "roll back" or "go on"

A usual p-value that is looked at again and again finds a difference where there is none sooner or later. Here evidence
is a bet (Shafer 2021; Waudby-Smith and Ramdas 2024): whoever bets on the candidate with 1 unit, against odds that are
fair while both are equally good, has `evidence` units now. Fair odds multiply a stake by 20 with a chance of at most
1 in 20 (Ville's inequality), however long and however often one looks. No normal approximation is involved, and right
answers may become more or less common during the trial as long as they do so for both.

Simulated with a look after each of 5,000 answers, four kinds of equal models, 1,000 trials of each: at most 3.3 % false
promotions or roll-backs, where an ordinary test raises 38 to 52 % false alarms. 84 against 80 % right is decided after
2,608 answers (median of 1,000); an ordinary one-sided test with one look and 80 % power needs 2,275
(benchmarks/sequential_test.py).

The bets are on D = (right - expected) * (+1/share for the candidate, -1/(1 - share) for the champion), which averages 0
for equal models, whatever `expected` is; a good guess of the accuracy only saves samples. The stake is spread over
several fixed fractions, so that no effect size must be chosen and evidence depends on the four counts alone.

What must hold: visitors are dealt to the models at random with the fixed `share`; each counts once (a visitor who stays
with one model and gives ten verdicts is one draw of chance, not ten). Where people report wrong answers more often than
right ones, decisions stay valid, since equal models then have equal reports, but the accuracies and the interval
describe the reports and not all answers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from inksight.errors import UsageError
from inksight.evaluation.intervals import difference, wilson_one

# The stake is spread evenly over these parts of the largest bet that cannot lose everything. The best part grows with
# the effect: 1/2 is for 25 points, 1/64 for half a point.
_PARTS = 2.0 ** -np.arange(1, 8)
_GRID = np.linspace(-1, 1, 2001)

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Counts:
    """Answers of one model of which it is known whether they were right."""

    right: int
    total: int

    def __post_init__(self) -> None:
        if not 0 <= self.right <= self.total:
            raise UsageError(f"{self.right} right of {self.total} is impossible")


@dataclass(frozen=True)
class Verdict:
    """What a trial shows so far; differences are candidate minus champion, in 0..1.

    `evidence` is for the candidate being better, `harm` for its being worse: at least 20 decides at level 0.05.
    `interval` holds the true difference at every look with 95 % confidence, `fixed_interval` (Newcombe) only for one
    look at a number of samples that was chosen beforehand.
    """

    decision: str
    evidence: float
    harm: float
    difference: float | None
    interval: tuple[float, float]
    fixed_interval: tuple[float, float]
    champion: Counts
    candidate: Counts

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON can hold it, with each model's accuracy and Wilson interval."""
        arms = {"champion": self.champion, "candidate": self.candidate}
        return {
            "decision": self.decision,
            "evidence": self.evidence,
            "harm": self.harm,
            "p_better": min(1.0, 1 / self.evidence) if self.evidence > 0 else 1.0,
            "p_worse": min(1.0, 1 / self.harm) if self.harm > 0 else 1.0,
            "difference": self.difference,
            "interval": list(self.interval),
            "fixed_interval": list(self.fixed_interval),
            **{
                name: {
                    "right": arm.right,
                    "total": arm.total,
                    "accuracy": arm.right / arm.total if arm.total else None,
                    "interval": list(wilson_one(arm.right, arm.total)),
                }
                for name, arm in arms.items()
            },
        }


@dataclass(frozen=True)
class Trial:
    """The rules of a trial, fixed before its first answer.

    `share`: part of the visitors that meets the candidate, 0..1. `expected`: a guess of the accuracy. `alpha`: highest
    chance of promoting a candidate that is not better; `harm_alpha`: of rolling back one that is not worse.
    """

    share: float = 0.5
    expected: float = 0.75
    alpha: float = 0.05
    harm_alpha: float = 0.05

    def __post_init__(self) -> None:
        for name in ("share", "expected", "alpha", "harm_alpha"):
            if not 0 < getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}; it must lie between 0 and 1")

    def judge(self, champion: Counts, candidate: Counts) -> Verdict:
        """Judge the answers so far; may be called as often as one likes, with growing counts."""
        # 1e300 is as sure as JSON can tell; exp would overflow a little above.
        logs = [min(self.log_evidence(champion, candidate, sign), math.log(1e300)) for sign in (1, -1)]
        evidence, harm = (math.exp(value) for value in logs)
        decision = "go on"
        if evidence >= 1 / self.alpha:
            decision = "promote"
        elif harm >= 1 / self.harm_alpha:
            decision = "roll back"
        known = champion.total > 0 and candidate.total > 0
        gap = candidate.right / candidate.total - champion.right / champion.total if known else None
        return Verdict(
            decision=decision,
            evidence=evidence,
            harm=harm,
            difference=gap,
            interval=self.interval(champion, candidate),
            fixed_interval=difference(candidate.right, candidate.total, champion.right, champion.total),
            champion=champion,
            candidate=candidate,
        )

    def log_evidence(self, champion: Counts, candidate: Counts, sign: int = 1) -> float:
        """Return the log of the evidence that the candidate is better (`sign` 1) or worse (-1)."""
        return float(self._log_wealth(self._cells(champion, candidate), np.zeros(1), sign)[0])

    def interval(self, champion: Counts, candidate: Counts, confidence: float = 0.95) -> tuple[float, float]:
        """Return the differences, within -1..1, that no bet has refuted: a confidence sequence, valid at every look."""
        cells = self._cells(champion, candidate)
        # Half of the error for each end.
        limit = float(np.log(2 / (1 - confidence)))
        low = _GRID[self._log_wealth(cells, _GRID, 1) < limit]
        high = _GRID[self._log_wealth(cells, _GRID, -1) < limit]
        if len(low) == 0 or len(high) == 0 or low[0] > high[-1]:
            # Only when the counts contradict the share, e.g. 20 % instead of 50 % met the candidate.
            return -1.0, 1.0
        # One step of the grid outwards, since the ends lie between its points.
        return max(-1.0, float(low[0]) - 0.001), min(1.0, float(high[-1]) + 0.001)

    def _cells(self, champion: Counts, candidate: Counts) -> list[tuple[float, int]]:
        """Return the four values that D can take, each with how often it came."""
        return [
            (sign * (outcome - self.expected) / chance, number)
            for arm, sign, chance in ((candidate, 1, self.share), (champion, -1, 1 - self.share))
            for outcome, number in ((1, arm.right), (0, arm.total - arm.right))
        ]

    def _log_wealth(self, cells: list[tuple[float, int]], gaps: Values, sign: int) -> Values:
        """Return the log wealth of betting that the difference is above (`sign` 1) or below (-1) each of `gaps`."""
        most = max(self.expected, 1 - self.expected) / min(self.share, 1 - self.share)
        bets = _PARTS[:, None] / (most + np.abs(gaps))
        logs = np.zeros((len(_PARTS), len(gaps)))
        for value, number in cells:
            if number:
                logs += number * np.log1p(bets * sign * (value - gaps))
        top = logs.max(axis=0)
        wealth: Values = top + np.log(np.exp(logs - top).mean(axis=0))
        return wealth
