"""A small made-up bucket, for tests that must run without the shared data."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.data.mirror import Mirror, serve

BITMAPS = {"cat": 700, "dog": 300, "alarm clock": 120}


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    """A folder laid out like the bucket: random bitmaps and strokes, one drawing in five unrecognised."""
    folder, random = tmp_path / "bucket", np.random.default_rng(7)
    for kind in ("numpy_bitmap", "simplified", "raw"):
        (folder / "full" / kind).mkdir(parents=True)
    for name, rows in BITMAPS.items():
        np.save(folder / "full/numpy_bitmap" / f"{name}.npy", random.integers(0, 256, (rows, 784), dtype=np.uint8))
    for name, rows in {"cat": 400, "dog": 30}.items():
        lines = [
            json.dumps(
                {
                    "word": name,
                    "recognized": index % 5 != 0,
                    "key_id": str(index),
                    "drawing": [[random.integers(0, 256, 40).tolist(), random.integers(0, 256, 40).tolist()]],
                }
            )
            for index in range(rows)
        ]
        (folder / "full/simplified" / f"{name}.ndjson").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def mirror(bucket: Path) -> Iterator[Mirror]:
    """The made-up bucket behind a real HTTP server."""
    with serve(bucket) as running:
        yield running
