"""Feedback: a person says what a drawing is. It becomes a correction that waits for review."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from fastapi import APIRouter, Request
from pydantic import Field
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from inksight.errors import ConflictError, NotFoundError, UsageError, nearest
from inksight.serving.live import LiveModel
from inksight.serving.schemas import Shape
from inksight.serving.services import Services, services

router = APIRouter(prefix="/v1", tags=["feedback"])

PATIENCE = 1.0
"""Seconds to wait for a prediction that another worker has answered and not written yet."""

FEEDBACK_LOCK = 0x1D5168
"""The advisory locks' first number on PostgreSQL; any fixed one. The second is the prediction's."""


class Feedback(Shape):
    """What a person says about an answer. `label` may be left out when the answer was correct."""

    prediction_id: str = Field(min_length=1, max_length=36, examples=["01a1fd7fd54d29534d1eede85e91"])
    label: str | None = Field(default=None, max_length=200, examples=["cat"])
    correct: bool


class FeedbackResponse(Shape):
    """The correction that was noted."""

    id: int
    prediction_id: str
    label: str
    state: str = Field(examples=["pending"])


@router.post("/feedback", status_code=201)
async def feedback(request: Request, said: Feedback) -> FeedbackResponse:
    """Note whether an answer was right, and what the drawing really is; said again, it replaces what was said."""
    shared = services(request)
    prediction = await _find(shared, said.prediction_id)
    label = said.label or (prediction["label"] if said.correct else None)
    if label is None:
        raise UsageError('"label" is missing', hint="Say what it is, or that the answer was correct.")
    if said.correct != (label == prediction["label"]):
        raise UsageError(
            f'"correct" is {str(said.correct).lower()} but the answer was {prediction["label"]!r} '
            f"and the label is {label!r}",
            hint="Leave the label out, or correct the flag.",
        )
    if label != prediction["label"]:
        await asyncio.to_thread(_check_label, shared, prediction, label)
    number = await asyncio.to_thread(_note, shared, prediction, label, said.correct)
    return FeedbackResponse(id=number, prediction_id=said.prediction_id, label=label, state="pending")


def _check_label(shared: Services, prediction: dict[str, Any], label: str) -> None:
    """Raise UsageError for a label that neither the live version has nor the one that answered.

    They differ in an experiment and after the alias has moved; people choose from the live one's labels all the same.
    """
    live = shared.models.get(prediction["model"])
    if label in live.classes:
        return
    answered = _classes_of(shared, live, prediction["version"])
    if label not in answered:
        close = nearest(label, dict.fromkeys([*live.classes, *answered]))
        hint = f"Did you mean {', '.join(close)}?" if close else "GET /v1/classes lists the labels."
        raise UsageError(f"the model {live.name!r} has no label {label!r}", hint=hint)


def _classes_of(shared: Services, live: LiveModel, version: str) -> list[str]:
    """Return the labels of another version of a model; none where the registry does not know it."""
    if version == live.version or live.release is None:
        return []
    with suppress(UsageError):  # it was cleaned away, or served from elsewhere
        classes: list[str] = shared.storage.registry.find(f"{live.name}:{version}").description["classes"]
        return classes
    return []


async def _find(shared: Services, prediction_id: str) -> dict[str, Any]:
    found = shared.journal.recent(prediction_id)
    for _ in range(5):
        found = found or await asyncio.to_thread(_look_up, shared, prediction_id)
        if found or shared.settings.workers == 1:
            break
        await asyncio.sleep(PAUSE_STEP)
    if found is None:
        raise NotFoundError(
            f"there is no prediction {prediction_id!r}", hint="Use the id of an answer of this service."
        )
    return found


PAUSE_STEP = PATIENCE / 5


def _look_up(shared: Services, prediction_id: str) -> dict[str, Any] | None:
    storage = shared.storage
    with storage.database.read() as session:
        row = session.get(storage.tables.Prediction, prediction_id)
        if row is None:
            return None
        return {column.name: getattr(row, column.name) for column in row.__table__.columns}


def _note(shared: Services, prediction: dict[str, Any], label: str, correct: bool) -> int:
    """Write what was said; of one prediction there is one correction, and until its review the last word counts."""
    storage = shared.storage
    table = storage.tables.Correction
    with storage.database.write() as session:
        _one_at_a_time(session, prediction["id"])
        query = select(table).where(table.prediction_id == prediction["id"], table.source == "feedback")
        row = session.scalars(query.order_by(table.id.desc()).limit(1).with_for_update()).first()
        if row is None:
            row = table(
                prediction_id=prediction["id"],
                model=prediction["model"],
                version=prediction["version"],
                predicted=prediction["label"],
                confidence=prediction["confidence"],
                label=label,
                correct=correct,
                input_kind=prediction["input_kind"],
                input_sha256=prediction["input_sha256"],
                input=prediction["input"],
            )
            session.add(row)
            session.flush()
        elif row.state == "pending":
            row.label, row.correct, row.at = label, correct, storage.tables.now()
        else:
            raise ConflictError("what was said of this answer has been reviewed", hint="It cannot be changed any more.")
        number: int = row.id
    return number


def _one_at_a_time(session: Session, prediction_id: str) -> None:
    """Let two who speak of one prediction at once write one after the other; on SQLite all writers do."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_advisory_xact_lock(FEEDBACK_LOCK, func.hashtext(prediction_id))))
