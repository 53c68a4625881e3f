"""A race of two pages in a real browser: by link, with a page that is loaded again in the middle."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from inksight.serving import rooms
from inksight.serving.routes import race as race_routes
from tests.waiting import expect
from tests.web.test_draw import CONTRASTS, PHONE, ink
from tests.web.test_pictionary import draw, press

pytestmark = pytest.mark.browser

# A drawing of the one is at no moment taken for the other.
OPPOSITE = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}


def open_room(page: Any, name: str) -> str:
    """Open a room from Pictionary; return its link, as the page shows it."""
    press(page, "Race")
    page.get_by_role("textbox", name="Your name").fill(name)
    press(page, "Open a room")
    link = page.get_by_role("textbox", name="Send this link to the others:")
    expect(link).to_be_visible()
    return str(link.input_value())


def enter(visit: Callable[..., Any], link: str, name: str, **options: Any) -> Any:
    """Follow a link to a room in a browser of one's own, and join."""
    page = visit(path=re.sub("^[^#]*", "", link), **options)
    page.get_by_role("textbox", name="Your name").fill(name)
    press(page, "Join")
    return page


def names(page: Any) -> list[str]:
    return list(page.locator(".players .who").all_inner_texts())


def test_a_room_that_opens_late_calls_nobody_back(visit: Callable[..., Any]) -> None:
    page = visit(path="#/race")
    held: list[Any] = []
    page.route("**/v1/race/rooms", lambda route: held.append(route))
    page.get_by_role("textbox", name="Your name").fill("Ada")
    press(page, "Open a room")
    while not held:
        page.wait_for_timeout(50)
    page.get_by_role("link", name="Models").click()
    with page.expect_response("**/v1/race/rooms"):
        held[0].continue_()
    page.wait_for_timeout(300)
    assert page.url.endswith("#/models")


def test_two_players_one_of_whom_loads_the_page_again(
    visit: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rooms, "SECONDS", 120.0)  # on a busy machine; drawings end the rounds
    ada = visit(path="#/pictionary")
    link = open_room(ada, "Ada")
    expect(ada.get_by_text("Waiting for a second player")).to_be_visible()
    bo = enter(visit, link, "<b>Bo</b>", **PHONE)
    expect(ada.locator(".players li")).to_have_count(2)
    assert names(ada) == names(bo) == ["Ada", "<b>Bo</b>"]
    expect(ada.locator(".players p").first).to_have_text("Ada you, begins the rounds")
    for page in (ada, bo):
        expect(page.locator("p.unseen")).to_have_text("In the room: Ada, <b>Bo</b>")
    expect(bo.get_by_text("Ada begins the round.")).to_be_visible()
    assert bo.get_by_role("button", name="Start", exact=True).count() == 0
    press(ada, "Start")
    for page in (ada, bo):
        expect(page.locator(".game.playing")).to_be_visible()
    word = bo.locator(".verdict .word").inner_text()
    expect(ada.locator(".verdict .word")).to_have_text(word)

    wrong = OPPOSITE[word]
    draw(bo, wrong)
    expect(bo.locator(".murmur")).to_have_text(f"{wrong}?")
    drawn = ink(bo)
    bo.reload()
    expect(bo.locator(".verdict .word")).to_have_text(word)
    assert names(bo) == ["Ada", "<b>Bo</b>"], "the same seat"
    expect(bo.locator(".murmur")).to_have_text(f"{wrong}?")
    assert ink(bo) == drawn > 0, "the same sheet"
    press(bo, "Undo")
    assert ink(bo) == 0

    draw(ada, wrong)
    expect(bo.locator(".players .guess").first).to_have_text(f"{wrong}?")
    draw(bo, word)
    for page in (ada, bo):
        expect(page.locator(".game.over")).to_be_visible()
        expect(page.locator(".players .value").last).to_have_text("1")
    expect(bo.locator(".mark")).to_have_text("You win")
    expect(ada.locator(".mark")).to_have_text("<b>Bo</b> wins")
    assert ada.locator(".players b").count() == 0
    ada.wait_for_timeout(600)
    drawings = """() => [...document.querySelectorAll(".players canvas")].map((c) =>
      c.getContext("2d").getImageData(0, 0, c.width, c.height).data.filter((v, i) => i % 4 === 3 && v > 0).length)"""
    assert len(counts := ada.evaluate(drawings)) == 2
    assert min(counts) > 50, "both drawings are shown"
    assert ada.evaluate("document.activeElement.textContent") == "Next word", "Enter goes on"

    ada.keyboard.press("Enter")
    expect(ada.locator(".game.playing")).to_be_visible()
    assert ada.locator(".verdict .word").inner_text() != word
    expect(bo.locator(".game.playing")).to_be_visible()
    assert ink(bo) == 0, "a new round is a new sheet"
    bo.on("dialog", lambda dialog: dialog.accept())
    bo.get_by_role("link", name="Draw", exact=True).click()
    expect(ada.locator(".players .notes").last).to_have_text("away")
    draw(ada, ada.locator(".verdict .word").inner_text())
    expect(ada.locator(".game.won")).to_be_visible()

    bo.go_back()
    expect(bo.locator(".mark")).to_have_text("Ada wins")
    press(ada, "Leave")
    expect(bo.locator(".players li")).to_have_count(1)
    expect(bo.locator("p.unseen")).to_have_text("In the room: <b>Bo</b>")
    bo.reload()
    expect(bo.locator(".mark")).to_have_text("Ada wins")
    ada.go_back()
    expect(ada.get_by_role("button", name="Join")).to_be_visible()
    assert bo.locator(".players li").count() == 1, "who has left is asked before joining again"


def test_a_player_in_two_windows_and_a_room_that_is_gone(visit: Callable[..., Any]) -> None:
    ada = visit(path="#/pictionary")
    link = open_room(ada, "Ada")
    with ada.expect_popup() as popup:
        # A window that a page opens has a copy of its session: the token too.
        ada.evaluate("(link) => window.open(link)", link)
    expect(popup.value.locator(".players .notes")).to_contain_text("you")
    expect(ada.locator(".verdict .word")).to_have_text("You play in another window")
    press(ada, "Play here")
    expect(ada.locator(".players .who")).to_have_text("Ada")
    expect(popup.value.locator(".verdict .word")).to_have_text("You play in another window")
    popup.value.close()
    press(ada, "Leave")
    expect(ada.get_by_role("button", name="Infinite")).to_be_visible()


def test_a_ninth_player_reads_why_and_can_open_another_room(visit: Callable[..., Any]) -> None:
    ada = visit(path="#/pictionary")
    link = open_room(ada, "Ada")
    late = visit(path=re.sub("^[^#]*", "", link), locale="fr-FR")
    name = late.get_by_role("textbox", name="Votre nom")
    name.fill("Zoé")
    ada.evaluate(
        """(link) => { for (let number = 2; number <= 8; number++) {
      const room = link.split("/").at(-1);
      const socket = new WebSocket(new URL(`v1/race/rooms/${room}/play`, document.baseURI.replace("http", "ws")));
      socket.onopen = () => socket.send(JSON.stringify({ type: "join", name: `Player ${number}`, token: null }));
    } }""",
        link,
    )
    expect(ada.locator(".players li")).to_have_count(8)
    press(late, "Entrer")
    for page in (late, visit(path=re.sub("^[^#]*", "", link), locale="fr-FR")):
        expect(page.locator(".verdict .word")).to_have_text("Cette salle est pleine")
        expect(page.get_by_role("alert")).to_contain_text("Huit y jouent déjà.")
        assert page.evaluate(CONTRASTS) == []
    press(late, "Ouvrir une salle")
    expect(late.locator(".players .who")).to_have_text("Zoé")


def test_a_room_that_is_gone_and_a_name_that_is_none(browser: Any, address: str) -> None:
    for locale, closed, unfit, join in (
        ("en-GB", "A room closes when everybody has left it", "This name cannot be shown here.", "Join"),
        ("fr-FR", "Une salle se ferme quand tout le monde l’a quittée", "Ce nom ne peut pas s’afficher ici.", "Entrer"),
    ):
        page = browser.new_context(locale=locale).new_page()
        page.goto(f"{address}#/race/zzzzzz")
        expect(page.get_by_role("alert")).to_contain_text(closed)
        name = page.locator(".sign input")
        name.fill("Zoé")
        name.press("Enter")
        expect(page.locator(".players li")).to_have_count(1)
        code = page.url.rpartition("/")[2]
        other = browser.new_context(locale=locale).new_page()
        other.goto(f"{address}#/race/{code}")
        name = other.locator(".sign input")
        name.fill("  ")
        press(other, join)
        expect(name).to_be_focused()
        name.fill("\u2060")
        press(other, join)
        expect(other.get_by_role("alert")).to_contain_text(unfit)
        assert other.locator(".notice").count() == 0, "it is said once"
        for one in (page, other):
            assert "the name" not in one.locator("body").inner_text()
            one.context.close()


def test_a_page_that_is_refused_says_why(browser: Any, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # What a proxy that sets a Host of its own makes of it.
    monkeypatch.setattr(race_routes, "_host", lambda origin: "elsewhere")
    context = browser.new_context(locale="fr-FR")
    page = context.new_page()
    page.goto(f"{address}#/race")
    page.get_by_role("textbox", name="Votre nom").fill("Zoé")
    press(page, "Ouvrir une salle")
    expect(page.locator(".verdict .word")).to_have_text("Impossible d’entrer dans une course d’ici")
    expect(page.get_by_role("alert")).to_contain_text(f"ou nommez {address.rstrip('/')} dans --cors-origins")
    expect(page.get_by_text("Le serveur ne répond pas")).to_have_count(0)
    monkeypatch.undo()
    press(page, "Réessayer")
    expect(page.locator(".players .who")).to_have_text("Zoé")
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [{"width": 1280, "height": 800}, PHONE, {"width": 320, "height": 640}])
def test_every_stage_is_readable_and_fits(visit: Callable[..., Any], scheme: str, size: dict[str, Any]) -> None:
    ada = visit(path="#/pictionary", color_scheme=scheme, **size)

    def check() -> None:
        ada.wait_for_timeout(350)
        assert ada.evaluate(CONTRASTS) == []
        assert ada.evaluate("document.documentElement.scrollWidth <= screen.width")

    press(ada, "Race")
    check()
    ada.go_back()
    link = open_room(ada, "Ada")
    check()
    enter(visit, link, "A player with a long")
    expect(ada.locator(".players li")).to_have_count(2)
    check()
    press(ada, "Start")
    expect(ada.locator(".game.playing")).to_be_visible()
    check()
    draw(ada, ada.locator(".verdict .word").inner_text())
    expect(ada.locator(".game.won")).to_be_visible()
    check()
    ada.locator(".mark").evaluate("(mark) => { mark.textContent = 'A player with a long wins'; }")
    ada.locator(".notes").last.evaluate("(notes) => { notes.textContent = 'begins the rounds, away'; }")
    cut = "(texts) => texts.filter((text) => text.scrollWidth > text.clientWidth).map((text) => text.textContent)"
    assert ada.locator(".mark, .players p").evaluate_all(cut) == []
    mark, sheet = ada.locator(".mark").bounding_box(), ada.locator(".paper").bounding_box()
    assert sheet["x"] < mark["x"]
    assert mark["x"] + mark["width"] < sheet["x"] + sheet["width"]
