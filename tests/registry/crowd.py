"""Processes that use one registry at once, for test_crowd.py: each does random things for a while, or dies at a point.

    python -m tests.registry.crowd act SECONDS SEED       random registers, promotions, roll-backs, clean-ups, reads,
                                                          for so long and until each succeeded twice
    python -m tests.registry.crowd die STEP               a fixed story, killed at every STEP-th event in turn

An event is a statement to the database, a commit, or a file operation in the artefact root or the cache.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import onnxruntime  # noqa: F401 - here, once, and not in each of the children that die
from sqlalchemy import event
from sqlalchemy.engine import Engine

from inksight.errors import BundleError, ConflictError, GateError, NotFoundError
from inksight.registry import Registry
from inksight.registry import open as open_registry
from tests.registry.checks import check
from tests.registry.made import make_bundle

EXPECTED = (ConflictError, GateError, NotFoundError)


def act(seconds: float, seed: int) -> None:
    """Do random things; what may happen when others are at work is fine, anything else is an error."""
    chance = random.Random(seed)
    store = open_registry()
    counts = dict.fromkeys(("register", "promote", "rollback", "clean", "read"), 0)
    deadline = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as folder:
        # On a busy machine the time alone may pass before anything rare has happened.
        while time.monotonic() < deadline or min(counts.values()) < 2:
            what = chance.choices(list(counts), weights=[3, 3, 1, 3, 3])[0]
            try:
                one_act(store, what, chance, Path(folder), sum(counts.values()))
            except EXPECTED:
                continue
            counts[what] += 1
    store.close()
    print(counts)


def one_act(store: Registry, what: str, chance: random.Random, folder: Path, turn: int) -> None:
    """Do one thing to the model "m"."""
    if what == "register":
        salt = f"{os.getpid()}-{turn}"
        store.register(make_bundle(folder / salt, accuracy=chance.uniform(0.8, 0.9), salt=salt), "m")
    elif what == "promote":
        number = chance.choice(store.versions("m")).number
        store.promote("m", number, alias=chance.choice(["champion", "candidate"]), force=chance.random() < 0.7)
    elif what == "rollback":
        store.rollback("m", alias=chance.choice(["champion", "candidate"]))
    elif what == "clean":
        store.clean(keep=chance.randint(1, 3))
    else:
        version = store.find(chance.choice(["m", "m@champion", "m@candidate"]))
        with store.hold(version, "reading"):
            # While the lease lasts nobody may remove it: every byte must be there.
            time.sleep(chance.uniform(0, 0.02))
            try:
                store.artifacts.get(version.location, version.files, _empty(folder / f"r{turn}"))
            except BundleError as error:
                raise AssertionError(f"{version.ref} was removed while it was held") from error


def _empty(folder: Path) -> Path:
    folder.mkdir()
    return folder


def die_at_each(step: int) -> None:
    """Fork a child that dies at event 1, 1 + step, ... of the story, and check the registry after each death."""
    at, killed = 1, 0
    while True:
        child = os.fork()  # the parent holds no connection and no thread at this moment
        if child == 0:
            die(at)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        store = open_registry()
        check(store)
        store.close()
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0, f"the story failed instead of dying at event {at}"
            break
        assert os.WTERMSIG(status) == signal.SIGKILL
        killed, at = killed + 1, at + step
    print(f"killed {killed} times in {at - 1} events")


def die(at: int) -> None:
    """Tell a fixed story and SIGKILL yourself at its at-th event; ends normally when there are fewer."""
    seen = 0

    def tick(*args: Any) -> None:
        nonlocal seen
        seen += 1
        if seen == at:
            os.kill(os.getpid(), signal.SIGKILL)

    home = os.environ["INKSIGHT_HOME"]

    def audit(name: str, arguments: tuple[Any, ...]) -> None:
        if name in ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree") and any(
            isinstance(argument, str | os.PathLike) and str(argument).startswith(home) for argument in arguments
        ):
            tick()

    store = open_registry()
    sys.addaudithook(audit)
    event.listen(Engine, "before_cursor_execute", tick)
    event.listen(Engine, "commit", tick)
    with tempfile.TemporaryDirectory() as folder:
        for index in range(2):
            bundle = make_bundle(Path(folder) / str(index), accuracy=0.9 + index / 100, salt=f"{at}-{index}")
            version = store.register(bundle, "m")
            store.resolve(version.ref)
            store.promote("m", version.number, force=True)
        store.rollback("m")
        store.clean(keep=1, failed=True)
    sys.stdout.flush()


if __name__ == "__main__":
    if sys.argv[1] == "act":
        act(float(sys.argv[2]), int(sys.argv[3]))
    elif sys.argv[1] == "die":
        die_at_each(int(sys.argv[2]))
    else:
        sys.exit(f"{sys.argv[1]!r} is neither act nor die")
