"""Training: from a dataset file and a model's name to a run folder with a bundle and a report.

    from inksight.training import train
    run = train("digits", model="simple_cnn", epochs=3)
    run.metrics["accuracy"], run.bundle

loop.py is the training itself, read top to bottom; trainer.py is what comes before and after it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inksight.training.interrupt import TrainingInterrupted
    from inksight.training.trainer import TrainingRun, train

_HOMES = {
    "TrainingInterrupted": "inksight.training.interrupt",
    "TrainingRun": "inksight.training.trainer",
    "train": "inksight.training.trainer",
}

__all__ = ["TrainingInterrupted", "TrainingRun", "train"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'inksight.training' has no attribute {name!r}")
