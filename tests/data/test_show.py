"""`data show` and the command line of prepare, show and audit, run as a user runs them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from inksight.cli import app
from inksight.data.dataset import open_dataset
from inksight.data.ensure import ensure_dataset, find_dataset
from inksight.data.show import balance, samples
from inksight.errors import InksightError, NotFoundError
from inksight.workspace import workspace
from tests.data.made import bitmaps, bucket


def run(*words: object) -> str:
    result = CliRunner().invoke(app, ["data", *map(str, words)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0
    return result.stdout


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    folder = bucket(tmp_path / "bucket", {"apple": bitmaps(120, 1), "cat": bitmaps(40, 2), "moon": bitmaps(60, 3)})
    run("prepare", "--classes", "apple,cat,moon", "--folder", folder)
    return workspace().dataset_path("apple+cat+moon")


def test_balance_is_largest_over_smallest() -> None:
    assert balance({"a": 100, "b": 100}).ratio == 1
    assert balance({"a": 100, "b": 100}).verdict == "balanced"
    uneven = balance({"a": 900, "b": 100, "c": 300})
    assert (uneven.largest, uneven.smallest, uneven.ratio) == ("a", "b", 9)
    assert "'b'" in uneven.verdict
    assert balance({"a": 5, "b": 0}).ratio == float("inf")


def test_samples_are_of_their_class(prepared: Path) -> None:
    with open_dataset(prepared) as data:
        images, labels = data.load("train")
        for label, picked in enumerate(samples(data, 10)):
            assert len(picked) == 10
            own = {image.tobytes() for image in images[labels == label]}
            assert {image.tobytes() for image in picked} <= own
        assert [len(picked) for picked in samples(data, 90)] == [90, 32, 48]


def test_the_ratio_to_an_empty_class_is_none_in_json(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inksight.data.show.totals", lambda dataset: {"apple": 3, "cat": 0, "moon": 2})
    assert json.loads(run("show", prepared, "--json"))["balance"]["ratio"] is None
    assert "balance ratio none" in run("show", prepared)


def test_show_prints_counts_and_writes_pictures(prepared: Path, tmp_path: Path) -> None:
    found = json.loads(run("show", prepared, "--json", "--out", tmp_path / "look"))
    assert found["per_class"] == {"apple": 120, "cat": 40, "moon": 60}
    assert found["counts"]["val"] == {"apple": 12, "cat": 4, "moon": 6}
    assert found["balance"]["ratio"] == 3
    assert found["total"] == 220
    for path in found["pictures"].values():
        assert Path(path).read_bytes().startswith(b"\x89PNG")
    text = run("show", "apple+cat+moon")
    assert "balance ratio 3.00 (apple : cat)" in text
    assert "220 pictures of 28 x 28 (drawing)" in text


def test_prepare_reports_as_json_and_as_text(tmp_path: Path) -> None:
    images = bitmaps(50, 4)
    images[1] = 0
    images[3] = images[2]
    folder = bucket(tmp_path / "bucket", {"apple": images, "cat": bitmaps(30, 5)})
    words = ["prepare", "--classes", "apple,cat", "--folder", folder, "--out", tmp_path / "x.h5"]
    found = json.loads(run(*words, "--json", "--train-ratio", 0.6, "--val-ratio", 0.2, "--test-ratio", 0.2))
    assert found["blank"] == {"apple": 1, "cat": 0}
    assert found["duplicate"] == {"apple": 1, "cat": 0}
    assert found["counts"]["test"] == {"apple": 10, "cat": 6}
    assert "78 pictures" in run(*words)


def test_prepare_takes_presets_and_classes_are_added_by_one_word(shared_data: Path, tmp_path: Path) -> None:
    quickdraw = shared_data / "quickdraw"
    run(
        "prepare",
        "--classes",
        "cat",
        "--add",
        "apple",
        "--folder",
        quickdraw,
        "--per-class",
        100,
        "-o",
        tmp_path / "x.h5",
    )
    with open_dataset(tmp_path / "x.h5") as data:
        assert data.classes == ("cat", "apple")
        assert data.counts["train"] == {"cat": 80, "apple": 80}
    assert "balance ratio 1.00, balanced" in run("show", tmp_path / "x.h5")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["prepare", "quickdrow20"], "quickdrow20"),
        (["prepare", "--classes", "cat,dragoon"], "dragoon"),
        (["prepare", "digits", "--train-ratio", "0.9"], "sum to 1.1"),
        (["prepare", "digits", "--seed", "x"], "--seed"),
        (["prepare", "digits", "--per-class", "2"], "2 usable pictures"),
        (["show", "nothing.h5"], "does not exist"),
        (["audit", "nothing"], "unknown dataset"),
    ],
)
def test_mistakes_are_named(words: list[str], message: str) -> None:
    with pytest.raises(InksightError, match=message):
        run(*words)


def test_audit_writes_its_findings(prepared: Path, tmp_path: Path) -> None:
    words = ["audit", prepared, "--out", tmp_path / "audit", "--write-clean", tmp_path / "clean.h5"]
    found = json.loads(run(*words, "--json", "--no-mislabelled"))
    assert found["summary"]["pictures"] == 220
    assert found == json.loads((tmp_path / "audit" / "audit.json").read_text())
    text = run(*words)
    assert "exact copies across splits" in text
    with open_dataset(tmp_path / "clean.h5") as data:
        assert data.classes == ("apple", "cat", "moon")


def test_ensure_prepares_once_and_finds_files(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INKSIGHT_PREPARE_PER_CLASS", "20")
    assert ensure_dataset(prepared) == prepared
    assert ensure_dataset("apple+cat+moon") == prepared
    digits = ensure_dataset("digits")
    before = digits.stat().st_mtime_ns
    assert ensure_dataset("digits") == digits == find_dataset("digits")
    assert digits.stat().st_mtime_ns == before
    with pytest.raises(NotFoundError, match=r"missing\.h5"):
        ensure_dataset("missing.h5")


def test_ensure_fetches_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole way: a preset of the user's own, a mirror by file://, nothing downloaded or prepared yet."""
    mirror = bucket(tmp_path / "mirror", {"apple": bitmaps(50, 1), "cat": bitmaps(50, 2)})
    presets = workspace().home / "presets"
    presets.mkdir(parents=True)
    (presets / "mine.toml").write_text(
        '[dataset]\nkind = "quickdraw"\nsummary = "mine"\nclasses = ["apple", "cat"]\n'
        "[fetch]\nper_class = 40\n[prepare]\ntrain_ratio = 0.5\nval_ratio = 0.25\ntest_ratio = 0.25\n"
    )
    monkeypatch.setenv("INKSIGHT_FETCH_BASE_URL", mirror.as_uri())
    with open_dataset(ensure_dataset("mine")) as data:
        assert data.counts["train"] == {"apple": 20, "cat": 20}
        first = np.load(mirror / "full" / "numpy_bitmap" / "apple.npy")
        row = {str(name): i for i, name in enumerate(data.ids("train"))}
        name = next(name for name in row if name.startswith("apple/"))
        assert np.array_equal(data.images("train")[row[name]].reshape(-1), first[int(name.split("/")[1])])
