"""Eye vs AI: the machine is bound to its answer beforehand, and the server's clock and labels decide."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from inksight.data.dataset import DatasetWriter
from inksight.serving import create_app, games
from inksight.serving.eye import choose_labels
from inksight.serving.live import bring_up
from inksight.settings import ServeSettings
from tests.serving.conftest import CLASSES, HalvesClassifier, ready


@pytest.fixture
def player(tmp_path: Path, classifier: HalvesClassifier) -> Iterator[TestClient]:
    """Return a client of a service with eight test pictures, two of each half."""
    images = np.zeros((8, 28, 28), np.uint8)
    for index in range(8):
        [images[index, :, :9], images[index, :, 19:], images[index, :9], images[index, 19:]][index % 4][:] = 255
    labels = np.arange(8) % 4
    path = tmp_path / "halves.h5"
    with DatasetWriter(
        path, classes=CLASSES, image_shape=(28, 28), source="made", preprocessing={"kind": "drawing"}, seed=0
    ) as writer:
        for split in ("train", "val", "test"):
            writer.append(split, images, labels, [f"{split}{index}" for index in range(8)])
    with TestClient(create_app(ServeSettings(game_data=str(path)), models=[classifier])) as client:
        yield ready(client)


def begin(client: TestClient, **options: Any) -> dict[str, Any]:
    response = client.post("/v1/eye/games", json=options)
    assert response.status_code == 201, response.text
    return dict(response.json())


def ask(client: TestClient, game: dict[str, Any]) -> dict[str, Any]:
    response = client.post(f"/v1/eye/games/{game['id']}/rounds")
    assert response.status_code == 201, response.text
    return dict(response.json())


def answer(client: TestClient, asked: dict[str, Any], label: str | None) -> Any:
    return client.post(f"/v1/rounds/{asked['id']}/answer", json={"label": label})


def test_a_game_is_bound_timed_and_scored_by_the_server(player: TestClient) -> None:
    game = begin(player)
    points, machine, pictures = 0, 0, set()
    for number in range(1, 11):
        asked = ask(player, game)
        assert asked["number"] == number
        assert asked["image"].startswith("data:image/png;base64,")
        assert sorted(asked["options"]) == sorted(CLASSES)
        assert not {"machine", "salt", "truth"} & set(asked), "nothing is told beforehand"
        pictures.add(asked["image"])
        told = answer(player, asked, "left").json()
        bound = hashlib.sha256(f"{told['salt']}:{told['machine']}".encode()).hexdigest()
        assert bound == asked["commitment"]
        assert told["machine_correct"], "the halves are easy for this model"
        assert told["correct"] == (told["truth"] == "left")
        assert told["points"] == 0 or 100 <= told["points"] <= 150
        points, machine = points + told["points"], machine + 100
        assert (told["standing"]["score"], told["standing"]["machine_score"]) == (points, machine)
        assert answer(player, asked, told["truth"]).status_code == 409, "a round is answered once"
    assert told["standing"]["state"] == "done"
    short = begin(player, rounds=4)
    player.post(f"/v1/games/{short['id']}/end")
    assert player.post(f"/v1/games/{short['id']}/score", json={"name": "Ada"}).status_code == 409
    entered = player.post(f"/v1/games/{game['id']}/score", json={"name": "Ada"})
    assert entered.status_code == 201
    board = player.get("/v1/leaderboard", params={"game": "eye", "level": "normal"}).json()["scores"]
    assert [line["score"] for line in board] == [points]


def test_the_version_that_was_bound_to_its_answer_is_named(player: TestClient) -> None:
    service = player.app.state.services  # type: ignore[attr-defined]
    game = begin(player)
    for version in ("1", "2"):
        asked = ask(player, game)
        service.go_live(bring_up(HalvesClassifier(version="2")))
        assert answer(player, asked, None).json()["model"] == {"name": "halves", "version": version}
    asked = ask(player, game)
    known = service.games.known(asked["id"])
    del known.question.spec["version"]  # as rounds were written before
    assert answer(player, asked, None).json()["model"] == game["model"]


def test_no_picture_comes_twice_before_all_were_seen(player: TestClient) -> None:
    game = begin(player, rounds=8)
    for _ in range(8):
        answer(player, ask(player, game), None)
    service = player.app.state.services  # type: ignore[attr-defined]
    rows = service.games.session(game["id"])[1]
    assert sorted(row.spec["picture"] for row in rows) == list(range(8))


def test_late_answers_and_foreign_labels(player: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    game = begin(player, level="hard")
    asked = ask(player, game)
    assert answer(player, asked, "elephant").status_code == 422
    truth = player.app.state.services.games.known(asked["id"]).question.answer  # type: ignore[attr-defined]
    real = datetime.now

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return real(tz) + timedelta(seconds=7)

    monkeypatch.setattr(games, "datetime", Clock)
    told = answer(player, asked, truth).json()
    assert (told["late"], told["correct"], told["points"]) == (True, False, 0)


def test_games_do_not_take_each_others_rounds(player: TestClient) -> None:
    eye, pictionary = begin(player), player.post("/v1/games", json={"game": "pictionary"}).json()
    assert player.post(f"/v1/games/{eye['id']}/rounds").status_code == 409
    assert player.post(f"/v1/eye/games/{pictionary['id']}/rounds").status_code == 409
    seen = ask(player, eye)
    assert player.post(f"/v1/rounds/{seen['id']}/guess", json={"strokes": []}).status_code == 409
    drawn = player.post(f"/v1/games/{pictionary['id']}/rounds").json()
    assert answer(player, drawn, None).status_code == 409


def test_a_game_ends_where_another_version_lacks_a_class(player: TestClient) -> None:
    game = begin(player)
    ask(player, game)
    fewer = HalvesClassifier(version="2")
    fewer.classes = [*CLASSES[:3], "below"]
    player.app.state.services.go_live(bring_up(fewer))  # type: ignore[attr-defined]
    refused = player.post(f"/v1/eye/games/{game['id']}/rounds")
    assert refused.status_code == 409, "as a new game is"
    assert refused.json() == player.post("/v1/eye/games", json={}).json()


def test_a_server_without_pictures_says_how_to_get_some(client: TestClient) -> None:
    refused = client.post("/v1/eye/games", json={})
    assert refused.status_code == 409
    assert "--game-data" in refused.json()["error"]["hint"]


@given(st.integers(2, 12), st.integers(0, 3), st.randoms())
def test_labels_hold_the_truth_and_the_likeliest(count: int, likely: int, rng: random.Random) -> None:
    shares = {f"c{number}": 1 / (number + 1) for number in range(count)}
    truth = f"c{rng.randrange(count)}"
    options = choose_labels(truth, shares, likely, rng)
    assert len(set(options)) == len(options) == min(4, count)
    assert truth in options
    assert set([name for name in shares if name != truth][: min(likely, 3)]) <= set(options)
