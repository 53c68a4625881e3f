"""Work ahead of the reader: in order, bounded, and stopped between steps only."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from inksight.data.parallel import ahead


def test_results_come_in_order_and_no_further_ahead_than_asked() -> None:
    begun: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        return number * number

    with ThreadPoolExecutor(2) as threads:
        results = ahead(threads, work, range(100), waiting=3)
        assert [next(results) for _ in range(5)] == [0, 1, 4, 9, 16]
        assert max(begun) <= 8
        assert list(results) == [number * number for number in range(5, 100)]


class _Stopped(ThreadPoolExecutor):
    """A pool to which Ctrl-C or SIGTERM comes while it takes its first task, in the midst of its own locks."""

    which = signal.SIGINT
    whole = False

    def submit(self, *task: Any, **options: Any) -> Future[Any]:
        os.kill(os.getpid(), self.which)
        future = super().submit(*task, **options)
        self.whole = True
        return future


def test_ctrl_c_waits_for_the_pool_to_take_a_task() -> None:
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background ignore it
    try:
        with _Stopped(2) as threads, pytest.raises(KeyboardInterrupt):
            list(ahead(threads, str, range(10)))
        assert threads.whole
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_handler_of_sigterm_is_asked_later_too() -> None:
    handled: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: handled.append(number))
    try:
        with _Stopped(2) as threads:
            threads.which = signal.SIGTERM
            results = ahead(threads, abs, range(1))
            assert not handled
            assert list(results) == [0]
        assert handled == [signal.SIGTERM]
        assert threads.whole
    finally:
        signal.signal(signal.SIGTERM, before)


def test_an_ignored_ctrl_c_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with _Stopped(2) as threads:
            assert list(ahead(threads, str, range(3))) == ["0", "1", "2"]
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_work_as_ever() -> None:
    found: list[int] = []
    with ThreadPoolExecutor(2) as threads:
        thread = threading.Thread(target=lambda: found.extend(ahead(threads, abs, [-1, -2, -3])))
        thread.start()
        thread.join()
    assert found == [1, 2, 3]


def test_a_script_that_starts_processes_needs_no_guard(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "print('once', flush=True)\n"
        "from concurrent.futures import ProcessPoolExecutor\n"
        "from math import factorial\n"
        "from inksight.data.parallel import Spawned\n"
        "with ProcessPoolExecutor(2, Spawned()) as processes:\n"
        "    print(list(processes.map(factorial, range(5))))\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("once\n[1, 1, 2, 6, 24]\n", "")
