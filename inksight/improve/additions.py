"""What reviewed corrections add to a dataset: train and validation pictures, and some held back to judge by.

    added = gather(database, "doodle", classes, base)
    write(added, base, path, settings...)             # base's test split as it was, train and val with the corrections

A correction gets its side (train 7/10, val 1/10, test 2/10 of each class; test means held back) when it is first used,
and keeps it for good. Near-duplicates go to one side together; a correction near a picture of the base's test split is
held back, one near its validation split goes there. So nothing that a model is judged on has been learnt, by this
retraining or an earlier one. Not guaranteed: that every near-duplicate is found (data/duplicates.py: above 95 %), and
held-back corrections may resemble what the base was trained on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import or_, select, update

from inksight.data.dataset import Dataset, DatasetWriter
from inksight.data.duplicates import Sketches, cluster, join, near_pairs, sketch
from inksight.errors import DataError
from inksight.registry.database import Database
from inksight.registry.kept import image_of
from inksight.registry.tables import Correction

SHARES = {"train": 0.7, "test": 0.2, "val": 0.1}
LEFT_OUT = {
    "unkept": "the drawing was not kept",
    "class": "the label is none of the dataset's classes",
    "unreadable": "the drawing cannot be read",
    "blank": "the sheet is blank",
    "repeated": "the same picture again",
    "conflict": "near corrections of both sides",
}
"""Why a correction is not learnt from; the page has the same codes in its languages."""

OUT = "out"
"""The side of a correction whose drawing is of no use, until the next retraining looks again."""

_BLOCK = 2_000
_MOST_REPEATS = 20
_HELD_BYTES = 500_000_000

Images = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Addition:
    """One reviewed correction that can be learnt from; `learnt_in` is the newest version trained on it."""

    id: int
    label: str
    image: Images
    split: str | None
    learnt_in: str | None


@dataclass(frozen=True)
class Additions:
    """Corrections by side, and how many could not be used, by a code of LEFT_OUT."""

    items: list[Addition]
    left_out: dict[str, int]

    def side(self, split: str) -> list[Addition]:
        """Return those of one side, in the order of their ids."""
        return [item for item in self.items if item.split == split]


def gather(database: Database, model: str, base: Dataset) -> Additions:
    """Return the accepted and relabelled corrections of a model, each with its side; new sides are written down.

    Of several that show the same picture, the one decided last counts.
    """
    query = select(Correction).where(Correction.model == model, Correction.state.in_(("accepted", "relabelled")))
    with database.read() as session:
        rows = list(session.scalars(query.order_by(Correction.reviewed_at, Correction.id)))
    items, left_out, useless = _readable(rows, base)
    dealt, conflicting = _deal(items, base)
    if conflicting:
        left_out["conflict"] += len(conflicting)
    with database.write() as session:
        sides = {item.id: item.split for item in dealt} | dict.fromkeys([*useless, *conflicting], OUT)
        for number, side in sides.items():
            # Unless another retraining was faster: sides are for good.
            where = (Correction.id == number, or_(Correction.split.is_(None), Correction.split == OUT))
            session.execute(update(Correction).where(*where).values(split=side))
        ids = [item.id for item in dealt]
        kept = {row.id: row.split for row in session.scalars(select(Correction).where(Correction.id.in_(ids)))}
    return Additions([replace(item, split=kept[item.id]) for item in dealt], dict(left_out))


def write(
    added: Additions, base: Dataset, path: Path, *, replay: int = 0, share: float = 0.1, seed: int = 0
) -> tuple[int, int]:
    """Write the dataset file to learn from; return how many base pictures it trains on and how often it repeats each.

    Train: `replay` pictures of the base (0: all), spread over its classes, and each correction as often as it takes to
    make up `share` of the whole, at most 20 times. Val: both together. Test: the base's, untouched.
    """
    place = {name: index for index, name in enumerate(base.classes)}
    rows = _replayed(base, replay, seed)
    train, val = added.side("train"), added.side("val")
    wanted = share / (1 - share) * len(rows)
    repeats = int(np.clip(np.ceil(wanted / max(len(train), 1)), 1, _MOST_REPEATS))
    preprocessing = {**base.preprocessing, "base": {"name": base.name, "sha256": base.sha256}}
    with DatasetWriter(
        path,
        classes=base.classes,
        image_shape=base.image_shape,
        source=f"{base.source}; reviewed corrections",
        preprocessing=preprocessing,
        seed=base.seed,
    ) as out:
        for split, chosen in (("train", rows), ("val", None), ("test", None)):
            _copy(base, split, chosen, out)
        for split, items, times in (("train", train, repeats), ("val", val, 1)):
            if items:
                images = np.repeat(np.stack([item.image for item in items]), times, axis=0)
                labels = np.repeat([place[item.label] for item in items], times)
                out.append(split, images, labels, [f"correction:{item.id}" for item in items for _ in range(times)])
    return len(rows), repeats


def mark_learnt(database: Database, items: Sequence[Addition], version: str) -> None:
    """Note that a version was trained on these corrections."""
    with database.write() as session:
        for start in range(0, len(items), 500):
            ids = [item.id for item in items[start : start + 500]]
            session.execute(update(Correction).where(Correction.id.in_(ids)).values(learnt_in=version))


def _readable(rows: Sequence[Correction], base: Dataset) -> tuple[list[Addition], Counter[str], list[int]]:
    """Return the corrections that fit the dataset, one per picture, in the order of their ids.

    With them how many are left out, and the ids of those whose drawing cannot be used.
    """
    left_out: Counter[str] = Counter()
    useless: list[int] = []
    found: dict[bytes, Addition] = {}
    for row in rows:
        if not row.input:
            left_out["unkept"] += 1
            continue
        if row.final_label not in base.classes:
            left_out["class"] += 1
            continue
        try:
            image = image_of(row.input, base.image_shape)
        except DataError:
            left_out["unreadable"] += 1
            useless.append(row.id)
            continue
        if not image.any():
            left_out["blank"] += 1
            useless.append(row.id)
            continue
        before = found.get(image.tobytes())
        left_out["repeated"] += before is not None
        # The one that got its side first stands for all: its side is the one that counts.
        row_id, split, learnt_in = row.id, None if row.split == OUT else row.split, row.learnt_in
        if before is not None and (before.split or not split):
            row_id, split, learnt_in = before.id, before.split, before.learnt_in
        found[image.tobytes()] = Addition(row_id, row.final_label, image, split, learnt_in)
    return sorted(found.values(), key=lambda item: item.id), +left_out, useless


def _deal(items: list[Addition], base: Dataset) -> tuple[list[Addition], list[int]]:
    """Give each correction a side; return them, and the ids of those left out since they are near to both sides."""
    if not items:
        return [], []
    groups, near_test, near_val = _near(items, base)
    count = {name: Counter[str]() for name in base.classes}
    for item in items:
        if item.split:
            count[item.label][item.split] += 1
    dealt: list[Addition] = []
    conflicting: list[int] = []
    for group in dict.fromkeys(groups.tolist()):
        members = [index for index in range(len(items)) if groups[index] == group]
        sides = {items[index].split for index in members} - {None}
        if near_test[members].any():
            sides.add("test")
        elif near_val[members].any() and not sides:
            sides.add("val")
        side = next(iter(sides)) if len(sides) == 1 else _behind(count[items[members[0]].label])
        for index in members:
            item = items[index]
            if len(sides) > 1 and (item.split is None or (near_test[index] and item.split != "test")):
                conflicting.append(item.id)
                continue
            if item.split is None:
                count[item.label][str(side)] += 1
            dealt.append(replace(item, split=item.split or side))
    return sorted(dealt, key=lambda item: item.id), conflicting


def _behind(count: Counter[str]) -> str:
    """Return the side that lacks most of its share of the class; of equals the first."""
    total = sum(count.values()) + 1
    return max(SHARES, key=lambda side: round(SHARES[side] * total - count[side], 6))


def _near(
    items: list[Addition], base: Dataset
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return a group per correction (near-duplicates share one), and which are near a test or validation picture."""
    images = np.stack([item.image for item in items])
    count, test, val = len(images), base.size("test"), base.size("val")
    others = {split: _held(base, split) for split in ("test", "val")}
    sketches = join([sketch(images), *_sketched(others["test"]), *_sketched(others["val"])])

    def take(rows: npt.NDArray[np.int64]) -> Images:
        taken = np.empty((len(rows), *base.image_shape), np.uint8)
        for start, size, source in (
            (0, count, images), (count, test, others["test"]), (count + test, val, others["val"])
        ):  # fmt: skip
            here = np.flatnonzero((rows >= start) & (rows < start + size))
            for place in here:
                taken[place] = source[int(rows[place]) - start]
        return taken

    pairs, apart = near_pairs(sketches, take)
    own = (pairs < count).all(axis=1)
    groups = cluster(count, pairs[own], apart[own])
    mixed = pairs[(pairs[:, 0] < count) & (pairs[:, 1] >= count)]
    near_test, near_val = np.zeros(count, bool), np.zeros(count, bool)
    near_test[mixed[mixed[:, 1] < count + test, 0]] = True
    near_val[mixed[mixed[:, 1] >= count + test, 0]] = True
    return groups, near_test, near_val


def _held(base: Dataset, split: str) -> Any:
    """Return a split's images, in memory where they are not too many: candidates are read one by one."""
    images = base.images(split)
    return images[:] if images.size <= _HELD_BYTES else images


def _sketched(images: Any) -> list[Sketches]:
    return [sketch(images[start : start + _BLOCK]) for start in range(0, len(images), _BLOCK)]


def _replayed(base: Dataset, most: int, seed: int) -> npt.NDArray[np.int64]:
    """Return the rows of the base's training split to learn again: all, or `most`, the same share of each class."""
    labels = base.labels("train")
    if not most or len(labels) <= most:
        return np.arange(len(labels))
    random = np.random.default_rng(seed)
    chosen: list[npt.NDArray[np.int64]] = []
    for label in range(len(base.classes)):
        own = np.flatnonzero(labels == label)
        chosen.append(random.choice(own, min(len(own), max(1, round(most * len(own) / len(labels)))), replace=False))
    return np.sort(np.concatenate(chosen))


def _copy(base: Dataset, split: str, chosen: npt.NDArray[np.int64] | None, out: DatasetWriter) -> None:
    images, labels, ids = base.images(split), base.labels(split), base.ids(split)
    rows: npt.NDArray[Any] = np.arange(len(labels)) if chosen is None else chosen
    for start in range(0, len(rows), _BLOCK):
        part = rows[start : start + _BLOCK]
        # One read of a range and a choice in memory: h5py reads scattered rows one by one.
        block = images[int(part[0]) : int(part[-1]) + 1][part - part[0]]
        out.append(split, block, labels[part], [str(name) for name in ids[part]])
