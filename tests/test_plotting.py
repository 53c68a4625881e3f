"""The house style: pictures come out, deterministic, in the right colours and of the right layout."""

from __future__ import annotations

import io
from pathlib import Path

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


def test_a_sheet_holds_every_picture_and_uneven_rows() -> None:
    black = np.full((3, 8, 8), 255, np.uint8)
    rows = [("three", black), ("one", black[:1]), ("none", black[:0])]
    pixels = _pixels(plotting.png_bytes(plotting.sheet(rows, title="$sheet$", tile=0.5)))
    ink = (pixels == np.array([0x1D, 0x24, 0x33])).all(axis=2).sum()
    # Each tile is 0.5 inch at 120 dpi = 60 x 60 pixels; text adds a little ink, resampling rounds.
    assert 4 * 2500 < ink < 4 * 3600 + 1000


def test_a_gallery_wraps_and_takes_colour() -> None:
    photos = np.zeros((5, 8, 8, 3), np.uint8)
    wide = _pixels(plotting.png_bytes(plotting.gallery(photos, list("abcde"), columns=5)))
    tall = _pixels(plotting.png_bytes(plotting.gallery(photos, list("abcde"), columns=2)))
    assert wide.shape[1] > tall.shape[1]
    assert tall.shape[0] > wide.shape[0]


def test_a_letter_that_the_font_lacks_is_a_box_without_a_warning() -> None:
    """Warnings are errors here."""
    assert plotting.png_bytes(plotting.bars(["猫", "dog"], [3, 2], title="猫", label="pictures"))
