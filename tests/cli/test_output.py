"""What verbs print with: tables and paragraphs that fit the terminal."""

from __future__ import annotations

import io
import json
import re
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from inksight.cli.output import print_json, print_table, print_text, say

COLUMNS = ("model", "accuracy", "parameters", "version")
ROWS = [["transfer/efficientnet_lite0", 0.9167, "3,373,570", "pets-transfer-efficientnet_lite0:1"]]


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    plain = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    return [line.rstrip() for line in plain.splitlines() if line.strip()]


def terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(columns))


@pytest.mark.parametrize(
    ("width", "names"),
    [(100, "model accuracy parameters version"), (85, "model accuracy version"), (60, "model accuracy")],
)
def test_a_narrow_terminal_gets_fewer_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int, names: str
) -> None:
    terminal(monkeypatch, width)
    print_table(COLUMNS, ROWS, spare=["parameters", "version"])
    head, rule, *rows = lines(capsys)
    assert head.split() == names.split()
    assert len(rule) <= width
    assert len(rows) == 1, "a cell was folded"


def test_off_a_terminal_nothing_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(COLUMNS, ROWS, spare=["parameters", "version"])
    assert lines(capsys)[0].split() == list(COLUMNS)


def test_paragraphs_break_between_words(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    text = "For the games: pets-transfer-efficientnet_lite0:1. It is right on 91.7 % of 12 photos."
    print_text(text)
    assert lines(capsys) == [text]
    terminal(monkeypatch, 40)
    print_text(text)
    printed = lines(capsys)
    assert " ".join(printed) == text
    assert max(map(len, printed)) <= 40


def test_lines_of_several_threads_stay_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(io.StringIO):
        """A stream between whose writes other threads come to turn."""

        def write(self, text: str) -> int:
            threading.Event().wait(0.001)
            return super().write(text)

    monkeypatch.setattr(sys, "stderr", stream := Slow())

    def some() -> None:
        for _ in range(5):
            say("a line")

    threads = [threading.Thread(target=some) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stream.getvalue() == "a line\n" * 20


def test_json_holds_nothing_that_json_has_no_word_for(capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(word: str) -> None:
        raise ValueError(word)

    print_json({"ratio": float("inf"), "loss": float("nan"), "accuracy": np.float64(0.5), "é": Path("a"), 3: (1, 2)})
    printed = capsys.readouterr().out
    assert json.loads(printed, parse_constant=refuse) == {
        "ratio": None, "loss": None, "accuracy": 0.5, "é": "a", "3": [1, 2],
    }  # fmt: skip
    assert "é" in printed
