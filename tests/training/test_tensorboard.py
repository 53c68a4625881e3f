"""TensorBoard's files, read back with TensorBoard's own reader."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inksight.training import train
from inksight.training.runs import read_run
from inksight.training.trackers import NoTracker

from .made import write_bars


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = write_bars(tmp_path_factory.mktemp("data") / "bars.h5")
    folder = tmp_path_factory.mktemp("runs") / "named"
    train(data, model="simple_cnn", epochs=3, batch_size=32, threads=1, ema_decay=0.9, run_dir=folder, quiet=True)
    return folder


def test_scalars_graph_images_and_embeddings_are_there(run_folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    events = EventAccumulator(str(run_folder / "tensorboard"))
    events.Reload()
    tags = events.Tags()
    assert {
        "loss/train",
        "loss/validation",
        "accuracy/validation",
        "accuracy/validation_average",
        "final/accuracy",
    } <= set(tags["scalars"])
    assert [scalar.step for scalar in events.Scalars("loss/train")] == [11, 22, 33]
    assert tags["graph"]
    assert tags["images"] == ["samples/validation"]


def test_the_projector_has_features_labels_and_sprites(run_folder: Path) -> None:
    folder = next((run_folder / "tensorboard").glob("*/features"))
    features = np.loadtxt(folder / "tensors.tsv", delimiter="\t")
    labels = (folder / "metadata.tsv").read_text().split()
    assert features.shape == (30, 1600)
    assert sorted(set(labels)) == ["flat", "slanted", "upright"]
    assert len(labels) == 30
    with Image.open(folder / "sprite.png") as sprite:
        assert sprite.width == sprite.height == 6 * 28  # 30 sprites on a square of 6 x 6


def test_a_finished_run_that_is_resumed_has_its_features_once(
    run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(read_run(run_folder).data, run_dir=run_folder, resume=True, quiet=True)
    assert capsys.readouterr().out == ""
    assert len(list((run_folder / "tensorboard").glob("*/features/tensors.tsv"))) == 1
    assert (run_folder / "tensorboard" / "projector_config.pbtxt").read_text().count("tensor_name") == 1


def test_the_null_tracker_takes_everything(tmp_path: Path) -> None:
    tracker = NoTracker()
    tracker.step(1, {"loss": 1.0})
    tracker.epoch({"epoch": 1})
    tracker.finish({}, tmp_path)
