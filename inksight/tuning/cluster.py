"""A connection to a Ray cluster, and what its machines are told so that they find the same database and artefacts.

Not guaranteed: secrecy within the cluster. The database's address and the S3 keys travel to every worker, and Ray
encrypts nothing: run it in a network of its own.
"""

from __future__ import annotations

import importlib
import logging
import os
import re
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from inksight.data.parallel import cores
from inksight.errors import MissingPartError, UnavailableError, UsageError
from inksight.workspace import Workspace, workspace

LOCAL = "local"
_PASSED_ON = ("INKSIGHT_", "AWS_")


class Cluster:
    """A cluster that this process is connected to; `ray` is the module, `local` says that it is this machine alone."""

    def __init__(self, ray: Any, *, local: bool) -> None:
        self.ray, self.local = ray, local

    def share(self, jobs: int) -> dict[str, float]:
        """Return what each of so many jobs at once may take, as Ray's options num_cpus and num_gpus."""
        nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        cores = [int(node.get("CPU", 0)) for node in nodes]
        gpus = sum(node.get("GPU", 0) for node in nodes)
        # No more than the largest machine has: a job that fits nowhere would wait for ever.
        return {
            "num_cpus": max(1, min(sum(cores) // jobs, max(cores, default=1))),
            "num_gpus": min(1.0, gpus / jobs),
        }


@contextmanager
def connected(address: str) -> Iterator[Cluster]:
    """Connect to the cluster at HOST:PORT, or start one on this machine ("local"), for the length of the block.

    Raises UsageError for what cannot work, MissingPartError without the extra, UnavailableError when nothing answers.
    """
    local = address == LOCAL
    if not local:
        _check(address, workspace())
        _take_token()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        ray = importlib.import_module("ray")
    except ImportError:
        raise MissingPartError("--ray needs the package ray", hint="pip install 'inksight[ray]'") from None
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if local:
        options |= {"num_cpus": cores(), "include_dashboard": False}
    try:
        if not local:
            # Ray itself goes on trying for minutes.
            host, _, port = address.rpartition(":")
            socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(address=address, **options)
    except (OSError, RuntimeError, ValueError) as error:
        raise UnavailableError(
            f"--ray {address}: no cluster answers: {str(error).strip().splitlines()[0]}",
            hint=f"This machine must be one of the cluster's (ray start --address {address} --num-cpus 0) and have its"
            " token, if it wants one, in ~/.ray/auth_token.",
        ) from None
    try:
        yield Cluster(ray, local=local)
    finally:
        ray.shutdown()


def _take_token() -> None:
    """Let Ray show its token where there is one: `ray start --head` then asks for it, and clients by default do not.

    To be called before ray is imported. A cluster without tokens lets in one that shows a token, too.
    """
    given = os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH")
    if given or (Path.home() / ".ray" / "auth_token").is_file():
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def passed_on(environ: Mapping[str, str], place: Workspace, *, local: bool) -> dict[str, str]:
    """Return the variables that workers need: settings, keys, and where database and artefacts are."""
    told = {name: value for name, value in environ.items() if name.startswith(_PASSED_ON)}
    told |= {"INKSIGHT_DATABASE_URL": place.database_url, "INKSIGHT_ARTIFACTS": place.artifacts}
    told.pop("INKSIGHT_HOME", None)
    if local:
        told["INKSIGHT_HOME"] = str(place.home)
    return told


def settle(told: Mapping[str, str]) -> Workspace:
    """Make this worker process one of the driver's: take its variables and return the machine's own workspace."""
    os.environ.setdefault("INKSIGHT_HOME", str(Path(tempfile.gettempdir()) / f"inksight-home-{os.getuid()}"))
    os.environ.update(told)
    return workspace()


def _check(address: str, place: Workspace) -> None:
    if not re.fullmatch(r"[^\s/:]+:\d{1,5}", address):
        raise UsageError(f"--ray {address!r} is neither {LOCAL} nor an address", hint="For example: 10.0.0.5:6379")
    if place.database_url.startswith("sqlite"):
        raise UsageError(
            f"--ray {address}: the database is a file, which other machines cannot write to",
            hint="Set INKSIGHT_DATABASE_URL to a PostgreSQL server.",
        )
    if place.artifacts == str(place.home / "artifacts"):
        raise UsageError(
            f"--ray {address}: the artefacts are in this machine's workspace",
            hint="Set INKSIGHT_ARTIFACTS to s3://BUCKET/PREFIX, or to a folder that all machines share.",
        )
