"""Weights stored in half precision: half the size, and the same classifier in both files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from inksight import bundle, models
from inksight.models.preprocess import Preprocess


@pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")  # raised inside torch's own exporter
def test_half_precision_weights_hold_what_the_graph_holds(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = models.create("simple_cnn", num_classes=3, image_shape=(28, 28))
    preprocessing = Preprocess.from_spec(models.get("simple_cnn"), (28, 28)).description
    folder = bundle.save(
        tmp_path / "half",
        net,
        architecture={"name": "simple_cnn", "options": {}},
        classes=["a", "b", "c"],
        preprocessing=preprocessing | {"kind": "drawing"},
        storage="float16",
    )
    count = models.parameter_count(net)
    assert 2 * count < (folder / "model.safetensors").stat().st_size < 2 * count + 2_000
    images = np.random.default_rng(0).integers(0, 256, (64, 28, 28), dtype=np.uint8)
    onnx, pytorch = bundle.load(folder), bundle.load(folder, runtime="torch")
    np.testing.assert_allclose(onnx.predict_proba(images), pytorch.predict_proba(images), atol=1e-4)
