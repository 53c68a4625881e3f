"""The page in a real browser: drawing by every means, live guesses, and how it reads."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.waiting import expect

pytestmark = pytest.mark.browser
WHOLE_BROWSER = True

PHONE: dict[str, Any] = {"width": 390, "height": 844, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}

CONTRASTS = """() => {
  const channel = (c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const parse = (text) => {
    const n = text.match(/[\\d.]+/g).map(Number);
    // What color-mix gives is written as color(srgb 0.1 0.2 0.3).
    const colour = text.startsWith("color(") ? [...n.slice(0, 3).map((part) => 255 * part), ...n.slice(3)] : n;
    return colour.length < 4 ? [...colour, 1] : colour;
  };
  const ground = (element) => {
    for (; element; element = element.parentElement) {
      const colour = parse(getComputedStyle(element).backgroundColor);
      if (colour[3] === 1) return colour;
    }
  };
  const poor = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || element.closest("[disabled], .skip, .unseen, noscript, .blank .alternatives")) continue;
    if (!element.checkVisibility({ opacityProperty: true })) continue;
    const style = getComputedStyle(element);
    const [a, b] = [light(parse(style.color)), light(ground(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700);
    if (ratio < (large ? 3 : 4.5)) poor.push(`${element.className || element.tagName}: ${ratio.toFixed(2)}`);
  }
  return poor;
}"""


def place(page: Any, x: float, y: float) -> tuple[float, float]:
    """Return the point of the sheet at a share of its width and height."""
    box = page.locator("canvas.ink").bounding_box()
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def stroke(page: Any, *points: tuple[float, float], lift: bool = True) -> None:
    """Draw through points, given as shares of the sheet."""
    page.mouse.move(*place(page, *points[0]))
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*place(page, *point), steps=8)
    if lift:
        page.mouse.up()


# Where the sheet begins while one word after the other stands above it, with one share after the other beside it.
TOPS = """(shares) => import("/web/js/i18n.js").then(({ LANGUAGES }) => {
  const [word, share, sheet] = [".word", ".share", ".ink"].map((one) => document.querySelector(one));
  const top = (name, beside) => {
    [word.textContent, share.textContent] = [name, beside];
    return sheet.getBoundingClientRect().top;
  };
  const words = ["hot air balloon", "rhinoceros".repeat(9), ...Object.values(LANGUAGES.fr.labels)];
  return [...new Set(words.flatMap((name) => shares.map((beside) => top(name, beside))))];
})"""

# Which of these names are cut among the guesses.
CUT = """(names) => names.filter((name) => {
  const shown = document.querySelector(".guesses .name");
  shown.textContent = name;
  return shown.scrollWidth > shown.clientWidth;
})"""


LEFT = ((0.2, 0.15), (0.22, 0.5), (0.2, 0.85), (0.24, 0.5), (0.2, 0.2), (0.8, 0.5))


def ink(page: Any) -> int:
    """Return how many pixels of the sheet carry ink."""
    script = """() => { const c = document.querySelector("canvas.ink");
      const { data } = c.getContext("2d").getImageData(0, 0, c.width, c.height);
      return data.filter((v, i) => i % 4 === 3 && v > 0).length; }"""
    return int(page.evaluate(script))


def word(page: Any) -> Any:
    return page.locator(".word")


def guessed(page: Any, label: str, *, is_it: bool = True) -> None:
    """Wait until the model's word is, or no longer is, this one."""
    if is_it:
        expect(word(page)).to_have_text(label)
    else:
        expect(word(page)).not_to_have_text(label)


def away_and_back(page: Any, view: str) -> None:
    """Open another view by its link, and come back."""
    page.get_by_role("link", name=view).click()
    expect(page.locator("main")).to_have_attribute("data-view", view.lower())
    page.go_back()
    expect(page.locator("main")).to_have_attribute("data-view", "draw")


def test_guesses_change_while_the_pen_is_down(visit: Callable[..., Any]) -> None:
    page = visit()
    expect(page.get_by_text("I am watching the pen.")).to_be_visible()
    stroke(page, *LEFT, lift=False)
    guessed(page, "left")
    page.mouse.move(*place(page, 0.9, 0.1), steps=10)
    for _ in range(4):
        page.mouse.move(*place(page, 0.92, 0.9), steps=10)
        page.mouse.move(*place(page, 0.88, 0.1), steps=10)
    guessed(page, "left", is_it=False)
    page.mouse.up()
    expect(page.locator(".guesses li:not(.empty)")).to_have_count(3)


def test_undo_and_clear(visit: Callable[..., Any]) -> None:
    page = visit()
    undo, clear = page.get_by_role("button", name="Undo"), page.get_by_role("button", name="Clear")
    expect(undo).to_be_disabled()
    stroke(page, *LEFT)
    one = ink(page)
    stroke(page, (0.5, 0.2), (0.9, 0.9))
    assert ink(page) > one
    undo.click()
    assert ink(page) == one
    stroke(page, (0.5, 0.2), (0.9, 0.9))
    page.keyboard.press("Control+z")
    assert ink(page) == one
    clear.click()
    assert ink(page) == 0
    expect(page.get_by_text("I am watching the pen.")).to_be_visible()
    page.wait_for_timeout(300)
    assert page.get_by_text("I am watching the pen.").is_visible(), "a late answer must not write on a blank sheet"
    stroke(page, (0.5, 0.2), (0.9, 0.9))
    undo.click()
    assert ink(page) == 0
    undo.click()
    assert ink(page) == one, "what was cleared comes back"
    guessed(page, "left")
    page.keyboard.press("Backspace")
    assert ink(page) == one, "the focus is on a button"
    page.locator("canvas.ink").press("Backspace")
    assert ink(page) == 0
    away_and_back(page, "Models")
    page.keyboard.press("z")
    assert ink(page) == one
    page.keyboard.press("z")
    expect(undo).to_be_disabled()


def test_the_drawing_is_still_there_after_another_view(visit: Callable[..., Any]) -> None:
    page = visit()
    stroke(page, *LEFT)
    stroke(page, (0.25, 0.2), (0.25, 0.8))
    guessed(page, "left")
    drawn = ink(page)
    away_and_back(page, "Models")
    guessed(page, "left")
    assert ink(page) == drawn
    page.get_by_role("button", name="Français").click()
    guessed(page, "left")
    assert ink(page) == drawn
    with page.expect_response("**/v1/feedback"):
        page.get_by_role("button", name="C’est ça").click()
    page.keyboard.press("z")
    assert 0 < ink(page) < drawn
    page.locator("canvas.ink").press("Delete")
    away_and_back(page, "Pictionary")
    expect(page.get_by_text("Je regarde la plume.")).to_be_visible()


def test_a_dot_is_unsure(visit: Callable[..., Any]) -> None:
    page = visit()
    page.mouse.click(*place(page, 0.5, 0.5))
    page.wait_for_selector(".unsure")
    assert page.locator(".verdict .overline").inner_text().lower().startswith("i am not sure")


def strokes(page: Any) -> list[Any]:
    """Return the drawing as the page would save it."""
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the pen strokes as JSON").click()
    return list(json.loads(Path(download.value.path()).read_text())["strokes"])


@pytest.mark.parametrize(("key", "left"), [("z", 1), ("Delete", 0)])
def test_what_is_taken_back_while_the_pen_is_down_stays_away(visit: Callable[..., Any], key: str, left: int) -> None:
    page = visit()
    stroke(page, (0.2, 0.2), (0.3, 0.2))
    first = ink(page)
    stroke(page, (0.8, 0.8), (0.85, 0.8), lift=False)
    page.keyboard.press(key)
    page.mouse.move(*place(page, 0.9, 0.1), steps=5)
    page.mouse.up()
    page.wait_for_timeout(100)
    assert ink(page) == first * left
    stroke(page, (0.5, 0.5), (0.6, 0.6))
    assert len(strokes(page)) == left + 1, "the pen draws on"


def test_holding_the_space_bar_makes_one_stroke(visit: Callable[..., Any]) -> None:
    page = visit()
    page.locator("canvas.ink").focus()
    for _ in range(4):
        page.keyboard.down("Space")
    page.keyboard.up("Space")
    page.keyboard.press("Shift+ArrowDown")
    assert len(strokes(page)) == 1


def test_the_sheet_has_a_ring_for_whoever_uses_keys_and_for_nobody_else(visit: Callable[..., Any]) -> None:
    page = visit()
    sheet = page.locator("canvas.ink")
    style = "(canvas) => getComputedStyle(canvas).outlineStyle"
    stroke(page, *LEFT)
    assert sheet.evaluate("(canvas) => document.activeElement === canvas")
    assert sheet.evaluate(style) == "none"
    page.keyboard.press("ArrowLeft")
    assert sheet.evaluate(style) == "solid"
    stroke(page, *LEFT)
    assert sheet.evaluate(style) == "none"
    page.keyboard.press("Tab")
    page.keyboard.press("Shift+Tab")
    assert sheet.evaluate(style) == "solid"


def test_drawing_by_keyboard(visit: Callable[..., Any]) -> None:
    page = visit()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.className") == "ink":
            break
    assert page.evaluate("document.activeElement.className") == "ink"
    page.keyboard.press("Space")
    for key in ["Shift+ArrowDown"] * 6 + ["ArrowLeft", "ArrowRight"] * 2 + ["Shift+ArrowUp"] * 6 + ["ArrowRight"] * 12:
        page.keyboard.press(key)
    page.keyboard.press("Space")
    guessed(page, "left")
    page.keyboard.press("z")
    expect(page.get_by_text("I am watching the pen.")).to_be_visible()


def test_every_control_is_reached_by_tab(visit: Callable[..., Any]) -> None:
    page = visit()
    stroke(page, *LEFT)
    guessed(page, "left")
    reached = set()
    for _ in range(30):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate("document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent")
        )
    for name in (
        "Undo",
        "Clear",
        "Download as a PNG picture",
        "Download the pen strokes as JSON",
        "That’s right",
        "It is a …",
    ):
        assert name in reached


def test_the_stamp_is_what_the_server_sees(visit: Callable[..., Any]) -> None:
    from inksight import drawing

    page = visit()
    stroke(page, *LEFT)
    stroke(page, (0.5, 0.2), (0.9, 0.9), (0.3, 0.7))
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the pen strokes").click()
    strokes = json.loads(Path(download.value.path()).read_text())["strokes"]
    shown = page.evaluate("""() => [...document.querySelector(".stamp canvas").getContext("2d")
        .getImageData(0, 0, 28, 28).data].filter((_, i) => i % 4 === 3)""")
    expected = drawing.render(drawing.simplify(strokes)).ravel().astype(int)
    assert len(strokes) == 2
    assert np.abs(np.array(shown) - expected).max() <= 1


def test_the_picture_can_be_downloaded(visit: Callable[..., Any]) -> None:
    from PIL import Image

    page = visit()
    stroke(page, *LEFT)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download as a PNG").click()
    with Image.open(download.value.path()) as picture:
        assert picture.size == (1000, 1000)
        grey = np.asarray(picture.convert("L"))
    assert grey.max() == 255
    assert grey.min() < 60


@pytest.mark.parametrize("locale", ["en-GB", "fr-FR"])
def test_the_sheet_stays_where_it_is_whatever_is_seen(visit: Callable[..., Any], locale: str) -> None:
    page = visit(**PHONE, locale=locale)
    for width, height in [(390, 844), (360, 640), (320, 568)]:
        page.set_viewport_size({"width": width, "height": height})
        blank = place(page, 0, 0)
        stroke(page, *LEFT)
        guessed(page, "left")
        assert place(page, 0, 0) == blank
        assert page.evaluate(TOPS, ["1%", "100\u202f%"]) == [blank[1]]
        assert page.evaluate(CUT, ["The Eiffel Tower", "visage souriant", "bonhomme de neige"]) == []
        page.locator("canvas.ink").press("Delete")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [{"width": 1280, "height": 800}, PHONE])
@pytest.mark.parametrize("drawn", [False, True])
def test_text_has_enough_contrast_and_fits(
    visit: Callable[..., Any], scheme: str, size: dict[str, Any], drawn: bool
) -> None:
    page = visit(color_scheme=scheme, **size)
    if drawn:
        stroke(page, *LEFT)
        guessed(page, "left")
    page.wait_for_timeout(400)
    assert page.evaluate(CONTRASTS) == []
    assert page.evaluate("document.documentElement.scrollWidth <= screen.width")
    sheet, viewport = page.locator("canvas.ink").bounding_box(), page.viewport_size
    assert sheet["y"] + sheet["height"] <= viewport["height"], "the whole sheet is visible without scrolling"
    assert min(sheet["width"], sheet["height"]) >= 340


def test_the_strokes_that_mattered_turn_red(visit: Callable[..., Any]) -> None:
    page = visit()
    why = page.get_by_role("button", name="Which stroke mattered?")
    expect(why).to_be_disabled()
    stroke(page, *LEFT)
    stroke(page, (0.75, 0.45), (0.8, 0.55))
    guessed(page, "left")
    colours = """() => { const c = document.querySelector("canvas.ink"); const { width: n } = c;
      const { data } = c.getContext("2d").getImageData(0, 0, n, n);
      let red = 0;
      for (let at = 0; at < data.length; at += 4) if (data[at + 3] > 200 && data[at] - data[at + 2] > 60) red++;
      return red; }"""
    assert page.evaluate(colours) == 0
    why.click()
    expect(page.locator(".seen [role=status]")).to_contain_text("stroke 1 of 2 most of all")
    assert page.evaluate(colours) > 500
    with page.expect_download() as download:
        page.get_by_role("button", name="Download as a PNG").click()
    from PIL import Image

    with Image.open(download.value.path()) as picture:
        red, _, blue = np.moveaxis(np.asarray(picture.convert("RGB")).astype(int), 2, 0)
    assert (red - blue).max() < 30, "the downloaded drawing is plain ink"
    stroke(page, (0.5, 0.5), (0.6, 0.6))
    assert page.evaluate(colours) == 0, "a new stroke asks for a new judgement"
    expect(why).to_have_attribute("aria-pressed", "false")


def test_the_underline_is_as_long_as_the_answer_is_sure(visit: Callable[..., Any]) -> None:
    from PIL import Image

    page = visit(1280, 700)
    stroke(page, (0.2, 0.2), (0.2, 0.8), (0.5, 0.8))
    page.wait_for_timeout(600)
    probability = float(page.locator(".share").inner_text().strip("%")) / 100
    assert 0.3 < probability < 0.9
    box = page.locator(".underline").bounding_box()
    assert box["width"] > 420, "wider than the drawing of the line, which is stretched"
    with Image.open(io.BytesIO(page.screenshot(clip=box))) as shown:
        pixels = np.asarray(shown.convert("RGB")).astype(int)
    red = np.flatnonzero((pixels[..., 0] - pixels[..., 2]).max(axis=0) > 60)
    assert red.max() / box["width"] == pytest.approx(probability, abs=0.02)


@pytest.mark.parametrize(("width", "height"), [(320, 568), (768, 1024), (1024, 600), (2560, 1440), (844, 390)])
def test_no_sideways_scrolling_at_other_sizes(visit: Callable[..., Any], width: int, height: int) -> None:
    page = visit(width, height)
    stroke(page, (0.3, 0.3), (0.6, 0.6))
    page.wait_for_selector(".draw:not(.waiting)")
    assert page.evaluate("document.documentElement.scrollWidth <= screen.width")


def test_languages_and_themes_are_kept(visit: Callable[..., Any]) -> None:
    page = visit(locale="fr-FR")
    expect(page.get_by_text("Je regarde la plume.")).to_be_visible()
    assert page.evaluate("document.documentElement.lang") == "fr"
    page.get_by_role("button", name="English").click()
    page.get_by_role("button", name="Night paper").click()
    page.reload()
    expect(page.get_by_text("I am watching the pen.")).to_be_visible()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_languages_have_the_same_texts() -> None:
    import re

    folder = Path(__file__).parents[2] / "inksight" / "web" / "js" / "lang"
    keys = {
        path.stem: set(re.findall(r'^    "([\w.]+\.[\w.]+)":', path.read_text(), re.M)) for path in folder.glob("*.js")
    }
    assert keys["en"] == keys["fr"]
    assert len(keys["en"]) > 20
    used = set()
    for path in (folder.parent).rglob("*.js"):
        used |= set(re.findall(r'\bt\("([\w.]+)"', path.read_text()))
    assert used <= keys["en"]


def told(page: Any, act: Any) -> dict[str, Any]:
    """Act, and return what the page told the server."""
    with page.expect_response("**/v1/feedback") as response:
        act()
    assert response.value.status == 201
    return dict(response.value.request.post_data_json)


def test_feedback_in_one_tap(visit: Callable[..., Any]) -> None:
    page = visit()
    stroke(page, *LEFT)
    guessed(page, "left")
    right = told(page, lambda: page.get_by_role("button", name="That’s right").click())
    assert (right["label"], right["correct"]) == ("left", True)
    page.get_by_text("Thank you. Noted: left.").wait_for()
    other = page.locator(".guesses li:not(.empty) button").first
    name = other.locator(".name").inner_text()
    wrong = told(page, other.click)
    assert (wrong["label"], wrong["correct"]) == (name, False)


def test_feedback_by_picking_a_word_with_the_keyboard(visit: Callable[..., Any]) -> None:
    page = visit()
    stroke(page, *LEFT)
    guessed(page, "left")
    page.get_by_role("button", name="It is a …").click()
    expect(page.get_by_role("option")).to_have_count(4)
    page.keyboard.type("bo")
    expect(page.get_by_role("option")).to_have_text(["bottom"])
    page.keyboard.type("x")
    expect(page.get_by_role("dialog").get_by_role("status")).to_have_text("The model has no word like that.")
    expect(page.get_by_role("combobox")).to_have_attribute("aria-activedescendant", "")
    page.keyboard.press("Backspace")
    said = told(page, lambda: page.keyboard.press("Enter"))
    assert said["label"] == "bottom"
    page.get_by_role("button", name="It is a …").click()
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).to_have_count(0)
