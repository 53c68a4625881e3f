"""What `train-all` shows on a terminal, and Ctrl-C there: in a real pseudo-terminal of 80 columns."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from inksight.cli.matrix_progress import table
from inksight.training.trackers import read_history
from inksight.tuning.jobs import Job
from inksight.tuning.train_all import Progress, State
from tests.training.made import write_bars


class Terminal:
    """A command in a terminal of its own; `press` types, `screen` is all that was written, without its styles."""

    def __init__(self, words: list[str], columns: int = 80, lines: int = 24) -> None:
        self.keys, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        plain = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
        self.process = subprocess.Popen(
            words, stdin=theirs, stdout=theirs, stderr=theirs, env={**plain, "TERM": "xterm-256color"},
            start_new_session=True, preexec_fn=self._take_over,
        )  # fmt: skip
        os.close(theirs)
        self.raw = b""
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    @staticmethod
    def _take_over() -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        # One core, so one thread: with more, threads of busy cores wait for each other for minutes.
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

    def _read(self) -> None:
        while True:
            try:
                block = os.read(self.keys, 65536)
            except OSError:  # how Linux says that nobody holds the other end any more
                return
            self.raw += block

    @property
    def screen(self) -> str:
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.raw.decode(errors="replace")).replace("\r", "")

    def wait_for(self, ready: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + 180
        while not ready():
            assert self.process.poll() is None, f"ended before {what}: {self.screen[-3000:]}"
            assert time.monotonic() < deadline, f"never: {what}: {self.screen[-3000:]}"
            time.sleep(0.05)

    def press(self, keys: bytes) -> None:
        os.write(self.keys, keys)

    def end(self, seconds: float = 240) -> int:
        try:
            return self.process.wait(seconds)
        finally:
            self.process.kill()
            self.process.wait()
            self.reader.join(5)
            os.close(self.keys)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_live_table_and_ctrl_c(tmp_path: Path, home: Path) -> None:
    data = write_bars(tmp_path / "bars.h5", counts=(400, 400))  # 2 s of training on a quick machine
    words = [sys.executable, "-m", "inksight", "train-all", "--models", "sketchnet-s", "simple_cnn"]
    words += ["--datasets", str(data), str(tmp_path / "absent.h5"), "--epochs", "12", "--name", "m"]
    [log, later] = [home / "matrices" / "m" / f"bars-{model}" / "log.txt" for model in ("sketchnet-s", "simple_cnn")]

    terminal = Terminal(words)
    terminal.wait_for(lambda: log.exists() and "epoch 3/12" in log.read_text(), "it trained")
    terminal.wait_for(lambda: re.search(r"epoch +\d+/12", terminal.screen), "the table showed what the job says")
    assert re.search(r"bars +sketchnet-s +running +\d\S* +epoch", terminal.screen)
    assert re.search(r"bars +simple_cnn +waiting", terminal.screen)
    assert re.search(r"absent +simple_cnn +failed", terminal.screen)
    assert "2 of 4 done, 2 of them failed" in terminal.screen
    assert b"\x1b[1A" in terminal.raw, "the table should have been drawn over itself"
    terminal.press(b"\x03")
    assert terminal.end() == 130, terminal.screen[-3000:]
    last = terminal.screen.rpartition(" state ")[2]
    assert re.search(r"bars +sketchnet-s +stopped", last)
    assert "the same command goes on" in last
    assert "stopping: the jobs write" in terminal.screen
    assert not later.exists(), "a job was started after Ctrl-C"
    [run] = (home / "runs").glob("m-bars-*")
    stopped_at = len(read_history(run))
    assert 2 <= stopped_at < 12  # the third epoch had begun

    terminal = Terminal(words)
    assert terminal.end() == 1, terminal.screen[-3000:]  # the absent dataset
    assert re.search(r"bars +sketchnet-s +done +\d\S* +\d+\.\d% ", terminal.screen)
    assert re.search(r"bars +simple_cnn +done +\d\S* +\d+\.\d% ", terminal.screen)
    assert "4 of 4 done, 2 of them failed" in terminal.screen
    assert "goes on with run" in log.read_text()
    assert [entry["epoch"] for entry in read_history(run)] == list(range(1, 13))


def shown(states: list[State], *, width: int = 80, room: int = 50) -> list[str]:
    jobs = [Job(f"k{at}", "m", "quickdraw20", "d.h5", "", f"deep_v2/model-{at}", "r", "n") for at in range(len(states))]
    progress = [
        Progress(job, state, 754.0, "epoch 3/25  loss 0.123  accuracy 95.1 % and more than fits")
        for job, state in zip(jobs, states, strict=True)
    ]
    out = io.StringIO()
    Console(file=out, width=width).print(table(progress, room))
    return [line.rstrip() for line in out.getvalue().splitlines() if line.strip()]


def test_only_the_last_column_gives_way() -> None:
    head, _, first, *_ = shown(["running", "waiting"], width=70)
    assert head.split() == ["dataset", "model", "state", "time"]
    assert re.search(r"quickdraw20 +deep_v2/model-0 +running +12m34s +epoch 3/25.*…", first)


def test_a_low_terminal_shows_the_jobs_that_run() -> None:
    counts: dict[State, int] = {"done": 20, "running": 2, "failed": 1, "waiting": 20}
    states = [state for state, count in counts.items() for _ in range(count)]
    _, _, *rows, caption = shown(states, room=5)
    assert [row.split()[2] for row in rows] == ["running", "running", "failed", "waiting", "waiting"]
    assert caption.strip() == "21 of 43 done, 1 of them failed"
