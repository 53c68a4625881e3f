"""Behind tokens: the queue of corrections, the prediction log. (Jobs: jobs.py. Versions: versions.py.)"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from itertools import chain, islice
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import AfterValidator, Field
from sqlalchemy import select

from inksight.bundle.description import describe
from inksight.bundle.loading import BUILT_IN, locate
from inksight.errors import UsageError
from inksight.registry import corrections as review
from inksight.registry.kept import read_inputs
from inksight.serving.admin import requires
from inksight.serving.schemas import Shape
from inksight.serving.services import Services, services
from inksight.serving.tokens import Holder

router = APIRouter(prefix="/v1", tags=["admin"])

Review = Annotated[Holder, Depends(requires("review"))]
Logs = Annotated[Holder, Depends(requires("logs"))]
Number = Annotated[int, Path(ge=1, le=2**31 - 1)]

PAGE = 1_000


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("must be in the years 1 to 9999, in UTC") from None


Moment = Annotated[datetime, AfterValidator(_in_utc), Query(description="Without a zone: in UTC.")]


class TokenInfo(Shape):
    """Whose the token is that was sent, and what it allows."""

    name: str
    scopes: list[str]


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


class Share(Shape):
    """A share of `n`, 0..1, with its 95 % interval."""

    share: float
    low: float
    high: float
    n: int


class Agreement(Shape):
    """How often people agreed, over what they said of answers; drawings kept by the infinite game are left out."""

    players_agreed: Share | None = Field(description="Answers that players called right.")
    reviewers_agreed: Share | None = Field(description="Reviewed corrections that were accepted.")


class ClassAgreement(Agreement):
    """Agreement over one label that people gave."""

    label: str


class DayAgreement(Agreement):
    """Agreement over one day, in UTC."""

    day: str = Field(examples=["2026-05-31"])


class Confusion(Shape):
    """What the machine said, and what it was by the review."""

    predicted: str
    label: str
    count: int


class CorrectionCounts(Agreement):
    """How many corrections are in each state, and how far players, reviewers and the machine agree."""

    states: dict[str, int]
    machine_right: Share | None = Field(description="Answers that are what the reviewers settled on.")
    confusions: list[Confusion]
    reviewers: dict[str, int]
    sources: dict[str, int]
    by_class: list[ClassAgreement] = Field(description="The labels that people gave most often.")
    by_day: list[DayAgreement] = Field(description="The last days, the newest last.")


class Labels(Shape):
    """What a correction may be relabelled to."""

    labels: list[str] | None = Field(description="null: the model is not known here any more, and any label will do.")


class Seen(Shape):
    """A correction as a reviewer saw it."""

    state: Literal["pending", "accepted", "relabelled", "rejected"]
    label: str = Field(max_length=200)
    final_label: str | None = Field(default=None, max_length=200)


class Decision(Shape):
    """What a reviewer decides: the label is right, it is another one, or the drawing is of no use."""

    action: Literal["accept", "relabel", "reject"]
    label: str | None = Field(default=None, max_length=200, description="The right label, to relabel.")
    seen: Seen | None = Field(default=None, description="What was decided on; where it has changed, the answer is 409.")


@router.get("/token")
def token(holder: Annotated[Holder, Depends(requires(None))]) -> TokenInfo:
    """Tell what the token allows, so that a page offers only that."""
    return TokenInfo(name=holder.name, scopes=list(holder.scopes))


@router.get("/corrections")
def corrections(
    request: Request,
    holder: Review,
    state: Literal["pending", "accepted", "relabelled", "rejected"] | None = None,
    after: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> CorrectionPage:
    """List corrections, the oldest first."""
    found = review.listing(services(request).storage.database, state=state, after=after, limit=limit)
    return CorrectionPage(corrections=[_correction(row) for row in found])


@router.get("/corrections/statistics")
def statistics(
    request: Request, holder: Review, model: Annotated[str | None, Query(max_length=100)] = None
) -> CorrectionCounts:
    """Count corrections by state, and how often people agreed: in all, by label and by day."""
    return CorrectionCounts(**review.statistics(services(request).storage.database, model=model))


@router.get("/corrections/{number}")
def correction(request: Request, number: Number, holder: Review) -> CorrectionItem:
    """Return one correction."""
    return _correction(review.find(services(request).storage.database, number))


@router.get("/corrections/{number}/labels")
def labels(request: Request, number: Number, holder: Review) -> Labels:
    """List the labels that the model of a correction knows, whether or not it is served now."""
    shared = services(request)
    return Labels(labels=_classes(shared, review.find(shared.storage.database, number).model))


@router.post("/corrections/{number}")
def decide(request: Request, number: Number, decision: Decision, holder: Review) -> CorrectionItem:
    """Accept, relabel or reject a correction; one that was decided may be decided again."""
    shared = services(request)
    database = shared.storage.database
    classes = _classes(shared, review.find(database, number).model) if decision.label else None
    seen = decision.seen.model_dump() if decision.seen else None
    return _correction(
        review.decide(
            database, number, decision.action, reviewer=holder.name, label=decision.label, classes=classes, seen=seen
        )
    )


@router.get(
    "/predictions/export",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/x-ndjson": {}}, "description": "One JSON object per line."}},
)
def export(
    request: Request,
    holder: Logs,
    since: Moment | None = None,
    until: Moment | None = None,
    model: Annotated[str | None, Query(max_length=100)] = None,
) -> StreamingResponse:
    """Stream the logged predictions as JSON lines, the oldest first."""
    lines = _lines(services(request), since, until, model)
    # The first page is asked for now: once streaming has begun, there is no status to send.
    first = list(islice(lines, 1))
    return StreamingResponse(chain(first, lines), media_type="application/x-ndjson")


def _lines(shared: Services, since: datetime | None, until: datetime | None, model: str | None) -> Iterator[bytes]:
    table = shared.storage.tables.Prediction
    names = [column.name for column in table.__table__.columns]
    # The inputs are read a few at a time: those of a thousand photos would take hundreds of megabytes.
    short = [getattr(table, name) for name in names if name != "input"]
    last: tuple[datetime, str] | None = None
    while True:
        # By place, not by offset: rows that arrive or are deleted meanwhile shift nothing, and every page is as fast.
        query = select(*short, table.input.is_not(None).label("kept")).order_by(table.at, table.id).limit(PAGE)
        if since is not None:
            query = query.where(table.at >= since)
        if until is not None:
            query = query.where(table.at < until)
        if model is not None:
            query = query.where(table.model == model)
        if last is not None:
            query = query.where((table.at > last[0]) | ((table.at == last[0]) & (table.id > last[1])))
        with shared.storage.database.read() as session:
            rows = session.execute(query).all()
        inputs = read_inputs(shared.storage.database, [row.id for row in rows if row.kept])
        for row in rows:
            found = {**row._mapping, "input": next(inputs) if row.kept else None}
            yield orjson.dumps({name: found[name] for name in names}) + b"\n"
        if len(rows) < PAGE:
            return
        last = (rows[-1].at, rows[-1].id)


def _correction(row: Any) -> CorrectionItem:
    return CorrectionItem(**{name: getattr(row, name) for name in CorrectionItem.model_fields})


def _classes(shared: Services, model: str) -> list[str] | None:
    live = next((found for found in shared.models.all() if found.name == model), None)
    if live is not None:
        return live.classes
    if model in BUILT_IN:
        return list(describe(locate(model))["classes"])
    with suppress(UsageError):  # it was cleaned away, or served from a folder
        return list(shared.storage.registry.find(model).description["classes"])
    return None
