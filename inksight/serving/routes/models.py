"""What can be asked: the live models and their classes."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from inksight.serving.live import LiveModel
from inksight.serving.schemas import (
    ClassesResponse,
    ModelName,
    ModelResponse,
    ModelsResponse,
    ModelSummary,
    described,
)
from inksight.serving.services import services

router = APIRouter(prefix="/v1", tags=["models"])


@router.get("/models")
async def models(request: Request) -> ModelsResponse:
    """List the live models, the default first."""
    live = services(request).models.all()
    return ModelsResponse(
        models=[ModelSummary(**_summary(model, default=not index)) for index, model in enumerate(live)]
    )


@router.get("/models/{name}")
async def model(request: Request, name: str) -> ModelResponse:
    """Describe a live model: classes, architecture, data, metrics."""
    live = services(request).models
    found = live.get(name)
    facts = {**found.classifier.description, "classes": found.classes}
    return ModelResponse(**_summary(found, default=found is live.get()), **described(facts))


@router.get("/classes")
async def classes(request: Request, model: str | None = None) -> ClassesResponse:
    """List what a model (by default the first one) can say, in the order of its outputs."""
    found = services(request).models.get(model or None)
    return ClassesResponse(model=ModelName(name=found.name, version=found.version), classes=found.classes)


def _summary(model: LiveModel, *, default: bool) -> dict[str, Any]:
    return {
        "name": model.name,
        "version": model.version,
        "kind": model.classifier.kind,
        "classes": len(model.classes),
        "input_shape": list(model.input_shape),
        "default": default,
        "registered": model.release is not None,
        "since": model.since.isoformat(timespec="seconds"),
        "model_ms": round(model.seconds * 1000, 3),
    }
