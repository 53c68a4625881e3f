"""The registry of models: names, documented options, and how to build each one.

Knows names and options without importing torch: a model's code is imported when it is built. Names are fixed, save in
open families such as `transfer/...`, where a function makes the entry from what follows the slash.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from inksight.config import check_value, convert
from inksight.errors import UsageError, unknown

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Option:
    """One option of a model: its default, one line of documentation, its valid values.

    The default fixes the type; one that is None (the model decides) needs `kind`, or takes values as they are.
    """

    default: Any
    help: str
    choices: tuple[str, ...] | None = None
    kind: type | None = None
    at_least: float | None = None
    at_most: float | None = None
    more_than: float | None = None


@dataclass(frozen=True)
class ModelSpec:
    """What is known of a model without building it.

    `source` is "module:callable", called as `callable(num_classes=, input_shape=(C, h, w), **options)`. `input_size`
    (h, w) and `channels` are what the model insists on; None means: as the images are. `mean` and `std` normalise
    pixels in 0..1, one value for all channels or one per channel. Images whose shorter side is below `min_size` are
    enlarged to it; others go in as they are.
    """

    name: str
    family: str
    summary: str
    source: str
    options: Mapping[str, Option] = field(default_factory=dict)
    input_size: tuple[int, int] | None = None
    channels: int | None = None
    min_size: int = 1
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def build(self, **arguments: Any) -> nn.Module:
        """Import the model's code and call it with `arguments`."""
        module, _, attribute = self.source.partition(":")
        made: nn.Module = getattr(importlib.import_module(module), attribute)(**arguments)
        return made

    def defaults(self) -> dict[str, Any]:
        """Return the default of each option."""
        return {name: option.default for name, option in self.options.items()}

    def resolve(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return all options with `options` over the defaults; raises UsageError for a wrong name or value."""
        values = self.defaults()
        for name, value in options.items():
            if name not in self.options:
                raise unknown("option", name, self.options, option=f"model {self.name}")
            option = self.options[name]
            kind = option.kind or type(option.default)
            if value is not None and kind is not type(None):
                value = convert(value, kind | None if option.default is None else kind, f"model option {name}")
            if value is not None:
                check_value(value, vars(option), f"model option {name}")
            values[name] = value
        return values


_specs: dict[str, ModelSpec] = {}
_families: dict[str, tuple[Callable[[str], ModelSpec], tuple[str, ...]]] = {}


def register(spec: ModelSpec) -> ModelSpec:
    """Add a model; raises ValueError when the name is taken."""
    if spec.name in _specs:
        raise ValueError(f"a model named {spec.name!r} exists already")
    _specs[spec.name] = spec
    return spec


def register_family(prefix: str, make: Callable[[str], ModelSpec], known: Sequence[str] = ()) -> None:
    """Add an open family: `make(rest)` gives the entry of `prefix/rest`, or raises; `known` rests are listed."""
    _families[prefix] = (make, tuple(known))


def names() -> list[str]:
    """Return the names of all models that can be listed, sorted; does not import torch."""
    listed = [f"{prefix}/{rest}" for prefix, (_, known) in _families.items() for rest in known]
    return sorted({*_specs, *listed})


def get(name: str, *, option: str = "--model") -> ModelSpec:
    """Return the entry of a model that `option` names; raises NotFoundError with the nearest names."""
    if name in _specs:
        return _specs[name]
    prefix, slash, rest = name.partition("/")
    if slash and prefix in _families:
        return _families[prefix][0](rest)
    raise unknown("model", name, names(), option=option)


def input_shape(spec: ModelSpec, image_shape: Sequence[int]) -> tuple[int, int, int]:
    """Return the (C, h, w) that a model takes for images of `image_shape` (H, W) or (H, W, channels)."""
    grow = max(1.0, spec.min_size / min(image_shape[:2]))
    height, width = spec.input_size or (round(image_shape[0] * grow), round(image_shape[1] * grow))
    return spec.channels or (image_shape[2] if len(image_shape) == 3 else 1), height, width


def create(name: str, *, num_classes: int, image_shape: Sequence[int], **options: Any) -> nn.Module:
    """Build a model with new weights: float32 (N, C, h, w), normalised, -> logits float32 (N, num_classes).

    `image_shape` is the dataset's (H, W) or (H, W, 3). Raises NotFoundError for an unknown name or option, UsageError
    for a value it cannot take or images too small for it.
    """
    spec = get(name)
    if num_classes < 1:
        raise UsageError(f"a model needs at least one class, not {num_classes}")
    return spec.build(num_classes=num_classes, input_shape=input_shape(spec, image_shape), **spec.resolve(options))


def parameter_count(module: nn.Module) -> int:
    """Return the number of values in a module that were or will be learnt, frozen ones too."""
    return sum(parameter.numel() for parameter in module.parameters())


def size_text(module: nn.Module) -> str:
    """Return how large a module is in words: its parameters, or its own words where data will decide (`size_text`)."""
    own = getattr(module, "size_text", None)
    return own() if own else f"{parameter_count(module):,} parameters"
