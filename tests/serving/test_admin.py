"""Behind tokens: aliases with hot swap and rollback under load, corrections, the log; rates and origins."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, get_type_hints

import httpx
import pytest
from fastapi.testclient import TestClient

from inksight import registry
from inksight.cli.tokens import add as add_token
from inksight.errors import AwayError
from inksight.registry.database import Database
from inksight.registry.tables import Correction
from inksight.serving import create_app
from inksight.serving.storage import Storage
from inksight.serving.tokens import SCOPES, Tokens
from inksight.settings import ServeSettings
from tests.bundle.conftest import CLASSES, make_bundle
from tests.registry.made import make_bundle as make_broken_bundle
from tests.serving.conftest import TALL_LEFT, HalvesClassifier, ready, running
from tests.serving.test_feedback import ask
from tests.serving.test_predict import check_error
from tests.waiting import wait_for

ADMIN_ROUTES = [
    ("GET", "/v1/models/halves/aliases", "models"),
    ("POST", "/v1/models/halves/aliases", "models"),
    ("GET", "/v1/models/halves/versions/1/gates", "models"),
    ("GET", "/v1/models/halves/versions/1", "models"),
    ("GET", "/v1/corrections", "review"),
    ("GET", "/v1/corrections/1", "review"),
    ("POST", "/v1/corrections/1", "review"),
    ("GET", "/v1/corrections/1/labels", "review"),
    ("GET", "/v1/corrections/statistics", "review"),
    ("GET", "/v1/predictions/export", "logs"),
    ("GET", "/v1/jobs", "jobs"),
    ("POST", "/v1/jobs", "jobs"),
    ("GET", "/v1/jobs/1", "jobs"),
    ("POST", "/v1/jobs/1/cancel", "jobs"),
]


def bearer(*scopes: str, name: str = "alice") -> dict[str, str]:
    return {"Authorization": f"Bearer {Tokens().add(name, scopes)}"}


def test_a_token_tells_what_it_allows(client: TestClient) -> None:
    check_error(client.get("/v1/token"), 401, "unauthorized")
    assert client.get("/v1/token", headers=bearer("review", "jobs", name="bob")).json() == {
        "name": "bob", "scopes": ["jobs", "review"],
    }  # fmt: skip


@pytest.fixture(scope="session")
def real_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small bundle that can really be loaded."""
    metrics = {"split": "test", "accuracy": 0.9, "per_class": {c: {"accuracy": 0.9, "samples": 50} for c in CLASSES}}
    return make_bundle(tmp_path_factory.mktemp("served") / "bundle", "convnet", metrics=metrics)


@pytest.fixture
def two_versions(real_bundle: Path) -> Iterator[registry.Registry]:
    """A registry with doodle:1 (champion) and doodle:2."""
    opened = registry.open()
    for _ in range(2):
        opened.register(real_bundle, "doodle")
    opened.promote("doodle", 1, force=True)
    yield opened
    opened.close()


@pytest.mark.parametrize(("method", "path", "scope"), ADMIN_ROUTES)
def test_admin_routes_want_a_token_with_the_scope(client: TestClient, method: str, path: str, scope: str) -> None:
    response = client.request(method, path, json={})
    check_error(response, 401, "unauthorized")
    assert response.headers["www-authenticate"] == "Bearer"
    for wrong in ("Bearer nonsense", "Bearer ", "Basic YTpi", "Bearer ink_\xe9"):
        check_error(client.request(method, path, headers={b"authorization": wrong.encode("latin-1")}), 401)
    others = [other for other in SCOPES if other != scope]
    check_error(client.request(method, path, headers=bearer(*others, name="bob"), json={}), 403, "forbidden")
    assert client.request(method, path, headers=bearer(scope), json={}).status_code not in (401, 403)


def test_the_help_names_every_scope() -> None:
    told = get_type_hints(add_token, include_extras=True)["scope"].__metadata__[0].help
    assert all(scope in told for scope in SCOPES)


def test_tokens_are_kept_as_hashes_and_can_be_removed(client: TestClient, home: Path) -> None:
    headers = bearer("review")
    text = (home / "tokens.json").read_text()
    assert headers["Authorization"].split()[1] not in text
    assert (home / "tokens.json").stat().st_mode & 0o077 == 0
    assert client.get("/v1/corrections", headers=headers).status_code == 200
    Tokens().remove("alice")
    check_error(client.get("/v1/corrections", headers=headers), 401)


def test_promote_and_roll_back(two_versions: registry.Registry) -> None:
    headers = bearer("models")
    with TestClient(create_app(models=["doodle"])) as client:
        ready(client)
        assert ask(client)["model"] == {"name": "doodle", "version": "1"}
        listed = client.get("/v1/models/doodle/aliases", headers=headers).json()
        assert listed["aliases"] == {"champion": 1}
        assert listed["rollbacks"] == {}
        assert [(version["version"], version["live"]) for version in listed["versions"]] == [(2, False), (1, True)]
        moved = client.post("/v1/models/doodle/aliases", headers=headers, json={"version": 2, "force": True}).json()
        assert (moved["live"], moved["previous"]) == ("2", 1)
        assert ask(client)["model"]["version"] == "2"
        listed = client.get("/v1/models/doodle/aliases", headers=headers).json()
        assert listed["rollbacks"] == {"champion": 1}
        back = client.post("/v1/models/doodle/aliases", headers=headers, json={"action": "rollback"}).json()
        assert back["live"] == "1"
        assert ask(client)["model"]["version"] == "1"
        check_error(client.post("/v1/models/doodle/aliases", headers=headers, json={"version": 99}), 404)
        listed = client.get("/v1/models/doodle/aliases", headers=headers).json()
        moves = [(move["action"], move["previous"], move["version"], move["forced"]) for move in listed["moves"]]
        assert moves == [("rollback", 2, 1, False), ("promote", 1, 2, False), ("promote", None, 1, False)]
        second = client.get("/v1/models/doodle/versions/2", headers=headers).json()
        assert (second["version"], second["live"], second["metrics"]["accuracy"]) == (2, False, 0.9)
        assert second["labels"] == CLASSES
        check_error(client.get("/v1/models/doodle/versions/99", headers=headers), 404)
        metrics = client.get("/metrics").text
    assert 'inksight_model_swaps_total{model="doodle",outcome="done"} 2.0' in metrics
    assert 'inksight_model_live{model="doodle",version="2"} 0.0' in metrics


def test_a_gate_says_no_and_nothing_moves(real_bundle: Path, tmp_path: Path) -> None:
    opened = registry.open()
    for number, accuracy in enumerate((0.9, 0.5)):
        copy = shutil.copytree(real_bundle, tmp_path / str(number))
        description = json.loads((copy / "model.json").read_text())
        description["metrics"] = {"split": "test", "accuracy": accuracy}
        (copy / "model.json").write_text(json.dumps(description))
        opened.register(copy, "doodle")
    opened.promote("doodle", 1, force=True)
    opened.close()
    with TestClient(create_app(models=["doodle"])) as client:
        ready(client)
        headers = bearer("models")
        refused = client.post("/v1/models/doodle/aliases", headers=headers, json={"version": 2})
        check_error(refused, 409, "gate_refused")
        path = "/v1/models/doodle/versions/2/gates"
        told = client.get(path, headers=headers).json()
        no = {gate["gate"]: gate for gate in told["gates"] if not gate["passed"]}
        assert not told["passed"]
        assert no["overall"]["reason"] == "overall"
        assert (no["overall"]["values"]["accuracy"], no["overall"]["values"]["before"]) == (0.5, 0.9)
        assert all(f"[{gate}] {answer['detail']}" in refused.json()["error"]["message"] for gate, answer in no.items())
        first = client.get(path, params={"alias": "candidate"}, headers=headers).json()
        assert [gate["reason"] for gate in first["gates"]][-1] == "overall.first"
        check_error(client.get("/v1/models/doodle/versions/99/gates", headers=headers), 404)
        assert ask(client)["model"]["version"] == "1"


def test_swaps_under_load_lose_no_request(two_versions: registry.Registry) -> None:
    settings = ServeSettings(follow_seconds=0.1)
    seen: list[tuple[int, str]] = []
    stop = threading.Event()

    def load(address: str) -> None:
        with httpx.Client(base_url=address) as client:
            while not stop.is_set():
                response = client.post("/v1/predict", json={"strokes": TALL_LEFT})
                seen.append((response.status_code, response.json().get("model", {}).get("version", "")))

    def answered_by(version: str) -> bool:
        return bool(seen) and seen[-1][1] == version

    with running(create_app(settings, models=["doodle@champion"])) as address:
        threads = [threading.Thread(target=load, args=(address,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            for number in (2, 1, 2, 1):
                # Moved from elsewhere, as `inksight models promote` would: the service follows by itself.
                two_versions.promote("doodle", number, force=True)
                wait_for(partial(answered_by, str(number)))
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    assert {status for status, _ in seen} == {200}
    assert {version for _, version in seen} == {"1", "2"}
    assert len(seen) > 50


def test_a_version_that_cannot_be_served_never_becomes_live(
    two_versions: registry.Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as unasked:  # a registry of before versions were tested
        unasked.setattr("inksight.bundle.selftest.self_test", lambda classifier: 0.0)
        broken = two_versions.register(make_broken_bundle(tmp_path / "broken", weight=float("nan")), "doodle")
    with TestClient(create_app(ServeSettings(follow_seconds=0.05), models=["doodle"])) as client:
        ready(client)
        two_versions.promote("doodle", broken.number, force=True)
        wait_for(
            lambda: 'inksight_model_swaps_total{model="doodle",outcome="failed"} 1.0' in client.get("/metrics").text
        )
        assert ask(client)["model"]["version"] == "1"
        time.sleep(0.3)
        assert 'outcome="failed"} 1.0' in client.get("/metrics").text, "a refused version is not tried again and again"
        two_versions.rollback("doodle")
        two_versions.promote("doodle", 2, force=True)
        wait_for(lambda: ask(client)["model"]["version"] == "2")


def test_a_look_for_new_versions_ends_before_the_database_is_closed(
    two_versions: registry.Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking, order = threading.Event(), []

    def slow(*_: Any) -> None:
        looking.set()
        time.sleep(0.5)
        order.append("looked")

    monkeypatch.setattr("inksight.serving.swapping.moved_to", slow)
    close = Storage.close

    def noted(storage: Storage) -> None:
        order.append("closed")
        close(storage)

    monkeypatch.setattr(Storage, "close", noted)
    with TestClient(create_app(ServeSettings(follow_seconds=0.05), models=["doodle"])) as client:
        ready(client)
        assert looking.wait(10)
    assert order[-2:] == ["looked", "closed"]


def test_a_served_version_is_not_cleaned_up(two_versions: registry.Registry, real_bundle: Path) -> None:
    with TestClient(create_app(models=["doodle:1"])) as client:
        ready(client)
        for number in (2, 3):
            two_versions.register(real_bundle, "doodle")
            two_versions.promote("doodle", number, force=True)
        two_versions.clean("doodle", keep=1)
        assert 1 in [version.number for version in two_versions.versions("doodle")]
    two_versions.clean("doodle", keep=1)
    assert 1 not in [version.number for version in two_versions.versions("doodle")]


def test_review(client: TestClient) -> None:
    headers = bearer("review")
    for label in ("top", "bottom", "right"):
        answer = ask(client)
        client.post("/v1/feedback", json={"prediction_id": answer["id"], "label": label, "correct": False})
    client.post("/v1/feedback", json={"prediction_id": ask(client)["id"], "correct": True})
    queue = client.get("/v1/corrections", params={"state": "pending"}, headers=headers).json()["corrections"]
    assert [item["label"] for item in queue] == ["top", "bottom", "right", "left"]
    first, second, third, _ = (item["id"] for item in queue)

    def decide(number: int, **body: Any) -> Any:
        return client.post(f"/v1/corrections/{number}", json=body, headers=headers)

    assert decide(first, action="accept").json()["final_label"] == "top"
    assert decide(second, action="relabel", label="right").json()["state"] == "relabelled"
    assert decide(third, action="reject").json()["final_label"] is None
    check_error(decide(first, action="relabel"), 422)
    check_error(decide(first, action="relabel", label="dragon"), 422)
    check_error(decide(first, action="accept", label="left"), 422)
    check_error(decide(first, action="burn"), 422)
    check_error(decide(99, action="accept"), 404)
    pending = client.get("/v1/corrections", params={"state": "pending"}, headers=headers).json()["corrections"]
    assert [item["label"] for item in pending] == ["left"]
    assert client.get(f"/v1/corrections/{first}", headers=headers).json()["reviewer"] == "alice"
    counts = client.get("/v1/corrections/statistics", headers=headers).json()
    assert counts["states"] == {"accepted": 1, "relabelled": 1, "rejected": 1, "pending": 1}
    assert (counts["players_agreed"]["share"], counts["players_agreed"]["n"]) == (0.25, 4)
    assert (counts["reviewers_agreed"]["share"], counts["reviewers_agreed"]["n"]) == (pytest.approx(1 / 3), 3)
    assert [row["label"] for row in counts["by_class"]] == ["bottom", "left", "right", "top"]
    assert counts["by_class"][1]["players_agreed"]["share"] == 1
    assert counts["by_class"][1]["reviewers_agreed"] is None
    assert [row["players_agreed"]["n"] for row in counts["by_day"]] == [4]
    other = client.get("/v1/corrections/statistics", params={"model": "other"}, headers=headers).json()
    assert (other["states"], other["players_agreed"], other["by_day"]) == ({}, None, [])


@pytest.mark.parametrize(
    ("model", "known"), [("halves", "left"), ("doodles", "cat"), ("doodle", CLASSES[0]), ("gone", None)]
)
def test_what_a_model_that_is_not_served_said_can_be_relabelled(
    client: TestClient, two_versions: registry.Registry, model: str, known: str | None
) -> None:
    headers = bearer("review")
    row = Correction(model=model, version="1", predicted="sun", confidence=0.8, label="moon", correct=False)
    with two_versions.database.write() as session:
        session.add(row)
        session.flush()
        number = row.id
    labels = client.get(f"/v1/corrections/{number}/labels", headers=headers).json()["labels"]
    assert labels is None if known is None else known in labels
    answers = [
        client.post(f"/v1/corrections/{number}", json={"action": "relabel", "label": label}, headers=headers)
        for label in ("dragonfruit", known or "axe")
    ]
    assert [answer.status_code for answer in answers] == [200 if known is None else 422, 200]


def test_export_of_the_log(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    from inksight.serving.routes import admin as admin_routes

    monkeypatch.setattr(admin_routes, "PAGE", 3)
    ids = [ask(client)["id"] for _ in range(8)]
    headers = bearer("logs")

    def exported(**params: str) -> list[dict[str, Any]]:
        text = client.get("/v1/predictions/export", params=params, headers=headers).text
        return [json.loads(line) for line in text.splitlines()]

    wait_for(lambda: len(exported()) == 8)
    lines = exported()
    assert [line["id"] for line in lines] == ids
    assert lines[0]["label"] == "left"
    assert exported(model="other") == []
    assert [line["id"] for line in exported(since=lines[5]["at"])] == ids[5:]
    assert [line["id"] for line in exported(until=lines[2]["at"])] == ids[:2]


def test_an_export_of_a_database_that_is_away_has_the_status_for_it(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = bearer("logs")
    assert client.get("/v1/predictions/export", headers=headers).status_code == 200

    def away(_: Database) -> Any:
        raise AwayError("the database does not answer")

    monkeypatch.setattr(Database, "read", away)
    check_error(client.get("/v1/predictions/export", headers=headers), 503, "unavailable")


def test_moments_without_a_zone_are_in_utc(client: TestClient) -> None:
    answer = ask(client)
    headers = bearer("logs")

    def exported(**params: str) -> list[str]:
        text = client.get("/v1/predictions/export", params=params, headers=headers).text
        return [json.loads(line)["id"] for line in text.splitlines()]

    wait_for(exported)
    moment = datetime.now(UTC) + timedelta(minutes=1)
    assert exported(since=f"{moment:%Y-%m-%dT%H:%M:%S}") == []
    assert exported(until=f"{moment:%Y-%m-%dT%H:%M:%S}") == [answer["id"]]


def test_a_job_may_name_what_the_registry_may(client: TestClient) -> None:
    def refused(name: str) -> dict[str, str]:
        job = {"kind": "retrain", "model": name}
        return check_error(client.post("/v1/jobs", headers=headers, json=job), 404 if "+" in name else 422)

    headers = bearer("jobs")
    assert "sketch+digits" in refused("sketch+digits")["message"]
    assert "a letter or digit first" in refused("../digits")["hint"]


def test_rate_limits() -> None:
    settings = ServeSettings(rate_limit=1, rate_burst=5)
    with TestClient(create_app(settings, models=[HalvesClassifier()])) as client:
        ready(client)
        codes = [client.get("/v1/models").status_code for _ in range(8)]
        assert codes == [200] * 5 + [429] * 3
        response = client.post("/v1/predict", json={"strokes": TALL_LEFT})
        check_error(response, 429, "rate_limited")
        assert response.headers["retry-after"] == "1"
        assert client.get("/v1/health/live").status_code == 200
        time.sleep(1.1)
        assert client.get("/v1/models").status_code == 200


def test_other_origins_are_let_in_only_when_asked_for() -> None:
    origin = {"Origin": "https://school.example", "Access-Control-Request-Method": "POST"}
    for origins, expected in (([], None), (["https://school.example"], "https://school.example")):
        settings = ServeSettings(cors_origins=origins)
        with TestClient(create_app(settings, models=[HalvesClassifier()])) as client:
            ready(client)
            assert client.options("/v1/predict", headers=origin).headers.get("access-control-allow-origin") == expected
            assert client.get("/v1/models", headers=origin).headers.get("access-control-allow-origin") == expected
            visitor = client.options("/v1/predict", headers={**origin, "Access-Control-Request-Headers": "X-Client-Id"})
            assert (visitor.status_code == 200) == bool(expected)
            for asked in ({"Origin": "https://other.example"}, {"Access-Control-Request-Method": "DELETE"}):
                check_error(client.options("/v1/predict", headers=origin | asked), 400 if origins else 405)
