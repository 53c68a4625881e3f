"""The guides' nets: the parameter counts they publish, and what every model promises."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from inksight import models
from inksight.errors import UsageError


@pytest.mark.parametrize(
    ("name", "classes", "parameters"),
    [
        ("convnet", 10, 160 + 4_640 + 102_528 + 1_290),
        ("simple_cnn", 20, 320 + 18_496 + 32_020),
        ("balanced_cnn", 50, 320 + 64 + 18_496 + 128 + 73_856 + 256 + 295_168 + 32_896 + 6_450),
    ],
)
def test_parameter_counts(name: str, classes: int, parameters: int) -> None:
    assert models.parameter_count(models.create(name, num_classes=classes, image_shape=(28, 28))) == parameters


@pytest.mark.parametrize("shape", [(28, 28), (64, 48), (32, 32, 3)])
@pytest.mark.parametrize("name", ["convnet", "simple_cnn", "balanced_cnn"])
def test_logits_are_the_last_layer_over_the_features(name: str, shape: tuple[int, ...]) -> None:
    net = models.create(name, num_classes=7, image_shape=shape).eval()
    x = torch.rand(3, shape[2] if len(shape) == 3 else 1, *shape[:2])
    features = net.get_features(x)  # type: ignore[operator]
    assert features.dim() == 2
    head = net.get_submodule("head")
    torch.testing.assert_close(net(x), head(features))
    assert net(x).shape == (3, 7)


@pytest.mark.parametrize("name", ["convnet", "simple_cnn", "balanced_cnn"])
def test_too_small_images_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="too small"):
        models.create(name, num_classes=2, image_shape=(7, 7))


@pytest.mark.parametrize("name", ["convnet", "simple_cnn", "balanced_cnn"])
def test_a_few_steps_fit_a_small_batch(name: str) -> None:
    torch.manual_seed(0)
    net = models.create(name, num_classes=3, image_shape=(28, 28))
    x, y = torch.rand(12, 1, 28, 28), torch.arange(12) % 3
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    losses = []
    for _ in range(30):
        loss = nn.functional.cross_entropy(net(x), y)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
