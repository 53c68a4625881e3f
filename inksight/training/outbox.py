"""Messages to a server that may be slow or away: sent in order by a thread, so that a training never waits for them.

A message that cannot be delivered now stays first in line and is tried again, ever more rarely; one that the server
refuses is dropped. Both are noted once, not each time. Not guaranteed: that a message arrives once only (an answer may
get lost), so messages must bear repeating; and what still waits when the process dies is lost.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds between two tries while the server is away; doubled each time."""

HANGING = 15.0
"""Seconds in which a server that is only busy has answered: somewhat more than one request may take."""


class Outbox:
    """A line of messages to the server `name`; `may_pass` tells an outage from a refusal by the exception."""

    def __init__(self, name: str, may_pass: Callable[[Exception], bool]) -> None:
        self._name, self._may_pass = name, may_pass
        self._waiting: deque[Callable[[], object]] = deque()
        self._notes: deque[str] = deque()
        self._changed = threading.Condition()
        self._away = self._closing = self._given_up = False
        self._moved_at = 0.0
        self.refused = 0
        self._thread = threading.Thread(target=self._work, name="outbox", daemon=True)

    def put(self, message: Callable[[], object]) -> None:
        """Send a message when its turn comes; never waits."""
        with self._changed:
            self._waiting.append(message)
            self._changed.notify_all()
        if self._thread.ident is None:
            self._thread.start()

    def notes(self) -> list[str]:
        """Return what there is to tell people since the last call: outages, recoveries, the first refusal."""
        found = []
        while self._notes:
            found.append(self._notes.popleft())
        return found

    def close(self, patience: float, longest: float) -> int:
        """Wait until all is sent and return how many messages are not.

        Gives up when a server that is away got nothing for `patience` seconds, one that has not failed yet for HANGING,
        and after `longest` seconds in any case; a request that is under way then is left to its own time limit, in its
        own thread.
        """
        began = time.monotonic()
        with self._changed:
            self._closing = True
            self._moved_at = began
            self._changed.notify_all()
            while self._thread.is_alive() and self._waiting:
                quiet = patience if self._away else max(patience, HANGING)
                left = min(self._moved_at + quiet, began + longest) - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            self._given_up = True
            self._changed.notify_all()
            return len(self._waiting)

    def _work(self) -> None:
        pause = FIRST_PAUSE
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if self._given_up or not self._waiting:
                    return
                message = self._waiting[0]
                closing = self._closing
            if self._send(message):
                pause = FIRST_PAUSE
                continue
            with self._changed:
                # The end is a reason to try at once, and more often than before.
                self._changed.wait_for(lambda: self._closing is not closing or self._given_up, pause)  # noqa: B023
                pause = FIRST_PAUSE if self._closing is not closing else min(2 * pause, LONGEST_PAUSE)

    def _send(self, message: Callable[[], object]) -> bool:
        """Send one message; False when it must be tried again."""
        try:
            message()
        except Exception as error:  # noqa: BLE001  (whatever a client library raises, the training must go on)
            if self._may_pass(error):
                if not self._away:
                    self._notes.append(
                        f"{self._name} does not answer; the training goes on, and what it misses is sent when it is"
                        f" back: {_line(_root(error))}"
                    )
                with self._changed:
                    self._away = True
                    self._changed.notify_all()
                return False
            if not self.refused:
                self._notes.append(f"{self._name} refuses what it is sent; this is left out: {_line(error)}")
            self.refused += 1
        if self._away:
            self._notes.append(f"{self._name} answers again and gets what it missed")
        self._away = False
        with self._changed:
            self._waiting.popleft()
            self._moved_at = time.monotonic()
            self._changed.notify_all()
        return True


def _root(error: BaseException) -> BaseException:
    """Return what an error began with: clients of HTTP wrap a refused connection four times, in a paragraph."""
    while cause := error.__cause__ or error.__context__:
        error = cause
    return error


def _line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
