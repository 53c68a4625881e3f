"""The prediction log and feedback: nothing waits for the database, little is lost when it goes away."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from inksight import registry
from inksight.errors import AwayError, UnavailableError
from inksight.registry import corrections as review
from inksight.registry.tables import Correction, Experiment, Prediction
from inksight.serving import create_app
from inksight.serving.services import Services
from inksight.settings import ServeSettings
from tests.serving.conftest import TALL_LEFT, HalvesClassifier, ready
from tests.serving.test_predict import check_error, drawn_picture
from tests.waiting import wait_for

pytestmark = pytest.mark.usefixtures("any_database")


def rows(table: Any) -> list[Any]:
    opened = registry.open()
    with opened.database.read() as session:
        found = list(session.scalars(select(table)))
    opened.close()
    return found


@contextmanager
def changing() -> Iterator[Session]:
    """A transaction of somebody else's, from another process as far as the service can tell."""
    opened = registry.open()
    with opened.database.write() as session:
        yield session
    opened.close()


@contextmanager
def serving(**settings: Any) -> Iterator[TestClient]:
    with TestClient(create_app(ServeSettings(**settings), models=[HalvesClassifier()])) as client:
        yield ready(client)


def services_of(client: TestClient) -> Services:
    assert isinstance(client.app, FastAPI)
    shared: Services = client.app.state.services
    return shared


def ask(client: TestClient) -> dict[str, Any]:
    return dict(client.post("/v1/predict", json={"strokes": TALL_LEFT}).json())


def test_every_prediction_is_logged(client: TestClient) -> None:
    answers = [ask(client), client.post("/v1/predict", json={"strokes": []}).json()]
    wait_for(lambda: len(rows(Prediction)) == 2)
    logged = {row.id: row for row in rows(Prediction)}
    first = logged[answers[0]["id"]]
    assert (first.model, first.version, first.label, first.unsure) == ("halves", "1", "left", False)
    assert first.confidence == pytest.approx(answers[0]["predictions"][0]["probability"])
    assert first.input is None, "drawings are kept only where the setting allows"
    assert len(first.input_sha256) == 64
    assert logged[answers[1]["id"]].unsure is True


def test_drawings_are_kept_where_the_setting_allows() -> None:
    with serving(keep_drawings=True) as client:
        ask(client)
        client.post("/v1/predict", files={"file": ("a.png", drawn_picture())})
    kept = {row.input_kind: row.input for row in rows(Prediction)}
    assert kept["strokes"] == {"strokes": TALL_LEFT}
    assert kept["image"]["shape"] == [28, 28]


def test_shutdown_writes_what_waits() -> None:
    with serving() as client:
        for _ in range(50):
            ask(client)
    assert len(rows(Prediction)) == 50


def test_no_log_where_it_is_switched_off() -> None:
    with serving(log_predictions=False) as client:
        answer = ask(client)
        said = {"prediction_id": answer["id"], "correct": True}
        assert client.post("/v1/feedback", json=said).status_code == 201
    assert rows(Prediction) == []


def tell(client: TestClient, answer: dict[str, Any], label: str) -> Any:
    said = {"prediction_id": answer["id"], "label": label, "correct": label == answer["predictions"][0]["label"]}
    return client.post("/v1/feedback", json=said)


def test_feedback_becomes_a_correction(client: TestClient) -> None:
    answers = [ask(client), ask(client)]
    right, wrong = tell(client, answers[0], "left"), tell(client, answers[1], "top")
    assert right.status_code == wrong.status_code == 201
    assert wrong.json()["label"] == "top"
    noted = rows(Correction)
    assert [(row.label, row.correct, row.predicted, row.state) for row in noted] == [
        ("left", True, "left", "pending"),
        ("top", False, "left", "pending"),
    ]


def test_of_one_answer_the_last_word_counts_until_it_is_reviewed(client: TestClient) -> None:
    answer = ask(client)
    first, last = tell(client, answer, "left"), tell(client, answer, "top")
    assert first.json()["id"] == last.json()["id"]
    [noted] = rows(Correction)
    assert (noted.label, noted.correct) == ("top", False)
    review.decide(services_of(client).storage.database, noted.id, "accept", reviewer="alice")
    assert "reviewed" in check_error(tell(client, answer, "left"), 409, "conflict")["message"]
    [noted] = rows(Correction)
    assert (noted.label, noted.state, noted.final_label) == ("top", "accepted", "top")


def test_many_who_speak_of_one_answer_at_once_make_one_correction(client: TestClient) -> None:
    answer = ask(client)
    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(lambda _: tell(client, answer, "top").status_code, range(24)))
    assert codes == [201] * 24
    assert len(rows(Correction)) == 1


def test_a_drawing_that_the_infinite_game_kept_is_no_word_of_anybody(client: TestClient) -> None:
    answer = ask(client)
    storage = services_of(client).storage
    kept = {"prediction_id": answer["id"], "model": "halves", "version": "1", "predicted": "left", "label": "left"}
    with storage.database.write() as session:
        session.add(Correction(**kept, correct=True, source="infinite"))
    assert tell(client, answer, "top").status_code == 201
    assert [(row.source, row.label) for row in rows(Correction)] == [("infinite", "left"), ("feedback", "top")]


def test_feedback_on_a_prediction_of_another_process(client: TestClient) -> None:
    answer = ask(client)
    wait_for(lambda: rows(Prediction))
    with serving() as other:
        said = {"prediction_id": answer["id"], "label": "top", "correct": False}
        assert other.post("/v1/feedback", json=said).status_code == 201


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ({"prediction_id": "nope", "correct": True}, 404),
        ({"correct": True}, 422),
        ({"prediction_id": "ID", "correct": False}, 422),
        ({"prediction_id": "ID", "label": "left", "correct": False}, 422),
        ({"prediction_id": "ID", "label": "top", "correct": True}, 422),
        ({"prediction_id": "ID", "label": "dragon", "correct": False}, 422),
        ({"prediction_id": "ID", "label": "top", "correct": "perhaps"}, 422),
        ({"prediction_id": "ID", "label": "top", "correct": False, "extra": 1}, 422),
        ({"prediction_id": ["ID"], "label": "top", "correct": False}, 422),
    ],
)
def test_contradictory_feedback_is_refused(client: TestClient, said: dict[str, Any], status: int) -> None:
    answer = ask(client)
    body = {key: answer["id"] if value == "ID" else value for key, value in said.items()}
    check_error(client.post("/v1/feedback", json=body), status)
    assert rows(Correction) == []


def test_the_database_may_go_away_and_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(log_queue=5) as client:
        shared = services_of(client)
        away = True
        open_database = type(shared.storage).database.fget  # type: ignore[attr-defined]

        def database(storage: Any) -> Any:
            if away:
                raise UnavailableError("the database does not answer")
            return open_database(storage)

        monkeypatch.setattr(type(shared.storage), "database", property(database))
        answers = [ask(client) for _ in range(8)]
        assert all(answer["predictions"] for answer in answers)
        check_error(client.post("/v1/feedback", json={"prediction_id": "unknown", "correct": True}), 503)
        assert shared.journal.dropped == 3
        away = False
        wait_for(lambda: shared.journal.waiting == 0)
        assert len(rows(Prediction)) == 5
        assert "inksight_predictions_dropped_total 3.0" in client.get("/metrics").text
        assert "inksight_predictions_logged_total 5.0" in client.get("/metrics").text


def test_what_is_being_written_still_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as client:
        journal = services_of(client).journal
        insert, seen = journal._insert, list[int]()

        def watched(batch: list[Any]) -> None:
            insert(batch)
            seen.append(journal.waiting - len(batch))

        monkeypatch.setattr(journal, "_insert", watched)
        ask(client)
        wait_for(lambda: journal.waiting == 0)
        assert len(rows(Prediction)) == 1
        assert min(seen) >= 0


def test_a_lost_word_of_a_commit_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as client:
        shared = services_of(client)
        database = shared.storage.database
        write, lost = database.write, list[bool]()

        @contextmanager
        def once_unheard() -> Iterator[Any]:
            with write() as session:
                yield session
            if not lost:
                lost.append(True)
                raise AwayError("the connection broke")

        monkeypatch.setattr(database, "write", once_unheard)
        ids = {ask(client)["id"] for _ in range(5)}
        wait_for(lambda: lost and shared.journal.waiting == 0)
        assert {row.id for row in rows(Prediction)} == ids
        assert shared.journal.dropped == 0


def test_a_row_that_the_database_refuses_is_dropped_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from inksight.serving import journal

    readable = journal._readable
    monkeypatch.setattr(journal, "PAUSE", 0.5)  # so that good and bad ones are written together
    monkeypatch.setattr(
        journal, "_readable", lambda row: readable(row) | ({"label": None} if row["label"] == "right" else {})
    )
    tall_right = [[[255 - x for x in xs], ys] for xs, ys in TALL_LEFT]
    with serving() as client:
        shared = services_of(client)
        good = {ask(client)["id"] for _ in range(20)}
        for _ in range(3):
            client.post("/v1/predict", json={"strokes": tall_right})
            good.add(ask(client)["id"])
        wait_for(lambda: {row.id for row in rows(Prediction)} == good)
        wait_for(lambda: shared.journal.dropped == 3)
        assert "inksight_predictions_dropped_total 3.0" in client.get("/metrics").text


def test_drawings_that_wait_for_the_database_have_a_bound_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inksight.serving.journal.KEPT_BYTES", 1)
    monkeypatch.setattr("inksight.serving.journal.Journal._write", lambda _: False)
    with serving(keep_drawings=True) as client:
        for _ in range(3):
            ask(client)
        assert services_of(client).journal.waiting == 1
        assert services_of(client).journal.dropped == 2


def test_feedback_finds_answers_that_are_never_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inksight.serving.journal.RECENT", 2)
    with serving(log_predictions=False, keep_drawings=True) as client:
        oldest, _, newest = (ask(client)["id"] for _ in range(3))
        check_error(client.post("/v1/feedback", json={"prediction_id": oldest, "correct": True}), 404)
        assert client.post("/v1/feedback", json={"prediction_id": newest, "correct": True}).status_code == 201
    assert rows(Prediction) == []
    assert rows(Correction)[0].input["strokes"]


def test_what_is_written_is_held_no_longer() -> None:
    with serving(keep_drawings=True) as client:
        answer = ask(client)
        held = services_of(client).journal.recent(answer["id"])
        assert held is None or held["input"]["strokes"]
        wait_for(lambda: services_of(client).journal.recent(answer["id"]) is None)
        assert rows(Prediction)[0].input["strokes"]


def test_old_predictions_are_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    from inksight.serving import journal

    with serving() as client:
        ask(client)
    with changing() as session:
        [row] = session.scalars(select(Prediction))
        row.at = row.at.replace(year=row.at.year - 1)
    monkeypatch.setattr(journal, "FIRST_PRUNE", 0.0)
    with serving(log_days=30) as client:
        wait_for(lambda: not rows(Prediction))


def test_what_a_running_experiment_counts_is_not_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as client:
        ask(client)
    with changing() as session:
        [row] = session.scalars(select(Prediction))
        row.at -= timedelta(days=100)
        began = row.at - timedelta(days=1)
        session.add(
            Experiment(id="e", model=row.model, mode="split", champion=1, candidate=2, share=0.5, started_at=began)
        )
        session.add(
            Prediction(
                id="x", at=row.at, model="other", version="1", label="cat", confidence=1.0, input_sha256="0" * 64
            )
        )
    monkeypatch.setattr("inksight.serving.journal.FIRST_PRUNE", 0.0)
    with serving(log_days=30):
        wait_for(lambda: [row.model for row in rows(Prediction)] == ["halves"])
