"""Servers that searches and trainings on a cluster share, and both kinds of database."""

from __future__ import annotations

import pytest

from tests.servers import postgres_server, postgres_url, s3_root, s3_server  # noqa: F401


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def any_database(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The workspace's database on SQLite, and again on PostgreSQL."""
    if request.param == "postgres":
        monkeypatch.setenv("INKSIGHT_DATABASE_URL", request.getfixturevalue("postgres_url"))
