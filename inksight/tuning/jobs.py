"""Jobs of a matrix: one model trained on one dataset, each in a process and a folder of its own.

    <home>/matrices/<matrix>/<job>/job.json      what to do
                                   log.txt       what the process said
                                   result.json   what came out: the job is finished when this file is there
                                   error.json    why it failed

The state of a job is what lies in its folder, written whole or not at all: there is no table that a SIGKILL could leave
wrong, and nothing to migrate. A process ends itself, after a checkpoint, when whoever started it is gone: it holds a
pipe whose other end closes with its parent, however that dies.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from inksight.data.parallel import cores
from inksight.workspace import write_text

STOPPED = 130  # exit code of a job that was told to stop
LOG_LINES = 8
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclass(frozen=True)
class Job:
    """What one process is to do, in plain values; `key` names it within the matrix, `run` names its training run.

    `data` is a dataset file of content `sha256`, `name` the model's in the registry. `training` and `tuning` are
    settings over the recipes; without `tuning` nothing is searched for. `keep` versions stay in the registry, all
    with None.
    """

    key: str
    matrix: str
    dataset: str
    data: str
    sha256: str
    model: str
    run: str
    name: str
    training: dict[str, Any] = field(default_factory=dict)
    tuning: dict[str, Any] | None = None
    keep: int | None = None
    threads: int = 1

    def write(self, folder: Path) -> None:
        """Write job.json."""
        write_text(folder / "job.json", json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n")

    @classmethod
    def read(cls, folder: Path) -> Job:
        """Read job.json."""
        return cls(**json.loads((folder / "job.json").read_text(encoding="utf-8")))


@dataclass(frozen=True)
class Failure:
    """Why a job did not end well: a message, a hint, and the last lines of its log."""

    job: Job
    message: str
    hint: str
    log: Path

    def lines(self, count: int = LOG_LINES) -> list[str]:
        """Return the last lines of the log that say more than the message and the hint."""
        found = log_lines(self.log, count + 2)
        return [line for line in found if self.message not in line and line.strip() != self.hint][-count:]

    def as_dict(self, count: int = LOG_LINES) -> dict[str, Any]:
        """Return plain values for JSON, with so many lines of the log."""
        return {
            "dataset": self.job.dataset,
            "model": self.job.model,
            "message": self.message,
            "hint": self.hint,
            "log": str(self.log),
            "lines": self.lines(count),
        }


class Handle(Protocol):
    """A job that was started somewhere."""

    def done(self) -> bool:
        """Whether it has ended, well or not; its folder then says how."""

    def stop(self) -> None:
        """Ask it to write a checkpoint and end."""

    def kill(self) -> None:
        """End it at once."""


class Runner(Protocol):
    """Where jobs run."""

    @property
    def threads(self) -> int:
        """Threads that each job gets."""

    def start(self, job: Job, folder: Path) -> Handle:
        """Start a job whose folder is ready."""


class LocalRunner:
    """Runs each job as a process on this machine, whose cores `jobs` at once share."""

    def __init__(self, jobs: int) -> None:
        self.threads = max(1, cores() // jobs)

    def start(self, job: Job, folder: Path) -> Handle:
        """Start the job's process."""
        return JobProcess(job, folder)


class JobProcess:
    """The process of one job: `python -m inksight.tuning.job FOLDER`, its output in log.txt."""

    def __init__(self, job: Job, folder: Path) -> None:
        prepare_folder(job, folder)
        environment = {**os.environ, **dict.fromkeys(_THREAD_VARIABLES, str(job.threads)), "PYTHONUNBUFFERED": "1"}
        self.folder, self.stopped = folder, False
        with open(folder / "log.txt", "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "inksight.tuning.job", str(folder)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                # Ctrl-C is for the parent, which then closes the pipe: one way to stop, the same everywhere.
                start_new_session=True,
            )

    def done(self) -> bool:
        """Whether the process has ended; a death that left no word of its own is put into words."""
        code = self.process.poll()
        if code is None:
            return False
        self._let_go()
        said = any((self.folder / name).exists() for name in ("result.json", "error.json"))
        if not said and not self.stopped:
            write_error(self.folder, *_death(code))
        return True

    def wait(self) -> int:
        """Wait for the end and return the exit code."""
        self.process.wait()
        self.done()
        return self.process.returncode

    def stop(self) -> None:
        """Close the pipe: the process writes a checkpoint and ends."""
        self.stopped = True
        self._let_go()

    def kill(self) -> None:
        """Kill the process."""
        self.stopped = True
        self.process.kill()
        self.process.wait()

    def _let_go(self) -> None:
        """Close this end of the pipe."""
        if self.process.stdin is not None:
            self.process.stdin.close()


def prepare_folder(job: Job, folder: Path) -> None:
    """Make the job's folder ready for a try: the job is written down, what an earlier try said of its end is not."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "error.json").unlink(missing_ok=True)
    job.write(folder)


def read_result(folder: Path) -> dict[str, Any] | None:
    """Return the result of a finished job, None when there is none."""
    path = folder / "result.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def write_error(folder: Path, message: str, hint: str = "") -> None:
    """Write error.json."""
    write_text(folder / "error.json", json.dumps({"message": message, "hint": hint}, ensure_ascii=False) + "\n")


def read_failure(job: Job, folder: Path) -> Failure | None:
    """Return why a job failed; None when it did not, or was stopped and goes on another time."""
    path = folder / "error.json"
    if not path.is_file():
        return None
    said = json.loads(path.read_text(encoding="utf-8"))
    return Failure(job, said["message"], said["hint"], folder / "log.txt")


def alike(failures: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return plain failures with those of one dataset and one message as one: an absent dataset fails all its models.

    `models` names all of them; the log is the first's.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for one in failures:
        group = found.setdefault((one["dataset"], one["message"]), {**one, "models": []})
        group["models"].append(one["model"])
    return list(found.values())


def log_lines(log: Path, count: int, *, start: int = 0) -> list[str]:
    """Return the last non-empty lines of a log, from byte `start` on; empty when there is none."""
    if not log.is_file():
        return []
    with open(log, "rb") as stream:
        stream.seek(max(start, log.stat().st_size - 16_384))
        lines = stream.read().decode(errors="replace").splitlines()
    return [line for line in lines if line.strip()][-count:]


def _death(code: int) -> tuple[str, str]:
    if code == STOPPED or code == -signal.SIGTERM:
        return "the process was told to stop", "The same command goes on with it."
    if code >= 0:
        return f"the process ended with code {code} and no result", "Its log says more."
    name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
    hint = "Too little memory? Fewer --jobs need less." if code == -signal.SIGKILL else "Its log may say more."
    return f"the process was killed by {name}", hint
