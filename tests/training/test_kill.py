"""Killed with SIGKILL at any moment and resumed from the command line, a run ends with bit-identical weights."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from inksight.training.checkpoints import load_checkpoint
from inksight.training.trackers import read_history

from .made import write_bars

OPTIONS = ["--model", "balanced_cnn", "--epochs", "6", "--batch-size", "24", "--threads", "1", "--ema-decay", "0.9"]
# A checkpoint every 20 ms: several in each epoch, so that most kills fall between two in the middle of an epoch.
OPTIONS += ["--deterministic", "--checkpoint-every", "0.02", "--no-tensorboard"]
# Trains without the evaluation and the bundle, which this test is not about.
SCRIPT = "import sys; from inksight.training import trainer; trainer._judge_and_save = lambda *a: {}\n"
SCRIPT += "from inksight.cli import main; sys.argv = ['inksight', *sys.argv[1:]]; main()"


def command(data: Path, folder: Path, *more: str) -> list[str]:
    return [sys.executable, "-c", SCRIPT, "train", str(data), "--run-dir", str(folder), *OPTIONS, *more]


def weights(folder: Path, name: str) -> dict[str, torch.Tensor]:
    model: dict[str, torch.Tensor] = load_checkpoint(folder / "checkpoints" / f"{name}.pt")["model"]
    return model


@pytest.mark.slow
def test_killed_again_and_again_it_ends_bit_identical(tmp_path: Path, home: Path) -> None:
    data = write_bars(tmp_path / "bars.h5", counts=(150, 150, 150))
    environ = {**os.environ, "OMP_NUM_THREADS": "1"}
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    subprocess.run(command(data, straight), check=True, env=environ, capture_output=True)

    chance = random.Random(0)
    kills, steps_at_kill = 0, []
    for _ in range(10):
        # From the first time on: a job that is always started with --resume may be killed before its run began.
        process = subprocess.Popen(
            command(data, killed, "--resume"), env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        last = killed / "checkpoints" / "last.pt"
        before = last.stat().st_mtime_ns if last.exists() else 0
        # Wait until this process has written a checkpoint of its own, then kill it a little later.
        while process.poll() is None and (last.stat().st_mtime_ns if last.exists() else 0) == before:
            time.sleep(0.005)
        if process.poll() is None and kills < 4:
            time.sleep(chance.uniform(0, 0.15))
            process.send_signal(signal.SIGKILL)
        _, errors = process.communicate()
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, errors.decode()
        kills += 1
        steps_at_kill.append(load_checkpoint(last)["state"]["batch"])
    assert process.returncode == 0
    assert kills >= 3, "the run was too fast to be killed"
    assert any(steps_at_kill), "every kill fell between two epochs"

    for name in ("last", "best"):
        ours, theirs = weights(killed, name), weights(straight, name)
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    times = ("seconds", "images_per_second")
    for one, other in zip(read_history(killed), read_history(straight), strict=True):
        assert {k: v for k, v in one.items() if k not in times} == {k: v for k, v in other.items() if k not in times}


def test_ctrl_c_ends_with_130_and_says_how_to_go_on(tmp_path: Path, home: Path) -> None:
    data = write_bars(tmp_path / "bars.h5")
    folder = tmp_path / "run"
    process = subprocess.Popen(
        [*command(data, folder), "--epochs", "500"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    while process.poll() is None and not (folder / "checkpoints" / "last.pt").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    said = f"Interrupted. Go on with: inksight train {data} --run-dir {folder} --resume"
    assert errors.decode().splitlines()[-1] == said
    assert errors.decode().count("nterrupted") == 1
