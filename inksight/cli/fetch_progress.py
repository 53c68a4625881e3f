"""Progress of a fetch: live bars on a terminal, plain lines elsewhere, both on standard error."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from inksight.cli.output import say

if TYPE_CHECKING:
    from inksight.data.quickdraw import FileOutcome

_REPORT_EVERY = 10.0  # seconds between lines on the total where there is no terminal


class Lines:
    """Progress as plain lines: one per class, and one on the total now and then."""

    def __init__(self) -> None:
        self.total = self.ready = 0
        self.done: dict[str, int] = {}
        self.spoke = time.monotonic()
        self.lock = threading.Lock()

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        pass

    def begin(self, names: Sequence[str]) -> None:
        """Hear which classes will be fetched."""
        self.total = len(names)

    def bytes(self, name: str, done: int, total: int | None) -> None:
        """Hear how far one class is."""
        with self.lock:
            self.done[name] = done
            now = time.monotonic()
            if now - self.spoke >= _REPORT_EVERY:
                self.spoke = now
                say(f"[{self.ready}/{self.total}] {size_text(sum(self.done.values()))} so far")

    def note(self, message: str) -> None:
        """Print a note."""
        say(message)

    def finished(self, outcome: FileOutcome) -> None:
        """Print how one class ended."""
        self.ready += 1
        say(f"[{self.ready}/{self.total}] {_sentence(outcome)}")


class Bars:
    """Progress as live bars: one per class that is being fetched, and one for all."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[state]}"),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        self.bars = Progress(*columns, console=Console(stderr=True, highlight=False))
        self.tasks: dict[str, Any] = {}
        self.names: list[str] = []
        self.seen: dict[str, tuple[int, int | None]] = {}
        self.ready = self.silent = 0  # finished; of these, without any bytes
        self.lock = threading.Lock()

    def __enter__(self) -> None:
        self.bars.start()

    def __exit__(self, *error: object) -> None:
        self.bars.stop()

    def begin(self, names: Sequence[str]) -> None:
        """Hear which classes will be fetched."""
        self.names = list(names)
        self.tasks[""] = self.bars.add_task("all", total=None, state=f"0/{len(names)}")

    def bytes(self, name: str, done: int, total: int | None) -> None:
        """Hear how far one class is."""
        with self.lock:
            if name not in self.tasks:
                self.tasks[name] = self.bars.add_task(name, total=total, state="")
            self.bars.update(self.tasks[name], completed=done, total=total)
            self.seen[name] = (done, total)
            self._update_all()

    def _update_all(self) -> None:
        done = sum(done for done, _ in self.seen.values())
        totals = [total for _, total in self.seen.values() if total]
        # Files that have not begun count like the mean of those that have; those that needed no bytes not at all.
        total = sum(totals) / len(totals) * (len(self.names) - self.silent) if totals else None
        self.bars.update(self.tasks[""], completed=done, total=total, state=f"{self.ready}/{len(self.names)}")

    def note(self, message: str) -> None:
        """Print a note."""
        self.bars.console.print(message, markup=False)

    def finished(self, outcome: FileOutcome) -> None:
        """Print how one class ended."""
        with self.lock:
            self.ready += 1
            self.silent += outcome.name not in self.seen
            if outcome.name in self.tasks:
                self.bars.remove_task(self.tasks.pop(outcome.name))
            self._update_all()
            self.bars.console.print(_sentence(outcome), markup=False)


def _sentence(outcome: FileOutcome) -> str:
    if outcome.status in ("failed", "skipped"):
        return f"{outcome.name}: {outcome.status}: {outcome.message}"
    more = f"; {outcome.message}" if outcome.message else ""
    return f"{outcome.name}: {outcome.count:,} drawings, {size_text(outcome.bytes)}, {outcome.status}{more}"


def size_text(count: float) -> str:
    """Return a number of bytes for people, e.g. 3.9 MB."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
