"""How training scales on one machine: workers against threads, and cost against the number of images.

    inksight data prepare quickdraw20
    python benchmarks/scale.py --data inksight-home/datasets/quickdraw20.h5

Each round trains the same seed with one worker on all cores and with one worker per core (`--workers`), alternately.
A second part trains on a quarter, a half and all of the images, with one worker. Every training is the command itself,
in a process of its own; images per second are the median of its epochs, memory is the peak of the largest process.
Prints one JSON document and, with --out, writes it to a file.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from inksight.data import DatasetWriter, open_dataset

CORES = len(os.sched_getaffinity(0))


def training(words: Sequence[str], folder: Path) -> dict[str, Any]:
    """Train in processes of their own; returns accuracy, images per second, seconds and MB."""
    began = time.perf_counter()
    command = [
        sys.executable,
        "-m",
        "inksight",
        "train",
        *words,
        "--run-dir",
        str(folder),
        "--no-tensorboard",
        "--json",
    ]
    process = subprocess.Popen([sys.executable, __file__, "--child", *command], stdout=subprocess.PIPE, text=True)
    out, _ = process.communicate()
    if process.returncode:
        raise SystemExit(process.returncode)
    said = json.loads(out)
    history = said["run"]["history"]
    return {
        "accuracy": said["run"]["metrics"]["accuracy"],
        "images_per_second": statistics.median(entry["images_per_second"] for entry in history),
        "epoch_seconds": statistics.median(entry["seconds"] for entry in history),
        "whole_seconds": time.perf_counter() - began,
        "peak_mb": said["peak_mb"],
    }


def child(command: list[str]) -> None:
    """The other end of `training`: run the command and add what its largest process needed."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.returncode)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6
    print(json.dumps({"run": json.loads(done.stdout), "peak_mb": peak}))


def part_of(source: Path, target: Path, share: float) -> int:
    """Write a dataset file with a share of each split's images; returns how many there are to train on."""
    with (
        open_dataset(source) as whole,
        DatasetWriter(
            target,
            classes=list(whole.classes),
            image_shape=whole.image_shape,
            source=whole.source,
            preprocessing=whole.preprocessing,
            seed=whole.seed,
        ) as out,
    ):
        for split in ("train", "val", "test"):
            rows = np.sort(np.random.default_rng(0).permutation(whole.size(split))[: int(whole.size(split) * share)])
            images, labels, ids = whole.images(split)[:], whole.labels(split), whole.ids(split)
            out.append(split, images[rows], labels[rows], [str(name) for name in ids[rows]])
    with open_dataset(target) as made:
        return made.size("train")


def main() -> None:
    """Measure and print."""
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="simple_cnn")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0, help="to spread the rounds over several calls")
    parser.add_argument("--part", choices=("workers", "images"), help="only one of the two parts")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    found: dict[str, Any] = {"cores": CORES, "model": options.model, "epochs": options.epochs}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["INKSIGHT_HOME"] = str(folder / "home")
        base = ["--model", options.model, "--epochs", str(options.epochs)]
        if options.part != "images":
            ways = {"one worker, all threads": [], f"{CORES} workers, one thread each": ["--workers", str(CORES)]}
            found["workers"] = {way: [] for way in ways}
            for seed in range(options.first_seed, options.first_seed + options.rounds):
                for way, more in ways.items():
                    words = [str(options.data), *base, "--seed", str(seed), *more]
                    found["workers"][way].append(training(words, folder / f"{seed}-{len(more)}"))
        if options.part != "workers":
            found["images"] = {}
            for share in (0.25, 0.5, 1.0):
                part = folder / f"part-{share}.h5"
                rows = part_of(options.data, part, share)
                found["images"][rows] = [training([str(part), *base], folder / f"part-{share}")]
    print(json.dumps(found, indent=1))
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
