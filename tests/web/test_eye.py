"""Eye vs AI in a real browser: a game from the first picture to the verdict, with the seal checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from inksight.data.dataset import DatasetWriter
from inksight.serving import create_app
from inksight.settings import ServeSettings
from tests.serving.conftest import CLASSES, HalvesClassifier, running
from tests.web.test_draw import CONTRASTS, PHONE
from tests.web.test_pictionary import expect, press

pytestmark = pytest.mark.browser


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    path = tmp_path_factory.mktemp("eye") / "halves.h5"
    images = np.zeros((4, 28, 28), np.uint8)
    images[0, :, :9] = images[1, :, 19:] = images[2, :9] = images[3, 19:] = 255
    facts: dict[str, Any] = {"source": "made", "preprocessing": {"kind": "drawing"}, "seed": 0}
    with DatasetWriter(path, classes=CLASSES, image_shape=(28, 28), **facts) as writer:
        for split in ("train", "val", "test"):
            writer.append(split, images, np.arange(4), [f"{split}{index}" for index in range(4)])
    with running(create_app(ServeSettings(game_data=str(path)), models=[HalvesClassifier()])) as url:
        yield url + "/"


@pytest.mark.parametrize(("size", "scheme"), [({"width": 1280, "height": 800}, "light"), (PHONE, "dark")])
def test_a_game_to_the_verdict(visit: Callable[..., Any], size: dict[str, Any], scheme: str) -> None:
    page = visit(path="#/eye", color_scheme=scheme, **size)
    press(page, "Easy")
    press(page, "Start")
    for number in range(10):
        expect(page.locator(".eye.playing")).to_be_visible()
        assert page.locator(".choices button").count() == 4
        page.keyboard.press("1")
        expect(page.get_by_text("The seal fits.")).to_be_visible()
        if number == 0:
            page.wait_for_timeout(300)
            assert page.evaluate(CONTRASTS) == []
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.locator(".choices .stamp-button").click()
    expect(page.locator(".finale h1")).to_be_visible()
    page.get_by_role("textbox").fill("Ada")
    press(page, "Enter")
    expect(page.locator(".board .who").first).to_have_text("Ada")
