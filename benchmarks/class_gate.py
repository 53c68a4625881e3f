"""How often the class gate refuses a version that is as good, and how often it sees one class that became worse.

    python benchmarks/class_gate.py

Simulated: of every class, both versions answer the same drawings. The new one loses some of the old one's right answers
and wins as many (`moved` in all), and of a harmed class loses more. The rule before asked for the margin alone.
"""

from __future__ import annotations

import argparse

import numpy as np

from inksight.registry.gates import _classes

MARGIN = 0.05
SAMPLES = (18, 50, 150, 500)
DROPS = (0.1, 0.2, 0.3)


def shares(
    rng: np.random.Generator, *, classes: int, samples: int, before: float, moved: float, drop: float, runs: int
) -> tuple[float, float]:
    """Return how often the margin alone refuses, and how often the gate does."""
    lost, won = moved / 2 + drop, moved / 2
    chances = [before - lost, lost, won, 1 - before - won]
    alone = refused = 0
    for both, only_old, only_new, _ in rng.multinomial(samples, chances, size=(runs, classes)).transpose(0, 2, 1):
        old, new = (
            {str(number): {"accuracy": right / samples, "samples": samples} for number, right in enumerate(counts)}
            for counts in ((both + only_old).tolist(), (both + only_new).tolist())
        )
        refused += not _classes(old, new, MARGIN).passed
        alone += bool((only_new - only_old < -MARGIN * samples - 1e-9).any())
    return alone / runs, refused / runs


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=23)
    parser.add_argument("--runs", type=int, default=1000)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    print(f"| drawings a class | right before | {options.classes} classes as good: refused |", end="")
    print("".join(f" one class {drop:.0%} worse: seen |" for drop in DROPS))
    print("| --- " * (3 + len(DROPS)) + "|")
    for samples in SAMPLES:
        for before, moved in ((0.6, 0.2), (0.85, 0.1)):
            known = {"samples": samples, "before": before, "moved": moved, "runs": options.runs}
            cells = [shares(rng, classes=options.classes, drop=0.0, **known)]
            cells += [shares(rng, classes=1, drop=drop, **known) for drop in DROPS]
            told = " | ".join(f"{gate:.1%} ({alone:.1%})" for alone, gate in cells)
            print(f"| {samples} | {before:.0%} | {told} |")


if __name__ == "__main__":
    main()
