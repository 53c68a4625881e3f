"""Leases: while a process serves or copies a version, no clean-up removes it, wherever that runs.

    with hold(store, version, "serving"):
        ...

A lease ends by itself when its holder dies: it is renewed three times within its length, and clean-up ignores one that
has expired. A holder that lived through a longer outage takes it again, if the version is still there.
Clocks of the machines that share a registry must agree to within a minute.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import uuid
from datetime import timedelta
from types import TracebackType

from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from inksight.errors import ConflictError, UnavailableError
from inksight.registry.store import Store
from inksight.registry.tables import LeaseRow, VersionRow, now
from inksight.registry.versions import Version, lock_model

_logger = logging.getLogger(__name__)

LENGTH = 180.0  # seconds; a crashed holder blocks clean-up for no longer than this


def hold(store: Store, version: Version, purpose: str, *, seconds: float = LENGTH) -> Lease:
    """Take a lease on a version; raises ConflictError when it is being removed."""
    lease_id = str(uuid.uuid4())
    holder = f"{purpose} on {socket.gethostname()} (process {os.getpid()})"[:200]
    with store.database.write() as session:
        if not _add(session, version, lease_id, holder, seconds):
            raise ConflictError(f"{version.ref} has been removed", hint="Choose another version.")
    return Lease(store, version, lease_id, holder, seconds)


def _add(session: Session, version: Version, lease_id: str, holder: str, seconds: float) -> bool:
    """Note a lease unless the version is being removed; return whether it was noted."""
    lock_model(session, version.name)
    if session.get_one(VersionRow, version.id).state != "ready":
        return False
    expires = now() + timedelta(seconds=seconds)
    session.add(LeaseRow(id=lease_id, version_id=version.id, holder=holder, expires_at=expires))
    return True


class Lease:
    """A lease that renews itself in the background until it is released; also a context manager."""

    def __init__(self, store: Store, version: Version, lease_id: str, holder: str, seconds: float) -> None:
        self._store = store
        self._version = version
        self._id = lease_id
        self._holder = holder
        self._seconds = seconds
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._renew_always, name="inksight-lease", daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Give the version free; when the database does not answer, the lease expires by itself."""
        self._released.set()
        self._thread.join()
        try:
            with self._store.database.write() as session:
                session.execute(delete(LeaseRow).where(LeaseRow.id == self._id))
        except UnavailableError:
            return

    def renew(self) -> None:
        """Extend the lease from now on; one that ran out, and was cleaned away, is taken again."""
        with self._store.database.write() as session:
            later = {"expires_at": now() + timedelta(seconds=self._seconds)}
            found = session.execute(update(LeaseRow).where(LeaseRow.id == self._id).values(later))
            if not found.rowcount:  # type: ignore[attr-defined]
                _add(session, self._version, self._id, self._holder, self._seconds)

    def _renew_always(self) -> None:
        while not self._released.wait(self._seconds / 3):
            try:
                self.renew()
            except UnavailableError:
                continue  # two more tries before the lease runs out
            except Exception:  # whatever it is, the version is still in use
                _logger.exception("a lease could not be renewed")

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
