"""Progress of a matrix: a live table on a terminal, plain lines elsewhere, both on standard error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from inksight.cli.output import say

if TYPE_CHECKING:
    from rich.table import Table as RichTable

    from inksight.tuning.train_all import Progress

_FAILED_LINES = 3  # of the log; the report has more
_STYLES = {"running": "bold", "failed": "red", "waiting": "dim", "stopped": "dim", "done": ""}
_FRAME = 6  # lines of the table that are no jobs: its head, its foot, and a line for the cursor


class Lines:
    """One line when a job starts and one when it ends."""

    def __init__(self) -> None:
        self.states: dict[str, str] = {}
        self.failed: dict[tuple[str, str], str] = {}  # the first model that failed on this dataset for this reason

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
                before = None
                if one.failure is not None:
                    before = self.failed.get((one.job.dataset, one.failure.message))
                    self.failed.setdefault((one.job.dataset, one.failure.message), one.job.model)
                said = _sentence(one) if before is None else f"failed as {before} did"
                say(f"[{ended}/{len(progress)}] {one.job.dataset} {one.job.model}: {said}")
                if one.failure is not None and before is None:
                    for line in failure_lines(one.failure.as_dict(_FAILED_LINES)):
                        say(f"    {line}")


class Table:
    """A table that renews itself: a row per job, or of the jobs that say most where the terminal is low."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self.live = Live(console=Console(stderr=True, highlight=False), refresh_per_second=4, transient=False)
        self.progress: Sequence[Progress] = ()

    def __enter__(self) -> Table:
        self.live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.progress:
            self.live.update(table(self.progress, len(self.progress)))  # what stays on the terminal is whole
        self.live.stop()

    def __call__(self, progress: Sequence[Progress]) -> None:
        """Show the present state."""
        self.progress = progress
        self.live.update(table(progress, self.live.console.height - _FRAME))


def table(progress: Sequence[Progress], room: int) -> RichTable:
    """Return the table of at most `room` jobs: those that run first, then failed, waiting and finished ones."""
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    order = list(_STYLES)
    by_weight = sorted(range(len(progress)), key=lambda at: order.index(progress[at].state))
    ended = [one.state for one in progress if one.state in ("done", "failed")]
    caption = f"{len(ended)} of {len(progress)} done"
    if "failed" in ended:
        caption += f", {ended.count('failed')} of them failed"
    made = RichTable(box=box.SIMPLE_HEAD, caption=caption, caption_justify="left")
    for column in ("dataset", "model", "state", "time"):
        made.add_column(column, no_wrap=True, overflow="ellipsis", justify="right" if column == "time" else "left")
    made.add_column("")  # the only one that gives way where the terminal is narrow
    for one in (progress[at] for at in sorted(by_weight[: max(room, 1)])):
        note = _note(one) if one.state in ("done", "failed") else one.said
        seconds = _duration(one.seconds) if one.seconds or one.state == "running" else ""  # those of this call
        cells = [Text(cell) for cell in (one.job.dataset, one.job.model, one.state, seconds)]
        made.add_row(*cells, Text(note, no_wrap=True, overflow="ellipsis"), style=_STYLES[one.state])
    return made


def watcher() -> Any:
    """Return what shows progress here, a context manager to be called with the state of all jobs."""
    import sys

    return Table() if sys.stderr.isatty() else Lines()


def failure_lines(failure: Mapping[str, Any]) -> list[str]:
    """Return what to print of a failed job below its line: what to do, where the log is, its last lines."""
    hint = [failure["hint"]] if failure["hint"] else []
    return [*hint, f"log: {failure['log']}", *(f"| {line}" for line in failure["lines"])]


def _sentence(one: Progress) -> str:
    if one.state == "stopped":
        return "stopped"
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
