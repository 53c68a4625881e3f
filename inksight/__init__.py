"""Inksight trains, judges, ships and keeps improving image classifiers, above all for hand drawings.

    import inksight
    model = inksight.load("doodles")                  # the model that ships with the package
    model.predict(["my_drawing.png"])                 # ['cat']

    run = inksight.train("quickdraw20", model="sketchnet-s", epochs=10)
    print(inksight.evaluate(run.bundle).accuracy)

The names below are loaded on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# ONNX Runtime (1.29 and newer) reports its use to its makers and keeps a database for that in the user's home, unless
# this is set before it starts. Who wants that sets it to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from inksight.bundle import Classifier
    from inksight.evaluation import evaluate
    from inksight.registry import load
    from inksight.training import train

_HOMES = {
    "Classifier": "inksight.bundle",
    "load": "inksight.registry",
    "evaluate": "inksight.evaluation",
    "train": "inksight.training",
}

__all__ = ["Classifier", "__version__", "evaluate", "load", "train"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'inksight' has no attribute {name!r}")
