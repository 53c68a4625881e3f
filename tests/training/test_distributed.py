"""Several processes that train one model: they reach what one reaches, and end together however one of them does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from inksight.training.checkpoints import load_checkpoint
from inksight.training.trackers import read_history
from tests.waiting import alive

from .made import write_bars

# No dropout, augmentation or batch norm: those draw, or measure, per process. Odd batch sizes give uneven shares.
OPTIONS = ["--model", "simple_cnn", "--epochs", "3", "--batch-size", "31", "--threads", "1", "--dropout", "0"]
OPTIONS += ["--augment", "0", "--precision", "float32", "--class-weights", "balanced", "--optimizer", "sgd"]
OPTIONS += ["--learning-rate", "0.05", "--no-tensorboard"]


TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
TWO = ["--workers", "2"]


def run(data: Path, folder: Path, more: list[str], launcher: list[str] | None = None) -> str:
    words = ["-m", "inksight", "train", str(data), "--run-dir", str(folder), *OPTIONS, *more]
    done = subprocess.run(
        [sys.executable, *(launcher or []), *words],
        env={**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(folder.parent)},  # torchrun leaves its logs there
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("how", ["in memory", "in chunks, by torchrun"])
def test_two_processes_reach_what_one_reaches(tmp_path: Path, how: str) -> None:
    data = write_bars(tmp_path / "bars.h5", counts=(150, 101, 50), val=33, test=33)
    chunks = how != "in memory"
    printed = run(data, tmp_path / "two", ["--memory-limit", "0.0003"] if chunks else TWO, TORCHRUN if chunks else None)
    assert printed.count("accuracy") == 1, "both processes printed"
    two = read_history(tmp_path / "two")
    assert two[-1]["val_accuracy"] > 0.9
    assert (tmp_path / "two" / "bundle" / "model.onnx").is_file()
    if chunks:
        return  # chunks are shared out by process, so the order of images depends on how many there are
    run(data, tmp_path / "one", [])
    for ours, theirs in zip(two, read_history(tmp_path / "one"), strict=True):
        for key in ("train_loss", "val_loss", "train_accuracy", "val_accuracy"):
            assert ours[key] == pytest.approx(theirs[key], abs=2e-4)
    # Equal up to the order of float32 sums, which three epochs of steps amplify.
    name = Path("checkpoints") / "last.pt"
    ours, theirs = (load_checkpoint(tmp_path / which / name)["model"] for which in ("two", "one"))
    for key, value in theirs.items():
        torch.testing.assert_close(ours[key], value, atol=2e-4, rtol=0)


def start(data: Path, folder: Path, *more: str) -> subprocess.Popen[str]:
    """Start two workers on a training of a few seconds, with all that has a state: Muon, averages, dropout."""
    words = [sys.executable, "-m", "inksight", "train", str(data), "--model", "sketchnet-s", "--run-dir", str(folder)]
    words += ["--optimizer", "muon", "--ema-decay", "0.9", "--epochs", "20", "--batch-size", "32", "--workers", "2"]
    words += ["--no-tensorboard", "--checkpoint-every", "0.1", *more]
    environment = {**os.environ, "TMPDIR": str(folder.parent)}  # where a killed one leaves its files
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def wait_for_epochs(process: subprocess.Popen[str], folder: Path, count: int) -> None:
    deadline = time.monotonic() + 120
    while not (folder / "history.jsonl").exists() or len(read_history(folder)) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def workers_of(process: subprocess.Popen[str]) -> dict[int, int]:
    """Return the process numbers of the workers by rank."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if path.read_text().rpartition(")")[2].split()[1] == str(process.pid):
                variables = dict(part.partition("=")[::2] for part in (path.parent / "environ").read_text().split("\0"))
                found[int(variables["RANK"])] = int(path.parent.name)
    return found


@pytest.mark.slow
def test_stopped_and_resumed_it_ends_with_the_same_weights(tmp_path: Path) -> None:
    data = write_bars(tmp_path / "bars.h5", counts=(60, 60))
    straight = start(data, tmp_path / "straight")
    assert straight.communicate()[1] is not None
    assert straight.returncode == 0
    stopped = start(data, tmp_path / "stopped")
    wait_for_epochs(stopped, tmp_path / "stopped", 3)
    stopped.send_signal(signal.SIGINT)
    _, err = stopped.communicate(timeout=90)
    assert stopped.returncode == 130
    assert err.count("Interrupted. Go on with: ") == 1
    assert len(read_history(tmp_path / "stopped")) < 20
    resumed = start(data, tmp_path / "stopped", "--resume")
    _, err = resumed.communicate()
    assert resumed.returncode == 0, err
    weights = [load_checkpoint(tmp_path / name / "checkpoints" / "last.pt") for name in ("straight", "stopped")]
    for part in ("model", "ema"):
        for key, value in weights[0][part].items():
            assert torch.equal(value, weights[1][part][key]), f"{part} {key}"


STOPPED = """
import os, signal, sys
from inksight.cli import main
from inksight.training.progress import Progress

plain = Progress.step

def step(self, epoch, number, *rest):
    if number == 5:
        os.kill(os.getpid(), signal.SIGINT)
    plain(self, epoch, number, *rest)

Progress.step = step
sys.exit(main())
"""


@pytest.mark.slow
def test_stopped_within_an_epoch_it_records_the_loss_of_all_its_images(tmp_path: Path) -> None:
    data = write_bars(tmp_path / "bars.h5", counts=(150, 101, 50), val=0, test=0)
    run(data, tmp_path / "straight", ["--epochs", "1"], TORCHRUN)
    (tmp_path / "stopped.py").write_text(STOPPED)
    words = ["train", str(data), "--run-dir", str(tmp_path / "stopped"), *OPTIONS, "--epochs", "1"]
    subprocess.run(
        [sys.executable, *TORCHRUN, str(tmp_path / "stopped.py"), *words],
        env={**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path)},
        capture_output=True,
        check=False,
    )
    saved = load_checkpoint(tmp_path / "stopped" / "checkpoints" / "last.pt")["state"]
    assert (saved["epoch"], saved["batch"]) == (0, 5)
    run(data, tmp_path / "stopped", ["--epochs", "1", "--resume"], TORCHRUN)
    (straight,), (stopped,) = (read_history(tmp_path / name) for name in ("straight", "stopped"))
    for key in ("train_loss", "train_accuracy"):
        assert stopped[key] == pytest.approx(straight[key], rel=1e-9)


@pytest.mark.slow
def test_a_dead_worker_ends_the_run_and_its_checkpoint_stays(tmp_path: Path) -> None:
    data = write_bars(tmp_path / "bars.h5", counts=(60, 60))
    process = start(data, tmp_path / "run")
    wait_for_epochs(process, tmp_path / "run", 3)
    ranks = workers_of(process)
    assert sorted(ranks) == [0, 1]
    os.kill(ranks[1], signal.SIGKILL)
    began = time.monotonic()
    _, err = process.communicate(timeout=60)
    assert time.monotonic() - began < 20
    assert process.returncode == 1
    assert "worker 2 of 2 was killed by SIGKILL" in err
    assert "GLHF" not in err, "the good wishes of a library"
    assert "Traceback" not in err
    assert not alive(ranks[0])
    resumed = start(data, tmp_path / "run", "--resume")
    _, err = resumed.communicate()
    assert resumed.returncode == 0, err
    assert [entry["epoch"] for entry in read_history(tmp_path / "run")] == list(range(1, 21))


@pytest.mark.slow
def test_workers_end_when_who_minds_them_is_killed(tmp_path: Path) -> None:
    data = write_bars(tmp_path / "bars.h5", counts=(60, 60))
    process = start(data, tmp_path / "run")
    wait_for_epochs(process, tmp_path / "run", 1)
    ranks = workers_of(process)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 60
    while any(alive(number) for number in ranks.values()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert len(read_history(tmp_path / "run")) < 20
    assert load_checkpoint(tmp_path / "run" / "checkpoints" / "last.pt")["state"]["step"] > 0


@pytest.mark.slow
def test_what_is_wrong_is_said_once(tmp_path: Path) -> None:
    process = start(tmp_path / "absent.h5", tmp_path / "run")
    _, err = process.communicate()
    assert process.returncode == 2
    assert err.count("absent.h5") == 1
