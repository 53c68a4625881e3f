"""Which model judges a game: the first that judges drawings, or the one that the player names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from inksight.serving import create_app
from inksight.settings import ServeSettings
from tests.serving.conftest import HalvesClassifier, ready
from tests.serving.test_games import ask, begin, show
from tests.web.test_classify import ColoursClassifier

QUARTERS = HalvesClassifier("quarters", "7")


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    models: list[Any] = [ColoursClassifier(), HalvesClassifier(), QUARTERS]
    with TestClient(create_app(ServeSettings(), models=models)) as client:
        yield ready(client)


def test_a_game_is_judged_by_the_model_that_was_chosen(client: TestClient) -> None:
    assert begin(client)["model"] == {"name": "halves", "version": "1"}
    game = begin(client, model="quarters")
    assert game["model"] == {"name": "quarters", "version": "7"}
    asked = ask(client, game)
    QUARTERS.batches.clear()
    assert show(client, asked, asked["word"]).json()["state"] == "won"
    assert QUARTERS.batches == [1]


def test_a_room_has_the_model_that_was_chosen(client: TestClient) -> None:
    for body, name in ((None, "halves"), ({}, "halves"), ({"model": "quarters"}, "quarters")):
        opened = client.post("/v1/race/rooms", json=body)
        assert (opened.status_code, opened.json()["model"]) == (201, name)
        assert client.get(f"/v1/race/rooms/{opened.json()['room']}").json()["model"] == name


@pytest.mark.parametrize(("path", "body"), [("/v1/games", {"game": "pictionary"}), ("/v1/race/rooms", {})])
def test_a_model_that_cannot_judge_drawings_is_refused(client: TestClient, path: str, body: dict[str, Any]) -> None:
    photos = client.post(path, json={**body, "model": "colours"})
    assert photos.status_code == 409
    assert "'colours'" in photos.json()["error"]["message"]
    assert "halves, quarters" in photos.json()["error"]["hint"]
    unknown = client.post(path, json={**body, "model": "halfs"})
    assert unknown.status_code == 404
    assert "halves" in unknown.json()["error"]["hint"]
    wrong = client.post(path, json={**body, "model": 5})
    assert wrong.status_code == 422
