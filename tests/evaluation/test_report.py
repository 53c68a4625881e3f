"""The report: whole, self-contained, safe, and good in a real browser at every size."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from inksight.evaluation.comparison import with_comparison
from inksight.evaluation.judging import Evaluation
from inksight.evaluation.report import render_html

from .made import judged


def page_of(evaluation: Evaluation) -> str:
    return render_html(evaluation.metrics, evaluation.images, evaluation.explanations)


def test_everything_is_written(tmp_path: Path) -> None:
    evaluation = judged()
    page = evaluation.write(tmp_path / "made" / "report")
    assert page.read_text("utf-8").startswith("<!doctype html>")
    assert json.loads((page.parent / "report.json").read_text("utf-8")) == evaluation.metrics
    pictures = {path.stem for path in page.parent.glob("*.png")}
    assert pictures == {
        "class_accuracy",
        "class_distribution",
        "confused_pairs",
        "confusion",
        "confusion_normalised",
        "reliability",
        "worst_errors",
    }
    for path in page.parent.glob("*.png"):
        with Image.open(path) as image:
            assert np.asarray(image.convert("L")).std() > 5


def test_nothing_is_fetched_and_names_are_escaped() -> None:
    page = page_of(judged())
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", page)
    assert "http" not in re.sub(r"data:[^\"']+", "", page)
    assert "<i>cat</i>" not in page
    assert "&lt;i&gt;cat&lt;/i&gt; &amp; co" in page
    assert "url(" not in page
    assert "@import" not in page


@pytest.mark.parametrize("classes", [2, 3, 5, 31, 80])
def test_any_number_of_classes_can_be_read(classes: int) -> None:
    evaluation = judged(count=20 * classes, classes=classes, skill=4)
    page = page_of(evaluation)
    for row in evaluation.metrics["per_class"][2:]:
        assert row["class"] in page
    assert ("Top-3" in page) == (classes > 3)
    assert ('class="overview"' in page) == (classes > 30)


def test_perfect_answers_leave_no_mistakes_to_show(tmp_path: Path) -> None:
    page = judged(skill=40).write(tmp_path).read_text("utf-8")
    assert "Not one class was taken for another" in page
    assert "Sure and wrong" not in page


def test_a_second_report_keeps_no_picture_of_the_first(tmp_path: Path) -> None:
    judged().write(tmp_path)
    (tmp_path / "mine.png").write_bytes(b"not the report's")
    before = {path.name for path in tmp_path.iterdir()}
    judged(skill=40).write(tmp_path)
    assert before - {path.name for path in tmp_path.iterdir()} == {"worst_errors.png", "confused_pairs.png"}


def test_photos_are_kept_small() -> None:
    page = page_of(judged(colour=True))
    assert "data:image/jpeg" in page
    assert 'class="photo"' in page


def test_the_comparison_is_in_the_page(tmp_path: Path) -> None:
    both = with_comparison(judged(skill=3, seed=1), judged(skill=2, seed=2))
    page = both.write(tmp_path).read_text("utf-8")
    assert "Against pretend-2" in page
    assert "McNemar" in page
    assert json.loads((tmp_path / "report.json").read_text("utf-8"))["comparison"]["verdict"] == "A is better"


@pytest.mark.browser
@pytest.mark.slow
def test_the_page_works_in_a_browser(tmp_path: Path, require: Callable[..., str]) -> None:
    chromium = require("chromium", "chromium-browser", "google-chrome")
    from playwright.sync_api import sync_playwright

    few = judged(count=600, classes=14, skill=3).write(tmp_path / "few")
    many = judged(count=800, classes=40, skill=3).write(tmp_path / "many")
    tiny = judged(count=4, classes=2, skill=0).write(tmp_path / "tiny")
    flags = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    flags += " --disable-component-update --disable-sync"
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=flags.split())
        try:
            for width, height in ((1280, 900), (390, 844), (320, 640)):
                for page_file in (few, many):
                    _look(browser, page_file, width, height)
                _look_at_ruler(browser, tiny, width, height)
        finally:
            browser.close()


def _look_at_ruler(browser: Any, page_file: Path, width: int, height: int) -> None:
    """The intervals of four samples leave no room beside them; their names stay on the ruler all the same."""
    page = browser.new_page(viewport={"width": width, "height": height})
    page.goto(page_file.as_uri())
    inside = """() => {
      const ruler = document.querySelector(".ruler").getBoundingClientRect();
      return [...document.querySelectorAll(".ruler .name")].map((name) => name.getBoundingClientRect())
        .every((box) => box.left >= ruler.left && box.right <= ruler.right);
    }"""
    assert page.evaluate(inside), f"a name leaves the ruler at {width}"
    page.close()


def _look(browser: Any, page_file: Path, width: int, height: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": height})
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url) if request.url.startswith("http") else None)
    page.goto(page_file.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"scrolls sideways at {width}"
    assert page.evaluate("[...document.images].every((image) => image.naturalWidth > 0)")

    first = "document.querySelector('#per-class tbody tr:not([hidden]) th').textContent"
    values = "[...document.querySelectorAll('#per-class tbody tr')].map((row) => Number(row.cells[2].dataset.v))"
    page.click("#per-class th:nth-child(3) button")
    found = page.evaluate(values)
    assert found == sorted(found, reverse=True)
    page.click("#per-class th:nth-child(3) button")
    assert page.evaluate(values) == sorted(found)
    page.fill("input.filter", "smil")
    assert page.evaluate(first) == "smiley face"

    shown = "getComputedStyle(document.querySelector('.matrix .count')).display !== 'none'"
    assert not page.evaluate(shown)
    page.check(".matrix input[value=count] >> nth=0")
    assert page.evaluate(shown)
    if page_file.parent.name == "many":
        area = page.locator(".overview div").first
        area.scroll_into_view_if_needed()
        box = area.bounding_box()
        page.mouse.move(box["x"] + 3, box["y"] + 3)
        assert re.search(r" called .+: \d+ of 20 ", page.locator(".overview figcaption").first.inner_text())
    assert said == []
    context.close()
