"""Reviewing corrections from the command line, and what the statistics say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from inksight import registry
from inksight.cli import app
from inksight.errors import DataError, InksightError, NotFoundError, UsageError
from inksight.registry import Registry, corrections
from inksight.registry.kept import image_of
from inksight.serving.inputs import StrokeInput, read_strokes
from inksight.serving.live import bring_up
from inksight.serving.predictor import run_batch
from tests.improve.planted import correct, rings
from tests.serving.conftest import HalvesClassifier

pytestmark = pytest.mark.usefixtures("any_database")


@pytest.fixture
def store() -> Iterator[Registry]:
    opened = registry.open()
    yield opened
    opened.close()


def run(*words: str) -> Result:
    done = CliRunner().invoke(app, ["corrections", *words])
    assert done.exit_code == 0 or isinstance(done.exception, InksightError), done.output
    return done


def test_review_from_the_command_line(store: Registry, tmp_path: Path) -> None:
    ids = correct(store, rings(4, seed=1), state="pending")
    assert [row["id"] for row in json.loads(run("list", "--state", "pending", "--json").stdout)] == ids
    run("accept", str(ids[0]), str(ids[1]), "--reviewer", "bob")
    run("relabel", str(ids[2]), "upright", "--reviewer", "bob")
    run("reject", str(ids[3]))
    shown = json.loads(run("show", str(ids[2]), "--out", str(tmp_path / "drawing.png"), "--json").stdout)
    assert (shown["state"], shown["final_label"], shown["reviewer"]) == ("relabelled", "upright", "bob")
    with Image.open(tmp_path / "drawing.png") as picture:
        assert np.array_equal(255 - np.asarray(picture)[::10, ::10], rings(4, seed=1)[2])
    run("export", str(tmp_path / "all.jsonl"), "--state", "accepted")
    lines = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == ids[:2]
    assert lines[0]["input"]["shape"] == [28, 28]
    found = json.loads(run("stats", "--json").stdout)
    assert found["states"] == {"accepted": 2, "relabelled": 1, "rejected": 1}
    assert found["reviewers_agreed"]["share"] == 0.5
    assert found["reviewers_agreed"]["low"] < 0.5 < found["reviewers_agreed"]["high"]
    assert found["machine_right"] == {**found["machine_right"], "share": 0.0, "n": 3}
    assert found["confusions"][0] == {"predicted": "flat", "label": "slanted", "count": 2}
    assert found["reviewers"]["bob"] == 3


def test_one_unknown_number_decides_nothing(store: Registry) -> None:
    [known] = correct(store, rings(1, seed=1), state="pending")
    assert isinstance(run("accept", str(known), "99").exception, NotFoundError)
    assert corrections.find(store.database, known).state == "pending"


@pytest.mark.parametrize(
    ("action", "label"),
    [("relabel", None), ("accept", "cat"), ("reject", "cat"), ("relabel", "dragon"), ("burn", None)],
)
def test_decisions_that_make_no_sense(store: Registry, action: str, label: str | None) -> None:
    [known] = correct(store, rings(1, seed=1), state="pending")
    with pytest.raises(UsageError):
        corrections.decide(store.database, known, action, reviewer="bob", label=label, classes=["cat", "dog"])
    assert corrections.find(store.database, known).state == "pending"


@pytest.mark.parametrize(
    "kept",
    [
        {},
        {"image": "@@@", "shape": [28, 28]},
        {"image": "AAAA", "shape": [28, 28]},
        {"image": "AAAA", "shape": [1, 3]},
        {"strokes": [[[1], [2, 3]]]},
    ],
)
def test_inputs_that_cannot_be_read(kept: dict[str, Any]) -> None:
    with pytest.raises(DataError):
        image_of(kept, (28, 28))


def test_strokes_are_drawn_as_the_model_saw_them() -> None:
    from inksight import drawing

    strokes = [[[0, 100, 300], [0, 250, 20]], [[50, 60], [10, 200]]]
    seen = image_of({"strokes": strokes}, (28, 28))
    assert np.array_equal(seen, drawing.render(drawing.simplify(strokes)))
    # These fill the box 0..255 with whole numbers, so the service draws them as they are.
    simplified = [[[0, 128, 130, 255], [0, 1, 3, 200]], [[40, 41, 43], [100, 90, 95]]]
    seen = image_of({"strokes": simplified}, (28, 28))
    drawn = read_strokes(simplified)
    assert isinstance(drawn, StrokeInput)
    [(shown, _)] = run_batch(bring_up(HalvesClassifier()), [drawn])
    assert np.array_equal(seen, shown)
    assert not np.array_equal(seen, drawing.render(drawing.simplify(simplified)))
