"""The application: routes, layers and the life of the service, put together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI

from inksight import __version__
from inksight.serving import errors
from inksight.serving.cors import CrossOrigin
from inksight.serving.direct import Direct
from inksight.serving.experiments import HEADER
from inksight.serving.limits import BodyLimit
from inksight.serving.live import Classifier
from inksight.serving.observe import Observe
from inksight.serving.rates import RateLimit
from inksight.serving.routes import ROUTERS, predict
from inksight.serving.routes.page import load_assets, page_router
from inksight.serving.schemas import ErrorResponse
from inksight.serving.services import Services
from inksight.serving.texts import refuse_nul
from inksight.settings import ServeSettings

BUILT_IN = "doodles"
"""The model that answers when none is named: it ships inside the package."""


def create_app(settings: ServeSettings | None = None, *, models: Sequence[str | Classifier] = (BUILT_IN,)) -> FastAPI:
    """Return the service as an ASGI application.

    `models` are what `inksight.load` takes (a bundle's path, a registry name) or loaded classifiers; the first is the
    default. They are loaded when the application starts; `/v1/health/ready` tells when they answer.
    """
    settings = settings or ServeSettings()
    shared = Services(settings, models)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await shared.start()
        yield
        await shared.stop()

    app = FastAPI(
        title="Inksight",
        version=__version__,
        description="Says what a drawing or a photo shows.",
        lifespan=lifespan,
        # The interactive documentation loads scripts from elsewhere; this server works without the internet.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        dependencies=[Depends(refuse_nul)],
        responses={
            "4XX": {"model": ErrorResponse, "description": "The request is at fault."},
            "5XX": {"model": ErrorResponse, "description": "The service is at fault or not ready."},
        },
        # Spans for a collector that is not there cost a tenth of a small model's request.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.services = shared
    for router in ROUTERS:
        app.include_router(router)
    app.include_router(page_router(load_assets()))
    errors.install(app)
    # The last one added is the outermost.
    app.add_middleware(Direct, router=predict.router)
    app.add_middleware(BodyLimit, limit=settings.max_body_bytes, timeout=settings.body_timeout)
    if settings.rate_limit:
        app.add_middleware(RateLimit, rate=settings.rate_limit, burst=settings.rate_burst)
    if settings.cors_origins:
        app.add_middleware(
            CrossOrigin,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", HEADER],
        )
    app.add_middleware(Observe, metrics=shared.metrics, access_log=settings.access_log)
    return app
