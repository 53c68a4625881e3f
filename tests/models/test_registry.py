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
