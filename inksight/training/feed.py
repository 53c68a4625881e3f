"""Batches of uint8 images in a shuffled order that is known beforehand, from memory or straight from the file.

The order of an epoch follows from (seed, epoch) alone, so a resumed run skips to its batch without replaying anything,
and every process of a distributed run knows which images are whose.

In memory, an epoch is one permutation. A file that does not fit is read in shuffled blocks: blocks of neighbouring rows
in random order fill a buffer, whose rows are permuted, while the next buffer is read in the background. That mixes
less than a full permutation: two images of one block are never more than a buffer apart.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]

# Fewer would leave a file sorted by class badly mixed; a block smaller than a chunk is unpacked more than once.
BLOCKS_PER_BUFFER = 16


@dataclass(frozen=True)
class Share:
    """Which part of every batch is this process's: positions in the epoch's order that are `rank` modulo `world`."""

    rank: int = 0
    world: int = 1


class Batch(NamedTuple):
    """This process's share of a batch, uint8 (n, H, W[, 3]) and int64 (n,), and all labels of the whole batch."""

    images: Images
    labels: Labels
    all_labels: Labels


def batch_bounds(rows: int, batch_size: int) -> NDArray[np.int64]:
    """Return the boundaries of an epoch's batches: equal sizes of at least `batch_size`, with no small last one.

    The remainder is spread over the batches (1,000 rows by 128 give 7 batches of 142 or 143), because a last batch of
    one or two images makes batch normalisation fail or wreck its statistics. Fewer rows than `batch_size`: one batch.
    """
    return np.linspace(0, rows, max(1, rows // batch_size) + 1).astype(np.int64)


class Feed:
    """Serves one split's images: of an array in memory, or of an h5py dataset, `buffer_rows` (none: all) at a time."""

    def __init__(
        self,
        images: Any,
        labels: Labels,
        *,
        batch_size: int,
        seed: int = 0,
        share: Share = Share(),
        buffer_rows: int | None = None,
    ) -> None:
        self.images, self.labels = images, labels
        self.rows, self.seed, self.share = len(labels), seed, share
        self.bounds = batch_bounds(self.rows, batch_size)
        self.buffer_rows = buffer_rows if buffer_rows is not None and buffer_rows < self.rows else None
        # A block is a chunk of the file, unless a buffer would then hold too few of them to mix well.
        chunk = int((getattr(images, "chunks", None) or (256,))[0])
        self.block = min(chunk, max(1, (self.buffer_rows or chunk) // BLOCKS_PER_BUFFER))

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        return len(self.bounds) - 1

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the epoch's shuffled batches from number `start` on."""
        spans = self._buffer_spans()
        order = epoch_order(
            self.rows, spans=[(int(self.bounds[a]), int(self.bounds[b])) for a, b in spans],
            block=self.block, world=self.share.world, seed=self.seed, epoch=epoch,
        )  # fmt: skip
        if isinstance(self.images, np.ndarray):
            for number in range(start, len(self)):
                mine, everyone = self._rows_of(order, number)
                yield Batch(self.images[mine], self.labels[mine], self.labels[everyone])
            return
        spans = [(max(a, start), b) for a, b in spans if b > start]
        with ThreadPoolExecutor(1) as reader:
            waiting = reader.submit(self._read, order, spans[0]) if spans else None
            for index, (first, last) in enumerate(spans):
                assert waiting is not None
                known, buffer = waiting.result()
                waiting = reader.submit(self._read, order, spans[index + 1]) if index + 1 < len(spans) else None
                for number in range(first, last):
                    mine, everyone = self._rows_of(order, number)
                    yield Batch(buffer[np.searchsorted(known, mine)], self.labels[mine], self.labels[everyone])

    def in_order(self, batch_size: int) -> Iterator[Batch]:
        """Yield this process's contiguous part of the split in the file's order, for evaluation."""
        rank, world = self.share.rank, self.share.world
        first, last = self.rows * rank // world, self.rows * (rank + 1) // world
        for start in range(first, last, batch_size):
            part = slice(start, min(start + batch_size, last))
            yield Batch(self.images[part], self.labels[part], self.labels[part])

    def _buffer_spans(self) -> list[tuple[int, int]]:
        """Return the batches of each buffer as (first, last + 1)."""
        if self.buffer_rows is None:
            return [(0, len(self))]
        each = max(1, int(self.buffer_rows // max(1, self.bounds[1])))
        return [(first, min(first + each, len(self))) for first in range(0, len(self), each)]

    def _rows_of(self, order: NDArray[np.uint32], number: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
        begin, end = int(self.bounds[number]), int(self.bounds[number + 1])
        offset = (self.share.rank - begin) % self.share.world
        return order[begin + offset : end : self.share.world], order[begin:end]

    def _read(self, order: NDArray[np.uint32], span: tuple[int, int]) -> tuple[NDArray[np.uint32], Images]:
        """Read this process's rows of some batches: their sorted numbers and the images in that order."""
        begin, end = int(self.bounds[span[0]]), int(self.bounds[span[1]])
        offset = (self.share.rank - begin) % self.share.world
        rows = np.sort(order[begin + offset : end : self.share.world])
        buffer = np.empty((len(rows), *self.images.shape[1:]), dtype=np.uint8)
        cuts = np.flatnonzero(np.diff(rows.astype(np.int64)) != 1) + 1
        for low, high in zip([0, *cuts], [*cuts, len(rows)], strict=True):
            if high > low:
                self.images.read_direct(buffer, np.s_[int(rows[low]) : int(rows[high - 1]) + 1], np.s_[low:high])
        return rows, buffer


def epoch_order(
    rows: int, *, spans: list[tuple[int, int]], block: int, world: int, seed: int, epoch: int
) -> NDArray[np.uint32]:
    """Return a permutation of `rows` row numbers, uint32, for one epoch.

    With one span it is a plain permutation. With several (the positions that each buffer holds), blocks of `block` rows
    are shuffled and cut into the spans; within a span the rows at positions congruent modulo `world` (one process's)
    come from neighbouring blocks, so that no process reads what another one needs.
    """
    random = np.random.default_rng([seed, epoch])
    order = np.arange(rows, dtype=np.uint32)
    if len(spans) == 1:
        random.shuffle(order)
        return order
    blocks = np.array_split(order, range(block, rows, block))
    order = np.concatenate([blocks[number] for number in random.permutation(len(blocks))])
    for begin, end in spans:
        span, taken = order[begin:end].copy(), 0
        for rank in range(world):
            places = order[begin + (rank - begin) % world : end : world]
            places[:] = random.permutation(span[taken : taken + len(places)])
            taken += len(places)
    return order


def free_memory() -> int:
    """Return how many bytes of memory may still be used: the machine's, or less where a cgroup limits this process."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        # SC_AVPHYS_PAGES leaves out the page cache, which the kernel gives back when asked.
        free = int(meminfo.read_text().split("MemAvailable:")[1].split()[0]) * 1024
    limit, used = (Path("/sys/fs/cgroup") / name for name in ("memory.max", "memory.current"))
    if limit.exists() and limit.read_text().strip() != "max":
        free = min(free, int(limit.read_text()) - int(used.read_text()))
    return max(free, 0)
