"""Feeds: every image once per epoch, in an order known beforehand, from memory or file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from inksight.data import open_dataset
from inksight.training.feed import Feed, Share, batch_bounds, epoch_order, free_memory

from .made import write_bars


@given(rows=st.integers(1, 5000), batch_size=st.integers(1, 600))
def test_batches_are_even_and_never_small(rows: int, batch_size: int) -> None:
    sizes = np.diff(batch_bounds(rows, batch_size))
    assert sizes.sum() == rows
    assert sizes.max() - sizes.min() <= 1
    assert sizes.min() >= min(rows, batch_size)


@settings(deadline=None)
@given(
    rows=st.integers(1, 400),
    batch_size=st.integers(1, 50),
    world=st.integers(1, 4),
    buffer_rows=st.one_of(st.none(), st.integers(1, 400)),
    epoch=st.integers(0, 5),
)
def test_every_image_once_per_epoch_over_all_processes(
    rows: int, batch_size: int, world: int, buffer_rows: int | None, epoch: int
) -> None:
    images = np.arange(rows, dtype=np.uint8).reshape(rows, 1, 1)
    labels = np.arange(rows, dtype=np.int64)
    source = _Source(images)
    feeds = [
        Feed(source, labels, batch_size=batch_size, seed=1, share=Share(rank, world), buffer_rows=buffer_rows)
        for rank in range(world)
    ]
    seen: list[int] = []
    for together in zip(*(feed.batches(epoch) for feed in feeds), strict=True):
        part = np.concatenate([batch.labels for batch in together])
        assert sorted(part) == sorted(together[0].all_labels)
        for batch in together:
            np.testing.assert_array_equal(batch.images[:, 0, 0], batch.labels.astype(np.uint8))
        seen.extend(part.tolist())
    assert sorted(seen) == list(range(rows))


class _Source:
    """An array that can be read like an h5py dataset, in blocks of 16 rows."""

    chunks = (16, 1, 1)

    def __init__(self, images: NDArray[np.uint8]) -> None:
        self.images, self.shape = images, images.shape

    def __getitem__(self, key: Any) -> Any:
        return self.images[key]

    def read_direct(self, target: Any, source: Any, destination: Any) -> None:
        target[destination] = self.images[source]


@pytest.mark.parametrize("buffer_rows", [None, 60])
def test_a_resumed_epoch_goes_on_with_the_same_batches(buffer_rows: int | None) -> None:
    images = np.arange(200, dtype=np.uint8).reshape(200, 1, 1)
    feed = Feed(_Source(images), np.arange(200), batch_size=16, seed=5, buffer_rows=buffer_rows)
    whole = [batch.labels.tolist() for batch in feed.batches(3)]
    for start in (0, 1, 5, len(feed) - 1, len(feed)):
        assert [batch.labels.tolist() for batch in feed.batches(3, start=start)] == whole[start:]


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        return [int(row) for row in epoch_order(100, spans=[(0, 100)], block=8, world=1, seed=seed, epoch=epoch)]

    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(0, 1)
    assert order(0, 0) != order(1, 0)


def test_chunked_reading_mixes_a_file_sorted_by_class() -> None:
    """A file in class order: with a tenth of it buffered, batches must still hold most of ten classes."""
    labels = np.repeat(np.arange(10), 1000)
    feed = Feed(_Source(labels.astype(np.uint8).reshape(-1, 1, 1)), labels, batch_size=100, buffer_rows=1000)
    kinds = [len(set(batch.labels.tolist())) for batch in feed.batches(0)]
    assert np.mean(kinds) > 9


@pytest.mark.parametrize("buffer_rows", [512, 1500, None])
def test_chunked_reading_from_a_real_file(tmp_path: Path, buffer_rows: int | None) -> None:
    path = write_bars(tmp_path / "bars.h5", counts=(700, 500, 300))
    with open_dataset(path) as dataset:
        labels = dataset.labels("train").astype(np.int64)
        chunked = Feed(dataset.images("train"), labels, batch_size=64, buffer_rows=buffer_rows)
        everything, all_labels = dataset.load("train")
        by_content = {image.tobytes(): label for image, label in zip(everything, all_labels, strict=True)}
        got = list(chunked.batches(0))
        assert sum(len(batch.labels) for batch in got) == 1500
        for batch in got:
            assert [by_content[image.tobytes()] for image in batch.images] == batch.labels.tolist()


def test_in_order_shares_cover_a_split_once() -> None:
    labels = np.arange(103)
    images = labels.astype(np.uint8).reshape(-1, 1, 1)
    seen = [
        label
        for rank in range(3)
        for batch in Feed(images, labels, batch_size=8, share=Share(rank, 3)).in_order(10)
        for label in batch.labels
    ]
    assert seen == list(range(103))


def test_an_empty_split_has_no_batches() -> None:
    feed = Feed(np.empty((0, 28, 28), np.uint8), np.empty(0, np.int64), batch_size=8)
    assert list(feed.in_order(10)) == []


def test_free_memory_is_plausible() -> None:
    assert 10_000_000 < free_memory() < 1 << 46
