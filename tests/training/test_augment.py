"""Augmentation: what it may and may not do to a picture."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch import Generator, Tensor

from inksight.settings import TrainSettings
from inksight.training.augment import DrawingAugmentation, build_augmentation, change_stroke_width


def pictures(n: int = 8, shape: tuple[int, ...] = (28, 28), seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype=np.uint8))


def generator(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


ranges = st.fixed_dictionaries(
    {
        "rotate": st.floats(0, 180),
        "shift": st.floats(0, 0.5),
        "zoom": st.floats(0, 0.9),
        "elastic": st.floats(0, 0.2),
        "stroke": st.floats(0, 1),
        "flip": st.booleans(),
    }
)
shapes = st.sampled_from([(28, 28), (20, 31), (28, 28, 3), (64, 40, 3)])


@settings(deadline=None, max_examples=60)
@given(options=ranges, shape=shapes, seed=st.integers(0, 1000))
def test_shape_and_range_are_kept(options: dict[str, float], shape: tuple[int, ...], seed: int) -> None:
    images = pictures(4, shape, seed)
    result = DrawingAugmentation(**options)(images, generator(seed))  # type: ignore[arg-type]
    assert result.shape == images.shape
    assert result.dtype == torch.float32
    assert float(result.min()) >= -1e-3
    assert float(result.max()) <= 255 + 1e-3


def test_strength_zero_changes_nothing() -> None:
    images = pictures()
    augment = build_augmentation(TrainSettings(augment=0, flip=True))
    assert augment(images, generator()) is images


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), shape=shapes)
def test_tiny_ranges_change_almost_nothing(seed: int, shape: tuple[int, ...]) -> None:
    images = pictures(3, shape, seed)
    tiny = DrawingAugmentation(rotate=1e-4, shift=1e-6, zoom=1e-6, elastic=1e-7, stroke=1e-6)
    torch.testing.assert_close(tiny(images, generator(seed)), images.float(), atol=0.1, rtol=0)


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10_000))
def test_ink_moved_out_never_wraps_around(seed: int) -> None:
    """Ink on the right edge, moved by at most 10 % of the side: the left half must stay blank."""
    images = torch.zeros(6, 28, 28, dtype=torch.uint8)
    images[:, :, 24:] = 255
    moved = DrawingAugmentation(rotate=10, shift=0.1, zoom=0.1)(images, generator(seed))
    assert float(moved[:, :, :14].max()) == 0


def test_rotation_by_a_known_angle_turns_the_picture() -> None:
    """With all images turned by up to 180 degrees, ink keeps its distance from the centre."""
    images = torch.zeros(64, 29, 29, dtype=torch.uint8)
    images[:, 14, 22:25] = 255
    turned = DrawingAugmentation(rotate=180)(images, generator()).numpy()
    rows, columns = np.mgrid[:29, :29] - 14
    distance = np.hypot(rows, columns)
    for picture in turned:
        assert (picture * distance).sum() / picture.sum() == pytest.approx(9.0, abs=0.3)
    angles = [np.arctan2((p * rows).sum(), (p * columns).sum()) for p in turned]
    assert np.std(angles) > 1  # and they are turned differently


def test_shape_is_kept_in_pictures_that_are_not_square() -> None:
    """A rotated disc stays a disc when height and width differ."""
    rows, columns = np.mgrid[:30, :60]
    disc = (np.hypot(rows - 14.5, columns - 29.5) < 8).astype(np.uint8) * 255
    turned = DrawingAugmentation(rotate=90)(torch.from_numpy(disc)[None].repeat(16, 1, 1), generator())
    assert float((turned - torch.from_numpy(disc).float()).abs().mean()) < 4


def test_flip_mirrors_about_half_and_nothing_else() -> None:
    images = pictures(200)
    flipped = DrawingAugmentation(flip=True)(images, generator())
    same = (flipped - images).abs().amax(dim=(1, 2)) < 0.1
    mirrored = (flipped - images.flip(2)).abs().amax(dim=(1, 2)) < 0.1
    assert bool((same ^ mirrored).all())
    assert 60 < int(mirrored.sum()) < 140


@pytest.mark.parametrize("amount", [1.0, -1.0])
def test_full_stroke_change_is_scipys_grey_morphology(amount: float) -> None:
    image = pictures(1)[0].numpy()
    got = change_stroke_width(torch.from_numpy(image).float()[None, None], torch.tensor([amount]))[0, 0].numpy()
    morphology = ndimage.grey_dilation if amount > 0 else ndimage.grey_erosion
    inner = slice(1, -1)
    np.testing.assert_array_equal(got[inner, inner], morphology(image, size=3)[inner, inner])


@settings(deadline=None)
@given(amount=st.floats(-1, 1), seed=st.integers(0, 100))
def test_more_is_thicker_and_less_is_thinner(amount: float, seed: int) -> None:
    image = pictures(1, seed=seed).float()[:, None]
    change = change_stroke_width(image, torch.tensor([amount])) - image
    assert float((change * np.sign(amount)).min()) >= -1e-3


def test_same_seed_same_pictures_and_images_differ_within_a_batch() -> None:
    images = pictures(1).repeat(4, 1, 1)
    augment = build_augmentation(TrainSettings())
    first, again = augment(images, generator(3)), augment(images, generator(3))
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert float((first[0] - first[1]).abs().mean()) > 1
