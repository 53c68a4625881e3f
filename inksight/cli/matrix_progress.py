"""Progress of a matrix: a live table on a terminal, plain lines elsewhere, both on standard error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from inksight.cli.output import say

if TYPE_CHECKING:
    from inksight.tuning.train_all import Progress

_FAILED_LINES = 3  # of the log; the report has more


class Lines:
    """One line when a job starts and one when it ends."""

    def __init__(self) -> None:
        self.states: dict[str, str] = {}

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def __call__(self, progress: Sequence[Progress]) -> None:
        """Print what has changed."""
        for one in progress:
            if self.states.get(one.job.key, "waiting") != one.state:
                self.states[one.job.key] = one.state
                ended = sum(other.state in ("done", "failed") for other in progress)
                say(f"[{ended}/{len(progress)}] {one.job.dataset} {one.job.model}: {_sentence(one)}")
                if one.failure is not None:
                    for line in failure_lines(one.failure):
                        say(f"    {line}")


class Table:
    """A table that renews itself: a row per job."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self.live = Live(console=Console(stderr=True, highlight=False), refresh_per_second=4, transient=False)

    def __enter__(self) -> Table:
        self.live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.live.stop()

    def __call__(self, progress: Sequence[Progress]) -> None:
        """Show the present state."""
        from rich import box
        from rich.table import Table as RichTable
        from rich.text import Text

        table = RichTable(box=box.SIMPLE_HEAD)
        for column in ("dataset", "model", "state", "time", ""):
            table.add_column(column, no_wrap=True, overflow="ellipsis", justify="right" if column == "time" else "left")
        styles = {"running": "bold", "failed": "red", "waiting": "dim", "done": ""}
        for one in progress:
            note = _note(one) if one.state in ("done", "failed") else one.said
            seconds = "" if one.before or one.state == "waiting" else _duration(one.seconds)
            cells = (one.job.dataset, one.job.model, one.state, seconds, note)
            table.add_row(*(Text(cell) for cell in cells), style=styles[one.state])
        self.live.update(table)


def watcher() -> Any:
    """Return what shows progress here, a context manager to be called with the state of all jobs."""
    import sys

    return Table() if sys.stderr.isatty() else Lines()


def failure_lines(failure: Any, count: int = _FAILED_LINES) -> list[str]:
    """Return what to print of a failed job below its line: where the log is, and its end."""
    return [f"log: {failure.log}", *(f"| {line}" for line in failure.lines(count))]


def _sentence(one: Progress) -> str:
    if one.state == "running":
        return f"started, {one.job.threads} thread{'s' if one.job.threads != 1 else ''}"
    took = "" if one.before or not one.seconds else f", {_duration(one.seconds)}"
    return f"{'failed: ' if one.state == 'failed' else ''}{_note(one)}{took}"


def _note(one: Progress) -> str:
    if one.result is not None:
        low, high = one.result["metrics"]["accuracy_interval"]
        before = "; done before" if one.before else ""
        right = f"{one.result['metrics']['accuracy']:.1%} ({low:.1%} to {high:.1%})"
        return f"{right}, {one.result['reference']}{before}"
    return one.failure.message if one.failure is not None else ""


def _duration(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole}s" if whole < 60 else f"{whole // 60}m{whole % 60:02d}s"
