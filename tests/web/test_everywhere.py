"""Every view of the page: AA contrast in both themes, no sideways scrolling on a small phone, both languages."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from inksight.errors import InksightError
from inksight.improve.retrain import NoDatasetError
from inksight.registry.jobs import JobError
from inksight.serving import create_app
from inksight.settings import ServeSettings
from tests.serving.conftest import CLASSES, HalvesClassifier, running
from tests.waiting import expect
from tests.web.test_draw import CONTRASTS, LEFT, PHONE, guessed, stroke
from tests.web.test_pictionary import press

pytestmark = pytest.mark.browser

WEB = Path(__file__).parents[2] / "inksight" / "web" / "js"
VIEWS = sorted(path.stem for path in (WEB / "views").glob("*.js") if path.stem != "index")


def test_every_view_is_in_the_menu_or_has_a_parent() -> None:
    listed = re.search(r"export const views = \[([^]]+)\]", (WEB / "views" / "index.js").read_text())
    assert listed is not None
    assert sorted(listed[1].replace(" ", "").split(",")) == VIEWS


BLOCKED = """for (const area of ["localStorage", "sessionStorage"])
  Object.defineProperty(window, area, { get() { throw new DOMException("blocked", "SecurityError"); } });"""


def test_the_page_works_where_storage_is_blocked(visit: Callable[..., Any]) -> None:
    page = visit()
    page.context.add_init_script(BLOCKED)
    page.reload()
    stroke(page, *LEFT)
    guessed(page, "left")
    press(page, "Night paper")
    press(page, "Français")
    expect(page.get_by_role("button", name="Papier de jour")).to_be_visible()
    kept = page.evaluate("""() => import("/web/js/api.js").then(({ admin }) => {
      admin.remember("ink_token");
      const token = admin.token;
      admin.forget();
      return [token, admin.token];
    })""")
    assert kept == ["ink_token", None]


def test_style_sheets_ask_for_sizes_as_older_browsers_know_it() -> None:
    """Safari before 16.4 and Chrome before 104 skip `@media (width <= 540px)`: a phone would have no layout."""
    sheets = {path.name: path.read_text("utf-8") for path in (WEB.parent / "css").glob("*.css")}
    assert sum("@media (max-width" in sheet for sheet in sheets.values()) > 4
    ranges = {name: re.findall(r"@media[^{]*[<>=][^{]*", sheet) for name, sheet in sheets.items()}
    assert not any(ranges.values()), ranges


def test_only_the_store_touches_storage() -> None:
    users = [
        path.name for path in WEB.rglob("*.js") if re.search(r"\b(?:local|session)Storage[.[]", path.read_text("utf-8"))
    ]
    assert users == ["theme.js"], "it runs before modules do, and catches"


@pytest.mark.parametrize("view", ["pictionary", "eye", "race"])
def test_the_rules_are_on_the_middle_of_the_sheet(visit: Callable[..., Any], view: str) -> None:
    page = visit(path=f"#/{view}", locale="fr-FR")
    aligned = "(lines) => lines.map((line) => getComputedStyle(line).textAlign)"
    assert set(page.locator(".cover p").evaluate_all(aligned)) == {"center"}
    for width, height in [(1440, 900), (844, 390), (568, 320), (390, 664), (360, 225), (320, 568)]:
        page.set_viewport_size({"width": width, "height": height})
        sheet, first, last = (
            page.locator(at).bounding_box() for at in (".cover", ".cover p:first-child", ".cover p:last-child")
        )
        above = first["y"] - sheet["y"]
        below = sheet["y"] + sheet["height"] - last["y"] - last["height"]
        assert above == pytest.approx(below, abs=1)
        assert above > 10


def test_french_punctuation_is_not_torn_from_its_word() -> None:
    """French puts a space before : ; ! ? % and inside quotation marks; a line must not break there."""
    texts = (WEB / "lang" / "fr.js").read_text(encoding="utf-8")
    assert not re.findall(r'": ".*(?: [:;!?%»]|« ).*"', texts)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("locale", ["en-GB", "fr-FR"])
@pytest.mark.parametrize(
    "size", [PHONE, {"width": 320, "height": 568}, {"width": 1280, "height": 800}], ids=["phone", "small", "desktop"]
)
def test_every_view_reads_well(visit: Callable[..., Any], scheme: str, locale: str, size: dict[str, Any]) -> None:
    page = visit(color_scheme=scheme, locale=locale, **size)
    preferences = page.locator(".preferences").bounding_box()
    assert preferences["y"] < page.locator(".brand").bounding_box()["y"] + 20, "beside the name"
    for view in VIEWS:
        page.goto(page.url.partition("#")[0] + f"#/{view}")
        page.wait_for_selector(f"main[data-view={view}] section")
        page.wait_for_timeout(250)
        assert page.evaluate(CONTRASTS) == [], view
        assert page.evaluate("document.documentElement.scrollWidth <= screen.width"), f"{view} scrolls sideways"
        raw = page.evaluate(
            r"() => document.body.innerText.match(/\b(?:[a-z]+\.)+[a-z]+\b/g)?.filter((word) => "
            r"/^(view|draw|game|board|review|models|classify|camera|eye|race|pick|status)\./.test(word))"
        )
        assert not raw, f"{view} shows keys instead of texts"
        if view == "models":
            expect(page.locator(".headline .word")).to_be_visible()
            expect(page.locator(".tabs")).to_be_hidden()  # there is one model to choose from
        current = page.locator("#views [aria-current]").bounding_box()
        assert 0 <= current["x"] <= current["x"] + current["width"] <= size["width"], (
            f"{view}: not in sight in the menu"
        )


def test_a_service_without_pictures_says_so_in_full(browser: Any, address: str) -> None:
    page = browser.new_context(locale="fr-FR").new_page()
    page.goto(address + "#/eye")
    press(page, "Commencer")
    expect(page.locator(".elsewhere h1")).to_have_text("Pas d’images pour jouer.")
    assert "--game-data" in page.locator(".elsewhere").inner_text()
    assert page.evaluate(CONTRASTS) == []
    page.context.close()


def test_what_the_server_refuses_is_said_in_the_pages_words(visit: Callable[..., Any]) -> None:
    """The server's own are technical, and English; only who runs it reads them too."""
    errors: list[type[InksightError]] = [InksightError]
    for error in errors:
        errors += error.__subclasses__()
    codes = {error.code for error in errors} | {"internal"}
    assert {"rate_limited", "busy", "too_large", "conflict", JobError.code, NoDatasetError.code} <= codes
    said = """(errors) => import("/web/js/parts.js").then(({ reason, detailed }) =>
      errors.map((error) => [reason(error), detailed(error)]))"""
    refusals = [{"code": code, "message": "more than 5 per second", "hint": "Slow down."} for code in sorted(codes)]
    texts = [visit(locale=locale).evaluate(said, refusals) for locale in ("fr-FR", "en-GB")]
    for code, *both in zip(sorted(codes), *texts, strict=True):
        for short, long in both:
            assert re.fullmatch(r"[A-ZÀ-Ü][^()]*(\(--data\))?\.", short), code
            assert long == f"{short} (more than 5 per second)"
        assert both[0] != both[1], code
        assert code == "error" or both[0][0] != texts[0][sorted(codes).index("error")][0], f"{code} has no text"
    away, of_the_page = visit(locale="fr-FR").evaluate(said, [{"code": "offline", "message": ""}, {"message": "Non."}])
    assert away == ["Le serveur ne répond pas."] * 2
    assert of_the_page == ["Non."] * 2


def across(locator: Any) -> list[tuple[int, ...]]:
    """Return the colours across the middle of an element as it is on the screen."""
    with Image.open(io.BytesIO(locator.screenshot())) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    return [tuple(colour) for colour in pixels[len(pixels) // 2].tolist()]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_high_contrast_shows_the_sheet_and_what_is_chosen(visit: Callable[..., Any], scheme: str) -> None:
    page = visit(forced_colors="active", color_scheme=scheme)
    page.wait_for_timeout(300)
    edge, *_, inside = across(page.locator(".paper"))[:8]
    assert edge != inside, "a line around the sheet"
    stroke(page, *LEFT)
    guessed(page, "left")
    press(page, "It is a …")
    first, second = page.get_by_role("option").all()[:2]
    assert across(first)[-10] != across(second)[-10], "the row that Enter takes"


NAMELESS = """() => [...document.querySelectorAll("button, a, input, select, canvas, img")].filter((element) =>
  element.checkVisibility({ visibilityProperty: true }) && !element.closest("[aria-hidden=true]") &&
  !(element.ariaLabel || element.hasAttribute("alt") || element.textContent.trim() || element.labels?.length)
).map((element) => element.outerHTML)"""


def test_who_hears_the_page_has_a_heading_and_names(visit: Callable[..., Any]) -> None:
    page = visit()
    for view in VIEWS:
        page.evaluate("(view) => { location.hash = `#/${view}`; }", view)
        expect(page.locator("main")).to_have_attribute("data-view", view)
        page.wait_for_timeout(300)
        assert page.locator("h1").first.inner_text(), f"{view} has no heading"
        assert page.evaluate(NAMELESS) == [], view


def test_the_keyboard_stays_where_it_was(visit: Callable[..., Any]) -> None:
    page = visit()
    page.get_by_role("link", name="Classify").focus()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_have_attribute("data-view", "classify")
    expect(page.get_by_role("link", name="Classify")).to_be_focused()
    page.get_by_role("button", name="Français").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="English")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Papier de jour")).to_be_focused()
    page.get_by_role("link", name="Pictionary").click()
    page.get_by_role("button", name="Course").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Course")).to_be_focused()


def test_names_without_a_place_to_break(browser: Any) -> None:
    model = HalvesClassifier()
    model.classes = [name * 14 for name in CLASSES]
    with running(create_app(ServeSettings(), models=[model])) as url:
        page = browser.new_context(viewport={"width": 320, "height": 568}, locale="en-GB").new_page()
        page.goto(url)
        expect(page.locator(".invitation span")).to_contain_text("?")
        assert page.evaluate("document.documentElement.scrollWidth <= screen.width")
        stroke(page, *LEFT)
        expect(page.locator(".verdict .word")).to_contain_text("leftleft")
        press(page, "It is a …")
        expect(page.get_by_role("option")).to_have_count(4)
        assert page.locator(".picker ul").evaluate("(list) => list.scrollWidth <= list.clientWidth")
        assert page.evaluate("document.documentElement.scrollWidth <= screen.width")
        page.context.close()
