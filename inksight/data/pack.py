"""From a pool of pictures to a dataset file: drop blanks and copies, split, centre, write.

Two passes over the pictures, both in blocks: the first sketches each (see duplicates.py), then blanks and copies are
dropped and the rest is dealt to the splits; the second writes. What stays in memory is about 100 bytes per picture and
a few blocks of pixels. Within a split the classes are mixed evenly: the pictures are shuffled in windows that take the
same share of every class.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inksight.data import duplicates
from inksight.data.dataset import SPLITS, DatasetWriter
from inksight.data.parallel import ahead, cores
from inksight.data.pool import Images, Pool
from inksight.data.split import assign, check_ratios
from inksight.errors import DataError
from inksight.settings import PrepareSettings

BLOCK_BYTES = 6_000_000  # one block of the first pass: small enough to stay in the cache beside its float copy
WINDOW_BYTES = 24_000_000  # one window of the second pass: 30,000 drawings or 120 photos

# Less ink than a dot and a half of the renderer's pen (1.9 pixels each) is no drawing. The faintest real drawing seen
# among 117,000 has 5 pixels of ink.
BLANK_INK = 3 * 255
# A photo whose thumbnail departs from its mean by less than half a grey level is one flat colour.
BLANK_RELIEF = 0.5

Progress = Callable[[str, float], None]


def no_progress(step: str, share: float) -> None:
    """Report progress to nobody."""


@dataclass
class Prepared:
    """What became of a source: the dataset file and what was left out, per class, and why."""

    path: Path
    sha256: str
    counts: dict[str, dict[str, int]]
    blank: dict[str, int]
    duplicate: dict[str, int]
    ambiguous: dict[str, int]
    near_groups: int
    near_pictures: int
    seconds: float
    skipped: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        """How many pictures the dataset file holds."""
        return sum(sum(split.values()) for split in self.counts.values())

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain values for JSON."""
        return {**asdict(self), "path": str(self.path), "total": self.total}


def pack(
    pool: Pool,
    classes: Sequence[str],
    out: Path,
    *,
    settings: PrepareSettings,
    source: str,
    preprocessing: Mapping[str, Any],
    fixed: NDArray[np.uint8] | None = None,
    progress: Progress = no_progress,
) -> Prepared:
    """Write the pool's pictures as a dataset file; file i of the pool holds pictures of class i.

    `fixed` uint8 (N,), when given, is the split that the source itself prescribes (0 train, 1 val, 2 test); a split
    that it lacks is taken out of its train part.
    Raises UsageError for ratios that do not sum to 1 and DataError for a class with too few usable pictures.
    """
    started = time.perf_counter()
    ratios = (settings.train_ratio, settings.val_ratio, settings.test_ratio)
    check_ratios(ratios)
    labels = pool.labels()
    sketches = sketch_all(pool, progress)
    blank = find_blanks(sketches, pool.shape)
    duplicate, ambiguous = np.zeros((2, len(pool)), bool)
    if settings.deduplicate:
        duplicate, ambiguous = find_copies(sketches, pool, labels, blank)
    kept = np.flatnonzero(~(blank | duplicate | ambiguous))
    progress("looking for near-duplicates", 0.0)
    groups, pairs = np.arange(len(kept)), np.empty((0, 2), np.int64)
    if settings.group_near:
        groups, pairs = near_groups(sketches, pool, kept, settings.near)
    dropped = {"blank": blank, "duplicate": duplicate, "ambiguous": ambiguous}
    left_out = {name: _per_class(mask, labels, classes) for name, mask in dropped.items()}
    _check_any_left(labels[kept], classes, left_out)
    split = np.full(len(pool), 255, np.uint8)
    keys = sketches.fingerprint[kept]
    del sketches  # 84 bytes per picture that the second pass can use better
    if fixed is None:
        split[kept] = assign(labels[kept], keys, groups, classes=classes, ratios=ratios, seed=settings.seed)
        dealt, notes = groups, list[str]()
    else:
        split[kept], ours, notes = _complete(fixed[kept], labels[kept], keys, groups, classes, ratios, settings.seed)
        dealt = groups[ours]
    # Where the source prescribes the split, nothing was kept together: what lies on one side does so by its doing.
    sizes = np.bincount(dealt, minlength=1)
    notes += _crossings(pairs, split[kept], prescribed=fixed is not None)
    _check_trainable(split, labels, classes)
    total = ", ".join(f"{sum(found.values())} {name}" for name, found in left_out.items())
    with DatasetWriter(
        out,
        classes=classes,
        image_shape=pool.shape,
        source=f"{source}; left out: {total}",
        preprocessing=_described(preprocessing, pool.shape, settings),
        seed=settings.seed,
    ) as writer:
        _write(writer, pool, labels, split, settings, progress)
    return Prepared(
        path=out,
        sha256=writer.sha256,
        counts=writer.counts,
        blank=left_out["blank"],
        duplicate=left_out["duplicate"],
        ambiguous=left_out["ambiguous"],
        near_groups=int((sizes > 1).sum()),
        near_pictures=int(sizes[sizes > 1].sum()),
        seconds=time.perf_counter() - started,
        notes=notes,
    )


def find_blanks(sketches: duplicates.Sketches, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return which pictures show nothing, bool (N,): drawings without ink, photos of one flat colour."""
    if len(shape) == 2:
        # The weight is that of the reduced picture: a block's mean, so larger pictures have the same unit of area.
        reduced = min(shape[0], 32) * min(shape[1], 32) / (shape[0] * shape[1])
        return sketches.weight < BLANK_INK * reduced
    return sketches.weight < BLANK_RELIEF * min(shape[0], 32) * min(shape[1], 32)


def find_copies(
    sketches: duplicates.Sketches, pool: Pool, labels: NDArray[np.uint16], blank: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which pictures are copies of an earlier one of their class, and which stand under two classes, bool (N,).

    Of a picture that stands under two classes no copy is kept: one of its labels is wrong and nobody knows which.
    """
    drawn = np.flatnonzero(~blank)
    first = drawn[
        duplicates.exact_groups(sketches.pick(drawn), lambda i: pool.take(drawn[i]), at_once=pairs_at_once(pool))
    ]
    lowest, highest = labels.copy(), labels.copy()
    np.minimum.at(lowest, first, labels[drawn])
    np.maximum.at(highest, first, labels[drawn])
    duplicate, ambiguous = np.zeros((2, len(pool)), bool)
    ambiguous[drawn] = lowest[first] != highest[first]
    duplicate[drawn] = (first != drawn) & ~ambiguous[drawn]
    return duplicate, ambiguous


def near_groups(
    sketches: duplicates.Sketches, pool: Pool, kept: NDArray[np.int64], threshold: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the group of near-duplicates of each kept picture (len(kept),) and the near pairs (M, 2), by their places.

    Photos are never alike by nature: a burst or a video stays whole, however long.
    """
    pairs, apart = duplicates.near_pairs(
        sketches.pick(kept), lambda i: pool.take(kept[i]), threshold=threshold, at_once=pairs_at_once(pool)
    )
    largest = duplicates.LARGEST_GROUP if len(pool.shape) == 2 else None
    return duplicates.cluster(len(kept), pairs, apart, threshold=threshold, largest=largest), pairs


def pairs_at_once(pool: Pool) -> int:
    """Return how many pairs to compare at once: their pixels and several float copies fill about one block."""
    return max(16, BLOCK_BYTES // int(np.prod(pool.shape)) // 8)


def sketch_all(pool: Pool, progress: Progress) -> duplicates.Sketches:
    """Return the sketches of all pictures, read once in blocks; raises DataError when there are none."""
    rows = max(1, BLOCK_BYTES // int(np.prod(pool.shape)))
    blocks = [
        (file, start, min(start + rows, source.count))
        for file, source in enumerate(pool.files)
        for start in range(0, source.count, rows)
    ]
    if not blocks:
        raise DataError("the source holds no pictures")
    parts = []
    with ThreadPoolExecutor(cores()) as threads:
        for part in ahead(threads, lambda block: duplicates.sketch(pool.read(*block)), blocks):
            parts.append(part)
            progress("reading", len(parts) / len(blocks))
    return duplicates.join(parts)


def _described(preprocessing: Mapping[str, Any], shape: tuple[int, ...], settings: PrepareSettings) -> dict[str, Any]:
    described = dict(preprocessing)
    if len(shape) == 2:
        described["centered"] = settings.center or bool(described.get("centered", False))
    return described


def _complete(
    fixed: NDArray[np.uint8],
    labels: NDArray[np.uint16],
    keys: NDArray[np.uint64],
    groups: NDArray[np.int64],
    classes: Sequence[str],
    ratios: tuple[float, float, float],
    seed: int,
) -> tuple[NDArray[np.uint8], NDArray[np.int64], list[str]]:
    """Keep a prescribed split, and take what it lacks (often val) out of its train part, in the asked proportion.

    Returns the split, the rows of it that were dealt here, and what to say about it.
    """
    lacks = [ratios[side] > 0 and not (fixed == side).any() for side in range(3)]
    if not any(lacks[1:]):
        return fixed, np.empty(0, np.int64), ["split as the source prescribes"]
    train = np.flatnonzero(fixed == 0)
    shares = np.array([ratios[0], *(ratios[side] if lacks[side] else 0.0 for side in (1, 2))])
    part = (shares / shares.sum()).tolist()
    split = fixed.copy()
    split[train] = assign(
        labels[train], keys[train], groups[train], classes=classes, ratios=(part[0], part[1], part[2]), seed=seed
    )
    taken = " and ".join(SPLITS[side] for side in (1, 2) if lacks[side])
    return split, train, [f"split as the source prescribes; {taken}, which it lacks, taken out of its train part"]


def _crossings(pairs: NDArray[np.int64], split: NDArray[np.uint8], *, prescribed: bool) -> list[str]:
    """Say how many pictures have a near-duplicate in another split, and why they were not kept together."""
    torn = len(np.unique(pairs[split[pairs[:, 0]] != split[pairs[:, 1]]]))
    if not torn:
        return []
    large = (
        f": where more than {duplicates.LARGEST_GROUP} are alike, as drawings of a line are, only the nearest are kept"
    )
    why = " of the source's own" if prescribed else f"{large} together"
    return [f"{torn:,} pictures have a near-duplicate in another split{why}"]


def _check_trainable(split: NDArray[np.uint8], labels: NDArray[np.uint16], classes: Sequence[str]) -> None:
    found = np.bincount(labels[split == 0], minlength=len(classes))
    for name, count in zip(classes, found.tolist(), strict=True):
        if not count:
            raise DataError(f"class {name!r} has no picture to train on", hint="Add pictures of it or leave it out.")


def _write(
    writer: DatasetWriter,
    pool: Pool,
    labels: NDArray[np.uint16],
    split: NDArray[np.uint8],
    settings: PrepareSettings,
    progress: Progress,
) -> None:
    count = -(-len(pool) * int(np.prod(pool.shape)) // WINDOW_BYTES)

    def window(index: int) -> list[tuple[str, Images, NDArray[np.uint16], list[str]]]:
        spans = [(f, s.count * index // count, s.count * (index + 1) // count) for f, s in enumerate(pool.files)]
        numbers = np.concatenate([pool.starts[file] + np.arange(start, stop) for file, start, stop in spans])
        images = np.concatenate([pool.read(*span) for span in spans])
        shuffled = np.random.default_rng((settings.seed, index)).permutation(len(numbers))
        parts = []
        for side, name in enumerate(SPLITS):
            mine = shuffled[split[numbers[shuffled]] == side]
            chosen = images[mine]
            if settings.center and len(pool.shape) == 2:
                from inksight.drawing import shift_to_centroid

                chosen = shift_to_centroid(chosen)
            parts.append((name, chosen, labels[numbers[mine]], pool.ids(numbers[mine])))
        return parts

    # The next windows are made ready while the writer's threads compress.
    with ThreadPoolExecutor(cores()) as threads:
        for done, parts in enumerate(ahead(threads, window, range(count)), start=1):
            for part in parts:
                writer.append(*part)
            progress("writing", done / count)


def _check_any_left(
    labels: NDArray[np.uint16], classes: Sequence[str], left_out: Mapping[str, Mapping[str, int]]
) -> None:
    """Raise DataError for a class of which nothing is left, and say why."""
    meaning = {"blank": "blank", "duplicate": "copies of others", "ambiguous": "in another class as well"}
    for name, count in zip(classes, np.bincount(labels, minlength=len(classes)).tolist(), strict=True):
        reasons = [f"{found[name]:,} {meaning[what]}" for what, found in left_out.items() if found[name]]
        if not count and reasons:
            raise DataError(
                f"nothing is left of class {name!r}: of its pictures are {', '.join(reasons)}",
                hint="Leave the class out, or the source that repeats it.",
            )


def _per_class(mask: NDArray[np.bool_], labels: NDArray[np.uint16], classes: Sequence[str]) -> dict[str, int]:
    found = np.bincount(labels[mask], minlength=len(classes))
    return dict(zip(classes, found.tolist(), strict=True))
