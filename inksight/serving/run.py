"""Runs the application with uvicorn: one process, or several that share a port and their counts."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Sequence
from typing import Any

import uvicorn

from inksight.data.ensure import find_dataset
from inksight.errors import InksightError, UsageError
from inksight.registry.database import parse_url
from inksight.serving import logs
from inksight.serving.app import create_app
from inksight.serving.live import LiveModels
from inksight.serving.race import MESSAGE_BYTES
from inksight.serving.server import Server, rest_collector
from inksight.serving.services import Services
from inksight.serving.sources import load_model
from inksight.serving.storage import Storage
from inksight.serving.workers import run_workers
from inksight.settings import ServeSettings
from inksight.workspace import workspace


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
    run_workers(models, settings, options, listener)


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
