"""Runs jobs on a Ray cluster: each in an actor on some machine; one whose machine is lost goes on at another.

A job's folder stays on this machine, as with any runner; its run's folder comes here in the end, without checkpoints.
Datasets, checkpoints and runs travel through the artefact root; <job>/state.json names the newest stored checkpoint, so
that also a later call goes on from it.
"""

from __future__ import annotations

import json
import os
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import inksight
from inksight.errors import InksightError
from inksight.settings import TrainSettings
from inksight.tuning.cluster import Cluster, passed_on
from inksight.tuning.exchange import Exchange, Stored
from inksight.tuning.jobs import Job, prepare_folder, write_error
from inksight.tuning.station import Order, Station, Word
from inksight.workspace import workspace, write_json

# A job that kills its machine must not go through all of them.
LOSSES = 3


class RayRunner:
    """Runs each job in an actor of a cluster."""

    def __init__(self, cluster: Cluster, jobs: int) -> None:
        self.cluster, self.place = cluster, workspace()
        self.share = cluster.share(jobs)
        self.told = passed_on(os.environ, self.place, local=cluster.local)
        self.actor = cluster.ray.remote(Station)
        self.offered: dict[str, Stored] = {}

    @property
    def threads(self) -> int:
        """Threads for each job."""
        return int(self.share["num_cpus"])

    def start(self, job: Job, folder: Path) -> RayJob:
        """Send the job to the cluster; it waits there for a machine with enough free cores."""
        prepare_folder(job, folder)
        return RayJob(self, job, folder)

    def dataset(self, job: Job) -> Stored | None:
        """Store a job's dataset, once; None where workers read it from this machine's disk."""
        if self.cluster.local:
            return None
        if job.data not in self.offered:
            self.offered[job.data] = Exchange(self.place.artifacts).offer_dataset(Path(job.data))
        return self.offered[job.data]


class RayJob:
    """A job on the cluster."""

    def __init__(self, runner: RayRunner, job: Job, folder: Path) -> None:
        self.runner, self.ray = runner, runner.cluster.ray
        self.job, self.folder = job, folder
        self.losses, self.stopped, self.over = 0, False, False
        self.station: Any = None
        self.asked: Any = None
        self.heard = False
        state = folder / "state.json"
        self.saved = Stored(**json.loads(state.read_text(encoding="utf-8"))) if state.exists() else None
        self._send()

    def done(self) -> bool:
        """Whether it has ended; what it said meanwhile is in the log then, and how it ended in its folder."""
        if self.over:
            return True
        ready, _ = self.ray.wait([self.asked], timeout=0)
        if not ready:
            return False
        try:
            word: Word = self.ray.get(self.asked)
        except self.ray.exceptions.ActorUnavailableError:
            # The network may come back, and the job goes on meanwhile. If not, Ray soon says that the actor died.
            self.asked = self.station.look.remote()
            return False
        except self.ray.exceptions.RayError as error:
            self._lost(error)
            return self.over
        self._take(word)
        if not self.over:
            self.asked = self.station.look.remote()
        return self.over

    def stop(self) -> None:
        """Ask it to write a checkpoint and end; one that still waits for a machine ends at once."""
        self.stopped = True
        if self.heard:
            self.station.stop.remote()
        else:
            self.kill()

    def kill(self) -> None:
        """End it at once."""
        self.stopped = self.over = True
        self.ray.kill(self.station)

    def _send(self) -> None:
        order = Order(
            job=self.job,
            data=self.runner.dataset(self.job),
            saved=self.saved,
            told=self.runner.told,
            every=float(self.job.training.get("checkpoint_every", TrainSettings().checkpoint_every)),
            version=inksight.__version__,
        )
        options = {**self.runner.share, "max_restarts": 0, "scheduling_strategy": "SPREAD"}
        self.station = self.runner.actor.options(**options).remote(order)
        self.asked = self.station.look.remote()
        self.heard = False

    def _take(self, word: Word) -> None:
        self.heard = True
        if word.log:
            with open(self.folder / "log.txt", "a", encoding="utf-8") as log:
                log.write(word.log)
        if word.saved is not None and word.saved != self.saved:
            self.saved = word.saved
            write_json(self.folder / "state.json", asdict(word.saved))
        if not word.ended:
            return
        self.over = True
        self.ray.kill(self.station)
        if word.result is not None:
            if word.files is not None:
                self._fetch(word.files)
            write_json(self.folder / "result.json", self._ours(word.result))
            (self.folder / "state.json").unlink(missing_ok=True)
        elif word.failure is not None:
            write_error(self.folder, *word.failure)
        elif not self.stopped:
            write_error(self.folder, "the job ended without a result", "Its log may say why.")

    def _fetch(self, files: Stored) -> None:
        """Bring what the run has to show into its folder on this machine, as if it had been trained here."""
        exchange = Exchange(self.runner.place.artifacts)
        try:
            exchange.fetch_files(files, self.runner.place.runs / self.job.run)
            exchange.forget(files.location)
        except InksightError as error:  # the version is registered, which is what counts
            with open(self.folder / "log.txt", "a", encoding="utf-8") as log:
                log.write(f"plots and TensorBoard's files could not be fetched: {error.message}\n")

    def _ours(self, result: dict[str, Any]) -> dict[str, Any]:
        """Return a result with this machine's paths in place of the worker's."""
        result["dataset"]["path"] = self.job.data
        if not self.runner.cluster.local:
            from inksight import registry

            bundle = self.runner.place.runs / self.job.run / "bundle"
            if not bundle.is_dir():
                bundle.parent.mkdir(parents=True, exist_ok=True)
                with closing(registry.open()) as store:
                    store.pull(store.find(result["reference"]), bundle)
            result["bundle"] = str(bundle)
        return result

    def _lost(self, error: Exception) -> None:
        """Begin again elsewhere, from the newest stored checkpoint."""
        self.losses += 1
        with open(self.folder / "log.txt", "a", encoding="utf-8") as log:
            log.write(f"the machine or its worker was lost ({type(error).__name__})\n")
        if self.stopped or self.losses > LOSSES:
            self.over = True
            if not self.stopped:
                hint = "Too little memory? Fewer --jobs need less. The same command goes on with it."
                write_error(self.folder, f"its machine or worker was lost {self.losses} times", hint)
            return
        self._send()
