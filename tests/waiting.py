"""Waiting for what another thread or process does."""

from __future__ import annotations

import time
from collections.abc import Callable
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
