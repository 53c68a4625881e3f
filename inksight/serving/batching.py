"""Micro-batching: requests that arrive together are answered by one run of the model.

There is no waiting time. What arrived in the same turn of the event loop forms a batch; while a slow model works in
its thread, what arrives forms the next. A lone request is therefore answered as soon as it would be without batching,
and under load the batches grow by themselves.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Generic, TypeVar

from inksight.serving.errors import BusyError

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batcher(Generic[Item, Result]):
    """Collects items for `run`, a function of a list that returns as many results.

    With an executor, batches run in it one after another; without, they run in the event loop: right for a model that
    answers faster than two threads can hand over (about 0.1 ms). Used from one event loop only.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Item]], Sequence[Result]],
        *,
        size: int,
        limit: int,
        executor: Executor | None = None,
        on_batch: Callable[[int], None] | None = None,
    ) -> None:
        self._run = run
        self._size = size
        self._limit = limit
        self._executor = executor
        self._on_batch = on_batch
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._active = False

    def submit(self, item: Item) -> asyncio.Future[Result]:
        """Return the future result of an item; raises BusyError when `limit` items wait already."""
        if len(self._waiting) >= self._limit:
            raise BusyError(f"{self._limit} requests are waiting already", hint="Try again in a moment.")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self._waiting.append((item, future))
        if not self._active:
            self._active = True
            loop.call_soon(self._next)
        return future

    def _next(self) -> None:
        batch: list[tuple[Item, asyncio.Future[Result]]] = []
        while self._waiting and len(batch) < self._size:
            item, future = self._waiting.popleft()
            if not future.cancelled():
                batch.append((item, future))
        if not batch:
            self._active = False
            return
        if self._on_batch is not None:
            self._on_batch(len(batch))
        items = [item for item, _ in batch]
        futures = [future for _, future in batch]
        if self._executor is None:
            self._settle(futures, self._answer(items))
            # The rest waits for the next turn, so that new requests are read in between.
            asyncio.get_running_loop().call_soon(self._next)
        else:
            running = asyncio.get_running_loop().run_in_executor(self._executor, self._answer, items)
            running.add_done_callback(lambda done: self._done(futures, done))

    def _done(self, futures: list[asyncio.Future[Result]], done: asyncio.Future[list[Result | BaseException]]) -> None:
        error = asyncio.CancelledError() if done.cancelled() else done.exception()
        self._settle(futures, [error] * len(futures) if error is not None else done.result())
        self._next()

    def _answer(self, items: list[Item]) -> list[Result | BaseException]:
        try:
            return list(self._run(items))
        except Exception as error:  # noqa: BLE001 - it is handed to the request that caused it
            if len(items) == 1:
                return [error]
        # One bad item must not fail its neighbours: ask for each alone.
        return [result for item in items for result in self._answer([item])]

    @staticmethod
    def _settle(futures: list[asyncio.Future[Result]], results: Sequence[Result | BaseException]) -> None:
        for future, result in zip(futures, results, strict=True):
            if future.done():
                continue
            if isinstance(result, BaseException):
                future.set_exception(result)
            else:
                future.set_result(result)
