"""Work on several cores with bounded memory."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from multiprocessing.context import SpawnContext, SpawnProcess
from types import FrameType, ModuleType
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Process(SpawnProcess):
    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            return SpawnProcess._Popen(process_obj)
        finally:
            sys.modules["__main__"] = main


class Spawned(SpawnContext):
    """Processes that start afresh, without the caller's script: it need not guard itself with `__main__`.

    Python's own spawned processes run that script again, to find there what they are to do; all that ours do is in this
    package. Not forked, since forking a process whose libraries run threads can hang.
    """

    Process = _Process


def ahead(executor: Executor, function: Callable[[T], R], items: Iterable[T], *, waiting: int = 0) -> Iterator[R]:
    """Map in order like `executor.map`, at most `waiting` results ahead of the reader, so that memory is bounded.

    0: as many as there are cores.
    """
    futures: deque[Future[R]] = deque()
    waiting = waiting or cores()
    try:
        for item in items:
            with undisturbed():
                futures.append(executor.submit(function, item))
            if len(futures) > waiting:
                yield _result(futures.popleft())
        while futures:
            yield _result(futures.popleft())
    finally:
        for future in futures:
            future.cancel()


def _result(future: Future[R]) -> R:
    with undisturbed():
        return future.result()


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait for the block's end.

    An exception that they raise while Python's own locks are taken can leave one locked, and the threads of a pool wait
    for it for ever: seen once in some hundred stopped preparations, in the semaphore of ThreadPoolExecutor.submit.
    """
    if threading.current_thread() is not threading.main_thread():  # signals reach only that one
        yield
        return
    waiting: list[tuple[int, FrameType | None]] = []
    before = {which: signal.getsignal(which) for which in (signal.SIGINT, signal.SIGTERM)}
    for which, handler in before.items():
        if callable(handler):
            signal.signal(which, lambda number, frame: waiting.append((number, frame)))
    try:
        yield
    finally:
        for which, handler in before.items():
            if callable(handler):
                signal.signal(which, handler)
    for number, frame in waiting:
        handler = before[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)
