"""The registry: names without torch, clear errors, options that are checked."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from inksight import models
from inksight.errors import NotFoundError, UsageError


def test_names_do_not_import_torch() -> None:
    code = "import sys; from inksight import models; assert models.names(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(NotFoundError) as caught:
        models.create("simple-cnn", num_classes=3, image_shape=(28, 28))
    assert "simple_cnn" in caught.value.hint


def test_an_unknown_option_is_answered_with_the_nearest() -> None:
    with pytest.raises(NotFoundError) as caught:
        models.create("simple_cnn", num_classes=3, image_shape=(28, 28), dropuot=0.1)
    assert "dropout" in caught.value.hint


def test_options_are_converted_and_refused() -> None:
    net = models.create("simple_cnn", num_classes=3, image_shape=(28, 28), dropout="0.1")
    assert any(isinstance(part, torch.nn.Dropout) and part.p == 0.1 for part in net.modules())
    with pytest.raises(UsageError, match="dropout"):
        models.create("simple_cnn", num_classes=3, image_shape=(28, 28), dropout="much")


def test_no_class_is_refused() -> None:
    with pytest.raises(UsageError):
        models.create("simple_cnn", num_classes=0, image_shape=(28, 28))


def test_a_name_is_registered_once() -> None:
    with pytest.raises(ValueError, match="exists"):
        models.register(models.get("simple_cnn"))


@pytest.mark.parametrize("name", models.names())
def test_every_entry_is_documented(name: str) -> None:
    spec = models.get(name)
    assert spec.summary.endswith(".")
    assert all(option.help.endswith(".") for option in spec.options.values())


def test_an_option_that_the_model_decides_is_still_checked() -> None:
    spec = models.get("shallow")
    assert spec.resolve({})["hog"] is None
    assert spec.resolve({"hog": "false"})["hog"] is False
    assert spec.resolve({"classifier": "none"})["classifier"] is None
    assert models.get("transfer/resnet18").resolve({"dropout": "0.3"})["dropout"] == 0.3
    with pytest.raises(UsageError, match="classifier"):
        spec.resolve({"classifier": "tree"})


def numbers(name: str) -> dict[str, models.Option]:
    options = models.get(name).options
    return {key: option for key, option in options.items() if (option.kind or type(option.default)) in (int, float)}


@pytest.mark.parametrize("name", models.names())
def test_numbers_out_of_range_are_named(name: str) -> None:
    for key, option in numbers(name).items():
        least = option.more_than if option.at_least is None else option.at_least
        assert least is not None
        assert option.at_most is not None
        for bound, wrong, word in ((least, least - 1, "small"), (option.at_most, option.at_most + 1, "large")):
            with pytest.raises(UsageError, match=rf"model option {key}: {wrong}\S* is too {word}") as caught:
                models.get(name).resolve({key: str(wrong)})
            assert str(bound) in caught.value.hint


@pytest.mark.parametrize("name", ["deep_v2/resnet", "deep_v2/densenet", "deep_v2/hybrid", "shallow"])
@pytest.mark.parametrize("shape", [(28, 28), (64, 64, 3)])
def test_the_smallest_numbers_build(name: str, shape: tuple[int, ...]) -> None:
    least = {key: option.at_least for key, option in numbers(name).items() if option.at_least is not None}
    net = models.create(name, num_classes=3, image_shape=shape, **least).eval()
    assert net(torch.rand(2, shape[2] if len(shape) == 3 else 1, *shape[:2])).shape == (2, 3)
