"""The database: migrations equal the tables, several openers at once, clear errors."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import QueuePool, text

import inksight.registry.database as database_module
from inksight.errors import AwayError, ConflictError, UnavailableError, UsageError
from inksight.registry.database import HEAD, Database, parse_url
from inksight.registry.registry import Registry
from inksight.registry.tables import Base, Correction, Job, Prediction
from tests.servers import PostgresServer


def differences(database: Database) -> list[Any]:
    with database.engine.connect() as connection:
        return list(compare_metadata(MigrationContext.configure(connection), Base.metadata))


def test_migrations_make_exactly_the_tables(any_store: Registry) -> None:
    assert differences(any_store.database) == []


def test_the_newest_migration_is_the_one_the_code_knows() -> None:
    scripts = ScriptDirectory(str(Path(database_module.__file__).parent / "migrations"))
    assert scripts.get_heads() == [HEAD]


def open_together(url: str, count: int = 12) -> list[BaseException]:
    errors: list[BaseException] = []

    def one() -> None:
        try:
            database = Database(url)
            assert differences(database) == []
            database.close()
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=one) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def test_several_may_open_a_new_sqlite_file_at_once(tmp_path: Path) -> None:
    for trial in range(5):
        assert open_together(f"sqlite:///{tmp_path / f'{trial}.db'}") == []


@pytest.mark.postgres
def test_several_may_open_a_new_postgres_database_at_once(postgres_url: str) -> None:
    assert open_together(postgres_url) == []


def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new.db'}"
    database = Database(url)
    with database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    database.close()
    with pytest.raises(ConflictError, match="9999"):
        Database(url)


@pytest.mark.postgres
def test_a_database_that_is_refused_is_let_go(postgres_url: str) -> None:
    database = Database(postgres_url)
    with database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with pytest.raises(ConflictError) as caught:
        Database(postgres_url)
    assert caught.value.__traceback__ is not None  # and with it the half-opened database
    deadline = time.monotonic() + 10
    while True:  # the server needs a moment to see that a client has left
        with database.read() as session:
            if (others := session.execute(text(count)).scalar()) == 0 or time.monotonic() > deadline:
                break
        time.sleep(0.05)
    assert others == 0
    database.close()


def test_rows_come_back_as_they_went_in(any_store: Registry) -> None:
    """Times in any zone, nested JSON, None apart from JSON's null."""
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=5)))
    with any_store.database.write() as session:
        session.add(
            Prediction(
                id="p1", at=moment, model="m", version="1", label="Café ☕", confidence=0.25, input_sha256="0" * 64,
                input={"strokes": [[[1, 2], [3, 4]]]},
            )
        )  # fmt: skip
        session.add(Correction(model="m", version="1", predicted="cat", label="dog", correct=False))
        session.add(Job(id="j1", kind="train", spec={"epochs": 3}))
    with any_store.database.read() as session:
        row = session.get_one(Prediction, "p1")
        assert row.at == moment
        assert row.at.tzinfo is UTC
        assert row.label == "Café ☕"
        assert row.input == {"strokes": [[[1, 2], [3, 4]]]}
        assert session.execute(text("SELECT count(*) FROM corrections WHERE input IS NULL")).scalar_one() == 1
        assert session.get_one(Job, "j1").state == "waiting"


def test_a_write_block_that_fails_changes_nothing(any_store: Registry) -> None:
    def fail() -> None:
        with any_store.database.write() as session:
            session.add(Job(id="j1", kind="train", spec={}))
            session.flush()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with any_store.database.read() as session:
        assert session.get(Job, "j1") is None


def test_sqlite_readers_do_not_wait_for_a_writer(store: Registry) -> None:
    with store.database.write() as writer:
        writer.add(Job(id="j1", kind="train", spec={}))
        writer.flush()
        with store.database.read() as reader:
            assert reader.get(Job, "j1") is None


@pytest.mark.parametrize(
    "url", ["mysql://x/y", "nonsense", "postgresql+psycopg2://me:secret@x/y", "postgresql://me:secret@x:y/z", ""]
)
def test_wrong_urls_are_named_without_the_password(url: str) -> None:
    with pytest.raises(UsageError, match="INKSIGHT_DATABASE_URL") as caught:
        parse_url(url)
    assert "secret" not in caught.value.message


def test_no_server_is_said_without_the_password() -> None:
    with pytest.raises(UnavailableError, match="does not answer") as caught:
        Database("postgresql://me:secret@127.0.0.1:9/x")
    assert "secret" not in caught.value.message


def test_an_unwritable_place_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="/proc/nowhere"):
        Database("sqlite:////proc/nowhere/x.db")
    (tmp_path / "x.db.opening").mkdir()
    with pytest.raises(UnavailableError, match=r"x\.db cannot be opened: Is a directory"):
        Database(f"sqlite:///{tmp_path}/x.db")


def test_a_database_whose_connections_are_all_in_use_does_not_answer(
    store: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = store.database.engine.pool
    assert isinstance(pool, QueuePool)
    monkeypatch.setattr(pool, "_timeout", 0.05)
    monkeypatch.setattr(pool, "_max_overflow", 0)
    with ExitStack() as taken:
        for _ in range(pool.size()):
            taken.enter_context(store.database.engine.connect())
        with pytest.raises(AwayError, match="in use"), store.database.read() as session:
            session.get(Job, "j1")


@pytest.mark.postgres
def test_a_restart_of_the_server_costs_an_error_then_works(postgres_server: PostgresServer) -> None:
    database = Database(postgres_server.new_database())
    with database.write() as session:
        session.add(Job(id="j1", kind="train", spec={}))
    postgres_server.stop("immediate")
    try:
        with pytest.raises(UnavailableError), database.read() as session:
            session.get(Job, "j1")
    finally:
        postgres_server.start()
    with database.read() as session:
        assert session.get(Job, "j1") is not None
    database.close()
