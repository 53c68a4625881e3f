"""The process of a job that a service put down: `python -m inksight.improve.job ID`.

It takes the job from the registry's database, says there how far it is, and leaves the result. It outlives the service,
runs at low priority so that the service keeps answering, and ends after a checkpoint when the job is cancelled; the
same job asked for again goes on there.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Any

from inksight import registry
from inksight.config import resolve
from inksight.errors import InksightError, UnavailableError
from inksight.registry import notes
from inksight.registry.jobs import BEAT_SECONDS, JobError, Jobs
from inksight.settings import RetrainSettings
from inksight.workspace import workspace

if TYPE_CHECKING:
    from inksight.registry import Registry

NICE = 10
STOP_SECONDS = 60.0
"""A cancelled job that has not ended after this long is ended without a checkpoint."""

Progress = Callable[[str, float], None]


class Pulse:
    """Says in the database, from a thread, that the job goes on; stops the process when nobody wants it any more."""

    def __init__(self, jobs: Jobs, job_id: str) -> None:
        self._jobs = jobs
        self._id = job_id
        self._progress: dict[str, Any] = {"stage": "starting", "share": 0.0}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Progress:
        self._thread.start()
        return self._say

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _say(self, stage: str, share: float) -> None:
        self._progress = {"stage": stage, "share": round(share, 4)}
        print(f"{stage} {share:.0%}", flush=True)

    def _beat(self) -> None:
        while not self._over.wait(BEAT_SECONDS):
            try:
                wanted = self._jobs.beat(self._id, self._progress)
            except UnavailableError as error:
                print(f"{error.message}; the work goes on", flush=True)
                continue
            except Exception:  # noqa: BLE001  (a job that falls silent counts as lost)
                traceback.print_exc()
                continue
            if not wanted:
                os.kill(os.getpid(), signal.SIGTERM)
                if not self._over.wait(STOP_SECONDS):
                    os._exit(1)


def run(job_id: str) -> int:
    """Do a job; return the exit code."""
    with closing(registry.open()) as store:
        jobs = Jobs(store.database)
        job = jobs.claim(job_id, f"{socket.gethostname()}:{os.getpid()}")
        if job is None:
            return 0
        # As Ctrl-C, in Python's hands: what is open is closed on the way out.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        os.nice(NICE)
        try:
            with Pulse(jobs, job_id) as progress:
                result = WORK[job.kind](store, job.spec, progress)
        except KeyboardInterrupt:
            jobs.fail(job_id, JobError("it was told to stop"))
            return 130
        except InksightError as error:
            print(f"{error.message}\n{error.hint}", flush=True)
            jobs.fail(job_id, error)
            return 1
        jobs.finish(job_id, result)
    return 0


def _retrain(store: Registry, spec: dict[str, Any], progress: Progress) -> dict[str, Any]:
    from inksight.improve.retrain import retrain

    settings = resolve(RetrainSettings, options=spec["settings"])
    return retrain(spec["model"], settings, store=store, progress=progress, quiet=False).as_dict()


def _train(store: Registry, spec: dict[str, Any], progress: Progress) -> dict[str, Any]:
    from inksight.training import train
    from inksight.training.runs import read_run

    progress("training", 0.0)
    key = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:12]
    folder = workspace().runs / f"job-{spec['model']}-{key}"

    def trained(entry: dict[str, Any]) -> None:
        progress("training", 0.9 * entry["epoch"] / max(entry["epoch"], read_run(folder).settings["epochs"]))

    done = train(
        workspace().dataset_path(spec["data"]),
        model=spec["architecture"],
        run_dir=folder,
        resume=(folder / "settings.json").is_file(),
        on_epoch=trained,
        **spec["settings"],
    )
    progress("registering", 0.95)
    version = store.of_run(spec["model"], folder.name)
    version = version or store.register(done.bundle, spec["model"], note=notes.write("job"))
    return {"outcome": "registered", "message": f"registered as {version.ref}", "version": version.ref,
            "metrics": {name: done.metrics.get(name) for name in ("accuracy", "balanced_accuracy")}}  # fmt: skip


WORK: dict[str, Callable[[Registry, dict[str, Any], Progress], dict[str, Any]]] = {
    "retrain": _retrain,
    "train": _train,
}

if __name__ == "__main__":
    sys.exit(run(sys.argv[1]))
