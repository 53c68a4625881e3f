"""What was kept is read a few inputs at a time, however many there are: a photo takes 0.2 MB and more."""

from __future__ import annotations

import base64
import json
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from inksight.improve import history
from inksight.serving import replay
from inksight.serving.routes.admin import _lines
from inksight.serving.services import Services

SIDE = 256
ROWS = 600
MOST = 50.0
"""Megabytes; all inputs together are 95, and the smallest peak while they were read at once was as large."""

NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)


@pytest.fixture
def services(client: TestClient) -> Services:
    """Return a service whose log has a kept picture in nine of ten rows, of one of three shades of grey."""
    found: Services = client.app.state.services  # type: ignore[attr-defined]
    kept = [base64.b64encode(np.full((SIDE, SIDE), shade, np.uint8).tobytes()).decode() for shade in (50, 100, 150)]
    rows = [
        {
            "id": f"{number:05d}", "at": NOW - timedelta(seconds=ROWS - number), "model": "halves", "version": "1",
            "label": "left", "confidence": 0.5, "unsure": False, "ms": 1.0, "input_kind": "image", "extra": None,
            "input_sha256": f"{number:064d}",
            "input": None if number % 10 == 0 else {"image": kept[number % 3], "shape": [SIDE, SIDE]},
        }
        for number in range(ROWS)
    ]  # fmt: skip
    with found.storage.database.write() as session:
        session.execute(found.storage.tables.Prediction.__table__.insert(), rows)
    return found


def judged(images: Any) -> Any:
    return np.full((len(images), 4), 0.25, np.float32)


def measured(work: Callable[[], Any]) -> Any:
    """Do something and return what it gave; it must get by with little memory."""
    tracemalloc.start()
    try:
        found = work()
        assert tracemalloc.get_traced_memory()[1] / 1e6 < MOST
    finally:
        tracemalloc.stop()
    return found


def test_an_export_streams_what_was_kept(services: Services) -> None:
    def read() -> list[tuple[str, int | None]]:
        lines = map(json.loads, _lines(services, None, None, None))
        return [(line["id"], line["input"] and base64.b64decode(line["input"]["image"])[0]) for line in lines]

    expected = [(f"{number:05d}", None if number % 10 == 0 else 50 + number % 3 * 50) for number in range(ROWS)]
    assert measured(read) == expected


def test_a_replay_judges_a_few_inputs_at_a_time(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    model = services.models.get()
    monkeypatch.setattr(model.classifier, "image_shape", (SIDE, SIDE))
    monkeypatch.setattr(model.classifier, "predict_proba", judged)
    found = measured(lambda: replay._compare(services.storage, model, ROWS))
    assert (found["logged"], found["replayed"], found["skipped"]) == (ROWS, ROWS * 9 // 10, 0)


def test_drift_looks_at_a_few_inputs_at_a_time(services: Services) -> None:
    found = measured(lambda: history.logged(services.storage.database, "halves", days=1, now=NOW))
    assert len(found) == ROWS
    assert np.unique(found.features["share of ink"]) == pytest.approx([50 / 255, 100 / 255, 150 / 255], abs=1e-3)
    assert len(found.features["width"]) == ROWS * 9 // 10
