"""Splits: exactly stratified, seeded, decided by content, with groups on one side."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from inksight.data.split import Ratios, assign, check_ratios, targets
from inksight.errors import DataError, UsageError

GUIDE: Ratios = (0.8, 0.1, 0.1)


def deal(
    sizes: list[int], *, seed: int = 0, ratios: Ratios = GUIDE, groups: NDArray[np.int64] | None = None, keys: int = 1
) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    labels = np.repeat(np.arange(len(sizes), dtype=np.uint16), sizes)
    content = np.random.default_rng(keys).integers(0, 2**63, len(labels), dtype=np.uint64)
    groups = np.arange(len(labels)) if groups is None else groups
    names = [f"class{i}" for i in range(len(sizes))]
    return labels, assign(labels, content, groups, classes=names, ratios=ratios, seed=seed)


@given(
    sizes=st.lists(st.integers(3, 400), min_size=1, max_size=6),
    cut=st.tuples(st.floats(0.02, 0.4), st.floats(0.02, 0.4)),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=60, deadline=None)
def test_every_class_gets_its_exact_share(sizes: list[int], cut: tuple[float, float], seed: int) -> None:
    ratios = (1 - cut[0] - cut[1], *cut)
    labels, split = deal(sizes, seed=seed, ratios=ratios)
    for label, size in enumerate(sizes):
        found = np.bincount(split[labels == label], minlength=3).tolist()
        assert found[1] == max(round(size * ratios[1]), 1)
        assert found[2] == max(round(size * ratios[2]), 1)
        assert sum(found) == size


@given(data=st.data(), seed=st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_groups_stay_whole_and_shares_hold_where_groups_allow(data: st.DataObject, seed: int) -> None:
    sizes = [200, 100, 50]
    groups = np.arange(350)
    members = data.draw(st.lists(st.lists(st.integers(0, 349), min_size=2, max_size=5), max_size=15))
    for group in members:
        groups[group] = groups[group[0]]
    labels, split = deal(sizes, seed=seed, groups=groups)
    for number in np.unique(groups):
        assert len(set(split[groups == number].tolist())) == 1
    for label, size in enumerate(sizes):
        assert np.bincount(split[labels == label], minlength=3).tolist() == list(targets(size, GUIDE))


def test_the_seed_decides_and_nothing_else() -> None:
    _, first = deal([300, 200], seed=7)
    _, again = deal([300, 200], seed=7)
    _, other = deal([300, 200], seed=8)
    assert np.array_equal(first, again)
    # 80/10/10 drawn twice agree by chance on 0.8^2 + 0.1^2 + 0.1^2 = 66 %.
    assert 0.55 < (first == other).mean() < 0.77


def test_adding_a_class_or_shuffling_rows_moves_no_drawing() -> None:
    rng = np.random.default_rng(3)
    keys = rng.integers(0, 2**63, 600, dtype=np.uint64)
    labels = np.repeat(np.arange(3, dtype=np.uint16), 200)
    alone = np.arange(600)
    split = assign(labels, keys, alone, classes=["a", "b", "c"], ratios=GUIDE, seed=1)
    fewer = assign(labels[:400], keys[:400], alone[:400], classes=["a", "b"], ratios=GUIDE, seed=1)
    assert np.array_equal(split[:400], fewer)
    order = rng.permutation(600)
    shuffled = assign(labels[order], keys[order], alone, classes=["a", "b", "c"], ratios=GUIDE, seed=1)
    assert np.array_equal(shuffled, split[order])


def test_groups_spread_over_the_splits_as_single_drawings_do() -> None:
    """4,000 pairs: about a tenth of them must land in test, or pairs would bias what is judged."""
    _, split = deal([20_000], groups=np.concatenate([np.repeat(np.arange(4_000), 2), np.arange(8_000, 20_000)]))
    share = np.bincount(split[:8_000], minlength=3) / 8_000
    assert share == pytest.approx([0.8, 0.1, 0.1], abs=0.02)


@pytest.mark.parametrize(
    "ratios", [(0.8, 0.1, 0.2), (0.7, 0.1, 0.1), (1.2, -0.1, -0.1), (0.0, 0.5, 0.5), (0.5, 0.5, float("nan"))]
)
def test_bad_ratios_are_named(ratios: Ratios) -> None:
    with pytest.raises(UsageError, match="--train-ratio"):
        check_ratios(ratios)


def test_a_class_too_small_for_every_split_is_named() -> None:
    with pytest.raises(DataError, match="'class1' has 1 usable picture, but each of the 3 splits needs one"):
        deal([10, 1])
    _, split = deal([10, 1], ratios=(1.0, 0.0, 0.0))
    assert (split == 0).all()


def test_a_class_of_one_group_cannot_be_split() -> None:
    with pytest.raises(DataError, match="nearly all alike"):
        deal([4], groups=np.zeros(4, np.int64))
