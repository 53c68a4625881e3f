"""Tuning: search for the settings that make a model best on a dataset.

from inksight.tuning import tune
found = tune("digits", model="simple_cnn", trials=20)
found.best.settings                     # what `inksight train --from-study` uses
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inksight.tuning.study import Found, best_trial, tune

_HOMES = dict.fromkeys(("Found", "best_trial", "tune"), "inksight.tuning.study")

__all__ = ["Found", "best_trial", "tune"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'inksight.tuning' has no attribute {name!r}")
