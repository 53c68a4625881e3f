"""Exports, quantisation, pruning and bench, on a small net that has really learnt something."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from typer.testing import CliRunner

from inksight import models
from inksight.bundle import Classifier, describe, load, save
from inksight.bundle.bench import bench
from inksight.bundle.compressing import compress
from inksight.bundle.exporting import FORMATS, export
from inksight.bundle.network import Network
from inksight.bundle.parity import batched, compare, parity_images, spread
from inksight.bundle.pruning import distill, prune
from inksight.bundle.timing import ROUNDS, take_turns
from inksight.cli import app
from inksight.data.dataset import Dataset, DatasetWriter, open_dataset
from inksight.errors import BundleError, ConflictError, GateError, NotFoundError, UsageError
from inksight.models.preprocess import Preprocess
from inksight.settings import BenchSettings, CompressSettings
from tests.bundle.conftest import CLASSES

runner = CliRunner()


def made_drawings(count: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return noisy bars at five places: classes that a small net learns in seconds, but not without error."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, len(CLASSES), count)
    images = random.integers(0, 120, (count, 28, 28), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        at = 3 + 5 * label + random.integers(-1, 2)
        strength = random.integers(60, 136)
        image[4:24, at : at + 2] += np.uint8(strength)
    return images, labels


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dataset]:
    path = tmp_path_factory.mktemp("data") / "bars.h5"
    with DatasetWriter(
        path, classes=CLASSES, image_shape=(28, 28), source="made", preprocessing={"kind": "drawing"}, seed=0
    ) as writer:
        for seed, (split, count) in enumerate([("train", 1500), ("val", 400), ("test", 400)]):
            images, labels = made_drawings(count, seed)
            writer.append(split, images, labels, [f"{split}/{i}" for i in range(count)])
    with open_dataset(path) as opened:
        yield opened


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, dataset: Dataset) -> Classifier:
    torch.manual_seed(0)
    module = models.create("simple_cnn", num_classes=len(CLASSES), image_shape=(28, 28))
    preprocess = Preprocess.from_spec(models.get("simple_cnn"), (28, 28))
    images, labels = dataset.load("train")
    distill(
        Network(preprocess, module),
        images,
        np.eye(len(CLASSES), dtype=np.float32)[labels],
        epochs=2,
        learning_rate=3e-3,
    )
    folder = save(
        tmp_path_factory.mktemp("bundles") / "bars",
        module,
        architecture={"name": "simple_cnn", "options": {}},
        classes=CLASSES,
        preprocessing=preprocess.description,
        dataset={"name": "bars", "sha256": dataset.sha256},
        samples=dataset.images("val")[:],
    )
    return load(folder)


def accuracy(model: Classifier, dataset: Dataset) -> float:
    images, labels = dataset.load("test")
    return float((model.predict_proba(images).argmax(axis=1) == labels).mean())


def test_the_net_has_learnt(trained: Classifier, dataset: Dataset) -> None:
    assert accuracy(trained, dataset) > 0.9


@pytest.mark.parametrize("format", [name for name in FORMATS if name not in ("openvino", "litert")])
def test_every_format_is_written_and_judged(trained: Classifier, dataset: Dataset, tmp_path: Path, format: str) -> None:
    out = tmp_path / f"model{FORMATS[format].suffix}"
    report = export(trained, format, out, data=dataset)
    assert [path.name for path in tmp_path.iterdir()] == [out.name]
    assert report["bytes"] == out.stat().st_size
    assert report["samples"] == 400
    assert abs(report["difference"]) < 0.02
    if FORMATS[format].exact:
        assert report["max_difference"] < 1e-4
        assert report["top1_changes"] == 0
    if "fp16" in format:
        assert report["bytes"] < 0.6 * report["bundle_bytes"]
    if "int8" in format:
        assert report["bytes"] < 0.4 * report["bundle_bytes"]
        graph = onnx.load(out)
        weights = [t for t in graph.graph.initializer if list(t.dims)[2:] == [3, 3]]
        assert weights
        assert all(t.data_type == onnx.TensorProto.INT8 for t in weights)
    with pytest.raises(ConflictError, match="exists"):
        export(trained, format, out, data=dataset)


def test_a_converter_that_talks_leaves_json_alone(
    trained: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = FORMATS["safetensors-fp16"]

    def talking(*rest: Any) -> Any:
        print("converting, step 1 of 3")  # as litert-torch does
        return plain.write(*rest)

    monkeypatch.setitem(FORMATS, "safetensors-fp16", replace(plain, write=talking))
    words = ["export", str(trained.folder), "--format", "safetensors-fp16", "--out", str(tmp_path / "m"), "--json"]
    done = runner.invoke(app, words)
    assert json.loads(done.stdout)["format"] == "safetensors-fp16"
    assert "step 1 of 3" in done.stderr


def test_what_litert_cannot_convert_is_told_without_a_traceback(
    trained: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def convert(*rest: Any) -> Any:
        raise ValueError("failed to legalize operation 'tfl.sqrt'\nand more")  # its answer to a shallow model

    monkeypatch.setitem(sys.modules, "litert_torch", SimpleNamespace(convert=convert))
    monkeypatch.setitem(sys.modules, "ai_edge_litert", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", SimpleNamespace(Interpreter=None))
    with pytest.raises(BundleError, match=r"cannot convert .*: failed to legalize operation 'tfl.sqrt'$") as caught:
        export(trained, "litert", tmp_path / "m.tflite")
    assert "onnx" in caught.value.hint
    assert not list(tmp_path.iterdir())


def test_openvino_gives_the_same_answers(trained: Classifier, dataset: Dataset, tmp_path: Path) -> None:
    pytest.importorskip("openvino", reason="the openvino extra is not installed")
    report = export(trained, "openvino", tmp_path / "m.xml", data=dataset)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.bin", "m.xml"]
    assert report["max_difference"] < 1e-4


def test_an_export_that_lies_is_refused_and_not_written(
    trained: Classifier, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dishonest(*_: Any) -> Any:
        return lambda images: np.full((len(images), len(CLASSES)), 0.2, np.float32)

    monkeypatch.setitem(FORMATS, "onnx", type(FORMATS["onnx"])(".onnx", True, dishonest))
    with pytest.raises(BundleError, match="refused: on 1,000 images"):  # made ones beside the few real ones
        export(trained, "onnx", tmp_path / "m.onnx", data=dataset)
    assert list(tmp_path.iterdir()) == []


def test_what_export_asks_for(trained: Classifier, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="calibrated on training images"):
        export(trained, "onnx-int8", tmp_path / "m.onnx")
    with pytest.raises(NotFoundError, match="onnx-int9") as caught:
        export(trained, "onnx-int9", tmp_path / "m.onnx")
    assert "onnx-int8" in caught.value.hint


def test_an_int8_bundle_loads_like_any_other(trained: Classifier, dataset: Dataset, tmp_path: Path) -> None:
    report = compress(trained, tmp_path / "small", dataset, CompressSettings(quantize="int8"))
    small = load(tmp_path / "small")
    assert small.description["precision"] == "int8"
    assert small.description["derived"][0]["step"] == "quantize"
    assert small.description["metrics"]["split"] == "test"
    assert small.description["metrics"]["accuracy"] == pytest.approx(accuracy(small, dataset), abs=1e-6)
    assert abs(accuracy(small, dataset) - accuracy(trained, dataset)) < 0.02
    assert report["after"]["bytes"] < 0.4 * report["before"]["bytes"]
    # The float weights stay in the bundle, for fine-tuning and for exact exports.
    images = dataset.images("test")[:50]
    exact = load(tmp_path / "small", runtime="torch").predict_proba(images)
    np.testing.assert_allclose(exact, trained.predict_proba(images), atol=1e-5)
    again = export(small, "onnx", tmp_path / "again.onnx", data=dataset)
    assert again["max_difference"] < 1e-4


@pytest.mark.parametrize("precision", ["int8", "float16"])
def test_a_quantised_bundle_tells_how_far_its_own_graph_is_off(
    trained: Classifier, dataset: Dataset, tmp_path: Path, precision: str
) -> None:
    compress(trained, tmp_path / "small", dataset, CompressSettings(quantize=precision))
    small = load(tmp_path / "small")
    images, made = parity_images(small.description, dataset.images("val"))
    measured = compare(
        batched(load(tmp_path / "small", runtime="torch").predict_proba, images),
        batched(small.predict_proba, images),
        real=True,
    )
    parity = small.description["parity"]
    assert parity["max_difference"] == pytest.approx(measured.max_difference, abs=1e-5)
    assert parity["max_difference"] > 1e-5
    assert (parity["samples"], parity["top1_changes"]) == (1000, measured.top1_changes)
    card = (tmp_path / "small" / "README.md").read_text()
    assert f"1,000 images ({1000 - made} real, {made} made)" in card
    assert f"{parity['max_difference']:.1e}" in card
    assert f"{precision} on purpose" in card


def test_a_conversion_to_no_numbers_is_refused(trained: Classifier, tmp_path: Path) -> None:
    def broken(graph: bytes, description: Any) -> bytes:
        model = onnx.load_from_string(graph)
        for tensor in model.graph.initializer:
            values = onnx.numpy_helper.to_array(tensor)
            if values.dtype == np.float32 and values.ndim >= 2:
                tensor.CopyFrom(onnx.numpy_helper.from_array(np.full_like(values, np.nan), tensor.name))
        written: bytes = model.SerializeToString()
        return written

    description = trained.description
    with pytest.raises(BundleError, match="no numbers"):
        save(
            tmp_path / "broken",
            trained.module(),
            architecture=description["architecture"],
            classes=trained.classes,
            preprocessing=description["preprocessing"] | {"kind": "drawing"},
            precision="float16",
            convert=broken,
        )
    assert list(tmp_path.iterdir()) == []


def test_pruning_makes_the_net_smaller_and_keeps_it_good(trained: Classifier, dataset: Dataset, tmp_path: Path) -> None:
    settings = CompressSettings(prune=0.5, quantize="int8", epochs=3)
    report = compress(trained, tmp_path / "small", dataset, settings)
    small = load(tmp_path / "small", runtime="torch")
    assert report["after"]["parameters"] < 0.5 * report["before"]["parameters"]
    assert small.description["architecture"]["shapes"]["body.0"] == [16, 1, 3, 3]
    assert sum(p.numel() for p in small.module().parameters()) == report["after"]["parameters"]
    assert accuracy(small, dataset) > accuracy(trained, dataset) - 0.03
    # A pruned bundle can be pruned again: its sizes are those of its description.
    twice = compress(small, tmp_path / "tiny", dataset, CompressSettings(prune=0.5, epochs=2, max_drop=1))
    assert twice["after"]["parameters"] < report["after"]["parameters"]
    assert len(describe(tmp_path / "tiny")["derived"]) == 3


@pytest.mark.parametrize("name", ["convnet", "balanced_cnn", "simple_cnn"])
def test_pruned_nets_are_rebuilt_from_their_description(tmp_path: Path, name: str) -> None:
    torch.manual_seed(1)
    module = models.create(name, num_classes=5, image_shape=(28, 28)).eval()
    preprocess = Preprocess.from_spec(models.get(name), (28, 28))
    pruned = prune(Network(preprocess, module), 0.4)
    assert models.parameter_count(pruned) < models.parameter_count(module)
    folder = save(
        tmp_path / "b",
        pruned.model,
        architecture={"name": name},
        classes=CLASSES,
        preprocessing=preprocess.description,
    )
    assert describe(folder)["architecture"]["shapes"]


def test_too_large_a_drop_is_refused_and_nothing_written(trained: Classifier, dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(GateError, match="falls from"):
        compress(trained, tmp_path / "small", dataset, CompressSettings(prune=0.9, epochs=0, max_drop=0.01))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UsageError, match="nothing to do"):
        compress(trained, tmp_path / "small", dataset)


def test_no_bundle_is_replaced_unasked(
    trained: Classifier, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Path(shutil.copytree(trained.folder, tmp_path / "own"))
    before = (own / "model.json").read_bytes()
    monkeypatch.chdir(tmp_path)
    words = ["compress", str(own), "--data", str(dataset.path), "--quantize", "float16"]
    for more in (["--out", str(own)], ["--out", "own", "--force"]):
        done = runner.invoke(app, [*words, *more])
        assert isinstance(done.exception, ConflictError)
        assert "is the model itself" in done.exception.message
    done = runner.invoke(app, words)
    assert done.exit_code == 0, done.output
    small = tmp_path / f"{trained.name}-small"
    assert describe(small)["precision"] == "float16"
    done = runner.invoke(app, words)
    assert isinstance(done.exception, ConflictError)
    assert "--force" in done.exception.hint
    assert runner.invoke(app, [*words, "--force"]).exit_code == 0
    assert (own / "model.json").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["own", small.name]


def test_shapes_in_a_description_cannot_grow_a_layer(trained: Classifier, tmp_path: Path) -> None:
    from inksight.bundle.network import fresh_model

    description = json.loads(json.dumps(trained.description))
    for shapes in ({"body.0": [10**9, 1, 3, 3]}, {"body.0": [8]}, {"body.0": "x"}, {"nothing": [1]}, {"body.1": [4]}):
        description["architecture"]["shapes"] = shapes
        with pytest.raises(BundleError, match="shapes"):
            fresh_model(description)


def test_taking_turns_counts_and_orders(trained: Classifier) -> None:
    images = made_drawings(16, 9)[0]

    def slow(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        for _ in range(20):
            answer = trained.predict_proba(batch)
        return answer

    found = take_turns({"fast": trained.predict_proba, "slow": slow}, images, batch=4, seconds=0.2)
    assert found["slow"].p50_ms > 5 * found["fast"].p50_ms
    for one in found.values():
        assert one.calls >= ROUNDS
        assert one.low_ms <= one.p50_ms <= one.high_ms
        assert one.p50_ms <= one.p99_ms
        assert one.batch == 4


def test_bench_compares_models(trained: Classifier, saved: Path, saved_photos: Path) -> None:
    report = bench([trained, load(saved)], BenchSettings(batches=[1, 4], seconds=0.05))
    assert [one["model"] for one in report["models"]] == ["simple_cnn-bars", "simple_cnn-tests"]
    assert all(10 < one["process_mb"] < 1000 for one in report["models"])
    assert [(one["batch"], one["model"]) for one in report["timings"]] == [
        (batch, name) for batch in (1, 4) for name in ("simple_cnn-bars", "simple_cnn-tests")
    ]
    assert report["timings"][0]["times_faster"] == 1
    assert 0 <= report["agreement"][0]["same_answer"] <= 1
    with pytest.raises(UsageError, match="different shapes"):
        bench([trained, load(saved_photos)])


def test_bench_gives_pytorch_the_threads_it_names(trained: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    had, seen = torch.get_num_threads(), []

    def timed(models: Any, *rest: Any, **options: Any) -> Any:
        seen.append(torch.get_num_threads())
        return take_turns(models, *rest, **options)

    monkeypatch.setattr("inksight.bundle.bench.take_turns", timed)
    report = bench([trained], BenchSettings(batches=[1], threads=[3, 2], seconds=0.05, runtime="torch"))
    assert seen == [3, 2]
    assert torch.get_num_threads() == had
    # PyTorch itself takes more than ONNX Runtime with a small model in it.
    assert report["models"][0]["process_mb"] > 150


def test_spread_reads_evenly_spaced_rows() -> None:
    images = np.arange(10_000, dtype=np.uint32).astype(np.uint8).reshape(-1, 1, 1) * np.ones((1, 28, 28), np.uint8)
    chosen = spread(images, 100)
    assert len(chosen) == 100
    np.testing.assert_array_equal(chosen, images[np.linspace(0, 9999, 100).astype(int)])
    assert spread(images[:50], 100).shape == (50, 28, 28)


def test_the_verbs_work_end_to_end(trained: Classifier, dataset: Dataset, tmp_path: Path) -> None:
    out, data = tmp_path / "m.onnx", ["--data", str(dataset.path)]
    done = runner.invoke(app, ["export", str(trained.folder), "-f", "onnx-int8", "-o", str(out), *data])
    assert done.exit_code == 0, done.output
    assert "accuracy on val" in done.stdout
    small = tmp_path / "small"
    words = ["compress", str(trained.folder), "-o", str(small), "--quantize", "float16", "--json"]
    done = runner.invoke(app, [*words, *data])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["after"]["bytes"] < json.loads(done.stdout)["before"]["bytes"]
    done = runner.invoke(
        app,
        ["bench", str(trained.folder), str(small), "--batches", "1", "--seconds", "0.05", *data],
    )
    assert done.exit_code == 0, done.output
    assert "of 400 images as simple_cnn-bars does" in done.stdout
