"""Behind tokens: A/B tests, shadows, and replays of the log."""

from __future__ import annotations

import uuid
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Literal

import anyio
from fastapi import APIRouter, Depends, Query, Request
from pydantic import Field
from sqlalchemy import select

from inksight.errors import ConflictError, NotFoundError, UsageError
from inksight.registry.versions import CHAMPION
from inksight.serving.admin import requires
from inksight.serving.replay import replay
from inksight.serving.schemas import Shape
from inksight.serving.services import Services, services
from inksight.serving.sources import followed_alias
from inksight.serving.tokens import Holder

router = APIRouter(prefix="/v1", tags=["experiments"])

Experiments = Annotated[Holder, Depends(requires("experiments"))]
Logs = Annotated[Holder, Depends(requires("logs"))]


class NewExperiment(Shape):
    """A candidate to try beside the champion that is live."""

    model: str = Field(min_length=1, max_length=100, examples=["doodle"])
    candidate: int = Field(ge=1, le=2**31 - 1, description="The candidate's version.")
    mode: Literal["split", "shadow"] = "split"
    share: float = Field(default=0.5, gt=0, lt=1, description="Part of the visitors that meets the candidate.")
    auto_promote: bool = Field(default=False, description="Promote a winner through the gates.")


class ExperimentItem(Shape):
    """An experiment and what it shows: the verdict of the sequential test, or a shadow's agreement."""

    id: str
    model: str
    alias: str = Field(description="What the service followed at the start; empty for a fixed version.")
    mode: str
    champion: int
    candidate: int
    share: float
    auto_promote: bool
    state: str
    started_by: str
    started_at: datetime
    ended_at: datetime | None
    results: dict[str, Any]


class ExperimentPage(Shape):
    """Experiments, the newest first."""

    experiments: list[ExperimentItem]


class ReplayRequest(Shape):
    """Which version judges the logged inputs again, and how many of them (the newest)."""

    version: int = Field(ge=1, le=2**31 - 1)
    limit: int = Field(default=1000, ge=1, le=20_000)


@router.get("/experiments")
def listing(request: Request, holder: Experiments, limit: Annotated[int, Query(ge=1, le=200)] = 20) -> ExperimentPage:
    """List the experiments, the newest first, with what they show so far."""
    shared = services(request)
    table = shared.storage.tables.Experiment
    with shared.storage.database.read() as session:
        rows = list(session.scalars(select(table).order_by(table.started_at.desc()).limit(limit)))
    return ExperimentPage(experiments=[_item(shared, row) for row in rows])


@router.post("/experiments", status_code=201)
async def start(request: Request, wanted: NewExperiment, holder: Experiments) -> ExperimentItem:
    """Start an A/B test or a shadow of a live model; only one per model and alias runs at a time."""
    shared = services(request)
    row = await anyio.to_thread.run_sync(_start, shared, wanted, holder)
    await shared.experiments.refresh()
    return await anyio.to_thread.run_sync(_find, shared, row)


@router.get("/experiments/{number}")
def one(request: Request, number: str, holder: Experiments) -> ExperimentItem:
    """Return an experiment with what it shows so far."""
    return _find(services(request), number)


@router.post("/experiments/{number}/stop")
async def stop(request: Request, number: str, holder: Experiments) -> ExperimentItem:
    """Stop an experiment: everybody meets the champion again, and a winner that waits is not promoted."""
    shared = services(request)
    found = await anyio.to_thread.run_sync(_find, shared, number)
    before = ("running", "better") if found.auto_promote else ("running",)
    end = partial(shared.experiments.end, number, "stopped", found.results, before=before)
    if not await anyio.to_thread.run_sync(end):
        raise ConflictError(f"experiment {number} has ended already", hint="GET /v1/experiments shows how.")
    await shared.experiments.refresh()
    return await anyio.to_thread.run_sync(_find, shared, number)


@router.post("/models/{name}/replay")
def replay_log(request: Request, name: str, wanted: ReplayRequest, holder: Logs) -> dict[str, Any]:
    """Judge logged inputs again with another version and compare the answers."""
    return replay(services(request).storage, name, wanted.version, limit=wanted.limit)


def _start(shared: Services, wanted: NewExperiment, holder: Holder) -> str:
    live = shared.models.get(wanted.model)
    if live.release is None:
        raise ConflictError(f"{live.name!r} is not served from the registry", hint=_how_to_serve(shared, live.name))
    alias = followed_alias(live) or ""
    if wanted.auto_promote and not alias:
        raise ConflictError(
            f"{live.reference!r} is a fixed version, so a winner could not take its place",
            hint=f"Serve {live.name} or {live.name}@ALIAS, or leave auto_promote out.",
        )
    if not shared.settings.log_predictions:
        raise ConflictError("predictions are not logged, so nothing could be learnt", hint="Serve --log-predictions.")
    if str(shared.storage.registry.find(live.reference).number) != live.version:
        raise ConflictError(f"{live.reference!r} has just moved", hint="Try again in a moment.")
    candidate = shared.storage.registry.find(f"{wanted.model}:{wanted.candidate}")
    if str(candidate.number) == live.version:
        raise ConflictError(f"{candidate.ref} is what answers already", hint="Name another version.")
    if (kind := candidate.description["kind"]) != live.classifier.kind:
        raise ConflictError(f"{candidate.ref} judges {kind}s, the version that answers {live.classifier.kind}s")
    shape = tuple(candidate.description["preprocessing"]["input_shape"])
    if wanted.mode == "shadow" and shape != live.input_shape:
        # It judges the image that the champion saw.
        ours, theirs = (" x ".join(map(str, sides)) for sides in (shape, live.input_shape))
        raise ConflictError(
            f"{candidate.ref} judges images of {ours}, the version that answers {theirs}", hint="Try it as a split."
        )
    tables = shared.storage.tables
    with shared.storage.database.write() as session:
        from inksight.registry.versions import lock_model

        # The lock makes two starts at once happen one after the other, on PostgreSQL too.
        lock_model(session, wanted.model)
        table = tables.Experiment
        same = select(table.id).where(table.model == wanted.model, table.alias == alias, table.state == "running")
        if session.scalars(same).first():
            raise ConflictError(f"an experiment with {live.reference!r} is running", hint="Stop it first.")
        row = table(
            id=str(uuid.uuid4()),
            alias=alias,
            champion=int(live.version),
            started_by=holder.name,
            **wanted.model_dump(),
        )
        session.add(row)
        number: str = row.id
    return number


def _how_to_serve(shared: Services, name: str) -> str:
    try:
        found = shared.storage.registry.find(name)
    except UsageError:  # there is none of that name, or it can be none's
        return "Register it: inksight models push."
    first = "" if CHAMPION in found.aliases else f"inksight models promote {found.ref}, then "
    return f"It is registered: {first}inksight serve {name}@champion."


def _find(shared: Services, number: str) -> ExperimentItem:
    with shared.storage.database.read() as session:
        row = session.get(shared.storage.tables.Experiment, number)
    if row is None:
        raise NotFoundError(f"there is no experiment {number!r}", hint="GET /v1/experiments lists them.")
    return _item(shared, row)


def _item(shared: Services, row: Any) -> ExperimentItem:
    # What an ended experiment showed is what it was decided on.
    results = row.verdict if row.state != "running" and row.verdict else shared.experiments.results(row)
    fields = {name: getattr(row, name) for name in ExperimentItem.model_fields if name != "results"}
    return ExperimentItem(**fields, results=results)
