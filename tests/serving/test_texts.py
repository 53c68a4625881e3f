"""Texts and moments that a database cannot hold: refused in the one shape, on SQLite as on PostgreSQL."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from inksight.serving.tokens import SCOPES
from tests.serving.conftest import TALL_LEFT
from tests.serving.test_admin import bearer
from tests.serving.test_predict import check_error

pytestmark = pytest.mark.usefixtures("any_database")

NUL: list[tuple[str, str, dict[str, Any] | None]] = [
    ("POST", "/v1/feedback", {"prediction_id": "\0", "correct": True}),
    ("POST", "/v1/feedback", {"prediction_id": "a\\\0", "correct": True}),
    ("POST", "/v1/jobs", {"kind": "retrain", "model": "doodle", "settings": {"epochs": ["\0"]}}),
    ("GET", "/v1/experiments/%00", None),
    ("GET", "/v1/models/%00/aliases", None),
    ("GET", "/v1/corrections/statistics?model=%00", None),
    ("GET", "/v1/predictions/export?model=a%00b", None),
]


@pytest.mark.parametrize(("method", "path", "body"), NUL)
def test_nul_is_refused_wherever_it_is(client: TestClient, method: str, path: str, body: Any) -> None:
    refused = client.request(method, path, json=body, headers=bearer(*SCOPES))
    assert "NUL" in check_error(refused, 422, "invalid")["message"]


def test_a_text_that_only_looks_like_it_is_fine(client: TestClient) -> None:
    unknown = client.post("/v1/games", json={"game": "pictionary", "model": "\\u0000"})
    check_error(unknown, 404, "not_found")
    drawn = client.post("/v1/explain", json={"strokes": TALL_LEFT})
    assert drawn.status_code == 200, "the route reads the body that was looked at"


@pytest.mark.parametrize("name", ["since", "until"])
@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_moment_beyond_the_calendar_is_refused(client: TestClient, name: str, moment: str) -> None:
    refused = client.get("/v1/predictions/export", params={name: moment}, headers=bearer("logs"))
    assert "9999" in check_error(refused, 422, "invalid")["message"]
