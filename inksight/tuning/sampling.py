"""How values are chosen: by a sampler whose luck follows from the study's seed and the trial's number.

A sampler with one seed for all would begin with the same trials in every worker, and again after every stop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from inksight.settings import TuneSettings


def sampler_of(settings: TuneSettings) -> BaseSampler:
    """Return the sampler that the settings ask for."""
    if settings.sampler == "random":
        return ByNumber(lambda number: RandomSampler(seed=_seed(settings, number)))
    first = max(4, settings.trials // 4)
    return ByNumber(lambda number: TPESampler(seed=_seed(settings, number), n_startup_trials=first))


def _seed(settings: TuneSettings, number: int) -> int:
    return (settings.seed * 100_003 + number) % 2**32


class ByNumber(BaseSampler):
    """Lets each trial be chosen by a sampler of its own, which `make` returns for the trial's number."""

    def __init__(self, make: Callable[[int], BaseSampler]) -> None:
        self._make = make
        self._one = make(0)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Take a new sampler; Optuna calls this before anything is chosen."""
        self._one = self._make(trial.number)
        self._one.before_trial(study, trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return what is chosen together."""
        return self._one.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Choose together."""
        return self._one.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Choose one value."""
        return self._one.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Pass the end on."""
        self._one.after_trial(study, trial, state, values)
