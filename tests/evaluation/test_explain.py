"""Explanations against planted signals: a model that looks at one corner only, a stroke that decides."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from inksight import drawing, models
from inksight.bundle import Classifier
from inksight.bundle.network import Network
from inksight.data import at_once
from inksight.drawing.render import render_layers
from inksight.errors import NotFoundError, UsageError
from inksight.evaluation import explain as module
from inksight.evaluation.explain import explain, explain_file, explain_files, explain_many, explain_strokes
from inksight.evaluation.gradcam import gradient_maps
from inksight.models.preprocess import Preprocess


class Corner(nn.Module):
    """Logits (no, yes) from a convolution's map, of which only the top left quarter is read."""

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        convolution = nn.Conv2d(channels, 4, 3, padding=1, bias=False)
        nn.init.constant_(convolution.weight, 0.1)
        self.features = nn.Sequential(convolution, nn.ReLU(inplace=True), nn.MaxPool2d(2))

    def forward(self, x: Tensor) -> Tensor:
        maps = self.features(x)
        quarter = maps[:, :, : maps.shape[2] // 2, : maps.shape[3] // 2].mean(dim=(1, 2, 3))
        return torch.stack([torch.full_like(quarter, 0.3), 8 * quarter], dim=1)


def classifier(model: nn.Module, shape: tuple[int, ...], classes: list[str]) -> Classifier:
    """Return a stand-in for a loaded bundle around a PyTorch model."""
    size, channels = list(shape[:2]), 1 if len(shape) == 2 else 3
    kind = "drawing" if len(shape) == 2 else "photo"
    description = {"input_shape": list(shape), "size": size, "channels": channels, "mean": [0.0], "std": [1.0]}
    network = Network(Preprocess(description), model).eval()

    def predict_proba(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            return cast("npt.NDArray[np.float32]", network(torch.from_numpy(np.array(images))).numpy())

    return cast(
        "Classifier",
        SimpleNamespace(
            name="planted", kind=kind, classes=classes, image_shape=shape, predict_proba=predict_proba,
            network=lambda: network, description={"preprocessing": description, "kind": kind},
        ),
    )  # fmt: skip


def scribbles(count: int, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    images = np.random.default_rng(0).integers(60, 256, (count, *shape), dtype=np.uint8)
    images.setflags(write=False)  # as Pillow's are
    return images


@pytest.mark.parametrize("shape", [(28, 28), (40, 40, 3)])
@pytest.mark.parametrize("method", ["grad-cam", "occlusion"])
def test_heat_lies_where_the_model_looks(shape: tuple[int, ...], method: str) -> None:
    model = classifier(Corner(1 if len(shape) == 2 else 3), shape, ["no", "yes"])
    for found in explain_many(model, scribbles(3, shape), method=method):
        assert found.label == "yes"
        assert found.method == method
        assert found.heat.shape == shape[:2]
        assert found.heat.max() == pytest.approx(1)
        half = shape[0] // 2
        # A patch or a blurred map reaches a little over the quarter's edge.
        assert found.heat[: half + 4, : half + 4].sum() > 0.9 * found.heat.sum()
        assert found.picture(64).shape == (64, 64, 3)


def test_averaged_gradients_point_where_the_model_is_blind() -> None:
    images = scribbles(3, (28, 28))
    network = classifier(Corner(), (28, 28), ["no", "yes"]).network()
    yes = np.ones(3, np.int64)
    averaged, kept = (gradient_maps(network, images, yes, in_place=flag) for flag in (False, True))
    assert averaged is not None
    assert kept is not None
    assert averaged[:, 18:, 18:].mean() > 0.3
    assert kept[:, 18:, 18:].max() == 0


def test_global_pooling_makes_both_kinds_of_gradient_the_same() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3)
    )
    network = classifier(model, (28, 28), ["a", "b", "c"]).network()
    images, targets = scribbles(4, (28, 28)), np.array([0, 1, 2, 0])
    averaged, kept = (gradient_maps(network, images, targets, in_place=flag) for flag in (False, True))
    assert averaged is not None
    assert kept is not None
    np.testing.assert_allclose(averaged, kept, atol=1e-5)


def test_a_crop_is_put_back_in_its_place() -> None:
    description = {
        "input_shape": [40, 40, 3], "crop": [20, 20], "size": [30, 30], "channels": 3, "mean": [0.0], "std": [1.0],
    }  # fmt: skip
    network = Network(Preprocess(description), Corner(3)).eval()
    heat = gradient_maps(network, scribbles(1, (40, 40, 3)), np.array([1]))
    assert heat is not None
    assert heat[0, :10].max() == heat[0, :, 30:].max() == 0
    assert heat[0, 10:22, 10:22].sum() > 0.9 * heat.sum()


def test_images_are_explained_few_at_a_time_and_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    network = classifier(Corner(1), (28, 28), ["no", "yes"]).network()
    images, targets = scribbles(5, (28, 28)), np.array([0, 1, 1, 0, 1])
    together = gradient_maps(network, images, targets)
    monkeypatch.setattr(at_once, "EXPLAINED", 2 * 28 * 28)
    seen: list[int] = []
    network.model.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    apart = gradient_maps(network, images, targets)
    assert seen == [2, 2, 1]
    assert together is not None
    assert apart is not None
    np.testing.assert_allclose(apart, together, atol=1e-5)


def test_a_model_without_maps_is_explained_by_occlusion() -> None:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(784, 2))
    model = classifier(flat, (28, 28), ["no", "yes"])
    assert explain(model, scribbles(1, (28, 28))[0]).method == "occlusion"
    with pytest.raises(UsageError, match="no convolutional maps"):
        explain(model, scribbles(1, (28, 28))[0], method="grad-cam")


@pytest.mark.parametrize(
    ("name", "shape", "maps"),
    [
        ("balanced_cnn", (28, 28), True),
        ("sketchnet-s", (28, 28), True),
        ("deep_v1_residual", (28, 28), True),
        ("deep_v2/hybrid", (28, 28), True),
        ("transfer/efficientnet_lite0", (96, 96, 3), True),
        ("transfer/resnet50", (64, 64, 3), False),  # ends in maps of 2x2
        ("transfer/resnet50", (128, 128, 3), True),
    ],
)
def test_every_family_has_maps_that_move_its_answer(name: str, shape: tuple[int, ...], maps: bool) -> None:
    torch.manual_seed(0)
    spec = models.get(name)
    options = {"pretrained": False} if "pretrained" in spec.options else {}
    model = models.create(name, num_classes=4, image_shape=shape, **options)
    network = Network(Preprocess.from_spec(spec, shape), model).eval()
    heat = gradient_maps(network, np.repeat(scribbles(1, shape), 4, axis=0), np.arange(4))
    assert (heat is not None) == maps
    if heat is not None:
        assert heat.max() == pytest.approx(1)
        assert not np.allclose(heat[0], heat[1])


def test_another_class_can_be_asked_for_and_unknown_ones_are_refused(tmp_path: Path) -> None:
    model = classifier(Corner(), (28, 28), ["no", "yes"])
    blank = np.zeros((28, 28), np.uint8)
    assert explain(model, blank).label == "no"
    asked = explain(model, blank, label="yes", method="occlusion")
    assert asked.label == "yes"
    assert not asked.heat.any()
    with Image.open(asked.save(tmp_path / "seen.png")) as saved:
        assert saved.size == (448, 448)
    with pytest.raises(NotFoundError, match="unknown class 'yea'"):
        explain(model, blank, label="yea")
    with pytest.raises(NotFoundError, match="unknown method"):
        explain(model, blank, method="lime")


# The frame's other strokes are to the right and below; the first alone lies in the corner that the model reads.
STROKES = [
    [[0, 40, 80, 90], [0, 60, 20, 90]],
    [[255, 250, 255], [0, 130, 255]],
    [[120, 200], [250, 255]],
]


def test_the_stroke_that_matters_is_found(tmp_path: Path) -> None:
    model = classifier(Corner(), (28, 28), ["no", "yes"])
    found = explain_strokes(model, STROKES, label="yes")
    assert found.importance.argmax() == 0
    assert found.without[0] < found.probability
    np.testing.assert_allclose(found.without[1:], found.probability, atol=0.02)
    assert found.picture(96).shape == (96, 96, 3)
    found.save(tmp_path / "strokes.png")
    red = found.picture(300).astype(int)
    spots = np.argwhere(red[..., 0] - red[..., 2] > 60)
    assert len(spots) > 50
    assert spots.max() < 170


def test_layers_painted_over_one_another_are_the_drawing() -> None:
    layers = render_layers(STROKES)
    whole = 255 * (1 - (1 - layers / 255).prod(axis=0))
    assert np.abs(whole - drawing.render(STROKES).astype(float)).max() <= 1
    assert layers.shape == (3, 28, 28)
    assert render_layers([]).shape == (0, 28, 28)


def test_a_single_stroke_and_a_photo_model() -> None:
    found = explain_strokes(classifier(Corner(), (28, 28), ["no", "yes"]), STROKES[:1])
    assert len(found.importance) == 1
    with pytest.raises(UsageError, match="takes photos"):
        explain_strokes(classifier(Corner(3), (40, 40, 3), ["no", "yes"]), STROKES)


def test_files_of_both_kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = classifier(Corner(), (28, 28), ["no", "yes"])
    lines = tmp_path / "two.ndjson"
    lines.write_text('{"drawing": [[[0, 255], [0, 9]]]}\n{"drawing": [[[5], [5]]]}\n')
    assert len(cast("Any", explain_file(model, lines)).importance) == 1
    one = tmp_path / "one.json"
    one.write_text('{"strokes":\n [[[0, 255], [0, 9]], [[0, 9], [7, 255]]]}')
    assert len(cast("Any", explain_file(model, one)).importance) == 2
    picture = tmp_path / "picture.png"
    Image.fromarray(255 - scribbles(1, (60, 60))[0]).save(picture)
    asked: Callable[..., Any] = lambda classifier, path: path  # noqa: E731
    monkeypatch.setattr(module, "explain", asked)
    assert explain_file(model, picture) == picture  # type: ignore[comparison-overlap]


def test_the_option_of_predict_takes_one_file(tmp_path: Path) -> None:
    model = classifier(Corner(), (28, 28), ["no", "yes"])
    one = tmp_path / "one.json"
    one.write_text('{"strokes": [[[0, 255], [0, 9]], [[0, 9], [7, 255]]]}')
    with Image.open(explain_files(model, [str(one)], tmp_path / "seen.png")) as saved:
        assert saved.size == (448, 448)
    for wrong in ([str(one), str(one)], [str(tmp_path)], []):
        with pytest.raises(UsageError, match="exactly one"):
            explain_files(model, wrong, tmp_path / "none.png")
    with pytest.raises(UsageError, match="exactly one"):
        explain_files(model, [str(one)], tmp_path / "none.png", 2)
    np.save(tmp_path / "one.npy", scribbles(1, (28, 28)).reshape(1, 784))
    with Image.open(explain_files(model, [str(tmp_path / "one.npy")], tmp_path / "seen.png")) as saved:
        assert saved.size == (448, 448)


def test_coarse_maps_of_drawings_give_way_to_occlusion() -> None:
    coarse = nn.Sequential(
        nn.Conv2d(1, 4, 7, stride=7), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    model = classifier(coarse, (28, 28), ["no", "yes"])
    picture = scribbles(1, (28, 28))[0]
    assert explain(model, picture).method == "occlusion"
    assert explain(model, picture, method="grad-cam").method == "grad-cam"
    assert explain(classifier(Corner(), (28, 28), ["no", "yes"]), picture).method == "grad-cam"
