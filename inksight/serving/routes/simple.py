"""The simple routes of older clients, as thin adapters, and a word to draw.

/predict, /batch_predict, /health and /classes answer in the shapes that five guides agreed on, more or less.
"""

from __future__ import annotations

import random
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import Field

from inksight.errors import InksightError
from inksight.serving.experiments import Dealt
from inksight.serving.inputs import Picture, Source, read_many, read_one
from inksight.serving.routes.predict import deal, judge, respond
from inksight.serving.schemas import BATCH_INPUT, PREDICT_INPUT, Shape
from inksight.serving.services import Services, services

router = APIRouter(tags=["simple"])

# The guides give every answer the same fields, so that a client may look at "success" alone.


class SimplePrediction(Shape):
    """A class and how sure the model is, 0..1."""

    class_: str = Field(alias="class", examples=["cat"])
    confidence: float = Field(ge=0, le=1)


class SimpleAnswer(Shape):
    """The answer to an image or strokes in JSON."""

    predictions: list[SimplePrediction]
    success: bool


class SimpleFileAnswer(Shape):
    """The answer to a file of a form."""

    filename: str
    class_: str = Field(alias="class", examples=["cat"])
    confidence: float = Field(ge=0, le=1)


class SimpleFileError(Shape):
    """Why one file of a batch got no answer."""

    filename: str
    error: str


class SimpleBatchAnswer(Shape):
    """The answers to several files or inputs, in their order."""

    predictions: list[SimpleFileAnswer | SimpleFileError]
    success: bool


class SimpleHealth(Shape):
    """A sign of life."""

    status: str
    model_loaded: bool


class SimpleClasses(Shape):
    """What the model can say."""

    classes: list[str]
    count: int


class Word(Shape):
    """A class to draw."""

    word: str = Field(examples=["umbrella"])


@router.post("/predict", response_model=SimpleAnswer | SimpleFileAnswer, openapi_extra=PREDICT_INPUT)
async def predict(request: Request) -> Response:
    """Answer `{"image": data-URL}` with ranked classes, or a form's `file` with the best one."""
    shared = services(request)
    asked = await read_one(request)
    dealt = deal(request, shared, asked.model)
    [source] = asked.sources
    answer = await judge(request, shared, source, dealt)
    ranked = [{"class": label, "confidence": share} for label, share in answer.ranked(asked.top or shared.settings.top)]
    if isinstance(source, Picture) and source.from_form:
        return respond({"filename": source.filename, **ranked[0]}, dealt)
    return respond({"predictions": ranked, "success": True}, dealt)


@router.post("/batch_predict", response_model=SimpleBatchAnswer, openapi_extra=BATCH_INPUT)
async def batch_predict(request: Request) -> Response:
    """Answer several files of a form, or `inputs` in JSON, each with its best class."""
    shared = services(request)
    asked = await read_many(request, shared.settings.max_drawings)
    dealt = deal(request, shared, asked.model)
    results = [await _one(request, shared, source, dealt) for source in asked.sources]
    return respond({"predictions": results, "success": all("error" not in result for result in results)}, dealt)


@router.get("/health")
async def health(request: Request) -> SimpleHealth:
    """Tell whether the model is loaded."""
    ready = services(request).ready
    return SimpleHealth(status="healthy" if ready else "loading", model_loaded=ready)


@router.get("/classes")
async def classes(request: Request) -> SimpleClasses:
    """List the classes of the default model."""
    found = services(request).models.get().classes
    return SimpleClasses(classes=found, count=len(found))


@router.get("/v1/words/random")
async def word(request: Request, model: str | None = None) -> Word:
    """Return a random class of a model (by default the first one), to draw."""
    return Word(word=random.choice(services(request).models.get(model or None).classes))


async def _one(request: Request, shared: Services, source: Source | InksightError, dealt: Dealt) -> dict[str, Any]:
    filename = source.filename if isinstance(source, Picture) else ""
    try:
        answer = await judge(request, shared, source, dealt)
    except InksightError as error:
        if error.http_status >= 500:
            raise
        return {"filename": filename, "error": error.message}
    [(label, share)] = answer.ranked(1)
    return {"filename": filename, "class": label, "confidence": share}
