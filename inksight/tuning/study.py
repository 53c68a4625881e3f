"""`tune`: a resumable search with Optuna; where the trials run is the matter of workers.py and ray_trials.py."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import torch
from optuna.trial import FrozenTrial, TrialState

from inksight import models
from inksight.config import resolve
from inksight.data import Dataset, open_dataset
from inksight.data.ensure import ensure_dataset
from inksight.errors import ConflictError, TrainingError, UsageError, unknown
from inksight.settings import TuneSettings
from inksight.training.mlflow_tracker import check_address
from inksight.tuning.spaces import MODEL_PREFIX, load_space, split_values, with_effect
from inksight.tuning.storage import open_storage, outages_told
from inksight.tuning.trial import CURVES, Trials, direction
from inksight.tuning.workers import ended, fate, in_processes, quiet, reopen, run_here
from inksight.workspace import is_path, is_printable, workspace


@dataclass(frozen=True)
class Best:
    """The best trial of a study: its number, value(s), training settings and model options."""

    study: str
    model: str
    number: int
    values: list[float]
    settings: dict[str, Any]
    options: dict[str, Any]


@dataclass(frozen=True)
class Found:
    """What a search found: all trials, and the best; of a front, the one with the best answers, however slow."""

    study: optuna.Study
    best: Best
    front: list[Best]

    @property
    def counts(self) -> dict[str, int]:
        """How many trials ended how."""
        fates = [fate(trial) for trial in self.study.get_trials(deepcopy=False)]
        return {one: fates.count(one) for one in sorted(set(fates))}

    @property
    def done(self) -> int:
        """How many trials have ended by themselves, well or not."""
        return len(ended(self.study))

    def behind(self, settings: Mapping[str, Any], options: Mapping[str, Any], *, fixed: Collection[str]) -> Best:
        """Return the trial that a run has its settings and model options from, all but `fixed` ones; else the best.

        The best may have changed since: a study goes on where it is asked to.
        """
        used = {**settings, **{MODEL_PREFIX + name: value for name, value in options.items()}}
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
            if all(used.get(name) == value for name, value in trial.params.items() if name not in fixed):
                return _best(self.study, trial)
        return self.best


def tune(
    data: str | Path,
    *,
    model: str,
    settings: TuneSettings | None = None,
    training: Mapping[str, Any] | None = None,
    say: Callable[[str], None] = lambda line: None,
    **options: Any,
) -> Found:
    """Search for the settings that make `model` best on the validation split of `data`.

    `training` are settings that hold in every trial, over the recipe and over what is searched for.
    The study is named by its dataset, model and objectives, and kept in the database: the same call goes on where an
    earlier one stopped. Raises UsageError for what does not fit, ConflictError when the study was begun with another
    dataset, model or space or other epochs, TrainingError when no trial succeeded.
    """
    settings = settings or resolve(TuneSettings, options=options)
    models.get(model)
    if len(set(settings.objective)) != len(settings.objective) or not settings.objective:
        raise UsageError("--objective needs one or more different names", hint="For example: accuracy,latency")
    if not set(settings.objective) & set(CURVES):
        raise UsageError(f"--objective {','.join(settings.objective)} needs no training", hint="Add accuracy.")
    if is_path(settings.study) or not is_printable(settings.study):
        raise UsageError(
            f"--study {settings.study!r} cannot be a folder's name", hint="Use letters, digits, '-', '_' and '.'."
        )
    if settings.mlflow:
        check_address(settings.mlflow)
    limit = seconds(settings.timeout)
    path = ensure_dataset(data)
    with open_dataset(path) as dataset:
        check_validation(dataset)
        name = settings.study or f"{dataset.name}-{model}-{'+'.join(settings.objective)}".replace("/", "-")
        space = with_effect(load_space(model), model, dataset.name, training or {})
        identity = {
            "dataset": dataset.sha256,
            "model": model,
            "objective": settings.objective,
            "path": str(path),
            "epochs": settings.epochs,
            "space": {dimension.name: str(dimension) for dimension in space},
        }
    trials = Trials(
        dataset=path,
        model=model,
        space=space,
        objectives=settings.objective,
        epochs=settings.epochs,
        seed=settings.seed,
        folder=workspace().home / "tuning" / re.sub(r"[^\w.+-]", "-", name),
        # What torch was given, which is all cores unless this process shares them with others.
        threads=max(1, torch.get_num_threads() // settings.jobs),
        mlflow=settings.mlflow,
        study=name,
        training=dict(training or {}),
    )
    study = _open(name, settings, identity)
    left = settings.trials - len(ended(study))
    say(f"study {name}: {settings.trials - max(left, 0)} trials done, {max(left, 0)} to go")
    if left > 0:
        deadline = None if limit is None else time.monotonic() + limit
        with outages_told():
            _run_all(trials, study, settings, left, deadline, say)
    with outages_told():
        return found(study)


def check_validation(dataset: Dataset) -> None:
    """Raise UsageError for a dataset on which no trial could be judged."""
    if not dataset.size("val"):
        raise UsageError(
            f"{dataset.name} has no validation images, and a search judges its trials by these",
            hint="Prepare it again with a --val-ratio above 0.",
        )


def _run_all(
    trials: Trials, study: optuna.Study, settings: TuneSettings, left: int, deadline: float | None, say: Any
) -> None:
    timeout = None if deadline is None else max(0.0, deadline - time.monotonic())
    if settings.ray:
        from inksight.tuning.cluster import connected
        from inksight.tuning.ray_trials import run_trials

        with connected(settings.ray) as cluster:
            run_trials(cluster, trials, settings, left, deadline, say)
        return
    if settings.jobs == 1:
        run_here(trials, study, left, settings.trials, timeout, say)
        return
    in_processes(trials, study.study_name, settings, left, timeout, say)


def found(study: optuna.Study) -> Found:
    """Return what a study has found so far; raises TrainingError when no trial succeeded."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not complete:
        reasons = sorted({trial.user_attrs.get("failure", "stopped") for trial in study.get_trials(deepcopy=False)})
        raise TrainingError(
            f"no trial of study {study.study_name} succeeded",
            hint="; ".join(reasons[:3]) or "Give it more --trials or a longer --timeout.",
        )
    front = [_best(study, trial) for trial in study.best_trials]
    at = leading(study.user_attrs["objective"])
    front.sort(key=lambda best: best.values[at], reverse=study.directions[at].name == "MAXIMIZE")
    return Found(study, front[0], front)


def leading(objectives: list[str]) -> int:
    """Return the place of the objective that ranks a front: the first that is about how good the answers are."""
    return next(at for at, objective in enumerate(objectives) if objective in CURVES)


def best_trial(study_name: str) -> Best:
    """Return the best trial of a study by name, for `train --from-study`; raises NotFoundError."""
    return found(load_study(study_name)).best


def load_study(name: str) -> optuna.Study:
    """Return a study of the workspace by name; raises NotFoundError with the nearest names."""
    with quiet():
        storage = open_storage()
        names = [summary.study_name for summary in optuna.get_all_study_summaries(storage)]
        if name not in names:
            raise unknown("study", name, names, option="--from-study")
        return optuna.load_study(study_name=name, storage=storage)


def _best(study: optuna.Study, trial: FrozenTrial) -> Best:
    settings, options = split_values(trial.params)
    model = study.user_attrs["model"]
    return Best(study.study_name, model, trial.number, list(trial.values or []), settings, options)


def _open(name: str, settings: TuneSettings, identity: dict[str, Any]) -> optuna.Study:
    with quiet():
        study = optuna.create_study(
            study_name=name,
            storage=open_storage(),
            load_if_exists=True,
            directions=[direction(objective) for objective in settings.objective],
        )
    known = study.user_attrs
    for key, value in identity.items():
        if key in known and known[key] != value and key != "path":
            told = f"is about {key} {known[key]}, not {value}"
            if key == "space":
                told = f"was begun with another search space: {_changes(known[key], value)}"
            raise ConflictError(f"study {name!r} {told}", hint="Choose another --study name (of train-all: --name).")
    # A study from before there were notes of epochs and space gets none: its trials may have had others. The dataset
    # is noted last, so that a study with one lacks nothing else for being new.
    new = "dataset" not in known
    for key in reversed(identity):
        if new or key in known:
            study.set_user_attr(key, identity[key])
    return reopen(name, settings, settings.epochs)


def _changes(before: dict[str, str], now: dict[str, str]) -> str:
    """Return in which dimensions two search spaces differ, and how."""
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    return ", ".join(f"{name} {now.get(name, 'fixed')} (was {before.get(name, 'fixed')})" for name in names)


def seconds(text: str) -> float | None:
    """Return the seconds that "90s", "20m", "1h" or "1.5h" mean, None for an empty text; raises UsageError."""
    if not text:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", text.strip())
    if not match:
        raise UsageError(f"--timeout: {text!r} is not a length of time", hint="For example: 90s, 20m, 1h.")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]]
