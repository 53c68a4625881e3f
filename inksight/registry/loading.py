"""`inksight.load`: a model by path, built-in name, run or registry reference, ready to answer.

What bundle.locate finds comes first, so that a path never needs a database; write name:3 or name@alias where a folder
or a run has the same name as a model.
"""

from __future__ import annotations

from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from inksight.bundle import loading
from inksight.errors import NotFoundError, UsageError, sentences
from inksight.registry.database import parse_url
from inksight.registry.registry import Registry
from inksight.registry.registry import open as open_registry
from inksight.registry.versions import parse
from inksight.workspace import Workspace, workspace

if TYPE_CHECKING:
    from inksight.bundle import Classifier


def load(path_or_name: str | Path, *, runtime: str = "onnx", threads: int = 1) -> Classifier:
    """Load a model and return it ready to answer; nothing in it can run code.

    `path_or_name`: a bundle's folder, a training run, a built-in name, or `name`, `name@alias`, `name:3` in the
    registry (`name` alone is its champion, else its newest version). `runtime`: "onnx" (fast) or "torch". `threads`:
    per prediction; 0 takes all cores.
    Raises NotFoundError when there is no such model and BundleError when it is damaged or unsafe.
    """
    return loading.load(locate(path_or_name), runtime=runtime, threads=threads)


def locate(path_or_name: str | Path) -> Path:
    """Return the local, verified bundle folder that a path or reference means."""
    try:
        return loading.locate(path_or_name)
    except NotFoundError as error:
        reference = str(path_or_name)
        try:
            parse(reference)
        except UsageError:
            raise error from None
        place = workspace()
        if not _exists(place):
            raise
        with closing(open_registry(place)) as registry:
            return _resolve(registry, reference, error)


def before_registered(name: str) -> Path | None:
    """Return the path or run that a name means although the registry has a model of that name, else None."""
    place = workspace()
    if name in loading.BUILT_IN:
        return None
    try:
        folder = loading.locate(name)
        is_name = parse(name)[0] == name
    except UsageError:  # there is no such folder, or its path names no model
        return None
    if not is_name or not _exists(place):
        return None
    with closing(open_registry(place)) as registry, suppress(NotFoundError):
        registry.find(name)
        return folder
    return None


def _resolve(registry: Registry, reference: str, not_local: NotFoundError) -> Path:
    try:
        return registry.resolve(reference)
    except NotFoundError as error:
        if _knows(registry, reference):
            raise
        # An empty registry has nothing to add: there may be runs all the same.
        near = "" if error.hint.startswith("There is no") else error.hint
        raise NotFoundError(not_local.message, hint=sentences(near, not_local.hint)) from None


def _knows(registry: Registry, reference: str) -> bool:
    """Whether the reference's model has versions, so that only its alias or number is wrong."""
    name, _, _ = parse(reference)
    return any(version.name == name for version in registry.versions())


def _exists(place: Workspace) -> bool:
    """Whether there is a registry to ask: looking for a model must not make one."""
    url = parse_url(place.database_url)
    return url.drivername != "sqlite" or bool(url.database and Path(url.database).exists())
