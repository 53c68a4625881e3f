"""Optimizers and their parameter groups.

Biases and the gains of normalisation layers are not decayed: pulling them to zero only hurts (He et al. 2019, "Bag of
Tricks", section 3.1). Each group carries `factor`, by which its learning rate differs from the base rate; the loop
sets `lr = base * schedule * factor` before every step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from inksight.settings import TrainSettings
from inksight.training.muon import Muon

LearningRateFactor = Callable[[str], float]


def parameter_groups(
    model: nn.Module, weight_decay: float, factor_of: LearningRateFactor = lambda name: 1.0
) -> list[dict[str, Any]]:
    """Return the trainable parameters grouped by (learning-rate factor, decayed or not), in the model's order.

    `factor_of` maps a parameter's name to its factor: below 1 for the early layers of a pretrained backbone.
    """
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((factor_of(name), parameter.ndim > 1), []).append(parameter)
    return [
        {"params": parameters, "factor": factor, "weight_decay": weight_decay if decayed else 0.0}
        for (factor, decayed), parameters in groups.items()
    ]


def build_optimizer(
    model: nn.Module, settings: TrainSettings, factor_of: LearningRateFactor = lambda name: 1.0
) -> torch.optim.Optimizer:
    """Build the optimizer that `settings.optimizer` names over the model's trainable parameters.

    The fused kernels do all parameters in one call: for small nets the optimizer is then no longer visible.
    """
    groups = parameter_groups(model, settings.weight_decay, factor_of)
    rate, momentum = settings.learning_rate, settings.momentum
    match settings.optimizer:
        case "adam":
            return torch.optim.Adam(groups, lr=rate, fused=True)
        case "adamw":
            return torch.optim.AdamW(groups, lr=rate, fused=True)
        case "muon":
            return Muon(groups, lr=rate, momentum=momentum)
        case "sgd":
            return torch.optim.SGD(groups, lr=rate, momentum=momentum, nesterov=momentum > 0, fused=True)
        case "rmsprop":
            return torch.optim.RMSprop(groups, lr=rate, momentum=momentum)
    raise AssertionError(settings.optimizer)
