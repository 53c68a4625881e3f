"""Evaluating a model on a dataset file: the right samples, the right columns, and honest refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest
from torch import nn
from typer.testing import CliRunner

from inksight.bundle import Classifier
from inksight.bundle.network import Network
from inksight.cli import app
from inksight.data.dataset import DatasetWriter, open_dataset
from inksight.data.places import remember
from inksight.errors import DataError, NotFoundError, UsageError
from inksight.evaluation import evaluate, judge
from inksight.evaluation.run import answers_of, completed
from inksight.evaluation.speed import measure_speed
from inksight.evaluation.words import sentences
from inksight.models.preprocess import Preprocess

CLASSES = ["left", "right", "top"]


class Brightest:
    """A stand-in for a loaded model: answers by which part of the picture has most ink."""

    kind, runtime, threads, image_shape, name = "drawing", "onnx", 1, (8, 8), "brightest"

    def __init__(self, folder: Path, classes: list[str] = CLASSES, sha256: str = "", data: Path | None = None) -> None:
        self.folder, self.classes = folder, classes
        dataset = {"name": "made", "sha256": sha256}
        if data:
            remember(sha256, data)
        self.description: dict[str, Any] = {"dataset": dataset, "architecture": {"name": "none", "parameters": 0}}
        self.calls: list[int] = []

    def network(self) -> Network:
        """Return a network without convolutions, so that explanations fall back to occlusion."""
        shape = {"input_shape": [8, 8], "size": [8, 8], "channels": 1, "mean": [0.0], "std": [1.0]}
        return Network(Preprocess(shape), nn.Sequential(nn.Flatten(), nn.Linear(64, len(self.classes))))

    def predict_proba(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        self.calls.append(len(images))
        part = {"left": images[:, 2:, :4], "right": images[:, 2:, 4:], "top": images[:, :2]}
        sums = np.stack([part.get(name, images[:, :0]).sum((1, 2)) for name in self.classes], axis=1)
        odds = sums.astype(np.float32) + 1e-3
        return cast("npt.NDArray[np.float32]", odds / odds.sum(axis=1, keepdims=True))


def loaded(*args: Any, **kwargs: Any) -> Classifier:
    return cast("Classifier", Brightest(*args, **kwargs))


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Write a dataset file with 3 classes that Brightest gets right, but for one drawing in ten of `right`."""
    path = tmp_path / "made.h5"
    rng = np.random.default_rng(0)
    with DatasetWriter(
        path, classes=["right", "top", "left"], image_shape=(8, 8), source="made", preprocessing={}, seed=0
    ) as out:
        for split, each in (("train", 12), ("val", 10), ("test", 20)):
            labels = np.repeat(np.arange(3), each)
            images = rng.integers(0, 60, (3 * each, 8, 8), dtype=np.uint8)
            images[labels == 0, 2:, 4:] += 180
            images[labels == 1, :2] += 195
            images[labels == 2, 2:, :4] += 180
            images[: each // 10] = np.fliplr(images[0])
            out.append(split, images, labels, [f"{split}-{i}" for i in range(3 * each)])
    return path


def test_labels_follow_names_not_numbers(dataset: Path, tmp_path: Path) -> None:
    found = evaluate(loaded(tmp_path), dataset, speed=False)
    assert found.classes == tuple(CLASSES)
    recall = {row["class"]: row["recall"] for row in found.metrics["per_class"]}
    assert recall == {"left": 1, "right": 0.9, "top": 1}
    assert found.metrics["worst_errors"][0]["id"].startswith("test-")
    assert found.metrics["calibration"]["temperature"] is not None
    assert found.metrics["explanations"]["method"] == "occlusion"
    assert len(found.explanations) == 3 + 2
    assert found.metrics["distribution"]["train"] == {"left": 12, "right": 12, "top": 12}


def test_a_model_may_know_more_classes_but_not_fewer(dataset: Path, tmp_path: Path) -> None:
    found = evaluate(loaded(tmp_path, ["top", "cat", "left", "right"]), dataset, speed=False)
    assert found.metrics["classes_without_samples"] == ["cat"]
    assert found.accuracy == pytest.approx(58 / 60)
    with pytest.raises(UsageError, match="does not know 1 of the 3 classes of 'made': top"):
        evaluate(loaded(tmp_path, ["left", "right"]), dataset)


def test_without_data_the_recorded_file_is_used_only_when_unchanged(dataset: Path, tmp_path: Path) -> None:
    with open_dataset(dataset) as opened:
        sha256 = opened.sha256
    assert evaluate(loaded(tmp_path, sha256=sha256, data=dataset), speed=False).metrics["data"]["warnings"] == []
    with pytest.raises(DataError, match="no longer the dataset"):
        evaluate(loaded(tmp_path, sha256="0" * 64, data=dataset))
    with pytest.raises(UsageError, match="is not here"):
        evaluate(loaded(tmp_path, sha256="1" * 64, data=tmp_path / "gone.h5"))
    named = evaluate(loaded(tmp_path, sha256="0" * 64), dataset, speed=False)
    assert "may have been among those it learnt from" in named.metrics["data"]["warnings"][0]


def test_two_models_are_compared_on_the_same_columns(dataset: Path, tmp_path: Path) -> None:
    other = loaded(tmp_path, ["top", "right", "left"])
    found = evaluate(loaded(tmp_path), dataset, compare=other, speed=False, out=tmp_path / "report")
    assert found.metrics["comparison"]["same_answer"] == 1
    assert "Against brightest" in (tmp_path / "report" / "report.html").read_text("utf-8")


def test_a_model_of_more_classes_can_be_compared_and_its_warnings_are_shown(dataset: Path, tmp_path: Path) -> None:
    other = loaded(tmp_path, ["cat", *CLASSES], sha256="0" * 64)
    found = evaluate(loaded(tmp_path), dataset, compare=other, speed=False)
    assert found.metrics["comparison"]["same_answer"] == 1
    said = sentences(found.metrics)
    assert "A chooses among 3 classes, B among 4" in said["comparison"]
    assert said["warnings"][0].startswith("Of brightest: the model was trained on another dataset file")
    with pytest.raises(UsageError, match="does not know"):
        evaluate(loaded(tmp_path), dataset, compare=loaded(tmp_path, ["left", "right"]), speed=False)


def test_wrong_splits_are_refused(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="'tset' for --split"):
        evaluate(loaded(tmp_path), dataset, split="tset")
    empty = tmp_path / "empty.h5"
    with DatasetWriter(empty, classes=CLASSES, image_shape=(8, 8), source="", preprocessing={}, seed=0) as out:
        out.append("train", np.zeros((3, 8, 8), np.uint8), np.arange(3), ["a", "b", "c"])
    with pytest.raises(UsageError, match="test split of 'empty' is empty"):
        evaluate(loaded(tmp_path), empty)


def test_answers_come_bit_by_bit_and_in_order(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 255, (150_000, 8, 8), dtype=np.uint8)
    model = Brightest(tmp_path)
    rows, probabilities = answers_of(cast("Classifier", model), images)
    assert len(model.calls) == 3
    np.testing.assert_array_equal(rows, np.arange(150_000))
    np.testing.assert_array_equal(probabilities, Brightest(tmp_path).predict_proba(images))
    some, of_some = answers_of(cast("Classifier", model), images, limit=1000)
    assert len(some) == 1000
    np.testing.assert_array_equal(of_some, probabilities[some])


def test_speed_is_measured(tmp_path: Path) -> None:
    speed = measure_speed(Brightest(tmp_path).predict_proba, np.zeros((5, 8, 8), np.uint8), seconds=0.2)
    assert 0 < speed["ms_p50"] <= speed["ms_p99"]
    assert speed["images_per_second"] > 100
    assert speed["cores"] >= 1


def test_the_report_names_the_threads_that_the_model_really_has(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import inksight

    def load(name: str, threads: int) -> Classifier:
        model = Brightest(tmp_path)
        model.threads = threads or 7  # as a machine of seven cores understands 0
        return cast("Classifier", model)

    monkeypatch.setattr(inksight, "load", load, raising=False)
    found = evaluate("any", dataset, threads=0, explain=False, out=tmp_path / "report")
    assert found.metrics["model"]["speed"]["threads"] == 7
    assert "onnx, 7 threads" in (tmp_path / "report" / "report.html").read_text("utf-8")
    assert evaluate(load("any", 2), dataset, explain=False).metrics["model"]["speed"]["threads"] == 2


def test_an_evaluation_of_answers_is_completed_with_the_model(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 255, (60, 8, 8), dtype=np.uint8)
    model = Brightest(tmp_path)
    bare = judge(np.arange(60) % 3, model.predict_proba(images), CLASSES, images=images)
    assert "speed" not in bare.metrics["model"]
    found = completed(bare, cast("Classifier", model))
    assert found.metrics["model"]["speed"]["ms_p50"] > 0
    assert found.metrics["model"]["name"] == "brightest"
    assert found.explanations
    assert json.dumps(found.metrics, allow_nan=False)


def test_the_command(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import inksight

    monkeypatch.setattr(inksight, "load", lambda name, threads: loaded(tmp_path), raising=False)
    run = CliRunner().invoke
    done = run(app, ["evaluate", "any", "--data", str(dataset), "--out", str(tmp_path / "out"), "--json"])
    assert done.exit_code == 0, done.output
    printed = json.loads(done.stdout)
    assert printed["accuracy"] == pytest.approx(58 / 60, abs=1e-6)
    assert Path(printed["report"]) == tmp_path / "out" / "report.html"
    assert (tmp_path / "out" / "report.json").is_file()
    assert "Where it looks" in (tmp_path / "out" / "report.html").read_text("utf-8")
    plain = run(app, ["evaluate", "any", "--data", str(dataset), "--compare", "other", "--no-speed"])
    assert plain.exit_code == 0, plain.output
    assert "Right on 96.7" in plain.stdout
    assert "no difference shown" in plain.stdout.lower()
