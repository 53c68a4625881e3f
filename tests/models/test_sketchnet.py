"""sketchnet: its sizes, what every model promises, and that it learns."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from inksight import models
from inksight.errors import UsageError


@pytest.mark.parametrize(
    ("name", "parameters", "limit"),
    [("sketchnet-s", 56_836, 60_000), ("sketchnet-m", 263_652, 300_000), ("sketchnet-l", 1_047_988, 1_500_000)],
)
def test_parameter_counts(name: str, parameters: int, limit: int) -> None:
    assert models.parameter_count(models.create(name, num_classes=20, image_shape=(28, 28))) == parameters
    # 84 classes: as many as the model inside the package knows.
    assert models.parameter_count(models.create(name, num_classes=84, image_shape=(28, 28))) <= limit


@pytest.mark.parametrize("shape", [(28, 28), (5, 9), (64, 48, 3)])
@pytest.mark.parametrize("name", ["sketchnet-s", "sketchnet-m", "sketchnet-l"])
def test_logits_are_the_last_layer_over_the_features(name: str, shape: tuple[int, ...]) -> None:
    net = models.create(name, num_classes=7, image_shape=shape).eval()
    x = torch.rand(3, shape[2] if len(shape) == 3 else 1, *shape[:2])
    features = net.get_features(x)  # type: ignore[operator]
    head = net.get_submodule("head")
    assert features.shape == (3, head.in_features)
    torch.testing.assert_close(net(x), head(features))


@pytest.mark.parametrize("name", ["sketchnet-s", "sketchnet-m", "sketchnet-l"])
def test_images_without_room_for_its_stages_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="4 x 28 pixels"):
        models.create(name, num_classes=7, image_shape=(4, 28))
    assert models.create(name, num_classes=7, image_shape=(5, 5)).eval()(torch.zeros(1, 1, 5, 5)).shape == (1, 7)


def test_it_tells_horizontal_from_vertical_lines() -> None:
    torch.manual_seed(0)
    x, y = torch.zeros(40, 1, 28, 28), torch.arange(40) % 2
    for row in range(40):
        position = 4 + row // 2
        if y[row]:
            x[row, 0, position : position + 2, 4:24] = 1.0
        else:
            x[row, 0, 4:24, position : position + 2] = 1.0
    # Two pixels wide, as the renderer's brush. Trained on every other position, judged on those between.
    seen = torch.arange(40) // 2 % 2 == 0
    net = models.create("sketchnet-s", num_classes=2, image_shape=(28, 28))
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    for _ in range(60):
        loss = nn.functional.cross_entropy(net(x[seen]), y[seen])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    assert (net.eval()(x[~seen]).argmax(dim=1) == y[~seen]).float().mean() >= 0.9
