"""The classical models: features against scikit-image, classifiers against scikit-learn, the same bits in ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage.color import rgb2hsv
from skimage.feature import hog, local_binary_pattern
from sklearn.ensemble import RandomForestClassifier
from sklearn.svm import SVC

from inksight import models
from inksight.bundle import load, save
from inksight.errors import UsageError
from inksight.models.preprocess import Preprocess
from inksight.models.shallow import CLASSIFIERS, Forest, Rbf, Shallow, plain
from inksight.models.shallow_features import Colour, Features, Hog, Lbp, Shrink
from inksight.models.shallow_fit import _fit_forest, _fit_rbf, fit


def pictures(count: int, shape: tuple[int, ...], seed: int = 0) -> NDArray[np.uint8]:
    """Return random pictures that are smooth in places."""
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (count, *shape), dtype=np.uint8)
    images[:, : shape[0] // 3] = 0
    return images


def tensor(images: NDArray[np.uint8]) -> torch.Tensor:
    x = torch.from_numpy(images).float()
    return x.permute(0, 3, 1, 2) if x.dim() == 4 else x.unsqueeze(1)


@pytest.mark.parametrize("shape", [(28, 28), (64, 64), (30, 41), (64, 64, 3)])
@pytest.mark.parametrize(("cell", "block"), [(7, 2), (8, 2), (4, 3), (5, 1)])
def test_hog_is_scikit_images(shape: tuple[int, ...], cell: int, block: int) -> None:
    images = pictures(4, shape)
    given = Hog((shape[0], shape[1]), 9, cell, block)(tensor(images)).numpy()
    axis = -1 if len(shape) == 3 else None
    expected = [
        hog(image, 9, pixels_per_cell=(cell, cell), cells_per_block=(block, block), channel_axis=axis)
        for image in images
    ]
    np.testing.assert_allclose(given, expected, atol=1e-4)  # magnitudes are in steps of 1/64 grey level


@pytest.mark.parametrize(("radius", "points"), [(1, 8), (2, 16), (3, 12)])
def test_lbp_is_scikit_images(radius: int, points: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 40, 33), dtype=np.uint8)
    given = Lbp((40, 33), radius, points, 1)(tensor(images)).numpy()
    codes = [
        local_binary_pattern(image, points, radius, "uniform").astype(int)  # type: ignore[no-untyped-call]
        for image in images
    ]
    expected = [np.bincount(code.ravel(), minlength=points + 2) / code.size for code in codes]
    # Weights are multiples of 1/256, so a neighbour within a grey level's 1/256 of the centre may count otherwise.
    np.testing.assert_allclose(given, expected, atol=2 / codes[0].size)


def test_colour_histograms_are_those_of_scikit_images_hsv() -> None:
    images = pictures(4, (32, 32, 3))
    given = Colour((32, 32), 3, 16, 1)(tensor(images)).numpy().reshape(4, 3, 16)
    hsv = [rgb2hsv(image) for image in images]
    expected = [[np.histogram(one[..., c], 16, (0, 1))[0] / 1024 for c in range(3)] for one in hsv]
    np.testing.assert_allclose(given, expected, atol=2.5 / 1024)
    np.testing.assert_allclose(given.sum(axis=2), 1, atol=1e-5)


def test_shrinking_keeps_whole_numbers_and_flat_pictures() -> None:
    shrink = Shrink((100, 80), 64)
    flat = torch.full((1, 3, 100, 80), 77.0)
    assert torch.equal(shrink(flat), torch.full((1, 3, 64, 64), 77.0))
    small = shrink(tensor(pictures(2, (100, 80, 3))))
    assert torch.equal(small, small.round())
    assert small.min() >= 0
    assert small.max() <= 255


def test_features_are_optional_but_not_all_of_them() -> None:
    x = torch.rand(2, 3, 32, 32)
    parts = ("hog", "lbp", "colour")
    sizes = [Features((3, 32, 32), **{part: part != name for part in parts}).size for name in parts]
    whole = Features((3, 32, 32), hog=True)
    assert whole(x).shape == (2, whole.size)
    assert all(size < whole.size for size in sizes)
    assert Features((3, 32, 32)).hog is None
    assert Features((1, 32, 32)).hog is not None
    with pytest.raises(UsageError, match="no features"):
        Features((1, 28, 28), hog=False, lbp=False, colour=False)
    with pytest.raises(UsageError, match="hog_cell"):
        Features((1, 28, 28), hog_cell=20)


def blobs(classes: int, count: int = 300, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    random = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    centres = np.random.default_rng(9).normal(0, 1.2, (classes, 6))
    return (centres[labels] + random.normal(0, 1, (count, 6))).astype(np.float32), labels.astype(np.int64)


class Stub(Shallow):
    """A shallow model whose features are given."""

    def __init__(self, classes: int, classifier: str, **options: Any) -> None:
        super().__init__(num_classes=classes, input_shape=(1, 28, 28), classifier=classifier, **options)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_the_rbf_svm_decides_as_scikit_learns(classes: int) -> None:
    x, y = blobs(classes)
    other, _ = blobs(classes, seed=1)
    model = Stub(classes, "rbf_svm", gamma=0.2, penalty=3.0)
    _fit_rbf(model, x, y, None, 0, lambda line: None)
    reference = SVC(C=3.0, gamma=0.2, decision_function_shape="ovo").fit(x, y)
    expected = reference.decision_function(other)
    if classes == 2:
        expected = -expected[:, None]  # positive means the second class there, the first here
    assert isinstance(model.head, Rbf)
    np.testing.assert_allclose(model.head.decisions(torch.from_numpy(other)).numpy(), expected, atol=1e-4)
    model.head.hold(steepness=np.array([1e4]))  # votes as hard as libsvm's
    answers = model.head(torch.from_numpy(other)).argmax(dim=1).numpy()
    assert (answers == reference.predict(other)).mean() > 0.98  # ties between classes may go either way


def test_the_forest_votes_as_scikit_learns() -> None:
    x, y = blobs(4)
    other, _ = blobs(4, seed=1)
    model = Stub(4, "forest", trees=20, depth=7, leaf=2)
    _fit_forest(model, x, y, None, 0, lambda line: None)
    reference = RandomForestClassifier(20, max_depth=7, min_samples_leaf=2, random_state=0).fit(x, y)
    assert isinstance(model.head, Forest)
    np.testing.assert_allclose(
        model.head.votes(torch.from_numpy(other)).numpy(), reference.predict_proba(other), atol=1e-6
    )


@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_calibration_leaves_rare_classes_the_weight_that_they_were_given(classifier: str) -> None:
    def overlapping(seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Return 900 and 60 images of six pixels, whose classes differ by half a standard deviation in each."""
        labels = np.repeat([0, 1], [900, 60])
        values = np.random.default_rng(seed).normal(0.5 * labels[:, None], 1, (960, 6))
        return np.clip(128 + 25 * values, 0, 255).astype(np.uint8).reshape(-1, 2, 3), labels

    def recalls(weights: NDArray[np.float32] | None) -> list[float]:
        model = Stub(2, classifier, gamma=0.05, trees=50, depth=4, leaf=5)
        model.features = torch.nn.Flatten()  # type: ignore[assignment]
        fit(model, *overlapping(0), *overlapping(1), weights=weights)
        images, labels = overlapping(2)
        right = model(plain(torch.from_numpy(images))).argmax(dim=1).numpy() == labels
        return [float(right[labels == label].mean()) for label in (0, 1)]

    assert recalls(None)[1] < 0.3
    assert min(recalls(np.array([960 / 1800, 960 / 120], np.float32))) > 0.5


def drawings(count: int, seed: int, shape: tuple[int, ...]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return noisy pictures of three classes: upright, level and slanting bars."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, count)
    images = random.integers(0, 60, (count, *shape), dtype=np.uint8)
    y, x = np.mgrid[: shape[0], : shape[1]]
    for image, label in zip(images, labels, strict=True):
        along = (x, y, x + y)[label] + random.integers(0, 8)
        image[along % 9 < 2] += np.uint8(random.integers(20, 150))
    return images, labels


@pytest.mark.parametrize(
    ("classifier", "shape"),
    [*((name, (28, 28)) for name in CLASSIFIERS), ("forest", (80, 80, 3)), ("rbf_svm", (28, 28, 3))],
)
def test_every_classifier_learns_is_calibrated_and_ships(
    tmp_path: Path, classifier: str, shape: tuple[int, ...]
) -> None:
    options = {"classifier": classifier, "trees": 20, "hog": True}
    model = models.create("shallow", num_classes=3, image_shape=shape, **options)
    assert isinstance(model, Shallow)
    assert torch.allclose(torch.softmax(model(torch.zeros(1, len(shape) * 2 - 3, *shape[:2])), 1), torch.tensor(1 / 3))
    images, labels = drawings(150, 0, shape)
    val, val_labels = drawings(100, 1, shape)
    fit(model, images, labels, val, val_labels)
    preprocess = Preprocess.from_spec(models.get("shallow"), shape)
    folder = save(
        tmp_path / "b",
        model,
        architecture={"name": "shallow", "options": options},
        classes=["upright", "level", "slanting"],
        preprocessing=preprocess.description,
        samples=val,
    )
    bundle = load(folder)
    assert bundle.description["parity"]["top1_changes"] == 0
    assert bundle.description["architecture"]["parameters"] > 0
    test, test_labels = drawings(100, 2, shape)
    probabilities = bundle.predict_proba(test)
    assert (probabilities.argmax(axis=1) == test_labels).mean() > 0.9
    assert -np.log(probabilities[np.arange(100), test_labels]).mean() < 0.4
    np.testing.assert_allclose(load(folder, runtime="torch").predict_proba(test), probabilities, atol=1e-4)


def test_far_from_the_margin_nothing_overflows_in_either_runtime(tmp_path: Path) -> None:
    model = models.create("shallow", num_classes=3, image_shape=(28, 28), classifier="rbf_svm")
    images, labels = drawings(150, 0, (28, 28))
    assert isinstance(model, Shallow)
    fit(model, images, labels, images[:60], labels[:60])
    # Decisions of several hundred: log(sigmoid(x)) is -inf there, as a model of 4,000 clean digits found out.
    head = model.head
    assert isinstance(head, Rbf)
    head.hold(steepness=np.full(3, 1000.0))
    folder = save(
        tmp_path / "b",
        model,
        architecture={"name": "shallow", "options": {"classifier": "rbf_svm"}},
        classes=["upright", "level", "slanting"],
        preprocessing=Preprocess.from_spec(models.get("shallow"), (28, 28)).description,
        samples=images,
    )
    assert np.isfinite(load(folder).predict_proba(images)).all()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning")  # torch about its own pytree
def test_real_drawings_are_calibrated_without_losing_digits(shared_data: Path, tmp_path: Path) -> None:
    files = sorted((shared_data / "quickdraw" / "full" / "numpy_bitmap").glob("*.npy"))
    files = [file for file in files if len(np.load(file, mmap_mode="r")) >= 500][:10]
    order = np.random.default_rng(0).permutation(5000)
    images = np.concatenate([np.load(file, mmap_mode="r")[:500] for file in files]).reshape(-1, 28, 28)[order]
    labels = np.repeat(np.arange(10), 500)[order]
    model = models.create("shallow", num_classes=10, image_shape=(28, 28), classifier="rbf_svm")
    assert isinstance(model, Shallow)
    fit(model, images[:4000], labels[:4000], images[4000:], labels[4000:])
    save(  # refuses a graph whose probabilities are off by more than 1e-4
        tmp_path / "b",
        model,
        architecture={"name": "shallow", "options": {"classifier": "rbf_svm"}},
        classes=[file.stem for file in files],
        preprocessing=Preprocess.from_spec(models.get("shallow"), (28, 28)).description,
        samples=images[4000:],
    )


@pytest.mark.filterwarnings("ignore::FutureWarning")  # torch about its own pytree
def test_features_have_the_same_bits_in_both_runtimes(tmp_path: Path) -> None:
    """A forest changes its answer at a threshold, so nearly the same would not be enough."""
    onnxruntime = pytest.importorskip("onnxruntime")
    features = Features((3, 80, 80), hog=True).eval()
    images = torch.from_numpy(pictures(20, (3, 80, 80))).float() / 255
    torch.onnx.export(features, (images[:2],), tmp_path / "f.onnx", dynamo=True, verbose=False,
                      dynamic_shapes=({0: torch.export.Dim("batch")},))  # fmt: skip
    session = onnxruntime.InferenceSession(tmp_path / "f.onnx")
    (given,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    np.testing.assert_array_equal(given, features(images).numpy())


def test_what_fit_asks_for() -> None:
    model = models.create("shallow", num_classes=3, image_shape=(28, 28), classifier="logistic")
    assert isinstance(model, Shallow)
    images, _ = drawings(10, 0, (28, 28))
    with pytest.raises(UsageError, match="no training image"):
        fit(model, images, np.zeros(10, np.int64), images[:0], np.zeros(0, np.int64))


def test_what_decides_follows_from_the_channels_and_size_is_told_without_zeros() -> None:
    photo = models.create("shallow", num_classes=3, image_shape=(64, 64, 3))
    drawing = models.create("shallow", num_classes=3, image_shape=(28, 28))
    assert isinstance(photo, Shallow)
    assert isinstance(drawing, Shallow)
    assert (photo.classifier, drawing.classifier) == ("forest", "rbf_svm")
    assert models.size_text(photo) == f"{photo.features.size:,} features for forest, 3 classes"
    assert models.size_text(models.create("simple_cnn", num_classes=20, image_shape=(28, 28))) == "50,836 parameters"
    images, labels = drawings(60, 0, (28, 28))
    fit(drawing, images, labels, images[:0], labels[:0])
    assert models.parameter_count(drawing) > 10_000
