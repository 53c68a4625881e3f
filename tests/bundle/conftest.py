"""One small saved bundle for the room's tests; the weights are random, which checks and conversions do not mind."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from inksight import models
from inksight.bundle import save
from inksight.models.preprocess import Preprocess

CLASSES = ["apple", "cat", "house", "smiley face", "tree"]


def make_bundle(folder: Path, model: str = "simple_cnn", shape: tuple[int, ...] = (28, 28), **kwargs: Any) -> Path:
    """Save a bundle with random weights."""
    torch.manual_seed(0)
    module = models.create(model, num_classes=len(CLASSES), image_shape=shape)
    preprocess = Preprocess.from_spec(models.get(model), shape)
    kind = "drawing" if len(shape) == 2 else "photo"
    arguments: dict[str, Any] = {
        "architecture": {"name": model, "options": {}},
        "classes": CLASSES,
        "preprocessing": preprocess.description | {"kind": kind},
        "dataset": {"name": "tests", "sha256": "0" * 64, "licence": "CC BY 4.0"},
        **kwargs,
    }
    return save(folder, module, **arguments)


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a drawing bundle that must not be changed."""
    return make_bundle(tmp_path_factory.mktemp("bundles") / "drawings")


@pytest.fixture(scope="session")
def saved_photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a photo bundle that must not be changed."""
    return make_bundle(tmp_path_factory.mktemp("bundles") / "photos", shape=(32, 32, 3))


@pytest.fixture
def bundle(saved: Path, tmp_path: Path) -> Path:
    """Return a copy of the drawing bundle that a test may damage."""
    return Path(shutil.copytree(saved, tmp_path / "bundle"))


@pytest.fixture(scope="session")
def bitmaps() -> NDArray[np.uint8]:
    """Return 64 uint8 images (64, 28, 28)."""
    return np.random.default_rng(1).integers(0, 256, (64, 28, 28), dtype=np.uint8)
