"""Where images are read from: memory as far as the limit allows, else the file."""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inksight.data import open_dataset
from inksight.settings import TrainSettings
from inksight.training import TrainingInterrupted, reading, train
from inksight.training.distributed import Group
from inksight.training.feed import Feed
from inksight.training.reading import feeds, few_rows

from .made import write_bars
from .test_train import interrupt_after, same_weights

ROW = 28 * 28
PLENTY = 10**9


def in_memory(feed: Feed) -> bool:
    return isinstance(feed.images, np.ndarray)


@pytest.mark.parametrize(("limit", "held"), [(20 + 90, True), (20 + 89, False)])
def test_few_training_images_do_not_bring_a_large_validation_split_into_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int, held: bool
) -> None:
    monkeypatch.setattr(reading, "FAST_IMAGES", 20)
    settings = TrainSettings(fast=True, memory_limit=limit * ROW / 1e9)
    with open_dataset(write_bars(tmp_path / "bars.h5", counts=(20, 20), val=45)) as dataset:
        images, val = feeds(dataset, few_rows(dataset, settings), settings, tmp_path, Group(), resume=False)
        assert (in_memory(images), in_memory(val)) == (True, held)
        everything, labels = dataset.load("val")
        batches = list(val.in_order(16))
        np.testing.assert_array_equal(np.concatenate([batch.images for batch in batches]), everything)
        np.testing.assert_array_equal(np.concatenate([batch.labels for batch in batches]), labels)


@pytest.mark.parametrize("limit", [1700, 1200, 1199, 500])
def test_images_stand_beside_their_labels_however_large_the_validation_split(tmp_path: Path, limit: int) -> None:
    """Below 1,800 rows not all images fit; from 1,200 on a buffer holds all 400 training images."""
    settings = TrainSettings(batch_size=32, memory_limit=limit * ROW / 1e9)
    with open_dataset(write_bars(tmp_path / "bars.h5", counts=(200, 200), val=700)) as dataset:
        images, val = feeds(dataset, None, settings, tmp_path, Group(), resume=False)
        assert (in_memory(images), in_memory(val)) == (limit >= 1200, False)
        everything, labels = dataset.load("train")
        label_of = {image.tobytes(): label for image, label in zip(everything, labels, strict=True)}
        assert len(label_of) == 400
        for batch in images.batches(0):
            assert [label_of[image.tobytes()] for image in batch.images] == batch.labels.tolist()


def free_for(rows: int | None) -> int:
    """Return how much memory must be free for buffers of so many drawings, three in half of it; None: for all."""
    return PLENTY if rows is None else 2 * 3 * rows * ROW


@pytest.mark.parametrize(("before", "after"), [(30, 40), (30, None), (None, 30)])
def test_a_resumed_run_goes_on_in_its_order_whatever_memory_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: int | None, after: int | None
) -> None:
    data = write_bars(tmp_path / "bars.h5", counts=(60, 60))
    options: dict[str, Any] = {"model": "simple_cnn", "epochs": 2, "batch_size": 10, "tensorboard": False, "threads": 1}
    options |= {"quiet": True, "finish": False}
    monkeypatch.setattr(reading, "free_memory", lambda: free_for(before))
    straight = train(data, run_dir=tmp_path / "straight", **options).folder
    assert json.loads((straight / "reading.json").read_text()) == {"buffer_rows": before}
    with monkeypatch.context() as patch:
        patch.setattr("inksight.training.loop.seed_step", interrupt_after(5, signal.SIGTERM))
        with pytest.raises(TrainingInterrupted):
            train(data, run_dir=tmp_path / "stopped", **options)
    monkeypatch.setattr(reading, "free_memory", lambda: free_for(after))
    resumed = train(data, run_dir=tmp_path / "stopped", resume=True, **options).folder
    assert same_weights(straight, resumed)


def test_a_run_that_does_not_say_how_it_read_is_resumed_as_memory_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As earlier versions left it; from then on it says so."""
    with open_dataset(write_bars(tmp_path / "bars.h5", counts=(60, 60))) as dataset:
        for rows in (30, 40):
            monkeypatch.setattr(reading, "free_memory", lambda rows=rows: free_for(rows))
            images, _ = feeds(dataset, None, TrainSettings(), tmp_path, Group(), resume=True)
            assert images.buffer_rows == 30


@dataclass(frozen=True)
class Together(Group):
    """Processes that take turns, the leader first."""

    said: list[str] = field(default_factory=list)

    def tell(self, text: str) -> str:
        if self.leads:
            self.said.append(text)
        return self.said[-1]


@pytest.mark.parametrize(("first", "second"), [(30, 40), (40, 30), (30, None), (None, 30)])
def test_processes_with_different_memory_see_every_image_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: int | None, second: int | None
) -> None:
    said: list[str] = []
    seen: list[bytes] = []
    with open_dataset(write_bars(tmp_path / "bars.h5", counts=(60, 60))) as dataset:
        for rank, rows in enumerate((first, second)):
            monkeypatch.setattr(reading, "free_memory", lambda rows=rows: 2 * free_for(rows))
            group = Together(rank, 2, rank, 2, said)
            images, _ = feeds(dataset, None, TrainSettings(batch_size=10), tmp_path, group, resume=False)
            assert images.buffer_rows == first
            seen += [image.tobytes() for batch in images.batches(0) for image in batch.images]
        assert sorted(seen) == sorted(image.tobytes() for image in dataset.load("train")[0])
