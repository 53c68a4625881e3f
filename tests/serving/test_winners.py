"""Winners of experiments: what is promoted and where, what is tried again, and who has the last word."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select, text

from inksight import registry
from inksight.errors import AwayError, BundleError
from inksight.registry.tables import Experiment
from inksight.serving import create_app
from inksight.settings import ServeSettings
from tests.registry.migrate import migrate
from tests.serving.conftest import ready
from tests.serving.test_admin import bearer, real_bundle, two_versions  # noqa: F401
from tests.serving.test_experiments import ask, doodle, feed, shared, start  # noqa: F401
from tests.serving.test_predict import check_error
from tests.waiting import wait_for

pytestmark = pytest.mark.usefixtures("any_database")


@pytest.mark.parametrize("auto", [False, True])
def test_a_winner_is_promoted_only_when_asked_for(doodle: TestClient, auto: bool) -> None:  # noqa: F811
    headers = bearer("experiments")
    number = start(doodle, headers, auto_promote=auto).json()["id"]
    feed(doodle, {"champion": 0.1, "candidate": 0.95}, 80)
    wanted = "promoted" if auto else "better"
    found = wait_for(
        lambda: (e := doodle.get(f"/v1/experiments/{number}", headers=headers).json())["state"] == wanted and e
    )
    assert found["results"]["evidence"] >= 20
    expected = "2" if auto else "1"
    wait_for(lambda: {ask(doodle)["model"]["version"] for _ in range(20)} == {expected})
    check_error(doodle.post(f"/v1/experiments/{number}/stop", headers=headers), 409)


def won_and_left(client: TestClient, storage: registry.Registry) -> Callable[[], Any]:
    """Leave an experiment as a worker does that dies between the verdict and the promotion; returns how it stands."""
    headers = bearer("experiments")
    number = start(client, headers, auto_promote=True).json()["id"]
    with storage.database.write() as session:
        row = session.get_one(Experiment, number)
        row.state, row.verdict = "better", {"decision": "promote"}
    return lambda: client.get(f"/v1/experiments/{number}", headers=headers).json()


def look(client: TestClient) -> None:
    """Let a service look around once."""
    assert client.portal is not None
    client.portal.call(shared(client).experiments.refresh)


def test_a_promotion_that_failed_is_tried_again(
    doodle: TestClient,  # noqa: F811
    two_versions: registry.Registry,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tries: list[int] = []
    promote = registry.Registry.promote

    def promote_later(self: registry.Registry, *given: Any, **options: Any) -> Any:
        tries.append(len(tries))
        if len(tries) <= 2:
            raise AwayError("S3 does not answer")
        return promote(self, *given, **options)

    monkeypatch.setattr(registry.Registry, "promote", promote_later)
    found = won_and_left(doodle, two_versions)
    wait_for(lambda: found()["state"] == "promoted")
    wait_for(lambda: ask(doodle)["model"]["version"] == "2")
    assert len(tries) == 3


def test_a_winner_that_waits_can_be_called_off(
    doodle: TestClient,  # noqa: F811
    two_versions: registry.Registry,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def away(*given: Any, **options: Any) -> Any:
        raise AwayError("S3 does not answer")

    headers = bearer("experiments", name="bob")
    with monkeypatch.context() as patch:
        patch.setattr(registry.Registry, "promote", away)
        path = f"/v1/experiments/{won_and_left(doodle, two_versions)()['id']}"
        found = doodle.post(f"{path}/stop", headers=headers).json()
    assert (found["state"], found["results"]) == ("stopped", {"decision": "promote"})
    look(doodle)
    assert two_versions.find("doodle").number == 1
    check_error(doodle.post(f"{path}/stop", headers=headers), 409)


def test_what_was_called_off_too_late_says_so(
    two_versions: registry.Registry,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    promote = registry.Registry.promote
    with TestClient(create_app(ServeSettings(follow_seconds=60), models=["doodle"])) as client:
        found = won_and_left(ready(client), two_versions)

        def promote_meanwhile(self: registry.Registry, *given: Any, **options: Any) -> Any:
            with two_versions.database.write() as session:
                session.get_one(Experiment, found()["id"]).state = "stopped"
            return promote(self, *given, **options)

        monkeypatch.setattr(registry.Registry, "promote", promote_meanwhile)
        look(client)
        assert (found()["state"], two_versions.find("doodle").number) == ("promoted", 2)


def test_winners_of_older_databases_wait_no_more(two_versions: registry.Registry) -> None:  # noqa: F811
    verdict = {"decision": "promote"}
    with two_versions.database.write() as session:
        for number, state, auto in (("a", "better", True), ("b", "better", False), ("c", "running", True)):
            session.add(
                Experiment(
                    id=number, model="doodle", mode="split", champion=1, candidate=2, share=0.5, auto_promote=auto,
                    state=state, verdict=None if state == "running" else verdict,
                )
            )  # fmt: skip
        session.flush()
        session.execute(text("ALTER TABLE experiments DROP COLUMN alias"))
        migrate(session, "0006_score_models", "0007_experiment_alias")
    with two_versions.database.read() as session:
        rows = {row.id: row for row in session.scalars(select(Experiment))}
    assert {number: row.state for number, row in rows.items()} == {"a": "refused", "b": "better", "c": "running"}
    refused = rows["a"].verdict
    assert refused is not None
    assert refused["decision"] == "promote"
    assert refused["error"]["message"] == "it had won, but was not promoted before Inksight was updated"
    assert rows["b"].verdict == verdict
    assert {row.alias for row in rows.values()} == {"champion"}


def test_a_gate_is_asked_once_about_a_winner(
    doodle: TestClient,  # noqa: F811
    two_versions: registry.Registry,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("INKSIGHT_GATES_MIN_ACCURACY", "0.99")
    found = won_and_left(doodle, two_versions)
    wait_for(lambda: found()["state"] == "refused")
    assert found()["results"]["decision"] == "promote"
    assert found()["results"]["error"]["code"] == "gate_refused"
    monkeypatch.setenv("INKSIGHT_GATES_MIN_ACCURACY", "0.5")
    time.sleep(0.6)
    assert (found()["state"], ask(doodle)["model"]["version"]) == ("refused", "1")


@pytest.mark.parametrize(("limit", "code"), [("fast", "invalid"), ("1000", "bad_bundle")])
def test_what_will_not_pass_is_not_tried_again(
    two_versions: registry.Registry,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    limit: str,
    code: str,
) -> None:
    with TestClient(create_app(ServeSettings(follow_seconds=60), models=["doodle"])) as client:
        found = won_and_left(ready(client), two_versions)

        def damaged(*given: Any) -> Any:
            raise BundleError("model.onnx differs")

        monkeypatch.setattr("inksight.registry.aliases.local_copy", damaged)
        monkeypatch.setenv("INKSIGHT_GATES_MAX_LATENCY_MS", limit)
        look(client)
        assert (found()["state"], found()["results"]["error"]["code"]) == ("refused", code)


@pytest.mark.parametrize(("moves", "state"), [((2, 1), "promoted"), ((3, 1), "overtaken")])
def test_what_people_did_after_a_winner_stands(
    two_versions: registry.Registry,  # noqa: F811
    real_bundle: Path,  # noqa: F811
    moves: tuple[int, int],
    state: str,
) -> None:
    two_versions.register(real_bundle, "doodle")
    with TestClient(create_app(ServeSettings(follow_seconds=60), models=["doodle"])) as client:
        found = won_and_left(ready(client), two_versions)
        for number in moves:
            two_versions.promote("doodle", number, force=True)
        look(client)
        assert found()["state"] == state
    assert two_versions.find("doodle").number == 1


def test_a_winner_takes_over_the_alias_that_is_served(two_versions: registry.Registry) -> None:  # noqa: F811
    two_versions.promote("doodle", 1, alias="staging", force=True)
    headers = bearer("experiments")
    with TestClient(create_app(ServeSettings(follow_seconds=0.2), models=["doodle@staging"])) as client:
        number = start(ready(client), headers, auto_promote=True).json()["id"]
        feed(client, {"champion": 0.1, "candidate": 0.95}, 80)
        wait_for(lambda: client.get(f"/v1/experiments/{number}", headers=headers).json()["state"] == "promoted")
        wait_for(lambda: ask(client)["model"]["version"] == "2")
    assert two_versions.find("doodle@champion").number == 1, "nobody asked for it to move"


@pytest.mark.parametrize("staging", [2, 3])
def test_services_of_other_aliases_leave_a_winner_alone(
    two_versions: registry.Registry,  # noqa: F811
    real_bundle: Path,  # noqa: F811
    staging: int,
) -> None:
    two_versions.register(real_bundle, "doodle")
    two_versions.promote("doodle", staging, alias="staging", force=True)
    settings = ServeSettings(follow_seconds=60)
    with (
        TestClient(create_app(settings, models=["doodle"])) as production,
        TestClient(create_app(settings, models=["doodle@staging"])) as other,
    ):
        found = won_and_left(ready(production), two_versions)
        look(ready(other))
        assert found()["state"] == "better"
        assert two_versions.find("doodle@staging").number == staging
        look(production)
        assert found()["state"] == "promoted"
    assert two_versions.find("doodle@champion").number == 2


def test_services_of_other_aliases_have_experiments_of_their_own(
    doodle: TestClient,  # noqa: F811
    two_versions: registry.Registry,  # noqa: F811
) -> None:
    headers = bearer("experiments")
    two_versions.promote("doodle", 1, alias="staging", force=True)
    assert start(doodle, headers, share=0.9).status_code == 201
    for reference in ("doodle@staging", "doodle:1"):
        with TestClient(create_app(ServeSettings(follow_seconds=60), models=[reference])) as other:
            look(ready(other))
            assert {ask(other)["model"]["version"] for _ in range(20)} == {"1"}, "the visitors are not production's"
            assert start(other, headers, share=0.9).status_code == 201
            assert "2" in {ask(other)["model"]["version"] for _ in range(20)}
            assert repr(reference) in check_error(start(other, headers), 409)["message"]
    listed = doodle.get("/v1/experiments", headers=headers).json()["experiments"]
    assert [item["alias"] for item in listed] == ["", "staging", "champion"]


def test_a_fixed_version_gives_way_to_no_winner(two_versions: registry.Registry) -> None:  # noqa: F811
    headers = bearer("experiments")
    with TestClient(create_app(models=["doodle:1"])) as client:
        refused = check_error(start(ready(client), headers, auto_promote=True), 409)
        assert "'doodle:1'" in refused["message"]
        assert "doodle@ALIAS" in refused["hint"]
        assert start(client, headers).status_code == 201
