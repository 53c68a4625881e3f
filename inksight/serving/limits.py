"""The body limit: bytes are counted as they arrive, so an endless body costs the limit and not the memory.

A body that is too large gets 413 at once (from its Content-Length) or at the byte that is one too many; a body that
does not arrive in time gets 408. Not limited here: pixels (pictures.py), points (drawing.strokes), time to answer.
"""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from inksight.errors import InksightError
from inksight.serving.errors import SlowBodyError, TooLargeError, response_for


class BodyLimit:
    """ASGI middleware that lets at most `limit` bytes of body through, within `timeout` seconds."""

    def __init__(self, app: ASGIApp, *, limit: int, timeout: float) -> None:
        self.app = app
        self.limit = limit
        self.timeout = timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with a counting `receive`."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self.app(scope, receive, send)
            return
        length = _content_length(scope)
        if length is not None and length > self.limit:
            await response_for(self._too_large())(scope, receive, send)
            return
        received = 0
        complete = False
        failure: InksightError | None = None
        deadline = asyncio.get_running_loop().time() + self.timeout

        async def counted() -> Message:
            nonlocal received, complete, failure
            if complete:
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                failure = SlowBodyError(
                    f"the body did not arrive within {self.timeout:g} s", hint="Send it faster, or in smaller requests."
                )
                raise failure from None
            received += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if received > self.limit:
                failure = self._too_large()
                raise failure
            return message

        async def corrected(message: Message) -> None:
            # Code between here and the route may have turned the failure into an answer of its own (FastAPI makes it
            # a 400): the sender must still learn the reason.
            if failure is None:
                await send(message)
            elif message["type"] == "http.response.start":
                await response_for(failure)(scope, receive, send)

        await self.app(scope, counted, corrected)

    def _too_large(self) -> InksightError:
        return TooLargeError(
            "the body is too large", hint=f"At most {self.limit:,} bytes; scale the picture down or send fewer at once."
        )


def _content_length(scope: Scope) -> int | None:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else None
    return None
