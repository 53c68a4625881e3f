"""A real server and a real browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from inksight.serving import create_app
from inksight.settings import ServeSettings
from tests.serving.conftest import HalvesClassifier, running

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
]


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """Start the service in a thread and return its address."""
    with running(create_app(ServeSettings(), models=[HalvesClassifier()])) as url:
        yield url + "/"


@pytest.fixture(scope="module")
def browser(request: pytest.FixtureRequest, require: Callable[..., str]) -> Iterator[Any]:
    """Start Chromium; per module, since Playwright's event loop runs in this thread until it is stopped.

    Its headless shell, the same engine without the window around a page, takes half of the processor's time; modules
    that say WHOLE_BROWSER get the window too.
    """
    programs = ["chromium", "chromium-browser", "google-chrome"]
    if not getattr(request.module, "WHOLE_BROWSER", False):
        programs.insert(0, "chromium-headless-shell")
    program = require(*programs)
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=20_000)  # on a busy machine; 5 s are enough on one that is not
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


@dataclass
class Visit:
    """A page, and what went wrong on it or left this server."""

    page: Any
    problems: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)


@pytest.fixture
def visit(browser: Any, address: str) -> Iterator[Callable[..., Any]]:
    """Return a function that opens the page; afterwards nothing may have gone wrong or come from elsewhere."""
    visits: list[Visit] = []
    contexts = []

    def open_page(width: int = 1280, height: int = 800, path: str = "", **options: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": height}, **{"locale": "en-GB", **options})
        contexts.append(context)
        page = context.new_page()
        seen = Visit(page)
        visits.append(seen)
        page.on("console", lambda m: seen.problems.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: seen.problems.append(str(error)))
        page.on(
            "request", lambda r: None if r.url.startswith((address, "data:", "blob:")) else seen.foreign.append(r.url)
        )
        page.goto(address + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    for seen in visits:
        assert seen.problems == []
        assert seen.foreign == []
