"""An exponential moving average of the weights, which often generalises better than the last step's weights."""

from __future__ import annotations

import copy

import torch
from torch import nn


class Ema:
    """Follows a model's weights and buffers: average = decay * average + (1 - decay) * weights, after every step.

    The decay warms up as (1 + t) / (10 + t), so that the random start is forgotten at once. `module` is the averaged
    copy, in evaluation mode; integer buffers are copied as they are.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.module = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take in the weights after `step` (1 is the first)."""
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        mine = self.module.state_dict()
        theirs = model.state_dict()
        floats = [name for name, value in mine.items() if value.is_floating_point()]
        torch._foreach_lerp_([mine[name] for name in floats], [theirs[name] for name in floats], weight)
        for name, value in mine.items():
            if not value.is_floating_point():
                value.copy_(theirs[name])
