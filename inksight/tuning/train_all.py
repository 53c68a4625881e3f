"""`train_all`: every model on every dataset, as jobs that survive whatever stops them; then the report.

The same call goes on where an earlier one stopped: finished jobs are not run again, half-trained ones resume, failed
ones are tried again. One failure stops nothing else. Not guaranteed: anything about two calls for one matrix at once;
the second is refused.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from inksight import models
from inksight.config import resolve
from inksight.data import open_dataset
from inksight.data.ensure import ensure_dataset
from inksight.errors import ConflictError, InksightError, UsageError, unknown
from inksight.settings import TRIALS_PER_JOB, TrainAllSettings, TrainSettings, TuneSettings
from inksight.tuning.jobs import (
    Failure,
    Handle,
    Job,
    LocalRunner,
    Runner,
    log_lines,
    prepare_folder,
    read_failure,
    read_result,
    write_error,
)
from inksight.workspace import workspace, write_text

_LOOK_EVERY = 0.3  # seconds between two looks at the running jobs
_STOP_SECONDS = 120.0  # for the last checkpoints after Ctrl-C; a transfer model's step may take seconds

State = Literal["waiting", "running", "stopped", "done", "failed"]


@dataclass
class Progress:
    """How far one job is: its state, seconds in this call, its log's last line, and its result once it is done."""

    job: Job
    state: State = "waiting"
    seconds: float = 0.0
    said: str = ""
    result: dict[str, Any] | None = None
    failure: Failure | None = None
    # Done by an earlier call.
    before: bool = False


Watch = Callable[[Sequence[Progress]], None]


@dataclass(frozen=True)
class Matrix:
    """A matrix of jobs in its folder."""

    folder: Path
    jobs: list[Job] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The matrix' name."""
        return self.folder.name

    def folder_of(self, job: Job) -> Path:
        """Return a job's folder."""
        return self.folder / job.key

    def results(self) -> list[dict[str, Any]]:
        """Return the results of finished jobs, in the jobs' order."""
        found = (_result_of(job, self.folder_of(job)) for job in self.jobs)
        return [result for result in found if result is not None]

    def failures(self) -> list[Failure]:
        """Return why jobs failed, in their order."""
        found = (read_failure(job, self.folder_of(job)) for job in self.jobs)
        return [failure for failure in found if failure is not None]


def train_all(
    settings: TrainAllSettings,
    *,
    training: Mapping[str, Any] | None = None,
    tuning: Mapping[str, Any] | None = None,
    runner: Runner | None = None,
    watch: Watch = lambda progress: None,
    say: Callable[[str], None] = lambda line: None,
) -> Matrix:
    """Run all jobs that are not finished yet and return the matrix, whose results and failures lie in its folder.

    `training` and `tuning` are settings of every training and search, over the recipes. `watch` is told the state of
    all jobs a few times a second. Without a `runner` the settings say where jobs run. Raises UsageError for what
    cannot be meant, ConflictError when the matrix runs already or was begun otherwise, KeyboardInterrupt after all
    jobs have written their checkpoints.
    """
    with nullcontext(runner) if runner else _runner(settings) as where:
        matrix, failed = plan(settings, dict(training or {}), dict(tuning or {}), where.threads, say)
        with _alone(matrix.folder):
            _write_down(matrix)
            # A job that is finished needs its dataset no more.
            failed = [(job, error) for job, error in failed if _result_of(job, matrix.folder_of(job)) is None]
            for job, error in failed:
                prepare_folder(job, matrix.folder_of(job))
                write_text(matrix.folder_of(job) / "log.txt", f"error: {error.message}\n  {error.hint}\n")
                write_error(matrix.folder_of(job), error.message, error.hint)
            _run(matrix, {job.key for job, _ in failed}, settings.jobs, where, watch, say)
    return matrix


@contextmanager
def _runner(settings: TrainAllSettings) -> Iterator[Runner]:
    """Yield what runs the jobs: processes of this machine, or with --ray a cluster."""
    if not settings.ray:
        yield LocalRunner(settings.jobs)
        return
    from inksight.tuning.cluster import connected
    from inksight.tuning.ray_runner import RayRunner

    with connected(settings.ray) as cluster:
        yield RayRunner(cluster, settings.jobs)


def plan(
    settings: TrainAllSettings,
    training: dict[str, Any],
    tuning: dict[str, Any],
    threads: int,
    say: Callable[[str], None],
) -> tuple[Matrix, list[tuple[Job, InksightError]]]:
    """Return the matrix with all its jobs, and those whose dataset cannot be had or used with the reason.

    Datasets are fetched and prepared here, one after another: two jobs must not make the same file at once.
    """
    if not settings.models or not settings.datasets:
        missing = "--models" if not settings.models else "--datasets"
        raise UsageError(
            f"{missing}: none given", hint="For example: --models simple_cnn sketchnet-m --datasets digits"
        )
    if settings.trials is not None and not settings.tune:
        raise UsageError(f"--trials {settings.trials}: nothing is searched for", hint="Add --tune, or leave it out.")
    for model in settings.models:
        models.get(model, option="--models")  # a misspelt name must not cost hours of the others first
    if settings.epochs is not None:
        training["epochs"] = settings.epochs
    if settings.fast:
        training["fast"] = True
    given = {} if settings.trials is None else {"trials": settings.trials}
    chosen = {"trials": TRIALS_PER_JOB, **tuning, **given} if settings.tune else None
    asked = {"training": training, "tuning": chosen}
    _check_tables(training, chosen)
    name = settings.name or _name_of(settings, asked)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,79}", name):
        raise UsageError(
            f"--name {name!r} cannot be a folder's name", hint="Use letters, digits and . _ + - (up to 80)."
        )
    folder = workspace().home / "matrices" / name
    _check_same(folder, asked)
    jobs, failed = [], []
    for data in dict.fromkeys(settings.datasets):
        problem = None
        found = {"dataset": _safe(Path(data).stem), "data": data, "sha256": ""}
        try:
            path = ensure_dataset(data, progress=_once(f"{data}: ", say))
            with open_dataset(path) as dataset:
                found = {"dataset": dataset.name, "data": str(path), "sha256": dataset.sha256}
                if chosen is not None:
                    from inksight.tuning.study import check_validation

                    check_validation(dataset)
        except InksightError as error:
            problem = error
        for model in dict.fromkeys(settings.models):
            key = _safe(f"{found['dataset']}-{model}")
            job = Job(
                key=key, matrix=name, **found, model=model, run=f"{name}-{key}-{found['sha256'][:6]}", name=key[:100],
                training=training, tuning=chosen, keep=settings.keep if settings.auto_cleanup else None,
                threads=threads,
            )  # fmt: skip
            jobs.append(job)
            if problem is not None:
                failed.append((job, problem))
    keys = [job.key for job in jobs]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise UsageError(f"two datasets or models have the same name: {', '.join(twice)}", hint="Rename a file.")
    return Matrix(folder, jobs), failed


def _check_tables(training: Mapping[str, Any], tuning: Mapping[str, Any] | None) -> None:
    """Raise UsageError for settings that no job could use, before the first one has taken its hours."""
    if "name" in training:
        raise UsageError("[train] name: every job names its run itself", hint="Leave it out; --name names the matrix.")
    resolve(TrainSettings, preset=training, environ={})
    if "study" in (tuning or {}):
        raise UsageError("[tune] study: every job has a study of its own", hint="Leave it out.")
    resolve(TuneSettings, preset=tuning, environ={})


def _write_down(matrix: Matrix) -> None:
    """Write matrix.json and the job.json of all jobs that are not finished; to be called by who holds the matrix."""
    asked = {"training": matrix.jobs[0].training, "tuning": matrix.jobs[0].tuning}
    _check_same(matrix.folder, asked)  # again: another call may have begun it meanwhile
    for job in matrix.jobs:
        if _result_of(job, matrix.folder_of(job)) is None:
            job.write(matrix.folder_of(job))
    listed = [{"key": job.key, "dataset": job.dataset, "model": job.model} for job in matrix.jobs]
    facts = {"name": matrix.name, **asked, "jobs": listed}
    write_text(matrix.folder / "matrix.json", json.dumps(facts, indent=2) + "\n")


def load_matrix(name: str = "") -> Matrix:
    """Return a matrix of the workspace by name, the newest without; raises NotFoundError with the nearest names."""
    place = workspace().home / "matrices"
    found = sorted(place.glob("*/matrix.json"), key=lambda path: path.stat().st_mtime)
    if not found or (name and name not in {path.parent.name for path in found}):
        raise unknown("matrix", name, [path.parent.name for path in found])
    folder = place / name if name else found[-1].parent
    listed = json.loads((folder / "matrix.json").read_text(encoding="utf-8"))["jobs"]
    # A matrix of an older version lacks those that it never started.
    kept = [folder / entry["key"] for entry in listed if (folder / entry["key"] / "job.json").is_file()]
    return Matrix(folder, [Job.read(path) for path in kept])


def _run(
    matrix: Matrix, failed: set[str], at_once: int, runner: Runner, watch: Watch, say: Callable[[str], None]
) -> None:
    progress = {job.key: Progress(job) for job in matrix.jobs}
    running: dict[str, tuple[Handle, float, int]] = {}
    waiting = []
    for job in matrix.jobs:
        one = progress[job.key]
        one.result = _result_of(job, matrix.folder_of(job))
        if job.key in failed:
            one.state, one.failure = "failed", read_failure(job, matrix.folder_of(job))
        elif one.result is not None:
            one.state, one.before = "done", True
        else:
            (matrix.folder_of(job) / "result.json").unlink(missing_ok=True)  # of other images
            waiting.append(job)
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                job = waiting.pop(0)
                log = matrix.folder_of(job) / "log.txt"
                before = log.stat().st_size if log.is_file() else 0  # what earlier tries said
                running[job.key] = runner.start(job, matrix.folder_of(job)), time.monotonic(), before
                progress[job.key].state = "running"
            for key, (handle, began, before) in list(running.items()):
                one, folder = progress[key], matrix.folder / key
                ended = handle.done()
                one.seconds = time.monotonic() - began
                one.said = next(iter(log_lines(folder / "log.txt", 1, start=before)), "")
                if ended:
                    del running[key]
                    one.result = read_result(folder)
                    one.failure = None if one.result else read_failure(one.job, folder)
                    one.state = "done" if one.result else "failed"
            watch(list(progress.values()))
            if running:
                time.sleep(_LOOK_EVERY)
    except BaseException as error:
        interrupted = isinstance(error, KeyboardInterrupt)
        if interrupted and running:
            say("stopping: the jobs write their last checkpoints (Ctrl-C again: without)")
        _stop([handle for handle, _, _ in running.values()])
        for key in running:
            progress[key].state = "stopped"
        if interrupted:
            watch(list(progress.values()))
        raise
    watch(list(progress.values()))


def _result_of(job: Job, folder: Path) -> dict[str, Any] | None:
    """Return a job's result unless its dataset has changed since."""
    result = read_result(folder)
    return result if result and job.sha256 in ("", result["dataset"]["sha256"]) else None


def _stop(handles: list[Handle]) -> None:
    """Let all jobs write a checkpoint and end; those that take too long are killed."""
    for handle in handles:
        handle.stop()
    end = time.monotonic() + _STOP_SECONDS
    try:
        while any(not handle.done() for handle in handles) and time.monotonic() < end:
            time.sleep(_LOOK_EVERY)
    finally:  # also after a second Ctrl-C
        for handle in handles:
            if not handle.done():
                handle.kill()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the matrix; the system releases it when this process dies, however it does."""
    lock = FileLock(folder / "lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise ConflictError(
            f"matrix {folder.name!r} is being run by another process", hint="Wait for it, or choose another --name."
        ) from None
    try:
        yield
    finally:
        lock.release()


def _check_same(folder: Path, asked: dict[str, Any]) -> None:
    path = folder / "matrix.json"
    if not path.is_file():
        return
    before = json.loads(path.read_text(encoding="utf-8"))
    for key in ("training", "tuning"):
        if before[key] != asked[key]:
            raise ConflictError(
                f"matrix {folder.name!r} was begun with {key} settings {before[key]}, not {asked[key]}",
                hint="Choose another --name.",
            )


def _name_of(settings: TrainAllSettings, asked: dict[str, Any]) -> str:
    """Return a name that the same request always gets, readable where it is short."""
    wanted = [settings.models, settings.datasets, asked]
    digest = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()[:8]
    shown = "+".join(dict.fromkeys(_safe(Path(data).stem) for data in settings.datasets))
    return f"{shown[:60]}-{digest}"


def _once(prefix: str, say: Callable[[str], None]) -> Callable[[str, float], None]:
    """Return a listener to a dataset's preparation that passes on each step once, whatever its share."""
    said: set[str] = set()

    def listen(text: str, share: float) -> None:
        if text not in said:
            said.add(text)
            say(prefix + text)

    return listen


def _safe(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.+-]+", "-", text).strip("-.") or "data"
