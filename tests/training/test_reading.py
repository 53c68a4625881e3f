"""Where images are read from: memory as far as the limit allows, else the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from inksight.data import open_dataset
from inksight.settings import TrainSettings
from inksight.training import reading
from inksight.training.distributed import Group
from inksight.training.feed import Feed
from inksight.training.reading import feeds, few_rows

from .made import write_bars

ROW = 28 * 28


def in_memory(feed: Feed) -> bool:
    return isinstance(feed.images, np.ndarray)


@pytest.mark.parametrize(("limit", "held"), [(20 + 90, True), (20 + 89, False)])
def test_few_training_images_do_not_bring_a_large_validation_split_into_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int, held: bool
) -> None:
    monkeypatch.setattr(reading, "FAST_IMAGES", 20)
    settings = TrainSettings(fast=True, memory_limit=limit * ROW / 1e9)
    with open_dataset(write_bars(tmp_path / "bars.h5", counts=(20, 20), val=45)) as dataset:
        train, val = feeds(dataset, few_rows(dataset, settings), settings, Group())
        assert (in_memory(train), in_memory(val)) == (True, held)
        everything, labels = dataset.load("val")
        batches = list(val.in_order(16))
        np.testing.assert_array_equal(np.concatenate([batch.images for batch in batches]), everything)
        np.testing.assert_array_equal(np.concatenate([batch.labels for batch in batches]), labels)


@pytest.mark.parametrize("limit", [1700, 1200, 1199, 500])
def test_images_stand_beside_their_labels_however_large_the_validation_split(tmp_path: Path, limit: int) -> None:
    """Below 1,800 rows not all images fit; from 1,200 on a buffer holds all 400 training images."""
    settings = TrainSettings(batch_size=32, memory_limit=limit * ROW / 1e9)
    with open_dataset(write_bars(tmp_path / "bars.h5", counts=(200, 200), val=700)) as dataset:
        train, val = feeds(dataset, None, settings, Group())
        assert (in_memory(train), in_memory(val)) == (limit >= 1200, False)
        everything, labels = dataset.load("train")
        label_of = {image.tobytes(): label for image, label in zip(everything, labels, strict=True)}
        assert len(label_of) == 400
        for batch in train.batches(0):
            assert [label_of[image.tobytes()] for image in batch.images] == batch.labels.tolist()
