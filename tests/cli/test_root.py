"""The command line as a whole: it starts fast, and every verb documents itself."""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys

import pytest
from typer.main import get_command

from inksight import __version__
from inksight.cli import app


def commands() -> list[list[str]]:
    """Return the words of every command, sub-commands included."""
    found: list[list[str]] = []

    def walk(command: object, words: list[str]) -> None:
        children = getattr(command, "commands", None)
        if children is None:
            found.append(words)
            return
        for name, child in children.items():
            walk(child, [*words, name])

    walk(get_command(app), [])
    return found


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "inksight", *words], capture_output=True, text=True, check=False)


def test_help_starts_fast() -> None:
    times = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert run("--help").returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    # Processor time: what else the machine does must not fail the test. On a free core it is the time on the clock.
    assert min(times) < 0.3, f"median {statistics.median(times):.2f} s, best {min(times):.2f} s"


def test_version() -> None:
    assert run("--version").stdout.strip() == f"inksight {__version__}"


def test_unknown_verb_is_wrong_usage() -> None:
    assert run("trian").returncode == 2


@pytest.mark.parametrize(
    "words",
    ["evaluate a --bogus", "evaluate", "models clean --keep 0", "nosuch", "corrections show 99999999999999999999"],
)
def test_wrong_usage_is_one_document_with_json(words: str) -> None:
    done = run(*words.split(), "--json")
    assert done.returncode == 2
    error = json.loads(done.stdout)["error"]
    assert error["code"] == "invalid"
    assert error["message"].rstrip(".") in " ".join(done.stderr.split())
    assert not run(*words.split()).stdout


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        ("train digits --workers 65", "--workers: 65 is too large", "at most 64"),
        ("models clean --keep 0", "--keep: 0 is too small", "at least 1"),
        ("corrections accept 3 0", "ID...: 0 is too small", "at least 1"),
    ],
)
def test_numbers_beyond_their_bounds_are_named(words: str, message: str, hint: str) -> None:
    done = run(*words.split())
    assert done.returncode == 2
    assert message in done.stderr
    assert hint in done.stderr


def test_a_misspelt_variable_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INKSIGHT_TRAIN_EPOCH", "3")
    monkeypatch.setenv("INKSIGHT_TRAIN_EPOCHS", "3")
    monkeypatch.setenv("INKSIGHT_SERVE_PORT_8000_TCP", "tcp://10.0.0.1:8000")  # as Kubernetes sets beside a service
    done = run("data", "list")
    assert done.returncode == 0
    assert done.stderr == "INKSIGHT_TRAIN_EPOCH is no setting and has no effect. Did you mean INKSIGHT_TRAIN_EPOCHS?\n"


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_option_is_documented(words: list[str]) -> None:
    command = get_command(app)
    for word in words:
        command = command.commands[word]  # type: ignore[attr-defined]
    assert command.help, f"{' '.join(words)} has no help text"
    for parameter in command.params:
        assert getattr(parameter, "help", None), f"{' '.join(words)} {parameter.name} has no help text"
