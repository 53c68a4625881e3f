"""The process of one job: (tune,) train, register, clean up, write result.json.  python -m inksight.tuning.job FOLDER

Started again after any kind of end, it goes on: with the same study, the same run (`--resume`) and, where the version
was registered already, the same version. Once the run has begun, nothing is searched for any more.
"""

from __future__ import annotations

import base64
import sys
import time
import traceback
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from inksight.config import resolve
from inksight.errors import DataError, InksightError, NotFoundError
from inksight.settings import TrainSettings
from inksight.training.interrupt import end_with_parent
from inksight.training.runs import RunDescription, is_run, read_run
from inksight.tuning.jobs import STOPPED, Job, write_error
from inksight.workspace import workspace, write_json

if TYPE_CHECKING:
    from inksight.tuning.study import Best, Found


def main(folder: Path) -> int:
    """Run the job in `folder`; returns the exit code."""
    end_with_parent()
    # One that was left behind by a killed parent may still be writing its last checkpoint.
    with FileLock(folder / "lock"):
        if (folder / "result.json").exists():
            return 0
        try:
            result = perform(Job.read(folder))
        except InksightError as error:
            print(f"error: {error.message}\n  {error.hint}", file=sys.stderr)
            write_error(folder, error.message, error.hint)
            return 1
        except KeyboardInterrupt:
            print("stopped; goes on another time", file=sys.stderr)
            return STOPPED
        except Exception as error:  # noqa: BLE001  (whatever it is, the other jobs go on and the report names it)
            traceback.print_exc()
            write_error(folder, f"{type(error).__name__}: {error}", "Its log says where.")
            return 1
        write_json(folder / "result.json", result)
        return 0


def perform(job: Job) -> dict[str, Any]:
    """Do everything a job asks for and return its result in plain values."""
    import torch

    from inksight import bundle, registry
    from inksight.registry import notes
    from inksight.training import train

    torch.set_num_threads(job.threads)
    folder = workspace().runs / job.run
    begun = read_run(folder) if is_run(folder) else None
    if begun is not None:
        print(f"goes on with run {job.run}", flush=True)
        # With its own settings, whatever its study would find by now: a search may have ended before all its trials.
        study = study_of(begun, job)
        chosen: dict[str, Any] = {"settings": resolve(TrainSettings, preset=begun.settings, environ={})}
    elif job.tuning is not None:
        training, options, study = _tuned(job)
        chosen = {**training, "model_options": options}
    else:
        study, chosen = None, job.training
    run = train(job.data, model=job.model, run_dir=folder, resume=begun is not None, **chosen)
    if not run.metrics:
        raise DataError(f"{job.dataset} has no images to judge by", hint="Prepare it with a test or validation split.")
    with closing(registry.open()) as store:
        # A process that was killed afterwards may have registered it.
        version = store.of_run(job.name, job.run)
        version = version or store.register(run.bundle, job.name, note=notes.write("matrix", matrix=job.matrix))
        print(f"accuracy {run.metrics['accuracy']:.1%}; registered as {version.ref}", flush=True)
        if job.keep is not None:
            done = store.clean(job.name, keep=job.keep, failed=True)
            print(f"clean-up: removed {len(done.removed)} versions, {done.uploads} failed uploads", flush=True)
    description = bundle.describe(run.bundle)
    return {
        "job": job.key,
        "dataset": {"name": job.dataset, "sha256": job.sha256, "path": job.data},
        "model": job.model,
        "reference": version.ref,
        "bundle": str(run.bundle),
        "run": job.run,
        "metrics": run.metrics,
        "parameters": description["architecture"]["parameters"],
        "bytes": sum(path.stat().st_size for path in run.bundle.iterdir()),
        "kind": description["kind"],
        "epochs": len(run.history),
        "training_seconds": sum(entry["seconds"] for entry in run.history),
        "study": study,
        "right": _right(run.bundle, job, run.metrics["split"]),
    }


def _tuned(job: Job) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Return the training settings and model options that the job's study found best, and what to report of it."""
    from inksight.tuning.study import tune

    begin = time.monotonic()
    found = tune(
        job.data,
        model=job.model,
        study=job.run,
        training=job.training,
        say=lambda line: print(line, flush=True),
        **job.tuning or {},
    )
    best = found.best
    return {**best.settings, **job.training}, best.options, _told(found, best, time.monotonic() - begin)


def study_of(begun: RunDescription, job: Job) -> dict[str, Any] | None:
    """Return what to report of the study that a run's settings came from; None without one."""
    from inksight.tuning.study import found, load_study

    if job.tuning is None:
        return None
    try:
        known = found(load_study(job.run))
    except NotFoundError:  # it was deleted; the run needs it no more
        return None
    return _told(known, known.behind(begun.settings, begun.model_options, fixed=job.training), 0.0)


def _told(found: Found, best: Best, seconds: float) -> dict[str, Any]:
    """Return what to report of a search. Its seconds are this process's: those of earlier ones are not in it."""
    return {
        "name": best.study,
        "trials": found.done,
        "best_trial": best.number,
        "value": best.values[0],
        "objective": found.study.user_attrs["objective"],
        "settings": {**best.settings, **best.options},
        "seconds": seconds,
    }


def _right(folder: Path, job: Job, split: str) -> str:
    """Return which images of the split the bundle gets right: one bit each, packed, in base64.

    With these, two models of the matrix can be compared on the same images without asking them again.
    """
    import numpy as np

    from inksight import bundle
    from inksight.data import open_dataset
    from inksight.evaluation.run import answers_of

    classifier = bundle.load(folder, threads=job.threads)
    with open_dataset(job.data) as dataset:
        _, probabilities = answers_of(classifier, dataset.images(split))
        right = probabilities.argmax(axis=1) == dataset.labels(split)
    return base64.b64encode(np.packbits(right).tobytes()).decode()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
