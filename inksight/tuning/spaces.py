"""Search spaces: which settings and model options are tried, and in which range.

A space is the [space] table of a TOML file among the presets, `tune-<model>.toml`, beside the model's recipe (the
user's own in $INKSIGHT_HOME/presets win); for `deep_v2/resnet` that is tune-deep_v2-resnet.toml, its family's
tune-deep_v2.toml, or tune-default.toml. Each key is a field of TrainSettings or, as `model.<option>`, an option of the
model:

    learning_rate = {low = 0.0005, high = 0.02, log = true}
    batch_size    = {choices = [64, 128, 256]}
    "model.depth" = {low = 1, high = 4}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inksight import models
from inksight.config import fields_of, read_toml
from inksight.errors import UsageError, unknown
from inksight.settings import TrainSettings
from inksight.training.recipes import is_frozen
from inksight.workspace import workspace

if TYPE_CHECKING:
    from optuna.trial import Trial

_PACKAGED = Path(__file__).resolve().parent.parent / "presets"
MODEL_PREFIX = "model."
# What only a backbone that learns takes notice of.
_OF_BACKBONE = frozenset({"frozen_epochs", "unfreeze_every", "thawed_stages", "backbone_rate", "layer_decay"})


@dataclass(frozen=True)
class Dimension:
    """One value to choose: from `choices`, or from `low` to `high` (in whole numbers when both are whole)."""

    name: str
    choices: tuple[Any, ...] = ()
    low: float = 0
    high: float = 0
    log: bool = False

    def __str__(self) -> str:
        if self.choices:
            return f"one of {list(self.choices)}"
        return f"{self.low} to {self.high}{' (log)' if self.log else ''}"

    def suggest(self, trial: Trial) -> Any:
        """Let the sampler pick a value."""
        if self.choices:
            return trial.suggest_categorical(self.name, list(self.choices))
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(self.name, self.low, self.high, log=self.log)
        return trial.suggest_float(self.name, self.low, self.high, log=self.log)


def load_space(model: str) -> list[Dimension]:
    """Return the model's search space; raises UsageError or NotFoundError when its file is wrong."""
    for name in (model.replace("/", "-"), models.get(model).family, "default"):
        for folder in (workspace().home / "presets", _PACKAGED):
            path = folder / f"tune-{name}.toml"
            if path.is_file():
                return parse_space(read_toml(path).get("space", {}), model, str(path))
    raise UsageError(f"there is no search space for {model!r}", hint="Write presets/tune-default.toml.")


def with_effect(space: Sequence[Dimension], model: str, dataset: str, training: Mapping[str, Any]) -> list[Dimension]:
    """Return the dimensions that can matter when `training` holds in every trial; raises UsageError if none can.

    While the backbone is frozen, nothing that is about its own training does.
    """
    searched = {dimension.name for dimension in space} - training.keys()
    if "freeze_backbone" in searched or not is_frozen(model, dataset, training):
        return list(space)
    left = [dimension for dimension in space if dimension.name not in _OF_BACKBONE]
    if not left:
        raise UsageError(
            f"the search space of {model!r} is about its backbone alone, which is frozen",
            hint="Search for something of the head, or set INKSIGHT_TRAIN_FREEZE_BACKBONE=false.",
        )
    return left


def parse_space(table: Mapping[str, Any], model: str, where: str) -> list[Dimension]:
    """Check a [space] table and return its dimensions, in order."""
    options = models.get(model).options
    known = [*fields_of(TrainSettings), *(MODEL_PREFIX + option for option in options)]
    dimensions = []
    for name, rules in table.items():
        if name not in known:
            raise unknown("setting", name, known, option=where)
        if not isinstance(rules, dict) or not rules.keys() <= {"choices", "low", "high", "log"}:
            raise UsageError(f"{where}: {name} = {rules!r} is not understood", hint="Give choices, or low and high.")
        made = Dimension(
            name, tuple(rules.get("choices", ())), rules.get("low", 0), rules.get("high", 0), **_log(rules)
        )
        if not made.choices and not made.low < made.high:
            raise UsageError(f"{where}: {name}: low {made.low} is not below high {made.high}")
        if made.log and made.low <= 0:
            raise UsageError(f"{where}: {name}: a logarithmic range must start above 0, not at {made.low}")
        dimensions.append(made)
    if not dimensions:
        raise UsageError(f"{where}: the space is empty", hint="Its [space] table needs at least one setting.")
    return dimensions


def _log(rules: Mapping[str, Any]) -> dict[str, bool]:
    return {"log": bool(rules["log"])} if "log" in rules else {}


def split_values(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return chosen values as (training settings, model options)."""
    training = {name: value for name, value in values.items() if not name.startswith(MODEL_PREFIX)}
    model = {n.removeprefix(MODEL_PREFIX): value for n, value in values.items() if n.startswith(MODEL_PREFIX)}
    return training, model
