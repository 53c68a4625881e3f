"""One shape for every error the service answers: `{"error": {"code", "message", "hint"}}`.

Not covered: bytes that are not HTTP at all; uvicorn answers those itself, before there is a request.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from inksight.errors import AwayError, InksightError, UnavailableError, UsageError
from inksight.serving.logs import log

_CODES = {400: "bad_request", 401: "unauthorized", 403: "forbidden", 404: "not_found", 405: "method_not_allowed",
          408: "timeout", 413: "too_large", 415: "unsupported_media_type", 422: "invalid", 429: "rate_limited",
          503: "unavailable"}  # fmt: skip


class TooLargeError(UsageError):
    """The body or the picture exceeds the limit; the hint states the limit."""

    http_status = 413
    code = "too_large"


class MediaTypeError(UsageError):
    """The body is of a kind that the route does not read."""

    http_status = 415
    code = "unsupported_media_type"


class SlowBodyError(UsageError):
    """The body did not arrive in time."""

    http_status = 408
    code = "timeout"


class RateLimitedError(UsageError):
    """The client asks more often than it may."""

    http_status = 429
    code = "rate_limited"


class BusyError(UnavailableError):
    """More requests wait than the queue holds; asking again in a moment helps."""

    code = "busy"


class NotReadyError(UnavailableError):
    """The models are still being loaded and tested."""

    code = "not_ready"


def error_body(code: str, message: str, hint: str = "") -> bytes:
    """Return the JSON bytes of the one error shape."""
    return orjson.dumps({"error": {"code": code, "message": message, "hint": hint}})


def error_response(
    status: int, code: str, message: str, hint: str = "", *, headers: Mapping[str, str] | None = None
) -> Response:
    """Return an error as a response."""
    return Response(
        error_body(code, message, hint),
        status_code=status,
        headers=dict(headers) if headers else None,
        media_type="application/json",
    )


def response_for(error: InksightError) -> Response:
    """Return a deliberate error as a response; an absent part says when to come back."""
    headers = {"Retry-After": "1"} if error.http_status in (429, 503) else None
    if error.http_status in (408, 413):
        # The rest of the body is unread: the connection cannot carry another request.
        headers = {"Connection": "close"}
    if error.http_status == 401:
        headers = {"WWW-Authenticate": "Bearer"}
    if isinstance(error, AwayError):
        log("a part of the service does not answer", level=logging.WARNING, error=error.as_dict())
    message, hint = for_strangers(error)
    return error_response(error.http_status, error.code, message, hint, headers=headers)


def for_strangers(error: InksightError) -> tuple[str, str]:
    """Return the message and the hint that anybody may read: not where the database and the storage are."""
    if isinstance(error, AwayError):
        return "the database or the storage of this service does not answer", "Try again in a moment."
    return error.message, error.hint


def response_for_http(request: Request, error: HTTPException) -> Response:
    """Return an error that FastAPI or Starlette raised (no such route, a broken form) as a response."""
    status = error.status_code
    message, hint = str(error.detail), ""
    if status == 404:
        message, hint = f"there is no {request.url.path}", "GET /openapi.json lists every route."
    elif status == 405:
        allowed = (error.headers or {}).get("Allow", "another method")
        message, hint = f"{request.method} is not allowed here", f"Use {allowed}."
    return error_response(status, _CODES.get(status, "error"), message, hint, headers=error.headers)


def install(app: FastAPI) -> None:
    """Make every way in which a request can fail answer in the one shape."""

    @app.exception_handler(InksightError)
    async def deliberate(_: Request, error: InksightError) -> Response:
        return response_for(error)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        return response_for_http(request, error)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part != "body") or "body"
        return error_response(422, "invalid", f"{where}: {first['msg']}", "GET /openapi.json describes the request.")
