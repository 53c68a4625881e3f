"""Deals pictures out to train, val and test: stratified, seeded, with groups of near-duplicates kept on one side.

Where a picture goes depends on its own content, its class and the seed, not on its row: adding a class moves no picture
of another class (except near-duplicates that the two share), and reordering the source changes nothing. Within each
class the counts are the asked shares to the nearest picture, and at least one wherever a share is above zero.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from inksight.data.dataset import SPLITS
from inksight.data.duplicates import mix
from inksight.errors import DataError, UsageError

Ratios = tuple[float, float, float]


def check_ratios(ratios: Ratios) -> None:
    """Raise UsageError unless the train, val and test shares are 0..1, sum to 1 and leave something to train on."""
    given = ", ".join(f"--{split}-ratio {ratio:g}" for split, ratio in zip(SPLITS, ratios, strict=True))
    if any(not 0 <= ratio <= 1 for ratio in ratios):
        raise UsageError(f"{given}: every share must be between 0 and 1")
    if abs(sum(ratios) - 1) > 1e-6:
        raise UsageError(
            f"{given} sum to {sum(ratios):g}, not 1", hint="Give all three so that they sum to 1, e.g. 0.7, 0.15, 0.15."
        )
    if ratios[0] == 0:
        raise UsageError(f"{given}: there is nothing to train on", hint="Give --train-ratio more than 0.")


def targets(count: int, ratios: Ratios) -> tuple[int, int, int]:
    """Return how many of `count` pictures go to train, val and test: rounded, at least one where the share is above 0.

    The caller makes sure that there are enough for that; a shortage is taken from train's share.
    """
    val, test = (max(round(count * ratio), 1) if ratio > 0 else 0 for ratio in ratios[1:])
    return count - val - test, val, test


def assign(
    labels: NDArray[np.uint16],
    keys: NDArray[np.uint64],
    groups: NDArray[np.int64],
    *,
    classes: Sequence[str],
    ratios: Ratios,
    seed: int,
) -> NDArray[np.uint8]:
    """Return the split of each picture, uint8 (N,): 0 train, 1 val, 2 test.

    labels (N,) index `classes`; keys (N,) are hashes of the content; pictures with the same number in groups (N,) go to
    the same split. Raises DataError for a class with too few pictures to be in every split.
    """
    check_ratios(ratios)
    needed = sum(ratio > 0 for ratio in ratios)
    count = np.bincount(labels, minlength=len(classes))
    for name, n in zip(classes, count.tolist(), strict=True):
        if n < needed:
            raise DataError(
                f"class {name!r} has {n} usable picture{'s' * (n != 1)}, but each of the {needed} splits needs one",
                hint="Add pictures of it, leave the class out, or set a ratio to 0.",
            )
    room = np.array([targets(n, ratios) for n in count.tolist()], np.int64)
    luck = mix(keys ^ mix(np.array([seed], np.uint64)))
    split = np.full(len(labels), 255, np.uint8)
    _deal_groups(split, labels, groups, luck, ratios, room)
    for label in range(len(classes)):
        alone = np.flatnonzero((labels == label) & (split == 255))
        alone = alone[np.argsort(luck[alone], kind="stable")]
        _, val, test = np.maximum(room[label], 0)
        split[alone[:test]] = 2
        split[alone[test : test + val]] = 1
        split[alone[test + val :]] = 0
    _check_none_empty(split, labels, classes, ratios)
    return split


def _deal_groups(
    split: NDArray[np.uint8],
    labels: NDArray[np.uint16],
    groups: NDArray[np.int64],
    luck: NDArray[np.uint64],
    ratios: Ratios,
    room: NDArray[np.int64],
) -> None:
    """Deal groups of two and more, lowest luck first, each to the split it draws if it fits there, else to another."""
    _, inverse, size = np.unique(groups, return_inverse=True, return_counts=True)
    shared = np.flatnonzero(size[inverse] > 1)
    if not len(shared):
        return
    order = shared[np.argsort(groups[shared], kind="stable")]
    parts = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
    for part in sorted(parts, key=lambda part: int(luck[part].min())):
        need = np.bincount(labels[part], minlength=len(room))
        # The least of several draws is no longer uniform; scrambled once more, it is.
        share = int(mix(luck[part].min(keepdims=True))[0]) / 2**64
        first = 2 if share < ratios[2] else 1 if share < ratios[2] + ratios[1] else 0
        # Train is last resort: a copy too many there costs a little, one across the border spoils the judgement.
        choice = next((s for s in (first, 0, 1, 2) if (need <= room[:, s]).all()), 0)
        split[part] = choice
        room[:, choice] -= need


def _check_none_empty(
    split: NDArray[np.uint8], labels: NDArray[np.uint16], classes: Sequence[str], ratios: Ratios
) -> None:
    for index, name in enumerate(classes):
        found = np.bincount(split[labels == index], minlength=3)
        for side, ratio in enumerate(ratios):
            if ratio > 0 and found[side] == 0:
                raise DataError(
                    f"class {name!r} has nothing left for {SPLITS[side]}: its pictures are nearly all alike",
                    hint="Add different pictures of it, or pass --no-group-near.",
                )
