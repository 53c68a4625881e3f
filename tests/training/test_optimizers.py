"""Optimizers, parameter groups, class weights and the moving average."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import nn

from inksight.settings import OPTIMIZERS, TrainSettings
from inksight.training.balance import class_weights, imbalance
from inksight.training.ema import Ema
from inksight.training.optimizers import build_optimizer, parameter_groups


def net() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, 3))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_lowers_a_loss(name: str) -> None:
    torch.manual_seed(0)
    model = net()
    optimizer = build_optimizer(model, TrainSettings(optimizer=name, learning_rate=0.01))
    x, y = torch.randn(32, 1, 8, 8), torch.randint(0, 3, (32,))
    losses = []
    for _ in range(60):
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]


def test_biases_and_norms_are_not_decayed() -> None:
    groups: list[dict[str, Any]] = parameter_groups(net(), 0.1)
    by_decay = {group["weight_decay"]: [p.ndim for p in group["params"]] for group in groups}
    assert by_decay == {0.1: [4, 2], 0.0: [1, 1, 1, 1]}


def test_frozen_parameters_are_left_out_and_factors_split_groups() -> None:
    model = net()
    for parameter in model[0].parameters():  # type: ignore[index]
        parameter.requires_grad_(False)
    groups: list[dict[str, Any]] = parameter_groups(model, 0.0, lambda name: 0.1 if name.startswith("1.") else 1.0)
    assert sorted(group["factor"] for group in groups) == [0.1, 1.0, 1.0]
    assert sum(len(group["params"]) for group in groups) == 4


def test_balanced_weights_are_scikit_learns() -> None:
    counts = [10, 20, 70]
    labels = np.repeat([0, 1, 2], counts)
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    # Ours are scaled to weigh 1 per image on average, which scikit-learn's are already.
    np.testing.assert_allclose(class_weights("balanced", counts), expected, rtol=1e-6)


@pytest.mark.parametrize("kind", ["none", "balanced", "effective"])
def test_weights_keep_the_mean_at_one_and_spare_absent_classes(kind: str) -> None:
    counts = np.array([1, 50, 949])
    weights = class_weights(kind, counts.tolist())
    assert float((weights * counts).sum() / counts.sum()) == pytest.approx(1.0, rel=1e-5)
    assert class_weights(kind, [5, 0, 5])[1] == (1 if kind == "none" else 0)
    assert weights[0] >= weights[1] >= weights[2]


def test_effective_numbers_are_milder_than_balanced() -> None:
    counts = [1, 1000]
    balanced, effective = class_weights("balanced", counts), class_weights("effective", counts)
    assert effective[0] / effective[1] < balanced[0] / balanced[1]
    assert effective[0] / effective[1] > 10


def test_imbalance_ignores_absent_classes() -> None:
    assert imbalance([0, 10, 40]) == 4
    assert imbalance([0, 0]) == 1


def test_ema_follows_the_formula_and_copies_counters() -> None:
    torch.manual_seed(0)
    model = net()
    ema = Ema(model, 0.9)
    expected = {name: value.clone() for name, value in model.state_dict().items()}
    for step in range(1, 6):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter))
        model(torch.randn(4, 1, 8, 8))  # moves the batch norm's statistics
        ema.update(model, step)
        decay = min(0.9, (1 + step) / (10 + step))
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                expected[name] = decay * expected[name] + (1 - decay) * value
            else:
                expected[name] = value.clone()
    for name, value in ema.module.state_dict().items():
        torch.testing.assert_close(value, expected[name])
    assert not any(parameter.requires_grad for parameter in ema.module.parameters())
