"""Defaults that belong to a model or a dataset instead of to training as such.

Model recipes are TOML files `model-<name>.toml` among the presets (the package's, or the user's own in
$INKSIGHT_HOME/presets, which win); for `transfer/resnet18` that is model-transfer-resnet18.toml or, failing that,
model-transfer.toml, for `sketchnet-s` model-sketchnet-s.toml or model-sketchnet.toml. Their [train] table and that of
the dataset's preset are layered under the user's settings; what a dataset wants of one family alone stands in its table
[train.<family>], as [train.transfer] in flowers.toml.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inksight.config import read_toml, resolve
from inksight.data import presets
from inksight.errors import NotFoundError
from inksight.settings import TrainSettings
from inksight.workspace import workspace

_PACKAGED = Path(__file__).resolve().parent.parent / "presets"


def recipe(model: str, dataset: str) -> dict[str, Any]:
    """Return the settings that the model's recipe and the dataset's preset give; the dataset's win."""
    return {**_model_recipe(model), **_dataset_recipe(dataset, model.partition("/")[0])}


def head_only(layer: dict[str, Any]) -> dict[str, Any]:
    """Return a recipe for --freeze-backbone: the head's epochs are then all there are, so --epochs means them."""
    epochs = layer.get("frozen_epochs") or layer.get("epochs")
    return {**layer, "frozen_epochs": 0} | ({"epochs": epochs} if epochs else {})


def is_frozen(model: str, dataset: str, options: Mapping[str, Any]) -> bool:
    """Return whether a training with these options leaves the backbone as it is."""
    return resolve(TrainSettings, preset=recipe(model, dataset), options=options).freeze_backbone


def _model_recipe(model: str) -> dict[str, Any]:
    for name in (model.replace("/", "-"), model.partition("/")[0], model.rpartition("-")[0]):
        for folder in (workspace().home / "presets", _PACKAGED):
            path = folder / f"model-{name}.toml"
            if path.is_file():
                return dict(read_toml(path).get("train", {}))
    return {}


def _dataset_recipe(dataset: str, family: str) -> dict[str, Any]:
    try:
        table = presets.load(dataset).options.get("train", {})
    except NotFoundError:
        return {}
    own = {name: value for name, value in table.items() if not isinstance(value, dict)}
    return {**own, **table.get(family, {})}
