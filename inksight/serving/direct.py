"""Routes that are asked often, answered before FastAPI's layers.

Those (exits, telemetry, routers within routers, dependencies, validation) would find nothing to do for a function that
reads its request and writes its response by itself, in a tenth of the time that a drawing takes.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from inksight.errors import InksightError
from inksight.serving.errors import response_for, response_for_http


class Direct:
    """ASGI middleware that answers POST requests at a router's paths by itself and passes on all others."""

    def __init__(self, app: ASGIApp, *, router: APIRouter) -> None:
        self.app = app
        self.routes = {route.path: route for route in router.routes if isinstance(route, APIRoute)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        route = self.routes.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if route is None:
            await self.app(scope, receive, send)
            return
        scope["route"] = route  # its path is what the request is counted under
        request = Request(scope, receive, send)
        try:
            response = await route.endpoint(request)
        except InksightError as error:
            response = response_for(error)
        except HTTPException as error:
            response = response_for_http(request, error)
        await response(scope, receive, send)
