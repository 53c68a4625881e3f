"""What is in a dataset file: counts, balance and a look at the pictures."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inksight import plotting
from inksight.data.dataset import SPLITS, Dataset


@dataclass(frozen=True)
class Balance:
    """How evenly the classes are filled: `ratio` is the largest class over the smallest (1 is even)."""

    smallest: str
    largest: str
    ratio: float
    verdict: str


def totals(dataset: Dataset) -> dict[str, int]:
    """Return the number of pictures of each class over all splits, in label order."""
    return {name: sum(dataset.counts[split][name] for split in SPLITS) for name in dataset.classes}


def balance(counts: dict[str, int]) -> Balance:
    """Judge how even the class counts are.

    Up to 1.5 training needs no help; beyond 3 the smallest classes suffer visibly unless they are weighted.
    """
    smallest, largest = min(counts, key=lambda name: counts[name]), max(counts, key=lambda name: counts[name])
    ratio = counts[largest] / counts[smallest] if counts[smallest] else float("inf")
    if ratio <= 1.5:
        verdict = "balanced"
    elif ratio <= 3:
        verdict = "slightly uneven: --class-weights balanced is enough"
    else:
        verdict = f"uneven: judge by balanced accuracy, and add pictures of {smallest!r} if you can"
    return Balance(smallest, largest, ratio, verdict)


def describe(dataset: Dataset) -> dict[str, Any]:
    """Return everything that `inksight data show` prints, as plain values for JSON."""
    counts = totals(dataset)
    judged = balance(counts)
    return {
        "name": dataset.name,
        "path": str(dataset.path),
        "source": dataset.source,
        "kind": dataset.kind,
        "image_shape": list(dataset.image_shape),
        "preprocessing": dataset.preprocessing,
        "seed": dataset.seed,
        "sha256": dataset.sha256,
        "classes": list(dataset.classes),
        "counts": dataset.counts,
        "per_class": counts,
        "total": sum(counts.values()),
        # JSON knows no infinity, which is the ratio to an empty class.
        "balance": asdict(judged) | {"ratio": judged.ratio if math.isfinite(judged.ratio) else None},
    }


def samples(dataset: Dataset, per_class: int, *, split: str = "train", seed: int = 0) -> list[NDArray[np.uint8]]:
    """Return up to `per_class` random pictures of each class, in label order, uint8 (n, H, W[, 3]) each."""
    labels, images = dataset.labels(split), dataset.images(split)
    rng = np.random.default_rng(seed)
    picked = []
    for label in range(len(dataset.classes)):
        mine = np.flatnonzero(labels == label)
        chosen = np.sort(rng.permutation(mine)[:per_class])
        picked.append(images[chosen] if len(chosen) else np.empty((0, *dataset.image_shape), np.uint8))
    return picked


def draw(dataset: Dataset, folder: Path, *, per_class: int = 12, seed: int = 0) -> dict[str, Path]:
    """Write counts.png (bars per class, smallest marked) and samples.png (a row per class) and return their paths."""
    counts = totals(dataset)
    judged = balance(counts)
    marked = [judged.smallest] if judged.ratio > 1.5 else []
    title = f"{dataset.name}: pictures per class (largest : smallest = {judged.ratio:.2f})"
    bars = plotting.bars(list(counts), list(counts.values()), title=title, label="pictures", marked=marked)
    rows = list(zip(dataset.classes, samples(dataset, per_class, seed=seed), strict=True))
    sheet = plotting.sheet(rows, title=f"{dataset.name}: samples of the train split")
    return {
        "counts": plotting.save_png(bars, folder / "counts.png"),
        "samples": plotting.save_png(sheet, folder / "samples.png"),
    }
