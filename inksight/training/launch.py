"""`train --workers N`: N processes on this machine that train one model together, and one that minds them.

Each is the same command again, with RANK and WORLD_SIZE set as torchrun sets them (for several machines use torchrun,
docs/scale.md). They meet through a file, so that no port can be taken. The minder imports no torch. When a process
dies, the others cannot go on: they are ended, and the run stays as of its last checkpoint.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import IO

from inksight.data.parallel import cores
from inksight.errors import TrainingError

MEETING = "INKSIGHT_MEETING"
"""Where the processes of one training meet: a file's URL. In a process that has it, standard input is its minder's."""

STOPPED = 130
_LOOK_EVERY = 0.05
_GRACE = 3.0  # seconds between the first death and the end of the rest, in which others may say what they know
_STOP_SECONDS = 60.0  # for the last checkpoint; a large model's step may take seconds


def launch(workers: int, arguments: Sequence[str]) -> int:
    """Run `inksight ARGUMENTS` in so many processes and return the leader's exit code.

    SIGINT and SIGTERM are passed on once, and the processes write a checkpoint and end; a second one kills them.
    Raises TrainingError when a process other than the leader fails, or any is killed.
    """
    with tempfile.TemporaryDirectory(prefix="inksight-workers-") as name:
        folder = Path(name)
        logs: list[IO[bytes]] = [open(folder / f"worker-{rank}.log", "w+b") for rank in range(workers)]  # noqa: SIM115
        processes = [_start(rank, workers, arguments, folder / "meeting", logs[rank]) for rank in range(workers)]
        try:
            return _mind(processes, logs)
        finally:
            for process in processes:
                process.kill()
                process.wait()
                if process.stdin is not None:
                    process.stdin.close()
            for log in logs:
                log.close()


def _start(rank: int, workers: int, arguments: Sequence[str], meeting: Path, log: IO[bytes]) -> subprocess.Popen[bytes]:
    names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": workers, "LOCAL_WORLD_SIZE": workers}
    environment = {**os.environ, **{name: str(value) for name, value in names.items()}, MEETING: meeting.as_uri()}
    environment.setdefault("OMP_NUM_THREADS", str(max(1, cores() // workers)))
    if Path("/sys/class/net/lo").exists():
        environment.setdefault("GLOO_SOCKET_IFNAME", "lo")
    return subprocess.Popen(
        [sys.executable, "-m", "inksight", *arguments],
        env=environment,
        stdin=subprocess.PIPE,
        # The leader speaks; what the others say is shown when they fail.
        stdout=None if rank == 0 else log,
        stderr=None if rank == 0 else log,
        # Ctrl-C is for the minder, which passes it on once: a second one would end them without a checkpoint.
        start_new_session=True,
    )


def _mind(processes: list[subprocess.Popen[bytes]], logs: list[IO[bytes]]) -> int:
    asked: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        for process in processes:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM if len(asked) == 1 else signal.SIGKILL)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        deadline = None
        while any(process.poll() is None for process in processes):
            bad = [process for process in processes if process.poll()]
            if deadline is None and (bad or asked):
                deadline = time.monotonic() + (_STOP_SECONDS if asked else _GRACE)
            if deadline is not None and time.monotonic() > deadline:
                break
            time.sleep(_LOOK_EVERY)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    codes = [process.poll() for process in processes]
    if asked:
        return STOPPED
    killed = [rank for rank, code in enumerate(codes) if code is not None and code < 0]
    failed = [rank for rank, code in enumerate(codes) if code]
    if killed:
        rank = killed[0]
        raise TrainingError(
            f"worker {rank + 1} of {len(codes)} was killed by {signal.Signals(-(codes[rank] or 0)).name}",
            hint="The run stays at its last checkpoint: the same command with --resume goes on.",
        )
    if failed and 0 not in failed:
        rank = failed[0]
        logs[rank].seek(0)
        sys.stderr.write(logs[rank].read().decode(errors="replace"))
        raise TrainingError(f"worker {rank + 1} of {len(codes)} failed", hint="What it said stands above.")
    return codes[0] or 0
