"""Runs the application with uvicorn: one process, or several that share a port and their counts."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import orjson
import uvicorn
from fastapi import FastAPI
from uvicorn.supervisors import multiprocess

from inksight.config import as_dict
from inksight.data.ensure import find_dataset
from inksight.errors import InksightError, UsageError
from inksight.registry.database import parse_url
from inksight.serving import logs
from inksight.serving.app import create_app
from inksight.serving.live import LiveModels
from inksight.serving.race import MESSAGE_BYTES
from inksight.serving.services import Services, log_failure
from inksight.serving.sources import load_model
from inksight.serving.storage import Storage
from inksight.settings import ServeSettings
from inksight.workspace import workspace

_PLAN = "INKSIGHT_SERVING_PLAN"
"""How a worker process learns what to serve: the settings and models as JSON."""

LEAVE_SECONDS = 0.5
"""How long clients that keep their connections may take to leave them."""


def serve(models: Sequence[str], settings: ServeSettings, *, on_start: Callable[[str], Any] | None = None) -> None:
    """Serve until interrupted; `on_start` gets the address once the models answer.

    Raises UsageError when the port is taken or the database's address is wrong, NotFoundError or DataError when there
    are no such pictures to play with.
    """
    parse_url(workspace().database_url)  # it is opened when first needed, which is too late to be told
    if settings.game_data:
        find_dataset(settings.game_data)
    listener = _listen(settings)
    address = address_of(*listener.getsockname()[:2])

    def started() -> None:
        if on_start is not None:
            on_start(address)

    options: dict[str, Any] = {
        "log_config": logs.config(),
        "access_log": False,
        "server_header": False,
        "timeout_graceful_shutdown": max(1, round(settings.shutdown_grace)),
        # Whoever else connects could write any address into X-Forwarded-For.
        "proxy_headers": bool(settings.trusted_proxies),
        "forwarded_allow_ips": settings.trusted_proxies,
        # The other implementation is built on an interface that its library wants to remove.
        "ws": "websockets-sansio",
        "ws_max_size": MESSAGE_BYTES,
        "ws_per_message_deflate": False,
    }
    if settings.workers == 1:
        app = create_app(settings, models=models)
        server = Server(uvicorn.Config(app, **options))
        shared: Services = app.state.services

        def loaded(failure: InksightError | None) -> None:
            if failure is None:
                rest_collector()
                started()
            else:
                server.should_exit = True  # the command ends with the error as its one message

        shared.on_loaded = loaded
        server.run(sockets=[listener])
        if shared.failure is not None:
            raise shared.failure
        return
    storage = Storage()
    tested = LiveModels()
    for wanted in models:
        # A model that cannot be served must stop the command here: a worker that fails is started again and again.
        model = load_model(storage, wanted)
        if model.release is not None:
            model.release()
        tested.expect_new(model)
        tested.put(model)
    storage.close()
    started()
    with tempfile.TemporaryDirectory(prefix="inksight-metrics-") as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        os.environ[_PLAN] = orjson.dumps({"settings": as_dict(settings), "models": list(models)}).decode()
        config = uvicorn.Config(
            "inksight.serving.run:worker_app",
            factory=True,
            workers=settings.workers,
            # On a busy machine libraries and models take longer to load than the five seconds after which the
            # supervisor would give up a worker's successor.
            timeout_worker_healthcheck=60,
            **options,
        )
        # The supervisor asks nobody which server its workers shall run.
        multiprocess.Process = Worker  # type: ignore[misc]
        multiprocess.Multiprocess(config, sockets=Listeners([listener])).run()


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


class Worker(multiprocess.Process):
    """A worker process with that server."""

    @property
    def server(self) -> uvicorn.Server:
        """The server, made when it is first asked for."""
        if self._server is None:
            self._server = Server(self.config)
        return self._server


class Listeners(list[socket.socket]):
    """The sockets that a worker accepts from: the one that all share, and, made as it starts, one of its own.

    Of connections that come together whoever wakes first takes all, and keeps them: half the time one of two workers
    answered everything. Linux deals connections evenly to the sockets at a port; the shared one holds those that come
    while no worker is there. A worker's own socket ends with it.
    """

    def __reduce__(self) -> tuple[Callable[[socket.socket], list[socket.socket]], tuple[socket.socket]]:
        """Tell how to make it again in the worker's process."""
        return _with_own, (self[0],)


def _with_own(shared: socket.socket) -> list[socket.socket]:
    if sys.platform != "linux":
        return [shared]
    own = socket.socket(shared.family)
    # The connections inherit it; without it, those that this end closed would keep the port for a minute.
    own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    # It listens only when the server starts to accept: until then nothing is dealt to it.
    own.bind(shared.getsockname())
    return [shared, own]


def worker_app() -> FastAPI:
    """Build the application in a worker process from what `serve` left in the environment."""
    plan = orjson.loads(os.environ[_PLAN])
    app = create_app(ServeSettings(**plan["settings"]), models=plan["models"])
    shared: Services = app.state.services

    def loaded(failure: InksightError | None) -> None:
        rest_collector()
        log_failure(failure)

    shared.on_loaded = loaded
    return app


def rest_collector() -> None:
    """Let the garbage collector leave alone what is loaded, and look for cycles less often.

    It went through all that is loaded every 1,700 answers, which stopped them for a tenth of a second and more, and
    through the young objects every eight.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


def address_of(host: str, port: int) -> str:
    """Return where a browser on this machine finds what listens there."""
    host = "127.0.0.1" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    return f"http://{host}:{port}"


def _listen(settings: ServeSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise UsageError(
            f"--host {settings.host} --port {settings.port} cannot be used: {error.strerror or error}",
            hint="Stop what listens there, or give another --port (0 picks a free one).",
        ) from None
    if sys.platform == "linux":
        # Only now, so that a second service at this port was refused.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    # From here on connections wait instead of being refused: the address may be told before a worker accepts them.
    listener.listen(2048)
    listener.set_inheritable(True)
    return listener
