"""Where studies are kept: in the workspace's database, so that they outlive a crash and workers share them.

Optuna's tables live in a file of their own beside the SQLite database, and in a schema of their own on PostgreSQL:
like ours they are migrated with Alembic, and two sets of migrations cannot share one `alembic_version` table.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from sqlalchemy import create_engine, event, make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from inksight.errors import InksightError, UnavailableError
from inksight.registry.database import opening, reason
from inksight.workspace import workspace

SCHEMA = "tuning"
# A worker that was killed stops answering; after a grace period of two minutes its trial is failed and tried again.
HEARTBEAT_SECONDS = 30
# A server that restarts in the middle of a search is waited for so long.
PATIENCE = 300.0
# Optuna asks which tables are there and then makes them: two that meet a new database at once fail.
_OPENING_LOCK = 0x1D5168  # the advisory lock's number on PostgreSQL; beside the registry's


def open_storage() -> RDBStorage:
    """Return the storage of the workspace's studies; raises UnavailableError when the server does not answer."""
    place = workspace()
    url = make_url(place.database_url)
    try:
        if url.drivername.startswith("sqlite"):
            file = Path(url.database or place.home / "inksight.db").with_name("tuning.db")
            file.parent.mkdir(parents=True, exist_ok=True)
            url = url.set(database=str(file))
            with opening(url):
                # Several workers write; the default of 5 s is short for a busy disk.
                return _storage(url, {"connect_args": {"timeout": 60}})
        url = url.set(drivername="postgresql+psycopg")
        engine = create_engine(url)
        try:
            with engine.connect() as connection:
                connection.execute(text("SELECT pg_advisory_lock(:number)"), {"number": _OPENING_LOCK})
                connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
                connection.commit()  # the lock is the connection's and stays until that is closed
                # No pool: studies are opened often and briefly, and a server that was restarted is met afresh.
                options = {"connect_args": {"options": f"-csearch_path={SCHEMA}"}, "poolclass": NullPool}
                storage = _storage(url, options)
                event.listen(storage.engine, "do_connect", _connect)
                return storage
        finally:
            engine.dispose()
    except DBAPIError as error:
        raise UnavailableError(f"the database does not answer: {reason(error)}", hint=url.render_as_string()) from None


def _storage(url: URL, options: dict[str, Any]) -> RDBStorage:
    """Open the storage, making its tables first if need be; to be called by one process at a time."""
    return RDBStorage(
        url.render_as_string(hide_password=False),
        engine_kwargs=options,
        heartbeat_interval=HEARTBEAT_SECONDS,
        heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(max_retry=2),
    )


def _connect(dialect: Any, record: Any, cargs: Any, cparams: Any) -> Any:
    """Connect to a server that has answered before, and may be restarting."""
    end, told = time.monotonic() + PATIENCE, False
    while True:
        try:
            return dialect.connect(*cargs, **cparams)
        except dialect.loaded_dbapi.OperationalError:
            if time.monotonic() > end:
                raise
            if not told:
                print(
                    f"the database does not answer; waiting up to {PATIENCE:.0f} s for it", file=sys.stderr, flush=True
                )
                told = True
            time.sleep(1)


@contextmanager
def outages_told() -> Iterator[None]:
    """Turn what the loss of the database raises inside the block into UnavailableError."""
    try:
        yield
    except InksightError:
        raise
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, DBAPIError):
            cause = cause.__cause__ or cause.__context__
        if cause is None:
            raise
        raise UnavailableError(
            f"the database was lost: {reason(cause)}", hint="The same command goes on with it."
        ) from None
