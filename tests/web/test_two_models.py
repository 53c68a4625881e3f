"""Two models of drawings: which of them looks at the sheet is chosen beside it, and stays chosen, in games as well."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from inksight.serving import create_app
from inksight.settings import ServeSettings
from tests.serving.conftest import HalvesClassifier, running
from tests.waiting import expect
from tests.web.test_draw import CONTRASTS, LEFT, PHONE, stroke
from tests.web.test_pictionary import begin, draw, press

pytestmark = pytest.mark.browser


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    models = [HalvesClassifier(), HalvesClassifier("quarters")]
    with running(create_app(ServeSettings(), models=models)) as url:
        yield url + "/"


@pytest.mark.parametrize(("size", "scheme"), [({"width": 1280, "height": 800}, "light"), (PHONE, "dark")])
def test_another_model_looks_at_the_same_drawing(visit: Callable[..., Any], size: dict[str, Any], scheme: str) -> None:
    page = visit(color_scheme=scheme, **size)
    stroke(page, *LEFT)
    expect(page.locator("#colophon")).to_contain_text("halves")
    chooser = page.get_by_label("Model", exact=True)
    chooser.select_option("quarters")
    expect(page.locator("#colophon")).to_contain_text("quarters")
    # A key that means something to the sheet does nothing to it while a model is chosen.
    chooser.press("z")
    assert page.locator("section.draw.blank").count() == 0
    assert page.evaluate(CONTRASTS) == []
    page.evaluate("location.hash = '#/models'")
    expect(page.locator("canvas.ink")).to_have_count(0)
    page.evaluate("location.hash = '#/draw'")
    expect(chooser).to_have_value("quarters")
    expect(page.locator(".word")).to_have_text("left")


def test_the_model_that_was_chosen_judges_the_games(visit: Callable[..., Any]) -> None:
    page = visit(**PHONE)
    page.get_by_label("Model", exact=True).select_option("quarters")
    page.evaluate("location.hash = '#/pictionary'")
    chooser = page.get_by_label("Model", exact=True)
    expect(chooser).to_have_value("quarters")
    expect(page.locator(".leaderboard h2")).to_have_text("Leaderboard · quarters")
    assert page.evaluate(CONTRASTS) == []
    draw(page, begin(page, "Start"))
    expect(page.locator("section.over.won")).to_be_visible()
    expect(page.locator("#colophon")).to_contain_text("quarters")
    expect(chooser).to_have_count(0)
    page.once("dialog", lambda dialog: dialog.accept())
    page.evaluate("location.hash = '#/race'")
    expect(chooser).to_have_value("quarters")
    page.get_by_role("textbox", name="Your name").fill("Ada")
    with page.expect_response("**/v1/race/rooms") as opened:
        press(page, "Open a room")
    assert opened.value.json()["model"] == "quarters"
    for again in (False, True):
        if again:
            page.reload()
        expect(page.locator(".race .players")).to_contain_text("Ada")
    expect(page.locator("#colophon")).to_contain_text("quarters")
    expect(chooser).to_have_count(0)
