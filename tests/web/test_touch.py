"""Fingers, pens, and the hands that hold them, on the sheet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.web.test_draw import LEFT, PHONE, guessed, ink, place, stroke, strokes

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("kind", ["touch", "pen"])
def test_touch_and_pen(visit: Callable[..., Any], kind: str) -> None:
    page = visit(**PHONE)
    if kind == "touch":
        client = page.context.new_cdp_session(page)
        start = [{"x": x, "y": y} for x, y in [place(page, *LEFT[0])]]
        client.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": start})
        for point in LEFT[1:]:
            x, y = place(page, *point)
            client.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [{"x": x, "y": y}]})
        client.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    else:
        client = page.context.new_cdp_session(page)
        for index, point in enumerate(LEFT):
            x, y = place(page, *point)
            event = {"type": "mouseMoved" if index else "mousePressed", "x": x, "y": y, "pointerType": "pen"}
            client.send(
                "Input.dispatchMouseEvent", {**event, "button": "left", "buttons": 1, "force": 0.7, "clickCount": 1}
            )
        client.send("Input.dispatchMouseEvent", {"type": "mouseReleased", "x": x, "y": y, "pointerType": "pen"})
    guessed(page, "left")
    assert page.evaluate("scrollY") == 0


POINTER = """([type, id, kind, x, y]) => {
  const canvas = document.querySelector("canvas.ink");
  const box = canvas.getBoundingClientRect();
  canvas.setPointerCapture = () => {}; // no such pointer is on the glass
  canvas.dispatchEvent(new PointerEvent(type, { pointerId: id, pointerType: kind, button: 0, buttons: 1, pressure: 0.5,
    clientX: box.left + x * box.width, clientY: box.top + y * box.height, bubbles: true, cancelable: true }));
}"""


def test_a_palm_draws_nothing(visit: Callable[..., Any]) -> None:
    page = visit()

    def event(kind: str, pointer: int, what: str, x: float, y: float) -> None:
        page.evaluate(POINTER, [what, pointer, kind, x, y])

    # The hand comes first, then the pen, and the system finds out late that the hand was one.
    event("touch", 1, "pointerdown", 0.9, 0.9)
    event("pen", 2, "pointerdown", 0.2, 0.2)
    event("touch", 1, "pointermove", 0.9, 0.95)
    event("pen", 2, "pointermove", 0.2, 0.8)
    event("pen", 2, "pointerup", 0.2, 0.8)
    event("touch", 1, "pointercancel", 0.9, 0.95)
    # It comes down again while the pen is in the air.
    event("touch", 3, "pointerdown", 0.9, 0.9)
    event("touch", 3, "pointerup", 0.9, 0.9)
    [[xs, ys, _]] = strokes(page)
    assert (xs, ys) == ([200], [200]) or (set(xs), set(ys)) == ({200}, {200, 800})
    assert len(ys) == 2


def test_a_thumb_that_rests_on_the_sheet_does_not_keep_others_from_drawing(visit: Callable[..., Any]) -> None:
    page = visit(**PHONE)

    def touch(pointer: int, *places: tuple[float, float], lift: bool = True) -> None:
        for index, (x, y) in enumerate(places):
            page.evaluate(POINTER, ["pointermove" if index else "pointerdown", pointer, "touch", x, y])
        if lift:
            page.evaluate(POINTER, ["pointerup", pointer, "touch", *places[-1]])

    touch(1, (0.02, 0.9), (0.03, 0.91), lift=False)
    touch(2, (0.2, 0.2), (0.2, 0.8))
    touch(3, (0.4, 0.2), (0.4, 0.8), lift=False)
    touch(4, (0.9, 0.9))  # the other thumb, while a finger draws
    page.evaluate(POINTER, ["pointermove", 1, "touch", 0.1, 0.5])
    page.evaluate(POINTER, ["pointermove", 3, "touch", 0.6, 0.8])
    for pointer in (3, 1):
        page.evaluate(POINTER, ["pointerup", pointer, "touch", 0.6, 0.8])
    # Fingers that take turns, and only touch.
    touch(5, (0.7, 0.1))
    touch(6, (0.8, 0.1))
    drawn = [[(round(x, -1), round(y, -1)) for x, y in zip(xs, ys, strict=True)] for xs, ys, _ in strokes(page)]
    assert drawn == [[(200, 200), (200, 800)], [(400, 200), (400, 800), (600, 800)], [(700, 100)], [(800, 100)]]


def test_a_touch_that_the_system_takes_back_leaves_nothing(visit: Callable[..., Any]) -> None:
    page = visit()
    stroke(page, *LEFT)
    drawn = ink(page)
    for what in ("pointerdown", "pointermove", "pointercancel"):
        page.evaluate(POINTER, [what, 1, "touch", 0.9, {"pointerdown": 0.1}.get(what, 0.9)])
    assert ink(page) == drawn
