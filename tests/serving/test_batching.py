"""Micro-batching: what arrives together is answered together, each by its own result."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from inksight.serving.batching import Batcher
from inksight.serving.errors import BusyError


def double(items: Sequence[int]) -> list[int]:
    return [2 * item for item in items]


@pytest.mark.parametrize("threaded", [False, True])
def test_together_in_batches_each_with_its_own_result(threaded: bool) -> None:
    sizes: list[int] = []

    async def run() -> list[int]:
        with ThreadPoolExecutor(1) as pool:
            batcher = Batcher(double, size=8, limit=100, executor=pool if threaded else None, on_batch=sizes.append)
            return list(await asyncio.gather(*(batcher.submit(n) for n in range(20))))

    assert asyncio.run(run()) == [2 * n for n in range(20)]
    assert sizes == [8, 8, 4]


def test_a_lone_item_is_a_batch_of_one() -> None:
    sizes: list[int] = []

    async def run() -> None:
        batcher = Batcher(double, size=8, limit=100, on_batch=sizes.append)
        for n in range(3):
            assert await batcher.submit(n) == 2 * n

    asyncio.run(run())
    assert sizes == [1, 1, 1]


def test_what_arrives_while_a_slow_model_works_forms_the_next_batch() -> None:
    sizes: list[int] = []

    def slow(items: Sequence[int]) -> list[int]:
        time.sleep(0.05)
        return double(items)

    async def run() -> None:
        with ThreadPoolExecutor(1) as pool:
            batcher = Batcher(slow, size=8, limit=100, executor=pool, on_batch=sizes.append)
            first = batcher.submit(0)
            await asyncio.sleep(0.01)
            rest = [batcher.submit(n) for n in range(1, 6)]
            assert await asyncio.gather(first, *rest) == [0, 2, 4, 6, 8, 10]

    asyncio.run(run())
    assert sizes == [1, 5]


@pytest.mark.parametrize("threaded", [False, True])
def test_one_bad_item_does_not_fail_its_neighbours(threaded: bool) -> None:
    def picky(items: Sequence[int]) -> list[int]:
        if 3 in items:
            raise ValueError("three")
        return double(items)

    async def run() -> list[int | BaseException]:
        with ThreadPoolExecutor(1) as pool:
            batcher = Batcher(picky, size=8, limit=100, executor=pool if threaded else None)
            return list(await asyncio.gather(*(batcher.submit(n) for n in range(6)), return_exceptions=True))

    results = asyncio.run(run())
    assert isinstance(results.pop(3), ValueError)
    assert results == [0, 2, 4, 8, 10]


def test_a_full_queue_says_so_and_recovers() -> None:
    async def run() -> None:
        batcher = Batcher(double, size=2, limit=4)
        waiting = [batcher.submit(n) for n in range(4)]
        with pytest.raises(BusyError):
            batcher.submit(9)
        await asyncio.gather(*waiting)
        assert await batcher.submit(9) == 18

    asyncio.run(run())


def test_cancelled_requests_are_skipped() -> None:
    seen: list[int] = []

    def record(items: Sequence[int]) -> list[int]:
        seen.extend(items)
        return double(items)

    async def run() -> None:
        batcher = Batcher(record, size=8, limit=10)
        gone = batcher.submit(1)
        stays = batcher.submit(2)
        gone.cancel()
        assert await stays == 4

    asyncio.run(run())
    assert seen == [2]
