"""The registry as one object: a database, an artefact root and a local cache."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from inksight.registry import aliases, cleanup, copies, gates, leases
from inksight.registry import versions as uploads
from inksight.registry.artifacts import Artifacts
from inksight.registry.database import Database
from inksight.registry.store import Store
from inksight.registry.versions import CHAMPION, Version
from inksight.settings import GateSettings
from inksight.workspace import Workspace, workspace


class Registry(Store):
    """Versions of models and what points at them; safe to use from several threads, processes and machines."""

    def register(self, folder: Path, name: str, *, parent: str | None = None, note: str = "") -> Version:
        """Upload a bundle as the next version of `name`; `parent` is the reference it was trained from."""
        return uploads.register(self, folder, name, parent=parent, note=note)

    def versions(self, name: str | None = None) -> list[Version]:
        """Return the complete versions, by name, newest first; raises NotFoundError for an unknown name."""
        return uploads.listing(self, name)

    def of_run(self, name: str, run: str) -> Version | None:
        """Return the version of `name` that a training run was registered as, None when it was not."""
        return uploads.of_run(self, name, run)

    def find(self, reference: str) -> Version:
        """Return what `name` (champion, else newest), `name@alias` or `name:3` means now."""
        return uploads.find(self, reference)

    def lineage(self, version: Version) -> list[str]:
        """Return the references of a version and its ancestors, the nearest first."""
        return uploads.lineage(self, version)

    def resolve(self, reference: str) -> Path:
        """Return a local, verified bundle folder for `name`, `name@alias`, `name:3`, a path or a built-in name."""
        from inksight.bundle.loading import BUILT_IN, locate

        path = Path(reference).expanduser()
        if reference in BUILT_IN or path.exists() or "/" in reference or reference.startswith("."):
            return locate(reference)
        return copies.local_copy(self, uploads.find(self, reference))

    def pull(self, version: Version, folder: Path) -> None:
        """Copy a version's bundle to a folder that does not exist yet, whole or not at all."""
        copies.copy_out(self, version, folder)

    def hold(self, version: Version, purpose: str, *, seconds: float = leases.LENGTH) -> leases.Lease:
        """Keep a version from being cleaned up until the lease is released or its process dies."""
        return leases.hold(self, version, purpose, seconds=seconds)

    def promote(
        self,
        name: str,
        number: int | None = None,
        *,
        alias: str = CHAMPION,
        settings: GateSettings | None = None,
        evidence: gates.Evidence | None = None,
        force: bool = False,
        note: str = "",
    ) -> aliases.Promotion:
        """Point an alias at a version (None: the newest) if it passes the gates; see aliases.promote."""
        return aliases.promote(
            self, name, number, alias=alias, settings=settings, evidence=evidence, force=force, note=note
        )

    def judged(self, name: str, number: int, *, alias: str = CHAMPION) -> list[gates.Answer]:
        """Return what the gates say of a version against what the alias means now; see aliases.judged."""
        return aliases.judged(self, name, number, alias=alias)

    def rollback(self, name: str, *, alias: str = CHAMPION, to: int | None = None, note: str = "") -> aliases.Promotion:
        """Point an alias back at the version before, or at number `to`; see aliases.rollback."""
        return aliases.rollback(self, name, alias=alias, to=to, note=note)

    def rollback_targets(self, name: str) -> dict[str, int]:
        """Return the number that a rollback of each alias would go to, where there is one."""
        return aliases.rollback_targets(self, name)

    def history(self, name: str) -> list[aliases.PastMove]:
        """Return all moves of a model's aliases, newest first."""
        return aliases.history(self, name)

    def clean(
        self,
        name: str | None = None,
        *,
        keep: int | None = 3,
        failed: bool = False,
        logs_older_than: timedelta | None = None,
        dry_run: bool = False,
    ) -> cleanup.Cleaned:
        """Remove old versions, failed uploads and old logs; see cleanup.clean."""
        return cleanup.clean(self, name, keep=keep, failed=failed, logs_older_than=logs_older_than, dry_run=dry_run)

    def close(self) -> None:
        """Close the database connections."""
        self.database.close()


def open(place: Workspace | None = None) -> Registry:
    """Open the registry of a workspace (default: the environment's), making or updating its database."""
    place = place or workspace()
    return Registry(
        database=Database(place.database_url),
        artifacts=Artifacts(place.artifacts),
        cache=place.home / "cache" / "bundles",
        runs=place.runs,
    )
