"""Small made datasets that a small net can learn in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inksight.data import DatasetWriter


def bars(labels: NDArray[np.int64], seed: int = 0, size: int = 28) -> NDArray[np.uint8]:
    """Return noisy pictures, uint8 (N, size, size), of one bar: label 0 is flat, 1 upright, 2 slanted."""
    random = np.random.default_rng(seed)
    images = random.integers(0, 60, (len(labels), size, size)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        at = int(random.integers(8, size - 8))
        if label == 0:
            image[at : at + 3, 4:-4] = 255
        elif label == 1:
            image[4:-4, at : at + 3] = 255
        else:
            for step in range(6, size - 6):
                image[step, step - 2 : step + 1] = 255
    return images


def write_bars(
    path: Path, counts: Sequence[int] = (120, 120, 120), val: int = 10, test: int = 10, size: int = 28
) -> Path:
    """Write a dataset file with `counts` training images per class and `val` and `test` images of each class."""
    classes = ["flat", "upright", "slanted"][: len(counts)]
    with DatasetWriter(
        path, classes=classes, image_shape=(size, size), source="made", preprocessing={"kind": "drawing"}, seed=0
    ) as out:
        for seed, (split, each) in enumerate(
            (("train", counts), ("val", [val] * len(counts)), ("test", [test] * len(counts)))
        ):
            labels = np.repeat(np.arange(len(counts)), each)
            if len(labels):
                out.append(split, bars(labels, seed, size), labels, [f"{split}{i}" for i in range(len(labels))])
    return path
