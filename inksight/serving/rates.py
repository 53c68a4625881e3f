"""Rate limits per client: a bucket of tokens for each address, refilled steadily.

Counted per worker process: with several workers a client may have up to that many times the rate. The addresses that
were quiet the longest are forgotten, so that a crowd costs bounded memory. Health, metrics and the page's files are not
limited.
"""

from __future__ import annotations

import time
from collections import OrderedDict

from starlette.types import ASGIApp, Receive, Scope, Send

from inksight.serving.errors import RateLimitedError, response_for

CLIENTS = 10_000
_FREE = ("/v1/health", "/metrics", "/web/", "/health")


class RateLimit:
    """ASGI middleware that lets each client ask `rate` times a second, and `burst` times at once."""

    def __init__(self, app: ASGIApp, *, rate: float, burst: int) -> None:
        self.app = app
        self.rate = rate
        self.burst = burst
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 429."""
        limited = scope["type"] == "http" and scope["path"] != "/" and not scope["path"].startswith(_FREE)
        if limited and not self._take((scope.get("client") or ("",))[0], time.monotonic()):
            error = RateLimitedError(f"more than {self.rate:g} requests per second", hint="Slow down; try again soon.")
            await response_for(error)(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _take(self, client: str, now: float) -> bool:
        tokens, then = self._buckets.pop(client, (float(self.burst), now))
        tokens = min(self.burst, tokens + (now - then) * self.rate)
        allowed = tokens >= 1
        self._buckets[client] = (tokens - 1 if allowed else tokens, now)
        if len(self._buckets) > CLIENTS:
            self._buckets.popitem(last=False)
        return allowed
