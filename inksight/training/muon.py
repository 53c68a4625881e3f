"""Muon: momentum whose matrices are made orthogonal before each step (Jordan et al. 2024).

    optimizer = Muon(parameter_groups(model, 0.05), lr=0.01)

All directions of a weight matrix then learn equally fast, which on small drawing nets saves half of the passes over the
data (docs/experiments.md). A convolution's weights are the matrix (out, height * width * in). Gains, biases, and layers
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


def orthogonal(matrices: Tensor) -> Tensor:
    """Return nearly U V^T of each one's singular value decomposition, by Newton-Schulz: float (n, rows, columns)."""
    wide: Tensor = matrices if matrices.shape[1] <= matrices.shape[2] else matrices.mT
    wide = wide / (torch.linalg.matrix_norm(wide, keepdim=True) + 1e-7)
    # Each round multiplies from the left by a polynomial in X X^T. Keeping only that small square and the product so
    # far leaves two products with the wide matrix instead of ten: a third of the time for 96 x 864.
    square = wide @ wide.mT
    product = torch.eye(wide.shape[1], device=wide.device, dtype=wide.dtype).expand_as(square)
    for _ in range(_ROUNDS):
        factor = torch.baddbmm(square, square, square, beta=_B, alpha=_C)
        factor.diagonal(dim1=1, dim2=2).add_(_A)
        product = factor @ product
        square = factor @ square @ factor
    x = product @ wide
    return x if wide.shape == matrices.shape else x.mT


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
            matrices: dict[tuple[int, ...], list[Tensor]] = {}
            # By their number of steps so far: a layer that thaws later than others is younger.
            others: dict[int, list[Tensor]] = {}
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                # The head (a plain matrix) and the stem (one input channel) are better off with AdamW.
                if parameter.ndim == 4 and parameter.shape[1] > 1:
                    matrices.setdefault(tuple(parameter.shape), []).append(parameter)
                else:
                    others.setdefault(int(self.state[parameter].get("step", 0)), []).append(parameter)
            # Small nets spend more time on starting operations than on arithmetic: alike matrices go through together
            # (2.8 ms a step one by one, 1.2 ms so, for sketchnet-s on one thread).
            for alike in matrices.values():
                self._orthogonal_step(alike, group)
            for equally_old in others.values():
                self._adam_step(equally_old, group)
        return loss

    def _orthogonal_step(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        """Step along the orthogonalised momentum of parameters of one shape."""
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter]["momentum"] = torch.zeros_like(parameter)
        averages = [self.state[parameter]["momentum"] for parameter in parameters]
        torch._foreach_mul_(averages, group["momentum"])
        torch._foreach_add_(averages, gradients)
        ahead = torch._foreach_add(gradients, averages, alpha=group["momentum"])
        # The order of a matrix' columns does not matter; this one is that of channels-last weights in memory.
        stacked = torch.stack(ahead).permute(0, 1, 3, 4, 2)
        steps = orthogonal(stacked.flatten(2))
        size = _UPDATE_SIZE * max(steps.shape[1:]) ** 0.5
        torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        directions = list(steps.reshape(stacked.shape).permute(0, 1, 4, 2, 3).unbind())
        torch._foreach_add_(parameters, directions, alpha=-group["lr"] * size)

    def _adam_step(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        """Take AdamW's step with parameters that have taken equally many."""
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        for parameter in parameters:
            state = self.state[parameter]
            if not state:
                state["step"] = torch.tensor(0.0)
                state["mean"], state["square"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
            state["step"] += 1
        steps = int(self.state[parameters[0]]["step"])
        first, second = group["betas"]
        means = [self.state[parameter]["mean"] for parameter in parameters]
        squares = [self.state[parameter]["square"] for parameter in parameters]
        torch._foreach_lerp_(means, gradients, 1 - first)
        torch._foreach_mul_(squares, second)
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - second)
        spreads = torch._foreach_div(squares, 1 - second**steps)
        torch._foreach_sqrt_(spreads)
        torch._foreach_add_(spreads, 1e-8)
        torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_addcdiv_(parameters, means, spreads, -group["lr"] / (1 - first**steps))
