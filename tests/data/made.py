"""Made drawings and stroke files, for tests that need no real ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inksight.drawing import render_many

Images = NDArray[np.uint8]


def strokes(count: int, seed: int) -> list[list[list[list[int]]]]:
    """Return random simplified drawings of 2 to 5 strokes; no two are alike."""
    rng = np.random.default_rng(seed)
    return [
        [rng.integers(0, 256, (2, int(rng.integers(2, 6)))).tolist() for _ in range(int(rng.integers(2, 6)))]
        for _ in range(count)
    ]


def bitmaps(count: int, seed: int) -> Images:
    """Return random drawings as the renderer draws them, uint8 (count, 28, 28)."""
    return render_many(strokes(count, seed))


def bucket(folder: Path, classes: dict[str, Images]) -> Path:
    """Lay bitmaps out as the public bucket does, and return the folder."""
    target = folder / "full" / "numpy_bitmap"
    target.mkdir(parents=True, exist_ok=True)
    for name, images in classes.items():
        np.save(target / f"{name}.npy", images.reshape(len(images), 784))
    return folder


def ndjson(path: Path, drawings: Sequence[Any], *, recognized: Sequence[bool] | None = None) -> None:
    """Write drawings as Quick, Draw!'s ndjson with key_ids 5000, 5001, ..."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        json.dumps({"key_id": str(5000 + i), "recognized": recognized is None or recognized[i], "drawing": drawing})
        for i, drawing in enumerate(drawings)
    ]
    path.write_text("\n".join(lines) + "\n")
