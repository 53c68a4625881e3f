"""Does a search pay? The settings that 20 trials find against the defaults, on test images that neither looked at.

    inksight data prepare quickdraw20 --per-class 400 --train-ratio 0.5 --val-ratio 0.2 --test-ratio 0.3
    python benchmarks/tuning.py --data inksight-home/datasets/quickdraw20.h5

The search sees the validation split only. Then both are trained anew, with the same seeds and the same number of
epochs, and judged on the test split. Prints one JSON document and, with --out, writes it to a file.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from inksight.training import train
from inksight.tuning import tune


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="simple_cnn")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--trial-epochs", type=int, default=6)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        os.environ["INKSIGHT_HOME"] = name
        began = time.perf_counter()
        found = tune(
            options.data, model=options.model, trials=options.trials, epochs=options.trial_epochs,
            say=lambda line: print(line, flush=True),
        )  # fmt: skip
        search_seconds = time.perf_counter() - began
        ways: dict[str, dict[str, Any]] = {
            "defaults": {},
            "found": {**found.best.settings, "model_options": found.best.options},
        }
        accuracy: dict[str, list[float]] = {way: [] for way in ways}
        for seed in range(options.seeds):
            for way, chosen in ways.items():
                run = train(
                    options.data, model=options.model, epochs=options.epochs, seed=seed, tensorboard=False, quiet=True,
                    name=f"{way}-{seed}", **chosen,
                )  # fmt: skip
                accuracy[way].append(run.metrics["accuracy"])
                print(f"seed {seed}, {way}: {accuracy[way][-1]:.2%} of {run.metrics['samples']}", flush=True)
    gains = [after - before for before, after in zip(accuracy["defaults"], accuracy["found"], strict=True)]
    facts = {
        "model": options.model,
        "trials": found.counts,
        "search_seconds": search_seconds,
        "chosen": {**found.best.settings, **found.best.options},
        "test_accuracy": accuracy,
        "gain_mean": statistics.mean(gains),
        "gain_sd": statistics.stdev(gains) if len(gains) > 1 else None,
    }
    print(json.dumps(facts, indent=1))
    if options.out:
        options.out.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
