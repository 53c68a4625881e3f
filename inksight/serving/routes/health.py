"""Signs of life for whatever watches the service, and its counts."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from inksight.serving.errors import NotReadyError, for_strangers
from inksight.serving.metrics import CONTENT_TYPE
from inksight.serving.schemas import HealthResponse, ModelName, ReadyResponse
from inksight.serving.services import services

router = APIRouter(tags=["health"])


@router.get("/v1/health/live")
async def live() -> HealthResponse:
    """Tell that the process answers."""
    return HealthResponse(status="ok")


@router.get("/v1/health/ready")
async def ready(request: Request) -> ReadyResponse:
    """Tell that every model has answered its self-test; 503 until then."""
    shared = services(request)
    if not shared.ready:
        reason = for_strangers(shared.failure)[0] if shared.failure else "the models are being loaded and tested"
        raise NotReadyError(f"not ready: {reason}", hint="Ask again in a moment.")
    models = [ModelName(name=model.name, version=model.version) for model in shared.models.all()]
    return ReadyResponse(status="ready", models=models)


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def metrics(request: Request) -> Response:
    """Return the service's counts in Prometheus' text format."""
    return Response(services(request).metrics.text(), media_type=CONTENT_TYPE)
