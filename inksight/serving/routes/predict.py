"""Predictions: one drawing or picture, or several at once.

The functions read the request and write the response by themselves: `Direct` calls them without FastAPI's layers.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response

from inksight.errors import InksightError, UsageError
from inksight.serving.experiments import COOKIE, Dealt
from inksight.serving.inputs import Source, read_many, read_one
from inksight.serving.live import LiveModel
from inksight.serving.observe import STARTED
from inksight.serving.predictor import Answer
from inksight.serving.schemas import BATCH_INPUT, PREDICT_INPUT, BatchResponse, PredictResponse
from inksight.serving.services import Services, services

router = APIRouter(prefix="/v1", tags=["predict"])


@router.post("/predict", response_model=PredictResponse, openapi_extra=PREDICT_INPUT)
async def predict(request: Request) -> Response:
    """Say what a drawing (strokes or a picture of it) or a photo shows."""
    shared = services(request)
    asked = await read_one(request)
    dealt = deal(request, shared, asked.model)
    [source] = asked.sources
    answer = await judge(request, shared, source, dealt)
    return respond({
        "id": answer.id,
        "model": _named(dealt.model),
        "predictions": _ranked(answer, asked.top or shared.settings.top),
        "unsure": answer.unsure,
        "ms": elapsed(request),
    }, dealt)  # fmt: skip


@router.post("/predict/batch", response_model=BatchResponse, openapi_extra=BATCH_INPUT)
async def predict_batch(request: Request) -> Response:
    """Judge several inputs at once; one that cannot be read gets an error in its place, the others their answers."""
    shared = services(request)
    asked = await read_many(request, shared.settings.max_drawings)
    dealt = deal(request, shared, asked.model)
    top = asked.top or shared.settings.top

    async def result(source: Source | UsageError) -> dict[str, Any]:
        try:
            answer = await judge(request, shared, source, dealt)
        except InksightError as error:
            if error.http_status >= 500:
                raise
            return error.as_dict()
        return {"id": answer.id, "predictions": _ranked(answer, top), "unsure": answer.unsure}

    results = await asyncio.gather(*(result(source) for source in asked.sources))
    return respond({"model": _named(dealt.model), "results": results, "ms": elapsed(request)}, dealt)


def deal(request: Request, shared: Services, name: str | None) -> Dealt:
    """Return the version of a model that answers this visitor."""
    model = shared.models.get(name)
    return shared.experiments.deal(model, request.headers, request.cookies)


async def judge(request: Request, shared: Services, source: Source | InksightError, dealt: Dealt) -> Answer:
    """Answer one input, count it and log it; raises the reason why it cannot be read."""
    if isinstance(source, InksightError):
        raise source
    answer = await shared.predictor.answer(source, dealt.model)
    shared.metrics.predicted(dealt.model, source.kind, answer.unsure)
    shared.journal.record(answer, elapsed(request), dealt.extra)
    if dealt.shadow is not None:
        shared.experiments.shadow(dealt.shadow, answer)
    return answer


def _ranked(answer: Answer, top: int) -> list[dict[str, Any]]:
    return [{"label": label, "probability": probability} for label, probability in answer.ranked(top)]


def _named(model: LiveModel) -> dict[str, str]:
    return {"name": model.name, "version": model.version}


def elapsed(request: Request) -> float:
    """Return the milliseconds since the request came in."""
    started: float = request.scope[STARTED]
    return round((time.perf_counter() - started) * 1000, 3)


def respond(value: Any, dealt: Dealt) -> Response:
    """Return an answer as a response that also tells a new visitor who it is."""
    response = Response(orjson.dumps(value), media_type="application/json")
    recognise(response, dealt)
    return response


def recognise(response: Response, dealt: Dealt) -> None:
    """Set the cookie that keeps a new visitor of an experiment with one version."""
    if dealt.new_visitor is not None:
        response.set_cookie(COOKIE, dealt.new_visitor, max_age=30 * 86_400, httponly=True, samesite="strict")
