"""What the routes share: the live models, the predictor, the counts, and whether the service is ready."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import cast

from fastapi import Request

from inksight.errors import InksightError, of_system
from inksight.serving.experiments import Experiments
from inksight.serving.eye import Pictures
from inksight.serving.games import Games
from inksight.serving.jobs import Workshop
from inksight.serving.journal import Journal
from inksight.serving.live import Classifier, LiveModel, LiveModels
from inksight.serving.logs import log
from inksight.serving.metrics import Metrics
from inksight.serving.predictor import Predictor
from inksight.serving.race import Race
from inksight.serving.sources import load_model
from inksight.serving.storage import Storage
from inksight.serving.swapping import Follower
from inksight.serving.tokens import Tokens
from inksight.settings import ServeSettings


class Services:
    """The state of one application; made with it, started and stopped by its lifespan."""

    def __init__(self, settings: ServeSettings, models: Sequence[str | Classifier]) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.models = LiveModels()
        self.storage = Storage()
        self.journal = Journal(self.storage, settings, self.metrics)
        self.predictor = Predictor(self.models, settings, on_batch=self.metrics.batch)
        self.tokens = Tokens()
        self.experiments = Experiments(self.models, self.predictor, self.journal, self.storage)
        self.follower = Follower(
            self.models, self.storage, self.experiments, self.metrics, self.go_live, every=settings.follow_seconds
        )
        self.games = Games(self.storage, settings)
        self.pictures = Pictures(settings.game_data)
        self.race = Race(self.predictor, self.journal, self.games, self.metrics, workers=settings.workers)
        self.workshop = Workshop(self.storage)
        self.ready = False
        self.failure: InksightError | None = None
        self.on_loaded: Callable[[InksightError | None], None] = log_failure
        self._wanted = models
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin to load the models; `ready` turns true when all of them passed their self-test.

        One of several workers returns only then: it shares its port with others that answer already, and must not be
        handed requests that they could have taken.
        """
        self.journal.start()
        loading = asyncio.create_task(self._load())
        self._tasks = [loading, asyncio.create_task(self.follower.run())]
        if self.settings.workers > 1:
            await loading
            if self.failure is not None:
                raise self.failure

    async def stop(self) -> None:
        """Stop loading, let running work finish and free the threads."""
        self.follower.stop()
        if self._tasks:
            loading, following = self._tasks
            loading.cancel()
            await asyncio.wait([following], timeout=self.settings.shutdown_grace)
            following.cancel()
            await asyncio.gather(loading, following, return_exceptions=True)
        await self.experiments.stop()
        await self.race.stop()
        self.workshop.stop()
        await asyncio.to_thread(self.predictor.close)
        await asyncio.to_thread(self.journal.stop)
        await asyncio.to_thread(self._let_go)

    def _let_go(self) -> None:
        for model in self.models.all():
            if model.release is not None:
                model.release()
        self.storage.close()

    def go_live(self, model: LiveModel) -> LiveModel | None:
        """Let a tested model answer from now on; return the one it replaces."""
        replaced = self.models.put(model)
        self.metrics.live([model], replaced)
        log("model live", model=model.name, version=model.version, ms=round(model.seconds * 1000, 3))
        return replaced

    async def _load(self) -> None:
        try:
            for wanted in self._wanted:
                model = await asyncio.to_thread(load_model, self.storage, wanted)
                self.models.expect_new(model)
                self.go_live(model)
        except InksightError as error:
            self.failure = error
        except Exception as error:  # noqa: BLE001  ("being loaded" would be said for ever)
            log("a model could not be loaded", level=logging.ERROR, error=error)
            known = of_system(error) if isinstance(error, OSError) else None
            self.failure = known or InksightError(f"a model could not be loaded: {type(error).__name__}: {error}")
        else:
            self.ready = True
        self.on_loaded(self.failure)


def log_failure(failure: InksightError | None) -> None:
    """Log why the models were not loaded."""
    if failure is not None:
        log("a model cannot be served", level=logging.ERROR, **failure.as_dict())


def services(request: Request) -> Services:
    """Return the application's services."""
    return cast(Services, request.app.state.services)
