"""Centring by centre of mass: nothing lost, nothing wrapped, as near to the middle as the margins allow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from inksight.drawing import shift_to_centroid

sparse = hnp.arrays(
    np.uint8,
    st.tuples(st.integers(0, 4), st.integers(1, 12), st.integers(1, 12)),
    elements=st.integers(0, 255),
    fill=st.just(0),
)


def _trim(bitmap: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    rows, columns = np.flatnonzero(bitmap.any(axis=1)), np.flatnonzero(bitmap.any(axis=0))
    return bitmap[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] if len(rows) else bitmap[:0, :0]


@given(sparse)
@settings(max_examples=200, deadline=None)
def test_ink_moves_as_one_piece(bitmaps: npt.NDArray[np.uint8]) -> None:
    shifted = shift_to_centroid(bitmaps)
    assert shifted.shape == bitmaps.shape
    for before, after in zip(bitmaps, shifted, strict=True):
        np.testing.assert_array_equal(_trim(before), _trim(after))


@given(sparse)
@settings(max_examples=200, deadline=None)
def test_nearest_to_the_middle_that_fits(bitmaps: npt.NDArray[np.uint8]) -> None:
    for bitmap in shift_to_centroid(bitmaps):
        if not bitmap.any():
            continue
        for axis, centre in enumerate(ndimage.center_of_mass(bitmap)):
            off = (bitmap.shape[axis] - 1) / 2 - centre
            edge = bitmap.take(-1 if off > 0 else 0, axis=axis)
            assert abs(off) <= 0.5 + 1e-6 or edge.any()


@given(sparse)
@settings(max_examples=50, deadline=None)
def test_a_second_pass_changes_nothing(bitmaps: npt.NDArray[np.uint8]) -> None:
    once = shift_to_centroid(bitmaps)
    np.testing.assert_array_equal(shift_to_centroid(once), once)


def test_official_bitmaps(shared_data: Path) -> None:
    bitmaps = np.load(shared_data / "quickdraw" / "full" / "numpy_bitmap" / "airplane.npy").reshape(-1, 28, 28)
    shifted = shift_to_centroid(bitmaps)
    np.testing.assert_array_equal(
        np.sort(shifted.reshape(len(shifted), -1)), np.sort(bitmaps.reshape(len(bitmaps), -1))
    )
    off = [np.abs(np.array(ndimage.center_of_mass(bitmap)) - 13.5).max() for bitmap in shifted]
    assert np.median(off) < 0.6
