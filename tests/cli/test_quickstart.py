"""Quickstart: it works as often as one likes, and says how to go on when it was stopped."""

from __future__ import annotations

import os
import signal
from contextlib import closing
from typing import Any

import pytest
from typer.testing import CliRunner

from inksight import registry, serving
from inksight.cli import app
from inksight.training import trainer
from inksight.workspace import workspace
from tests.training.made import write_bars

WORDS = ["quickstart", "--epochs", "1", "--no-serve"]


def test_it_can_be_run_again() -> None:
    write_bars(workspace().dataset_path("digits"), counts=(40, 40))
    for _ in range(2):
        done = CliRunner().invoke(app, WORDS)
        assert done.exit_code == 0, done.output
    assert len(list(workspace().runs.glob("*/bundle/model.onnx"))) == 2
    with closing(registry.open()) as store:
        assert [version.ref for version in store.versions("digits")] == ["digits:2", "digits:1"]
        # The second is not served unless the gates agree; what was served before goes on.
        assert store.find("digits@champion").number in (1, 2)
        assert ("digits:2, not as champion" in done.stderr) == (store.find("digits").number == 1)


def test_the_model_is_served_from_the_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    write_bars(workspace().dataset_path("digits"), counts=(40, 40))
    served: list[list[str]] = []
    monkeypatch.setattr(serving, "serve", lambda models, *rest, **more: served.append(models))
    done = CliRunner().invoke(app, [word for word in WORDS if word != "--no-serve"])
    assert done.exit_code == 0, done.output
    assert served == [["doodles", "digits@champion"]]
    assert "registered as digits:1" in done.stderr


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("INKSIGHT_DATABASE_URL", "postgresql://nobody@127.0.0.1:9/none", "not registered: "),
        ("INKSIGHT_GATES_MIN_ACCURACY", "1.0", "digits:1, not as champion: "),
    ],
)
def test_what_cannot_be_the_registrys_champion_is_served_all_the_same(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    write_bars(workspace().dataset_path("digits"), counts=(40, 40))
    monkeypatch.setenv(variable, value)
    served: list[list[str]] = []
    monkeypatch.setattr(serving, "serve", lambda models, *rest, **more: served.append(models))
    done = CliRunner().invoke(app, [word for word in WORDS if word != "--no-serve"])
    assert done.exit_code == 0, done.output
    [bundle] = workspace().runs.glob("*/bundle")
    assert served == [["doodles", str(bundle)]]
    assert said in done.stderr


def test_stopped_it_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    write_bars(workspace().dataset_path("digits"), counts=(40, 40))

    def ctrl_c(*rest: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "_judge_and_save", ctrl_c)
        stopped = CliRunner().invoke(app, WORDS)
    assert stopped.exit_code == 130
    [run] = workspace().runs.iterdir()
    last = stopped.stderr.splitlines()[-1]
    assert last == f"Interrupted. Go on with: inksight train digits --run-dir {run} --resume"
    assert CliRunner().invoke(app, last.partition(": inksight ")[2].split()).exit_code == 0
