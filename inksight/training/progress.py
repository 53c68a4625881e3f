"""What a training says while it runs: one line that renews itself on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TextIO

# Between two renewals of the line, and between two plain lines within an epoch, in seconds.
LIVE_EVERY = 0.2
PLAIN_EVERY = 30.0


def duration(seconds: float) -> str:
    """Return a length of time for people: 8s, 3m20s, 2h05m."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


class Progress:
    """Prints loss, accuracy, images per second and the time left, on standard error; silent when `quiet`."""

    def __init__(self, epochs: int, total_steps: int, *, quiet: bool = False, stream: TextIO | None = None) -> None:
        self.epochs, self.total_steps, self.quiet = epochs, total_steps, quiet
        self.stream = stream or sys.stderr
        self.live = self.stream.isatty()
        self._began = self._last = time.monotonic()
        self._first_step: int | None = None
        self._width = 0

    def step(self, epoch: int, step: int, loss: float, accuracy: float, rate: float) -> None:
        """Report a step (counted from 1); prints only when some time has passed."""
        now = time.monotonic()
        if self._first_step is None:
            self._first_step, self._began = step, now
        if self.quiet or now - self._last < (LIVE_EVERY if self.live else PLAIN_EVERY):
            return
        self._last = now
        done = step - self._first_step
        left = f"  {duration((now - self._began) / done * (self.total_steps - step))} left" if done else ""
        text = f"epoch {epoch}/{self.epochs}  loss {loss:.3f}  accuracy {accuracy:.1%}  {rate:,.0f} img/s{left}"
        if self.live:
            self.stream.write("\r" + text.ljust(self._width))
            self._width = len(text)
        else:
            self.stream.write(text + "\n")
        self.stream.flush()

    def say(self, text: str) -> None:
        """Print a whole line, over the live one."""
        if self.quiet:
            return
        if self.live and self._width:
            self.stream.write("\r" + " " * self._width + "\r")
            self._width = 0
        self.stream.write(text + "\n")
        self.stream.flush()
