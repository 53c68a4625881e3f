"""Pictionary, its infinite mode and the leaderboard: the server's clock and model decide, and nothing a client says."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event, select, text

from inksight.errors import ConflictError, UsageError
from inksight.serving import create_app, games, leaderboard
from inksight.serving.live import bring_up
from inksight.serving.routes import games as games_routes
from inksight.serving.services import Services
from inksight.serving.words import any_word, class_accuracy, weak_word
from inksight.settings import ServeSettings
from tests.registry.migrate import migrate
from tests.serving.conftest import CLASSES, HalvesClassifier, ready

pytestmark = pytest.mark.usefixtures("any_database")

# Drawings with nearly all ink in one half.
DRAWINGS: dict[str, Any] = {
    "left": [[[0, 0, 30, 0, 30], [0, 255, 200, 100, 0]], [[0, 255], [0, 255]]],
    "right": [[[255, 255, 225, 255, 225], [0, 255, 200, 100, 0]], [[255, 0], [0, 255]]],
    "top": [[[0, 255, 200, 100, 0], [0, 0, 30, 0, 30]], [[0, 255], [0, 255]]],
    "bottom": [[[0, 255, 200, 100, 0], [255, 255, 225, 255, 225]], [[0, 255], [255, 0]]],
}


def shared(client: TestClient) -> Services:
    found: Services = client.app.state.services  # type: ignore[attr-defined]
    return found


def begin(client: TestClient, game: str = "pictionary", **options: Any) -> dict[str, Any]:
    response = client.post("/v1/games", json={"game": game, **options})
    assert response.status_code == 201
    return dict(response.json())


def ask(client: TestClient, game: dict[str, Any]) -> dict[str, Any]:
    response = client.post(f"/v1/games/{game['id']}/rounds")
    assert response.status_code == 201, response.text
    return dict(response.json())


def show(client: TestClient, asked: dict[str, Any], word: str, **more: Any) -> Any:
    return client.post(f"/v1/rounds/{asked['id']}/guess", json={"strokes": DRAWINGS[word], **more})


def other(word: str) -> str:
    return next(name for name in CLASSES if name != word)


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that makes the clock of rounds run ahead by some seconds."""

    def ahead(seconds: float) -> None:
        real = datetime.now

        class Clock(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> Any:
                return real(tz) + timedelta(seconds=seconds)

        monkeypatch.setattr(games, "datetime", Clock)

    return ahead


def test_an_answer_names_the_version_that_judged(client: TestClient) -> None:
    asked = ask(client, begin(client))
    open_ = show(client, asked, other(asked["word"])).json()
    assert (open_["state"], open_["model"]) == ("open", {"name": "halves", "version": "1"})
    shared(client).go_live(bring_up(HalvesClassifier(version="2")))
    won = show(client, asked, asked["word"]).json()
    assert (won["state"], won["model"]) == ("won", {"name": "halves", "version": "2"})
    assert won["standing"]["model"]["version"] == "1", "what the game began with"


def test_a_game_from_the_first_word_to_the_leaderboard(client: TestClient) -> None:
    game = begin(client)
    assert (game["score"], game["state"], game["rounds"]) == (0, "playing", 6)
    words, points = [], []
    for number in range(1, 7):
        asked = ask(client, game)
        assert (asked["number"], asked["seconds"]) == (number, 20)
        words.append(asked["word"])
        wrong = show(client, asked, other(asked["word"])).json()
        assert (wrong["state"], wrong["points"], wrong["standing"]) == ("open", 0, None)
        assert 0 < wrong["left"] <= 20
        right = show(client, asked, asked["word"]).json()
        assert right["state"] == "won"
        assert right["predictions"][0]["label"] == asked["word"]
        points.append(right["points"])
    assert len(set(words[: len(CLASSES)])) == len(CLASSES), "no word twice while others are left"
    assert right["standing"]["state"] == "done"
    assert right["standing"]["streak"] == 6
    assert right["standing"]["score"] == sum(points)
    # At most 100 for being recognised, 100 for time and 20 for each round won before.
    assert all(100 <= value <= 200 + 20 * index for index, value in enumerate(points))
    summary = client.get(f"/v1/games/{game['id']}").json()
    assert [item["answer"] for item in summary["played"]] == words
    assert [item["points"] for item in summary["played"]] == points
    entered = client.post(f"/v1/games/{game['id']}/score", json={"name": "Ada"})
    assert entered.status_code == 201
    assert entered.json() == {"name": "Ada", "score": sum(points), "ranks": {"day": 1, "week": 1, "all": 1}}
    board = client.get("/v1/leaderboard", params={"game": "pictionary", "period": "day"}).json()["scores"]
    assert [(line["name"], line["score"]) for line in board] == [("Ada", sum(points))]


def test_a_client_is_not_believed(client: TestClient) -> None:
    game = begin(client, rounds=1)
    asked = ask(client, game)
    claim = {"points": 9999, "score": 9999, "took": 0, "won": True, "state": "won"}
    wrong = show(client, asked, other(asked["word"]), last=True, **claim).json()
    assert (wrong["state"], wrong["points"]) == ("lost", 0)
    assert wrong["standing"]["score"] == 0
    assert client.post("/v1/games", json={"game": "pictionary", "score": 5}).status_code == 422
    again = show(client, asked, asked["word"])
    assert again.status_code == 409, "a round ends once"
    assert client.get(f"/v1/games/{game['id']}").json()["score"] == 0


def test_the_servers_clock_decides(client: TestClient, late: Any) -> None:
    game = begin(client, rounds=3)
    asked = ask(client, game)
    late(games_routes.SECONDS + games.GRACE - 0.7)
    # Sent at the last moment, on its way for a while: as if it had come at the limit.
    kept = show(client, asked, asked["word"]).json()
    assert (kept["state"], kept["took"], kept["points"]) == ("won", 20.0, 100)
    late(0)
    asked = ask(client, game)
    late(games_routes.SECONDS + games.GRACE + 0.1)
    lost = show(client, asked, asked["word"]).json()
    assert (lost["state"], lost["points"], lost["standing"]["streak"]) == ("lost", 0, 0)
    late(0)
    asked = ask(client, game)
    late(games_routes.SECONDS + 0.1)
    assert show(client, asked, other(asked["word"])).json()["state"] == "lost"


def test_the_answer_of_an_open_round_is_not_told_and_leaving_it_loses_it(client: TestClient) -> None:
    game = begin(client, rounds=2)
    first = ask(client, game)
    open_round = client.get(f"/v1/games/{game['id']}").json()["played"][0]
    assert (open_round["state"], open_round["answer"]) == ("open", None)
    ask(client, game)
    assert show(client, first, first["word"]).status_code == 409
    states = [item["state"] for item in client.get(f"/v1/games/{game['id']}").json()["played"]]
    assert states == ["lost", "open"]
    assert client.post(f"/v1/games/{game['id']}/end").json()["state"] == "done"
    assert client.post(f"/v1/games/{game['id']}/end").json()["state"] == "done"


def test_a_last_round_whose_answer_was_lost_does_not_keep_the_game_open(client: TestClient) -> None:
    game = begin(client, rounds=2)
    ask(client, game)
    lost = ask(client, game)
    assert client.post(f"/v1/games/{game['id']}/rounds").status_code == 409, "there are only two rounds"
    told = client.get(f"/v1/games/{game['id']}").json()
    assert (told["state"], [item["state"] for item in told["played"]]) == ("done", ["lost", "lost"])
    assert show(client, lost, lost["word"]).status_code == 409
    assert client.post(f"/v1/games/{game['id']}/rounds").status_code == 409


def test_one_of_two_answers_at_once_counts(client: TestClient) -> None:
    game = begin(client, rounds=2)
    asked = ask(client, game)
    service = shared(client).games
    found = service.round(asked["id"])
    outcomes: list[str] = []

    def end() -> None:
        try:
            service.end(found, games.Result(won=True, took=1.0, points=100))
            outcomes.append("won")
        except ConflictError:
            outcomes.append("refused")

    threads = [threading.Thread(target=end) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["refused"] * 5 + ["won"]
    assert client.get(f"/v1/games/{game['id']}").json()["score"] == 100


def test_another_process_plays_on(client: TestClient, classifier: HalvesClassifier) -> None:
    game = begin(client)
    asked = ask(client, game)
    with TestClient(create_app(ServeSettings(), models=[classifier])) as second:
        ready(second)
        assert show(second, asked, asked["word"]).json()["state"] == "won"
    # The first one still has the round in memory.
    assert show(client, asked, asked["word"]).status_code == 409


def test_a_blank_sheet_is_never_recognised(client: TestClient) -> None:
    asked = ask(client, begin(client))
    for strokes in ([], [[[5], [5]]]):
        answer = client.post(f"/v1/rounds/{asked['id']}/guess", json={"strokes": strokes}).json()
        assert (answer["state"], answer["unsure"]) == ("open", True)


@pytest.mark.parametrize("keep", [False, True])
def test_drawings_are_kept_only_where_the_setting_allows(classifier: HalvesClassifier, keep: bool) -> None:
    with TestClient(create_app(ServeSettings(keep_drawings=keep), models=[classifier])) as client:
        ready(client)
        game = begin(client)
        asked = ask(client, game)
        show(client, asked, asked["word"])
        strokes = client.get(f"/v1/games/{game['id']}").json()["played"][0]["strokes"]
    assert strokes == (DRAWINGS[asked["word"]] if keep else None)


def test_a_kept_drawing_is_simplified_and_cut(classifier: HalvesClassifier) -> None:
    with TestClient(create_app(ServeSettings(keep_drawings=True), models=[classifier])) as client:
        ready(client)
        game = begin(client)
        straight = [[float(value) for value in range(5_000)]] * 2
        jagged = [[value % 251 for value in range(5_000)], [value * 97 % 256 for value in range(5_000)]]
        for stroke, points in ((straight, 2), (jagged, games.KEPT_POINTS)):
            asked = ask(client, game)
            client.post(f"/v1/rounds/{asked['id']}/guess", json={"strokes": [stroke], "last": True})
            kept = client.get(f"/v1/games/{game['id']}").json()["played"][-1]["strokes"]
            assert sum(len(xs) for xs, _ in kept) == points


def test_going_on_does_not_read_what_was_drawn(classifier: HalvesClassifier) -> None:
    said: list[str] = []
    with TestClient(create_app(ServeSettings(keep_drawings=True), models=[classifier])) as client:
        ready(client)
        game = begin(client, rounds=3)
        asked = ask(client, game)
        show(client, asked, asked["word"])
        event.listen(
            shared(client).storage.database.engine, "before_cursor_execute", lambda *given: said.append(given[2])
        )
        ask(client, game)
        ask(client, game)
        client.post(f"/v1/games/{game['id']}/end")
    reading = [text for text in said if text.startswith("SELECT") and "game_rounds" in text]
    whole = [text for text in reading if "game_rounds.input" in text]
    assert len(reading) > len(whole) == 3
    assert all("game_rounds.state" in text.partition("WHERE")[2] for text in whole), "only a round that is still open"


@pytest.fixture
def weak(classifier: HalvesClassifier) -> Iterator[TestClient]:
    """Return a client of a service whose model is bad at "top", by its own metrics."""
    measured = {name: {"accuracy": 0.1 if name == "top" else 1.0} for name in CLASSES}
    classifier.description["metrics"] = {"per_class": measured}
    with TestClient(create_app(ServeSettings(), models=[classifier])) as client:
        yield ready(client)


def test_infinite_asks_for_weak_classes_and_saves_what_is_sure(weak: TestClient) -> None:
    game = begin(weak, "infinite")
    assert game["rounds"] == 0
    words = []
    for _ in range(8):
        asked = ask(weak, game)
        assert asked["seconds"] is None
        words.append(asked["word"])
        answer = show(weak, asked, asked["word"]).json()
        assert (answer["state"], answer["saved"], answer["points"]) == ("won", True, 1)
    assert words.count("top") >= 2
    assert answer["standing"]["score"] == 8
    storage = shared(weak).storage
    with storage.database.read() as session:
        rows = list(session.scalars(select(storage.tables.Correction)))
    assert [row.label for row in rows] == words
    assert {(row.state, row.source, row.correct, row.model) for row in rows} == {
        ("pending", "infinite", True, "halves")
    }
    assert all(row.correct and row.confidence >= 0.85 and row.input["strokes"] for row in rows)
    assert weak.post(f"/v1/games/{game['id']}/end").json()["state"] == "done"
    refused = weak.post(f"/v1/games/{game['id']}/score", json={"name": "Ada"})
    assert refused.status_code == 409


def test_infinite_wants_to_be_surer_than_pictionary(weak: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    game = begin(weak, "infinite")
    asked = ask(weak, game)
    monkeypatch.setattr(games_routes, "SURE", 1.01)
    open_round = show(weak, asked, asked["word"]).json()
    assert (open_round["state"], open_round["saved"]) == ("open", False)
    skipped = show(weak, asked, asked["word"], last=True).json()
    assert (skipped["state"], skipped["saved"]) == ("lost", False)


def test_without_metrics_players_tell_which_classes_are_weak(client: TestClient) -> None:
    service = shared(client)
    tables = service.storage.tables

    def said(label: str, correct: bool, source: str = "feedback") -> Any:
        return tables.Correction(
            model="halves", version="1", predicted="x", label=label, correct=correct, source=source
        )

    with service.storage.database.write() as session:
        session.add_all([said("left", False)] * 1 + [said("left", False), said("right", True), said("right", True)])
        # The infinite mode keeps only what was recognised; that says nothing about how often it is.
        session.add_all([said("left", True, "infinite") for _ in range(50)])
    accuracy = class_accuracy(service.storage, service.models.get())
    assert accuracy == {"left": 1 / 4, "right": 3 / 4, "top": 1 / 2, "bottom": 1 / 2}


def test_a_class_without_test_samples_is_neither_weak_nor_strong() -> None:
    model = HalvesClassifier()
    each = {"left": {"accuracy": 0.2, "samples": 10}, "top": {"accuracy": None, "samples": 0}}
    model.description["metrics"] = {"accuracy": 0.2, "per_class": each}
    with TestClient(create_app(ServeSettings(), models=[model])) as client:
        service = shared(ready(client))
        accuracy = class_accuracy(service.storage, service.models.get())
    assert accuracy == {"left": 0.2, "right": 0.5, "top": 0.5, "bottom": 0.5}


@given(st.integers(1, 30), st.integers(0, 100), st.randoms())
def test_no_word_comes_again_before_all_have_come(count: int, rounds: int, rng: random.Random) -> None:
    classes = [f"c{number}" for number in range(count)]
    asked: list[str] = []
    for _ in range(rounds):
        asked.append(any_word(classes, asked, rng))
    for start in range(0, rounds - count + 1, count):
        assert sorted(asked[start : start + count]) == sorted(classes)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=80), st.randoms())
def test_weak_words_are_of_the_worst_and_do_not_repeat(accuracies: list[float], rng: random.Random) -> None:
    accuracy = {f"c{number}": value for number, value in enumerate(accuracies)}
    worst = sorted(accuracies)[: max(10, len(accuracies) // 4)]
    asked: list[str] = []
    for _ in range(20):
        word = weak_word(accuracy, asked, rng)
        assert accuracy[word] <= worst[-1]
        assert len(accuracy) == 1 or not asked or word != asked[-1]
        asked.append(word)


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("  Ada   Lovelace ", "Ada Lovelace"),
        ("<script>alert(1)", "<script>alert(1)"),
        ("a\u202eb\u0000c\u200b", "abc"),
        ("Zoe\u0308", "Zoë"),
        ("名前", "名前"),
    ],
)
def test_names_are_made_fit_to_be_shown(typed: str, shown: str) -> None:
    assert leaderboard.clean_name(typed) == shown


@pytest.mark.parametrize("name", ["", "   ", "\u200b\u0007", "x" * 21])
def test_bad_names_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="name"):
        leaderboard.clean_name(name)


def test_periods_begin_at_midnight_and_on_monday() -> None:
    friday = datetime(2026, 11, 20, 15, 30, tzinfo=UTC)
    assert leaderboard.since("day", friday) == datetime(2026, 11, 20, tzinfo=UTC)
    assert leaderboard.since("week", friday) == datetime(2026, 11, 16, tzinfo=UTC)
    assert leaderboard.since("all", friday) is None
    monday = datetime(2026, 11, 16, tzinfo=UTC)
    assert leaderboard.since("week", monday) == monday


def test_the_leaderboard_keeps_periods_games_and_order_apart(client: TestClient) -> None:
    storage = shared(client).storage
    table = storage.tables.Score
    now = datetime.now(UTC)
    # The same moment for the rows and the board: at midnight of a Monday today and this week are the same.
    monday = leaderboard.since("week", now)
    assert monday is not None
    with storage.database.write() as session:
        for number, (name, score, at, game) in enumerate(
            [
                ("old", 900, monday - timedelta(seconds=1), "pictionary"),
                ("second", 300, now, "pictionary"),
                ("first", 300, now - timedelta(microseconds=1), "pictionary"),
                ("eye", 800, now, "eye"),
            ]
        ):
            model = {"second": "quarters", "old": ""}.get(name, "halves")
            session.add(table(session_id=str(number), game=game, model=model, name=name, score=score, at=at))

    def names(**wanted: str) -> list[str]:
        return [line["name"] for line in client.get("/v1/leaderboard", params=wanted).json()["scores"]]

    assert names(game="pictionary") == ["old", "first", "second"]
    assert names(game="pictionary", period="week") == ["first", "second"]
    assert names(game="pictionary", model="halves") == ["old", "first"], "nobody knows whom the old one was against"
    assert names(game="pictionary", model="quarters") == ["old", "second"]
    assert names(game="eye") == ["eye"]
    assert names(game="eye", level="hard") == []


def test_scores_of_older_databases_get_their_model_where_the_session_is_left(client: TestClient) -> None:
    storage = shared(client).storage
    game = begin(client)
    client.post(f"/v1/games/{game['id']}/end")
    client.post(f"/v1/games/{game['id']}/score", json={"name": "Ada"})
    with storage.database.write() as session:
        session.execute(text("ALTER TABLE scores DROP COLUMN model"))
        old = "INSERT INTO scores (session_id, game, level, name, score, at) VALUES ('x', 'eye', '', 'Bo', 7, :at)"
        session.execute(text(old), {"at": datetime.now(UTC)})
        migrate(session, "0005_notes", "0006_score_models")
    with storage.database.read() as session:
        rows = session.scalars(select(storage.tables.Score)).all()
    assert {row.name: row.model for row in rows} == {"Ada": "halves", "Bo": ""}


def test_only_finished_games_enter_the_leaderboard_and_only_once(client: TestClient) -> None:
    game = begin(client)
    path = f"/v1/games/{game['id']}/score"
    assert client.post(path, json={"name": "Ada"}).status_code == 409
    client.post(f"/v1/games/{game['id']}/end")
    assert client.post(path, json={"name": " "}).status_code == 422
    assert client.post(path, json={"name": "x" * 300}).status_code == 422
    assert client.post(path, json={"name": "<b>Ada</b>"}).json()["name"] == "<b>Ada</b>"
    assert client.post(path, json={"name": "Ada"}).status_code == 409


@pytest.mark.parametrize("rounds", [1, 5, 7, 20])
def test_only_games_of_one_length_enter_the_leaderboard(client: TestClient, rounds: int) -> None:
    game = begin(client, rounds=rounds)
    client.post(f"/v1/games/{game['id']}/end")
    refused = client.post(f"/v1/games/{game['id']}/score", json={"name": "Ada"})
    assert refused.status_code == 409
    assert f"of 6 rounds, this one has {rounds}" in refused.json()["error"]["message"]
    assert client.get("/v1/leaderboard", params={"game": "pictionary"}).json()["scores"] == []


def test_what_does_not_exist_is_said_so(client: TestClient) -> None:
    nobody = "A" * 24
    assert client.get(f"/v1/games/{nobody}").status_code == 404
    assert client.post(f"/v1/games/{nobody}/rounds").status_code == 404
    assert client.post(f"/v1/rounds/{nobody}/guess", json={"strokes": []}).status_code == 404
    assert client.get("/v1/games/a%00b").status_code in (404, 422)
    assert client.post(f"/v1/rounds/{nobody}/guess", json={}).status_code == 422


def test_old_sessions_are_deleted_and_their_scores_stay(client: TestClient) -> None:
    game = begin(client)
    client.post(f"/v1/games/{game['id']}/end")
    client.post(f"/v1/games/{game['id']}/score", json={"name": "Ada"})
    service = shared(client)
    with service.storage.database.write() as session:
        row: Any = session.get(service.storage.tables.GameSession, game["id"])
        row.started_at -= timedelta(days=91)
    service.games._next_prune = 0.0
    fresh = begin(client)
    assert client.get(f"/v1/games/{game['id']}").status_code == 404
    assert client.get(f"/v1/games/{fresh['id']}").status_code == 200
    assert len(client.get("/v1/leaderboard", params={"game": "pictionary"}).json()["scores"]) == 1


def test_a_service_for_photos_says_that_it_cannot_play(classifier: HalvesClassifier) -> None:
    classifier.kind = "photo"
    with TestClient(create_app(ServeSettings(), models=[classifier])) as client:
        ready(client)
        refused = client.post("/v1/games", json={"game": "pictionary"})
    assert refused.status_code == 409
    assert "drawings" in refused.json()["error"]["message"]
