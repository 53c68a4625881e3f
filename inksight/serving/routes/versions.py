"""Behind tokens: a model's versions and aliases in the registry; promote through the gates, roll back."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import anyio
from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import Field

from inksight.registry.versions import Version
from inksight.serving.admin import requires
from inksight.serving.schemas import Described, Shape, described
from inksight.serving.services import Services, services
from inksight.serving.tokens import Holder

router = APIRouter(prefix="/v1", tags=["admin"])

Models = Annotated[Holder, Depends(requires("models"))]
Number = Annotated[int, Path(ge=1, le=2**31 - 1)]

MOVES = 20
"""Moves of aliases that are listed."""


class OwnNote(Shape):
    """A note that the program wrote, for those who say it in another language."""

    code: str = Field(examples=["retrained"])
    values: dict[str, str] = Field(examples=[{"parent": "doodle:1", "count": "40"}])


class VersionSummary(Shape):
    """A version of a model in the registry."""

    version: int
    aliases: list[str]
    created_at: str
    accuracy: float | None
    accuracy_interval: list[float] | None = Field(description="95 %, low and high.")
    bytes: int
    note: str
    own_note: OwnNote | None = Field(description="The note in parts, if the program wrote it.")
    live: bool


class PastMove(Shape):
    """A promotion or rollback, with what the gates said; `previous` is where the alias pointed before."""

    alias: str
    action: str = Field(examples=["promote"])
    previous: int | None
    version: int
    forced: bool
    gates: list[dict[str, Any]]
    note: str
    own_note: OwnNote | None
    at: datetime


class AliasesResponse(Shape):
    """A model's aliases, versions and the last moves of aliases, the newest first."""

    name: str
    aliases: dict[str, int]
    rollbacks: dict[str, int] = Field(description="Where a rollback of an alias would go, if it can go back.")
    versions: list[VersionSummary]
    moves: list[PastMove]


class VersionResponse(VersionSummary, Described):
    """One version with what its bundle says of itself."""


class GateAnswer(Shape):
    """What a gate says: in words, and as a reason with its values for whoever puts it in words of another language."""

    gate: str = Field(examples=["overall"])
    passed: bool
    detail: str
    reason: str
    values: dict[str, Any]


class GatesResponse(Shape):
    """Whether a version would be promoted, and why."""

    passed: bool
    gates: list[GateAnswer]


class MoveAlias(Shape):
    """Promote a version through the gates, or roll an alias back."""

    action: Literal["promote", "rollback"] = "promote"
    alias: str = Field(default="champion", min_length=1, max_length=100)
    version: int | None = Field(default=None, ge=1, le=2**31 - 1, description="Promote: default the newest.")
    force: bool = Field(default=False, description="Move although a gate says no; this is recorded.")
    note: str = Field(default="", max_length=1000)


class Moved(Shape):
    """What a move did, with the gates' numbers; `live` is the version that answers here now."""

    version: str
    alias: str
    previous: int | None
    gates: list[dict[str, Any]]
    forced: bool
    moved: bool
    live: str | None


@router.get("/models/{name}/aliases")
def aliases(request: Request, name: str, holder: Models) -> AliasesResponse:
    """List a model's versions, its aliases and how they moved."""
    shared = services(request)
    registry = shared.storage.registry
    found = registry.versions(name)
    return AliasesResponse(
        name=name,
        aliases={alias: version.number for version in found for alias in version.aliases},
        rollbacks=registry.rollback_targets(name),
        versions=[VersionSummary(**_summary(shared, version)) for version in found],
        moves=[
            PastMove(
                alias=move.alias,
                action=move.action,
                previous=move.previous,
                version=move.number,
                forced=move.forced,
                gates=move.gates,
                note=move.note,
                own_note=_own(move.own_note),
                at=move.at,
            )
            for move in registry.history(name)[:MOVES]
        ],
    )


@router.get("/models/{name}/versions/{number}")
def version(request: Request, name: str, number: Number, holder: Models) -> VersionResponse:
    """Describe one version, live or not: classes, architecture, data, metrics."""
    shared = services(request)
    found = shared.storage.registry.find(f"{name}:{number}")
    return VersionResponse(**_summary(shared, found), **described(found.description))


@router.get("/models/{name}/versions/{number}/gates")
def gates(
    request: Request,
    name: str,
    number: Number,
    holder: Models,
    alias: Annotated[str, Query(min_length=1, max_length=100)] = "champion",
) -> GatesResponse:
    """Say what the gates think of a version beside the one that the alias points at; nothing moves."""
    answers = services(request).storage.registry.judged(name, number, alias=alias)
    return GatesResponse(
        passed=all(answer.passed for answer in answers), gates=[GateAnswer(**answer.as_dict()) for answer in answers]
    )


@router.post("/models/{name}/aliases")
async def move_alias(request: Request, name: str, move: MoveAlias, holder: Models) -> Moved:
    """Promote or roll back; the services follow, this worker before it answers."""
    shared = services(request)
    note = f"{move.note} ({holder.name})".strip()
    registry = await anyio.to_thread.run_sync(lambda: shared.storage.registry)

    def act() -> Any:
        if move.action == "rollback":
            return registry.rollback(name, alias=move.alias, to=move.version, note=note)
        return registry.promote(name, move.version, alias=move.alias, force=move.force, note=note)

    done = await anyio.to_thread.run_sync(act)
    await shared.follower.follow()
    live = {model.name: model.version for model in shared.models.all()}
    return Moved(**done.as_dict(), live=live.get(name))


def _summary(shared: Services, version: Version) -> dict[str, Any]:
    return {
        "version": version.number,
        "aliases": list(version.aliases),
        "created_at": version.created_at.isoformat(timespec="seconds"),
        "accuracy": version.accuracy,
        "accuracy_interval": version.metrics.get("accuracy_interval"),
        "bytes": version.bytes,
        "note": version.note,
        "own_note": _own(version.own_note),
        "live": any((live.name, live.version) == (version.name, str(version.number)) for live in shared.models.all()),
    }


def _own(parts: dict[str, Any] | None) -> OwnNote | None:
    return None if parts is None else OwnNote(**parts)
