"""The SQL database: an SQLite file by default, PostgreSQL by URL. Opening one brings its tables up to date.

    database = Database("sqlite:////home/me/inksight-home/inksight.db")
    with database.read() as session: ...
    with database.write() as session: ...          # committed at the end of the block, rolled back on any error

SQLite runs with a write-ahead log, so that readers never wait, and write blocks take the write lock at their start
(BEGIN IMMEDIATE): a transaction that began by reading could otherwise fail halfway when another one writes first.
On PostgreSQL writers lock the rows they depend on (`lock_model` in versions.py) and see what others have committed by
then (READ COMMITTED). On both, everything that one read block sees is of one moment.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock
from sqlalchemy import Connection, Engine, Insert, Table, create_engine, event, inspect, make_url, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import DeclarativeBase, Session

from inksight.errors import AwayError, ConflictError, MissingPartError, UsageError

HEAD = "0007_experiment_alias"
"""The newest migration, numbered so that text order is time order; a test compares it with the files."""

_BUSY_SECONDS = 30  # how long a writer waits for another on SQLite; write blocks take milliseconds
_MIGRATION_LOCK = 0x1D5167  # the advisory lock's number on PostgreSQL; any fixed one


class Database:
    """A database whose tables are up to date."""

    def __init__(self, url: str) -> None:
        """Connect and migrate; raises UsageError for a bad URL and AwayError when the server does not answer."""
        self.url = parse_url(url)
        self.engine = _engine(self.url)
        self._writer = self.engine.execution_options(writes=True)
        postgres = self.engine.dialect.name == "postgresql"
        # Else an alias that moves between two statements seems to point at a version that was not there yet.
        self._reader = self.engine.execution_options(isolation_level="REPEATABLE READ") if postgres else self.engine
        try:
            with translated(self.url), opening(self.url):
                self._migrate()
        except BaseException:
            self.close()
            raise

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session for reading."""
        with translated(self.url), Session(self._reader, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session whose changes are committed together when the block ends well."""
        with (
            translated(self.url),
            Session(self._writer, expire_on_commit=False) as session,
            session.begin(),
        ):
            yield session

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def _migrate(self) -> None:
        revision = self._revision()
        if revision == HEAD:
            return
        if revision is not None and revision > HEAD:
            raise ConflictError(
                f"the database is of revision {revision}, this Inksight knows {HEAD}", hint="Update Inksight."
            )
        with self._writer.begin() as connection:
            if self.engine.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _MIGRATION_LOCK})
            upgrade(connection)

    def _revision(self) -> str | None:
        with self.engine.connect() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return None
            return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def parse_url(url: str) -> URL:
    """Return a checked database URL; `postgresql://` and `postgres://` mean the psycopg driver.

    A refusal names the driver at most: the URL may hold a password, also where it cannot be read.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # the latter for a port that is no number
        parsed = None
    if parsed is not None and parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed is None or parsed.drivername not in ("sqlite", "postgresql+psycopg"):
        what = "it cannot be read" if parsed is None else f"{parsed.drivername!r} is not supported"
        raise UsageError(
            f"INKSIGHT_DATABASE_URL: {what}",
            hint="Use sqlite:////path/to/file.db or postgresql://user:password@host/database.",
        )
    return parsed


def upgrade(connection: Connection) -> None:
    """Run the migrations that are missing, inside the connection's transaction."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


@contextmanager
def opening(url: URL) -> Iterator[None]:
    """Let one at a time open an SQLite file: turning the write-ahead log on never waits, it fails at once."""
    file = url.database
    if not url.drivername.startswith("sqlite") or not file or file == ":memory:":
        yield
        return
    lock = FileLock(f"{file}.opening")
    try:
        lock.acquire()
    except OSError as error:
        raise AwayError(f"the database {file} cannot be opened: {error.strerror}") from None
    try:
        yield
    finally:
        lock.release()


def insert_new(session: Session, table: Table | type[DeclarativeBase]) -> Insert:
    """Return an insert into a table that passes over rows whose key is there already."""
    if session.get_bind().dialect.name == "postgresql":
        return postgresql.insert(table).on_conflict_do_nothing()
    return sqlite.insert(table).on_conflict_do_nothing()


@contextmanager
def translated(url: URL) -> Iterator[None]:
    """Turn a database that does not answer into AwayError, naming it without its password."""
    shown = url.render_as_string(hide_password=True)
    try:
        yield
    except (OperationalError, DBAPIError) as error:
        if not isinstance(error, OperationalError) and not error.connection_invalidated:
            raise
        hint = "Is the server running, and INKSIGHT_DATABASE_URL right?"
        if url.drivername == "sqlite":
            hint = "Is there space left on its disk, and may it be written to?"
        raise AwayError(f"the database {shown} does not answer: {reason(error)}", hint=hint) from error
    except PoolTimeoutError as error:
        raise AwayError(f"the database {shown} does not answer: all connections to it are in use") from error


def reason(error: DBAPIError) -> str:
    """Return what the database's driver says, in a line."""
    said = str(error.orig).strip()
    return said.splitlines()[0] if said else type(error.orig).__name__


def _engine(url: URL) -> Engine:
    if url.drivername == "sqlite":
        if url.database and url.database != ":memory:":
            try:
                Path(url.database).parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise AwayError(f"the database {url.database} cannot be made: {error.strerror}") from None
        engine = create_engine(url, connect_args={"timeout": _BUSY_SECONDS})
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    try:
        # pre_ping: a server that was restarted costs a reconnect, not a failed request. In UTC, so that days are alike.
        arguments = {"connect_timeout": 10, "options": "-c timezone=utc"}
        return create_engine(url, pool_pre_ping=True, connect_args=arguments)
    except (NoSuchModuleError, ModuleNotFoundError):
        raise MissingPartError(
            "PostgreSQL needs the package psycopg, which is not installed", hint="pip install 'inksight[postgres]'"
        ) from None


def _prepare_sqlite(connection: Any, record: Any) -> None:
    connection.isolation_level = None  # the driver must not begin transactions of its own; _begin_sqlite does
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")  # with WAL: a power cut may lose the last commit, never the file
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
