"""Schedules against torch's own."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from inksight.settings import TrainSettings
from inksight.training.schedules import Plateau, schedule_factor


def ours(total: int, per_epoch: int, **options: Any) -> list[float]:
    settings = TrainSettings(**options)
    return [schedule_factor(settings, step, total, per_epoch) for step in range(total)]


def theirs(build: Any, total: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = build(optimizer)
    rates = []
    for _ in range(total):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns when a one-cycle schedule is stepped past its last step
            try:
                schedule.step()
            except ValueError:
                break
    return rates


@pytest.mark.parametrize("total", [25, 137, 1000])
@pytest.mark.parametrize("warmup", [0.1, 0.25, 0.5])
def test_one_cycle_is_torchs(total: int, warmup: float) -> None:
    expected = theirs(
        lambda optimizer: torch.optim.lr_scheduler.OneCycleLR(
            optimizer, 1.0, total_steps=total, pct_start=warmup, cycle_momentum=False
        ),
        total,
    )
    got = ours(total, 10, scheduler="one-cycle", warmup=warmup)
    assert got == pytest.approx(expected, abs=1e-9)


def test_cosine_is_torchs() -> None:
    expected = theirs(lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50), 50)
    assert ours(50, 10, scheduler="cosine", warmup=0) == pytest.approx(expected, abs=1e-9)


def test_step_is_torchs() -> None:
    expected = theirs(lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5), 9)
    got = ours(9, 1, scheduler="step", warmup=0, epochs=9, decay_epochs=2, decay_factor=0.5)
    assert got == pytest.approx(expected)


def test_plateau_is_torchs() -> None:
    losses = [3.0, 2.0, 2.0, 1.99999, 2.5, 1.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.1, patience=2)
    plateau = Plateau(factor=0.1, patience=2)
    for loss in losses:
        schedule.step(loss)
        plateau.update(loss)
        assert plateau.scale == pytest.approx(optimizer.param_groups[0]["lr"])
    assert plateau.scale < 1


def test_none_is_flat_after_a_linear_warmup() -> None:
    got = ours(100, 10, scheduler="none", warmup=0.1)
    assert got[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert got[10:] == [1.0] * 90


@given(
    total=st.integers(1, 300),
    warmup=st.floats(0, 0.9),
    scheduler=st.sampled_from(["one-cycle", "cosine", "step", "plateau", "none"]),
)
def test_every_factor_is_between_0_and_1(total: int, warmup: float, scheduler: str) -> None:
    factors = ours(total, max(1, total // 3), scheduler=scheduler, warmup=warmup)
    assert all(0 <= factor <= 1 + 1e-12 for factor in factors)
    if total > 1:
        assert max(factors) > 0
