"""What machines hand to each other through the artefact root: whole datasets, and checkpoints to go on from."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from inksight.data import open_dataset
from inksight.errors import BundleError
from inksight.tuning.exchange import Exchange, Stored, written
from tests.training.made import write_bars

PARTS = ("checkpoints/last.pt", "checkpoints/best.pt", "settings.json", "reading.json", "history.jsonl")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def exchange(root: Path) -> Exchange:
    return Exchange(str(root))


def make_run(folder: Path, text: str, at: float) -> Path:
    for part in PARTS:
        (folder / part).parent.mkdir(parents=True, exist_ok=True)
        (folder / part).write_text(f"{part} {text}")
    os.utime(folder / PARTS[0], (at, at))
    return folder


def test_a_dataset_is_stored_once_and_fetched_once(exchange: Exchange, root: Path, tmp_path: Path) -> None:
    data = write_bars(tmp_path / "bars.h5", counts=(10, 10))
    stored = exchange.offer_dataset(data)
    there = root / stored.location / "data.h5"
    before = there.stat().st_mtime_ns
    assert exchange.offer_dataset(data) == stored
    assert there.stat().st_mtime_ns == before
    fetched = exchange.fetch_dataset(stored, "bars", tmp_path / "cache")
    assert fetched.name == "bars.h5", "recipes and bundles know a dataset by its file's name"
    with open_dataset(fetched) as ours, open_dataset(data) as theirs:
        assert ours.sha256 == theirs.sha256
    there.unlink()
    assert exchange.fetch_dataset(stored, "bars", tmp_path / "cache") == fetched


def test_half_a_dataset_does_not_count(exchange: Exchange, root: Path, tmp_path: Path) -> None:
    data = write_bars(tmp_path / "bars.h5", counts=(10, 10))
    stored = exchange.offer_dataset(data)
    # As a kill in the middle of storing leaves it.
    (root / stored.location / "complete").unlink()
    (root / stored.location / "data.h5").write_bytes(data.read_bytes()[:1000])
    with pytest.raises(BundleError, match="damaged"):
        exchange.fetch_dataset(stored, "bars", tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.h5"))
    exchange.offer_dataset(data)
    assert exchange.fetch_dataset(stored, "bars", tmp_path / "cache").read_bytes() == data.read_bytes()


def test_a_run_goes_on_elsewhere(exchange: Exchange, tmp_path: Path) -> None:
    assert exchange.store_run(tmp_path / "absent", "jobs/m/j/1") is None
    run = make_run(tmp_path / "here", "old", 1000.0)
    stored = exchange.store_run(run, "jobs/m/j/1")
    assert stored is not None
    assert stored.written == 1000.0
    other = tmp_path / "there"
    assert exchange.fetch_run(stored, other)
    assert [(other / part).read_text() for part in PARTS] == [f"{part} old" for part in PARTS]
    assert written(other) == 1000.0
    assert {path.name for path in other.iterdir()} == {Path(part).parts[0] for part in PARTS}
    # A machine that is as far, or further, keeps what it has.
    assert not exchange.fetch_run(stored, other)
    make_run(other, "newer", 2000.0)
    assert not exchange.fetch_run(stored, other)
    assert (other / PARTS[0]).read_text() == f"{PARTS[0]} newer"
    # One that is behind is brought forward.
    make_run(other, "older", 500.0)
    assert exchange.fetch_run(stored, other)
    assert (other / PARTS[1]).read_text() == f"{PARTS[1]} old"


def test_what_a_finished_run_shows_comes_back(exchange: Exchange, tmp_path: Path) -> None:
    run = make_run(tmp_path / "here", "x", 1000.0)
    for name in ("curves.png", "report/report.html", "tensorboard/features/events.1", "bundle/model.onnx"):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text(name)
    stored = exchange.store_files(run, "jobs/m/j/files")
    other = tmp_path / "there"
    exchange.fetch_files(stored, other)
    found = {path.relative_to(other).as_posix() for path in other.rglob("*") if path.is_file()}
    shown = {"curves.png", "report/report.html", "tensorboard/features/events.1"}
    assert found == {*shown, "settings.json", "history.jsonl"}
    assert all((other / name).read_text() == name for name in shown)


def test_a_run_without_a_checkpoint_is_not_stored(exchange: Exchange, root: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "x", 1.0)
    (run / PARTS[0]).unlink()
    assert exchange.store_run(run, "jobs/m/j/1") is None
    assert not (root / "jobs").exists()


def test_what_was_forgotten_is_missed(exchange: Exchange, tmp_path: Path) -> None:
    stored = exchange.store_run(make_run(tmp_path / "run", "x", 1000.0), "jobs/m/j/1")
    assert isinstance(stored, Stored)
    exchange.forget(stored.location)
    exchange.forget(stored.location)
    with pytest.raises(BundleError, match="is missing"):
        exchange.fetch_run(stored, tmp_path / "there")
    assert written(tmp_path / "there") == 0
