"""How often does the A/B test err, and how many answers does it need? Simulated trials with a look after every answer.

    python benchmarks/sequential_test.py [--trials N]

Beside it an ordinary two-sided z-test at 5 %, looked at as often once both models have 20 answers, and the number of
answers that an ordinary one-sided test with one look needs for 80 % power.
"""

from __future__ import annotations

import argparse
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from inksight.evaluation.sequential import Trial

# Trials and answers that fit into memory at a time: 250 x 20,000 float64 are 40 MB.
_BLOCK = 250

Values = npt.NDArray[np.float64]


def main() -> None:
    """Simulate null trials and trials with a difference, and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000)
    asked = parser.parse_args()

    print(f"equal models, {asked.trials} trials of 5,000 answers, a look after each")
    print("| accuracy of both | share of the candidate | false promotions | false roll-backs | ordinary z-test |")
    print("|---|---|---|---|---|")
    nulls: list[tuple[str, float, npt.ArrayLike]] = [
        ("80 %", 0.5, 0.8),
        ("90 %", 0.1, 0.9),
        ("50 %", 0.5, 0.5),
        ("rising from 60 to 95 %", 0.5, np.linspace(0.6, 0.95, 5000)),
    ]
    for name, share, accuracy in nulls:
        better, worse, naive = run(Trial(share=share), accuracy, accuracy, asked.trials, 5000)
        wrong = [f"{100 * np.isfinite(stops).mean():.1f} %" for stops in (better, worse, naive)]
        print(f"| {name} | {share} | {' | '.join(wrong)} |", flush=True)

    print(f"\na real difference, shares of one half, {asked.trials} trials of 20,000 answers")
    print("| champion | candidate | decided | answers until then: median (90 % of trials) | one look, 80 % power |")
    print("|---|---|---|---|---|")
    for champion, candidate in ((0.8, 0.9), (0.8, 0.84), (0.8, 0.82), (0.9, 0.85)):
        better, worse, _ = run(Trial(), champion, candidate, asked.trials, 20_000)
        stops = better if candidate > champion else worse
        decided = f"{100 * np.isfinite(stops).mean():.1f} %"
        median, most = (np.quantile(stops, q, method="higher") for q in (0.5, 0.9))
        needed = one_look(champion, candidate)
        print(f"| {champion} | {candidate} | {decided} | {median:,.0f} ({most:,.0f}) | {needed:,.0f} |", flush=True)


def run(
    trial: Trial, champion: npt.ArrayLike, candidate: npt.ArrayLike, trials: int, answers: int
) -> tuple[Values, Values, Values]:
    """Return after how many answers each trial promotes, rolls back, and alarms by the z-test; infinity for never."""
    rng = np.random.default_rng(0)
    found: list[list[Values]] = []
    for start in range(0, trials, _BLOCK):
        shape = (min(_BLOCK, trials - start), answers)
        meets = rng.random(shape) < trial.share
        right = rng.random(shape) < np.where(meets, candidate, champion)
        found.append([first(evidence(trial, meets, right, sign) >= np.log(20)) for sign in (1, -1)])
        found[-1].append(first(z_test(meets, right)))
    better, worse, naive = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return better, worse, naive


def evidence(trial: Trial, meets: npt.NDArray[np.bool_], right: npt.NDArray[np.bool_], sign: int) -> Values:
    """Return the log evidence after each answer, computed as a stream; a test holds it equal to Trial.log_evidence."""
    payoff = sign * (right - trial.expected) * np.where(meets, 1 / trial.share, -1 / (1 - trial.share))
    largest = max(trial.expected, 1 - trial.expected) / min(trial.share, 1 - trial.share)
    parts = 2.0 ** -np.arange(1, 8)
    total = np.full(payoff.shape, -np.inf)
    for part in parts:
        np.logaddexp(total, np.cumsum(np.log1p(part / largest * payoff), axis=1), out=total)
    wealth: Values = total - np.log(len(parts))
    return wealth


def z_test(meets: npt.NDArray[np.bool_], right: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return where an ordinary two-sided z-test at 5 % would call a difference."""
    totals = [np.cumsum(group, axis=1) for group in (meets, ~meets)]
    hits = [np.cumsum(group & right, axis=1) for group in (meets, ~meets)]
    shares = [hit / np.maximum(total, 1) for hit, total in zip(hits, totals, strict=True)]
    pooled = (hits[0] + hits[1]) / (totals[0] + totals[1])
    spread = np.sqrt(np.maximum(pooled * (1 - pooled), 1e-9) * sum(1 / np.maximum(total, 1) for total in totals))
    enough = np.minimum(*totals) >= 20
    called: npt.NDArray[np.bool_] = enough & (np.abs(shares[0] - shares[1]) > 1.96 * spread)
    return called


def first(hit: npt.NDArray[np.bool_]) -> Values:
    """Return the number of answers at the first hit of each row, infinity for rows without one."""
    return np.where(np.any(hit, axis=1), hit.argmax(axis=1) + 1.0, np.inf)


def one_look(champion: float, candidate: float) -> float:
    """Return how many answers a one-sided 5 % test with a single look needs for 80 % power."""
    z = NormalDist().inv_cdf(0.95) + NormalDist().inv_cdf(0.8)
    variance = champion * (1 - champion) + candidate * (1 - candidate)
    return 2 * z * z * variance / (champion - candidate) ** 2


if __name__ == "__main__":
    main()
