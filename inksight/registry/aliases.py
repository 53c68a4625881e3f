"""Aliases: names that point at one version of a model, moved in a transaction and only through the gates.

`champion` is what `name` alone means. Every move is kept, with the gates' answers and whether it was forced.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from inksight.config import resolve
from inksight.errors import ConflictError, NotFoundError
from inksight.registry import gates, notes
from inksight.registry.copies import local_copy
from inksight.registry.store import Store
from inksight.registry.tables import Alias, Move, VersionRow, now
from inksight.registry.versions import (
    CHAMPION,
    Version,
    aliases_of,
    as_version,
    check_name,
    find,
    listing,
    lock_model,
)
from inksight.settings import GateSettings


@dataclass(frozen=True)
class Promotion:
    """What a promotion or a rollback did; `previous` is the number the alias pointed at before."""

    version: Version
    alias: str
    previous: int | None
    answers: list[gates.Answer]
    forced: bool
    moved: bool

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "version": self.version.ref,
            "alias": self.alias,
            "previous": self.previous,
            "gates": [answer.as_dict() for answer in self.answers],
            "forced": self.forced,
            "moved": self.moved,
        }


@dataclass(frozen=True)
class PastMove:
    """One entry of an alias's history; numbers are of versions, None for nothing."""

    alias: str
    action: str
    previous: int | None
    number: int
    forced: bool
    gates: list[dict[str, Any]]
    note: str
    own_note: dict[str, Any] | None
    at: datetime


def promote(
    store: Store,
    name: str,
    number: int | None = None,
    *,
    alias: str = CHAMPION,
    settings: GateSettings | None = None,
    evidence: gates.Evidence | None = None,
    force: bool = False,
    note: str = "",
) -> Promotion:
    """Point an alias at a version (None: the newest) if it passes the gates against the one it points at now.

    `settings` default to what the environment says (INKSIGHT_GATES_...), as on the command line.
    `force` moves it all the same and is recorded with the answers. Raises GateError with the gates' numbers,
    NotFoundError, and ConflictError when version or champion changed meanwhile.
    """
    settings = settings or resolve(GateSettings)
    check_name(alias, "alias")
    candidate = listing(store, name)[0] if number is None else find(store, f"{name}:{number}")
    latency = latency_of(store, candidate, settings)
    with store.database.write() as session:
        lock_model(session, name)
        row = session.get_one(VersionRow, candidate.id)
        if row.state != "ready":
            raise ConflictError(f"{candidate.ref} was removed meanwhile")
        pointer = session.get(Alias, (name, alias))
        current = session.get_one(VersionRow, pointer.version_id) if pointer else None
        champion = as_version(current, (alias,)) if current else None
        if evidence and champion and evidence.champion != champion.ref:
            raise ConflictError(
                f"{name}@{alias} became {champion.ref} while {evidence.champion} was judged", hint="Run it again."
            )
        previous = None if champion is None else champion.number
        if champion is not None and champion.id == candidate.id:
            return Promotion(candidate, alias, previous, [], False, moved=False)
        answers = gates.judge(candidate, champion, settings, evidence=evidence, latency_ms=latency)
        passed = all(answer.passed for answer in answers)
        if not passed and not force:
            raise gates.Refused(candidate, alias, answers)
        forced = force and not passed
        _point(session, name, alias, pointer, candidate.id, "promote", forced, [a.as_dict() for a in answers], note)
        session.flush()
        version = as_version(row, aliases_of(session, name).get(row.id, ()))
    return Promotion(version, alias, previous, answers, forced, moved=True)


def judged(store: Store, name: str, number: int, *, alias: str = CHAMPION) -> list[gates.Answer]:
    """Return what the gates say of a version against the one that the alias points at; nothing moves."""
    settings = resolve(GateSettings)
    candidate = find(store, f"{name}:{number}")
    try:
        champion = find(store, f"{name}@{alias}")
    except NotFoundError:
        champion = None
    return gates.judge(candidate, champion, settings, latency_ms=latency_of(store, candidate, settings))


def latency_of(store: Store, candidate: Version, settings: GateSettings) -> float | None:
    """Return the milliseconds that a prediction takes, measured only where a gate limits them."""
    return None if settings.max_latency_ms is None else gates.measure_latency(local_copy(store, candidate))


def rollback(store: Store, name: str, *, alias: str = CHAMPION, to: int | None = None, note: str = "") -> Promotion:
    """Point an alias back at the version before the present one, or at number `to`, without asking the gates.

    Rolling back again goes one step further back. Raises ConflictError when there is nothing to go back to.
    """
    listing(store, name)  # names the nearest ones if it is unknown
    with store.database.write() as session:
        lock_model(session, name)
        pointer = session.get(Alias, (name, alias))
        if pointer is None:
            raise NotFoundError(
                f"{name} has no alias {alias!r}", hint=f"inksight models promote {name} --alias {alias}"
            )
        if to is None:
            target = previous_target(session, name, alias)
        else:
            query = select(VersionRow).where(
                VersionRow.model == name, VersionRow.number == to, VersionRow.state == "ready"
            )
            target = session.scalars(query).one_or_none()
        if target is None or target.id == pointer.version_id:
            wanted = "earlier version that is still there" if to is None else f"other version {to}"
            raise ConflictError(
                f"{name}@{alias} cannot be rolled back: there is no {wanted}", hint=f"inksight models list {name}"
            )
        before = session.get_one(VersionRow, pointer.version_id).number
        _point(session, name, alias, pointer, target.id, "rollback", False, [], note)
        session.flush()
        version = as_version(target, aliases_of(session, name).get(target.id, ()))
    return Promotion(version, alias, before, [], False, moved=True)


def history(store: Store, name: str) -> list[PastMove]:
    """Return all moves of a model's aliases, newest first."""
    with store.database.read() as session:
        moves = list(session.scalars(select(Move).where(Move.model == name).order_by(Move.id.desc())))
        rows = session.scalars(select(VersionRow).where(VersionRow.model == name))
        numbers = {row.id: row.number or 0 for row in rows}
    return [
        PastMove(
            alias=move.alias,
            action=move.action,
            previous=None if move.from_id is None else numbers[move.from_id],
            number=numbers[move.to_id],
            forced=move.forced,
            gates=move.gates,
            note=move.note,
            own_note=move.own_note,
            at=move.at,
        )
        for move in moves
    ]


def rollback_targets(store: Store, name: str) -> dict[str, int]:
    """Return the number that a rollback of each alias would go to; those that cannot go back are left out."""
    with store.database.read() as session:
        rows = {
            alias: previous_target(session, name, alias)
            for alias in session.scalars(select(Alias.alias).where(Alias.model == name))
        }
    return {alias: row.number for alias, row in rows.items() if row is not None and row.number is not None}


def previous_target(session: Session, name: str, alias: str) -> VersionRow | None:
    """Return the version that a rollback of the alias would go to.

    The moves are replayed as a stack: a promotion lays its version on top, a rollback takes versions off down to the
    one it went to. Versions that are gone are passed over.
    """
    stack: list[int] = []
    query = select(Move).where(Move.model == name, Move.alias == alias).order_by(Move.id)
    for move in session.scalars(query):
        if move.action == "rollback" and move.to_id in stack[:-1]:
            stack.pop()
            while stack[-1] != move.to_id:
                stack.pop()
        else:
            stack.append(move.to_id)
    for version_id in reversed(stack[:-1]):
        row = session.get_one(VersionRow, version_id)
        if row.state == "ready" and version_id != stack[-1]:
            return row
    return None


def _point(
    session: Session,
    name: str,
    alias: str,
    pointer: Alias | None,
    version_id: int,
    action: str,
    forced: bool,
    answers: list[dict[str, Any]],
    note: str,
) -> None:
    session.add(
        Move(
            model=name,
            alias=alias,
            action=action,
            from_id=pointer.version_id if pointer else None,
            to_id=version_id,
            forced=forced,
            gates=answers,
            note=note,
            own_note=notes.parts(note),
        )
    )
    if pointer is None:
        session.add(Alias(model=name, alias=alias, version_id=version_id))
    else:
        pointer.version_id, pointer.moved_at = version_id, now()
