"""A new version goes live in the middle of a game: the page names the one that judged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI

from inksight.data.dataset import DatasetWriter
from inksight.serving import create_app
from inksight.serving.live import bring_up
from inksight.settings import ServeSettings
from tests.serving.conftest import CLASSES, HalvesClassifier, running
from tests.waiting import expect
from tests.web.test_pictionary import begin, draw, press
from tests.web.test_race import OPPOSITE, enter, open_room

pytestmark = pytest.mark.browser


@pytest.fixture
def service(tmp_path: Path) -> FastAPI:
    images = np.zeros((4, 28, 28), np.uint8)
    images[0, :, :9] = images[1, :, 19:] = images[2, :9] = images[3, 19:] = 255
    path = tmp_path / "halves.h5"
    facts: dict[str, Any] = {"source": "made", "preprocessing": {"kind": "drawing"}, "seed": 0}
    with DatasetWriter(path, classes=CLASSES, image_shape=(28, 28), **facts) as writer:
        for split in ("train", "val", "test"):
            writer.append(split, images, np.arange(4), [f"{split}{index}" for index in range(4)])
    return create_app(ServeSettings(game_data=str(path)), models=[HalvesClassifier()])


@pytest.fixture
def address(service: FastAPI) -> Iterator[str]:
    with running(service) as url:
        yield url + "/"


def swap(service: FastAPI) -> None:
    service.state.services.go_live(bring_up(HalvesClassifier(version="2")))


def named(page: Any, version: int) -> None:
    expect(page.locator("#colophon")).to_contain_text(f"halves, version {version}")


def test_pictionary(visit: Callable[..., Any], service: FastAPI) -> None:
    page = visit(path="#/pictionary")
    word = begin(page, "Start")
    named(page, 1)
    swap(service)
    draw(page, OPPOSITE[word])
    named(page, 2)


def test_eye_names_the_version_that_was_bound_to_its_answer(visit: Callable[..., Any], service: FastAPI) -> None:
    page = visit(path="#/eye")
    press(page, "Start")
    for version in (1, 2):
        expect(page.locator(".eye.playing")).to_be_visible()
        swap(service)
        page.keyboard.press("1")
        expect(page.locator(".proof .kept")).to_be_visible()
        named(page, version)
        page.locator(".choices .stamp-button").click()


def test_race(visit: Callable[..., Any], service: FastAPI) -> None:
    ada = visit(path="#/pictionary")
    enter(visit, open_room(ada, "Ada"), "Bo")
    press(ada, "Start")
    expect(ada.locator(".game.playing")).to_be_visible()
    named(ada, 1)
    swap(service)
    draw(ada, OPPOSITE[ada.locator(".verdict .word").inner_text()])
    named(ada, 2)
