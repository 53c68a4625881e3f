"""Waiting for what another thread, process or page does."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any


def wait_for(condition: Callable[[], Any], what: str = "it", seconds: float = 60) -> Any:
    """Return what `condition()` says as soon as that is true; fail the test after `seconds`.

    The bound is for what never happens: on a busy machine what takes a second alone may take twenty.
    """
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.02)
    return value


def expect(shown: Any) -> Any:
    """Return Playwright's assertions on a locator or page, which wait until they hold.

    Not page.wait_for_function: it evaluates strings in the page, which the page's security policy forbids.
    """
    return import_module("playwright.sync_api").expect(shown)


def alive(process: int) -> bool:
    """Tell whether a process runs; one that has ended but is not yet waited for does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
