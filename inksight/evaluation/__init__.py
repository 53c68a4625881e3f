"""Judging: metrics with intervals, confusion, calibration, worst errors, comparison of two models, the report.

    import inksight
    evaluation = inksight.evaluate("my-model@champion")
    print(evaluation.accuracy, evaluation.metrics["accuracy_interval"])
    evaluation.write("report/")

`judge` does the same for labels and probabilities alone. Names are loaded on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inksight.evaluation.comparison import compare
    from inksight.evaluation.judging import Evaluation, judge
    from inksight.evaluation.run import evaluate

# No module bears the name of a function here: importing it would put the module where the function should be.
_HOMES = {"Evaluation": "judging", "compare": "comparison", "evaluate": "run", "judge": "judging"}

__all__ = ["Evaluation", "compare", "evaluate", "judge"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
