"""Behind tokens: versions and aliases, the queue of corrections, the prediction log, jobs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Literal

import anyio
import orjson
from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import Field
from sqlalchemy import func, select

from inksight.errors import ConflictError, NotFoundError, UsageError
from inksight.serving.admin import requires
from inksight.serving.schemas import Shape
from inksight.serving.services import Services, services
from inksight.serving.tokens import Holder

router = APIRouter(prefix="/v1", tags=["admin"])

Models = Annotated[Holder, Depends(requires("models"))]
Review = Annotated[Holder, Depends(requires("review"))]
Logs = Annotated[Holder, Depends(requires("logs"))]
Number = Annotated[int, Path(ge=1, le=2**31 - 1)]

PAGE = 1_000


class VersionSummary(Shape):
    """A version of a model in the registry."""

    version: int
    aliases: list[str]
    created_at: str
    accuracy: float | None
    bytes: int
    note: str
    live: bool


class AliasesResponse(Shape):
    """A model's aliases and versions, the newest first."""

    name: str
    aliases: dict[str, int]
    versions: list[VersionSummary]


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


class CorrectionItem(Shape):
    """What a person said about an answer, and what became of it."""

    id: int
    at: datetime
    prediction_id: str | None
    model: str
    version: str
    predicted: str
    confidence: float | None
    label: str
    correct: bool
    input_kind: str
    input: dict[str, Any] | None
    state: str
    final_label: str | None
    reviewer: str | None
    reviewed_at: datetime | None


class CorrectionPage(Shape):
    """Corrections, the oldest first; ask again with `after` = the last id for more."""

    corrections: list[CorrectionItem]


class CorrectionCounts(Shape):
    """How many corrections are in each state, and how often players and the machine agreed."""

    states: dict[str, int]
    players_agreed: float | None = Field(description="Share of answers that players called right.")
    reviewers_agreed: float | None = Field(description="Share of reviewed corrections that were accepted.")


class Decision(Shape):
    """What a reviewer decides: the label is right, it is another one, or the drawing is of no use."""

    action: Literal["accept", "relabel", "reject"]
    label: str | None = Field(default=None, max_length=200, description="The right label, to relabel.")


class JobItem(Shape):
    """A piece of work that outlives a process."""

    id: str
    kind: str
    batch: str
    state: str
    attempts: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    error: str | None


class JobPage(Shape):
    """Jobs, the newest first."""

    jobs: list[JobItem]


@router.get("/models/{name}/aliases")
def aliases(request: Request, name: str, holder: Models) -> AliasesResponse:
    """List a model's versions and aliases in the registry."""
    shared = services(request)
    found = shared.storage.registry.versions(name)
    live = {(model.name, model.version) for model in shared.models.all()}
    return AliasesResponse(
        name=name,
        aliases={alias: version.number for version in found for alias in version.aliases},
        versions=[
            VersionSummary(
                version=version.number,
                aliases=list(version.aliases),
                created_at=version.created_at.isoformat(timespec="seconds"),
                accuracy=version.accuracy,
                bytes=version.bytes,
                note=version.note,
                live=(name, str(version.number)) in live,
            )
            for version in found
        ],
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


@router.get("/corrections")
def corrections(
    request: Request,
    holder: Review,
    state: Literal["pending", "accepted", "relabelled", "rejected"] | None = None,
    after: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> CorrectionPage:
    """List corrections, the oldest first."""
    storage = services(request).storage
    table = storage.tables.Correction
    query = select(table).where(table.id > after).order_by(table.id).limit(limit)
    if state is not None:
        query = query.where(table.state == state)
    with storage.database.read() as session:
        return CorrectionPage(corrections=[_correction(row) for row in session.scalars(query)])


@router.get("/corrections/statistics")
def statistics(request: Request, holder: Review) -> CorrectionCounts:
    """Count corrections by state, and how often people agreed."""
    storage = services(request).storage
    table = storage.tables.Correction
    with storage.database.read() as session:
        states = {str(state): int(count) for state, count in session.execute(_counted(table.state))}
        right = {bool(flag): int(count) for flag, count in session.execute(_counted(table.correct))}
    reviewed = sum(states.get(state, 0) for state in ("accepted", "relabelled", "rejected"))
    return CorrectionCounts(
        states=states,
        players_agreed=right.get(True, 0) / sum(right.values()) if right else None,
        reviewers_agreed=states.get("accepted", 0) / reviewed if reviewed else None,
    )


@router.get("/corrections/{number}")
def correction(request: Request, number: Number, holder: Review) -> CorrectionItem:
    """Return one correction."""
    storage = services(request).storage
    with storage.database.read() as session:
        return _correction(_get(session, storage.tables.Correction, number))


@router.post("/corrections/{number}")
def decide(request: Request, number: Number, decision: Decision, holder: Review) -> CorrectionItem:
    """Accept, relabel or reject a correction; one that was decided may be decided again."""
    shared = services(request)
    tables = shared.storage.tables
    if decision.action == "relabel" and not decision.label:
        raise UsageError('"label" is missing', hint="To relabel, say what it is.")
    if decision.action != "relabel" and decision.label:
        raise UsageError('"label" is only for relabel', hint="Leave it out.")
    with shared.storage.database.write() as session:
        row = _get(session, tables.Correction, number)
        _check_label(shared, row.model, decision.label)
        row.state = {"accept": "accepted", "relabel": "relabelled", "reject": "rejected"}[decision.action]
        row.final_label = {"accept": row.label, "relabel": decision.label, "reject": None}[decision.action]
        row.reviewer, row.reviewed_at = holder.name, tables.now()
        session.flush()
        return _correction(row)


@router.get(
    "/predictions/export",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/x-ndjson": {}}, "description": "One JSON object per line."}},
)
def export(
    request: Request,
    holder: Logs,
    since: datetime | None = None,
    until: datetime | None = None,
    model: Annotated[str | None, Query(max_length=100)] = None,
) -> StreamingResponse:
    """Stream the logged predictions as JSON lines, the oldest first."""
    shared = services(request)
    shared.storage.registry  # noqa: B018 - opens the database now: once streaming has begun, there is no status to send
    return StreamingResponse(_lines(shared, since, until, model), media_type="application/x-ndjson")


@router.get("/jobs")
def jobs(request: Request, holder: Models, limit: Annotated[int, Query(ge=1, le=500)] = 50) -> JobPage:
    """List the jobs (trainings, retrains), the newest first."""
    storage = services(request).storage
    table = storage.tables.Job
    with storage.database.read() as session:
        rows = session.scalars(select(table).order_by(table.created_at.desc()).limit(limit))
        return JobPage(jobs=[JobItem(**{name: getattr(row, name) for name in JobItem.model_fields}) for row in rows])


def _lines(shared: Services, since: datetime | None, until: datetime | None, model: str | None) -> Iterator[bytes]:
    table = shared.storage.tables.Prediction
    last: tuple[datetime, str] | None = None
    while True:
        # By place, not by offset: rows that arrive or are deleted meanwhile shift nothing, and every page is as fast.
        query = select(table).order_by(table.at, table.id).limit(PAGE)
        if since is not None:
            query = query.where(table.at >= since)
        if until is not None:
            query = query.where(table.at < until)
        if model is not None:
            query = query.where(table.model == model)
        if last is not None:
            query = query.where((table.at > last[0]) | ((table.at == last[0]) & (table.id > last[1])))
        with shared.storage.database.read() as session:
            rows = list(session.scalars(query))
        for row in rows:
            yield orjson.dumps({column.name: getattr(row, column.name) for column in table.__table__.columns}) + b"\n"
        if len(rows) < PAGE:
            return
        last = (rows[-1].at, rows[-1].id)


def _counted(column: Any) -> Any:
    return select(column, func.count()).group_by(column)


def _get(session: Any, table: Any, number: int) -> Any:
    row = session.get(table, number)
    if row is None:
        raise NotFoundError(f"there is no correction {number}", hint="GET /v1/corrections lists them.")
    return row


def _correction(row: Any) -> CorrectionItem:
    return CorrectionItem(**{name: getattr(row, name) for name in CorrectionItem.model_fields})


def _check_label(shared: Services, model: str, label: str | None) -> None:
    if label is None:
        return
    live = next((found for found in shared.models.all() if found.name == model), None)
    if live is None:
        raise ConflictError(f"the model {model!r} is not served here", hint="Accept or reject, or serve it.")
    if label not in live.classes:
        raise UsageError(f"the model {model!r} has no label {label!r}", hint="GET /v1/classes lists the labels.")
