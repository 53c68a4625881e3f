"""A service under more work than it can do: it says so, and predictions go on."""

from __future__ import annotations

import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from inksight import drawing
from inksight.serving import create_app, predictor
from inksight.serving.storage import Storage
from inksight.settings import ServeSettings
from tests.serving.conftest import TALL_LEFT, HalvesClassifier, ready, running
from tests.serving.test_feedback import services_of
from tests.serving.test_predict import check_error, drawn_picture
from tests.waiting import wait_for

LARGE = json.dumps({"strokes": TALL_LEFT}).encode() + b" " * 100_000


def test_a_database_that_hangs_does_not_hold_up_large_drawings(monkeypatch: pytest.MonkeyPatch) -> None:
    free, asked = threading.Event(), threading.Semaphore(0)
    threads = min(32, (os.cpu_count() or 1) + 4)  # of asyncio's own pool

    def hang(_: Storage) -> Any:
        asked.release()
        free.wait(30)
        raise RuntimeError("it was away")

    with running(create_app(ServeSettings(log_predictions=False), models=[HalvesClassifier()])) as address:
        monkeypatch.setattr(Storage, "database", property(hang))
        with ThreadPoolExecutor(threads) as pool:
            board = f"{address}/v1/leaderboard?game=pictionary"
            waiting = [pool.submit(httpx.get, board, timeout=60) for _ in range(threads)]
            try:
                for _ in range(threads):
                    assert asked.acquire(timeout=20)
                headers = {"content-type": "application/json"}
                answer = httpx.post(f"{address}/v1/predict", content=LARGE, headers=headers, timeout=10)
            finally:
                free.set()
        assert answer.status_code == 200
        assert {response.result().status_code for response in waiting} == {500}


def slow_picture() -> dict[str, Any]:
    return {"files": {"file": ("a.png", drawn_picture(500))}}


def long_drawing() -> dict[str, Any]:
    points = list(range(predictor.LONG_DRAWING + 1))
    return {"json": {"strokes": [[points, [value % 97 for value in points]]]}}


@pytest.mark.parametrize("make", [slow_picture, long_drawing])
def test_inputs_that_wait_to_be_read_have_a_limit(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    free = threading.Event()
    read, simplify = predictor.read_picture, drawing.simplify

    def slowly(work: Any) -> Any:
        def run(*arguments: Any) -> Any:
            free.wait(30)
            return work(*arguments)

        return run

    monkeypatch.setattr(predictor, "read_picture", slowly(read))
    monkeypatch.setattr(drawing, "simplify", slowly(simplify))
    with TestClient(create_app(ServeSettings(queue_limit=4), models=[HalvesClassifier()])) as client:
        ready(client)
        with ThreadPoolExecutor(4) as pool:
            waiting = [pool.submit(client.post, "/v1/predict", **make()) for _ in range(4)]
            try:
                wait_for(lambda: services_of(client).predictor._reading == 4)
                check_error(client.post("/v1/predict", **make()), 503, "busy")
                assert client.post("/v1/predict", json={"strokes": TALL_LEFT}).status_code == 200
            finally:
                free.set()
            assert [answer.result().status_code for answer in waiting] == [200] * 4
        assert client.post("/v1/predict", **make()).status_code == 200
