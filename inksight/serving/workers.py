"""Several processes that share a port and their counts, and the one that watches over them."""

from __future__ import annotations

import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from multiprocessing import parent_process
from multiprocessing.connection import wait
from typing import Any

import orjson
import uvicorn
from fastapi import FastAPI
from uvicorn.supervisors import multiprocess

from inksight.config import as_dict
from inksight.errors import InksightError
from inksight.serving.app import create_app
from inksight.serving.server import LEAVE_SECONDS, Server, rest_collector
from inksight.serving.services import Services, log_failure
from inksight.settings import ServeSettings

_PLAN = "INKSIGHT_SERVING_PLAN"
"""How a worker process learns what to serve: the settings and models as JSON."""

END_SECONDS = 5
"""How long a worker may take to end after the last answer, before it is killed."""


def run_workers(
    models: Sequence[str], settings: ServeSettings, options: dict[str, Any], listener: socket.socket
) -> None:
    """Serve in `settings.workers` processes until interrupted; `options` are uvicorn's."""
    with tempfile.TemporaryDirectory(prefix="inksight-metrics-") as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        os.environ[_PLAN] = orjson.dumps({"settings": as_dict(settings), "models": list(models)}).decode()
        config = uvicorn.Config(
            "inksight.serving.workers:worker_app",
            factory=True,
            workers=settings.workers,
            # On a busy machine libraries and models take longer to load than the five seconds after which the
            # supervisor would give up a worker's successor.
            timeout_worker_healthcheck=60,
            **options,
        )
        # The supervisor asks nobody which server its workers shall run.
        multiprocess.Process = Worker  # type: ignore[misc]
        Supervisor(config, sockets=Listeners([listener])).run()


class Supervisor(multiprocess.Multiprocess):
    """Replaces workers that ended or hang; at its own end waits for them, but not for ever."""

    def join_all(self) -> None:
        """Wait until all workers have ended, and kill those that hang: they do not hear that they shall end."""
        deadline = time.monotonic() + LEAVE_SECONDS + (self.config.timeout_graceful_shutdown or 0) + END_SECONDS
        for worker in self.processes:
            worker.process.join(max(0.0, deadline - time.monotonic()))
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()


class Worker(multiprocess.Process):
    """A worker process with that server; whether it lives is asked without waiting for the answer."""

    _asked: float | None = None  # when the question was put that is not yet answered

    @property
    def server(self) -> uvicorn.Server:
        """The server, made when it is first asked for."""
        if self._server is None:
            self._server = Server(self.config)
        return self._server

    def is_alive(self, timeout: float = 5) -> bool:
        """Tell whether it runs and left no question unanswered for `timeout` seconds.

        Whoever waits for the answer of one worker (uvicorn does) sees neither the end of that worker nor another's,
        nor a signal.
        """
        if not self.process.is_alive():
            return False
        try:
            while self.parent_conn.poll():
                self.parent_conn.recv()
                self._asked = None
            if self._asked is None:
                self._asked = time.monotonic()
                self.parent_conn.send(b"ping")
        except (OSError, EOFError):
            return False
        return time.monotonic() - self._asked < timeout

    def always_pong(self) -> None:
        """Answer the supervisor, in the worker's process, which ends gracefully when the supervisor was killed.

        Without it the workers would hold the port, and nobody would replace or end them.
        """
        supervisor = parent_process()
        assert supervisor is not None
        while supervisor.sentinel not in wait([self.child_conn, supervisor.sentinel]):
            self.pong()
        os.kill(os.getpid(), signal.SIGTERM)


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
