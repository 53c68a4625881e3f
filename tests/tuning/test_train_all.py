"""A matrix of trainings: one failure stops nothing, a kill costs nothing that was finished, and the report is right."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from filelock import FileLock

from inksight import registry
from inksight.config import resolve
from inksight.errors import ConflictError, NotFoundError, UsageError
from inksight.settings import TrainAllSettings, TrainSettings
from inksight.training import trainer
from inksight.training.runs import read_run
from inksight.training.trackers import read_history
from inksight.tuning import best_trial, trial, tune
from inksight.tuning.job import perform, study_of
from inksight.tuning.jobs import Handle, Job, JobProcess, Runner, read_failure
from inksight.tuning.matrix_report import lede, write_matrix_report
from inksight.tuning.train_all import Matrix, Progress, load_matrix, train_all
from tests.training.made import write_bars


def run(
    *datasets: Path,
    models: str = "simple_cnn",
    watch: Any = lambda progress: None,
    runner: Runner | None = None,
    **options: Any,
) -> Matrix:
    wanted = {"models": models, "datasets": ",".join(map(str, datasets)), "epochs": 2, **options}
    return train_all(resolve(TrainAllSettings, options=wanted), watch=watch, runner=runner)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_one_failure_does_not_stop_the_rest(tmp_path: Path) -> None:
    good = write_bars(tmp_path / "bars.h5", counts=(60, 60), test=30)
    alone = write_bars(tmp_path / "alone.h5", counts=(40,))  # a single class: its training fails
    seen: list[dict[str, str]] = []

    def watch(progress: Any) -> None:
        seen.append({one.job.dataset: one.state for one in progress})

    matrix = run(alone, good, tmp_path / "absent.h5", name="first", jobs=2, watch=watch)
    assert seen[-1] == {"alone": "failed", "bars": "done", "absent": "failed"}
    assert any(states["alone"] == states["bars"] == "running" for states in seen), "two jobs should have run at once"
    [result] = matrix.results()
    assert result["reference"] == "bars-simple_cnn:1"
    failures = {failure.job.dataset: failure for failure in matrix.failures()}
    assert "single class" in failures["alone"].message
    assert "does not exist" in failures["absent"].message
    assert all(failure.message in failure.log.read_text() for failure in failures.values())
    told = [*failures["absent"].lines(), *failures["alone"].lines()]
    assert not any("single class" in line or "does not exist" in line for line in told), "said twice"

    found, page = write_matrix_report(matrix, max_latency_ms=50)
    by_name = {dataset["name"]: dataset for dataset in found["datasets"]}
    assert by_name["alone"]["pick"] is None
    assert by_name["bars"]["pick"]["reference"] == "bars-simple_cnn:1"
    [row] = by_name["bars"]["rows"]
    with closing(registry.open()) as store:
        version = store.find(row["reference"])
    # What the report says is what the registered bundle says of itself.
    assert row["accuracy"] == version.metrics["accuracy"]
    assert row["bytes"] == version.bytes
    assert row["latency_ms"] > 0
    text = page.read_text()
    assert all(part in text for part in ("single class", "bars-simple_cnn:1", str(failures["alone"].log)))
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert 'src="data:image/png' in text

    # The same call again: what is done is left alone, what failed is tried again.
    before = (matrix.folder / "bars-simple_cnn" / "result.json").stat().st_mtime_ns
    again = run(alone, good, tmp_path / "absent.h5", name="first", jobs=2)
    assert (matrix.folder / "bars-simple_cnn" / "result.json").stat().st_mtime_ns == before
    assert len(again.failures()) == 2
    report = {name: (matrix.folder / name).read_bytes() for name in ("report.json", "latency-bars.png")}
    write_matrix_report(load_matrix(), max_latency_ms=50)
    for name, content in report.items():
        if name == "report.json":  # a failed job's log grows with each try
            old, new = (json.loads(text) for text in (content, (matrix.folder / name).read_bytes()))
            assert old["datasets"] == new["datasets"]
        else:
            assert (matrix.folder / name).read_bytes() == content
    with pytest.raises(ConflictError, match="training settings"):
        run(good, name="first", epochs=3)
    with pytest.raises(NotFoundError, match="frist"):
        load_matrix("frist")

    # Another matrix makes another version; one is kept, and a champion stays whatever its age.
    with closing(registry.open()) as store:
        store.promote("bars-simple_cnn", 1, force=True)
    run(good, name="second", auto_cleanup=True, keep=1)
    run(good, name="third", auto_cleanup=True, keep=1)
    with closing(registry.open()) as store:
        assert [version.number for version in store.versions("bars-simple_cnn")] == [3, 1]


class NoRunner:
    """Runs nothing: whoever wants to start a job is stopped."""

    threads = 1

    def start(self, job: Job, folder: Path) -> Handle:
        raise KeyboardInterrupt


def test_a_refused_call_changes_nothing(tmp_path: Path, home: Path) -> None:
    data = write_bars(tmp_path / "bars.h5", counts=(10, 10))
    with pytest.raises(KeyboardInterrupt):
        run(data, name="m", runner=NoRunner())
    folder = home / "matrices" / "m"
    before = {path: path.read_bytes() for path in folder.rglob("*.json")}
    with FileLock(folder / "lock"), pytest.raises(ConflictError, match="run by another process"):
        run(data, name="m", models="convnet", runner=NoRunner())
    assert {path: path.read_bytes() for path in folder.rglob("*.json")} == before


@pytest.mark.parametrize(
    ("table", "option", "trials"), [({}, None, 10), ({"trials": 3}, None, 3), ({"trials": 3}, 5, 5)]
)
def test_trials_are_those_of_the_option_then_of_the_table(
    tmp_path: Path, table: dict[str, int], option: int | None, trials: int
) -> None:
    data = write_bars(tmp_path / "bars.h5", counts=(10, 10))
    wanted = {"models": "simple_cnn", "datasets": str(data), "tune": True, "trials": option}
    with pytest.raises(KeyboardInterrupt):
        train_all(resolve(TrainAllSettings, options=wanted), tuning={"epochs": 2, **table}, runner=NoRunner())
    assert [job.tuning for job in load_matrix().jobs] == [{"epochs": 2, "trials": trials}]


def test_jobs_that_never_started_are_counted(tmp_path: Path) -> None:
    data = write_bars(tmp_path / "bars.h5", counts=(10, 10))
    with pytest.raises(KeyboardInterrupt):
        run(data, name="m", models="simple_cnn,convnet,deep_v1,shallow", runner=NoRunner())
    found, _ = write_matrix_report(load_matrix("m"), max_latency_ms=50)
    assert "0 of 4 trainings are done. 4 are not finished" in lede(found)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_in_the_middle_it_goes_on(tmp_path: Path, home: Path) -> None:
    data = write_bars(tmp_path / "bars.h5", counts=(60, 60))
    words = [sys.executable, "-m", "inksight", "train-all", "--models", "simple_cnn", "sketchnet-s"]
    words += ["--datasets", str(data), "--epochs", "25", "--name", "m"]
    first, second = (home / "matrices" / "m" / f"bars-{model}" for model in ("simple_cnn", "sketchnet-s"))
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while process.poll() is None and not (first / "result.json").exists():
            time.sleep(0.05)
        while process.poll() is None and len(epochs_of(second, home)) < 3:
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (second / "result.json").exists(), "the matrix was finished before it could be killed"
    finished = (first / "result.json").read_bytes()

    # Ten seconds later or at once: the same command waits for the job that the kill left behind, if it must.
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (first / "result.json").read_bytes() == finished
    assert "done before" in done.stderr
    assert "goes on with run" in (second / "log.txt").read_text()
    history = epochs_of(second, home)
    assert [entry["epoch"] for entry in history] == list(range(1, 26))
    with closing(registry.open()) as store:
        assert [version.ref for version in store.versions()] == ["bars-simple_cnn:1", "bars-sketchnet-s:1"]
    assert "for the games: bars-" in done.stdout

    again = subprocess.run([*words[:3], "report", "--json"], capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    answered = json.loads(again.stdout)
    assert answered["datasets"] == json.loads((home / "matrices" / "m" / "report.json").read_text())["datasets"]


def epochs_of(folder: Path, home: Path) -> list[dict[str, Any]]:
    """Return the epochs that a job's run has recorded so far."""
    if not (folder / "job.json").exists():
        return []
    return read_history(home / "runs" / Job.read(folder).run)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_each_job_tunes_first(tmp_path: Path, home: Path) -> None:
    data = write_bars(tmp_path / "bars.h5", counts=(60, 60))
    config = tmp_path / "mine.toml"
    config.write_text("[train]\ntensorboard = false\nbatch_size = 24\n[tune]\nepochs = 1\n")
    words = [sys.executable, "-m", "inksight", "train-all", "--models", "simple_cnn", "--datasets", str(data)]
    words += ["--tune", "--trials", "2", "--epochs", "1", "--config", str(config), "--json"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    [row] = json.loads(done.stdout)["datasets"][0]["rows"]
    assert row["study"]["trials"] == 2
    best = best_trial(row["study"]["name"])
    with closing(registry.open()) as store:
        used = store.find(row["reference"]).description
    assert used["settings"]["learning_rate"] == best.settings["learning_rate"]
    assert used["architecture"]["options"]["dropout"] == best.options["dropout"]
    assert used["settings"]["tensorboard"] is False
    # What holds for every training holds in the trials too: they would otherwise search for something else.
    for number in range(2):
        tried = json.loads(
            (home / "tuning" / row["study"]["name"] / f"trial-000{number}" / "settings.json").read_text()
        )
        assert tried["settings"]["batch_size"] == used["settings"]["batch_size"] == 24


def test_a_job_goes_on_with_the_settings_that_its_run_began_with(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when its search had ended early, and the study has found better ones since."""
    data = write_bars(tmp_path / "bars.h5", counts=(20, 20))
    tried: list[float] = []

    def ever_better(data: Path, *, learning_rate: float, **rest: Any) -> Any:
        tried.append(learning_rate)
        return SimpleNamespace(history=[{"epoch": 1, "val_accuracy": len(tried) / 10, "seconds": 0.0}])

    begun: list[TrainSettings] = []

    def stopped(dataset: Any, spec: Any, options: Any, settings: TrainSettings, *rest: Any, **more: Any) -> Any:
        begun.append(settings)
        raise KeyboardInterrupt

    monkeypatch.setattr(trial, "train", ever_better)
    monkeypatch.setattr(trainer, "_run", stopped)
    training = {"epochs": 1, "batch_size": 24}
    job = Job("k", "m", "bars", str(data), "", "simple_cnn", "m-k", "k", training, {"trials": 2, "epochs": 1})
    with pytest.raises(KeyboardInterrupt):
        perform(job)
    tune(data, model="simple_cnn", trials=3, epochs=1, study=job.run, training=training)
    assert best_trial(job.run).settings["learning_rate"] == tried[2]
    with pytest.raises(KeyboardInterrupt):
        perform(replace(job, tuning={"trials": 4, "epochs": 1}))
    assert len(tried) == 3, "a search although the run had begun"
    assert begun[0] == begun[1]
    study = study_of(read_run(home / "runs" / job.run), job)
    assert study is not None
    assert study["settings"]["learning_rate"] == begun[0].learning_rate == tried[1]
    assert (study["best_trial"], study["trials"]) == (1, 3)


@pytest.mark.slow
def test_a_finished_job_needs_its_dataset_no_more(tmp_path: Path) -> None:
    data = write_bars(tmp_path / "bars.h5", counts=(60, 60))
    write_matrix_report(run(data, name="m"), max_latency_ms=50)
    data.unlink()
    ended: list[tuple[str, bool]] = []
    again = run(data, name="m", watch=lambda progress: ended.extend((one.state, one.before) for one in progress))
    assert set(ended) == {("done", True)}
    assert again.failures() == []
    found, _ = write_matrix_report(again, max_latency_ms=50)
    assert lede(found) == "1 model on 1 dataset: 1 of 1 trainings are done."


def test_what_fails_all_models_is_told_once(tmp_path: Path, home: Path) -> None:
    words = ["-m", "inksight", "train-all", "--models", "simple_cnn", "convnet", "shallow", "--name", "m"]
    words += ["--datasets", str(tmp_path / "absent.h5")]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    reason = f"dataset file '{tmp_path}/absent.h5' does not exist"
    assert done.stderr.count(reason) == 2, "when it happens, and at the end"
    assert "absent shallow: failed as simple_cnn did" in done.stderr
    assert f"failed: simple_cnn, convnet, shallow on absent: {reason}" in done.stderr
    assert "3 of 3 jobs failed" in done.stderr
    folder = home / "matrices" / "m"
    assert (folder / "report.html").read_text().count(reason.replace("'", "&#39;")) == 1
    listed = json.loads((folder / "report.json").read_text())["failures"]
    assert [failure["model"] for failure in listed] == ["simple_cnn", "convnet", "shallow"]


def test_a_search_without_validation_images_fails_before_it_starts(tmp_path: Path) -> None:
    data = write_bars(tmp_path / "bars.h5", counts=(10, 10), val=0)
    states: list[str] = []
    matrix = run(data, tune=True, watch=lambda progress: states.extend(one.state for one in progress))
    [failure] = matrix.failures()
    assert "bars has no validation images" in failure.message
    assert "--val-ratio" in failure.hint
    assert set(states) == {"failed"}


def test_a_job_that_is_killed_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job("a", "m", "d", "d.h5", "", "simple_cnn", "r", "n")
    monkeypatch.setattr(sys, "executable", "/bin/sh")
    (tmp_path / "-m").write_text("")  # what the stand-in is asked to run is not there, so it ends with an error
    process = JobProcess(job, tmp_path / "a")
    process.wait()
    failure = read_failure(job, tmp_path / "a")
    assert failure is not None
    assert "ended with code" in failure.message
    assert failure.lines()


def test_a_job_ends_when_its_parent_does(tmp_path: Path) -> None:
    """A parent that is killed closes the pipe; its job then ends by itself."""
    script = (
        "import time; from inksight.training.interrupt import end_with_parent\n"
        "end_with_parent()\n"
        "print('ready', flush=True); time.sleep(300)"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.stdin.close()
    assert process.wait(60) == -signal.SIGTERM
    process.stdout.close()


def test_what_cannot_be_meant_is_refused_before_anything_runs(tmp_path: Path) -> None:
    data = write_bars(tmp_path / "bars.h5", counts=(10, 10))
    with pytest.raises(NotFoundError, match="'simple_cn' for --models"):
        run(data, models="simple_cn")
    with pytest.raises(UsageError, match="--trials 3: nothing is searched for"):
        run(data, trials=3)
    with pytest.raises(UsageError, match="--datasets: none given"):
        run()
    with pytest.raises(UsageError, match="--name"):
        run(data, name="../x")
    (tmp_path / "other").mkdir()
    with pytest.raises(UsageError, match="same name: bars-simple_cnn"):
        run(data, write_bars(tmp_path / "other" / "bars.h5", counts=(10, 10)))
    searched = resolve(TrainAllSettings, options={"models": "simple_cnn", "datasets": str(data), "tune": True})
    for training, tuning, message in (
        ({"epochs": 0}, {}, "--epochs: 0"),
        ({"epoch": 3}, {}, "unknown setting 'epoch'"),
        ({"name": "x"}, {}, r"\[train\] name"),
        ({}, {"sampler": "x"}, "--sampler"),
        ({}, {"study": "x"}, r"\[tune\] study"),
    ):
        with pytest.raises((UsageError, NotFoundError), match=message):
            train_all(searched, training=training, tuning=tuning)
    assert not (Path(os.environ["INKSIGHT_HOME"]) / "matrices").exists()


def test_lists_take_spaces_and_commas() -> None:
    from typer.testing import CliRunner

    from inksight.cli import app

    words = ["train-all", "--models", "simple_cnn", "convnet,nonsense", "--jobs", "2", "--datasets", "digits"]
    result = CliRunner().invoke(app, words)
    assert isinstance(result.exception, NotFoundError)
    assert "nonsense" in result.exception.message


def test_progress_lines_name_what_changed(capsys: pytest.CaptureFixture[str]) -> None:
    from inksight.cli.matrix_progress import Lines

    one = Progress(Job("k", "m", "digits", "d.h5", "", "convnet", "r", "n"))
    with Lines() as lines:
        lines([one])
        one.state = "running"
        lines([one])
        lines([one])
        one.state, one.seconds = "done", 61.0
        one.result = {"metrics": {"accuracy": 0.9, "accuracy_interval": [0.8, 0.95]}, "reference": "digits-convnet:1"}
        lines([one])
    assert capsys.readouterr().err.splitlines() == [
        "[0/1] digits convnet: started, 1 thread",
        "[1/1] digits convnet: 90.0% (80.0% to 95.0%), digits-convnet:1, 1m01s",
    ]
