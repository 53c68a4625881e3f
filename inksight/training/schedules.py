"""Learning-rate schedules as plain functions of how far the training is.

A schedule answers one question: by which factor is the base learning rate multiplied at this step? All but `plateau`
need only the step's number, so a resumed run is at the right rate without stored state. The shapes are torch's own
(OneCycleLR, CosineAnnealingLR, StepLR, ReduceLROnPlateau); tests compare them. Momentum is not cycled.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from inksight.settings import TrainSettings

# One-cycle starts at 1/25 of its peak and ends at 1/10,000 of that start (Smith & Topin 2018; torch's defaults).
ONE_CYCLE_START = 1 / 25
ONE_CYCLE_END = ONE_CYCLE_START / 10_000


def schedule_factor(settings: TrainSettings, step: int, total_steps: int, steps_per_epoch: int) -> float:
    """Return the multiplier of the learning rate at `step` (0 is the first) of `total_steps`.

    `warmup` is a share of all steps. One-cycle rises along a cosine; the others rise linearly, then follow their curve
    over the steps that remain. For "plateau" and "none" only the warm-up is here.
    """
    warmup = round(settings.warmup * total_steps)
    if settings.scheduler == "one-cycle":
        # Counted between the first and the last step, as torch does, so that the last step is at the very end.
        peak = settings.warmup * total_steps - 1
        if step <= peak:
            return _cosine(ONE_CYCLE_START, 1.0, step / peak if peak else 1.0)
        rest = (step - peak) / max(total_steps - 1 - peak, 1)
        return _cosine(1.0, ONE_CYCLE_END, min(rest, 1.0))
    if step < warmup:
        return (step + 1) / warmup
    if settings.scheduler == "cosine":
        return _cosine(1.0, 0.0, (step - warmup) / max(total_steps - warmup, 1))
    if settings.scheduler == "step":
        every = settings.decay_epochs or max(1, math.ceil(settings.epochs / 3))
        return settings.decay_factor ** (step // steps_per_epoch // every)
    return 1.0


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


@dataclass
class Plateau:
    """Lowers the rate by `factor` when the watched loss has not improved by 0.01 % for more than `patience` epochs."""

    factor: float
    patience: int
    best: float = math.inf
    waited: int = 0
    scale: float = 1.0

    def update(self, loss: float) -> None:
        """Take one epoch's loss; `scale` is the multiplier from then on."""
        if loss < self.best * (1 - 1e-4):
            self.best, self.waited = loss, 0
        else:
            self.waited += 1
        if self.waited > self.patience:
            self.scale *= self.factor
            self.waited = 0
