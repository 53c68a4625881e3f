"""The whole classifier as one module, and building it again from a description and its weights.

    Network(preprocess, model): uint8 (N, H, W[, 3]) -> float32 probabilities (N, classes)

Building goes through the registry of models: a name and plain options, never a stored object. Options that would fetch
or read something else (pretrained weights) are switched off, since the bundle's own weights replace them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from inksight import models
from inksight.bundle.files import read_recorded, read_weights
from inksight.errors import BundleError, UsageError
from inksight.models.preprocess import Preprocess

_SIZED = (nn.Conv1d, nn.Conv2d, nn.Linear, nn.BatchNorm1d, nn.BatchNorm2d)


class Network(nn.Module):
    """Preprocessing, model and softmax: uint8 (N, H, W) or (N, H, W, 3) -> float32 (N, classes), rows sum to 1."""

    def __init__(self, preprocess: Preprocess, model: nn.Module) -> None:
        super().__init__()
        self.preprocess = preprocess
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """Map uint8 images to probabilities."""
        logits: Tensor = self.model(self.preprocess(images))
        return torch.softmax(logits.float(), dim=1)


def fresh_model(description: Mapping[str, Any]) -> nn.Module:
    """Build the description's architecture, layers at the recorded sizes, weights random.

    Raises BundleError when the name, an option or a size is not one that the architecture has.
    """
    architecture, preprocessing = description["architecture"], description["preprocessing"]
    try:
        spec = models.get(architecture["name"])
        options = dict(architecture["options"])
        options.update({name: value for name, value in _NO_FETCHING.items() if name in spec.options})
        shape = preprocessing["input_shape"]
        model = models.create(
            spec.name,
            num_classes=len(description["classes"]),
            image_shape=[*(preprocessing.get("crop") or shape[:2]), *shape[2:]],
            **options,
        )
    except UsageError as error:
        raise BundleError(
            f"architecture {architecture['name']!r} cannot be built: {error.message}", hint=error.hint
        ) from error
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        # An option of the right type that no layer accepts.
        raise BundleError(f"architecture {architecture['name']!r} cannot be built: {error}") from error
    for path, shape in architecture.get("shapes", {}).items():
        _resize_layer(model, path, shape)
    return model


_NO_FETCHING = {"pretrained": False, "weights": None}


def load_model(description: Mapping[str, Any], weights: Mapping[str, Tensor]) -> nn.Module:
    """Build the model of a description with the given weights, in evaluation mode; raises BundleError on a mismatch."""
    model = fresh_model(description)
    try:
        model.load_state_dict(dict(weights), strict=True)
    except RuntimeError as error:
        raise BundleError(f"the weights do not fit {description['architecture']['name']!r}: {error}") from None
    return model.eval()


def read_network(folder: Path, description: dict[str, Any]) -> Network:
    """Read a bundle's weights, checked against their checksum, into the whole classifier."""
    data = read_recorded(folder, "model.safetensors", description)
    return load_network(description, read_weights(data, str(folder)))


def load_network(description: Mapping[str, Any], weights: Mapping[str, Tensor]) -> Network:
    """Return the whole classifier of a description, in evaluation mode."""
    return Network(Preprocess(description["preprocessing"]), load_model(description, weights)).eval()


def changed_shapes(fresh: nn.Module, model: nn.Module) -> dict[str, list[int]]:
    """Return the weight shape of every layer of `model` that differs from the freshly built one (after pruning)."""
    reference = {path: layer for path, layer in fresh.named_modules() if isinstance(layer, _SIZED)}
    shapes = {}
    for path, layer in model.named_modules():
        if isinstance(layer, _SIZED) and layer.weight is not None and path in reference:
            shape = list(layer.weight.shape)
            if shape != list(reference[path].weight.shape):
                shapes[path] = shape
    return shapes


def _resize_layer(model: nn.Module, path: str, shape: Any) -> None:
    layer = dict(model.named_modules()).get(path)
    if not isinstance(layer, _SIZED) or not isinstance(shape, list) or len(shape) != layer.weight.dim():
        raise BundleError(f"architecture: shapes: {path!r} is no layer of weight shape {shape}")
    if not all(
        isinstance(side, int) and 0 < side <= before for side, before in zip(shape, layer.weight.shape, strict=True)
    ):
        raise BundleError(f"architecture: shapes: {path!r} has {shape}, larger than {list(layer.weight.shape)}")
    layer.weight = nn.Parameter(torch.zeros(shape))
    if layer.bias is not None:
        layer.bias = nn.Parameter(torch.zeros(shape[0]))
    if isinstance(layer, nn.Conv1d | nn.Conv2d):
        depthwise = layer.groups == layer.in_channels > 1
        layer.groups = shape[0] if depthwise else layer.groups
        layer.out_channels, layer.in_channels = shape[0], shape[1] * layer.groups
    elif isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = shape
    else:
        layer.num_features = shape[0]
        if layer.running_mean is not None and layer.running_var is not None:
            layer.running_mean, layer.running_var = torch.zeros(shape[0]), torch.ones(shape[0])
