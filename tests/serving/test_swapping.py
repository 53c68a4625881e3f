"""The follower: what it tries again, what it does not, and that nothing ends it."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Iterator
from typing import Any, cast
from unittest.mock import AsyncMock

import pytest

from inksight import registry
from inksight.errors import AwayError, BundleError
from inksight.serving.experiments import Experiments
from inksight.serving.live import LiveModels
from inksight.serving.metrics import Metrics
from inksight.serving.sources import load_model, load_version, moved_to
from inksight.serving.storage import Storage
from inksight.serving.swapping import Follower
from tests.serving.test_admin import real_bundle, two_versions  # noqa: F401


class Service:
    """The live models of doodle@champion with a follower that looks when it is told to."""

    def __init__(self) -> None:
        self.storage = Storage()
        self.models = LiveModels()
        self.models.put(load_model(self.storage, "doodle"))
        self.follower = Follower(
            self.models, self.storage, cast(Experiments, None), Metrics(), self.models.put, every=0.05
        )

    def look(self) -> str:
        """Follow once and return the version that is live then."""
        asyncio.run(self.follower.follow())
        return self.models.get("doodle").version


@pytest.fixture
def service(two_versions: registry.Registry) -> Iterator[Service]:  # noqa: F811
    made = Service()
    yield made
    release = made.models.get("doodle").release
    assert release is not None
    release()
    made.storage.close()


def test_nothing_ends_the_follower(
    service: Service,
    two_versions: registry.Registry,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fallen: list[str] = []

    def fall_once(*arguments: Any) -> Any:
        if not fallen:
            fallen.append("down")
            raise RuntimeError("a slip in the code")
        return moved_to(*arguments)

    async def follow() -> None:
        running = asyncio.create_task(service.follower.run())
        async with asyncio.timeout(20):
            while service.models.get("doodle").version != "2":
                await asyncio.sleep(0.02)
        service.follower.stop()
        await running

    monkeypatch.setattr("inksight.serving.swapping.moved_to", fall_once)
    monkeypatch.setattr(service.follower, "_experiments", AsyncMock())
    two_versions.promote("doodle", 2, force=True)
    asyncio.run(follow())
    assert fallen
    assert "a slip in the code" in caplog.text


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> list[str]:
    """Let versions fail to load until the returned list is given something."""
    healed: list[str] = []

    def load(*arguments: Any) -> Any:
        if not healed:
            raise error
        return load_version(*arguments)

    monkeypatch.setattr("inksight.serving.swapping.load_version", load)
    return healed


@pytest.mark.parametrize("error", [AwayError("S3 does not answer"), OSError(errno.ENOSPC, "No space left on device")])
def test_a_version_that_could_not_be_had_is_tried_again(
    service: Service,
    two_versions: registry.Registry,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    healed = failing(monkeypatch, error)
    two_versions.promote("doodle", 2, force=True)
    assert service.look() == "1"
    healed.append("now")
    assert service.look() == "2"


def test_a_broken_version_is_tried_again_once_the_alias_moves_to_it_anew(
    service: Service,
    two_versions: registry.Registry,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    healed = failing(monkeypatch, BundleError("it is damaged"))
    two_versions.promote("doodle", 2, force=True)
    assert service.look() == "1"
    healed.append("now")
    assert service.look() == "1", "it is not tried again and again"
    two_versions.rollback("doodle")
    assert service.look() == "1"
    two_versions.promote("doodle", 2, force=True)
    assert service.look() == "2"
