"""Training a classical model: what the settings say reaches it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inksight.models import shallow_fit
from inksight.training import shallow, train
from inksight.training.balance import class_weights

from .made import write_bars


@pytest.mark.parametrize("kind", ["none", "balanced", "effective"])
def test_each_kind_of_class_weights_is_the_networks_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    given: list[Any] = []

    def fit(*rest: Any, **named: Any) -> None:
        given.append(named["weights"])
        shallow_fit.fit(*rest, **named)

    monkeypatch.setattr(shallow, "fit", fit)
    data = write_bars(tmp_path / "bars.h5", counts=(60, 12))
    train(
        data, model="shallow", run_dir=tmp_path / "run", class_weights=kind, classifier="logistic",
        tensorboard=False, quiet=True, finish=False,
    )  # fmt: skip
    assert len(given) == 1
    if kind == "none":
        assert given == [None]
    else:
        np.testing.assert_array_equal(given[0], class_weights(kind, [60, 12]))
