"""What must be true of a registry whatever happened to the processes that use it."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

from sqlalchemy import select

from inksight.registry import Registry
from inksight.registry.tables import Alias, Move, VersionRow


def check(store: Registry) -> None:
    """What must be true of a registry at any moment, read in one transaction."""
    with store.database.read() as session:
        rows = {row.id: row for row in session.scalars(select(VersionRow))}
        aliases = list(session.scalars(select(Alias)))
        moves = list(session.scalars(select(Move).order_by(Move.id)))
    numbers = [row.number for row in rows.values() if row.number is not None]
    assert max(Counter(numbers).values(), default=1) == 1
    assert sorted(numbers) == list(range(1, len(numbers) + 1))  # none lost, none used twice
    for alias in aliases:
        assert rows[alias.version_id].state == "ready", f"{alias.alias} points at a version that is gone"
        last = [move for move in moves if move.alias == alias.alias][-1]
        assert last.to_id == alias.version_id
    for name in {alias.alias for alias in aliases}:  # each move begins where the one before ended
        chain = [move for move in moves if move.alias == name]
        assert [move.from_id for move in chain] == [None, *(move.to_id for move in chain[:-1])]


def check_files(store: Registry, tmp_path: Path) -> None:
    """Every version that is listed can be copied whole; nothing else is stored but what clean knows of."""
    for version in store.versions():
        folder = tmp_path / f"check-{version.number}-{time.monotonic_ns()}"
        folder.mkdir()
        store.artifacts.get(version.location, version.files, folder)
    with store.database.read() as session:
        known = {row.location for row in session.scalars(select(VersionRow)) if row.state != "deleted"}
    root = Path(store.artifacts.root) / "models"
    stored = {f"models/{path.parent.name}/{path.name}" for path in root.glob("*/*")} if root.exists() else set()
    assert stored <= known
