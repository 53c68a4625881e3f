"""A model whose answers can be computed by hand, and clients of an application that serves it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient

from inksight.serving import create_app
from inksight.settings import ServeSettings
from tests.servers import any_database, postgres_server, postgres_url  # noqa: F401

CLASSES = ["left", "right", "top", "bottom"]


class HalvesClassifier:
    """Says in which half of the bitmap the ink is: the probabilities are the halves' shares of it."""

    kind = "drawing"
    image_shape: tuple[int, ...] = (28, 28)

    def __init__(self, name: str = "halves", version: str = "1", seconds: float = 0.0) -> None:
        self.name = name
        self.classes = list(CLASSES)
        self.description: dict[str, Any] = {"version": version, "metrics": {"accuracy": 1.0}}
        self.seconds = seconds
        self.batches: list[int] = []

    def predict_proba(self, images: Any) -> npt.NDArray[np.float32]:
        """Return the share of ink in each half; blank images give equal shares."""
        self.batches.append(len(images))
        if self.seconds:
            time.sleep(self.seconds)
        ink = np.asarray(images, np.float64) + 1e-9
        halves = [ink[:, :, :14], ink[:, :, 14:], ink[:, :14], ink[:, 14:]]
        # Squared, so that a clear case gives a clear answer.
        shares = np.stack([half.sum(axis=(1, 2)) for half in halves], axis=1) ** 8
        answer: npt.NDArray[np.float32] = (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)
        return answer


TALL_LEFT = [[[0, 0, 255], [0, 255, 255]], [[0, 0, 0], [0, 100, 200]], [[0, 5, 0], [20, 90, 200]]]
"""Strokes with most ink on the left (and at the bottom)."""


def ready(client: TestClient) -> TestClient:
    """Wait until the models have passed their self-test."""
    deadline = time.monotonic() + 20
    while client.get("/v1/health/ready").status_code != 200:
        assert time.monotonic() < deadline, "the service did not become ready"
        time.sleep(0.01)
    return client


@pytest.fixture
def classifier() -> HalvesClassifier:
    """Return a fresh model."""
    return HalvesClassifier()


@pytest.fixture
def client(classifier: HalvesClassifier) -> Iterator[TestClient]:
    """Return a client of a ready service with default settings."""
    with TestClient(create_app(ServeSettings(), models=[classifier])) as client:
        yield ready(client)


@contextmanager
def running(app: FastAPI) -> Iterator[str]:
    """Run an application on a real socket, in a thread of this process; gives its address."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="websockets-sansio"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        deadline = time.monotonic() + 20
        while not server.started or httpx.get(f"{address}/v1/health/ready").status_code != 200:
            assert time.monotonic() < deadline, "the service did not become ready"
            time.sleep(0.02)
        yield address
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
