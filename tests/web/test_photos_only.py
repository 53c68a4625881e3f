"""Services whose first, or only, model judges photos: the views for drawing say so, or use the one for drawings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from inksight.serving import create_app
from inksight.settings import ServeSettings
from tests.serving.conftest import HalvesClassifier, running
from tests.waiting import expect
from tests.web.test_classify import ColoursClassifier
from tests.web.test_draw import CONTRASTS, LEFT, PHONE, guessed, stroke
from tests.web.test_pictionary import press

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A service for photos alone."""
    with running(create_app(ServeSettings(), models=[ColoursClassifier()])) as url:
        yield url + "/"


@pytest.mark.parametrize("view", ["draw", "pictionary", "race"])
@pytest.mark.parametrize("locale", ["en-GB", "fr-FR"])
def test_the_views_for_drawing_lead_to_classify(visit: Callable[..., Any], view: str, locale: str) -> None:
    page = visit(path=f"#/{view}", locale=locale, **PHONE)
    words = ("I only know photos.", "Show me a photo")
    if locale == "fr-FR":
        words = ("Je ne connais que les photos.", "Montrez-moi une photo")
    expect(page.get_by_role("heading", name=words[0])).to_be_visible()
    assert page.locator("canvas.ink").count() == 0
    assert page.evaluate(CONTRASTS) == []
    press(page, words[1])
    expect(page.locator("main[data-view=classify] section")).to_be_visible()


def test_the_page_opens_on_classify(visit: Callable[..., Any]) -> None:
    page = visit()
    expect(page.locator("main[data-view=classify] section")).to_be_visible()


def test_draw_asks_the_model_for_drawings_where_it_is_not_the_first(browser: Any) -> None:
    models: list[Any] = [ColoursClassifier(), HalvesClassifier()]
    with running(create_app(ServeSettings(), models=models)) as url:
        page = browser.new_context(locale="en-GB").new_page()
        page.goto(url)
        expect(page.locator(".invitation")).to_contain_text("?")  # its classes are known
        stroke(page, *LEFT)
        guessed(page, "left")
        expect(page.locator(".colophon")).to_contain_text("halves, version 1")
        press(page, "Which stroke mattered?")
        expect(page.get_by_text("Red spoke for left")).to_be_visible()
        press(page, "That’s right")
        expect(page.locator(".notice.good")).to_contain_text("left")
        page.context.close()
