"""uvicorn's server, made to part from its clients, in a process whose garbage collector rests."""

from __future__ import annotations

import asyncio
import gc
import socket
import time

import uvicorn

LEAVE_SECONDS = 0.5
"""How long clients that keep their connections may take to leave them."""


class Server(uvicorn.Server):
    """A server that at its end asks clients to leave, before it closes the connections that they keep.

    Closed at once, a connection is reset where the next request is just under way on it.
    """

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more, answer for a moment with `Connection: close`, then finish what is in flight."""
        for server in self.servers:
            server.close()
        self.server_state.default_headers = [*self.server_state.default_headers, (b"connection", b"close")]
        end = time.monotonic() + LEAVE_SECONDS
        while self.server_state.connections and not self.force_exit and time.monotonic() < end:
            await asyncio.sleep(0.02)
        await super().shutdown(sockets)


def rest_collector() -> None:
    """Let the garbage collector leave alone what is loaded, and look for cycles less often.

    It went through all that is loaded every 1,700 answers, which stopped them for a tenth of a second and more, and
    through the young objects every eight.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)
