"""The review queue in a real browser: by keyboard, with what the server has afterwards."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inksight.registry import corrections
from inksight.registry.tables import Correction
from inksight.serving.tokens import Tokens
from tests.waiting import expect
from tests.web.test_draw import CONTRASTS, PHONE

pytestmark = pytest.mark.browser

STROKES = {"strokes": [[[10, 90, 90, 10, 10], [10, 10, 90, 90, 10]], [[30], [30]]]}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A service whose workspace outlives the single test's: the database is opened once, by the first request."""
    from inksight.serving import create_app
    from inksight.settings import ServeSettings
    from tests.serving.conftest import HalvesClassifier, running

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INKSIGHT_HOME", str(tmp_path_factory.mktemp("review")))
        app = create_app(ServeSettings(), models=[HalvesClassifier()])
        with running(app) as url:
            app.state.services.storage.registry  # noqa: B018 - opens it here, in this workspace
            yield url + "/", app.state.services


@pytest.fixture(scope="module")
def address(served: Any) -> str:
    return str(served[0])


@pytest.fixture
def service(served: Any) -> Any:
    return served[1]


@pytest.fixture
def token(service: Any) -> str:
    """A token that may review."""
    tokens: Tokens = service.tokens
    if "alice" in tokens.all():
        tokens.remove("alice")
    return tokens.add("alice", ["review"])


@pytest.fixture
def queue(service: Any) -> list[int]:
    """Four corrections that wait: strokes, a bitmap, one whose drawing is lost, and one more."""
    image = np.zeros((28, 28), np.uint8)
    image[5:20, 5:8] = 255
    kept = {"image": base64.b64encode(image.tobytes()).decode(), "shape": [28, 28]}
    rows = [
        Correction(
            model="halves", version="1", predicted="left", confidence=0.8, label="top", correct=False, input=given
        )
        for given in (STROKES, kept, None, STROKES)
    ]
    with service.storage.database.write() as session:
        session.query(Correction).delete()
        session.add_all(rows)
        session.flush()
        return [row.id for row in rows]


def enter(page: Any, token: str) -> None:
    page.get_by_label("Admin token").fill(token)
    page.keyboard.press("Enter")
    expect(page.locator(".claims dd").first).to_contain_text("left")


def states(service: Any) -> list[tuple[str, str | None]]:
    return [(row.state, row.final_label) for row in corrections.listing(service.storage.database)]


def test_the_queue_is_worked_off_by_keyboard(
    visit: Callable[..., Any], service: Any, token: str, queue: list[int]
) -> None:
    page = visit(path="#/review")
    enter(page, token)
    expect(page.locator(".claims dd").first).to_have_text("left 80%")
    tally = page.locator(".tally")
    page.keyboard.press("a")
    expect(tally).to_contain_text("1 decided")
    page.keyboard.press("l")
    expect(page.get_by_role("option").first).to_be_visible()
    page.keyboard.type("bot")
    page.keyboard.press("Enter")
    expect(tally).to_contain_text("2 decided")
    expect(page.get_by_text("The drawing was not kept.")).to_be_visible()
    page.keyboard.press("x")
    expect(tally).to_contain_text("3 decided")
    page.keyboard.press("s")
    expect(page.get_by_text("1 is left for later; B goes back.")).to_be_visible()
    assert states(service) == [("accepted", "top"), ("relabelled", "bottom"), ("rejected", None), ("pending", None)]
    assert corrections.find(service.storage.database, queue[0]).reviewer == "alice"
    expect(page.get_by_role("button", name="Waiting: 1")).to_be_visible()
    page.get_by_text("Agreement by class and day").click()
    classes = page.locator(".agreement table").first.locator("tbody tr")
    expect(classes).to_have_count(1)
    # Four people said "top", none that the machine was right; of three reviewed one was accepted.
    expect(classes.first).to_have_text("top0% of 433% of 3")
    expect(page.locator(".agreement table").last.locator("tbody tr")).to_have_count(1)
    page.reload()
    expect(page.locator(".claims dd").first).to_contain_text("left")
    page.keyboard.press("s")
    expect(page.get_by_text("1 is left for later; B goes back.")).to_be_visible()
    page.keyboard.press("b")
    expect(page.locator(".claims dd").first).to_contain_text("left")
    page.keyboard.press("x")
    expect(page.get_by_text("Nothing is waiting for review.")).to_be_visible()


def test_decisions_are_looked_through_and_taken_back(
    visit: Callable[..., Any], service: Any, token: str, queue: list[int]
) -> None:
    page = visit(path="#/review")
    enter(page, token)
    expect(page.get_by_role("button", name="Back")).to_be_disabled()
    page.keyboard.press("x")
    expect(page.get_by_role("button", name="Rejected: 1")).to_be_visible()
    page.keyboard.press("b")
    page.keyboard.press("a")
    expect(page.get_by_role("button", name="Accepted: 1")).to_be_visible()
    expect(page.get_by_role("button", name="Rejected")).to_have_count(0)
    assert states(service)[0] == ("accepted", "top")

    page.get_by_role("button", name="Accepted: 1").click()
    expect(page.locator(".evidence")).to_have_attribute("aria-label", f"Drawing of correction {queue[0]}")
    page.keyboard.press("l")
    expect(page.get_by_role("option").first).to_be_visible()
    page.keyboard.type("right")
    page.keyboard.press("Enter")
    expect(page.get_by_text("That was all of them.")).to_be_visible()
    page.get_by_role("button", name="Relabelled: 1").click()
    expect(page.get_by_text("The reviewer says")).to_be_visible()
    expect(page.locator(".claims dd").last).to_have_text("right")
    assert states(service)[0] == ("relabelled", "right")


def test_a_tab_pressed_twice_shows_every_drawing_once_and_keeps_the_focus(
    visit: Callable[..., Any], service: Any, token: str, queue: list[int]
) -> None:
    page = visit(path="#/review")
    enter(page, token)
    page.route("**/v1/corrections?*", lambda route: (page.wait_for_timeout(200), route.continue_()))
    tab = page.get_by_role("button", name="Waiting: 4")
    tab.press("Enter")
    tab.press("Enter")
    page.wait_for_timeout(1000)
    expect(tab).to_be_focused()
    for number in queue:
        expect(page.locator(".evidence")).to_have_attribute("aria-label", f"Drawing of correction {number}")
        page.keyboard.press("s")
    expect(page.get_by_text("4 are left for later; B goes back.")).to_be_visible()


def test_nobody_waits_for_the_numbers_beside_the_queue(
    visit: Callable[..., Any], service: Any, token: str, queue: list[int]
) -> None:
    page = visit(path="#/review")
    enter(page, token)
    expect(page.get_by_role("button", name="Waiting: 4")).to_be_visible()
    page.route("**/statistics", lambda route: None)  # never answered
    for number in queue[:3]:
        expect(page.locator(".evidence")).to_have_attribute("aria-label", f"Drawing of correction {number}")
        with page.expect_response(f"**/v1/corrections/{number}"):
            page.keyboard.press("a")
    assert [state for state, _ in states(service)] == ["accepted"] * 3 + ["pending"]
    page.unroute_all(behavior="ignoreErrors")


def test_keys_do_nothing_to_drawings_that_are_still_on_their_way(
    visit: Callable[..., Any], service: Any, token: str, queue: list[int]
) -> None:
    page = visit(path="#/review")
    enter(page, token)
    expect(page.get_by_role("button", name="Waiting: 4")).to_be_visible()
    held: list[Any] = []
    page.route("**/v1/corrections?*", lambda route: held.append(route))
    for _ in range(len(queue) + 2):
        page.keyboard.press("s")
    while not held:
        page.wait_for_timeout(50)
    held[0].continue_()
    expect(page.get_by_text("4 are left for later; B goes back.")).to_be_visible()
    for _ in range(len(queue) + 2):
        page.keyboard.press("b")
    expect(page.locator(".evidence")).to_have_attribute("aria-label", f"Drawing of correction {queue[0]}")
    assert len(held) == 1, "a page is asked for once"
    page.unroute_all(behavior="ignoreErrors")


def test_what_another_reviewer_decided_is_not_overwritten_unseen(
    browser: Any, address: str, service: Any, token: str, queue: list[int]
) -> None:
    page = browser.new_context(locale="en-GB").new_page()
    page.goto(f"{address}#/review")
    enter(page, token)
    expect(page.locator(".claims dd").last).to_have_text("top")
    corrections.decide(service.storage.database, queue[0], "relabel", label="right", reviewer="bob")
    page.keyboard.press("a")
    expect(page.locator("#notices")).to_contain_text("it is relabelled by bob")
    expect(page.locator(".claims dd").last).to_have_text("right")
    assert states(service)[0] == ("relabelled", "right")
    page.keyboard.press("x")
    expect(page.locator(".tally")).to_contain_text("1 decided")
    assert states(service)[0] == ("rejected", None)
    page.context.close()


def test_a_model_that_is_gone_can_be_relabelled_and_typing_decides_nothing(
    browser: Any, address: str, service: Any, token: str, queue: list[int]
) -> None:
    with service.storage.database.write() as session:
        session.query(Correction).update({"model": "gone"})
    page = browser.new_context(locale="en-GB").new_page()
    page.goto(f"{address}#/review")
    enter(page, token)
    page.route("**/labels", lambda route: route.abort())
    page.keyboard.press("l")
    expect(page.locator(".notice")).to_be_visible()
    page.keyboard.type("axe")
    page.wait_for_timeout(200)
    assert {state for state, _ in states(service)} == {"pending"}
    page.unroute("**/labels")
    page.get_by_role("button", name="Other label").click()
    expect(page.get_by_text("The words of this model are not known here").first).to_be_visible()
    page.keyboard.type("axe")
    page.keyboard.press("Enter")
    expect(page.locator(".tally")).to_contain_text("1 decided")
    assert states(service)[0] == ("relabelled", "axe")
    page.get_by_role("button", name="Français").click()
    page.locator(".decisions button").nth(1).click()
    expect(page.get_by_text("On ne connaît plus ici les mots de ce modèle").first).to_be_visible()
    page.keyboard.type("Chateau")
    page.keyboard.press("Enter")
    expect(page.locator(".tally")).to_contain_text("1 décidé")
    assert states(service)[1] == ("relabelled", "castle"), "the word of the other corrections, not its translation"
    page.context.close()


def test_what_a_chat_adds_to_a_token_is_no_part_of_it(visit: Callable[..., Any], token: str, queue: list[int]) -> None:
    page = visit(path="#/review")
    enter(page, f"“{token[:6]}\u200b{token[6:]}”\u00a0")


@pytest.mark.parametrize(
    ("locale", "field", "said"),
    [("en-GB", "Admin token", "This token is not valid here."), ("fr-FR", "Jeton", "Ce jeton n’est pas valable ici.")],
)
def test_a_wrong_token_is_refused_and_forgotten(
    browser: Any, address: str, token: str, locale: str, field: str, said: str
) -> None:
    page = browser.new_context(locale=locale).new_page()
    page.goto(f"{address}#/review")
    page.get_by_label(field).fill("ink_nonsense")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text(said)
    assert page.evaluate("sessionStorage.getItem('inksight.token')") is None
    page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [{"width": 1280, "height": 800}, PHONE, {"width": 320, "height": 568}])
def test_it_reads_well_everywhere(
    visit: Callable[..., Any], token: str, queue: list[int], scheme: str, size: dict[str, Any], tmp_path: Path
) -> None:
    page = visit(path="#/review", color_scheme=scheme, **size)
    assert page.evaluate(CONTRASTS) == []
    enter(page, token)
    page.wait_for_timeout(300)
    assert page.evaluate(CONTRASTS) == []
    page.get_by_text("Agreement by class and day").click()
    assert page.evaluate(CONTRASTS) == []
    page.locator(".agreement .of").first.evaluate("""(of) => {
      of.textContent = "of 123,456";
      for (const cell of document.querySelectorAll(".agreement td"))
        cell.replaceChildren(of.parentElement.cloneNode(true));
    }""")
    assert page.evaluate("document.documentElement.scrollWidth <= screen.width")
    page.screenshot(path=tmp_path / "review.png")
    inked = page.evaluate("""() => { const c = document.querySelector(".evidence");
        return c.getContext("2d").getImageData(0, 0, c.width, c.height).data.some((v, i) => i % 4 === 3 && v > 0); }""")
    assert inked
