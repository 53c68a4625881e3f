"""The bundle: a trained model as a folder that can be shipped, checked and loaded without running anyone's code.

    model.safetensors   the weights
    model.json          what they are: architecture, classes, preprocessing, metrics, data, settings, checksums
    model.onnx          the whole classifier, preprocessing inside: uint8 images in, probabilities out
    README.md           the model card, generated from model.json

    from inksight.bundle import load
    model = load("path/to/bundle")
    model.predict(["cat.png"])                        # ['cat']

Nothing here is imported before it is used: onnxruntime and torch take seconds.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inksight.bundle.classifier import Classifier
    from inksight.bundle.description import describe
    from inksight.bundle.loading import load
    from inksight.bundle.saving import save

_HOMES = {
    "Classifier": "inksight.bundle.classifier",
    "describe": "inksight.bundle.description",
    "load": "inksight.bundle.loading",
    "save": "inksight.bundle.saving",
}

__all__ = ["Classifier", "describe", "load", "save"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'inksight.bundle' has no attribute {name!r}")
