"""Hot swap: live models follow their aliases in the registry, without a failed request.

Every worker looks every few seconds, so that all of them follow a promotion made anywhere: by the admin route of any
worker, by `inksight models promote`, by a retrain on another machine. The new version is loaded and tested beside the
old one, which answers until the moment of the swap. A version that fails is reported, and not tried again until the
alias moves; one that only cannot be had, because a server is away or the disk full, is tried again at every look.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from inksight.errors import InksightError, UnavailableError
from inksight.serving.live import LiveModel
from inksight.serving.logs import log
from inksight.serving.sources import load_version, moved_to

if TYPE_CHECKING:
    from inksight.serving.experiments import Experiments
    from inksight.serving.live import LiveModels
    from inksight.serving.metrics import Metrics
    from inksight.serving.storage import Storage


class Follower:
    """Watches the aliases of the live models."""

    def __init__(
        self,
        models: LiveModels,
        storage: Storage,
        experiments: Experiments,
        metrics: Metrics,
        go_live: Callable[[LiveModel], LiveModel | None],
        *,
        every: float,
    ) -> None:
        self._models = models
        self._storage = storage
        self._experiments = experiments
        self._metrics = metrics
        self._go_live = go_live
        self._every = every
        self._failed: dict[str, str] = {}
        self._lock = asyncio.Lock()
        self._stopped = asyncio.Event()

    async def run(self) -> None:
        """Follow until stopped."""
        while not await self._stops_within(self._every):
            try:
                await self.follow()
                # Only models of the registry can be experimented with; without one, no database is needed.
                if any(live.release for live in self._models.all()):
                    await self._experiments.refresh()
            except InksightError as error:
                log("aliases could not be followed", level=logging.WARNING, **error.as_dict())
            except Exception as error:  # noqa: BLE001  (whatever it is, the next look may go well)
                log("aliases could not be followed", level=logging.ERROR, error=error)

    def stop(self) -> None:
        """End `run` after the look that is under way: its thread would go on and use a database that is closed."""
        self._stopped.set()

    async def _stops_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopped.wait(), seconds)
        return self._stopped.is_set()

    async def follow(self) -> None:
        """Look once, and swap what has moved."""
        async with self._lock:
            for live in self._models.all():
                await self._follow(live)

    async def _follow(self, live: LiveModel) -> None:
        storage = self._storage
        version = await asyncio.to_thread(moved_to, storage, live)
        if version is None:
            self._failed.pop(live.name, None)  # the alias came back; moved again, it is meant
            return
        if self._failed.get(live.name) == version.ref:
            return
        try:
            model = await asyncio.to_thread(load_version, storage, version, live.reference)
        except (UnavailableError, OSError) as error:
            log(
                "a new version cannot be had now",
                level=logging.WARNING,
                model=live.name,
                version=version.ref,
                reason=str(error),
            )
            return
        except InksightError as error:
            self._failed[live.name] = version.ref
            self._metrics.swaps.labels(live.name, "failed").inc()
            log(
                "a new version was refused",
                level=logging.ERROR,
                model=live.name,
                version=version.ref,
                **error.as_dict(),
            )
            return
        self._failed.pop(live.name, None)
        replaced = self._go_live(model)
        self._metrics.swaps.labels(live.name, "done").inc()
        if replaced is not None and replaced.release is not None:
            await asyncio.to_thread(replaced.release)
