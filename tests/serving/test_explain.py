"""Why this answer: strokes and pictures, checked against a model whose answers can be computed by hand."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from inksight.serving.routes import explain as explain_routes
from tests.serving.conftest import TALL_LEFT
from tests.serving.test_predict import check_error, drawn_picture

RIGHT_DOT = [[250, 252], [120, 122]]


def test_the_stroke_that_mattered(client: TestClient) -> None:
    found = client.post("/v1/explain", json={"strokes": [*TALL_LEFT, RIGHT_DOT]}).json()
    assert found["prediction"]["label"] == "left"
    assert found["picture"] is None
    assert len(found["importance"]) == len(TALL_LEFT) + 1
    assert max(found["importance"][:-1]) > 0 > found["importance"][-1]


def test_where_the_model_looked(client: TestClient) -> None:
    found = client.post("/v1/explain", files={"file": ("a.png", drawn_picture(), "image/png")}).json()
    head, _, data = found["picture"].partition(",")
    assert head == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
        pixels = np.asarray(picture).astype(int)
    assert pixels.shape == (448, 448, 3)
    assert (pixels[..., 0] - pixels[..., 2]).max() > 60, "something is marked in red"


def test_nothing_to_explain_too_slow_and_too_many(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    check_error(client.post("/v1/explain", json={"strokes": []}), 422)
    check_error(client.post("/v1/explain", json={"strokes": "no"}), 422)
    check_error(client.post("/v1/explain", json={"strokes": TALL_LEFT, "model": "nobody"}), 404)
    monkeypatch.setattr(explain_routes, "_under_way", explain_routes.WAITING)
    check_error(client.post("/v1/explain", json={"strokes": TALL_LEFT}), 503, "busy")
