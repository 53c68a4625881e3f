"""A phone held sideways: the sheet, its tools and the machine's words are on the screen together, without scrolling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.waiting import expect
from tests.web.test_draw import LEFT, guessed, stroke
from tests.web.test_everywhere import VIEWS
from tests.web.test_eye import address  # noqa: F401 - a service with pictures for Eye vs AI
from tests.web.test_pictionary import press
from tests.web.test_race import enter, open_room

pytestmark = pytest.mark.browser

SIZES = [(568, 320), (667, 375), (740, 360), (844, 390)]

OUTSIDE = """() => [...document.querySelectorAll("main *, .preferences *")].filter((element) => {
  const { left, right, width } = element.getBoundingClientRect();
  const inside = left >= -1 && right <= screen.width + 1;
  return width && element.checkVisibility() && !element.closest(".unseen, svg") && !inside;
}).map((element) => element.className || element.tagName)"""


def sideways(visit: Callable[..., Any], size: tuple[int, int], path: str, **options: Any) -> Any:
    phone = {"has_touch": True, "is_mobile": True, "device_scale_factor": 2}
    return visit(*size, path=path, **phone, **options)


def in_sight(page: Any, *selectors: str) -> None:
    """Fail unless all of these are on the screen as it is, and nothing sticks out of it to the side."""
    # A tap scrolls to what it taps; the question is what the place at the top shows.
    page.evaluate("scrollTo(0, 0)")
    for selector in selectors:
        box = page.locator(selector).first.bounding_box()
        assert box["y"] >= 0, selector
        assert box["y"] + box["height"] <= page.viewport_size["height"], selector
    assert page.evaluate(OUTSIDE) == []
    assert page.evaluate("document.documentElement.scrollWidth <= screen.width")


@pytest.mark.parametrize("size", SIZES)
def test_drawing_and_guesses_together(visit: Callable[..., Any], size: tuple[int, int]) -> None:
    page = sideways(visit, size, "#/draw", locale="fr-FR")
    stroke(page, *LEFT)
    guessed(page, "left")
    in_sight(page, ".paper", ".tools", ".verdict .word", ".feedback", ".guesses li")
    assert page.locator("canvas.ink").bounding_box()["width"] >= 0.7 * size[1]
    page.evaluate("scrollTo(0, 40)")
    assert page.evaluate("scrollY") == 40
    assert page.locator(".paper").bounding_box()["y"] >= 0, "the sheet stays while the margin scrolls"


@pytest.mark.parametrize("size", SIZES)
def test_a_running_game(visit: Callable[..., Any], size: tuple[int, int]) -> None:
    page = sideways(visit, size, "#/pictionary")
    for kind in ("Start", "Infinite"):
        page.reload()
        press(page, kind)
        expect(page.locator(".game.playing")).to_be_visible()
        in_sight(page, ".paper", ".tools", ".verdict", ".murmur", ".tally")
    page = sideways(visit, size, "#/eye", locale="fr-FR")
    press(page, "Commencer")
    expect(page.locator(".eye.playing")).to_be_visible()
    in_sight(page, ".paper", ".verdict", ".choices")


@pytest.mark.parametrize("size", SIZES)
def test_a_running_race(visit: Callable[..., Any], size: tuple[int, int]) -> None:
    ada = sideways(visit, size, "#/pictionary")
    press(ada, "Race")
    in_sight(ada, ".paper", ".feedback")
    ada.go_back()
    enter(visit, open_room(ada, "Ada"), "A player with a long")
    expect(ada.locator(".players li")).to_have_count(2)
    in_sight(ada, ".paper", ".feedback", ".players")
    press(ada, "Start")
    expect(ada.locator(".game.playing")).to_be_visible()
    in_sight(ada, ".paper", ".tools", ".verdict", ".murmur", ".players")


@pytest.mark.parametrize("size", SIZES)
def test_nothing_is_cut_off(visit: Callable[..., Any], size: tuple[int, int]) -> None:
    page = sideways(visit, size, "", locale="fr-FR")
    for view in VIEWS:
        page.evaluate("(view) => { location.hash = `#/${view}`; }", view)
        expect(page.locator("main")).to_have_attribute("data-view", view)
        page.wait_for_timeout(300)
        in_sight(page, "main .word, main h1, main h2, main .invitation")
