"""Stopped right after the last batch of an epoch, or of all, a run resumes as from anywhere else."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from inksight.training import TrainingInterrupted, loop, train, trainer
from inksight.training.checkpoints import load_checkpoint
from inksight.training.progress import Progress
from inksight.training.trackers import NoTracker, read_history

from .made import write_bars


@pytest.mark.parametrize(("stop", "max_steps", "batch"), [(8, 0, 4), (10, 10, 2)])
def test_stopped_between_the_last_batch_and_the_end_of_an_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int, max_steps: int, batch: int
) -> None:
    data = write_bars(tmp_path / "bars.h5", counts=(40, 40))  # four batches an epoch
    options: dict[str, Any] = {
        "max_steps": max_steps,
        "epochs": 4,
        "batch_size": 20,
        "tensorboard": False,
        "threads": 1,
        "quiet": True,
    }
    monkeypatch.setattr(trainer, "_judge_and_save", lambda *rest: {})
    train(data, model="simple_cnn", run_dir=tmp_path / "straight", **options)
    plain = Progress.step

    def step(self: Progress, epoch: int, number: int, loss: float, accuracy: float, rate: float) -> None:
        if number == stop:
            os.kill(os.getpid(), signal.SIGTERM)
        plain(self, epoch, number, loss, accuracy, rate)

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "step", step)
        with pytest.raises(TrainingInterrupted):
            train(data, model="simple_cnn", run_dir=tmp_path / "stopped", **options)
    assert load_checkpoint(tmp_path / "stopped" / "checkpoints" / "last.pt")["state"]["batch"] == batch
    train(data, model="simple_cnn", run_dir=tmp_path / "stopped", resume=True, **options)
    histories = [read_history(tmp_path / name) for name in ("straight", "stopped")]
    for history in histories:
        for entry in history:
            del entry["seconds"], entry["images_per_second"]
    assert histories[0] == histories[1]
    assert histories[0][-1]["step"] == (max_steps or 16)


@pytest.mark.parametrize("where", ["feeds", "_judge_and_save"])
def test_stopped_before_or_after_the_loop_it_can_be_resumed_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    data = write_bars(tmp_path / "bars.h5", counts=(40, 40))
    options: dict[str, Any] = {"epochs": 1, "tensorboard": False, "threads": 1, "quiet": True}

    def ctrl_c(*rest: Any, **named: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(trainer, where, ctrl_c)
        with pytest.raises(TrainingInterrupted, match="resumed in") as stop:
            train(data, model="simple_cnn", run_dir=tmp_path / "run", **options)
    assert stop.value.folder == str(tmp_path / "run")
    assert train(data, model="simple_cnn", run_dir=tmp_path / "run", resume=True, **options).bundle.is_dir()


class Told(NoTracker):
    """Remembers how it was told that the run ended."""

    def __init__(self) -> None:
        self.ends: list[str] = []

    def finish(self, metrics: Mapping[str, Any], folder: Path) -> None:
        self.ends.append("finished")

    def stop(self, error: BaseException) -> None:
        self.ends.append(f"stopped: {error}")


@pytest.mark.parametrize("where", ["draw_curves", "_judge_and_save"])
def test_trackers_are_told_when_judging_or_saving_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def full(*rest: Any, **named: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(trainer, where, full)
    told, threads = Told(), threading.active_count()
    data = write_bars(tmp_path / "bars.h5", counts=(40, 40))
    with pytest.raises(OSError, match="no space"):
        train(data, model="simple_cnn", run_dir=tmp_path / "run", epochs=1, quiet=True, trackers=[told])
    assert told.ends == ["stopped: no space left"]
    assert threading.active_count() <= threads, "TensorBoard's writer goes on"


def test_stopped_in_the_last_validation_it_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_bars(tmp_path / "bars.h5", counts=(40, 40))
    plain = loop._measure

    def measure(*rest: Any, **named: Any) -> dict[str, float]:
        os.kill(os.getpid(), signal.SIGINT)
        return plain(*rest, **named)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_measure", measure)
        with pytest.raises(TrainingInterrupted):
            train(data, model="simple_cnn", run_dir=tmp_path / "run", epochs=1, tensorboard=False, quiet=True)
    assert not (tmp_path / "run" / "bundle").exists()
    assert load_checkpoint(tmp_path / "run" / "checkpoints" / "last.pt")["state"]["epoch"] == 1


def test_steps_end_a_training_within_a_pass_and_at_the_lowest_rate(tmp_path: Path) -> None:
    data = write_bars(tmp_path / "bars.h5", counts=(40, 40))
    done = train(
        data, model="simple_cnn", run_dir=tmp_path / "run", batch_size=20, max_steps=6, tensorboard=False, quiet=True,
        finish=False,
    )  # fmt: skip
    assert [entry["step"] for entry in done.history] == [4, 6]
    assert done.history[-1]["learning_rate"] < 1e-6 < done.history[0]["learning_rate"]


def test_half_a_bundle_does_not_stay(tmp_path: Path) -> None:
    data = write_bars(tmp_path / "bars.h5", counts=(20, 20))
    options: dict[str, Any] = {"epochs": 1, "tensorboard": False, "threads": 1, "quiet": True}
    folder = tmp_path / "run"
    train(data, model="simple_cnn", run_dir=folder, finish=False, **options)
    (folder / ".bundle.0123abcd.tmp").mkdir()  # of a process that was killed while it saved
    (folder / ".bundle.0123abcd.tmp" / "model.onnx").write_bytes(b"half")
    train(data, model="simple_cnn", run_dir=folder, resume=True, **options)
    assert sorted(path.name for path in folder.glob("*bundle*")) == ["bundle"]
