"""Running the migrations by hand on a database that is made to look older."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import text
from sqlalchemy.orm import Session

import inksight.registry.database as database_module


def migrate(session: Session, since: str, to: str) -> None:
    """Run the migrations after `since`, up to `to`; the tables must be as they were at `since` where those differ."""
    config = Config()
    config.set_main_option("script_location", str(Path(database_module.__file__).parent / "migrations"))
    config.attributes["connection"] = session.connection()
    session.execute(text("UPDATE alembic_version SET version_num = :since"), {"since": since})
    command.upgrade(config, to)
