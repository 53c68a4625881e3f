"""The house style: pictures come out, deterministic, in the right colours and of the right layout."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from inksight import plotting


def _pixels(png: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def test_drawings_become_ink_on_paper_and_photos_stay() -> None:
    drawing = np.array([[[0, 255]]], np.uint8)
    assert plotting.as_rgb(drawing).tolist() == [[[[0xFA, 0xF7, 0xF0], [0x1D, 0x24, 0x33]]]]
    photo = np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3)
    assert np.array_equal(plotting.as_rgb(photo), photo)


def test_bars_are_deterministic_and_mark_with_the_accent(tmp_path: Path) -> None:
    def draw() -> bytes:
        return plotting.png_bytes(plotting.bars(["cat", "dog"], [3, 5], title="T", label="n", marked=["dog"]))

    assert draw() == draw()
    colours = {tuple(pixel) for pixel in _pixels(draw()).reshape(-1, 3).tolist()}
    assert {(0xFA, 0xF7, 0xF0), (0x1D, 0x24, 0x33), (0xC8, 0x45, 0x2D)} <= colours
    path = plotting.save_png(plotting.bars([], [], title="empty", label="n"), tmp_path / "sub" / "empty.png")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_bars_name_counts_in_full_and_shares_with_four_digits() -> None:
    def named(values: list[Any]) -> list[str]:
        [axes] = plotting.bars(list("abc")[: len(values)], values, title="T", label="n").axes
        return [text.get_text() for text in axes.texts]

    assert named([9_999, 10_000, 12_345]) == ["9,999", "10,000", "12,345"]
    assert named([int(1e6), np.int64(12_345)]) == ["1,000,000", "12,345"]
    assert named([0.123456, 12.3456, 1.0]) == ["0.1235", "12.35", "1"]


def test_a_sheet_holds_every_picture_and_uneven_rows() -> None:
    black = np.full((3, 8, 8), 255, np.uint8)
    rows = [("three", black), ("one", black[:1]), ("none", black[:0])]
    pixels = _pixels(plotting.png_bytes(plotting.sheet(rows, title="$sheet$", tile=0.5)))
    ink = (pixels == np.array([0x1D, 0x24, 0x33])).all(axis=2).sum()
    # Each tile is 0.5 inch at 120 dpi = 60 x 60 pixels; text adds a little ink, resampling rounds.
    assert 4 * 2500 < ink < 4 * 3600 + 1000


def test_photos_larger_than_their_tile_lose_no_lines() -> None:
    stripes = np.zeros((1, 256, 256, 3), np.uint8)
    stripes[:, :, ::2] = 255  # every other line, which is grey from afar
    [image] = plotting.sheet([("grey", stripes)], tile=0.5).axes[0].get_images()
    drawn = np.asarray(image.get_array())
    assert drawn.shape[1] < 70, "no more pixels than are seen"
    assert np.abs(drawn[5:50, 5:50].astype(int) - 128).max() < 12


def test_a_gallery_wraps_and_takes_colour() -> None:
    photos = np.zeros((5, 8, 8, 3), np.uint8)
    wide = _pixels(plotting.png_bytes(plotting.gallery(photos, list("abcde"), columns=5)))
    tall = _pixels(plotting.png_bytes(plotting.gallery(photos, list("abcde"), columns=2)))
    assert wide.shape[1] > tall.shape[1]
    assert tall.shape[0] > wide.shape[0]


def test_a_letter_that_the_font_lacks_is_a_box_without_a_warning() -> None:
    """Warnings are errors here."""
    assert plotting.png_bytes(plotting.bars(["猫", "dog"], [3, 2], title="猫", label="pictures"))
