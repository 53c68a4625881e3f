"""Verified local copies of versions, in the cache or where the user wants them."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path

from inksight.errors import ConflictError
from inksight.registry.artifacts import digest_of, table_of
from inksight.registry.leases import hold
from inksight.registry.store import Store
from inksight.registry.versions import Version


def local_copy(store: Store, version: Version) -> Path:
    """Return a local folder with the version's bundle, from the cache or copied there; every byte is verified."""
    target = store.cache / version.sha256
    if target.is_dir():
        if _intact(target, version):
            return target
        shutil.rmtree(target, ignore_errors=True)  # damaged on disk: copied again
    store.cache.mkdir(parents=True, exist_ok=True)
    temporary = store.cache / f".{version.sha256[:16]}-{os.getpid()}-{secrets.token_hex(4)}"
    temporary.mkdir()
    try:
        with hold(store, version, "copying"):
            store.artifacts.get(version.location, version.files, temporary)
        try:
            os.rename(temporary, target)
        except OSError:
            if not _intact(target, version):  # else another process was faster with the same bytes
                raise
        return target
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def copy_out(store: Store, version: Version, folder: Path) -> None:
    """Copy a version's bundle to `folder`, whole or not at all; raises ConflictError when there is something."""
    folder = Path(folder).absolute()
    if folder.exists():
        raise ConflictError(f"{str(folder)!r} exists already", hint="Name a folder that does not exist yet.")
    source = local_copy(store, version)
    temporary = folder.with_name(f".{folder.name}-{secrets.token_hex(4)}")
    try:
        shutil.copytree(source, temporary)
        os.rename(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _intact(folder: Path, version: Version) -> bool:
    try:
        return sorted(os.listdir(folder)) == sorted(version.files) and (
            digest_of(table_of(folder, list(version.files))) == version.sha256
        )
    except OSError:
        return False
