"""The way to the registry's database: opened when it is first needed, and tried again when it was away."""

from __future__ import annotations

import threading
from types import ModuleType
from typing import TYPE_CHECKING

from inksight.errors import AwayError, UsageError

if TYPE_CHECKING:
    from inksight.registry.database import Database
    from inksight.registry.registry import Registry


class Storage:
    """Opens the workspace's registry lazily; the properties may block and raise UnavailableError."""

    def __init__(self) -> None:
        self._registry: Registry | None = None
        self._lock = threading.Lock()

    @property
    def registry(self) -> Registry:
        """The registry; opening it the first time makes or updates its tables."""
        with self._lock:
            if self._registry is None:
                from inksight.registry import open as open_registry

                try:
                    self._registry = open_registry()
                except UsageError as error:
                    # The service is set up wrongly, which is no visitor's slip nor theirs to read.
                    raise AwayError(error.message, hint=error.hint) from error
            return self._registry

    @property
    def database(self) -> Database:
        """The registry's database."""
        return self.registry.database

    @property
    def tables(self) -> ModuleType:
        """The module of the tables."""
        from inksight.registry import tables

        return tables

    def close(self) -> None:
        """Close the database connections, if there are any."""
        with self._lock:
            if self._registry is not None:
                self._registry.close()
                self._registry = None
