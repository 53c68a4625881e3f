"""Starts retrains and trainings beside the service, and says how they are.

A job is a process of its own (inksight/improve/job.py) on this machine; what is known of it is in the database
(registry/jobs.py), so that it goes on when the service ends, and any worker can tell or cancel it. Its output is in
<home>/jobs/<id>.txt.

What a client may choose is checked here: names of models in the registry and of dataset files in the workspace, and
settings that are numbers and choices; nothing that is a path or an address.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, or_, select, tuple_

from inksight import models
from inksight.config import Settings, fields_of, resolve
from inksight.errors import InksightError, UnavailableError, UsageError, unknown
from inksight.registry.jobs import JobError, Jobs
from inksight.registry.versions import check_name
from inksight.serving.logs import log
from inksight.settings import RetrainSettings, TrainSettings
from inksight.tuning.jobs import log_lines
from inksight.workspace import workspace

if TYPE_CHECKING:
    from inksight.registry.tables import Job
    from inksight.serving.storage import Storage

LOG_LINES = 40

SPIN_COUNT = "1000"
"""Turns that an idle thread of a job spins before it sleeps, some microseconds. OpenMP's own choice is milliseconds: a
sixth faster on idle cores, but at two thirds of the speed beside a busy service (benchmarks/busy_cores.py)."""

OWN_SETTINGS = {
    RetrainSettings: {"data"},
    TrainSettings: {"name", "weights", "mlflow", "tensorboard", "device", "memory_limit"},
}
"""Settings that are not for clients: they name files and servers, or belong to whoever runs the machine."""


class Workshop:
    """The jobs of a service; every method asks the database and may block."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._stopped = threading.Event()

    @property
    def jobs(self) -> Jobs:
        """The jobs in the database."""
        return Jobs(self._storage.database)

    def retrain(self, model: str, settings: Mapping[str, Any]) -> Job:
        """Start to train a registered model on its reviewed corrections."""
        name = self._storage.registry.find(check_name(model, "model name")).name
        return self._start("retrain", name, {"model": name, "settings": checked(RetrainSettings, settings)})

    def train(self, model: str, architecture: str, data: str, settings: Mapping[str, Any]) -> Job:
        """Start to train a network on a dataset file of the workspace and to register it as a version of `model`."""
        if architecture not in models.names():
            raise unknown("architecture", architecture, models.names())
        known = {path.stem for path in workspace().datasets.glob("*.h5")}
        if data not in known:
            raise unknown("dataset", data, known)
        name = check_name(model, "model name")
        spec = {"model": name, "architecture": architecture, "data": data, "settings": checked(TrainSettings, settings)}
        return self._start("train", name, spec)

    def to_learn(self) -> dict[str, int]:
        """Count, by registered model, the accepted drawings that a retrain could learn from and its version has not.

        Each drawing once, and only with a label that the version knows. Only a retrain looks at the drawings: blank
        sheets and near-duplicates of both sides are counted until one has left them out.
        """
        tables, registry = self._storage.tables, self._storage.registry
        table = tables.Correction
        picture = tuple_(table.model, table.input_sha256)
        dealt = select(table.model, table.input_sha256).where(table.split.is_not(None))
        query = (
            select(table.model, table.learnt_in, table.final_label, func.count(table.input_sha256.distinct()))
            .where(table.state.in_(("accepted", "relabelled")), table.input.is_not(None))
            # One that has a side stands for all that show the same.
            .where(or_(table.split.in_(("train", "val")), table.split.is_(None) & picture.not_in(dealt)))
            .group_by(table.model, table.learnt_in, table.final_label)
        )
        with self._storage.database.read() as session:
            counts = session.execute(query).all()
        registered = {version.name for version in registry.versions()} & {model for model, *_ in counts}
        parents = {model: registry.find(model) for model in registered}
        known = {model: registry.lineage(parent) for model, parent in parents.items()}
        found: dict[str, int] = {}
        for model, learnt_in, label, count in counts:
            if model in known and learnt_in not in known[model] and label in parents[model].description["classes"]:
                found[model] = found.get(model, 0) + count
        return found

    def log(self, job: Job) -> list[str]:
        """Return the last lines that a job printed."""
        return log_lines(_log_path(job.id), LOG_LINES)

    def stop(self) -> None:
        """Let go of the jobs: they go on without this process."""
        self._stopped.set()

    def _start(self, kind: str, model: str, spec: dict[str, Any]) -> Job:
        job = self.jobs.add(kind, spec, slot=model)
        path = _log_path(job.id)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "ab") as output:
                process = subprocess.Popen(
                    [sys.executable, "-m", "inksight.improve.job", job.id],
                    stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
                    env={"GOMP_SPINCOUNT": SPIN_COUNT, **os.environ, "PYTHONUNBUFFERED": "1"},
                )  # fmt: skip
        except OSError as error:
            away = UnavailableError(f"the job's process could not be started: {error.strerror}")
            self.jobs.fail(job.id, away)
            raise away from None
        threading.Thread(target=self._attend, args=(job.id, process), name=f"job {job.id}", daemon=True).start()
        return job

    def _attend(self, job_id: str, process: subprocess.Popen[bytes]) -> None:
        """Wait for the process; one that died without a word is known at once and need not first be missed."""
        code = process.wait()
        if self._stopped.is_set():
            return
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        try:
            self.jobs.fail(job_id, JobError(f"its process {how}"))
        except InksightError as error:
            log("a job's end was not written; it will be missed", job=job_id, **error.as_dict())


def checked(cls: type[Settings], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings that a client may choose; raises UsageError or NotFoundError that names the wrong one."""
    allowed = [name for name in fields_of(cls) if name not in OWN_SETTINGS[cls]]
    for name, value in settings.items():
        if name not in allowed:
            raise unknown("setting", name, allowed)
        if not isinstance(value, str | int | float | bool | None):
            raise UsageError(f"{name}: {str(value)[:40]!r} is not a single value")
    resolve(cls, options=settings, environ={})
    return dict(settings)


def _log_path(job_id: str) -> Path:
    return workspace().home / "jobs" / f"{job_id}.txt"
