"""Whole runs on small made data: what they leave behind, resuming, and what they refuse."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import inksight
from inksight.config import as_dict
from inksight.errors import ConflictError, DataError, InksightError, NotFoundError, TrainingError, UsageError
from inksight.settings import TrainSettings
from inksight.training import TrainingInterrupted, TrainingRun, train
from inksight.training.checkpoints import load_checkpoint, save_checkpoint, seed_step
from inksight.training.trackers import NoTracker, RunInfo, Trackers, read_history

from .made import bars, write_bars

SETTINGS: dict[str, Any] = {"epochs": 3, "batch_size": 32, "tensorboard": False, "threads": 1}
QUICK: dict[str, Any] = {"model": "simple_cnn", "quiet": True, **SETTINGS}
# Without the evaluation and the bundle, which take longer than these trainings.
ONLY: dict[str, Any] = {**QUICK, "finish": False}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bars(tmp_path_factory.mktemp("data") / "bars.h5")


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainingRun:
    """A finished run that several tests look at."""
    return train(data, run_dir=tmp_path_factory.mktemp("runs") / "first", ema_decay=0.9, **QUICK)


def weights(folder: Path, name: str = "last") -> dict[str, torch.Tensor]:
    model: dict[str, torch.Tensor] = load_checkpoint(folder / "checkpoints" / f"{name}.pt")["model"]
    return model


def same_weights(a: Path, b: Path) -> bool:
    return all(
        torch.equal(value, weights(b, name)[key])
        for name in ("last", "best")
        for key, value in weights(a, name).items()
    )


def test_a_run_learns_and_leaves_everything_behind(run: TrainingRun) -> None:
    assert run.metrics["accuracy"] > 0.9
    assert [entry["epoch"] for entry in run.history] == [1, 2, 3]
    assert run.history == read_history(run.folder)
    assert any(entry["best"] for entry in run.history)
    for name in ("settings.json", "checkpoints/last.pt", "checkpoints/best.pt", "bundle/model.onnx"):
        assert (run.folder / name).is_file(), name
    assert (run.folder / "report" / "report.html").is_file()
    with Image.open(run.folder / "curves.png") as curves:
        assert curves.width > 600
    stored = json.loads((run.folder / "settings.json").read_text())
    assert stored["model"] == "simple_cnn"
    assert stored["settings"] == as_dict(TrainSettings(ema_decay=0.9, **SETTINGS))


def test_the_bundle_answers_as_the_training_measured(run: TrainingRun) -> None:
    model = inksight.load(run.bundle)
    labels = np.repeat(np.arange(3), 20)
    answers = model.predict(bars(labels, seed=99))
    right = np.mean(
        [answer == ["flat", "upright", "slanted"][label] for answer, label in zip(answers, labels, strict=True)]
    )
    assert right > 0.85


def test_the_same_seed_gives_the_same_weights_and_another_does_not(
    data: Path, tmp_path: Path, run: TrainingRun
) -> None:
    again = train(data, run_dir=tmp_path / "again", ema_decay=0.9, **ONLY)
    assert same_weights(run.folder, again.folder)
    other = train(data, run_dir=tmp_path / "other", ema_decay=0.9, seed=1, **ONLY)
    assert not same_weights(run.folder, other.folder)


def test_deterministic_mode_works(data: Path, tmp_path: Path) -> None:
    try:
        done = train(data, run_dir=tmp_path / "run", deterministic=True, **ONLY)
    finally:
        torch.use_deterministic_algorithms(False)
    assert max(entry["val_accuracy"] for entry in done.history) > 0.8


def interrupt_after(steps: int, number: signal.Signals) -> Callable[..., int]:
    def seed(base: int, step: int, rank: int = 0) -> int:
        if step == steps:
            os.kill(os.getpid(), number)
        return seed_step(base, step, rank)

    return seed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_with_a_checkpoint_and_resuming_ends_bit_identical(
    data: Path, tmp_path: Path, run: TrainingRun, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    folder = tmp_path / "stopped"
    monkeypatch.setattr("inksight.training.loop.seed_step", interrupt_after(17, number))
    before = signal.getsignal(number)
    with pytest.raises(TrainingInterrupted) as stop:
        train(data, run_dir=folder, ema_decay=0.9, **ONLY)
    assert stop.value.folder == str(folder)
    assert signal.getsignal(number) is before
    monkeypatch.undo()
    resumed = train(data, run_dir=folder, resume=True, quiet=True, finish=False)
    assert same_weights(run.folder, folder)
    quantities = ("epoch", "step", "train_loss", "train_accuracy", "val_accuracy", "ema_val_accuracy", "best")
    for ours, theirs in zip(resumed.history, run.history, strict=True):
        assert [ours[q] for q in quantities] == [theirs[q] for q in quantities]
    assert resumed.history == read_history(folder)


def test_resuming_finds_the_run_by_its_settings_or_name(data: Path) -> None:
    first = train(data, **ONLY)
    assert train(data, resume=True, **ONLY).folder == first.folder
    with pytest.raises(NotFoundError, match="no run"):
        train(data, resume=True, **{**ONLY, "batch_size": 16})
    named = train(data, name="mine", **ONLY)
    assert named.folder.name == "mine"
    assert train(data, name="mine", resume=True, quiet=True, finish=False).folder == named.folder
    with pytest.raises(ConflictError, match="already"):
        train(data, name="mine", **ONLY)
    with pytest.raises(ConflictError, match=r"learning-rate 0\.5"):
        train(data, name="mine", resume=True, learning_rate=0.5)
    with pytest.raises(ConflictError, match="--model convnet"):
        train(data, name="mine", resume=True, model="convnet")


def test_a_run_with_other_options_of_the_model_is_another_run(data: Path) -> None:
    options: dict[str, Any] = {**ONLY, "model": "balanced_cnn", "epochs": 1}
    plain = train(data, **options)
    other = train(data, model_options={"dropout_2": "0.1"}, **options)
    assert train(data, resume=True, **options).folder == plain.folder
    assert train(data, resume=True, model_options={"dropout_2": "0.1"}, **options).folder == other.folder
    with pytest.raises(NotFoundError, match="no run of balanced_cnn") as caught:
        train(data, resume=True, model_options={"dropout_2": "0.2"}, **options)
    assert f"{other.folder.name} had other settings: --option dropout_2=0.2 (was 0.1)." in caught.value.hint
    # In a folder that is named, the run's own options need not be repeated, but contradicting them is no resuming.
    assert train(data, run_dir=other.folder, resume=True, quiet=True, finish=False).folder == other.folder
    with pytest.raises(ConflictError, match=r"--option dropout_2=0\.2 \(was 0\.1\)"):
        train(data, run_dir=other.folder, resume=True, quiet=True, model_options={"dropout_2": "0.2"})
    with pytest.raises(ConflictError, match="--model simple_cnn"):
        train(data, run_dir=other.folder, resume=True, quiet=True, model="simple_cnn")


def test_resuming_a_run_that_was_killed_before_it_began(
    data: Path, run: TrainingRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "killed"
    folder.mkdir()
    options = {**ONLY, "quiet": False}
    assert train(data, run_dir=folder, resume=True, ema_decay=0.9, **options).folder == folder
    assert f"nothing to resume in {folder}: the run begins" in capsys.readouterr().err
    assert same_weights(run.folder, folder)


@pytest.mark.parametrize(
    "wrong",
    [
        {"model": "balanced_cnn", "batch_size": 1},
        {"learning_rate": 1e12, "clip_norm": 0.0, "optimizer": "sgd", "precision": "float32"},
    ],
    ids=["before the first step", "before the first checkpoint"],
)
def test_a_run_that_fails_before_anything_was_trained_leaves_its_name_free(
    data: Path, home: Path, wrong: dict[str, Any]
) -> None:
    with pytest.raises(InksightError):
        train(data, name="mine", **{**ONLY, "tensorboard": True, **wrong})
    assert not (home / "runs" / "mine").exists()
    assert train(data, name="mine", **{**ONLY, "epochs": 1}).folder == home / "runs" / "mine"


def test_a_run_that_fails_later_can_be_resumed(data: Path, tmp_path: Path) -> None:
    def full(entry: dict[str, Any]) -> None:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        train(data, run_dir=tmp_path / "run", on_epoch=full, **ONLY)
    resumed = train(data, run_dir=tmp_path / "run", resume=True, quiet=True, finish=False)
    assert [entry["epoch"] for entry in resumed.history] == [1, 2, 3]


def test_early_stopping_stops_and_keeps_the_best(data: Path, tmp_path: Path) -> None:
    options = {**ONLY, "epochs": 40, "early_stopping_patience": 2, "learning_rate": 0.002}
    done = train(data, run_dir=tmp_path / "run", **options)
    assert len(done.history) < 40
    best = max(entry["epoch"] for entry in done.history if entry["best"])
    assert len(done.history) == best + 2
    assert max(entry["val_accuracy"] for entry in done.history) > 0.8


def test_of_epochs_with_the_same_accuracy_the_one_with_the_least_loss_is_best(data: Path, tmp_path: Path) -> None:
    done = train(data, run_dir=tmp_path / "run", **{**ONLY, "epochs": 8, "learning_rate": 0.01})
    ranks = [(entry["val_accuracy"], -entry["val_loss"]) for entry in done.history]
    best = ranks.index(max(ranks))
    accuracies = [accuracy for accuracy, _ in ranks]
    assert accuracies.index(max(accuracies)) < best, "this data leaves no tie to break"
    assert load_checkpoint(done.folder / "checkpoints" / "best.pt")["epoch"] == best + 1
    assert [entry["best"] for entry in done.history] == [
        rank > max(ranks[:place], default=(-1.0, 0.0)) for place, rank in enumerate(ranks)
    ]


@pytest.mark.parametrize("scheduler", ["cosine", "step", "plateau", "none"])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_other_recipes_train(data: Path, tmp_path: Path, scheduler: str, optimizer: str) -> None:
    options = {**ONLY, "scheduler": scheduler, "optimizer": optimizer, "epochs": 2}
    options |= {"learning_rate": 0.05 if optimizer == "sgd" else 0.002, "label_smoothing": 0.1, "precision": "float32"}
    done = train(data, run_dir=tmp_path / "run", class_weights="effective", augment=0, dropout=0.1, **options)
    assert done.history[-1]["val_accuracy"] > 0.8


def test_a_class_with_one_image_and_splits_without_any(tmp_path: Path) -> None:
    path = write_bars(tmp_path / "odd.h5", counts=(60, 60, 1), val=0, test=0)
    done = train(path, run_dir=tmp_path / "run", class_weights="balanced", ema_decay=0.5, **QUICK)
    assert done.metrics == {}
    assert "val_accuracy" not in done.history[-1]
    assert done.history[-1]["best"]
    assert (done.bundle / "model.json").is_file()


def test_a_file_larger_than_the_limit_is_read_in_chunks(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {**ONLY, "quiet": False}
    done = train(data, run_dir=tmp_path / "run", memory_limit=0.0002, **options)
    assert "read in shuffled chunks" in capsys.readouterr().err
    assert max(entry["val_accuracy"] for entry in done.history) > 0.8


def test_fast_only_tries(data: Path, tmp_path: Path) -> None:
    done = train(data, run_dir=tmp_path / "run", fast=True, **ONLY)
    assert len(done.history) == 2


def test_a_diverging_run_says_so_and_keeps_its_checkpoint_finite(data: Path, tmp_path: Path) -> None:
    options = {**ONLY, "learning_rate": 1e12, "clip_norm": 0.0, "optimizer": "sgd", "precision": "float32"}
    with pytest.raises(TrainingError, match="not a number") as error:
        train(data, run_dir=tmp_path / "run", checkpoint_every=0, **options)
    assert error.value.hint == "Lower --learning-rate (now 1e+12) or set --clip-norm 1."
    last = tmp_path / "run" / "checkpoints" / "last.pt"
    assert not last.exists() or all(bool(value.isfinite().all()) for value in weights(tmp_path / "run").values())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "simple_cn"}, "simple_cn"),
        ({"epochs": 0}, "--epochs"),
        ({"optimizer": "lion"}, "lion"),
        ({"name": "a/b"}, "--name"),
        ({"name": ".best"}, "--name"),  # no bundle may have such names: said before the training, not after it
        ({"name": "x" * 201}, "--name"),
        ({"name": ".best", "run_dir": "elsewhere"}, "--name"),
        ({"model_options": {"width": 3}}, "width"),
        ({"model": "balanced_cnn", "batch_size": 1}, "batch normalisation"),
        ({"device": "cuda"}, "no usable GPU"),
    ],
)
def test_wrong_settings_are_named(data: Path, options: dict[str, Any], message: str) -> None:
    if "device" in options and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(UsageError, match=message):
        train(data, **{**ONLY, **options})


def test_data_that_cannot_be_learned_are_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="single class"):
        train(write_bars(tmp_path / "one.h5", counts=(20,)), **ONLY)
    with pytest.raises(TrainingError, match="no training images"):
        train(write_bars(tmp_path / "none.h5", counts=(0, 0)), **ONLY)
    with pytest.raises(NotFoundError, match="does not exist"):
        train(tmp_path / "nothing.h5", **ONLY)


def test_a_damaged_or_hostile_checkpoint_is_refused(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'ran'}",)

    torch.save({"format": 1, "model": Hostile()}, tmp_path / "hostile.pt")
    with pytest.raises(TrainingError, match="cannot be read: Weights only load failed") as caught:
        load_checkpoint(tmp_path / "hostile.pt")
    assert "weights_only" not in caught.value.message, "nobody should be told to load it unsafely"
    assert not (tmp_path / "ran").exists()
    save_checkpoint(tmp_path / "good.pt", {"model": {"w": torch.ones(1000)}})
    cut = (tmp_path / "good.pt").read_bytes()[:-700]
    (tmp_path / "cut.pt").write_bytes(cut)
    with pytest.raises(TrainingError, match="cannot be read"):
        load_checkpoint(tmp_path / "cut.pt")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk_is_called_so(tmp_path: Path) -> None:
    """PyTorch's own words for it are `unexpected pos 139904 vs 139796`."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        save_checkpoint(disk / "last.pt", {"weights": torch.ones(30_000)})
        with pytest.raises(OSError, match="No space left") as caught:
            save_checkpoint(disk / "last.pt", {"weights": torch.zeros(30_000)})
        assert caught.value.errno == errno.ENOSPC
        assert [path.name for path in disk.iterdir()] == ["last.pt"]
        assert load_checkpoint(disk / "last.pt")["weights"].sum() == 30_000
    finally:
        subprocess.run(["umount", disk], check=True)


class Broken(NoTracker):
    def epoch(self, entry: dict[str, Any]) -> None:
        raise ConnectionError("server gone")


class Counting(NoTracker):
    epochs = 0

    def epoch(self, entry: dict[str, Any]) -> None:
        self.epochs += 1


def test_a_tracker_that_fails_is_named_once_and_the_others_go_on(tmp_path: Path) -> None:
    warnings: list[str] = []
    counting = Counting()
    trackers = Trackers([Broken(), counting], warnings.append)
    trackers.start(RunInfo("run", tmp_path, {}))
    for epoch in range(3):
        trackers.epoch({"epoch": epoch})
    assert counting.epochs == 3
    assert warnings == ["Broken failed and is left out from now on: server gone"]


def test_training_works_outside_the_main_thread(data: Path, tmp_path: Path) -> None:
    results: list[TrainingRun] = []
    thread = threading.Thread(target=lambda: results.append(train(data, run_dir=tmp_path / "run", fast=True, **ONLY)))
    thread.start()
    thread.join()
    assert len(results[0].history) == 2


def test_a_callback_may_stop_the_training(data: Path, tmp_path: Path) -> None:
    class Pruned(Exception):
        pass

    seen = []

    def stop_after_two(entry: dict[str, Any]) -> None:
        seen.append(entry["val_accuracy"])
        if len(seen) == 2:
            raise Pruned

    with pytest.raises(Pruned):
        train(data, run_dir=tmp_path / "run", on_epoch=stop_after_two, **ONLY)
    assert len(read_history(tmp_path / "run")) == 2


def test_a_settings_file_says_what_is_prepared_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "settings.toml"
    config.write_text("[prepare]\nper_class = 10\n")
    given: list[Path | None] = []

    def ensure(data: str, *, config: Path | None, progress: object) -> Path:
        given.append(config)
        raise DataError("that is all")

    monkeypatch.setattr("inksight.training.trainer.ensure_dataset", ensure)
    with pytest.raises(DataError, match="that is all"):
        train("quickdraw10", model="simple_cnn", config=config, quiet=True)
    assert given == [config]
