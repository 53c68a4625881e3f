"""A worker machine's side of a job on a cluster: get what it needs, run its process, store its checkpoints.

The process is the one that a job on the driver's own machine gets, in this machine's workspace:

    $INKSIGHT_HOME/stations/<matrix>/<job>/     job.json, log.txt, result.json; runs/ and datasets/ are as anywhere

The station answers `look` at any time. When it dies, its process notices, writes a checkpoint and ends.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock

import inksight
from inksight.errors import BundleError, InksightError
from inksight.tuning.cluster import settle
from inksight.tuning.exchange import Exchange, Stored, written
from inksight.tuning.jobs import Job, JobProcess, read_failure, read_result

_LOOK_EVERY = 0.2


@dataclass(frozen=True)
class Order:
    """What a station is to do. `data`: the stored dataset, None when the machine has job.data itself.

    `saved`: the checkpoint to go on from. A newer one is stored every `every` seconds.
    """

    job: Job
    data: Stored | None
    saved: Stored | None
    told: dict[str, str]
    every: float
    version: str


@dataclass(frozen=True)
class Word:
    """How it goes: what the log got since the last look, the newest stored checkpoint, and how it ended.

    `files`: what the finished run has to show, where the driver does not see this machine's disk.
    """

    log: str
    saved: Stored | None
    ended: bool = False
    result: dict[str, Any] | None = None
    failure: tuple[str, str] | None = None
    files: Stored | None = None


class Station:
    """Runs one job; made into an actor by the driver."""

    def __init__(self, order: Order) -> None:
        self.order, self.saved = order, order.saved
        self.number = int(order.saved.location.rpartition("/")[2]) if order.saved else 0
        self.place = settle(order.told)
        self.exchange = Exchange(self.place.artifacts)
        self.folder = self.place.home / "stations" / order.job.matrix / order.job.key
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log = self.folder / "log.txt"
        self.read = self.log.stat().st_size if self.log.exists() else 0
        self.stopping = threading.Event()
        self.failure: tuple[str, str] | None = None
        self.files: Stored | None = None
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.thread.start()

    def look(self) -> Word:
        """Return how it goes."""
        ended = not self.thread.is_alive()
        log = b""
        if self.log.exists():
            with open(self.log, "rb") as stream:
                stream.seek(self.read)
                log = stream.read()
                self.read += len(log)
        result = read_result(self.folder) if ended and self.failure is None else None
        return Word(log.decode(errors="replace"), self.saved, ended, result, self.failure, self.files)

    def stop(self) -> None:
        """Ask the process to write a checkpoint and end."""
        self.stopping.set()

    def _work(self) -> None:
        try:
            if self.order.version != inksight.__version__:
                raise BundleError(
                    f"{os.uname().nodename} has Inksight {inksight.__version__}, not {self.order.version}",
                    hint="Install the same version on all machines.",
                )
            self._run()
        except InksightError as error:
            self.failure = error.message, error.hint
        except OSError as error:
            self.failure = f"{os.uname().nodename}: {error}", "Its disk may be full."

    def _run(self) -> None:
        job = self.order.job
        run = self.place.runs / job.run
        # A process that was left behind here may still be writing its last checkpoint.
        with FileLock(self.folder / "lock"):
            (self.folder / "result.json").unlink(missing_ok=True)
            if self.order.data is not None:
                cache = self.place.datasets / "fetched"
                job = replace(job, data=str(self.exchange.fetch_dataset(self.order.data, Path(job.data).stem, cache)))
            if self.saved is not None:
                self._go_on_from(self.saved, run)
        process = JobProcess(job, self.folder)
        stored_at = time.monotonic()
        while not process.done():
            if self.stopping.is_set() and not process.stopped:
                process.stop()
            if time.monotonic() - stored_at >= self.order.every:
                self._store(run)
                stored_at = time.monotonic()
            time.sleep(_LOOK_EVERY)
        failure = read_failure(job, self.folder)
        if failure is not None:
            self.failure = failure.message, failure.hint
        if read_result(self.folder) is not None:
            if self.order.data is not None:
                self._store_files(run)
            for number in range(self.number - 1, self.number + 2):  # one may be left from a lost machine
                self.exchange.forget(self._shelf(number))
        else:
            self._store(run)

    def _go_on_from(self, saved: Stored, run: Path) -> None:
        try:
            if self.exchange.fetch_run(saved, run):
                self._say(f"fetched a checkpoint from {self.place.artifacts}")
        except BundleError as error:
            self._say(f"the stored checkpoint cannot be used ({error.message}); what this machine has must do")

    def _store(self, run: Path) -> None:
        """Store a checkpoint if there is a newer one, and forget the last but one; the last may still be asked for."""
        if written(run) <= (self.saved.written if self.saved else 0.0):
            return
        try:
            stored = self.exchange.store_run(run, self._shelf(self.number + 1))
            if stored is not None:
                self.saved = stored
                self.number += 1
                self.exchange.forget(self._shelf(self.number - 2))
        except InksightError as error:  # the training goes on; another try comes
            self._say(f"checkpoint not stored: {error.message}")

    def _store_files(self, run: Path) -> None:
        try:
            self.files = self.exchange.store_files(run, self._shelf("files"))
        except InksightError as error:  # the version is registered, which is what counts
            self._say(f"plots and TensorBoard's files stay in {run} of {os.uname().nodename}: {error.message}")

    def _shelf(self, name: int | str) -> str:
        return f"jobs/{self.order.job.matrix}/{self.order.job.key}/{name}"

    def _say(self, line: str) -> None:
        with open(self.log, "a", encoding="utf-8") as log:
            log.write(line + "\n")
