"""Versions: numbered, immutable uploads of bundles, and finding one by reference.

A version's row exists before its first byte is uploaded, so that nothing a killed process leaves behind is unknown; it
gets its number, and is seen by anyone, only when every byte has been read back and compared.
"""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from inksight.errors import BundleError, ConflictError, NotFoundError, UsageError, unknown
from inksight.registry import notes
from inksight.registry.artifacts import digest_of, table_of
from inksight.registry.database import insert_new
from inksight.registry.store import Store
from inksight.registry.tables import Alias, Metric, Model, VersionRow, now

CHAMPION = "champion"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,99}")
_REFERENCE = re.compile(r"(?P<name>[^@:/\\]+)(?:@(?P<alias>[^@:]+)|:v?(?P<number>\d+))?")


@dataclass(frozen=True)
class Version:
    """One version of a model as it was when it was read; `description` is its model.json."""

    name: str
    number: int
    state: str
    sha256: str
    bytes: int
    parent: str | None
    note: str
    own_note: dict[str, Any] | None
    created_at: datetime
    description: dict[str, Any] = field(repr=False)
    files: dict[str, dict[str, Any]] = field(repr=False)
    location: str = field(repr=False)
    id: int = field(repr=False)
    aliases: tuple[str, ...] = ()

    @property
    def ref(self) -> str:
        """How to name it: `name:3`."""
        return f"{self.name}:{self.number}"

    @property
    def run(self) -> str | None:
        """The name of the training run that it came out of; None for what was made from another version."""
        provenance = self.description.get("provenance") or {}
        return None if "made_from" in provenance else provenance.get("run")

    @property
    def metrics(self) -> dict[str, Any]:
        """The evaluation's summary that the bundle carries; empty when it was never judged."""
        return dict(self.description.get("metrics") or {})

    @property
    def accuracy(self) -> float | None:
        """Top-1 accuracy on the test split, 0..1."""
        value = self.metrics.get("accuracy")
        return None if value is None else float(value)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "ref": self.ref,
            "name": self.name,
            "version": self.number,
            "state": self.state,
            "aliases": list(self.aliases),
            "created_at": self.created_at.isoformat(),
            "parent": self.parent,
            "note": self.note,
            "bytes": self.bytes,
            "sha256": self.sha256,
            "architecture": self.description.get("architecture"),
            "classes": self.description.get("classes"),
            "dataset": self.description.get("dataset"),
            "metrics": self.metrics,
            "settings": self.description.get("settings"),
        }


def check_name(name: str, what: str = "name") -> str:
    """Return a model's or alias's name; raises UsageError when it could be taken for a path or a reference."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{what} {name!r} is not valid",
            hint="Use letters, digits and . _ + - (at most 100), a letter or digit first.",
        )
    return name


def parse(reference: str) -> tuple[str, str | None, int | None]:
    """Split `name`, `name@alias` or `name:3` into (name, alias, number); raises UsageError for anything else."""
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        raise UsageError(f"{reference!r} does not name a model", hint="Write name, name@alias or name:version.")
    name = check_name(match["name"], "model name")
    return name, match["alias"], None if match["number"] is None else int(match["number"])


def lock_model(session: Session, name: str) -> Model:
    """Lock a model's row until the transaction ends, making it first if need be.

    Everything that changes a model's versions, aliases or leases holds this lock, so those changes happen one after
    another. (On SQLite the write transaction itself is the lock, and FOR UPDATE is left out by SQLAlchemy.)
    """
    session.execute(insert_new(session, Model).values(name=name, last_number=0))
    return session.execute(select(Model).where(Model.name == name).with_for_update()).scalar_one()


def register(store: Store, folder: Path, name: str, *, parent: str | None = None, note: str = "") -> Version:
    """Upload a bundle as the next version of `name`; raises BundleError unless it is sound and its graph answers."""
    from inksight.bundle.description import FILES, describe
    from inksight.bundle.files import MEMBERS, check_folder
    from inksight.bundle.loading import load
    from inksight.bundle.selftest import self_test

    check_name(name)
    folder = Path(folder)
    check_folder(folder)
    description = describe(folder)
    files = table_of(folder, [file for file in MEMBERS if (folder / file).exists()])
    for file in FILES:
        if files[file]["sha256"] != description["files"][file]["sha256"]:
            raise BundleError(f"{folder}: {file} is not the file that model.json describes")
    # The gates read what model.json says of the graph; only the graph itself tells whether it works.
    self_test(load(folder))
    if parent is not None:
        parent = find(store, parent).ref
    location = f"models/{name}/{now():%Y%m%d-%H%M%S}-{secrets.token_hex(6)}"
    with store.database.write() as session:
        lock_model(session, name)
        row = VersionRow(
            model=name,
            state="uploading",
            location=location,
            sha256=digest_of(files),
            bytes=sum(int(facts["bytes"]) for facts in files.values()),
            files=files,
            description=description,
            parent=parent,
            dataset_sha256=(description.get("dataset") or {}).get("sha256"),
            note=note,
            own_note=notes.parts(note),
        )
        session.add(row)
        session.flush()
        row_id = row.id
    try:
        store.artifacts.put(folder, location, files)
    except BaseException:
        # Whatever stopped it: say so now. If even that fails, the row stays "uploading" and clean removes it later.
        with store.database.write() as session:
            session.get_one(VersionRow, row_id).state = "failed"
        raise
    with store.database.write() as session:
        model = lock_model(session, name)
        row = session.get_one(VersionRow, row_id)
        if row.state != "uploading":
            raise ConflictError(f"the upload of {name} was cleaned away before it was complete", hint="Push it again.")
        model.last_number += 1
        row.number, row.state, row.ready_at = model.last_number, "ready", now()
        session.add_all(
            Metric(version_id=row_id, name=metric, value=value)
            for metric, value in flat_metrics(description.get("metrics") or {})
        )
        return as_version(row, ())


def flat_metrics(metrics: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Yield every finite number of a nested table of metrics as (path, value), such as per_class/cat/accuracy."""
    for key, value in metrics.items():
        path = f"{prefix}{key}"[:300]
        if isinstance(value, Mapping):
            yield from flat_metrics(value, f"{path}/")
        elif isinstance(value, int | float) and math.isfinite(value):
            yield path, float(value)


def as_version(row: VersionRow, aliases: tuple[str, ...]) -> Version:
    """Return the public form of a row."""
    return Version(
        name=row.model,
        number=row.number or 0,
        state=row.state,
        sha256=row.sha256,
        bytes=row.bytes,
        parent=row.parent,
        note=row.note,
        own_note=row.own_note,
        created_at=row.created_at,
        description=row.description,
        files=row.files,
        location=row.location,
        id=row.id,
        aliases=aliases,
    )


def listing(store: Store, name: str | None = None) -> list[Version]:
    """Return the complete versions, by name, newest first; raises NotFoundError for an unknown name."""
    with store.database.read() as session:
        query = (
            select(VersionRow).where(VersionRow.state == "ready").order_by(VersionRow.model, VersionRow.number.desc())
        )
        if name is not None:
            query = query.where(VersionRow.model == name)
        rows = list(session.scalars(query))
        if name is not None and not rows:
            raise unknown("model", name, _names(session))
        pointing = aliases_of(session, name)
    return [as_version(row, pointing.get(row.id, ())) for row in rows]


def of_run(store: Store, name: str, run: str) -> Version | None:
    """Return the version of `name` that a training run was registered as, None when it was not."""
    return next((version for version in listing(store) if version.name == name and version.run == run), None)


def find(store: Store, reference: str) -> Version:
    """Return the version that `name`, `name@alias` or `name:3` means now; `name` is its champion, else its newest.

    Raises NotFoundError with the nearest names, aliases or numbers.
    """
    name, alias, number = parse(reference)
    with store.database.read() as session:
        # Numbers and names first: a description is long, and services ask every few seconds.
        ready = select(VersionRow.number, VersionRow.id).where(VersionRow.model == name, VersionRow.state == "ready")
        ids = {row.number: row.id for row in session.execute(ready.order_by(VersionRow.number.desc()))}
        if not ids:
            raise unknown("model", name, _names(session))
        pointing = aliases_of(session, name)
        targets = {each: version_id for version_id, names in pointing.items() for each in names}
        if number is not None:
            if number not in ids:
                numbers = ", ".join(map(str, list(ids)[:20]))
                raise NotFoundError(f"{name} has no version {number}", hint=f"Versions: {numbers}")
            wanted = ids[number]
        elif alias is not None and alias not in targets:
            raise unknown("alias", alias, targets, option=name)
        else:
            wanted = targets.get(alias or CHAMPION, next(iter(ids.values())))
        return as_version(session.get_one(VersionRow, wanted), pointing.get(wanted, ()))


def lineage(store: Store, version: Version) -> list[str]:
    """Return the references of a version and its ancestors, the nearest first, up to one that was cleaned away."""
    known = {found.ref: found for found in listing(store, version.name)}
    refs = [version.ref]
    while (parent := known[refs[-1]].parent) in known and parent not in refs:
        refs.append(parent)
    return refs


def _names(session: Session) -> list[str]:
    return list(session.scalars(select(VersionRow.model).where(VersionRow.state == "ready").distinct()))


def aliases_of(session: Session, name: str | None) -> dict[int, tuple[str, ...]]:
    """Return the aliases by version id, of one model or of all."""
    query = select(Alias).order_by(Alias.alias)
    if name is not None:
        query = query.where(Alias.model == name)
    table: dict[int, tuple[str, ...]] = {}
    for row in session.scalars(query):
        table[row.version_id] = (*table.get(row.version_id, ()), row.alias)
    return table
