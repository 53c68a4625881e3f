"""The registry: numbered versions of models, aliases that point at them, gates, retention.

    from inksight import registry
    with_registry = registry.open()
    version = with_registry.register(run.bundle, "doodle")      # doodle:1, visible when complete
    with_registry.promote("doodle", version.number)             # doodle@champion, if the gates say yes
    folder = with_registry.resolve("doodle@champion")           # a verified local bundle

One SQL database (an SQLite file, or PostgreSQL by INKSIGHT_DATABASE_URL) and one artefact root (a folder, or s3:// by
INKSIGHT_ARTIFACTS). Several processes and machines may use it at once; a process may be killed at any point.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inksight.registry.aliases import Promotion
    from inksight.registry.gates import Evidence
    from inksight.registry.loading import load
    from inksight.registry.registry import Registry, open
    from inksight.registry.versions import Version

_HOMES = {
    "Evidence": "inksight.registry.gates",
    "Promotion": "inksight.registry.aliases",
    "Registry": "inksight.registry.registry",
    "Version": "inksight.registry.versions",
    "load": "inksight.registry.loading",
    "open": "inksight.registry.registry",
}

__all__ = ["Evidence", "Promotion", "Registry", "Version", "load", "open"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'inksight.registry' has no attribute {name!r}")
