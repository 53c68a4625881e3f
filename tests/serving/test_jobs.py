"""Jobs: real processes that retrain and train beside the service, are cancelled, killed, found after a restart."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select, update

from inksight import registry
from inksight.data import open_dataset
from inksight.errors import ConflictError, NotFoundError
from inksight.improve.job import Pulse
from inksight.improve.retrain import retrain
from inksight.registry import jobs as bookkeeping
from inksight.registry.jobs import LOST, LOST_SECONDS, Jobs
from inksight.registry.tables import Correction, Job, Model, now
from inksight.serving import create_app
from inksight.serving.jobs import SPIN_COUNT
from inksight.settings import RetrainSettings
from tests.improve.planted import MODEL, correct, rings, store_with_model
from tests.serving.conftest import HalvesClassifier, ready
from tests.serving.test_admin import bearer
from tests.serving.test_predict import check_error
from tests.serving.test_process import serve
from tests.waiting import alive

QUICK = {"epochs": 3, "rate": 0.5, "class_margin": 0.2, "overall_margin": 0.1}
ENDLESS = {"epochs": 5000}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a small registered model and accepted corrections of a style that it has never seen."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INKSIGHT_HOME", str(folder / "home"))
        store = store_with_model(folder)
        correct(store, rings(40, seed=1))
        correct(store, rings(5, seed=2), state="pending")
        store.close()
    (folder / "home" / "datasets").mkdir(exist_ok=True)
    shutil.copy(folder / "bars.h5", folder / "home" / "datasets" / "bars.h5")
    return folder / "home"


@pytest.fixture
def workshop(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that workspace, so that each test starts afresh."""
    home = Path(shutil.copytree(trained, tmp_path / "home"))
    monkeypatch.setenv("INKSIGHT_HOME", str(home))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return home


@pytest.fixture
def client(workshop: Path) -> Iterator[TestClient]:
    with TestClient(create_app(models=[HalvesClassifier()])) as client:
        client.headers.update(bearer("jobs", "models"))
        yield ready(client)


def start(client: Any, settings: dict[str, Any], **more: Any) -> dict[str, Any]:
    response = client.post("/v1/jobs", json={"kind": "retrain", "model": MODEL, "settings": settings, **more})
    assert response.status_code == 201, response.text
    return dict(response.json())


def until(client: Any, job: dict[str, Any], wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Ask about a job until it is as wanted; fails when it has ended otherwise."""
    deadline = time.monotonic() + 240
    while True:
        found: dict[str, Any] = client.get(f"/v1/jobs/{job['id']}").json()
        if wanted(found):
            return found
        assert found["state"] not in ("done", "failed", "cancelled"), found
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


def training(job: dict[str, Any]) -> bool:
    """Whether at least one epoch is over."""
    return bool((job["progress"] or {}).get("stage") == "training")


def process_of(store: registry.Registry, job: dict[str, Any]) -> int:
    worker = Jobs(store.database).find(job["id"]).worker
    assert worker is not None
    return int(worker.rpartition(":")[2])


def test_a_retrain_from_the_first_request_to_the_new_champion(client: TestClient) -> None:
    assert client.get("/v1/jobs").json() == {"jobs": [], "to_learn": {MODEL: 40}}
    job = start(client, QUICK)
    assert (job["kind"], job["model"], job["state"]) == ("retrain", MODEL, "waiting")
    busy = until(client, job, training)
    assert busy["state"] == "running"
    assert 0 < busy["progress"]["share"] < 1
    done = until(client, job, lambda found: found["state"] == "done")
    assert (done["result"]["outcome"], done["result"]["version"]) == ("promoted", "bars:2"), done["result"]
    assert done["progress"] is not None
    assert any(line.startswith("judging") for line in done["log"]), done["log"]
    page = client.get("/v1/jobs").json()
    assert [item["id"] for item in page["jobs"]] == [job["id"]]
    assert page["to_learn"] == {}, "what is held back is not counted for ever"


@pytest.mark.usefixtures("any_database")
def test_only_what_a_retrain_would_learn_is_counted(home: Path, tmp_path: Path) -> None:
    store = store_with_model(tmp_path)
    learnt = correct(store, rings(4, seed=1))
    correct(store, rings(9, seed=1))  # four of them again, and five new ones
    correct(store, rings(9, seed=1))
    correct(store, rings(3, seed=2), "dragon")
    correct(store, rings(3, seed=3), input=None)
    with TestClient(create_app(models=[HalvesClassifier()])) as client:
        client.headers.update(bearer("jobs"))
        assert ready(client).get("/v1/jobs").json()["to_learn"] == {MODEL: 9}
        with store.database.write() as session:
            session.execute(update(Correction).where(Correction.id.in_(learnt)).values(split="test"))
        assert client.get("/v1/jobs").json()["to_learn"] == {MODEL: 5}
        with store.database.write() as session:
            session.execute(
                update(Correction).where(Correction.id.in_(learnt)).values(split="train", learnt_in=f"{MODEL}:1")
            )
        assert client.get("/v1/jobs").json()["to_learn"] == {MODEL: 5}
        useless = correct(store, np.zeros((1, 28, 28), np.uint8)) + correct(store, rings(1, seed=4)[:, :9])
        with open_dataset(tmp_path / "bars.h5") as base:
            judged_by = base.images("test")[:1]
        correct(store, judged_by, "upright", split="train", learnt_in=f"{MODEL}:1")
        judged_by[:, 1, 1] ^= 255
        useless += correct(store, judged_by, "upright")
        assert client.get("/v1/jobs").json()["to_learn"] == {MODEL: 8}
        for _ in range(2):
            done = retrain(MODEL, RetrainSettings(at_least=1000), store=store)
            left_out = done.corrections["left_out"]
            assert [left_out[why] for why in ("blank", "unreadable", "conflict")] == [1, 1, 2]
        with store.database.read() as session:
            sides = {row.id: row.split for row in session.scalars(select(Correction))}
        assert {sides[number] for number in useless} == {"out"}
        train = done.corrections["new"]
        assert train <= client.get("/v1/jobs").json()["to_learn"][MODEL] <= 5, "what a retrain left out is not offered"
    store.close()


def test_a_model_without_versions_is_not_offered(client: TestClient) -> None:
    store = registry.open()
    with store.database.write() as session:
        session.add(Model(name="halves"))  # its only upload was killed
        session.add(
            Correction(
                prediction_id="1", model="halves", version="1", predicted="left", confidence=0.5, label="top",
                final_label="top", correct=False, state="accepted", input_kind="strokes", input_sha256="0" * 64,
                input={"strokes": [[[0, 9], [0, 9]]]},
            )
        )  # fmt: skip
    store.close()
    assert client.get("/v1/jobs").json()["to_learn"] == {MODEL: 40}


def test_one_job_of_a_model_at_a_time_and_cancelled(client: TestClient) -> None:
    job = start(client, ENDLESS)
    body = {"kind": "retrain", "model": MODEL}
    assert MODEL in check_error(client.post("/v1/jobs", json=body), 409, "conflict")["message"]
    until(client, job, training)
    cancelled = client.post(f"/v1/jobs/{job['id']}/cancel").json()
    assert cancelled["state"] == "cancelling"
    until(client, job, lambda found: found["state"] == "cancelled")
    check_error(client.post(f"/v1/jobs/{job['id']}/cancel"), 409, "conflict")
    # The slot is free, and the same job goes on at the checkpoint.
    again = start(client, ENDLESS)
    until(client, again, training)
    client.post(f"/v1/jobs/{again['id']}/cancel")
    found = until(client, again, lambda found: found["state"] == "cancelled")
    epochs = [line.split()[1] for line in found["log"] if line.startswith("epoch ")]
    assert epochs, found["log"]
    assert not epochs[0].startswith("1/"), "it began anew"


def test_a_killed_process_is_known_at_once(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOMP_SPINCOUNT")
    job = start(client, ENDLESS)
    until(client, job, training)
    store = registry.open()
    process = process_of(store, job)
    assert f"GOMP_SPINCOUNT={SPIN_COUNT}" in Path(f"/proc/{process}/environ").read_text().split("\0")
    os.kill(process, signal.SIGKILL)
    store.close()
    began = time.monotonic()
    failed = until(client, job, lambda found: found["state"] == "failed")
    assert time.monotonic() - began < LOST_SECONDS / 2
    assert "SIGKILL" in failed["error"]
    assert failed["result"]["error"]["code"] == "job_ended"
    check_error(client.post("/v1/jobs", json={"kind": "retrain", "model": "no-such-model"}), 404)


def test_a_job_outlives_the_service_and_is_found_again(workshop: Path) -> None:
    headers = bearer("jobs")
    with serve() as service:
        with httpx.Client(base_url=service.address, headers=headers, timeout=30) as client:
            job = start(client, ENDLESS)
            until(client, job, training)
        service.process.kill()
    store = registry.open()
    process = process_of(store, job)
    store.close()
    assert alive(process)
    with serve() as service, httpx.Client(base_url=service.address, headers=headers, timeout=30) as client:
        share = until(client, job, lambda found: found["state"] == "running")["progress"]["share"]
        until(client, job, lambda found: found["progress"]["share"] > share)
        client.post(f"/v1/jobs/{job['id']}/cancel")
        until(client, job, lambda found: found["state"] == "cancelled")
        deadline = time.monotonic() + 30
        while alive(process):
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_a_training_is_registered(client: TestClient) -> None:
    body = {"architecture": "simple_cnn", "data": "bars", "settings": {"epochs": 1, "fast": True}}
    response = client.post("/v1/jobs", json={"kind": "train", "model": "fresh", **body})
    assert response.status_code == 201, response.text
    done = until(client, response.json(), lambda found: found["state"] == "done")
    assert done["result"]["version"] == "fresh:1"
    assert 0 <= done["result"]["metrics"]["accuracy"] <= 1


@pytest.mark.parametrize(
    ("body", "status", "named"),
    [
        ({"kind": "retrain", "model": "nothing"}, 404, "nothing"),
        ({"kind": "retrain", "model": "../../etc"}, 422, "etc"),
        ({"kind": "retrain", "model": f"{MODEL}@champion"}, 422, "champion"),
        ({"kind": "retrain", "model": MODEL, "data": "bars"}, 422, "data"),
        ({"kind": "retrain", "model": MODEL, "settings": {"data": "/etc/passwd"}}, 404, "data"),
        ({"kind": "retrain", "model": MODEL, "settings": {"epochs": 0}}, 422, "epochs"),
        ({"kind": "retrain", "model": MODEL, "settings": {"epochs": "inf"}}, 422, "epochs"),
        ({"kind": "retrain", "model": MODEL, "settings": {"epochs": [3]}}, 422, "epochs"),
        ({"kind": "train", "model": "new"}, 422, "architecture"),
        ({"kind": "train", "model": "new", "architecture": "simple_cnn", "data": "../bars"}, 404, "bars"),
        ({"kind": "train", "model": "new", "architecture": "transfer/x", "data": "bars"}, 404, "transfer"),
        (
            {
                "kind": "train",
                "model": "new",
                "architecture": "simple_cnn",
                "data": "bars",
                "settings": {"weights": "x"},
            },
            404,
            "weights",
        ),
    ],
)
def test_what_clients_may_not_ask_starts_nothing(
    client: TestClient, body: dict[str, Any], status: int, named: str
) -> None:
    assert named in check_error(client.post("/v1/jobs", json=body), status)["message"]
    assert client.get("/v1/jobs").json()["jobs"] == []


def test_a_job_says_that_it_lives_whatever_went_wrong_before(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    store = registry.open()
    jobs = Jobs(store.database)
    job = jobs.add("retrain", {}, "one")
    jobs.claim(job.id, "here:1")
    beat, beats = jobs.beat, list[int]()

    def fail_first(job_id: str, progress: dict[str, Any]) -> bool:
        beats.append(1)
        if len(beats) == 1:
            raise RuntimeError("a slip in the code")
        return beat(job_id, progress)

    monkeypatch.setattr(jobs, "beat", fail_first)
    monkeypatch.setattr("inksight.improve.job.BEAT_SECONDS", 0.02)
    with Pulse(jobs, job.id) as progress:
        progress("training", 0.5)
        deadline = time.monotonic() + 10
        while jobs.find(job.id).progress != {"stage": "training", "share": 0.5}:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    store.close()
    assert "a slip in the code" in capfd.readouterr().err


@pytest.mark.parametrize("settings", [{"force": True}, {"overall_margin": 1.0}, {"class_margin": 1.0}])
def test_who_may_not_move_aliases_may_not_change_the_gates_of_a_retrain(
    client: TestClient, settings: dict[str, Any]
) -> None:
    headers = bearer("jobs", name="bob")
    body = {"kind": "retrain", "model": MODEL, "settings": settings}
    check_error(client.post("/v1/jobs", json=body, headers=headers), 403, "forbidden")
    assert client.get("/v1/jobs").json()["jobs"] == []
    # Through the gates it may.
    body["settings"] = {"at_least": 1000}
    assert client.post("/v1/jobs", json=body, headers=headers).status_code == 201


def test_a_job_that_is_done_has_done_all_of_it(home: Path) -> None:
    store = registry.open()
    jobs = Jobs(store.database)
    job = jobs.add("train", {}, "one")
    jobs.claim(job.id, "here:1")
    jobs.beat(job.id, {"stage": "training", "share": 0.5})
    jobs.finish(job.id, {})
    assert jobs.find(job.id).progress == {"stage": "done", "share": 1.0}
    store.close()


def test_the_reason_of_a_failure_is_whole_sentences(home: Path) -> None:
    store = registry.open()
    jobs = Jobs(store.database)
    job = jobs.add("retrain", {}, "one")
    jobs.fail(job.id, ConflictError("one is being retrained already", hint="Wait for it to end."))
    assert jobs.find(job.id).error == "one is being retrained already. Wait for it to end."
    store.close()


def test_silent_jobs_are_lost_and_live_ones_are_not(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = registry.open()
    jobs = Jobs(store.database)
    first = jobs.add("retrain", {}, "one")
    other = jobs.add("retrain", {}, "two")
    with pytest.raises(ConflictError):
        jobs.add("train", {}, "one")
    assert jobs.claim(first.id, "here:1") is not None
    assert jobs.claim(first.id, "here:2") is None, "nobody takes a job twice"
    assert jobs.find(first.id).state == "running"
    assert jobs.beat(first.id, {"share": 0.5})
    later = now() + timedelta(seconds=LOST_SECONDS + 1)
    monkeypatch.setattr(bookkeeping, "now", lambda: later)
    assert jobs.beat(first.id, {"share": 0.6}), "late, and before anybody looked"
    assert (jobs.find(first.id).state, jobs.find(other.id).state) == ("running", "failed")
    assert str(jobs.find(other.id).error).startswith(LOST)
    monkeypatch.setattr(bookkeeping, "now", lambda: later + timedelta(seconds=LOST_SECONDS + 1))
    cancelled = jobs.add("retrain", {}, "two")
    assert jobs.cancel(cancelled.id).state == "cancelling"
    assert jobs.claim(cancelled.id, "here:3") is None
    ended = jobs.find(cancelled.id)
    assert (ended.state, ended.slot) == ("cancelled", None)
    assert not jobs.beat(first.id, {}), "it was lost, and learns it"
    with pytest.raises(NotFoundError):
        jobs.find("nothing")
    with store.database.read() as session:
        assert session.get(Job, first.id).error.startswith(LOST)  # type: ignore[union-attr]
    store.close()
