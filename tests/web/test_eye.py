"""Eye vs AI in a real browser: a game from the first picture to the verdict, with the seal checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from inksight.data.dataset import DatasetWriter
from inksight.serving import create_app
from inksight.serving.eye import LEVELS
from inksight.settings import ServeSettings
from tests.serving.conftest import CLASSES, HalvesClassifier, running
from tests.waiting import expect
from tests.web.test_draw import CONTRASTS, PHONE
from tests.web.test_pictionary import press

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


# How far the text of an answer is from its button's edges, and how many lines it has.
ANSWER = """(button, name) => {
  button.textContent = `1 · ${name}`;
  const text = document.createRange();
  text.selectNodeContents(button);
  const [inner, outer] = [text.getBoundingClientRect(), button.getBoundingClientRect()];
  const tops = new Set([...text.getClientRects()].map(({ top }) => top));
  return [inner.left - outer.left, outer.right - inner.right, tops.size];
}"""


@pytest.mark.parametrize(("size", "scheme"), [({"width": 1280, "height": 800}, "light"), (PHONE, "dark")])
def test_a_game_to_the_verdict(visit: Callable[..., Any], size: dict[str, Any], scheme: str) -> None:
    page = visit(path="#/eye", color_scheme=scheme, **size)
    press(page, "Easy")
    expect(page.locator(".leaderboard h2")).to_have_text("Leaderboard · Easy")
    press(page, "Start")
    expect(page.locator("#colophon")).to_contain_text("halves")
    for number in range(10):
        expect(page.locator(".eye.playing")).to_be_visible()
        assert page.locator(".choices button").count() == 4
        page.keyboard.press("1")
        expect(page.locator(".proof .kept")).to_have_text("The seal fits.")
        if number == 0:
            page.wait_for_timeout(300)
            assert page.evaluate(CONTRASTS) == []
            assert page.evaluate("document.documentElement.scrollWidth <= screen.width")
        page.locator(".choices .stamp-button").click()
    expect(page.locator(".finale h1")).to_be_visible()
    expect(page.locator(".finale .overline").first).to_have_text("Result · Easy")
    page.get_by_role("textbox").fill("Ada")
    press(page, "Enter")
    expect(page.locator(".board .who").first).to_have_text("Ada")
    press(page, "Play again")
    for name in ("Hard", "Easy"):
        page.get_by_role("button", name=name).focus()
        page.keyboard.press("Enter")
        expect(page.locator(".leaderboard h2")).to_have_text(f"Leaderboard · {name}")
        expect(page.get_by_role("button", name=name)).to_be_focused()
        expect(page.locator(".choices .how")).to_contain_text(f"{LEVELS[name.lower()].seconds:.0f} seconds")
        if name == "Hard":
            expect(page.locator(".board")).to_have_text("Nobody yet.")
    expect(page.locator(".board .who").first).to_have_text("Ada")


def test_the_clock_is_in_sight_when_a_game_begins(visit: Callable[..., Any]) -> None:
    page = visit(path="#/eye", locale="fr-FR", **{**PHONE, "width": 320, "height": 568})
    press(page, "Commencer")
    expect(page.locator(".eye.playing")).to_be_visible()
    expect(page.locator(".verdict .share")).to_be_in_viewport(ratio=1)
    expect(page.locator(".choices button").last).to_be_in_viewport(ratio=1)
    # All lines begin at the same edge; a word without a place to break does not widen its column.
    for name, lines in [("pissenlit", 1), ("télécommande", 2), ("visage souriant", 2), ("rhinoceros" * 3, 4)]:
        left, right, rows = page.locator(".choices button").first.evaluate(ANSWER, name)
        assert left == 10, name
        assert right >= 10, name
        assert rows <= lines, name
    assert page.evaluate("document.documentElement.scrollWidth <= screen.width")


@pytest.mark.parametrize("lie", ["machine", "salt"])
def test_an_answer_that_was_changed_breaks_the_seal(visit: Callable[..., Any], lie: str) -> None:
    page = visit(path="#/eye")

    def change(route: Any) -> None:
        response = route.fetch()
        told = response.json()
        other = next(name for name in CLASSES if name != told["machine"])
        route.fulfill(response=response, json={**told, lie: other if lie == "machine" else "0" * 32})

    page.route("**/v1/rounds/*/answer", change)
    press(page, "Start")
    expect(page.locator(".eye.playing")).to_be_visible()
    # What the key of the 2 says on a French keyboard.
    with page.expect_request("**/answer") as asked:
        page.locator("body").dispatch_event("keydown", {"key": "é", "code": "Digit2", "bubbles": True})
    assert asked.value.post_data_json["label"], "not for want of time"
    expect(page.locator(".proof .broken")).to_have_text("The seal does not fit!")
    expect(page.locator(".proof code")).to_contain_text("≠")
    assert page.evaluate(CONTRASTS) == []


@pytest.mark.parametrize(
    ("locale", "machine", "verdict", "summary"),
    [
        ("en-GB", 100, "You were faster", "You: 1 of 10 right, 137 points with the bonus; at best 1 in a row."),
        ("fr-FR", 0, "Vous voyez mieux", "Machine : 0 juste sur 10, 0 point."),
    ],
)
def test_who_is_faster_need_not_see_better(
    visit: Callable[..., Any], locale: str, machine: int, verdict: str, summary: str
) -> None:
    page = visit(path="#/eye", locale=locale)

    def win(route: Any) -> None:
        response = route.fetch()
        told = response.json()
        told |= {"correct": True, "points": 137}
        told["standing"] |= {"state": "done", "score": 137, "machine_score": machine, "best_streak": 1}
        route.fulfill(response=response, json=told)

    page.route("**/v1/rounds/*/answer", win)
    page.locator(".choices .stamp-button").click()
    expect(page.locator(".eye.playing")).to_be_visible()
    page.keyboard.press("1")
    expect(page.locator(".verdict .overline")).to_have_text("100 + 37 points")
    page.locator(".choices .stamp-button").click()
    expect(page.locator(".finale h1")).to_have_text(verdict)
    assert summary in page.locator(".headline").inner_text().replace("\u00a0", " ")
