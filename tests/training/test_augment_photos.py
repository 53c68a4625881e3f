"""Augmentation of photos, and blends of pairs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance
from torch import Generator, Tensor

from inksight.settings import TrainSettings
from inksight.training.augment_photos import (
    OPERATIONS,
    PhotoAugmentation,
    build_mix,
    change_colours,
    middle,
    photo_augmentation,
)

POLICIES = ("jitter", "trivial", "rand")


def photos(n: int = 6, size: int = 40, seed: int = 0) -> Tensor:
    """Return smooth random pictures, uint8 (n, size, size, 3)."""
    coarse = torch.rand(n, 3, 5, 5, generator=Generator().manual_seed(seed))
    smooth = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")
    return (smooth * 255).permute(0, 2, 3, 1).to(torch.uint8)


def generator(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def nothing(**changes: float) -> dict[str, Tensor]:
    return {name: torch.tensor([changes.get(name, 0.0)]) for name in OPERATIONS}


@settings(deadline=None, max_examples=40)
@given(
    policy=st.sampled_from(POLICIES),
    strength=st.floats(0.01, 2),
    crop_min=st.floats(0.05, 1),
    seed=st.integers(0, 1000),
)
def test_shape_and_range(policy: str, strength: float, crop_min: float, seed: int) -> None:
    augment = PhotoAugmentation(crop=32, policy=policy, strength=strength, crop_min=crop_min)
    result = augment(photos(seed=seed), generator(seed))
    assert result.shape == (6, 32, 32, 3)
    assert result.dtype == torch.float32
    assert 0 <= float(result.min()) <= float(result.max()) <= 255


@pytest.mark.parametrize("policy", POLICIES)
def test_the_same_seed_gives_the_same_pictures(policy: str) -> None:
    augment = PhotoAugmentation(crop=32, policy=policy)
    first, again = augment(photos(), generator(4)), augment(photos(), generator(4))
    assert torch.equal(first, again)
    assert float((first - augment(photos(), generator(5))).abs().mean()) > 1


def test_without_any_change_it_is_the_picture_itself() -> None:
    augment = PhotoAugmentation(crop=40, strength=0, crop_min=1.0, flip=False)
    images = photos()
    # A crop of all the area may still be stretched by up to 4:3, so compare what a square crop gives.
    grid = augment(images, generator())
    assert grid.shape == images.shape
    strength_zero = photo_augmentation(TrainSettings(augment=0), 32)
    assert torch.equal(strength_zero(images, generator()), middle(images, 32))


def test_policies_draw_as_many_operations_as_they_say() -> None:
    for policy, count in (("trivial", 1), ("rand", 2), ("jitter", None)):
        amounts = PhotoAugmentation(crop=32, policy=policy).amounts(500, generator(), torch.device("cpu"))
        used = torch.stack([amounts[name] != 0 for name in OPERATIONS])
        if count is None:
            assert int(used.sum(0).min()) == 7  # all but the three that are no matrix
        else:
            assert set(used.sum(0).tolist()) == {count}
            assert float(used.float().mean(1).min()) > 0.5 * count / len(OPERATIONS)


@pytest.mark.parametrize("policy", POLICIES)
def test_rotation_and_shift_are_as_far_as_the_settings_say(policy: str) -> None:
    def furthest(**options: Any) -> list[float]:
        augment = photo_augmentation(TrainSettings(policy=policy, **options), 32)
        assert isinstance(augment, PhotoAugmentation)
        amounts = augment.amounts(20_000, generator(), torch.device("cpu"))
        share = 0.4 if policy == "rand" else 1.0  # this policy always goes to the same part of its ranges
        return [float(amounts[name].abs().max()) / share for name in ("turn", "move", "shear")]

    usual = [15.0, 0.04, 0.08] if policy == "jitter" else [30.0, 0.2, 0.3]
    assert furthest() == pytest.approx(usual, rel=0.01)
    assert furthest(rotate=60, shift=0.1, augment=0.5) == pytest.approx([30, 0.05, usual[2] / 2], rel=0.01)
    assert furthest(rotate=0, shift=0)[:2] == [0, 0]


@pytest.mark.parametrize("policy", POLICIES)
def test_the_strongest_augmentation_leaves_something_to_see(policy: str) -> None:
    augment = PhotoAugmentation(crop=32, policy=policy, strength=3)
    changed = augment(photos(1000), generator()).flatten(1)
    assert float((changed.amax(1) - changed.amin(1)).min()) > 1


def test_up_to_strength_1_amounts_are_the_published_ones() -> None:
    amounts = PhotoAugmentation(crop=32, policy="trivial").amounts(5000, generator(), torch.device("cpu"))
    ends = {"light": 0.5, "contrast": 0.6, "colour": 0.8, "posterize": 1.0}
    assert {name: -float(amounts[name].min()) for name in ends} == pytest.approx(ends, abs=0.02)


@pytest.mark.parametrize("amount", [-0.4, 0.3])
def test_brightness_contrast_and_saturation_are_pillows(amount: float) -> None:
    image = photos(1)[0].numpy() // 2 + 64  # away from the ends, where Pillow clips
    x = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    for name, enhancer in (
        ("light", ImageEnhance.Brightness),
        ("contrast", ImageEnhance.Contrast),
        ("colour", ImageEnhance.Color),
    ):
        expected = np.asarray(enhancer(Image.fromarray(image)).enhance(1 + amount)).astype(float)
        got = change_colours(x, nothing(**{name: amount}))[0].permute(1, 2, 0).numpy()
        assert np.abs(got - expected).max() < 2, name


def test_turning_the_hue_keeps_grey_and_brightness() -> None:
    x = photos(1).permute(0, 3, 1, 2).float()
    turned = change_colours(x, nothing(hue=60.0))
    luma = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    torch.testing.assert_close((turned * luma).sum(1), (x * luma).sum(1), atol=0.05, rtol=0)
    grey = torch.full((1, 3, 4, 4), 90.0)
    torch.testing.assert_close(change_colours(grey, nothing(hue=60.0)), grey, atol=0.05, rtol=0)
    assert float((turned - x).abs().max()) > 10


def test_mixup_blends_and_cutmix_pastes_by_the_share_they_return() -> None:
    # Image i is all i, so that every pixel tells where it comes from.
    images = torch.arange(8).float().view(8, 1, 1, 1).expand(8, 20, 20, 3)
    mixup, cutmix = build_mix(TrainSettings(mixup=0.4)), build_mix(TrainSettings(cutmix=1.0))
    assert mixup is not None
    assert cutmix is not None
    for seed in range(20):
        mixed, order, share = mixup(images, generator(seed))
        expected = share * torch.arange(8) + (1 - share) * order
        torch.testing.assert_close(mixed[:, 0, 0, 0], expected)
        mixed, order, share = cutmix(images, generator(seed))
        own = (mixed == images).float().mean(dim=(1, 2, 3))
        moved = order != torch.arange(8)
        torch.testing.assert_close(own[moved], torch.full_like(own[moved], share))
    assert build_mix(TrainSettings()) is None
