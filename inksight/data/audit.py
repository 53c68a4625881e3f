"""Looks through a dataset file for what should not be in it: copies, near-copies, blanks and likely wrong labels.

Copies and near-copies across splits matter most: a model is then judged on what it was trained on. What "near" means is
said in duplicates.py, what "likely mislabelled" means in mislabelled.py; neither is proof, so nothing is removed unless
a cleaned file is asked for.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inksight import plotting
from inksight.data import duplicates, mislabelled
from inksight.data.dataset import SPLITS, Dataset, DatasetWriter
from inksight.data.pack import BLOCK_BYTES, Progress, find_blanks, no_progress, pairs_at_once, sketch_all
from inksight.data.pool import Images, NpyFile, Pool
from inksight.errors import UsageError
from inksight.settings import AuditSettings
from inksight.workspace import work_folder, write_json


@dataclass(frozen=True)
class Picture:
    """One picture of the dataset: its id, split, row in the split and class."""

    id: str
    split: str
    row: int
    label: str


@dataclass(frozen=True)
class Suspect:
    """A picture that is likely mislabelled: the class suggested, and how likely that and the present one are."""

    picture: Picture
    suggested: str
    probability_given: float
    probability_suggested: float


@dataclass(frozen=True)
class Audit:
    """Everything found. `copies` are groups of equal pictures, `near` pairs with the share of ink they differ by.

    Of a picture that has copies, a pair names the one that would be kept: in test before val before train.
    `unjudged` are the classes with too few pictures to look for wrong labels in.
    """

    dataset: str
    sha256: str
    pictures: int
    blanks: list[Picture]
    copies: list[list[Picture]]
    near: list[tuple[Picture, Picture, float]]
    suspects: list[Suspect]
    looked_for_mislabelled: bool
    unjudged: list[str]

    def summary(self) -> dict[str, int]:
        """Return how many of each were found, and how many of them reach across splits or classes."""
        pairs = [(group[0], other) for group in self.copies for other in group[1:]]
        # A pair stands for all copies of its two pictures: they share its fault whichever of them it names.
        alike = {picture: group for group in self.copies for picture in group}
        near = [(*alike.get(a, [a]), *alike.get(b, [b])) for a, b, _ in self.near]
        return {
            "pictures": self.pictures,
            "blanks": len(self.blanks),
            "exact_copies": len(pairs),
            "exact_copies_across_splits": sum(len({p.split for p in group}) > 1 for group in self.copies),
            "exact_copies_across_classes": sum(len({p.label for p in group}) > 1 for group in self.copies),
            "near_pairs": len(near),
            "near_pairs_across_splits": sum(len({p.split for p in found}) > 1 for found in near),
            "near_pairs_across_classes": sum(len({p.label for p in found}) > 1 for found in near),
            "likely_mislabelled": len(self.suspects),
        }

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain values for JSON."""
        return {
            "dataset": self.dataset,
            "sha256": self.sha256,
            "summary": self.summary(),
            "blanks": [asdict(picture) for picture in self.blanks],
            "copies": [[asdict(picture) for picture in group] for group in self.copies],
            "near": [{"a": asdict(a), "b": asdict(b), "differ": round(differ, 4)} for a, b, differ in self.near],
            "suspects": [asdict(suspect) for suspect in self.suspects],
            "unjudged": self.unjudged,
        }


def audit(
    dataset: Dataset,
    *,
    settings: AuditSettings | None = None,
    out: Path | None = None,
    clean: Path | None = None,
    progress: Progress = no_progress,
) -> Audit:
    """Look through a dataset; `out` is a folder for audit.json and the sheets, `clean` a file for what is in order.

    The pixels are spooled to a temporary file, so that memory stays bounded. In the cleaned file a copy is kept where
    it is judged by (test before val before train) and suspects are left out of train only: a test without the hard
    pictures would flatter. Raises UsageError when `clean` is the dataset itself.
    """
    settings = settings or AuditSettings()
    if clean is not None and clean.resolve() == dataset.path:
        raise UsageError(f"--write-clean: {str(clean)!r} is the dataset itself", hint="Give another path.")
    with work_folder(Path(tempfile.gettempdir()) / f"inksight-audit-{dataset.name}") as folder:
        pool = _spool(dataset, folder, progress)
        found = _Findings(dataset, pool, settings, progress)
        result = found.result()
        if out is not None:
            write_json(out / "audit.json", result.as_dict())
            found.draw(out, settings.most)
        if clean is not None:
            found.write_clean(clean)
    return result


def _spool(dataset: Dataset, folder: Path, progress: Progress) -> Pool:
    """Write each split's pixels to a plain file: random rows can be read from it without unpacking whole chunks."""
    files = []
    for split in SPLITS:
        images = dataset.images(split)
        step = images.chunks[0] * max(1, BLOCK_BYTES // (images.chunks[0] * int(np.prod(dataset.image_shape))))
        path = folder / split
        with open(path, "wb") as stream:
            for start in range(0, len(images), step):
                stream.write(images[start : start + step].tobytes())
                progress(f"reading {split}", min(1.0, (start + step) / len(images)))
        files.append(NpyFile(path, 0, len(images), dataset.image_shape))
    names = [dataset.ids(split) for split in SPLITS]
    return Pool(files, ids=lambda file, row: str(names[file][row]))


class _Findings:
    """What was found, by row numbers over all splits, and the ways to put it on paper."""

    def __init__(self, dataset: Dataset, pool: Pool, settings: AuditSettings, progress: Progress) -> None:
        self.dataset, self.pool = dataset, pool
        self.labels = np.concatenate([dataset.labels(split) for split in SPLITS]).astype(np.int64)
        self.looked_for_mislabelled = settings.mislabelled
        sketches = sketch_all(pool, progress)
        self.blank = find_blanks(sketches, pool.shape)
        drawn = np.flatnonzero(~self.blank)
        progress("comparing", 0.0)
        first = duplicates.exact_groups(
            sketches.pick(drawn), lambda i: pool.take(drawn[i]), at_once=pairs_at_once(pool)
        )
        self.first = np.arange(len(pool))
        self.first[drawn] = drawn[first]
        single = np.flatnonzero((self.first == np.arange(len(pool))) & ~self.blank)
        pairs, self.differ = duplicates.near_pairs(
            sketches.pick(single),
            lambda i: pool.take(single[i]),
            threshold=settings.near,
            at_once=pairs_at_once(pool),
        )
        order = np.argsort(self.differ, kind="stable")
        self.side = np.searchsorted(pool.starts, np.arange(len(pool)), side="right") - 1
        # Near pairs are sought among first copies, but the copy that will be kept may lie in another split.
        kept = np.arange(len(pool))
        for group in self._copies():
            kept[group[0]] = self._best(group)
        self.near, self.differ = np.sort(kept[single[pairs[order]]], axis=1), self.differ[order]
        self.suspects = mislabelled.NOTHING
        self.unjudged: list[str] = []
        if settings.mislabelled:
            progress("looking for wrong labels", 0.0)
            # Every other copy of a picture would vouch for it, so only first copies are judged.
            self.suspects = mislabelled.find(
                lambda: self._blocks(single), self.labels[single], len(dataset.classes), seed=settings.seed
            )
            self.suspects.rows[:] = single[self.suspects.rows]
            enough = mislabelled.judged(self.labels[single], len(dataset.classes))
            self.unjudged = [name for name, is_judged in zip(dataset.classes, enough, strict=True) if not is_judged]

    def _blocks(self, rows: NDArray[np.int64]) -> Iterator[tuple[int, Images]]:
        """Yield (position in `rows`, images) of the pictures in `rows`, block by block."""
        step = max(1, BLOCK_BYTES // int(np.prod(self.pool.shape)))
        for start in range(0, len(rows), step):
            yield start, self.pool.take(rows[start : start + step])

    def picture(self, row: int) -> Picture:
        """Return what identifies the picture of that number."""
        side = int(np.searchsorted(self.pool.starts, row, side="right")) - 1
        label = self.dataset.classes[self.labels[row]]
        (name,) = self.pool.ids(np.array([row]))
        return Picture(name, SPLITS[side], int(row - self.pool.starts[side]), label)

    def result(self) -> Audit:
        """Return the findings as values."""
        found = self.suspects
        return Audit(
            dataset=str(self.dataset.path),
            sha256=self.dataset.sha256,
            pictures=len(self.pool),
            blanks=[self.picture(row) for row in np.flatnonzero(self.blank).tolist()],
            copies=[[self.picture(row) for row in group] for group in self._copies()],
            near=[
                (self.picture(a), self.picture(b), float(differ))
                for (a, b), differ in zip(self.near.tolist(), self.differ, strict=True)
            ],
            suspects=[
                Suspect(self.picture(row), self.dataset.classes[suggested], float(given), float(best))
                for row, suggested, given, best in zip(
                    found.rows.tolist(), found.suggested.tolist(), found.given, found.best, strict=True
                )
            ],
            looked_for_mislabelled=self.looked_for_mislabelled,
            unjudged=self.unjudged,
        )

    def _copies(self) -> list[list[int]]:
        groups: dict[int, list[int]] = {}
        for row in np.flatnonzero(self.first != np.arange(len(self.first))).tolist():
            groups.setdefault(int(self.first[row]), [int(self.first[row])]).append(row)
        return list(groups.values())

    def _best(self, group: list[int]) -> int:
        """Return which of several copies is kept: the first of those in test, else in val, else in train."""
        return max(group, key=lambda row: (self.side[row], -row))

    def draw(self, out: Path, most: int) -> None:
        """Write a sheet of each kind of finding that there is: mislabelled.png, near.png and copies.png."""
        found = self.suspects
        captions = [
            f"{self.picture(row).label} {given:.2f}\n{self.dataset.classes[suggested]}? {best:.2f}"
            for row, suggested, given, best in zip(
                found.rows[:most].tolist(), found.suggested[:most].tolist(), found.given, found.best, strict=False
            )
        ]
        self._sheet(out / "mislabelled.png", found.rows[:most], captions, "likely mislabelled, most suspect first")
        # Pairs that reach across splits first: those are the ones to act on.
        sides = self.side[self.near]
        order = np.argsort(sides[:, 0] == sides[:, 1], kind="stable")[: most // 2]
        captions = [
            f"{p.label}\n{p.split} {differ:.3f}"
            for a, b, differ in zip(*self.near[order].T.tolist(), self.differ[order], strict=True)
            for p in (self.picture(a), self.picture(b))
        ]
        self._sheet(out / "near.png", self.near[order].reshape(-1), captions, "near-duplicates, in pairs")
        copies = [row for group in self._copies() for row in group][:most]
        captions = [f"{p.label}\n{p.split}" for p in map(self.picture, copies)]
        self._sheet(out / "copies.png", np.array(copies, np.int64), captions, "exact copies, side by side")

    def _sheet(self, path: Path, rows: NDArray[np.int64], captions: list[str], title: str) -> None:
        path.unlink(missing_ok=True)
        if len(rows):
            drawn = plotting.gallery(self.pool.take(rows), captions, title=f"{self.dataset.name}: {title}")
            plotting.save_png(drawn, path)

    def write_clean(self, path: Path) -> None:
        """Write the dataset without blanks, copies, near-copies across splits and, in train, suspects."""
        side, keep = self.side, ~self.blank
        for group in self._copies():
            contradicts = len({int(self.labels[row]) for row in group}) > 1
            keep[[row for row in group if contradicts or row != self._best(group)]] = False
        both = self.near[keep[self.near].all(axis=1)]
        # Rows are in the order of the splits, so the first of a pair is the one that is not judged by.
        keep[both[side[both[:, 0]] != side[both[:, 1]], 0]] = False
        in_train = self.suspects.rows[side[self.suspects.rows] == 0]
        keep[in_train] = False
        dataset = self.dataset
        with DatasetWriter(
            path,
            classes=dataset.classes,
            image_shape=dataset.image_shape,
            source=f"{dataset.source}; cleaned: {int((~keep).sum())} of {len(keep)} left out",
            preprocessing=dataset.preprocessing,
            seed=dataset.seed,
        ) as writer:
            for number, split in enumerate(SPLITS):
                rows = np.flatnonzero(keep & (side == number))
                for start, images in self._blocks(rows):
                    part = rows[start : start + len(images)]
                    writer.append(split, images, self.labels[part], self.pool.ids(part))
