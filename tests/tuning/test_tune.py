"""The search: it finds a planted optimum, survives bad trials, goes on after a stop, and feeds `train`."""

from __future__ import annotations

import itertools
import json
import math
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from torch import nn
from typer.testing import CliRunner

from inksight import models
from inksight.bundle.graph import to_onnx
from inksight.bundle.network import Network
from inksight.cli import app
from inksight.config import resolve
from inksight.data import DatasetWriter, open_dataset
from inksight.errors import ConflictError, NotFoundError, TrainingError, UnavailableError, UsageError
from inksight.models import transfer
from inksight.models.preprocess import Preprocess
from inksight.settings import TrainSettings, TuneSettings
from inksight.training.trackers import read_history
from inksight.tuning import best_trial, storage, trial, tune
from inksight.tuning.report import write_report
from inksight.tuning.spaces import Dimension, load_space, parse_space, split_values, with_effect
from inksight.tuning.storage import open_storage
from inksight.tuning.study import found as found_in
from inksight.tuning.study import seconds
from inksight.tuning.workers import quiet
from tests.servers import PostgresServer, free_port
from tests.training.made import write_bars


@dataclass
class PlantedRun:
    history: list[dict[str, Any]]

    @property
    def model(self) -> nn.Module:
        return models.create("simple_cnn", num_classes=2, image_shape=(28, 28))

    @property
    def preprocess(self) -> Preprocess:
        return Preprocess.from_spec(models.get("simple_cnn"), (28, 28))


def planted(
    data: Path, *, learning_rate: float, batch_size: int, on_epoch: Any, epochs: int, **rest: Any
) -> PlantedRun:
    """Stand in for training: best at a learning rate of 0.004 and a batch of 64, better with each epoch."""
    peak = 1 - 0.5 * math.log10(learning_rate / 0.004) ** 2 - 0.1 * abs(math.log2(batch_size / 64))
    history = []
    for epoch in range(1, epochs + 1):
        value = peak * (1 - 0.5**epoch)
        history.append({"epoch": epoch, "val_accuracy": value, "val_loss": -value, "seconds": 0.0})
        on_epoch(history[-1])
    return PlantedRun(history)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Return a dataset file of vertical and horizontal bars."""
    random = np.random.default_rng(0)
    images = np.zeros((240, 28, 28), np.uint8)
    labels = np.arange(240) % 2
    for image, label in zip(images, labels, strict=True):
        at = random.integers(4, 24)
        image[(slice(None), at) if label else (at, slice(None))] = 255
    with DatasetWriter(
        tmp_path / "bars.h5", classes=["h", "v"], image_shape=(28, 28), source="made", preprocessing={}, seed=0
    ) as out:
        for split, part in (("train", slice(0, 160)), ("val", slice(160, 200)), ("test", slice(200, 240))):
            out.append(split, images[part], labels[part], [str(n) for n in range(240)[part]])
    return tmp_path / "bars.h5"


def test_finds_a_planted_optimum(dataset: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(trial, "train", planted)
    found = tune(dataset, model="simple_cnn", trials=40, epochs=4)
    assert 0.002 < found.best.settings["learning_rate"] < 0.008
    assert found.best.settings["batch_size"] == 64
    assert found.counts["pruned"] > 0, "hopeless trials should have been stopped early"
    page = write_report(found, tmp_path / "report")
    facts = json.loads((tmp_path / "report" / "tuning.json").read_text())
    assert len(facts["trials"]) == 40
    # The planted function depends on these two and on nothing else. With only a dozen trials that were not pruned,
    # chance may still put another one second.
    assert next(iter(facts["importance"])) in ("learning_rate", "batch_size")
    assert "<script" not in page.read_text()


@pytest.mark.usefixtures("any_database")
def test_goes_on_where_it_stopped(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "train", planted)
    first = tune(dataset, model="simple_cnn", trials=5, epochs=2)
    assert sum(first.counts.values()) == 5
    assert sum(tune(dataset, model="simple_cnn", trials=8, epochs=2).counts.values()) == 8
    assert sum(tune(dataset, model="simple_cnn", trials=8, epochs=2).counts.values()) == 8
    assert sum(tune(dataset, model="simple_cnn", trials=9, epochs=2, timeout="0s").counts.values()) == 8
    with pytest.raises(ConflictError, match="is about model simple_cnn"):
        tune(dataset, model="convnet", trials=9, epochs=2, study=first.best.study)


def test_a_study_keeps_its_epochs_and_its_space(dataset: Path, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.setattr(trial, "train", planted)
    space = home / "presets" / "tune-simple_cnn.toml"
    space.parent.mkdir()
    rate = "learning_rate = {low = 0.001, high = 0.01, log = true}\n"
    space.write_text(f"[space]\n{rate}batch_size = {{choices = [32, 64]}}\n")
    tune(dataset, model="simple_cnn", trials=2, epochs=2)
    with pytest.raises(ConflictError, match="is about epochs 2, not 4") as caught:
        tune(dataset, model="simple_cnn", trials=2, epochs=4)
    assert "--study" in caught.value.hint
    space.write_text(f"[space]\n{rate}batch_size = {{choices = [64, 128]}}\naugment = {{low = 0.0, high = 1.5}}\n")
    with pytest.raises(ConflictError) as caught:
        tune(dataset, model="simple_cnn", trials=4, epochs=2)
    changes = "batch_size one of [64, 128] (was one of [32, 64]), augment 0.0 to 1.5 (was fixed)"
    assert caught.value.message.endswith(f"another search space: {changes}")
    space.write_text(f"[space]\nbatch_size = {{choices = [32, 64]}}\n{rate}")  # the order says nothing
    assert tune(dataset, model="simple_cnn", trials=4, epochs=2).done == 4


def test_a_study_without_a_note_of_epochs_and_space_goes_on(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "train", planted)
    with quiet():
        study = optuna.create_study(study_name="old", storage=open_storage(), direction="maximize")
    with open_dataset(dataset) as opened:
        study.set_user_attr("dataset", opened.sha256)
    study.set_user_attr("objective", ["accuracy"])
    study.set_user_attr("model", "simple_cnn")
    for epochs in (2, 3):
        found = tune(dataset, model="simple_cnn", trials=epochs, epochs=epochs, pruner="none", study="old")
        assert found.counts == {"complete": epochs}


@pytest.mark.postgres
def test_a_database_that_restarts_is_waited_for(
    dataset: Path,
    postgres_server: PostgresServer,
    postgres_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("INKSIGHT_DATABASE_URL", postgres_url)
    starter = threading.Timer(3, postgres_server.start)
    begun: list[int] = []

    def interrupted(data: Path, **rest: Any) -> PlantedRun:
        begun.append(len(begun))
        if len(begun) == 2:
            postgres_server.stop()
            starter.start()
        return planted(data, **rest)

    monkeypatch.setattr(trial, "train", interrupted)
    found = tune(dataset, model="simple_cnn", trials=3, epochs=1)
    starter.join()
    assert found.counts == {"complete": 3}
    assert "the database does not answer; waiting" in capfd.readouterr().err

    def lost(data: Path, **rest: Any) -> PlantedRun:
        postgres_server.stop()
        return planted(data, **rest)

    monkeypatch.setattr(trial, "train", lost)
    monkeypatch.setattr(storage, "PATIENCE", 0.5)
    try:
        with pytest.raises(UnavailableError, match="the database was lost") as caught:
            tune(dataset, model="simple_cnn", trials=5, epochs=1)
    finally:
        postgres_server.start()
    assert "goes on" in caught.value.hint


def test_a_database_that_is_not_there_is_told_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INKSIGHT_DATABASE_URL", f"postgresql://somebody:secret@127.0.0.1:{free_port()}/studies")
    with pytest.raises(UnavailableError, match="refused") as caught:
        open_storage()
    assert "\n" not in caught.value.message
    assert "secret" not in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.usefixtures("any_database")
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_several_may_open_a_new_storage_at_once() -> None:
    errors: list[Exception] = []

    def one() -> None:
        try:
            open_storage().get_all_studies()
        except Exception as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


@pytest.mark.usefixtures("any_database")
def test_a_failed_trial_is_recorded_and_the_search_goes_on(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def sometimes(data: Path, *, batch_size: int, **rest: Any) -> PlantedRun:
        if batch_size >= 128:
            raise TrainingError("the loss is not a number")
        return planted(data, batch_size=batch_size, **rest)

    monkeypatch.setattr(trial, "train", sometimes)
    lines: list[str] = []
    settings = resolve(TuneSettings, options={"trials": 12, "epochs": 2})
    found = tune(dataset, model="simple_cnn", settings=settings, say=lines.append)
    failed = [t for t in found.study.trials if t.state.name == "FAIL"]
    assert failed
    assert all("not a number" in t.user_attrs["failure"] for t in failed)
    assert found.best.settings["batch_size"] < 128
    told = [line for line in lines if f"trial {failed[0].number} fail" in line]
    assert told
    assert "not a number" in told[0]


def test_no_success_is_an_error_with_the_reasons(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*args: Any, **kwargs: Any) -> PlantedRun:
        raise TrainingError("the disk is full")

    monkeypatch.setattr(trial, "train", never)
    with pytest.raises(TrainingError) as caught:
        tune(dataset, model="simple_cnn", trials=2, epochs=2)
    assert "the disk is full" in caught.value.hint


@pytest.mark.usefixtures("any_database")
def test_a_stopped_trial_does_not_count(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    def stopped_once(data: Path, **rest: Any) -> PlantedRun:
        started.append(rest)
        if len(started) == 2:
            raise KeyboardInterrupt
        return planted(data, **rest)

    monkeypatch.setattr(trial, "train", stopped_once)
    words = ["tune", str(dataset), "--model", "simple_cnn", "--trials", "3", "--epochs", "1", "--pruner", "none"]
    stopped = CliRunner().invoke(app, words)
    assert stopped.exit_code == 130
    assert stopped.stderr.endswith("Interrupted. What is done is kept; the same command goes on.\n")
    found = tune(dataset, model="simple_cnn", trials=3, epochs=1, pruner="none")
    assert found.counts == {"complete": 3, "stopped": 1}
    assert found.done == 3
    tried = {one.params["learning_rate"] for one in found.study.trials}
    assert len(tried) == 4, "what is tried after a stop should not be what was tried before"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_real_trainings_by_two_workers_then_train_from_the_study(dataset: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "inksight"]
    search = ["tune", str(dataset), "--model", "simple_cnn", "--trials", "3", "--epochs", "1", "--jobs", "2", "--json"]
    done = subprocess.run([*words, *search], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert done.stderr.count(" complete ") == 3, "the workers should tell of their trials"
    assert len(facts["trials"]) == 3
    train = [
        "train",
        str(dataset),
        "--from-study",
        facts["study"],
        "--epochs",
        "1",
        "--name",
        "tuned",
        "--no-tensorboard",
    ]
    done = subprocess.run([*words, *train], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    best = best_trial(facts["study"])

    used = json.loads((Path(os.environ["INKSIGHT_HOME"]) / "runs" / "tuned" / "settings.json").read_text())
    assert used["settings"]["learning_rate"] == best.settings["learning_rate"]
    assert used["model_options"]["dropout"] == best.options["dropout"]


@pytest.mark.usefixtures("any_database")
def test_accuracy_against_parameters_gives_a_front(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "train", planted)
    found = tune(dataset, model="simple_cnn", trials=6, epochs=2, objective=["accuracy", "parameters"])
    assert all(
        best.values[1] == models.parameter_count(models.create("simple_cnn", num_classes=2, image_shape=(28, 28)))
        for best in found.front
    )


def test_of_a_front_the_most_accurate_is_the_best() -> None:
    """In whatever order the objectives are named."""
    with quiet():
        study = optuna.create_study(study_name="front", storage=open_storage(), directions=["minimize", "maximize"])
        study.set_user_attr("objective", ["latency", "accuracy"])
        study.set_user_attr("model", "simple_cnn")
        for values in ([0.001, 0.5], [0.5, 0.9], [0.1, 0.8]):
            study.add_trial(optuna.trial.create_trial(values=values))
    assert [best.values for best in found_in(study).front] == [[0.5, 0.9], [0.1, 0.8], [0.001, 0.5]]
    assert best_trial("front").values == [0.5, 0.9]


def test_one_architecture_has_one_latency(dataset: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(trial, "train", planted)
    found = tune(dataset, model="simple_cnn", trials=4, epochs=2, objective=["accuracy", "latency"])
    assert len({one.values[1] for one in found.study.trials}) == 1
    assert [best.values[0] for best in found.front] == [max(one.values[0] for one in found.study.trials)]
    assert "On the front: trial" in write_report(found, tmp_path / "report").read_text()


def test_a_classical_model_is_measured_after_its_fit(dataset: Path, home: Path) -> None:
    space = home / "presets" / "tune-shallow.toml"
    space.parent.mkdir()
    space.write_text('[space]\n"model.classifier" = {choices = ["rbf_svm"]}\n')
    found = tune(dataset, model="shallow", trials=1, objective=["accuracy", "parameters"])
    fresh = models.parameter_count(models.create("shallow", num_classes=2, image_shape=(28, 28), classifier="rbf_svm"))
    assert found.best.values[1] > 3 * fresh, "before the fit it has one support vector"


def test_what_is_measured_is_what_was_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Photos are seen without their margin, and no weights are fetched for it."""
    random = np.random.default_rng(0)
    facts = {"kind": "photo", "size": 72, "image_size": 64}
    with DatasetWriter(
        tmp_path / "noise.h5", classes=["a", "b"], image_shape=(72, 72, 3), source="made", preprocessing=facts, seed=0
    ) as out:
        for split in ("train", "val"):
            images = random.integers(0, 256, (8, 72, 72, 3)).astype(np.uint8)
            out.append(split, images, np.arange(8) % 2, [f"{split}{n}" for n in range(8)])
    seen: list[dict[str, Any]] = []

    def exported(network: Network, facts: dict[str, Any]) -> bytes:
        seen.append(facts["preprocessing"])
        return to_onnx(network, facts)

    monkeypatch.setattr(trial, "to_onnx", exported)
    monkeypatch.setattr(transfer, "_from_hub", lambda timm, name: pytest.fail(f"asked for the weights of {name}"))
    training = {"pretrained": False, "feature_views": 0, "batch_size": 4}
    found = tune(
        tmp_path / "noise.h5", model="transfer/test_resnet", trials=1, epochs=1, objective=["loss", "latency"],
        training=training,
    )  # fmt: skip
    assert found.counts == {"complete": 1}
    assert [(one["input_shape"], one["crop"]) for one in seen] == [([72, 72, 3], [64, 64])]


def test_architectures_are_told_apart() -> None:
    def exported(name: str, **options: Any) -> str:
        spec = models.get(name)
        net = models.create(name, num_classes=2, image_shape=(28, 28), **spec.resolve(options))
        preprocess = Preprocess.from_spec(spec, (28, 28))
        facts = {"name": name, "kind": "drawing", "classes": ["h", "v"], "preprocessing": preprocess.description}
        return trial.architecture(to_onnx(Network(preprocess, net), facts))

    same = {exported("simple_cnn", dropout=dropout) for dropout in (0.1, 0.6)}
    assert len(same) == 1, "dropout answers nothing"
    assert len(same | {exported("convnet"), exported("sketchnet-s")}) == 3


@pytest.mark.usefixtures("any_database")
def test_two_calls_at_once_share_the_trials(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner: list[None] = []

    def meanwhile(data: Path, **rest: Any) -> PlantedRun:
        if not inner:
            inner.append(None)
            tune(dataset, model="simple_cnn", trials=5, epochs=1, pruner="none")
        return planted(data, **rest)

    monkeypatch.setattr(trial, "train", meanwhile)
    found = tune(dataset, model="simple_cnn", trials=5, epochs=1, pruner="none")
    assert found.done == 6  # the one that was running when the others were done
    tried = {one.params["learning_rate"] for one in found.study.trials}
    assert len(tried) == 6, "two calls should not try the same"


def test_trials_of_a_frozen_backbone_train_the_head_for_the_epochs_asked(dataset: Path, home: Path) -> None:
    training = {"pretrained": False, "feature_views": 0, "batch_size": 16}
    for name, more in (("recipe", {}), ("given", {"frozen_epochs": 5})):
        found = tune(
            dataset, model="transfer/test_resnet", trials=1, epochs=2, study=name, training={**training, **more}
        )
        [tried] = found.study.trials
        assert tried.state.name == "COMPLETE"
        assert len(read_history(home / "tuning" / name / "trial-0000")) == 2
        assert {"learning_rate", "model.head"} <= tried.params.keys()
        assert not {"backbone_rate", "layer_decay"} & tried.params.keys(), "these change nothing"


def test_what_a_backbone_needs_is_searched_where_it_learns() -> None:
    model = "transfer/resnet18"
    space = load_space(model)
    assert with_effect(space, model, "flowers", {}) == space  # its preset thaws the backbone
    assert with_effect(space, model, "pets", {"freeze_backbone": False}) == space
    either = [*space, Dimension("freeze_backbone", (True, False))]
    assert with_effect(either, model, "pets", {}) == either
    backbone = [dimension for dimension in space if dimension.name in ("backbone_rate", "layer_decay")]
    assert [one for one in space if one not in backbone] == with_effect(space, model, "pets", {})
    with pytest.raises(UsageError, match="backbone alone, which is frozen"):
        with_effect(backbone, model, "pets", {})


def test_every_space_fits_its_model() -> None:
    for name in models.names():
        space = load_space(name)
        assert len(space) >= 4, name
        for end in (0, -1):
            chosen = {each.name: (each.choices or (each.low, each.high))[end] for each in space}
            training, options = split_values(chosen)
            resolve(TrainSettings, options=training)
            models.get(name).resolve(options)
    own = [load_space(model) for model in ("shallow", "deep_v2/resnet", "deep_v1", "transfer/resnet18", "convnet")]
    assert all(space != other for at, space in enumerate(own) for other in own[:at])
    assert load_space("deep_v1_residual") == load_space("deep_v1")


@pytest.mark.parametrize("shape", [(28, 28), (64, 64, 3)], ids=["drawings", "photos"])
def test_no_choice_of_features_leaves_none(shape: tuple[int, ...]) -> None:
    ends = [each.choices or (each.low, each.high) for each in load_space("shallow")]
    for chosen in itertools.product(*ends):
        _, options = split_values(dict(zip((each.name for each in load_space("shallow")), chosen, strict=True)))
        models.create("shallow", num_classes=2, image_shape=shape, **models.get("shallow").resolve(options))


@pytest.mark.slow
def test_classical_models_are_searched_too(dataset: Path) -> None:
    found = tune(dataset, model="shallow", trials=4, objective=["balanced_accuracy"])
    assert found.counts == {"complete": 4}
    assert {"classifier", "penalty"} <= set(found.best.options)
    assert found.best.settings == {}
    assert found.best.values[0] > 0.9


@pytest.mark.parametrize(
    ("table", "error", "part"),
    [
        ({"learning_rat": {"low": 1, "high": 2}}, NotFoundError, "learning_rat"),
        ({"learning_rate": 3}, UsageError, "not understood"),
        ({"learning_rate": {"low": 2, "high": 1}}, UsageError, "not below"),
        ({"learning_rate": {"low": 0, "high": 1, "log": True}}, UsageError, "above 0"),
        ({}, UsageError, "empty"),
    ],
)
def test_a_wrong_space_is_explained(table: dict[str, Any], error: type[Exception], part: str) -> None:
    with pytest.raises(error, match=part):
        parse_space(table, "simple_cnn", "tune-mine.toml")


def test_wrong_wishes(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs no training"):
        tune(dataset, model="simple_cnn", objective=["parameters"])
    for study in ("a/b", "..", ".hidden"):
        with pytest.raises(UsageError, match="cannot be a folder's name"):
            tune(dataset, model="simple_cnn", study=study)
    with pytest.raises(UsageError, match="'soon'"):
        tune(dataset, model="simple_cnn", timeout="soon")
    with pytest.raises(NotFoundError, match="unknown study 'x'"):
        best_trial("x")
    without = write_bars(tmp_path / "without.h5", counts=(10, 10), val=0)
    with pytest.raises(UsageError, match="without has no validation images") as caught:
        tune(without, model="simple_cnn")
    assert "--val-ratio" in caught.value.hint
    assert [seconds(text) for text in ("", "90s", "20m", "1.5h")] == [None, 90, 1200, 5400]
