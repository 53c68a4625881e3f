"""Photo folders, zips and CSV files become a dataset file, and so do several dataset files together.

Each photo is decoded once, on all cores, turned upright, resized and cut to a square (photos.py); what cannot be
decoded is left out and named, or stops everything with --strict. See pack.py for what happens then.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import numpy as np

from inksight.data.dataset import SPLITS, Dataset, open_dataset
from inksight.data.listing import Entry, Listing, list_photos, readable
from inksight.data.pack import Prepared, Progress, no_progress, pack
from inksight.data.parallel import ahead, cores
from inksight.data.photos import PhotoError, decode, quiet
from inksight.data.pool import Images, NpyFile, Pool
from inksight.errors import DataError, UsageError, unknown
from inksight.settings import PrepareSettings
from inksight.workspace import work_folder


def prepare_photos(
    source: Path,
    out: Path,
    *,
    classes: Sequence[str] = (),
    settings: PrepareSettings | None = None,
    name: str = "",
    progress: Progress = no_progress,
) -> Prepared:
    """Make a dataset file of RGB photos from a folder, zip or CSV; `classes` picks some and their order.

    Stored is a square of image_size * (1 + margin) pixels, from which training crops. `skipped` of the result names
    each file that was left out and why. Raises DataError for a source without classes, and with `strict` for any file
    that would be skipped.
    """
    settings = settings or PrepareSettings()
    size = round(settings.image_size * (1 + settings.margin))
    listing = list_photos(source)
    with listing.stack, work_folder(out) as spool:
        chosen = _chosen(listing, classes)
        decoded = _decode_all(listing, chosen, spool, size, settings, progress)
        if settings.strict and decoded.skipped:
            first = "; ".join(f"{where}: {reason}" for where, reason in decoded.skipped[:5])
            rest = len(decoded.skipped) - 5
            raise DataError(
                f"--strict: {len(decoded.skipped)} of {str(source)!r} cannot be used: {first}"
                + (f"; and {rest} more" if rest > 0 else ""),
                hint="Repair or remove them, or leave --strict away.",
            )
        prepared = pack(
            decoded.pool,
            chosen,
            out,
            settings=settings,
            source=name or readable(source.name),
            preprocessing={"kind": "photo", "size": size, "image_size": settings.image_size},
            fixed=decoded.fixed,
            progress=progress,
        )
    prepared.skipped = decoded.skipped
    for what, count in sorted(decoded.handled.items()):
        prepared.notes.append(f"{what} ({count:,} picture{'s' * (count != 1)})")
    prepared.notes += _alike(chosen)
    return prepared


def _alike(classes: Sequence[str]) -> list[str]:
    """Say which class names differ in nothing but case and blanks: likely one class in two folders."""
    by_fold: dict[str, list[str]] = {}
    for name in classes:
        by_fold.setdefault(" ".join(name.split()).casefold(), []).append(name)
    return [
        f"classes whose names differ in nothing but case or blanks: {', '.join(map(repr, same))}"
        for same in by_fold.values()
        if len(same) > 1
    ]


def _chosen(listing: Listing, classes: Sequence[str]) -> list[str]:
    found = listing.classes()
    for name in classes:
        if name not in found:
            raise unknown("class", name, found, option="the source's folders")
    return list(dict.fromkeys(classes)) or found


class _Decoded:
    """The decoded photos of a source, their prescribed splits, what was done to them and what was left out."""

    def __init__(self, files: list[NpyFile], ids: list[list[str]], splits: list[int | None]) -> None:
        self.pool = Pool(files, ids=lambda file, row: ids[file][row])
        # A source either prescribes the split of all its pictures or of none; a CSV may leave it open for some.
        self.fixed = None
        if any(split is not None for split in splits):
            self.fixed = np.array([0 if split is None else split for split in splits], np.uint8)
        self.skipped: list[tuple[str, str]] = []
        self.handled: Counter[str] = Counter()


def _decode_all(
    listing: Listing, classes: Sequence[str], spool: Path, size: int, settings: PrepareSettings, progress: Progress
) -> _Decoded:
    by_class: dict[str, list[Entry]] = {name: [] for name in classes}
    for entry in listing.entries:
        if entry.label in by_class:
            by_class[entry.label].append(entry)
    if settings.per_class is not None:
        by_class = {name: _first(entries, settings.per_class) for name, entries in by_class.items()}
    total = sum(map(len, by_class.values()))
    files: list[NpyFile] = []
    ids: list[list[str]] = []
    splits: list[int | None] = []
    skipped = list(listing.skipped)
    handled: Counter[str] = Counter()
    seen = 0

    def work(entry: Entry) -> tuple[Entry, Images | None, str, list[str]]:
        try:
            data = entry.read()
            image, done = decode(data, size)
        except PhotoError as error:
            return entry, None, error.message, []
        return entry, image, hashlib.sha256(data).hexdigest()[:12], done

    with quiet(), ThreadPoolExecutor(cores()) as threads:
        for number, entries in enumerate(by_class.values()):
            path, names, before = spool / f"{number}.raw", [], len(skipped)
            with open(path, "wb") as stream:
                for entry, image, word, done in ahead(threads, work, entries):
                    seen += 1
                    if image is None:
                        skipped.append((entry.name, word))
                    else:
                        stream.write(image.tobytes())
                        names.append(f"{entry.name}#{word}")
                        splits.append(entry.split)
                        handled.update(done)
                    progress("decoding", seen / total)
            if not names:
                where, reason = skipped[before]
                raise DataError(
                    f"no picture of class {entries[0].label!r} can be used, e.g. {where}: {reason}",
                    hint="Repair its files, or leave the class out.",
                )
            files.append(NpyFile(path, 0, len(names), (size, size, 3)))
            ids.append(names)
    decoded = _Decoded(files, ids, splits)
    decoded.skipped, decoded.handled = skipped, handled
    return decoded


def _first(entries: list[Entry], count: int) -> list[Entry]:
    """Return the first `count` of a class: of each side of a prescribed split its share, and one wherever there is one.

    Train goes first where `count` is too small for that.
    """
    sizes = Counter(entry.split or 0 for entry in entries)
    seen: Counter[int] = Counter()
    turns = []
    for row, entry in enumerate(entries):
        side = entry.split or 0
        # How much of its side comes before it: taken by that, all sides empty at the same pace.
        turns.append((seen[side] / sizes[side], side, row))
        seen[side] += 1
    return [entries[row] for row in sorted(row for *_, row in sorted(turns)[:count])]


def combine(
    paths: Sequence[Path],
    out: Path,
    *,
    titles: Sequence[str] = (),
    settings: PrepareSettings | None = None,
    progress: Progress = no_progress,
) -> Prepared:
    """Make one dataset file of several: their classes side by side, split anew so that near-duplicates stay together.

    A class keeps its name where only one dataset has it; otherwise it is called title/class. `titles` default to the
    files' names; equal ones get numbers. Raises UsageError for fewer than two datasets, for one that is given twice and
    for datasets of different shapes or kinds.
    """
    settings = settings or PrepareSettings()
    if len({path.resolve() for path in paths}) < max(2, len(paths)):
        raise UsageError("a combination needs at least two datasets, each of them once")
    datasets = [open_dataset(path) for path in paths]
    try:
        first = datasets[0]
        for other in datasets[1:]:
            if other.image_shape != first.image_shape or other.preprocessing != first.preprocessing:
                shapes = ", ".join(f"{d.name} {'x'.join(map(str, d.image_shape))} ({d.kind})" for d in datasets)
                raise UsageError(
                    f"datasets of different pictures cannot be combined: {shapes}",
                    hint="Prepare the photos with the same --image-size; drawings go with drawings only.",
                )
        titles = _numbered(titles or [dataset.name for dataset in datasets])
        names = _clear_names(datasets, titles)
        with work_folder(out) as spool:
            pool = _spool(datasets, titles, spool, progress)
            return pack(
                pool,
                names,
                out,
                settings=settings,
                source=" + ".join(titles),
                preprocessing=first.preprocessing,
                progress=progress,
            )
    finally:
        for dataset in datasets:
            dataset.close()


def _numbered(titles: Sequence[str]) -> list[str]:
    """Return the titles, all different: leaves, leaves-2, leaves-3."""
    different: list[str] = []
    for title in titles:
        name, number = title, 1
        while name in different or (number > 1 and name in titles):  # a source may be called leaves-2 itself
            number += 1
            name = f"{title}-{number}"
        different.append(name)
    return different


def _clear_names(datasets: Sequence[Dataset], titles: Sequence[str]) -> list[str]:
    held = Counter(name for dataset in datasets for name in dataset.classes)
    return [
        name if held[name] == 1 else f"{title}/{name}"
        for dataset, title in zip(datasets, titles, strict=True)
        for name in dataset.classes
    ]


def _spool(datasets: Sequence[Dataset], titles: Sequence[str], folder: Path, progress: Progress) -> Pool:
    """Write the pictures of every class of every dataset to a file of its own."""
    files: list[NpyFile] = []
    ids: list[list[str]] = []
    for number, dataset in enumerate(datasets):
        base = len(files)
        streams = [open(folder / str(base + label), "wb") for label in range(len(dataset.classes))]  # noqa: SIM115
        names: list[list[str]] = [[] for _ in dataset.classes]
        try:
            for split in SPLITS:
                _sort_out(dataset, titles[number], split, streams, names)
        finally:
            for stream in streams:
                stream.close()
        files += [NpyFile(folder / str(base + i), 0, len(n), dataset.image_shape) for i, n in enumerate(names)]
        ids += names
        progress("reading", (number + 1) / len(datasets))
    return Pool(files, ids=lambda file, row: ids[file][row])


def _sort_out(dataset: Dataset, title: str, split: str, streams: Sequence[BinaryIO], names: list[list[str]]) -> None:
    labels, ids, source = dataset.labels(split).tolist(), dataset.ids(split).tolist(), dataset.images(split)
    step = source.chunks[0] * 16
    for start in range(0, len(source), step):
        images: Images = source[start : start + step]
        for image, label, name in zip(images, labels[start : start + step], ids[start : start + step], strict=True):
            streams[label].write(image.tobytes())
            names[label].append(f"{title}:{name}")
