"""What the page does when the server is away for a moment: nothing that was drawn, chosen or played may be lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest

from inksight.serving import create_app
from inksight.settings import ServeSettings
from tests.serving.conftest import running
from tests.waiting import expect
from tests.web import test_eye
from tests.web.test_classify import ColoursClassifier, chosen, photo
from tests.web.test_draw import LEFT, ink, place, stroke
from tests.web.test_pictionary import begin, draw, over, press
from tests.web.test_race import names, open_room

pytestmark = pytest.mark.browser

OFFLINE = "The server does not answer. Trying again …"


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Return a function that opens an address; unlike `visit`, requests may fail, but no program of the page."""
    contexts: list[Any] = []
    wrong: list[str] = []

    def opened(address: str, **options: Any) -> Any:
        contexts.append(browser.new_context(**{"locale": "en-GB", **options}))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(address)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []


def abort_once(page: Any, pattern: str, *, late: bool = False) -> list[str]:
    """Fail the next request like this; `late`: when the server has answered it already. Return a list of those."""
    failed: list[str] = []

    def fail(route: Any) -> None:
        if failed:
            route.continue_()
            return
        failed.append(route.request.url)
        if late:
            route.fetch()
        route.abort()

    page.route(pattern, fail)
    return failed


def foot(page: Any) -> Any:
    return expect(page.locator("#colophon"))


@pytest.mark.parametrize("late", [False, True])
def test_the_last_word_about_a_round_is_asked_for_again(
    open_page: Callable[..., Any], address: str, *, late: bool
) -> None:
    page = open_page(address + "#/pictionary")
    begin(page, "Start")
    failed = abort_once(page, "**/guess", late=late)
    press(page, "Skip")
    over(page)
    assert len(failed) == 1
    foot(page).not_to_contain_text("does not answer")
    assert "NaN" not in page.locator(".game").inner_text()
    expect(page.get_by_role("button", name="Next word")).to_be_focused()


def test_a_game_whose_last_guess_was_lost_comes_to_its_end(open_page: Callable[..., Any], address: str) -> None:
    page = open_page(address + "#/pictionary")
    begin(page, "Start")
    for _ in range(5):
        press(page, "Skip")
        over(page)
        begin(page, "Next word")
    # As a page whose last question never arrived: it shows "Next word" where the server has no more.
    session = page.evaluate("performance.getEntriesByType('resource').map((one) => one.name)")
    (game,) = {url.split("/games/")[1].split("/")[0] for url in session if "/games/" in url}
    page.route("**/guess", lambda route: route.fulfill(status=400, json={"error": {"message": "no"}}))
    press(page, "Skip")
    over(page)
    press(page, "Next word")
    expect(page.locator(".finale h1")).to_contain_text("points")
    state = page.evaluate("(id) => fetch(`/v1/games/${id}`).then((answer) => answer.json())", game)["state"]
    assert state == "done"
    expect(page.get_by_role("textbox", name="Your name")).to_be_visible()


def test_the_foot_does_not_stay_offline(open_page: Callable[..., Any], address: str) -> None:
    page = open_page(address + "#/pictionary")
    word = begin(page, "Start")
    failed = abort_once(page, "**/guess")
    draw(page, word)
    expect(page.locator(".game.won")).to_be_visible()
    assert len(failed) == 1
    foot(page).to_contain_text("halves, version 1")


eye_address = pytest.fixture(scope="module", name="eye_address")(test_eye.address.__wrapped__)  # type: ignore[attr-defined]


@pytest.mark.parametrize("late", [False, True])
def test_an_answer_to_a_picture_is_not_lost(open_page: Callable[..., Any], eye_address: str, *, late: bool) -> None:
    page = open_page(eye_address + "#/eye")
    press(page, "Start")
    expect(page.locator(".eye.playing")).to_be_visible()
    failed = abort_once(page, "**/answer", late=late)
    page.keyboard.press("1")
    expect(page.get_by_role("button", name="Next picture")).to_be_focused()
    assert len(failed) == 1
    if not late:
        expect(page.locator(".proof .kept")).to_be_visible()


def test_the_seal_can_be_checked_without_https(open_page: Callable[..., Any], eye_address: str) -> None:
    page = open_page(eye_address)
    page.context.add_init_script("Object.defineProperty(crypto, 'subtle', { value: undefined })")
    page.goto(eye_address + "#/eye")
    page.reload()
    assert page.evaluate("crypto.subtle === undefined")
    press(page, "Start")
    expect(page.locator(".eye.playing")).to_be_visible()
    page.keyboard.press("Control+2")
    expect(page.locator(".eye.playing")).to_be_visible()
    page.keyboard.press("2")
    expect(page.locator(".proof .kept")).to_have_text("The seal fits.")


@pytest.fixture(scope="module")
def photos_address() -> Iterator[str]:
    with running(create_app(ServeSettings(), models=[ColoursClassifier()])) as url:
        yield url + "/"


def test_a_photo_waits_for_the_server(open_page: Callable[..., Any], photos_address: str) -> None:
    page = open_page(photos_address + "#/classify")
    expect(page.locator(".share")).to_contain_text("knows 3 kinds")
    away = True
    page.route("**/v1/predict", lambda route: route.abort() if away else route.continue_())
    chosen(page, "red.jpg", photo(100, 80, "red"))
    foot(page).to_contain_text(OFFLINE)
    expect(page.locator(".verdict .share")).to_have_text(OFFLINE)
    expect(page.locator("p.unseen")).to_have_text(OFFLINE)
    expect(page.locator("img.photo")).to_be_visible()
    away = False
    expect(page.locator(".verdict .word")).to_have_text("red")
    expect(page.locator(".looked .stamp img")).to_be_visible()
    foot(page).to_contain_text("colours, version 7")
    page.get_by_role("button", name="Français").click()
    expect(page.locator("img.photo")).to_be_visible()
    expect(page.locator(".looked .stamp img")).to_be_visible()


def test_an_older_picture_does_not_overtake_a_newer_one(open_page: Callable[..., Any], photos_address: str) -> None:
    page = open_page(photos_address + "#/classify")
    expect(page.locator(".share")).to_contain_text("knows 3 kinds")
    # The first picture takes long to be read.
    page.evaluate("""() => {
      const read = window.createImageBitmap;
      let first = true;
      window.createImageBitmap = async (...given) => {
        const slow = first;
        first = false;
        if (slow) await new Promise((resolve) => setTimeout(resolve, 800));
        return read(...given);
      };
    }""")
    chosen(page, "red.jpg", photo(100, 80, "red"))
    chosen(page, "blue.jpg", photo(100, 80, "blue"))
    expect(page.locator(".verdict .word")).to_have_text("blue")
    page.wait_for_timeout(1200)
    expect(page.locator(".verdict .word")).to_have_text("blue")


def test_a_wrong_file_does_not_cost_the_answer_that_is_on_its_way(
    open_page: Callable[..., Any], photos_address: str
) -> None:
    page = open_page(photos_address + "#/classify")
    expect(page.locator(".share")).to_contain_text("knows 3 kinds")
    held: list[Any] = []
    page.route("**/v1/predict", lambda route: held.append(route))
    with page.expect_request("**/v1/predict"):
        chosen(page, "red.jpg", photo(100, 80, "red"))
    chosen(page, "notes.txt", b"hello", "text/plain")
    expect(page.locator(".notice")).to_contain_text("notes.txt is not a picture.")
    held[0].continue_()
    expect(page.locator(".verdict .word")).to_have_text("red")
    expect(page.locator(".looked .stamp img")).to_be_visible()


def test_a_server_that_says_nothing_counts_as_away(open_page: Callable[..., Any], address: str) -> None:
    page = open_page(address)
    expect(page.locator(".share")).to_contain_text("My guesses appear here.")
    page.route("**/v1/predict", lambda route: None)
    stroke(page, *LEFT)
    foot(page).to_contain_text("halves")
    expect(page.locator("#colophon")).to_contain_text(OFFLINE, timeout=30_000)
    page.unroute("**/v1/predict")
    expect(page.locator(".verdict .word")).to_have_text("left", timeout=15_000)


@pytest.mark.parametrize(
    ("locale", "said"),
    [
        ("en-GB", ["I am watching the pen.", "The server does not answer.", "Draw on: I am trying again …"]),
        ("fr-FR", ["Je regarde la plume.", "Le serveur ne répond pas.", "Continuez\u00a0: nouvel essai…"]),
    ],
)
def test_who_draws_is_told_where_the_guess_stands(
    open_page: Callable[..., Any], address: str, locale: str, said: list[str]
) -> None:
    page = open_page(address, locale=locale, viewport={"width": 320, "height": 568})
    word, detail = page.locator(".verdict .word"), page.locator(".verdict .share")
    expect(word).to_have_text(said[0])
    sheet = place(page, 0, 0)
    page.route("**/v1/predict", lambda route: route.abort())
    stroke(page, *LEFT)
    expect(word).to_have_text(said[1])
    expect(detail).to_have_text(said[2])
    expect(page.locator("p.unseen")).to_have_text(f"{said[1]} {said[2]}")
    assert place(page, 0, 0) == sheet
    page.keyboard.press("Delete")
    expect(word).to_have_text(said[0])
    stroke(page, *LEFT)
    expect(word).to_have_text(said[1])
    page.unroute("**/v1/predict")
    expect(word).to_have_text("left")


def test_nobody_hears_of_a_server_that_stumbles(open_page: Callable[..., Any], address: str) -> None:
    page = open_page(address)
    word = page.locator(".verdict .word")
    expect(word).to_have_text("I am watching the pen.")
    page.clock.install()
    page.clock.pause_at(datetime.now() + timedelta(minutes=1))
    page.evaluate("""() => {
      window.told = [];
      new MutationObserver(() => window.told.push(document.body.textContent))
        .observe(document.body, { childList: true, subtree: true, characterData: true });
    }""")
    abort_once(page, "**/v1/predict")
    with page.expect_event("requestfailed"):
        stroke(page, *LEFT)
    page.wait_for_timeout(300)  # until the page knows, whose clock stands still
    with page.expect_request_finished(lambda request: request.url.endswith("v1/predict")):
        page.clock.run_for(500)
    expect(word).to_have_text("left")
    page.clock.run_for(5000)
    assert "The server does not answer" not in page.evaluate("window.told.join()")


def test_a_link_to_a_race_waits_for_the_server(open_page: Callable[..., Any], address: str) -> None:
    ada = open_page(address + "#/pictionary")
    link = open_room(ada, "Ada")
    late = open_page(address)
    failed = abort_once(late, "**/v1/race/rooms/*")
    late.goto(link)
    expect(late.get_by_role("button", name="Join")).to_be_visible()
    assert len(failed) == 1
    foot(late).not_to_contain_text("does not answer")


@dataclass
class Lines:
    """The WebSockets of a page, one after the other, which a test can mute, cut, or keep from being made anew."""

    made: list[Any] = field(default_factory=list)
    muted: set[int] = field(default_factory=set)
    down: bool = False

    def __call__(self, line: Any) -> None:
        if self.down:
            line.close(code=4999)
            return
        server, number = line.connect_to_server(), len(self.made)
        self.made.append(line)
        line.on_message(lambda said: None if number in self.muted else server.send(said))
        server.on_message(lambda said: None if number in self.muted else line.send(said))

    def mute(self) -> None:
        self.muted.add(len(self.made) - 1)

    def cut(self) -> None:
        self.made[-1].close(code=4999)


def begun_race(open_page: Callable[..., Any], address: str) -> tuple[Any, Any, Lines]:
    """Two players in the first round: their pages, and the lines of the second."""
    ada, bo = open_page(address + "#/pictionary"), open_page(address)
    link = open_room(ada, "Ada")
    lines = Lines()
    bo.route_web_socket("**/play", lines)
    # What is down lets nothing else through: the page would take a server that answers for one that refuses races.
    bo.route("**/v1/race/rooms/*", lambda route: route.abort() if lines.down else route.continue_())
    bo.goto(link)
    bo.get_by_role("textbox", name="Your name").fill("Bo")
    press(bo, "Join")
    expect(ada.locator(".players li")).to_have_count(2)
    press(ada, "Start")
    expect(bo.locator(".game.playing")).to_be_visible()
    return ada, bo, lines


def test_what_is_drawn_while_the_line_is_down_is_judged(open_page: Callable[..., Any], address: str) -> None:
    _, bo, lines = begun_race(open_page, address)
    lines.down = True
    lines.cut()
    foot(bo).to_contain_text(OFFLINE)
    draw(bo, bo.locator(".verdict .word").inner_text())
    bo.wait_for_timeout(300)
    assert "won" not in bo.locator(".game").get_attribute("class")
    lines.down = False
    expect(bo.locator(".game.won")).to_be_visible(timeout=10_000)
    assert len(lines.made) == 2
    assert names(bo) == ["Ada", "Bo"], "the same seat"


def test_a_line_that_went_dead_is_made_anew(open_page: Callable[..., Any], address: str) -> None:
    _, bo, lines = begun_race(open_page, address)
    lines.mute()
    draw(bo, bo.locator(".verdict .word").inner_text())
    expect(bo.locator(".game.won")).to_be_visible(timeout=15_000)
    assert len(lines.made) == 2


@pytest.mark.slow
def test_the_last_rounds_drawing_is_not_sent_as_this_ones(open_page: Callable[..., Any], address: str) -> None:
    ada, bo, lines = begun_race(open_page, address)
    draw(bo, bo.locator(".verdict .word").inner_text())
    expect(bo.locator(".game.won")).to_be_visible()
    expect(ada.locator(".game.over")).to_be_visible()
    before = ink(bo)
    # Away during the countdown: the next that the page hears is that the round has begun.
    lines.mute()
    press(ada, "Next word")
    expect(ada.locator(".game.playing")).to_be_visible()
    lines.cut()
    expect(bo.locator(".game.playing")).to_be_visible()
    assert before > 0
    assert ink(bo) == 0


def test_whoever_comes_back_has_a_line_that_is_alive(open_page: Callable[..., Any], address: str) -> None:
    _, bo, lines = begun_race(open_page, address)
    lines.mute()  # as while the phone was in a pocket: nobody tells the page
    bo.evaluate("dispatchEvent(new Event('online'))")
    expect(bo.locator(".game.playing")).to_be_visible()
    draw(bo, bo.locator(".verdict .word").inner_text())
    expect(bo.locator(".game.won")).to_be_visible(timeout=4_000)  # sooner than a line is taken for dead
    assert len(lines.made) == 2
    assert names(bo) == ["Ada", "Bo"], "the same seat"


@pytest.mark.slow
def test_a_start_that_nobody_heard_can_be_given_again(open_page: Callable[..., Any], address: str) -> None:
    ada, bo = open_page(address), open_page(address)
    lines = Lines()
    ada.route_web_socket("**/play", lines)
    ada.goto(address + "#/pictionary")
    bo.goto(open_room(ada, "Ada"))
    bo.get_by_role("textbox", name="Your name").fill("Bo")
    press(bo, "Join")
    expect(ada.locator(".players li")).to_have_count(2)
    # It is shown for a quarter of a second, between two looks of a test.
    ada.evaluate(
        """(text) => {
          const foot = document.getElementById("colophon");
          new MutationObserver(() => {
            if (foot.textContent.includes(text)) document.documentElement.dataset.told = "";
          }).observe(foot, { childList: true, subtree: true, characterData: true });
        }""",
        OFFLINE,
    )
    lines.mute()
    press(ada, "Start")
    expect(ada.locator("html")).to_have_attribute("data-told", "")
    foot(ada).not_to_contain_text(OFFLINE)
    assert len(lines.made) == 2
    press(ada, "Start")
    expect(bo.locator(".game.playing")).to_be_visible()
