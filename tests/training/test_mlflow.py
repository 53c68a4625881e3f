"""MLflow, asked what it knows by its own client: a real server, also one that is killed in the middle of a training."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient

import inksight
from inksight.data import open_dataset
from inksight.errors import ConflictError, MissingPartError, TrainingError, UsageError
from inksight.training import mlflow_tracker, train
from inksight.training.mlflow_tracker import check_address
from tests.servers import MlflowServer

from .made import write_bars

QUICK: dict[str, Any] = {"model": "simple_cnn", "batch_size": 32, "threads": 1, "tensorboard": False}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    # Each test's data have a name, and so an experiment, of their own.
    return write_bars(tmp_path / f"{tmp_path.name}.h5")


@pytest.fixture
def client(mlflow_server: MlflowServer) -> MlflowClient:
    if mlflow_server.process is None:
        mlflow_server.start()
    return MlflowClient(mlflow_server.address)


def runs(client: MlflowClient, experiment: str) -> list[Any]:
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    return list(client.search_runs([found.experiment_id]))


def steps(client: MlflowClient, run: Any, key: str = "train_loss") -> list[int]:
    return [metric.step for metric in client.get_metric_history(run.info.run_id, key)]


def test_everything_is_there_and_the_model_comes_back(
    client: MlflowClient,
    data: Path,
    mlflow_server: MlflowServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    done = train(data, epochs=2, run_dir=tmp_path / "first", mlflow=mlflow_server.address, **QUICK)
    [run] = runs(client, data.stem)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "first"
    assert run.data.params["model"] == "simple_cnn"
    assert run.data.params["epochs"] == "2"
    assert run.data.params["option.dropout"] == "0.5"
    with open_dataset(data) as dataset:
        assert run.data.params["data_sha256"] == dataset.sha256
    for key in ("train_loss", "val_loss", "val_accuracy", "learning_rate"):
        history = client.get_metric_history(run.info.run_id, key)
        assert [metric.step for metric in history] == [1, 2]
        assert [metric.value for metric in history] == pytest.approx([entry[key] for entry in done.history])
    assert run.data.metrics["test_accuracy"] == done.metrics["accuracy"]
    assert run.data.metrics["test_accuracy_interval_low"] == done.metrics["accuracy_interval"][0]
    there = {item.path for part in (None, "report", "bundle") for item in client.list_artifacts(run.info.run_id, part)}
    assert {"settings.json", "history.jsonl", "curves.png", "report/report.html", "bundle/model.onnx"} <= there

    name = f"{data.stem}-simple_cnn"
    version = client.get_model_version_by_alias(name, "candidate")
    assert client.get_model_version_by_alias(name, "champion").version == version.version == "1"
    assert version.run_id == run.info.run_id
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server.address)
    fetched = mlflow.artifacts.download_artifacts(f"models:/{name}@champion", dst_path=str(tmp_path / "fetched"))
    with open_dataset(data) as dataset:
        images = dataset.images("test")[:]
    answers = [inksight.load(folder).predict_proba(images) for folder in (done.bundle, fetched)]
    np.testing.assert_array_equal(answers[0], answers[1])
    description = json.loads((done.bundle / "model.json").read_text())
    assert mlflow_server.address not in json.dumps(description), "the server's address is not shipped"
    assert not capfd.readouterr().out, "standard output belongs to --json"


def test_the_champion_is_as_accurate_on_the_same_images(
    client: MlflowClient,
    data: Path,
    mlflow_server: MlflowServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: dict[str, Any] = {"split": "test"}
    accuracy = 0.0
    monkeypatch.setattr(mlflow_tracker, "_files", lambda folder: sorted((folder / "bundle").iterdir()))

    def judged(folder: Path, accuracy: float) -> dict[str, Any]:
        (folder / "bundle").mkdir()
        (folder / "bundle" / "model.json").write_text("{}")
        return {**told, "accuracy": accuracy}

    monkeypatch.setattr("inksight.training.trainer._judge_and_save", lambda *given: judged(given[-1], accuracy))
    name = f"{data.stem}-simple_cnn"
    pointers = []
    for number, accuracy in enumerate((0.9, 0.8, 0.9, 0.95)):  # noqa: B007  (the lambda above reads it)
        train(data, epochs=1, run_dir=tmp_path / f"r{number}", quiet=True, mlflow=mlflow_server.address, **QUICK)
        pointers.append({alias: int(v) for alias, v in client.get_registered_model(name).aliases.items()})
    assert [pointing["candidate"] for pointing in pointers] == [1, 2, 3, 4]
    assert [pointing["champion"] for pointing in pointers] == [1, 1, 3, 4]
    write_bars(data, test=11)
    accuracy = 1.0
    train(data, epochs=1, run_dir=tmp_path / "other", quiet=True, mlflow=mlflow_server.address, **QUICK)
    assert {alias: int(v) for alias, v in client.get_registered_model(name).aliases.items()} == {
        "candidate": 5,
        "champion": 4,
    }, "accuracies on other images say nothing"


def test_killed_in_the_middle_and_back_before_the_end(
    client: MlflowClient,
    data: Path,
    mlflow_server: MlflowServer,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def faults(entry: dict[str, Any]) -> None:
        if entry["epoch"] == 2:
            mlflow_server.stop()
        if entry["epoch"] == 4:
            mlflow_server.start()

    done = train(data, epochs=5, run_dir=tmp_path / "r", on_epoch=faults, mlflow=mlflow_server.address, **QUICK)
    said = capfd.readouterr().err
    assert said.count("does not answer") == 1, said
    assert said.count("answers again") == 1, said
    [run] = runs(client, data.stem)
    assert run.info.status == "FINISHED"
    assert steps(client, run) == [1, 2, 3, 4, 5]
    assert run.data.metrics["test_accuracy"] == done.metrics["accuracy"]
    assert client.get_model_version_by_alias(f"{data.stem}-simple_cnn", "candidate").run_id == run.info.run_id


def test_killed_and_never_back(
    client: MlflowClient,
    data: Path,
    mlflow_server: MlflowServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(mlflow_tracker, "PATIENCE", 1.0)
    done = train(
        data, epochs=3, run_dir=tmp_path / "r", mlflow=mlflow_server.address, **QUICK,
        on_epoch=lambda entry: mlflow_server.stop() if entry["epoch"] == 1 else None,
    )  # fmt: skip
    said = capfd.readouterr().err
    assert said.count("does not answer") == 1, said
    assert said.count("did not get") == 1, said
    assert len(done.history) == 3
    assert (done.bundle / "model.onnx").exists()
    assert (done.folder / "report" / "report.html").exists()
    mlflow_server.start()
    # What was lost is sent when the same run is taken up again.
    train(data, run_dir=done.folder, resume=True, quiet=True, mlflow=mlflow_server.address, epochs=3, **QUICK)
    [run] = runs(client, data.stem)
    assert run.info.status == "FINISHED"
    assert steps(client, run) == [1, 2, 3]
    assert client.get_model_version_by_alias(f"{data.stem}-simple_cnn", "champion").run_id == run.info.run_id


@pytest.mark.parametrize("hangs", [True, False], ids=["takes calls and never answers", "nobody listens"])
def test_one_that_never_answered(
    hangs: bool, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mlflow_tracker, "PATIENCE", 1.0)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if hangs:
            listener.listen()
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        done = train(data, epochs=2, run_dir=tmp_path / "r", mlflow=address, **QUICK)
    said = capfd.readouterr().err
    assert said.count("does not answer") <= 1
    assert said.count("did not get") == 1
    assert done.metrics["accuracy"] > 0.5


@pytest.mark.parametrize(
    ("error", "status"), [(KeyboardInterrupt(), "KILLED"), (TrainingError("diverged"), "FAILED")], ids=str
)
def test_stopped_then_resumed_it_is_one_run(
    client: MlflowClient,
    data: Path,
    mlflow_server: MlflowServer,
    tmp_path: Path,
    error: BaseException,
    status: str,
) -> None:
    def end_in_the_second(entry: dict[str, Any]) -> None:
        if entry["epoch"] == 2:
            raise error

    options = {"epochs": 3, "run_dir": tmp_path / "r", "quiet": True, "mlflow": mlflow_server.address, **QUICK}
    with pytest.raises(type(error)):
        train(data, on_epoch=end_in_the_second, **options)
    [run] = runs(client, data.stem)
    assert run.info.status == status
    assert type(error).__name__ in run.data.tags["inksight.stopped"]
    train(data, resume=True, **options)
    [run] = runs(client, data.stem)
    assert run.info.status == "FINISHED"
    assert steps(client, run) == [1, 2, 3]


def test_a_refusal_is_told_and_the_rest_goes_on(
    client: MlflowClient,
    data: Path,
    mlflow_server: MlflowServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(mlflow_tracker, "_parameters", lambda described: {"not a valid: name?!": 1})
    train(data, epochs=1, run_dir=tmp_path / "r", mlflow=mlflow_server.address, **QUICK)
    said = capfd.readouterr().err
    assert said.count("refuses") == 1
    assert "did not get 1 messages" in said
    [run] = runs(client, data.stem)
    assert steps(client, run) == [1]


def test_a_search_makes_an_experiment(client: MlflowClient, data: Path, mlflow_server: MlflowServer) -> None:
    command = [sys.executable, "-m", "inksight", "tune", str(data), "--model", "simple_cnn", "--trials", "2"]
    command += ["--epochs", "1", "--study", data.stem + "-search", "--mlflow", mlflow_server.address]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    found = runs(client, data.stem + "-search")
    assert sorted(run.info.run_name for run in found) == ["trial-0000", "trial-0001"]
    assert {run.info.status for run in found} <= {"FINISHED", "KILLED"}, done.stderr
    assert all(steps(client, run, "val_accuracy") == [1] for run in found), done.stderr
    assert client.search_registered_models(f"name LIKE '{data.stem}%'") == []


@pytest.mark.parametrize(
    ("address", "hint"),
    [
        ("localhost:5000", "For example: http"),
        ("http://", "For example: http"),
        ("http://me:secret@host:5000", "MLFLOW_TRACKING_PASSWORD"),
    ],
)
def test_what_is_no_address_is_told_before_anything_else(address: str, hint: str, data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        train(data, run_dir=tmp_path / "r", mlflow=address, **QUICK)
    assert hint in caught.value.hint
    assert "secret" not in caught.value.message
    assert not (tmp_path / "r").exists()


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    find: Callable[..., Any] = lambda name: None  # noqa: E731
    monkeypatch.setattr("importlib.util.find_spec", find)
    with pytest.raises(MissingPartError, match="mlflow-skinny"):
        check_address("http://127.0.0.1:5000")


def test_another_server_is_no_other_run(
    client: MlflowClient, data: Path, mlflow_server: MlflowServer, tmp_path: Path
) -> None:
    """--mlflow may be given or left out when a run goes on; settings that shape the weights may not change."""
    train(data, epochs=1, run_dir=tmp_path / "r", quiet=True, mlflow=mlflow_server.address, **QUICK)
    train(data, epochs=1, run_dir=tmp_path / "r", quiet=True, resume=True, **QUICK)
    with pytest.raises(ConflictError):
        train(data, epochs=2, run_dir=tmp_path / "r", quiet=True, resume=True, **QUICK)
