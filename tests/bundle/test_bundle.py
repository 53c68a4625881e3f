"""Saving and loading: what a bundle holds, that both runtimes agree, and that a failed save leaves nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from inksight import models
from inksight.bundle import describe, load, save, saving
from inksight.bundle.graph import to_onnx
from inksight.bundle.loading import locate
from inksight.bundle.parity import Parity, batched, compare, made_images, require
from inksight.errors import BundleError, ConflictError, NotFoundError, UsageError
from inksight.models.preprocess import Preprocess
from tests.bundle.conftest import CLASSES, make_bundle

Images = NDArray[np.uint8]


def test_a_bundle_is_four_files(saved: Path) -> None:
    assert sorted(path.name for path in saved.iterdir()) == [
        "README.md",
        "model.json",
        "model.onnx",
        "model.safetensors",
    ]
    description = describe(saved)
    assert description["classes"] == CLASSES
    assert description["parity"]["samples"] == 1000
    assert description["parity"]["max_difference"] < 1e-5


def test_both_runtimes_give_the_models_own_answers(saved: Path, bitmaps: Images) -> None:
    torch.manual_seed(0)
    module = models.create("simple_cnn", num_classes=len(CLASSES), image_shape=(28, 28)).eval()
    preprocess = Preprocess.from_spec(models.get("simple_cnn"), (28, 28))
    with torch.inference_mode():
        expected = torch.softmax(module(preprocess(torch.from_numpy(bitmaps))), dim=1).numpy()
    for runtime in ("onnx", "torch"):
        given = load(saved, runtime=runtime).predict_proba(bitmaps)
        assert given.dtype == np.float32
        np.testing.assert_allclose(given, expected, atol=1e-6)
        np.testing.assert_allclose(given.sum(axis=1), 1, atol=1e-6)


def test_the_graph_alone_takes_uint8_of_any_batch_size_and_has_no_side_file(saved: Path, tmp_path: Path) -> None:
    data = (saved / "model.onnx").read_bytes()
    onnx.checker.check_model(onnx.load_from_string(data), full_check=True)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    for count in (1, 2, 7):
        (given,) = session.run(None, {"images": np.zeros((count, 28, 28), np.uint8)})
        assert given.shape == (count, len(CLASSES))
    assert json.loads(session.get_modelmeta().custom_metadata_map["classes"]) == CLASSES


def test_the_graph_does_not_name_the_machine_it_was_made_on(saved: Path) -> None:
    data = (saved / "model.onnx").read_bytes() + (saved / "model.json").read_bytes()
    for path in (Path.home(), Path.cwd(), Path(torch.__file__).parent):
        assert str(path).encode() not in data


def test_photos_work_too(saved_photos: Path) -> None:
    model = load(saved_photos)
    assert model.kind == "photo"
    assert model.predict_proba(np.zeros((3, 32, 32, 3), np.uint8)).shape == (3, len(CLASSES))


def test_predict_gives_the_most_probable_class(saved: Path, bitmaps: Images) -> None:
    model = load(saved)
    probabilities = model.predict_proba(bitmaps)
    assert model.predict(bitmaps) == [CLASSES[i] for i in probabilities.argmax(axis=1)]
    best = model.top(probabilities, 2)
    assert [row[0][0] for row in best] == model.predict(bitmaps)
    assert all(row[0][1] >= row[1][1] for row in best)


def test_batches_of_every_size_give_the_same_answers(saved: Path, bitmaps: Images) -> None:
    model = load(saved)
    whole = model.predict_proba(bitmaps)
    single = np.concatenate([model.predict_proba(image[None]) for image in bitmaps])
    np.testing.assert_allclose(single, whole, atol=1e-6)
    model._chunk = 10
    np.testing.assert_allclose(model.predict_proba(bitmaps), whole, atol=1e-6)
    assert model.predict_proba(bitmaps[:0]).shape == (0, len(CLASSES))
    np.testing.assert_allclose(model.predict_proba(bitmaps[::-1]), whole[::-1], atol=1e-6)


def test_saving_does_not_change_the_model(tmp_path: Path) -> None:
    module = models.create("simple_cnn", num_classes=5, image_shape=(28, 28)).train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    preprocess = Preprocess.from_spec(models.get("simple_cnn"), (28, 28))
    save(
        tmp_path / "b",
        module,
        architecture={"name": "simple_cnn"},
        classes=CLASSES,
        preprocessing=preprocess.description,
        samples=made_images((28, 28), 20),
    )
    assert module.training
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_a_saved_bundle_replaces_an_older_one_and_nothing_else(tmp_path: Path) -> None:
    target = make_bundle(tmp_path / "b", name="first", samples=made_images((28, 28), 5))
    make_bundle(target, name="second", samples=made_images((28, 28), 5))
    assert describe(target)["name"] == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["b"]
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("keep me")
    with pytest.raises(ConflictError, match="is not a bundle"):
        make_bundle(tmp_path / "letters")
    assert (tmp_path / "letters" / "dear.txt").read_text() == "keep me"


def test_a_failed_save_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(saving, "to_onnx", fail)
    with pytest.raises(OSError, match="No space"):
        make_bundle(tmp_path / "b")
    assert list(tmp_path.iterdir()) == []


class _Wrong(nn.Module):
    """Says something else in ONNX than in PyTorch: the export sees the other branch."""

    def __init__(self, inner: nn.Module, by: float) -> None:
        super().__init__()
        self.inner, self.by = inner, by

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.inner(x)
        return logits + self.by * torch.arange(5) if torch.compiler.is_compiling() else logits


def test_what_killed_saves_left_is_removed_but_never_the_only_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "bundle"

    def save_until(renames: int) -> None:
        """Replace the bundle, and be killed before the next rename after so many."""
        done: list[None] = []
        plain = os.rename

        def rename(source: Path, place: Path) -> None:
            if len(done) == renames:
                raise KeyboardInterrupt
            done.append(None)
            plain(source, place)

        with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
            patch.setattr(os, "rename", rename)
            patch.setattr(shutil, "rmtree", lambda *rest, **more: None)
            with saving.new_folder(target) as folder:
                (folder / "model.json").touch()

    def kinds() -> list[str]:
        return sorted(path.suffix for path in tmp_path.iterdir())

    save_until(0)
    assert kinds() == [".tmp"]
    saving.remove_halves(target)
    assert kinds() == []
    save_until(2)
    save_until(1)  # the old one is moved aside, the new one not yet in its place
    assert kinds() == [".old", ".tmp"]
    saving.remove_halves(target)
    assert kinds() == [".old"]
    save_until(2)
    save_until(2)  # all but the removal of the old one
    assert kinds() == ["", ".old", ".old"]
    saving.remove_halves(target)
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("by", [0.01, 3.0])
def test_an_export_that_differs_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: float) -> None:
    honest = to_onnx

    def dishonest(network: Any, description: Any) -> bytes:
        network.model = _Wrong(network.model, by)
        try:
            return honest(network, description)
        finally:
            network.model = network.model.inner

    monkeypatch.setattr(saving, "to_onnx", dishonest)
    with pytest.raises(BundleError, match="refused: on 1,000 images"):
        make_bundle(tmp_path / "b")
    assert list(tmp_path.iterdir()) == []


def test_parity_counts_what_matters() -> None:
    a = np.array([[0.6, 0.4], [0.3, 0.7]], np.float32)
    assert compare(a, a, real=True) == Parity(2, True, 0.0, 0)
    require(compare(a, a + np.float32(5e-5), real=True), "export")
    for other in (a + np.float32(2e-4), a[:, ::-1], a * np.nan):
        with pytest.raises(BundleError, match="refused"):
            require(compare(a, other, real=True), "export")
    # A first answer that changes is refused however small the difference is.
    tie = np.array([[0.500001, 0.499999]], np.float32)
    with pytest.raises(BundleError, match="1 first answers"):
        require(compare(tie, tie[:, ::-1], real=True), "export")


def test_made_images_reach_many_first_answers(saved: Path) -> None:
    images = made_images((28, 28))
    assert images.shape == (1000, 28, 28)
    assert images.min() == 0
    assert images.max() == 255
    assert np.array_equal(images, made_images((28, 28)))
    assert len(set(load(saved).predict(images))) >= 2
    assert batched(load(saved).predict_proba, images).shape == (1000, 5)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"architecture": {"name": "no_such_net"}}, "no_such_net"),
        ({"architecture": {"name": "simple_cnn", "options": {"colour": 3}}}, "colour"),
        ({"classes": CLASSES[:4]}, "head.*larger"),
        ({"classes": [*CLASSES[:4], "apple"]}, "twice"),
        ({"metrics": {"accuracy": float("nan")}}, "JSON"),
        ({"samples": np.zeros((5, 14, 14), np.uint8)}, "samples"),
    ],
)
def test_a_contradicting_description_is_refused(tmp_path: Path, changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(BundleError, match=problem):
        make_bundle(tmp_path / "b", **{"samples": made_images((28, 28), 4), **changes})
    assert list(tmp_path.iterdir()) == []


def test_unknown_names_and_runtimes(saved: Path) -> None:
    with pytest.raises(NotFoundError, match="no model 'nothing'"):
        load("nothing")
    with pytest.raises(UsageError, match="runtime"):
        load(saved, runtime="tensorflow")
    with pytest.raises(UsageError, match="threads"):
        load(saved, threads=-1)


def test_all_cores_are_counted_and_that_many_threads_are_used(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    started = onnxruntime.InferenceSession

    def start(graph: bytes, options: Any, **rest: Any) -> Any:
        asked.append(options.intra_op_num_threads)
        return started(graph, options, **rest)

    monkeypatch.setattr(onnxruntime, "InferenceSession", start)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 2, 5}, raising=False)
    assert [load(saved, threads=threads).threads for threads in (0, 1, 2)] == asked == [3, 1, 2]
    assert load(saved, runtime="torch", threads=0).threads == torch.get_num_threads()


def test_the_card_tells_what_the_description_holds(tmp_path: Path) -> None:
    metrics = {
        "split": "test",
        "samples": 500,
        "accuracy": 0.9123,
        "accuracy_interval": [0.88, 0.93],
        "per_class": {name: {"accuracy": 0.9, "interval": [0.8, 0.95], "samples": 100} for name in CLASSES},
    }
    folder = make_bundle(
        tmp_path / "b", metrics=metrics, limits=["Never used in the rain."], samples=made_images((28, 28), 4)
    )
    card = (folder / "README.md").read_text()
    for text in ("0.9123", "0.8800 to 0.9300", "smiley face | 0.900", "CC BY 4.0", "in the rain", "inksight predict"):
        assert text in card


def test_a_run_stands_for_the_bundle_in_it(home: Path, tmp_path: Path) -> None:
    run = home / "runs" / "mine"
    (run / "bundle").mkdir(parents=True)
    (run / "settings.json").write_text("{}")
    assert locate("mine") == run / "bundle" == locate(run)
    with pytest.raises(NotFoundError, match="no model 'yours'"):
        locate("yours")


def test_the_runtime_reports_to_nobody(tmp_path: Path) -> None:
    program = "import inksight, numpy; inksight.load('doodles').predict(numpy.zeros((1, 28, 28), 'uint8'))"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ORT_")}
    # Under CI the runtime keeps quiet by itself, which would hide what it does elsewhere.
    environment.pop("CI", None)
    environment |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
    assert not list(tmp_path.rglob("*onnxruntime*"))
