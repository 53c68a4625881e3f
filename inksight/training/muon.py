"""Muon: momentum whose matrices are made orthogonal before each step (Jordan et al. 2024).

    optimizer = Muon(parameter_groups(model, 0.05), lr=0.01)

All directions of a weight matrix then learn equally fast, which on small drawing nets saves half of the passes over the
data (docs/experiments.md). A convolution's weights are the matrix (out, in * height * width). Gains, biases, and layers
that see one input channel take AdamW's step at the same rate. State and groups are plain: checkpoints work as for any
optimizer. Not meant for several processes that each hold a part of a matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

# The quintic's coefficients of the publication: singular values end up in 0.7..1.2 after five rounds.
_A, _B, _C = 3.4445, -4.7750, 2.0315
_ROUNDS = 5
# Root mean square of an update relative to the rate. 0.2 would imitate AdamW's (Liu et al. 2025); twice that learnt
# faster here.
_UPDATE_SIZE = 0.4


def orthogonal(matrix: Tensor) -> Tensor:
    """Return nearly U V^T of the singular value decomposition of a float (rows, columns) matrix, by Newton-Schulz."""
    wide: Tensor = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x: Tensor = wide / (wide.norm() + 1e-7)
    for _ in range(_ROUNDS):
        square = x @ x.T
        x = _A * x + (_B * square + _C * square @ square) @ x
    return x if wide is matrix else x.T


class Muon(torch.optim.Optimizer):
    """Orthogonalised Nesterov momentum for matrices, AdamW for the rest; one learning rate for both."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.01,
        *,
        momentum: float = 0.9,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Make one step along the parameters' gradients."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                # The head (a plain matrix) and the stem (one input channel) are better off with AdamW.
                if parameter.ndim == 4 and parameter.shape[1] > 1:
                    self._orthogonal_step(parameter, group)
                else:
                    self._adam_step(parameter, group)
        return loss

    def _orthogonal_step(self, parameter: Tensor, group: dict[str, Any]) -> None:
        state, gradient = self.state[parameter], parameter.grad
        assert gradient is not None
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        average: Tensor = state["momentum"].mul_(group["momentum"]).add_(gradient)
        ahead = gradient.add(average, alpha=group["momentum"]).reshape(len(parameter), -1)
        size = _UPDATE_SIZE * max(ahead.shape) ** 0.5
        parameter.add_(orthogonal(ahead).reshape(parameter.shape), alpha=-group["lr"] * size)

    def _adam_step(self, parameter: Tensor, group: dict[str, Any]) -> None:
        state, gradient = self.state[parameter], parameter.grad
        assert gradient is not None
        if not state:
            state["step"] = torch.tensor(0.0)
            state["mean"], state["square"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        state["step"] += 1
        steps = int(state["step"])
        first, second = group["betas"]
        state["mean"].lerp_(gradient, 1 - first)
        state["square"].lerp_(gradient.square(), 1 - second)
        spread = (state["square"] / (1 - second**steps)).sqrt_().add_(1e-8)
        parameter.addcdiv_(state["mean"], spread, value=-group["lr"] / (1 - first**steps))
