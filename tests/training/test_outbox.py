"""The line of messages: in order, patient with outages, done with refusals, and never waited for beyond its bounds."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inksight.training import outbox
from inksight.training.outbox import Outbox


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "FIRST_PAUSE", 0.005)
    monkeypatch.setattr(outbox, "LONGEST_PAUSE", 0.01)


class Server:
    """Fails the first `outages` tries of a message, refuses those in `refused`, and notes what arrives."""

    def __init__(self, outages: dict[int, int], refused: set[int]) -> None:
        self.outages, self.refused, self.arrived = dict(outages), refused, list[int]()

    def take(self, number: int) -> None:
        if self.outages.get(number, 0) > 0:
            self.outages[number] -= 1
            raise ConnectionError("away")
        if number in self.refused:
            raise ValueError(f"number {number} is not liked")
        self.arrived.append(number)


def box() -> Outbox:
    return Outbox("the server", lambda error: isinstance(error, ConnectionError))


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.integers(0, 9), st.integers(1, 3), max_size=4), st.sets(st.integers(0, 9), max_size=3))
def test_all_that_is_not_refused_arrives_once_in_order(outages: dict[int, int], refused: set[int]) -> None:
    server, line = Server(outages, refused), box()
    for number in range(10):
        line.put(lambda number=number: server.take(number))  # type: ignore[misc]
    assert line.close(patience=60, longest=60) == 0
    assert server.arrived == [number for number in range(10) if number not in refused]
    assert line.refused == len(refused)
    notes = line.notes()
    assert sum("does not answer" in note for note in notes) == len(outages)
    assert sum("answers again" in note for note in notes) == len(outages)
    assert sum("refuses" in note for note in notes) == min(1, len(refused))
    assert line.notes() == []


def test_an_outage_that_lasts_is_told_once_and_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    server, line = Server({1: 10**9}, set()), box()
    for number in range(5):
        line.put(lambda number=number: server.take(number))  # type: ignore[misc]
    assert line.close(patience=0.3, longest=60) == 4
    assert server.arrived == [0]
    assert len(line.notes()) == 1
    tries = server.outages[1]
    time.sleep(0.1)
    assert server.outages[1] >= tries - 1, "nothing is sent any more, apart from what was under way"


def test_an_outage_is_told_by_what_it_began_with() -> None:
    def refused(tries: list[None] = []) -> None:  # noqa: B006
        tries.append(None)
        if len(tries) == 1:
            try:
                raise ConnectionRefusedError(111, "Connection refused")
            except OSError as error:
                raise ConnectionError("HTTPConnectionPool(host='x'): Max retries exceeded with url: /api") from error

    line = box()
    line.put(refused)
    assert line.close(patience=60, longest=60) == 0
    assert line.notes()[0].endswith("is sent when it is back: [Errno 111] Connection refused")


def test_a_server_that_is_only_busy_is_waited_for() -> None:
    line = box()
    line.put(lambda: time.sleep(1))
    assert line.close(patience=0.1, longest=60) == 0


def test_a_server_that_hangs_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "HANGING", 0.2)
    line, answer = box(), threading.Event()
    line.put(lambda: answer.wait(100) and None)
    assert line.close(patience=0.2, longest=60) == 1
    answer.set()


def test_one_that_crawls_gets_no_more_than_the_longest_time() -> None:
    line = box()
    for _ in range(10_000):
        line.put(lambda: time.sleep(0.05))
    assert line.close(patience=60, longest=0.5) > 9_000


def test_a_line_without_messages_has_no_thread() -> None:
    before = threading.active_count()
    assert box().close(patience=60, longest=60) == 0
    assert threading.active_count() == before
