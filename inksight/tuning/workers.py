"""Runs the trials of a study: in this process, or in several that share the study through the database."""

from __future__ import annotations

import signal
import sys
import warnings
from collections.abc import Callable
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from inksight.data.parallel import Spawned
from inksight.errors import InksightError, UnavailableError
from inksight.settings import TuneSettings
from inksight.tuning.sampling import sampler_of
from inksight.tuning.storage import open_storage, outages_told
from inksight.tuning.trial import Trials


def in_processes(
    trials: Trials, name: str, settings: TuneSettings, left: int, timeout: float | None, say: Callable[[str], None]
) -> None:
    """Run `left` trials in `settings.jobs` processes; all are ended when this one is stopped."""
    # Every worker gets its share beforehand, so that together they make exactly as many trials as were asked for.
    shares = [left // settings.jobs + (number < left % settings.jobs) for number in range(settings.jobs)]
    context = Spawned()
    workers = [
        context.Process(target=_worker, args=(trials, name, settings, share, timeout)) for share in shares if share
    ]
    for worker in workers:
        worker.start()
    try:
        for worker in workers:
            worker.join()
    except BaseException:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.join()
        raise
    killed = [worker.exitcode for worker in workers if worker.exitcode]
    if killed:
        say(f"{len(killed)} of {len(workers)} workers died ({killed}); the same command runs their trials again")


def _worker(trials: Trials, name: str, settings: TuneSettings, share: int, timeout: float | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its workers

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    try:
        with outages_told():
            work(trials, name, settings, share, timeout, say)
    except UnavailableError as error:
        say(f"error: {error.message}")
        sys.exit(1)


def work(trials: Trials, name: str, settings: TuneSettings, share: int, timeout: float | None, say: Any) -> None:
    """Run `share` trials of the study, as one worker of several."""
    run_here(trials, reopen(name, settings, trials.epochs), share, settings.trials, timeout, say)


def run_here(trials: Trials, study: optuna.Study, count: int, most: int, timeout: float | None, say: Any) -> None:
    """Run `count` trials, fewer when others have brought the study to `most` meanwhile."""

    def tell(study: optuna.Study, trial: FrozenTrial) -> None:
        said = " ".join(f"{value:.4f}" for value in trial.values or []) or trial.user_attrs.get("failure", "")
        chosen = ", ".join(f"{key}={_short(value)}" for key, value in trial.params.items())
        say(f"trial {trial.number} {fate(trial)} {said}  ({chosen})")
        if len(ended(study)) >= most:
            study.stop()

    def objective(trial: optuna.Trial) -> float | tuple[float, ...]:
        try:
            return trials(trial)
        except (InksightError, RuntimeError, ValueError, MemoryError) as error:
            trial.set_user_attr("failure", f"{type(error).__name__}: {error}")
            raise

    # A setting that makes training fail is a finding, not a reason to stop: what it raised is kept with the trial.
    study.optimize(
        objective,
        n_trials=count,
        timeout=timeout,
        callbacks=[tell],
        catch=(InksightError, RuntimeError, ValueError, MemoryError),
    )


def fate(trial: FrozenTrial) -> str:
    """Return how a trial ended, in a word; one that was stopped or killed says nothing of its settings."""
    if trial.state == TrialState.FAIL:
        return "failed" if "failure" in trial.user_attrs else "stopped"
    return trial.state.name.lower()


def ended(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that count; another takes the place of one that was stopped."""
    trials = study.get_trials(deepcopy=False)
    return [trial for trial in trials if fate(trial) in ("complete", "pruned", "failed")]


def reopen(name: str, settings: TuneSettings, epochs: int) -> optuna.Study:
    """Return a study of the workspace with its sampler and pruner."""
    pruners: dict[str, Callable[[], optuna.pruners.BasePruner]] = {
        "hyperband": lambda: optuna.pruners.HyperbandPruner(min_resource=1, max_resource=epochs),
        "median": lambda: optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=1),
        "none": optuna.pruners.NopPruner,
    }
    with quiet():
        return optuna.load_study(
            study_name=name,
            storage=open_storage(),
            sampler=sampler_of(settings),
            pruner=pruners[settings.pruner](),
        )


class quiet(warnings.catch_warnings):
    """Inside the block Optuna neither logs each step nor warns that its retry of dead workers is experimental."""

    def __enter__(self) -> Any:
        entered = super().__enter__()
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return entered


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
