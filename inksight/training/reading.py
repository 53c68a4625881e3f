"""Where a run's images come from: from memory where they fit, else from the file in shuffled chunks.

The order of images follows from that choice and the size of a buffer. So the first process chooses for all, and the
choice stays with the run, in reading.json: a resumed run goes on with it whatever memory is free by then, also where
its images fit no longer.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inksight.data import Dataset
from inksight.settings import TrainSettings
from inksight.training.distributed import Group
from inksight.training.feed import Feed, free_memory
from inksight.workspace import write_json

FAST_IMAGES = 2_000

# Two are in memory at a time, one in use and one being read, and a third while they change hands.
BUFFERS = 3


def labels_of(dataset: Dataset, split: str) -> NDArray[np.int64]:
    """Return the split's labels, int64 (N,)."""
    return dataset.labels(split).astype(np.int64)


def few_rows(dataset: Dataset, settings: TrainSettings) -> NDArray[np.int64] | None:
    """Return the training images that --fast chooses by the seed, ascending; None: all."""
    count = dataset.size("train")
    if not settings.fast or count <= FAST_IMAGES:
        return None
    return np.sort(np.random.default_rng(settings.seed).choice(count, FAST_IMAGES, replace=False))


def feeds(
    dataset: Dataset,
    few: NDArray[np.int64] | None,
    settings: TrainSettings,
    folder: Path,
    group: Group,
    *,
    resume: bool,
) -> tuple[Feed, Feed]:
    """Return the training and validation feeds: in memory where the limit allows, else read in shuffled chunks.

    With `resume`, training images are read as before in the run in `folder`, if that is known.
    """
    row = int(np.prod(dataset.image_shape))
    # Every process of this machine holds its own copy; torchrun tells how many there are.
    limit = settings.memory_limit * 1e9 or free_memory() / 2 / group.local_world
    images: Any = dataset.images("train")
    labels = labels_of(dataset, "train")
    buffer_rows = None
    if few is not None:
        images, labels = np.stack([images[row] for row in few]), labels[few]
    else:
        buffer_rows = _agreed_buffer_rows(dataset, limit, folder, group, resume)
        if buffer_rows is None:
            images = images[:]
    feed = Feed(
        images, labels,
        batch_size=settings.batch_size, seed=settings.seed, share=group.share, buffer_rows=buffer_rows,
    )  # fmt: skip
    left = limit - row * (BUFFERS * buffer_rows if buffer_rows else feed.rows)
    val: Any = dataset.images("val")
    if row * len(val) <= left:
        val = val[:]
    return feed, Feed(val, labels_of(dataset, "val"), batch_size=settings.batch_size, share=group.share)


def _agreed_buffer_rows(dataset: Dataset, limit: float, folder: Path, group: Group, resume: bool) -> int | None:
    """Return `_buffer_rows` as the first process found it when the run began, or now where the run does not say."""
    stored = folder / "reading.json"
    if group.leads and not (resume and stored.is_file()):
        write_json(stored, {"buffer_rows": _buffer_rows(dataset, limit)})
    text = group.tell(stored.read_text(encoding="utf-8") if group.leads else "")
    buffer_rows: int | None = json.loads(text)["buffer_rows"]
    return buffer_rows


def _buffer_rows(dataset: Dataset, limit: float) -> int | None:
    """Return how many training images a buffer holds where `limit` bytes are for images; None: all are in memory."""
    row = int(np.prod(dataset.image_shape))
    train, val = dataset.size("train"), dataset.size("val")
    rows = max(1, int(limit / BUFFERS / row))
    # Validation images may be so many that a buffer holds all training images though not all images fit.
    return None if row * (train + val) <= limit or train <= rows else rows
