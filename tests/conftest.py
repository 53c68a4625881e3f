"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
import shutil
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

# A shell that starts pytest in the background makes it, and all its children, deaf to Ctrl-C; tests send it on purpose.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Several test processes share the cores: two threads of each wait for one another and take ten times as long as one.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
# Those that have two all the same, as jobs of a matrix, must not spin beside other tests (benchmarks/busy_cores.py).
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

REPOSITORY = Path(__file__).resolve().parent.parent


def in_ci() -> bool:
    """Return whether a missing part must fail instead of skip."""
    return os.environ.get("CI", "").lower() in ("1", "true")


def skip_or_fail(reason: str) -> None:
    """Skip the running test with a reason; under CI=true fail, since there every part must be present."""
    if in_ci():
        pytest.fail(f"missing under CI: {reason}")
    pytest.skip(reason)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse tests that share an id: pytest-xdist would run one of them and say nothing of the others."""
    alike = [nodeid for nodeid, count in Counter(item.nodeid for item in items).items() if count > 1]
    if alike:
        raise pytest.UsageError(f"several tests have the id {alike[0]}")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real drawings and photos, or skip: the repository carries none of them."""
    folder = Path(os.environ.get("INKSIGHT_SHARED_DATA") or REPOSITORY.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no shared data at {folder} (set INKSIGHT_SHARED_DATA)")
    return folder


@pytest.fixture(scope="session")
def require() -> Callable[..., str]:
    """Return a function that gives the path of the first program found, or skips (fails under CI)."""

    def find(*programs: str) -> str:
        for program in programs:
            found = shutil.which(program)
            if found:
                return found
        skip_or_fail(f"none of {', '.join(programs)} is installed")
        raise AssertionError

    return find


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give every test a workspace of its own, so that none reads or writes the developer's."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("INKSIGHT_HOME", str(folder))
    for name in ("INKSIGHT_DATABASE_URL", "INKSIGHT_ARTIFACTS"):
        monkeypatch.delenv(name, raising=False)
    return folder
