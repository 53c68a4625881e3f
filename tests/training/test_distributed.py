"""Two processes under torchrun reach what one process reaches."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from inksight.training.checkpoints import load_checkpoint
from inksight.training.trackers import read_history

from .made import write_bars

# No dropout, augmentation or batch norm: those draw, or measure, per process. Odd batch sizes give uneven shares.
OPTIONS = ["--model", "simple_cnn", "--epochs", "3", "--batch-size", "31", "--threads", "1", "--dropout", "0"]
OPTIONS += ["--augment", "0", "--precision", "float32", "--class-weights", "balanced", "--optimizer", "sgd"]
OPTIONS += ["--learning-rate", "0.05", "--no-tensorboard"]


def run(data: Path, folder: Path, *, processes: int, more: list[str]) -> str:
    launcher = [sys.executable]
    if processes > 1:
        launcher += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    done = subprocess.run(
        [*launcher, "-m", "inksight", "train", str(data), "--run-dir", str(folder), *OPTIONS, *more],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("more", [[], ["--memory-limit", "0.0003"]], ids=["in memory", "in chunks"])
def test_two_processes_reach_what_one_reaches(tmp_path: Path, home: Path, more: list[str]) -> None:
    data = write_bars(tmp_path / "bars.h5", counts=(150, 101, 50), val=33, test=33)
    printed = run(data, tmp_path / "two", processes=2, more=more)
    assert printed.count("accuracy") == 1, "both processes printed"
    two = read_history(tmp_path / "two")
    assert two[-1]["val_accuracy"] > 0.9
    assert (tmp_path / "two" / "bundle" / "model.onnx").is_file()
    if more:
        return  # chunks are shared out by process, so the order of images depends on how many there are
    run(data, tmp_path / "one", processes=1, more=more)
    for ours, theirs in zip(two, read_history(tmp_path / "one"), strict=True):
        for key in ("train_loss", "val_loss", "train_accuracy", "val_accuracy"):
            assert ours[key] == pytest.approx(theirs[key], abs=2e-4)
    # Equal up to the order of float32 sums, which three epochs of steps amplify.
    name = Path("checkpoints") / "last.pt"
    ours, theirs = (load_checkpoint(tmp_path / which / name)["model"] for which in ("two", "one"))
    for key, value in theirs.items():
        torch.testing.assert_close(ours[key], value, atol=2e-4, rtol=0)
