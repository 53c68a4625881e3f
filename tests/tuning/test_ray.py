"""Trainings and searches on a real Ray cluster, whose machines share a PostgreSQL and an S3 server and nothing else."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from inksight import registry
from inksight.config import resolve
from inksight.errors import UnavailableError, UsageError
from inksight.settings import TrainAllSettings
from inksight.training.trackers import read_history
from inksight.tuning.cluster import connected
from inksight.tuning.study import load_study
from inksight.tuning.train_all import train_all
from tests.conftest import REPOSITORY, skip_or_fail
from tests.servers import free_port
from tests.training.made import write_bars

MARK = "INKSIGHT_TEST_CLUSTER"


class Nodes:
    """A cluster of one head and two nodes with homes of their own, which asks for a token; see ray_nodes.py."""

    def __init__(self, folder: Path) -> None:
        self.homes = [folder / "node-0", folder / "node-1"]
        self.mark = uuid.uuid4().hex
        self.token = folder / "token"
        self.token.write_text(uuid.uuid4().hex + uuid.uuid4().hex)
        secret = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(self.token)}
        without_home = {name: value for name, value in os.environ.items() if name != "INKSIGHT_HOME"}
        with open(folder / "cluster.log", "wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.tuning.ray_nodes", *map(str, self.homes)],
                env={**without_home, "PYTHONPATH": str(REPOSITORY), MARK: self.mark, **secret},
                cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
                start_new_session=True,
            )  # fmt: skip
        self.address = self._answer()
        if not self.address:
            self.close()  # else a later test is blamed for the process that is left
            raise AssertionError((folder / "cluster.log").read_text())

    def kill(self, node: int) -> None:
        """Kill a node as a power cut would."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"kill {node}\n")
        self.process.stdin.flush()
        assert self._answer() == f"kill {node}"

    def close(self) -> None:
        """Take everything down; fails when a process is left."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(90)
        self.process.stdout.close()
        deadline = time.monotonic() + 30
        while (left := self._processes()) and time.monotonic() < deadline:
            time.sleep(0.2)
        for number in left:
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        assert not left, "processes of the cluster were left behind"

    def _answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def _processes(self) -> list[int]:
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):
                if f"{MARK}={self.mark}".encode() in path.read_bytes():
                    found.append(int(path.parent.name))
        return found


def need_ray() -> None:
    if importlib.util.find_spec("ray") is None:
        skip_or_fail("Ray is not installed (pip install ray)")


@pytest.fixture(scope="module", autouse=True)
def ray_files() -> Iterator[None]:
    """Ray's own files in a folder that goes; not below pytest's, whose path is too long for Ray's sockets."""
    folder = tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True)
    with folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", folder.name)
        yield


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """A cluster for this module; one test kills a node of it, as the last."""
    need_ray()
    nodes = Nodes(tmp_path_factory.mktemp("cluster"))
    try:
        yield nodes
    finally:
        nodes.close()


@pytest.fixture
def nodes(cluster: Nodes, postgres_url: str, s3_root: str, monkeypatch: pytest.MonkeyPatch) -> Nodes:
    """Two machines that share a database and a bucket, and one that commands them."""
    monkeypatch.setenv("INKSIGHT_DATABASE_URL", postgres_url)
    monkeypatch.setenv("INKSIGHT_ARTIFACTS", s3_root)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(cluster.token))
    return cluster


def wait_for(ready: object, process: subprocess.Popen[str], what: str) -> None:
    deadline = time.monotonic() + 180
    while not ready():  # type: ignore[operator]
        assert process.poll() is None, f"ended before {what}: {process.communicate()}"
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.s3
@pytest.mark.postgres
@pytest.mark.timeout(600)
def test_trials_run_on_all_machines(nodes: Nodes, tmp_path: Path) -> None:
    data = write_bars(tmp_path / "bars.h5", counts=(60, 60))
    words = [sys.executable, "-m", "inksight", "tune", str(data), "--model", "simple_cnn", "--trials", "4"]
    words += ["--jobs", "2", "--epochs", "1", "--study", "s", "--ray", nodes.address]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    trials = load_study("s").get_trials(deepcopy=False)
    assert len(trials) == 4
    assert all(trial.state.name in ("COMPLETE", "PRUNED") for trial in trials)
    assert len({trial.params["learning_rate"] for trial in trials}) == 4, "workers repeat each other"
    places = {Path(trial.user_attrs["folder"]).parents[2] for trial in trials}
    assert places == set(nodes.homes)


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.s3
@pytest.mark.postgres
@pytest.mark.timeout(600)
def test_a_machine_is_lost_and_the_matrix_completes(nodes: Nodes, tmp_path: Path, home: Path) -> None:
    data = write_bars(tmp_path / "bars.h5", counts=(100, 100))
    config = tmp_path / "mine.toml"
    config.write_text("[train]\ncheckpoint_every = 1\n")
    words = [sys.executable, "-m", "inksight", "train-all", "--models", "simple_cnn", "sketchnet-s"]
    words += ["--datasets", str(data), "--epochs", "60", "--jobs", "2", "--name", "m", "--ray", nodes.address]
    words += ["--config", str(config)]
    jobs = [home / "matrices" / "m" / f"bars-{model}" for model in ("simple_cnn", "sketchnet-s")]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: all((job / "state.json").exists() for job in jobs), process, "both had stored a checkpoint")
        assert not any((job / "result.json").exists() for job in jobs), "too late to kill anything"
        [lost] = [job for job in jobs if (nodes.homes[0] / "stations" / "m" / job.name).exists()]
        nodes.kill(0)
        out, err = process.communicate(timeout=400)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0, err
    assert "for the games: bars-" in out

    text = (lost / "log.txt").read_text()
    assert "was lost" in text
    assert "fetched a checkpoint from s3://" in text
    assert "goes on with run" in text
    for job in jobs:
        result = json.loads((job / "result.json").read_text())
        assert result["epochs"] == 60
        assert result["dataset"]["path"] == str(data)
        assert Path(result["bundle"]).is_dir(), "the bundle is not on this machine"
        assert not (job / "state.json").exists()
        run = home / "runs" / result["run"]
        assert Path(result["bundle"]) == run / "bundle"
        shown = ("curves.png", "report/report.html", "settings.json", "bundle/model.json")
        assert all((run / name).is_file() for name in shown), "the run's folder should have come here"
        assert list((run / "tensorboard").rglob("events.*"))
        assert len(read_history(run)) == 60
        assert not (run / "checkpoints").exists(), "something was trained on the machine that commands"
    with closing(registry.open()) as store:
        assert {version.ref for version in store.versions()} == {"bars-simple_cnn:1", "bars-sketchnet-s:1"}
        places = [f"jobs/m/{job.name}/{number}/last.pt" for job in jobs for number in range(100)]
        left = [place for place in places if store.artifacts.exists(place)]
        left += [f"jobs/m/{job.name}" for job in jobs if store.artifacts.exists(f"jobs/m/{job.name}/files/run.zip")]
        assert not left, "files of finished jobs were left in the bucket"


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(300)
def test_a_cluster_of_this_machine_stops_and_goes_on(tmp_path: Path, home: Path) -> None:
    need_ray()
    data = write_bars(tmp_path / "bars.h5", counts=(100, 100))
    alone = write_bars(tmp_path / "alone.h5", counts=(40,))  # a single class: its training fails
    words = [sys.executable, "-m", "inksight", "train-all", "--models", "simple_cnn", "--datasets", str(data)]
    words += [str(alone), "--epochs", "20", "--jobs", "2", "--name", "m", "--ray", "local"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        log = home / "matrices" / "m" / "bars-simple_cnn" / "log.txt"
        wait_for(lambda: log.exists() and "epoch 2/20" in log.read_text(), process, "it trained")
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the driver and to all that it started
        err = process.communicate(timeout=90)[1]
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 130, err
    assert "the same command goes on" in err
    assert (log.parent / "state.json").exists()
    [run] = (home / "runs").glob("m-bars-*")
    before = len(read_history(run))
    assert 2 <= before < 20
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "single class" in done.stderr
    with closing(registry.open()) as store:
        assert [version.ref for version in store.versions()] == ["bars-simple_cnn:1"]
    assert "goes on with run" in log.read_text()
    assert [entry["epoch"] for entry in read_history(run)] == list(range(1, 21))


def refused(address: str, **environment: str) -> str:
    wanted = {"models": "simple_cnn", "datasets": "digits", "ray": address}
    with pytest.raises(UsageError) as raised:
        train_all(resolve(TrainAllSettings, options=wanted))
    return raised.value.message


def test_what_other_machines_cannot_reach_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert "neither local nor an address" in refused("somewhere")
    assert "the database is a file" in refused("10.0.0.5:6379")
    monkeypatch.setenv("INKSIGHT_DATABASE_URL", "postgresql://inksight@127.0.0.1:1/none")
    assert "this machine's workspace" in refused("10.0.0.5:6379")


def test_a_cluster_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    need_ray()
    monkeypatch.setenv("INKSIGHT_DATABASE_URL", "postgresql://inksight@127.0.0.1:1/none")
    monkeypatch.setenv("INKSIGHT_ARTIFACTS", str(tmp_path / "shared"))
    with pytest.raises(UnavailableError, match="no cluster answers"), connected(f"127.0.0.1:{free_port()}"):
        pass
