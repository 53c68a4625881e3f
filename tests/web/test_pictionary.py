"""Pictionary in a real browser: a whole game, the end of the clock, the infinite mode, names that are markup."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.waiting import expect
from tests.web.test_draw import CONTRASTS, PHONE, TOPS, ink, place

pytestmark = pytest.mark.browser

# Strokes, as shares of the sheet, with nearly all ink in one half; a diagonal keeps the drawing square.
HALVES = {
    "left": [(0.8, 0.8), (0.2, 0.2), (0.2, 0.8), (0.24, 0.2), (0.22, 0.8)],
    "right": [(0.2, 0.8), (0.8, 0.2), (0.8, 0.8), (0.76, 0.2), (0.78, 0.8)],
    "top": [(0.8, 0.8), (0.2, 0.2), (0.8, 0.2), (0.2, 0.24), (0.8, 0.22)],
    "bottom": [(0.8, 0.2), (0.2, 0.8), (0.8, 0.8), (0.2, 0.76), (0.8, 0.78)],
}


VOICE = """() => {
  window.said = [];
  window.SpeechSynthesisUtterance = class { constructor(text) { this.text = text; } };
  speechSynthesis.getVoices = () => [{ lang: "en-GB", localService: true }];
  speechSynthesis.speak = ({ text }) => window.said.push(text);
}"""


def draw(page: Any, half: str, *, lift: bool = True) -> None:
    points = HALVES[half]
    page.mouse.move(*place(page, *points[0]))
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*place(page, *point), steps=6)
    if lift:
        page.mouse.up()


def press(page: Any, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def begin(page: Any, how: str) -> str:
    """Press a button that begins a round; return the word to draw."""
    with page.expect_response("**/rounds") as response:
        press(page, how)
    expect(page.locator(".game.playing")).to_be_visible()
    return str(response.value.json()["word"])


def over(page: Any) -> Any:
    expect(page.locator(".game.over")).to_be_visible(timeout=15_000)
    return page.locator(".game")


@pytest.mark.slow
def test_a_whole_game_to_the_leaderboard(visit: Callable[..., Any]) -> None:
    page = visit(path="#/pictionary")
    drawn = begin(page, "Start")
    draw(page, drawn)
    for _ in range(5):
        expect(page.locator(".game.won")).to_be_visible(timeout=15_000)
        expect(page.locator(".murmur strong")).to_have_text(f"{drawn}!")
        assert page.evaluate("document.activeElement.textContent") == "Next word", "Enter goes on"
        drawn = begin(page, "Next word")
        expect(page.locator(".verdict .word")).to_have_text(drawn)
        draw(page, drawn)
    over(page)
    assert page.locator(".blots .won").count() == 6
    press(page, "See the result")
    expect(page.locator(".finale h1")).to_contain_text("points")
    assert page.locator(".papers li.won").count() == 6
    page.wait_for_timeout(3000)
    inks = page.evaluate("""() => [...document.querySelectorAll(".papers canvas")].map((c) =>
      c.getContext("2d").getImageData(0, 0, c.width, c.height).data.filter((v, i) => i % 4 === 3 && v > 0).length)""")
    assert min(inks) > 100, "every drawing was drawn again"
    page.get_by_role("textbox").fill("<b>Ada</b>")
    press(page, "Enter")
    expect(page.locator(".board .who")).to_have_text("<b>Ada</b>")
    assert page.locator(".board b").count() == 0
    press(page, "Play again")
    expect(page.get_by_role("button", name="Start", exact=True)).to_be_visible()


INKS = """async () => {
  const canvas = document.querySelector(".papers canvas");
  const ink = () => canvas.getContext("2d", { willReadFrequently: true })
    .getImageData(0, 0, canvas.width, canvas.height).data.filter((value, at) => at % 4 === 3 && value > 0).length;
  const seen = [];
  for (let count = 0; count < 60; count++) {
    seen.push(ink());
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return seen;
}"""


@pytest.mark.parametrize("motion", ["no-preference", "reduce"])
def test_drawings_are_drawn_again_by_keyboard(visit: Callable[..., Any], motion: str) -> None:
    page = visit(path="#/pictionary", reduced_motion=motion)
    begin(page, "Start")
    for x in (0.25, 0.75):
        page.mouse.move(*place(page, x, 0.2))
        page.mouse.down()
        page.mouse.move(*place(page, x, 0.8), steps=30)
        page.mouse.up()
        page.wait_for_timeout(300)
    for _ in range(5):
        if page.locator(".game.playing").count():
            press(page, "Skip")
        over(page)
        begin(page, "Next word")
    press(page, "Skip")
    press(page, "See the result")
    first = page.evaluate(INKS)
    full = first[-1]
    assert full > 100
    if motion == "reduce":
        assert set(first) == {full}, "nothing moves that was not asked for"
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Draw again before my eyes"
    page.keyboard.press("Enter")
    again = page.evaluate(INKS)[2:]  # the first picture may be from before the first frame
    assert again == sorted(again)
    assert again[-1] == full
    # Two strokes: whole ones where less motion is wished for.
    assert len(set(again) - {0, full}) == 1 if motion == "reduce" else len(set(again)) > 5


def test_wrong_guesses_are_crossed_out_and_skipping_loses(visit: Callable[..., Any]) -> None:
    page = visit(path="#/pictionary")
    word = begin(page, "Start")
    # The opposite half: on the way to a neighbouring one the ink may lie in both for a moment.
    wrong = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}[word]
    draw(page, wrong)
    expect(page.locator(".murmur span")).to_have_text(f"{wrong}?")
    press(page, "Skip")
    game = over(page)
    assert "lost" in game.get_attribute("class")
    assert page.locator(".tally dd").first.inner_text() == "0"
    assert page.locator("canvas.ink").evaluate("(canvas) => canvas.inert")
    begin(page, "Next word")
    page.keyboard.press("z")
    assert ink(page) == 0, "the last word's drawing does not come back"
    expect(page.get_by_role("button", name="Undo")).to_be_disabled()


def test_a_pen_that_is_held_down_draws_nothing_more_once_the_round_is_over(visit: Callable[..., Any]) -> None:
    page = visit(path="#/pictionary")
    draw(page, begin(page, "Start"), lift=False)
    over(page)
    page.wait_for_timeout(100)
    drawn = ink(page)
    page.mouse.move(*place(page, 0.1, 0.1), steps=6)
    page.mouse.move(*place(page, 0.9, 0.1), steps=6)
    page.wait_for_timeout(100)
    assert ink(page) == drawn > 0
    page.mouse.up()


@pytest.mark.parametrize("width", [390, 360, 320])
def test_the_sheet_stays_where_it_is_while_the_clock_runs(visit: Callable[..., Any], width: int) -> None:
    page = visit(**{**PHONE, "width": width}, path="#/pictionary", locale="fr-FR")
    begin(page, "Infini")
    tops = page.evaluate(TOPS, ["10", "9", "0", "12,3\u00a0s"])
    press(page, "Passer")
    over(page)
    assert tops == page.evaluate(TOPS, ["", "12,3\u00a0s"])
    assert len(tops) == 1


def test_the_newest_guess_is_seen_on_a_phone(visit: Callable[..., Any]) -> None:
    page = visit(**PHONE, path="#/pictionary", locale="fr-FR")
    word = begin(page, "Commencer")
    seen = {"label": "", "probability": 0.5}

    def answer(route: Any) -> None:
        ends = {"state": "won", "took": 3.1, "points": 80} if seen["label"] == word else {"state": "open", "left": 10}
        route.fulfill(json={"unsure": False, "predictions": [seen], "standing": None, **ends})

    page.route("**/guess", answer)
    murmur = page.locator(".murmur")
    words = {"hot air balloon": "montgolfière", "birthday cake": "gâteau d’anniversaire", "eyeglasses": "lunettes"}
    for seen["label"], newest in [*words.items(), ("hot air balloon", "montgolfière")]:
        draw(page, "top")
        expect(murmur.locator("span")).to_have_text(f"{newest}\u00a0?")
        assert murmur.evaluate("(line) => line.scrollWidth <= line.clientWidth"), newest
        told = murmur.inner_text().removesuffix("\u00a0?")
        assert told.count(newest) == 1, "what was crossed out is not repeated"
    seen["label"] = word
    draw(page, "top")
    over(page)
    expect(murmur.locator("strong")).to_have_text(f"{word}\u00a0!")
    assert murmur.evaluate("(line) => line.scrollWidth <= line.clientWidth")
    assert murmur.locator("s").count() > 0, "as many of the others as there is room for"


@pytest.mark.slow
def test_the_round_ends_when_the_time_is_up(visit: Callable[..., Any]) -> None:
    page = visit(path="#/pictionary")
    begin(page, "Start")
    expect(page.locator(".game.lost")).to_be_visible(timeout=60_000)
    assert "I did not see it" in page.locator(".verdict .overline").text_content()


def test_infinite_has_no_clock_and_tells_what_it_keeps(visit: Callable[..., Any]) -> None:
    page = visit(path="#/pictionary")
    expect(page.get_by_text("is kept on this server for review")).to_be_visible()
    draw_this = begin(page, "Infinite")
    draw(page, draw_this)
    over(page)
    expect(page.locator(".verdict .overline")).to_have_text("Kept for review")
    press(page, "Next word")
    expect(page.locator(".game.playing")).to_be_visible()
    press(page, "Skip")
    over(page)
    press(page, "That’s enough")
    expect(page.locator(".finale")).to_contain_text("waiting for review: 1.")
    assert "I saw" not in page.locator(".finale").inner_text(), "on blank paper there was nothing to see"
    assert page.locator(".honours").count() == 0


@pytest.mark.parametrize("drawn", [False, True])
def test_infinite_that_ends_in_the_first_word_shows_what_was_drawn(visit: Callable[..., Any], *, drawn: bool) -> None:
    page = visit(path="#/pictionary")
    word = begin(page, "Infinite")
    if drawn:
        wrong = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}[word]
        draw(page, wrong)
        expect(page.locator(".murmur span")).to_have_text(f"{wrong}?")
    press(page, "That’s enough")
    expect(page.locator(".finale h1")).to_have_text("Thank you")
    assert page.locator(".papers li").all_inner_texts() == ([f"{word}\nI saw: {wrong}"] if drawn else [])
    assert page.get_by_role("button", name="Draw again before my eyes").count() == drawn


def test_leaving_in_the_middle_leaves_nothing_running(visit: Callable[..., Any]) -> None:
    page = visit(path="#/pictionary")
    begin(page, "Start")
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("link", name="Draw", exact=True).click()
    expect(page.locator(".game")).to_have_count(0)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(500)
    # The other view asks for what it needs itself.
    assert [url for url in asked if "/v1/games" in url or "/v1/rounds" in url] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [{"width": 1280, "height": 800}, PHONE, {**PHONE, "width": 844, "height": 390}])
def test_every_stage_is_readable_and_fits(visit: Callable[..., Any], scheme: str, size: dict[str, Any]) -> None:
    page = visit(path="#/pictionary", color_scheme=scheme, locale="fr-FR", **size)

    def check() -> None:
        page.wait_for_timeout(350)
        assert page.evaluate(CONTRASTS) == []
        assert page.evaluate("document.documentElement.scrollWidth <= screen.width")

    check()
    rules = page.locator(".cover").evaluate("(cover) => cover.scrollHeight <= cover.clientHeight")
    assert rules, "the rules fit on the sheet"
    begin(page, "Commencer")
    check()
    sheet = page.locator("canvas.ink").bounding_box()
    assert sheet["y"] + sheet["height"] <= size["height"], "the whole sheet is visible without scrolling"
    press(page, "Passer")
    over(page)
    check()


@pytest.mark.parametrize("late", ["**/v1/games", "**/rounds", "**/guess"])
def test_nothing_goes_on_behind_the_back_of_who_has_left(visit: Callable[..., Any], late: str) -> None:
    page = visit(path="#/pictionary")
    page.clock.install()
    page.evaluate(VOICE)
    if late == "**/guess":
        begin(page, "Start")
    held: list[Any] = []
    page.route(late, lambda route: held.append(route))
    press(page, "Skip" if late == "**/guess" else "Start")
    while not held:
        page.wait_for_timeout(50)
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("link", name="Draw").click()
    expect(page.get_by_text("I am watching the pen.")).to_be_visible()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    with page.expect_response(late):
        held[0].continue_()
    page.unroute(late)
    page.wait_for_timeout(200)
    page.clock.fast_forward(25_000)
    page.wait_for_timeout(200)
    assert [url for url in asked if "/rounds" in url] == []
    assert page.evaluate("() => window.said") == []


def test_a_game_is_not_thrown_away_by_the_language(visit: Callable[..., Any]) -> None:
    page = visit(path="#/pictionary")
    word = begin(page, "Start")
    asked: list[str] = []

    def reply(act: str) -> None:
        def answer(dialog: Any) -> None:
            asked.append(dialog.message)
            getattr(dialog, act)()

        page.once("dialog", answer)

    reply("dismiss")
    press(page, "Français")
    expect(page.locator(".verdict .word")).to_have_text(word)
    reply("accept")
    press(page, "Français")
    expect(page.get_by_role("button", name="Commencer")).to_be_visible()
    assert asked == ["The game on this page ends with this, and so does its result. Change the language?"] * 2
    press(page, "English")
    expect(page.get_by_role("button", name="Start", exact=True)).to_be_visible()


def test_a_game_is_not_thrown_away_by_a_link_or_by_back(visit: Callable[..., Any]) -> None:
    page = visit(path="#/models")
    page.get_by_role("link", name="Draw", exact=True).click()
    page.get_by_role("link", name="Pictionary").click()
    word = begin(page, "Start")
    asked: list[str] = []

    def refuse(dialog: Any) -> None:
        asked.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", refuse)
    for leave in (page.get_by_role("link", name="Models").click, page.go_back, lambda: page.evaluate("history.go(-2)")):
        leave()
        page.wait_for_timeout(200)
        expect(page.locator(".verdict .word")).to_have_text(word)
        expect(page).to_have_url(re.compile("#/pictionary$"))
    assert asked == ["The game on this page ends with this, and so does its result. Leave it?"] * 3
    page.remove_listener("dialog", refuse)
    page.on("dialog", lambda dialog: dialog.accept())
    page.go_back()
    expect(page.get_by_text("I am watching the pen.")).to_be_visible()
    page.go_back()
    expect(page.locator("main")).to_have_attribute("data-view", "models")


def test_a_result_is_not_thrown_away_by_the_language(visit: Callable[..., Any]) -> None:
    page = visit(path="#/pictionary")
    begin(page, "Start")
    for _ in range(5):
        press(page, "Skip")
        over(page)
        begin(page, "Next word")
    press(page, "Skip")
    press(page, "See the result")
    asked: list[str] = []

    def refuse(dialog: Any) -> None:
        asked.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", refuse)
    press(page, "Français")
    expect(page.locator(".finale h1")).to_contain_text("points")
    assert len(asked) == 1
    page.get_by_role("textbox").fill("Ada")
    press(page, "Enter")
    expect(page.locator(".signed")).to_be_visible()
    press(page, "Français")
    expect(page.get_by_role("button", name="Commencer")).to_be_visible()
    assert len(asked) == 1, "the score is safe"
    press(page, "English")


def test_a_double_click_presses_one_button(visit: Callable[..., Any]) -> None:
    page = visit(path="#/pictionary")
    with page.expect_response("**/rounds"):
        page.get_by_role("button", name="Infinite", exact=True).dblclick()
    expect(page.locator(".game.playing")).to_be_visible()
    page.get_by_role("button", name="Skip", exact=True).click()
    over(page)
    with page.expect_response("**/rounds"):
        page.get_by_role("button", name="Next word", exact=True).dblclick()
    page.wait_for_timeout(500)
    expect(page.locator(".game.playing")).to_be_visible()
    assert page.locator(".finale").count() == 0, "the second click was not for the button in its place"


def test_an_impatient_visitor_begins_one_game(visit: Callable[..., Any]) -> None:
    page = visit(path="#/pictionary")
    begun: list[str] = []

    def answer_late(route: Any) -> None:
        begun.append(route.request.url)
        page.wait_for_timeout(300)
        route.continue_()

    page.route("**/v1/games", answer_late)
    page.get_by_role("button", name="Start", exact=True).dblclick()
    expect(page.locator(".game.playing")).to_be_visible()
    assert len(begun) == 1
