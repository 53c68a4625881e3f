"""Registries on every kind of database and storage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from inksight import registry as registry_room
from inksight.registry import Registry
from inksight.workspace import workspace
from tests.registry.made import make_bundle
from tests.servers import postgres_server, postgres_url, s3_root, s3_server  # noqa: F401

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Make one more bundle; see make_bundle."""
    count = 0

    def one(**options: Any) -> Path:
        nonlocal count
        count += 1
        return make_bundle(tmp_path / f"bundle-{count}", **{"salt": str(count), **options})

    return one


@pytest.fixture
def store() -> Iterator[Registry]:
    """A registry on SQLite and a folder."""
    opened = registry_room.open()
    yield opened
    opened.close()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def any_store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """A registry on SQLite, and again on PostgreSQL."""
    if request.param == "postgres":
        monkeypatch.setenv("INKSIGHT_DATABASE_URL", request.getfixturevalue("postgres_url"))
    opened = registry_room.open(workspace())
    yield opened
    opened.close()
