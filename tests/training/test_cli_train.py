"""`inksight train` at the command line."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from inksight.cli import app
from inksight.errors import UsageError
from inksight.training import trainer
from inksight.training.progress import Progress, duration

from .made import write_bars

OPTIONS = ["--model", "simple_cnn", "--epochs", "2", "--batch-size", "32", "--threads", "1", "--no-tensorboard"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bars(tmp_path_factory.mktemp("data") / "bars.h5")


def test_it_prints_what_to_do_next(data: Path, home: Path) -> None:
    result = CliRunner().invoke(app, ["train", str(data), *OPTIONS, "--name", "mine"], catch_exceptions=False)
    assert result.exit_code == 0
    assert f"bundle   {home / 'runs' / 'mine' / 'bundle'}" in result.stdout
    assert "inksight serve" in result.stdout
    assert "epoch 2/2" in result.stderr
    assert "img/s" in result.stderr


def test_without_anything_to_judge_on_no_report_is_promised(tmp_path: Path, home: Path) -> None:
    data = write_bars(tmp_path / "bars.h5", counts=(20, 20), val=0, test=0)
    result = CliRunner().invoke(app, ["train", str(data), *OPTIONS, "--name", "mine"], catch_exceptions=False)
    assert "not judged: the data has neither a test nor a validation split" in result.stdout
    assert "report" not in result.stdout
    assert not (home / "runs" / "mine" / "report").exists()


@pytest.mark.parametrize(("rank", "lines"), [("0", 1), ("1", 0)])
def test_of_several_processes_on_a_terminal_one_says_that_it_stopped(
    data: Path, monkeypatch: pytest.MonkeyPatch, rank: str, lines: int
) -> None:
    def ctrl_c(*rest: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setenv("RANK", rank)
    monkeypatch.setattr(trainer, "_judge_and_save", ctrl_c)
    result = CliRunner().invoke(app, ["train", str(data), *OPTIONS])
    assert result.exit_code == 130
    assert result.stderr.count("Interrupted. Go on with: ") == lines


def test_a_stopped_training_on_photos_that_a_file_prepared_goes_on_as_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(0)
    for kind in ("bright", "dark"):
        (tmp_path / "photos" / kind).mkdir(parents=True)
        for number in range(12):
            pixels = random.integers(0, 100, (40, 40, 3)) + (150 if kind == "bright" else 0)
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "photos" / kind / f"{number}.png")
    config = tmp_path / "my settings.toml"
    config.write_text("[prepare]\nimage_size = 16\n[train]\nepochs = 9\ntensorboard = true\nflip = true\n")

    def ctrl_c(*rest: object) -> None:
        raise KeyboardInterrupt

    words = ["train", str(tmp_path / "photos"), *OPTIONS, "--flip", "false", "--config", str(config)]
    with monkeypatch.context() as patch:
        patch.setattr(trainer, "_judge_and_save", ctrl_c)
        stopped = CliRunner().invoke(app, words)
    assert stopped.exit_code == 130
    printed = shlex.split(stopped.stderr.splitlines()[-1].partition(": inksight ")[2])
    assert printed[printed.index("--config") + 1] == str(config)
    resumed = CliRunner().invoke(app, [*printed, "--json"], catch_exceptions=False)
    assert len(json.loads(resumed.stdout)["history"]) == 2


def test_json_is_one_document(data: Path) -> None:
    result = CliRunner().invoke(app, ["train", str(data), *OPTIONS, "--json"], catch_exceptions=False)
    document = json.loads(result.stdout)
    assert set(document) == {"folder", "bundle", "metrics", "history"}
    assert len(document["history"]) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--backbone", "resnet18"], "contradicts"),
        (["--option", "width"], "KEY=VALUE"),
        (["--epochs", "many"], "--epochs: 'many' is not a whole number"),
        (["--scheduler", "linear"], "--scheduler"),
        (["--option", "width=3"], "width"),
    ],
)
def test_wrong_options_are_named(data: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        CliRunner().invoke(app, ["train", str(data), *OPTIONS, *arguments], catch_exceptions=False)


def test_help_does_not_load_torch() -> None:
    code = "import sys, inksight.cli; assert not {'torch', 'numpy', 'h5py'} & set(sys.modules), 'slow import'"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0s"), (59.4, "59s"), (200, "3m20s"), (7500, "2h05m")])
def test_durations_read_well(seconds: float, text: str) -> None:
    assert duration(seconds) == text


class Terminal:
    def __init__(self, live: bool) -> None:
        self.live, self.text = live, ""

    def isatty(self) -> bool:
        return self.live

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        pass


def test_progress_is_live_on_a_terminal_and_sparse_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("inksight.training.progress.time.monotonic", lambda: clock[0])
    for live, lines in ((True, 0), (False, 4)):
        clock[0] = 0.0
        stream = Terminal(live)
        progress = Progress(2, 1000, stream=stream)  # type: ignore[arg-type]
        for step in range(1, 1000):
            clock[0] += 0.125
            progress.step(1, step, 0.5, 0.75, 1234.0)
        assert stream.text.count("\n") == lines
        assert stream.text.count("\r") == (0 if not live else pytest.approx(500, abs=5))
        assert "accuracy 75.0%" in stream.text
        assert "1,234 img/s" in stream.text
        assert stream.text.split(" left")[0].endswith("2m05s" if live else "1m35s")
