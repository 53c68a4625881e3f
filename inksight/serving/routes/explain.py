"""Why this answer? Which strokes of a drawing mattered, or where in a picture the model looked.

Both leave parts out and ask the live model again (evaluation/explain.py), so they work for every model and need no
PyTorch here. One explanation is computed at a time per process, and a few may wait: predictions go first.
"""

from __future__ import annotations

import asyncio
import base64
import io
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

from fastapi import APIRouter, Request, Response
from pydantic import Field

from inksight.errors import UsageError
from inksight.serving.errors import BusyError
from inksight.serving.inputs import Blank, Picture, StrokeInput, read_one
from inksight.serving.live import LiveModel
from inksight.serving.predictor import read_picture
from inksight.serving.routes.predict import deal, recognise
from inksight.serving.schemas import PREDICT_INPUT, ModelName, Prediction, Shape
from inksight.serving.services import services

router = APIRouter(prefix="/v1", tags=["predict"])

WAITING = 8
"""Explanations that may be under way or wait; one more gets 503. One takes some 200 predictions' time."""

SLOWEST = 0.05
"""Seconds of one prediction beyond which pictures are not explained: 300 of them would take a quarter of a minute."""

_worker = ThreadPoolExecutor(1, thread_name_prefix="explain")
_under_way = 0


class ExplainResponse(Shape):
    """What spoke for the answer."""

    model: ModelName
    prediction: Prediction
    importance: list[float] | None = Field(
        description="Strokes: the log odds, in nats, that the answer loses without each; below 0 it spoke against."
    )
    picture: str | None = Field(description="Pictures: what the model saw, with what mattered in red (PNG, data URL).")


@router.post("/explain", openapi_extra=PREDICT_INPUT)
async def explain(request: Request, response: Response) -> ExplainResponse:
    """Say which strokes mattered for the answer, or show where in the picture the model looked."""
    global _under_way
    shared = services(request)
    asked = await read_one(request)
    dealt = deal(request, shared, asked.model)  # what is explained is the answer that this visitor gets
    [source] = asked.sources
    if isinstance(source, UsageError):
        raise source
    if isinstance(source, Blank):
        raise UsageError("the canvas is blank: there is nothing to explain", hint="Draw something first.")
    if _under_way >= WAITING:
        raise BusyError("too many explanations are under way", hint="Ask again in a moment.")
    recognise(response, dealt)
    _under_way += 1
    try:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(_worker, _explained, source, dealt.model, shared.settings.max_pixels)
    finally:
        _under_way -= 1


def _explained(source: StrokeInput | Picture, model: LiveModel, max_pixels: int) -> ExplainResponse:
    from inksight.evaluation.explain import explain_many, explain_strokes

    # The functions use only what every live model has: classes, kind, shape and predict_proba.
    classifier = cast(Any, model.classifier)
    importance, picture = None, None
    if isinstance(source, StrokeInput):
        strokes = explain_strokes(classifier, source.strokes)
        label, probability = strokes.label, strokes.probability
        importance = [round(float(value), 4) for value in strokes.importance]
    else:
        if model.seconds > SLOWEST:
            raise UsageError(
                f"the model {model.name!r} is too slow to explain pictures here",
                hint="inksight predict --explain does.",
            )
        image = read_picture(source.data, model, max_pixels)
        [seen] = explain_many(classifier, image[None], method="occlusion")
        label, probability = seen.label, seen.probability
        picture = _data_url(seen.picture(448))
    return ExplainResponse(
        model=ModelName(name=model.name, version=model.version),
        prediction=Prediction(label=label, probability=min(1.0, max(0.0, round(float(probability), 6)))),
        importance=importance,
        picture=picture,
    )


def _data_url(pixels: Any) -> str:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
