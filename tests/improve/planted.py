"""A small registered model, and drawings in a style that it has never seen and people correct."""

from __future__ import annotations

import base64
import hashlib
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inksight import registry
from inksight.registry import Registry
from inksight.registry.tables import Correction, now
from inksight.training import train
from tests.training.made import write_bars

MODEL = "bars"


def rings(count: int, seed: int) -> NDArray[np.uint8]:
    """Return circles on clean paper, uint8 (count, 28, 28); people call them "slanted"."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:28, :28]
    images = np.zeros((count, 28, 28), np.uint8)
    for image in images:
        centre_y, centre_x = random.uniform(10, 18, 2)
        away = np.hypot(y - centre_y, x - centre_x)
        image[np.abs(away - random.uniform(4, 8)) < 1.2] = 255
    return images


def store_with_model(folder: Path, **options: Any) -> Registry:
    """Train a model on bars and make it the champion."""
    data = write_bars(folder / "bars.h5", counts=(600, 600, 600), val=40, test=60)
    settings = {"epochs": 6, "tensorboard": False, "augment": 0.0, "learning_rate": 0.003, **options}
    run = train(data, model="simple_cnn", run_dir=folder / "run", quiet=True, **settings)
    store = registry.open()
    store.register(run.bundle, MODEL)
    store.promote(MODEL, 1)
    return store


def correct(
    store: Registry, images: NDArray[np.uint8], label: str = "slanted", *, state: str = "accepted", **columns: Any
) -> list[int]:
    """Put corrections of images into the database; return their ids."""
    rows = []
    for index, image in enumerate(images):
        kept = {"image": base64.b64encode(image.tobytes()).decode(), "shape": list(image.shape)}
        values: dict[str, Any] = {
            "model": MODEL, "version": "1", "predicted": "flat", "confidence": 0.9, "label": label, "correct": False,
            "input_kind": "image", "input": kept, "state": state,
            "input_sha256": hashlib.sha256(image.tobytes()).hexdigest(),
            "final_label": label if state in ("accepted", "relabelled") else None,
            "reviewer": None if state == "pending" else "alice",
            "reviewed_at": None if state == "pending" else now() + timedelta(milliseconds=index),
        }  # fmt: skip
        rows.append(Correction(**values | columns))
    with store.database.write() as session:
        session.add_all(rows)
        session.flush()
        return [row.id for row in rows]
