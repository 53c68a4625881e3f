"""Several processes at one registry, and processes killed at any point, on SQLite and on PostgreSQL."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from inksight.registry import Registry
from inksight.registry.tables import VersionRow
from tests.conftest import REPOSITORY
from tests.registry.checks import check, check_files
from tests.registry.conftest import Make


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    """Start a process of the crowd, whose temporary files are in `folder`: who is killed leaves them behind."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.registry.crowd", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
        env={**os.environ, "TMPDIR": str(folder)},
    )


@pytest.mark.slow
def test_a_crowd_that_promotes_and_cleans(any_store: Registry, make: Make, tmp_path: Path) -> None:
    any_store.register(make(), "m")
    crowd = [start(tmp_path, "act", "6", str(seed)) for seed in range(4)]
    try:
        looks = 0
        while any(process.poll() is None for process in crowd):
            check(any_store)
            looks += 1
            time.sleep(0.02)
        totals: Counter[str] = Counter()
        for process in crowd:
            out, err = process.communicate(timeout=30)
            assert process.returncode == 0, err
            totals.update({name: int(count) for name, count in re.findall(r"'(\w+)': (\d+)", out)})
    finally:
        for process in crowd:
            process.kill()
            process.communicate()
    assert looks > 20
    assert min(totals.values()) > 5, totals
    check(any_store)
    check_files(any_store, tmp_path)


@pytest.mark.slow
def test_killed_at_every_point(any_store: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The story of crowd.die is told again and again, killed seven events later each time, at one registry."""
    process = start(tmp_path, "die", "7")
    out, err = process.communicate(timeout=250)
    assert process.returncode == 0, err
    killed, events = (int(number) for number in re.findall(r"killed (\d+) times in (\d+) events", out)[0])
    assert killed >= events // 7 - 1
    assert events > 60
    check(any_store)
    # Each dead process may have left an upload or a half-done removal. One clean-up, once they count as abandoned ...
    monkeypatch.setattr("inksight.registry.cleanup._ABANDONED", timedelta(0))
    any_store.clean(keep=100, failed=True)
    check(any_store)
    check_files(any_store, tmp_path)
    # ... and everything works.
    with any_store.database.read() as session:
        assert set(session.scalars(select(VersionRow.state))) <= {"ready", "deleted"}
    assert any_store.resolve("m").is_dir()


@pytest.mark.slow
def test_killed_in_the_middle_of_a_crowd(any_store: Registry, make: Make, tmp_path: Path) -> None:
    any_store.register(make(), "m")
    for seed in range(4):
        crowd = [start(tmp_path, "act", "20", str(10 * seed + index)) for index in range(2)]
        time.sleep(1.5 + 0.37 * seed)
        for process in crowd:
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
        check(any_store)
    check_files(any_store, tmp_path)
    any_store.register(make(), "m")
