"""What surrounds every request: an id, security headers, counts, a log line, and an answer even to a bug.

The outermost layer, written against ASGI itself: a general middleware class costs as much as the model does.
"""

from __future__ import annotations

import logging
import re
import secrets
import time

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from inksight.serving.errors import error_response
from inksight.serving.logs import log
from inksight.serving.metrics import Metrics

REQUEST_ID = "inksight.request_id"
STARTED = "inksight.started"

_GIVEN_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")

HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(self), microphone=(), geolocation=()"),
)
API_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")


class Observe:
    """ASGI middleware around everything else."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics, access_log: bool) -> None:
        self.app = app
        self.metrics = metrics
        self.access_log = access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start = time.perf_counter()
        request_id = _request_id(scope)
        scope[REQUEST_ID] = request_id
        scope[STARTED] = start
        status = 0
        method = scope["method"]
        if method == "HEAD":
            # Whatever can be had has a head, which uptime checks ask for; the server leaves the body out.
            scope = {**scope, "method": "GET"}

        async def finished(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = list(message.get("headers", ()))
                if not any(name == b"content-security-policy" for name, _ in headers):
                    headers.append(API_POLICY)
                message["headers"] = [*headers, *HEADERS, (b"x-request-id", request_id.encode())]
            await send(message)

        self.metrics.started()
        try:
            await self.app(scope, receive, finished)
        except ClientDisconnect:
            # Nobody is left to answer; 499 is what proxies log for it.
            status = status or 499
        except Exception as error:
            log("unhandled error", level=logging.ERROR, error=error, request_id=request_id, path=scope["path"])
            if status:
                raise
            hint = f"The log knows it as {request_id}."
            response = error_response(500, "internal", "something went wrong here", hint)
            await response(scope, receive, finished)
        finally:
            seconds = time.perf_counter() - start
            route = getattr(scope.get("route"), "path", "other")
            self.metrics.finished(method, route, status, seconds)
            if self.access_log:
                log(
                    "request",
                    request_id=request_id,
                    method=method,
                    path=scope["path"],
                    status=status,
                    ms=round(seconds * 1000, 3),
                    client=(scope.get("client") or ("",))[0],
                )


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _GIVEN_ID.fullmatch(value):
            return str(value, "ascii")
    return secrets.token_hex(8)
