"""What a registry consists of: versions, aliases, leases and clean-up all work on these four."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from inksight.registry.artifacts import Artifacts
from inksight.registry.database import Database


@dataclass(frozen=True)
class Store:
    """A database, an artefact root, and two folders of this machine: copies of bundles, and training runs."""

    database: Database
    artifacts: Artifacts
    cache: Path
    runs: Path
