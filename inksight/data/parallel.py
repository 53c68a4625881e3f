"""Work on several cores with bounded memory."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar

CORES = os.cpu_count() or 1

T = TypeVar("T")
R = TypeVar("R")


def ahead(executor: Executor, function: Callable[[T], R], items: Iterable[T], *, waiting: int = CORES) -> Iterator[R]:
    """Map in order like `executor.map`, at most `waiting` results ahead of the reader, so that memory is bounded."""
    futures: deque[Future[R]] = deque()
    try:
        for item in items:
            futures.append(executor.submit(function, item))
            if len(futures) > waiting:
                yield futures.popleft().result()
        while futures:
            yield futures.popleft().result()
    finally:
        for future in futures:
            future.cancel()
