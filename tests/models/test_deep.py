"""The deep families: parameter counts, every option, shapes from tiny to photo, and one step of learning."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from inksight import models
from inksight.errors import UsageError
from inksight.models.layers import ATTENTION, StochasticDepth

NAMES = ("deep_v1", "deep_v1_residual", "deep_v2/resnet", "deep_v2/densenet", "deep_v2/hybrid")
ATTENTIONS = ("none", "se", "cbam", "self")


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("deep_v1", 1_208_116),
        ("deep_v1_residual", 1_252_116),
        ("deep_v2/resnet", 2_843_308),
        ("deep_v2/densenet", 261_632),
        ("deep_v2/hybrid", 1_965_484),
    ],
)
def test_parameter_counts(name: str, parameters: int) -> None:
    assert models.parameter_count(models.create(name, num_classes=20, image_shape=(28, 28))) == parameters


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(28, 28), (5, 9), (112, 96, 3)])
def test_logits_are_the_last_layer_over_the_features(name: str, shape: tuple[int, ...]) -> None:
    net = models.create(name, num_classes=7, image_shape=shape).eval()
    x = torch.rand(2, shape[2] if len(shape) == 3 else 1, *shape[:2])
    features = net.get_features(x)  # type: ignore[operator]
    torch.testing.assert_close(net(x), net.get_submodule("head")(features))
    assert net(x).shape == (2, 7)


@pytest.mark.parametrize("separable", [False, True])
@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("name", ["deep_v2/resnet", "deep_v2/densenet", "deep_v2/hybrid"])
def test_every_option_trains_a_step(name: str, attention: str, separable: bool) -> None:
    torch.manual_seed(0)
    sizes = {"growth": 8, "depth": 1} if name == "deep_v2/densenet" else {"width": 8, "depth": 1}
    options = {"attention": attention, "separable": separable, **sizes}
    net = models.create(name, num_classes=3, image_shape=(28, 28), **options)
    x, y = torch.rand(12, 1, 28, 28), torch.arange(12) % 3
    before = [parameter.detach().clone() for parameter in net.parameters()]
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    for _ in range(2):  # what self-attention learns with starts at zero strength
        loss = nn.functional.cross_entropy(net(x), y)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    assert torch.isfinite(loss)
    assert all(parameter.grad is not None for parameter in net.parameters())
    assert all(not torch.equal(old, new) for old, new in zip(before, net.parameters(), strict=True))


def test_separable_convolutions_have_fewer_parameters() -> None:
    whole, parts = (
        models.parameter_count(models.create("deep_v2/resnet", num_classes=3, image_shape=(28, 28), separable=flag))
        for flag in (False, True)
    )
    assert parts < whole / 3


def test_an_unknown_attention_is_refused_with_the_choices() -> None:
    with pytest.raises(UsageError) as caught:
        models.create("deep_v2/resnet", num_classes=3, image_shape=(28, 28), attention="cbma")
    assert "cbam" in caught.value.hint


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_attention_keeps_shapes(attention: str) -> None:
    for side in (1, 3, 14, 30):
        maps = torch.rand(2, 24, side, side)
        assert ATTENTION[attention](24)(maps).shape == maps.shape


def test_self_attention_starts_as_the_identity() -> None:
    maps = torch.rand(2, 8, 7, 7)
    assert torch.equal(ATTENTION["self"](8)(maps), maps)


def test_stochastic_depth_drops_whole_samples_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    layer = StochasticDepth(0.25)
    y = layer(torch.ones(8_000, 3, 2))
    per_sample = y.flatten(1)
    assert bool((per_sample == per_sample[:, :1]).all())
    assert y.mean().item() == pytest.approx(1.0, abs=0.03)
    assert torch.equal(layer.eval()(torch.ones(5, 2)), torch.ones(5, 2))
