"""Retention: what goes, what stays and why."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, select, update

import inksight.registry.leases as leases_module
from inksight.errors import ConflictError, UsageError
from inksight.registry import Registry
from inksight.registry.tables import Experiment, LeaseRow, Prediction, VersionRow, now
from tests.registry.conftest import Make


def fill(store: Registry, make: Make, count: int, name: str = "a") -> None:
    for index in range(count):
        store.register(make(accuracy=0.5 + index / 100), name)


def numbers(store: Registry, name: str = "a") -> list[int]:
    return [version.number for version in store.versions(name)]


def test_the_newest_are_kept_and_files_go(any_store: Registry, make: Make) -> None:
    fill(any_store, make, 5)
    places = {version.number: version.location for version in any_store.versions("a")}
    copy = any_store.resolve("a:1")
    plan = any_store.clean(keep=2, dry_run=True)
    assert [ref for ref, _ in plan.removed] == ["a:3", "a:2", "a:1"]
    assert numbers(any_store) == [5, 4, 3, 2, 1]
    done = any_store.clean(keep=2)
    assert (done.removed, done.bytes) == (plan.removed, plan.bytes)
    assert numbers(any_store) == [5, 4]
    assert {n for n, place in places.items() if any_store.artifacts.exists(place)} == {4, 5}
    assert not copy.exists()
    assert any_store.register(make(), "a").number == 6  # numbers are never used again
    with pytest.raises(UsageError, match="--keep"):
        any_store.clean(keep=0)


def test_aliases_and_the_way_back_are_kept(any_store: Registry, make: Make) -> None:
    fill(any_store, make, 7)
    any_store.promote("a", 1)
    any_store.promote("a", 2)
    any_store.promote("a", 3)
    any_store.promote("a", 4, alias="candidate", force=True)
    done = any_store.clean(keep=1)
    assert numbers(any_store) == [7, 4, 3, 2]
    assert dict(done.kept) == {
        "a:4": "is candidate",
        "a:3": "is champion",
        "a:2": "champion would roll back to it",
    }
    assert any_store.rollback("a").version.number == 2


def test_a_leased_version_is_kept_until_it_is_released(any_store: Registry, make: Make) -> None:
    fill(any_store, make, 3)
    with any_store.hold(any_store.find("a:1"), "serving"):
        done = any_store.clean(keep=1)
        assert numbers(any_store) == [3, 1]
        assert done.kept[0][0] == "a:1"
        assert "in use: serving" in done.kept[0][1]
    any_store.clean(keep=1)
    assert numbers(any_store) == [3]


def test_a_lease_renews_itself_and_dies_with_its_holder(store: Registry, make: Make) -> None:
    fill(store, make, 2)
    with store.hold(store.find("a:1"), "serving", seconds=0.6):
        time.sleep(1.2)
        store.clean(keep=1)
        assert numbers(store) == [2, 1]
    with store.database.write() as session:  # what a killed holder leaves behind
        row = session.scalars(select(VersionRow).where(VersionRow.number == 1)).one()
        session.add(LeaseRow(id="x", version_id=row.id, holder="dead", expires_at=now() - timedelta(seconds=1)))
    store.clean(keep=1)
    assert numbers(store) == [2]


def test_a_holder_that_outlived_its_lease_takes_it_again(any_store: Registry, make: Make) -> None:
    fill(any_store, make, 3)
    with any_store.hold(any_store.find("a:1"), "serving") as lease:
        with any_store.database.write() as session:  # the database was away for longer than the lease
            session.execute(update(LeaseRow).values(expires_at=now() - timedelta(seconds=1)))
        any_store.clean(keep=3)
        lease.renew()
        done = any_store.clean(keep=1)
        assert "in use: serving" in done.kept[0][1]
        assert numbers(any_store) == [3, 1]
        with any_store.database.write() as session:
            session.execute(delete(LeaseRow))
        any_store.clean(keep=1)
        lease.renew()  # too late
    with any_store.database.read() as session:
        assert session.scalars(select(LeaseRow)).all() == []


def test_a_lease_is_renewed_whatever_went_wrong_before(
    store: Registry, make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fill(store, make, 1)
    renew, tries = leases_module.Lease.renew, list[int]()

    def fail_first(lease: leases_module.Lease) -> None:
        tries.append(1)
        if len(tries) == 1:
            raise RuntimeError("a slip in the code")
        renew(lease)

    monkeypatch.setattr(leases_module.Lease, "renew", fail_first)
    with store.hold(store.find("a:1"), "serving", seconds=0.15):
        deadline = time.monotonic() + 10
        while len(tries) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    assert "a slip in the code" in caplog.text


def test_nothing_can_be_done_with_a_version_that_is_being_removed(store: Registry, make: Make) -> None:
    fill(store, make, 2)
    old = store.find("a:1")
    store.clean(keep=1)
    with pytest.raises(ConflictError, match="removed"):
        store.hold(old, "serving")
    with pytest.raises(ConflictError, match="removed"):
        leases_module.hold(store, old, "copying")


def test_a_clean_that_was_killed_is_finished_by_the_next(store: Registry, make: Make) -> None:
    fill(store, make, 2)
    old = store.find("a:1")
    with store.database.write() as session:
        session.get_one(VersionRow, old.id).state = "deleting"
    assert numbers(store) == [2]
    assert store.artifacts.exists(old.location)
    store.clean(keep=5)
    assert not store.artifacts.exists(old.location)


def test_equal_bundles_share_a_cached_copy(store: Registry, make: Make) -> None:
    bundle = make()
    store.register(bundle, "a")
    store.register(bundle, "a")
    copy = store.resolve("a:1")
    assert store.resolve("a:2") == copy
    store.clean(keep=1)
    assert copy.exists()


def test_only_one_model(store: Registry, make: Make) -> None:
    fill(store, make, 3, "a")
    fill(store, make, 3, "b")
    store.clean("a", keep=1)
    assert numbers(store, "a") == [3]
    assert numbers(store, "b") == [3, 2, 1]


def age(path: Path, seconds: float) -> None:
    for each in [path, *path.rglob("*")] if path.is_dir() else [path]:
        os.utime(each, (time.time() - seconds,) * 2)


def test_failed_runs_and_old_logs(store: Registry) -> None:
    for name, files in {
        "done": ["bundle/model.json", "tensorboard/events.1", "job.log", "history.jsonl"],
        "failed": ["settings.json", "checkpoints/last.pt"],
        "running": ["settings.json"],
    }.items():
        for file in files:
            path = store.runs / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("x")
        age(store.runs / name, 0 if name == "running" else 8 * 86400)
    for index, days in enumerate((1, 8)):
        with store.database.write() as session:
            session.add(
                Prediction(
                    id=str(index), at=now() - timedelta(days=days), model="a", version="1", label="cat",
                    confidence=1.0, input_sha256="0" * 64,
                )
            )  # fmt: skip
    store.clean()  # neither was asked for
    assert len(list(store.runs.iterdir())) == 3
    for dry_run in (True, False):
        report = store.clean(failed=True, logs_older_than=timedelta(days=7), dry_run=dry_run)
        assert report.runs == ["failed"]
        assert report.logs == ["done/job.log", "done/tensorboard/events.1"]
        assert report.predictions == 1
        assert (store.runs / "failed").exists() == dry_run
    left = sorted(path.relative_to(store.runs).as_posix() for path in store.runs.rglob("*") if path.is_file())
    assert left == ["done/bundle/model.json", "done/history.jsonl", "running/settings.json"]
    with store.database.read() as session:
        assert [row.id for row in session.scalars(select(Prediction))] == ["0"]


def test_what_a_running_experiment_counts_is_kept(any_store: Registry) -> None:
    def left() -> set[str]:
        any_store.clean(logs_older_than=timedelta(days=7))
        with any_store.database.read() as session:
            return set(session.scalars(select(Prediction.id)))

    with any_store.database.write() as session:
        began = now() - timedelta(days=9)
        session.add(Experiment(id="e", model="a", mode="split", champion=1, candidate=2, share=0.5, started_at=began))
        for model in ("a", "b"):
            for days in (1, 8, 10):
                session.add(
                    Prediction(
                        id=f"{model}{days}", at=now() - timedelta(days=days), model=model, version="1", label="cat",
                        confidence=1.0, input_sha256="0" * 64,
                    )
                )  # fmt: skip
    assert left() == {"a1", "a8", "b1"}
    with any_store.database.write() as session:
        session.get_one(Experiment, "e").state = "stopped"
    assert left() == {"a1", "b1"}
