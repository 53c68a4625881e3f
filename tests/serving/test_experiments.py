"""A/B tests, shadows and replay: who meets whom, what is decided, and that nobody waits for it."""

from __future__ import annotations

import base64
import gc
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from weakref import ref

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import select

from inksight import registry
from inksight.errors import AwayError
from inksight.registry.kept import image_of
from inksight.registry.tables import Correction, LeaseRow, Prediction, VersionRow
from inksight.registry.versions import Version
from inksight.serving import create_app
from inksight.serving.experiments import dealt_share
from inksight.serving.live import LiveModel
from inksight.serving.services import Services
from inksight.serving.sources import load_version
from inksight.serving.storage import Storage
from inksight.settings import ServeSettings
from tests.registry.made import make_bundle
from tests.serving.conftest import TALL_LEFT, HalvesClassifier, ready
from tests.serving.test_admin import bearer, real_bundle, two_versions  # noqa: F401
from tests.serving.test_predict import check_error
from tests.waiting import wait_for

pytestmark = pytest.mark.usefixtures("any_database")


@pytest.fixture
def doodle(two_versions: registry.Registry) -> Iterator[TestClient]:  # noqa: F811
    """A service of doodle@champion (version 1), with version 2 in the registry; it looks around every 0.2 s."""
    settings = ServeSettings(follow_seconds=0.2, keep_drawings=True)
    with TestClient(create_app(settings, models=["doodle"])) as client:
        yield ready(client)


def ask(client: TestClient, visitor: str | None = None) -> dict[str, Any]:
    client.cookies.clear()
    headers = {"X-Client-Id": visitor} if visitor else {}
    return dict(client.post("/v1/predict", json={"strokes": TALL_LEFT}, headers=headers).json())


def start(client: TestClient, headers: dict[str, str], **changes: Any) -> Any:
    return client.post("/v1/experiments", headers=headers, json={"model": "doodle", "candidate": 2, **changes})


def test_visitors_are_spread_evenly_and_independently() -> None:
    first = [dealt_share("a", f"visitor-{n}") for n in range(20_000)]
    second = [dealt_share("b", f"visitor-{n}") for n in range(20_000)]
    for share in (0.05, 0.2, 0.5):
        assert sum(place < share for place in first) / 20_000 == pytest.approx(share, abs=0.012)
    both = sum(a < 0.5 and b < 0.5 for a, b in zip(first, second, strict=True)) / 20_000
    assert both == pytest.approx(0.25, abs=0.015)


def test_a_split_is_sticky_and_weighted(doodle: TestClient) -> None:
    headers = bearer("experiments")
    assert start(doodle, headers, share=0.3).status_code == 201
    met = {n: ask(doodle, f"visitor-{n}")["model"]["version"] for n in range(200)}
    assert set(met.values()) == {"1", "2"}
    assert 30 <= sum(version == "2" for version in met.values()) <= 90
    assert all(ask(doodle, f"visitor-{n}")["model"]["version"] == met[n] for n in range(50))
    # A browser gets a cookie, and with it the same version again.
    doodle.cookies.clear()
    first = doodle.post("/v1/predict", json={"strokes": TALL_LEFT})
    assert "httponly" in first.headers["set-cookie"].lower()
    assert "samesite=strict" in first.headers["set-cookie"].lower()
    for _ in range(10):
        again = doodle.post("/v1/predict", json={"strokes": TALL_LEFT})
        assert again.json()["model"] == first.json()["model"]
        assert "set-cookie" not in again.headers


def test_stopping_sends_everybody_back(doodle: TestClient) -> None:
    headers = bearer("experiments")
    number = start(doodle, headers, share=0.9).json()["id"]
    assert "2" in {ask(doodle)["model"]["version"] for _ in range(30)}
    stopped = doodle.post(f"/v1/experiments/{number}/stop", headers=headers).json()
    assert stopped["state"] == "stopped"
    assert {ask(doodle)["model"]["version"] for _ in range(30)} == {"1"}
    check_error(doodle.post(f"/v1/experiments/{number}/stop", headers=headers), 409)
    assert "set-cookie" not in doodle.post("/v1/predict", json={"strokes": TALL_LEFT}).headers


def feed(client: TestClient, right: dict[str, float], visitors: int, *, until: str = "") -> None:
    """Let visitors say whether the answer was right; each arm is right for a share of them."""
    for n in range(visitors):
        answer = ask(client, f"visitor-{n:05d}")
        arm = "candidate" if answer["model"]["version"] == "2" else "champion"
        correct = (n * 0.618034) % 1 < right[arm]
        said = answer["predictions"][0]["label"] if correct else answer["predictions"][1]["label"]
        body = {"prediction_id": answer["id"], "label": said, "correct": correct}
        assert client.post("/v1/feedback", json=body).status_code == 201


def test_harm_is_stopped_and_rolled_back_by_itself(doodle: TestClient) -> None:
    headers = bearer("experiments")
    number = start(doodle, headers).json()["id"]
    feed(doodle, {"champion": 0.95, "candidate": 0.1}, 80)
    found = wait_for(lambda: (e := doodle.get(f"/v1/experiments/{number}", headers=headers).json())["ended_at"] and e)
    assert found["state"] == "rolled back"
    assert found["results"]["harm"] >= 20
    assert found["results"]["champion"]["total"] + found["results"]["candidate"]["total"] <= 80
    wait_for(lambda: {ask(doodle)["model"]["version"] for _ in range(20)} == {"1"})


def test_a_visitor_counts_once(doodle: TestClient) -> None:
    headers = bearer("experiments")
    number = start(doodle, headers).json()["id"]
    for _ in range(30):
        answer = ask(doodle, "loud-visitor")
        doodle.post("/v1/feedback", json={"prediction_id": answer["id"], "correct": True})

    def results() -> Any:
        return doodle.get(f"/v1/experiments/{number}", headers=headers).json()["results"]

    wait_for(lambda: results()["champion"]["total"] + results()["candidate"]["total"])
    assert results()["champion"]["total"] + results()["candidate"]["total"] == 1


def test_people_may_say_what_only_the_candidate_knows(
    doodle: TestClient,
    two_versions: registry.Registry,  # noqa: F811
    tmp_path: Path,
) -> None:
    classes = [*two_versions.find("doodle").description["classes"], "zebra"]
    two_versions.register(make_bundle(tmp_path / "more", classes=classes[1:]), "doodle")
    start(doodle, bearer("experiments"), candidate=3)
    answers = {answer["model"]["version"]: answer for answer in (ask(doodle, f"visitor-{n}") for n in range(30))}

    def tell(version: str, label: str) -> Any:
        answer = answers[version]
        correct = label == answer["predictions"][0]["label"]
        return doodle.post("/v1/feedback", json={"prediction_id": answer["id"], "label": label, "correct": correct})

    assert answers["3"]["predictions"][0]["label"] == "zebra"
    assert tell("3", "zebra").status_code == 201
    assert tell("3", classes[1]).status_code == 201
    assert tell("3", classes[0]).status_code == 201, "the page offers the labels of the version that is live"
    assert "zebra" in check_error(tell("1", "zebra"), 422)["message"]
    two_versions.promote("doodle", 3, force=True)
    wait_for(lambda: ask(doodle)["model"]["version"] == "3")
    assert tell("1", classes[0]).status_code == 201, "that version knew it"


def test_a_shadow_answers_nobody(doodle: TestClient) -> None:
    headers = bearer("experiments")
    number = start(doodle, headers, mode="shadow").json()["id"]
    assert {ask(doodle)["model"]["version"] for _ in range(40)} == {"1"}

    def results() -> Any:
        return doodle.get(f"/v1/experiments/{number}", headers=headers).json()["results"]

    wait_for(lambda: results()["answers"] == 40)
    assert results()["agreement"] == 1.0, "both versions have the same weights"
    logs = bearer("logs", name="bob")
    found = doodle.post("/v1/models/doodle/replay", headers=logs, json={"version": 2, "limit": 100}).json()
    assert found["logged"] == 40, "what the shadow said was no answer to anybody"


def test_only_one_experiment_per_model(doodle: TestClient) -> None:
    headers = bearer("experiments")
    codes: list[int] = []
    threads = [threading.Thread(target=lambda: codes.append(start(doodle, headers).status_code)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == [201, 409, 409, 409]
    assert len(doodle.get("/v1/experiments", headers=headers).json()["experiments"]) == 1


def test_a_candidate_is_loaded_once(
    doodle: TestClient,
    two_versions: registry.Registry,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loads: list[str] = []

    def load(storage: Storage, version: Version, reference: str) -> LiveModel:
        loads.append(reference)
        time.sleep(1)  # meanwhile the follower looks, too
        return load_version(storage, version, reference)

    monkeypatch.setattr("inksight.serving.experiments.load_version", load)
    headers = bearer("experiments")
    number = start(doodle, headers).json()["id"]
    assert loads == ["doodle:2"]
    doodle.post(f"/v1/experiments/{number}/stop", headers=headers)
    with two_versions.database.read() as session:
        held = session.scalars(select(VersionRow.number).join(LeaseRow, LeaseRow.version_id == VersionRow.id)).all()
    assert held == [1]


def test_what_answers_no_more_is_freed(
    doodle: TestClient,
    two_versions: registry.Registry,  # noqa: F811
) -> None:
    headers = bearer("experiments")
    number = start(doodle, headers, share=0.9).json()["id"]
    versions = {ask(doodle, f"visitor-{n}")["model"]["version"] for n in range(200)}
    assert versions == {"1", "2"}, "both have answered, so that both may be held by something"
    services = shared(doodle)
    champion = ref(services.models.get().classifier)
    candidate = ref(services.experiments._running["doodle"].live.classifier)
    gc.disable()  # a service lets it rest, and looks at nothing that was loaded at its start
    try:
        doodle.post(f"/v1/experiments/{number}/stop", headers=headers)
        wait_for(lambda: candidate() is None)
        assert champion() is not None
        two_versions.promote("doodle", 2, force=True)
        wait_for(lambda: champion() is None)
    finally:
        gc.enable()
    assert ask(doodle)["model"]["version"] == "2"


def test_a_candidate_that_cannot_be_had_for_a_while_stops_nothing(
    doodle: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = True

    def load(storage: Storage, version: Version, reference: str) -> LiveModel:
        if away:
            raise AwayError("S3 does not answer")
        return load_version(storage, version, reference)

    monkeypatch.setattr("inksight.serving.experiments.load_version", load)
    assert start(doodle, bearer("experiments"), share=0.9).json()["state"] == "running"
    assert {ask(doodle)["model"]["version"] for _ in range(20)} == {"1"}
    away = False
    wait_for(lambda: "2" in {ask(doodle)["model"]["version"] for _ in range(20)})


def test_the_version_that_answered_explains(doodle: TestClient) -> None:
    start(doodle, bearer("experiments"))

    def explain(headers: dict[str, str]) -> Any:
        return doodle.post("/v1/explain", json={"strokes": TALL_LEFT}, headers=headers)

    met = {name: ask(doodle, name)["model"] for name in (f"visitor-{n}" for n in range(40))}
    assert {model["version"] for model in met.values()} == {"1", "2"}
    assert all(explain({"X-Client-Id": name}).json()["model"] == model for name, model in met.items())
    doodle.cookies.clear()
    first = explain({})
    assert "inksight_visitor" in first.headers["set-cookie"]
    assert doodle.post("/v1/predict", json={"strokes": TALL_LEFT}).json()["model"] == first.json()["model"]


@pytest.mark.parametrize(
    ("path", "body"), [("/predict", {"strokes": TALL_LEFT}), ("/batch_predict", {"inputs": [{"strokes": TALL_LEFT}]})]
)
def test_visitors_of_the_simple_routes_stay_with_a_version(doodle: TestClient, path: str, body: dict[str, Any]) -> None:
    start(doodle, bearer("experiments"))
    assert "inksight_visitor" in doodle.post(path, json=body).headers["set-cookie"]
    assert "set-cookie" not in doodle.post(path, json=body).headers


def test_a_candidate_must_see_what_the_champion_sees(
    doodle: TestClient,
    two_versions: registry.Registry,  # noqa: F811
    tmp_path: Path,
) -> None:
    preprocessing = {"input_shape": [56, 56], "size": [56, 56], "channels": 1, "mean": [0.5], "std": [0.5]}
    two_versions.register(make_bundle(tmp_path / "larger", preprocessing=preprocessing), "doodle")
    headers = bearer("experiments")
    refused = check_error(start(doodle, headers, candidate=3, mode="shadow"), 409)
    assert "56 x 56" in refused["message"]
    two_versions.register(make_bundle(tmp_path / "photos", kind="photo"), "doodle")
    for mode in ("shadow", "split"):
        refused = check_error(start(doodle, headers, candidate=4, mode=mode), 409)
        assert "judges photos, the version that answers drawings" in refused["message"]
    assert doodle.get("/v1/experiments", headers=headers).json()["experiments"] == []


def test_an_experiment_ends_with_its_champion(
    doodle: TestClient,
    two_versions: registry.Registry,  # noqa: F811
    real_bundle: Path,  # noqa: F811
) -> None:
    headers = bearer("experiments")
    number = start(doodle, headers, auto_promote=True).json()["id"]
    two_versions.register(real_bundle, "doodle")
    two_versions.promote("doodle", 3, force=True)

    def found() -> Any:
        return doodle.get(f"/v1/experiments/{number}", headers=headers).json()

    wait_for(lambda: found()["state"] == "overtaken")
    assert found()["results"]["champion"]["total"] == 0
    wait_for(lambda: ask(doodle)["model"]["version"] == "3")
    again = start(doodle, headers).json()
    assert (again["champion"], again["state"]) == (3, "running")
    two_versions.promote("doodle", 1, alias="elsewhere", force=True)
    two_versions.promote("doodle", 2, alias="elsewhere", force=True)
    time.sleep(0.5)
    number = again["id"]
    assert found()["state"] == "running", "what other aliases mean concerns it not"


def test_where_a_run_hides_a_registered_model(
    two_versions: registry.Registry,  # noqa: F811
    real_bundle: Path,  # noqa: F811
    home: Path,
) -> None:
    run = home / "runs" / "doodle"
    run.mkdir(parents=True)
    (run / "settings.json").write_text("{}")
    shutil.copytree(real_bundle, run / "bundle")
    headers = bearer("experiments")
    with TestClient(create_app(models=["doodle", HalvesClassifier()])) as client:
        name = ready(client).get("/v1/models").json()["models"][0]["name"]
        hint = "Register it: inksight models push."
        assert check_error(start(client, headers, model="halves"), 409)["hint"] == hint
        two_versions.register(real_bundle, name)
        hint = f"It is registered: inksight models promote {name}:1, then inksight serve {name}@champion."
        assert check_error(start(client, headers, model=name), 409)["hint"] == hint
        two_versions.promote(name, 1, force=True)
        hint = f"It is registered: inksight serve {name}@champion."
        assert check_error(start(client, headers, model=name), 409)["hint"] == hint


def test_wrong_experiments_are_refused(doodle: TestClient) -> None:
    headers = bearer("experiments")
    check_error(start(doodle, headers, candidate=9), 404)
    check_error(start(doodle, headers, candidate=1), 409)
    check_error(start(doodle, headers, model="nope"), 404)
    check_error(start(doodle, headers, share=1.5), 422)
    check_error(doodle.get("/v1/experiments/nope", headers=headers), 404)
    check_error(doodle.post("/v1/experiments", json={"model": "doodle", "candidate": 2}), 401)


def shared(client: TestClient) -> Services:
    app = client.app
    assert isinstance(app, FastAPI)
    found: Services = app.state.services
    wait_for(lambda: found.journal.waiting == 0)
    return found


def replayed(client: TestClient) -> dict[str, Any]:
    headers = bearer("logs", name="replayer")
    return dict(client.post("/v1/models/doodle/replay", headers=headers, json={"version": 2, "limit": 100}).json())


def test_replay_skips_and_counts_inputs_that_it_cannot_judge(doodle: TestClient) -> None:
    ids = [ask(doodle)["id"] for _ in range(4)]
    other_shape = {"image": base64.b64encode(bytes(64 * 64)).decode(), "shape": [64, 64]}
    unfit: list[dict[str, Any]] = [other_shape, {"image": "%"}, {"strokes": [[]]}]
    storage = shared(doodle).storage
    with storage.database.write() as session:
        for number, kept in zip(ids, unfit, strict=False):
            session.get_one(Prediction, number).input = kept
    found = replayed(doodle)
    assert (found["logged"], found["replayed"], found["skipped"], found["agreement"]) == (4, 1, 3, 1.0)


def test_replay_leaves_out_what_was_right_by_definition(doodle: TestClient) -> None:
    answers = [ask(doodle) for _ in range(3)]
    wrong = answers[0]["predictions"][1]["label"]
    doodle.post("/v1/feedback", json={"prediction_id": answers[0]["id"], "label": wrong, "correct": False})
    storage = shared(doodle).storage
    with storage.database.write() as session:
        for answer in answers:
            label = answer["predictions"][0]["label"]
            kept = Correction(
                prediction_id=answer["id"], model="doodle", version="1", predicted=label, label=label, correct=True,
                source="infinite", state="accepted", final_label=label,
            )  # fmt: skip
            session.add(kept)
    then = replayed(doodle)["then"]
    assert (then["right"], then["total"]) == (0, 1)


def test_replay_sees_a_dot_as_the_model_did(doodle: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    doodle.post("/v1/predict", json={"strokes": [[[5, 6], [5, 5]]]})
    shared(doodle)
    seen: list[int] = []
    monkeypatch.setattr("inksight.serving.replay.image_of", lambda *given: seen.append(image_of(*given).max()))
    replayed(doodle)
    assert seen == [0]


def test_replay(doodle: TestClient) -> None:
    answers = [ask(doodle) for _ in range(12)]
    wrong = answers[0]["predictions"][1]["label"]
    doodle.post("/v1/feedback", json={"prediction_id": answers[0]["id"], "correct": True})
    doodle.post("/v1/feedback", json={"prediction_id": answers[1]["id"], "label": wrong, "correct": False})
    shared(doodle)
    found = doodle.post("/v1/models/doodle/replay", headers=bearer("logs"), json={"version": 2, "limit": 10}).json()
    assert (found["logged"], found["replayed"], found["agreement"]) == (10, 10, 1.0)
    found = replayed(doodle)
    assert found["then"]["total"] == found["now"]["total"] == 2
    assert found["then"]["right"] == found["now"]["right"] == 1
    assert found["changes"] == []
    check_error(doodle.post("/v1/models/doodle/replay", headers=bearer("logs", name="c"), json={"version": 7}), 404)
