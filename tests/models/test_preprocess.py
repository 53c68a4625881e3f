"""Preprocessing: against Pillow for resizing, against arithmetic for the rest, and through ONNX."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from inksight import models
from inksight.errors import UsageError
from inksight.models.preprocess import Preprocess, resize_matrix


def describe(input_shape: list[int], size: list[int], channels: int, **more: object) -> dict[str, object]:
    return {"input_shape": input_shape, "size": size, "channels": channels, "mean": [0.0], "std": [1.0], **more}


@given(st.integers(1, 60), st.integers(1, 60))
def test_resizing_keeps_a_constant_image(before: int, after: int) -> None:
    np.testing.assert_allclose(resize_matrix(before, after).sum(axis=1), 1.0, rtol=1e-5)


@pytest.mark.parametrize("size", [(14, 14), (28, 28), (50, 41), (20, 64)])
def test_resizing_agrees_with_pillow(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (28, 31), dtype=np.uint8)
    ours = Preprocess(describe([28, 31], list(size), 1))(torch.from_numpy(image)[None])[0, 0].numpy() * 255
    floats = Image.fromarray(image.astype(np.float32))
    theirs = np.asarray(floats.resize((size[1], size[0]), Image.Resampling.BILINEAR))
    np.testing.assert_allclose(ours, theirs, atol=0.01)


def test_normalises_per_channel() -> None:
    image = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8))
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    ours = Preprocess(describe([8, 8, 3], [8, 8], 3) | {"mean": mean, "std": std})(image)
    expected = (image.permute(0, 3, 1, 2) / 255 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)


def test_crops_the_middle() -> None:
    image = torch.arange(100, dtype=torch.uint8).view(1, 10, 10)
    ours = Preprocess(describe([10, 10], [4, 6], 1, crop=[4, 6]))(image)
    torch.testing.assert_close(ours[0, 0] * 255, image[0, 3:7, 2:8].float())


def test_a_drawing_becomes_three_equal_channels_and_a_photo_its_luma() -> None:
    drawing = torch.full((1, 4, 4), 51, dtype=torch.uint8)
    assert torch.allclose(Preprocess(describe([4, 4], [4, 4], 3))(drawing), torch.full((1, 3, 4, 4), 0.2))
    red = torch.zeros(1, 4, 4, 3, dtype=torch.uint8)
    red[..., 0] = 255
    assert torch.allclose(Preprocess(describe([4, 4, 3], [4, 4], 1))(red), torch.full((1, 1, 4, 4), 0.299))


def test_the_description_builds_the_same_again() -> None:
    first = Preprocess.from_spec(models.get("simple_cnn"), (28, 28))
    again = Preprocess(first.description)
    images = torch.randint(0, 256, (3, 28, 28), dtype=torch.uint8)
    assert torch.equal(first(images), again(images))
    assert first.state_dict() == {}


@pytest.mark.parametrize(
    "wrong",
    [{"crop": [9, 9]}, {"channels": 2}, {"std": [0.0]}, {"mean": [0.1, 0.2]}, {"size": [0, 8]}, {"input_shape": [8]}],
)
def test_contradictions_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises((UsageError, IndexError)):
        Preprocess(describe([8, 8], [8, 8], 1) | wrong)


@pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")  # raised inside torch's own exporter
@pytest.mark.parametrize("shape", [(28, 28), (40, 40, 3)])
def test_it_survives_onnx(shape: tuple[int, ...], tmp_path: Path) -> None:
    import onnxruntime

    preprocess = Preprocess(describe(list(shape), [32, 32], 3)).eval()
    images = torch.randint(0, 256, (2, *shape), dtype=torch.uint8)
    batch = torch.export.Dim("batch", min=1)
    path = tmp_path / "preprocess.onnx"
    torch.onnx.export(preprocess, (images,), path, dynamo=True, dynamic_shapes=({0: batch},), verbose=False)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    images = torch.randint(0, 256, (5, *shape), dtype=torch.uint8)
    (ours,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    np.testing.assert_allclose(ours, preprocess(images).numpy(), atol=1e-4)
