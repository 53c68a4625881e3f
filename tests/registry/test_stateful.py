"""Random histories of a registry, compared step by step with a model of a few lines; on SQLite and on PostgreSQL."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from inksight.errors import ConflictError, GateError, NotFoundError
from inksight.registry import Registry
from inksight.registry import open as open_registry
from inksight.registry.leases import Lease
from inksight.workspace import Workspace
from tests.registry.made import make_bundle
from tests.servers import PostgresServer

ALIASES = st.sampled_from(["champion", "candidate"])


class Life(RuleBasedStateMachine):
    """One model name; what should be true is kept in plain dicts beside the real registry."""

    new_database: ClassVar[Any] = None  # a function that gives a fresh database's URL for a folder
    leases = Bundle("leases")

    @initialize()
    def begin(self) -> None:
        self.temporary = tempfile.TemporaryDirectory()
        folder = Path(self.temporary.name)
        place = Workspace(folder, type(self).new_database(folder), str(folder / "artifacts"))
        self.store: Registry = open_registry(place)
        self.accuracy: dict[int, float] = {}
        self.alive: set[int] = set()
        self.places: dict[int, str] = {}
        self.points: dict[str, int] = {}
        self.trail: dict[str, list[int]] = {"champion": [], "candidate": []}
        self.held: dict[int, int] = {}
        self.forced = 0
        self.made = 0
        for percent in (55, 57, 53):  # so that short histories have something to clean
            self.add(percent)

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            self.temporary.cleanup()

    def way_back(self, alias: str) -> int | None:
        """The version below the present one on the trail that is still there."""
        if alias not in self.points:
            return None
        below = [n for n in self.trail[alias][:-1] if n in self.alive and n != self.points[alias]]
        return below[-1] if below else None

    @rule(percent=st.integers(50, 60))
    def register(self, percent: int) -> None:
        self.add(percent)

    def add(self, percent: int) -> None:
        self.made += 1
        bundle = make_bundle(Path(self.temporary.name) / f"b{self.made}", accuracy=percent / 100, salt=str(self.made))
        version = self.store.register(bundle, "m")
        assert version.number == max(self.accuracy, default=0) + 1
        self.accuracy[version.number] = percent / 100
        self.places[version.number] = version.location
        self.alive.add(version.number)

    @precondition(lambda self: self.accuracy)
    @rule(data=st.data(), alias=ALIASES, force=st.booleans())
    def promote(self, data: st.DataObject, alias: str, force: bool) -> None:
        number = data.draw(st.sampled_from(sorted(self.accuracy)))
        now = self.points.get(alias)
        worse = now is not None and self.accuracy[number] < self.accuracy[now] - 1e-9
        try:
            done = self.store.promote("m", number, alias=alias, force=force)
        except NotFoundError:
            assert number not in self.alive
        except GateError:
            assert worse
            assert not force
        else:
            assert number in self.alive
            assert not worse or force
            assert done.moved == (now != number)
            assert done.previous == now
            if done.moved:
                self.forced += done.forced
                self.points[alias] = number
                self.trail[alias].append(number)

    @precondition(lambda self: self.accuracy)
    @rule(alias=ALIASES)
    def rollback(self, alias: str) -> None:
        expected = self.way_back(alias)
        try:
            done = self.store.rollback("m", alias=alias)
        except NotFoundError:
            assert alias not in self.points
        except ConflictError:
            assert expected is None
        else:
            assert done.version.number == expected
            trail = self.trail[alias]
            trail.pop()
            while trail[-1] != done.version.number:
                trail.pop()
            self.points[alias] = done.version.number

    @precondition(lambda self: self.alive)
    @rule(target=leases, data=st.data())
    def hold(self, data: st.DataObject) -> Any:
        number = data.draw(st.sampled_from(sorted(self.accuracy)))
        if number not in self.alive:
            with pytest.raises(NotFoundError):
                self.store.find(f"m:{number}")
            return multiple()
        self.held[number] = self.held.get(number, 0) + 1
        return self.store.hold(self.store.find(f"m:{number}"), "testing"), number

    @rule(lease=leases)
    def release(self, lease: tuple[Lease, int]) -> None:
        held, number = lease
        if held._released.is_set():
            return
        held.release()
        self.held[number] -= 1

    @rule(keep=st.integers(1, 3), dry_run=st.integers(0, 3).map(lambda n: n == 3))
    def clean(self, keep: int, dry_run: bool) -> None:
        safe = set(sorted(self.alive, reverse=True)[:keep]) | set(self.points.values())
        safe |= {n for n, count in self.held.items() if count}
        safe |= {n for alias in self.points if (n := self.way_back(alias)) is not None}
        report = self.store.clean(keep=keep, dry_run=dry_run)
        assert {ref for ref, _ in report.removed} == {f"m:{n}" for n in self.alive - safe}
        if not dry_run:
            self.alive &= safe

    @invariant()
    def the_registry_agrees(self) -> None:
        if not hasattr(self, "store") or not self.accuracy:
            return
        found = {version.number: version for version in self.store.versions("m")}
        assert set(found) == self.alive
        aliases = {alias: n for n, version in found.items() for alias in version.aliases}
        assert aliases == self.points
        stored = {n for n, place in self.places.items() if self.store.artifacts.exists(place)}
        assert stored == self.alive
        assert sum(move.forced for move in self.store.history("m")) == self.forced
        for alias, number in self.points.items():
            assert self.store.find(f"m@{alias}").number == number


def run(new_database: Any, examples: int) -> None:
    machine = type("Machine", (Life,), {"new_database": staticmethod(new_database)})
    limits = settings(
        max_examples=examples,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
    run_state_machine_as_test(machine, settings=limits)


@pytest.mark.slow
def test_on_sqlite() -> None:
    run(lambda folder: f"sqlite:///{folder / 'inksight.db'}", 25)


@pytest.mark.slow
@pytest.mark.postgres
def test_on_postgres(postgres_server: PostgresServer) -> None:
    run(lambda folder: postgres_server.new_database(), 12)
