"""Photos of every odd kind become upright squares of RGB, or are refused with the reason."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from inksight.data.photos import PhotoError, decode, fit, quiet

RED, BLUE = (220, 30, 30), (30, 30, 220)


def halves(mode: str = "RGB", size: tuple[int, int] = (96, 64)) -> Image.Image:
    """A picture whose left half is red and whose right half is blue."""
    image = Image.new("RGB", size, BLUE)
    image.paste(RED, (0, 0, size[0] // 2, size[1]))
    return image.convert(mode)


def saved(image: Image.Image, format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def is_halves(square: Any) -> bool:
    left, right = square[:, :4].astype(int).mean(axis=(0, 1)), square[:, -4:].astype(int).mean(axis=(0, 1))
    return bool(np.abs(left - RED).max() < 40 and np.abs(right - BLUE).max() < 40)


@pytest.mark.parametrize(
    ("data", "done"),
    [
        (saved(halves(), "JPEG", quality=95), []),
        (saved(halves(), "PNG"), []),
        (saved(halves(), "BMP"), []),
        (saved(halves(), "WEBP", quality=95), []),
        (saved(halves(), "TIFF"), []),
        (saved(halves("P"), "PNG"), ["palette: converted"]),
        (saved(halves("P"), "GIF"), ["palette: converted"]),
        (saved(halves("CMYK"), "JPEG", quality=95), ["CMYK: converted"]),
        (saved(halves("CMYK"), "TIFF"), ["CMYK: converted"]),
        (saved(halves("YCbCr"), "TIFF"), []),
        (saved(halves("RGBA"), "PNG"), ["transparent: laid on white"]),
        (
            saved(halves(), "GIF", save_all=True, append_images=[Image.new("RGB", (96, 64), "green")]),
            ["animated: first frame taken", "palette: converted"],
        ),
        (
            saved(halves(), "WEBP", save_all=True, append_images=[Image.new("RGB", (96, 64), "green")]),
            ["animated: first frame taken"],
        ),
    ],
    ids=lambda value: None if isinstance(value, list) else value[:4].hex(),
)
def test_every_kind_shows_the_same_picture(data: bytes, done: list[str]) -> None:
    square, found = decode(data, 48)
    assert square.shape == (48, 48, 3)
    assert square.dtype == np.uint8
    assert found == done
    assert is_halves(square)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_the_picture_upright(orientation: int) -> None:
    """The camera stored the picture turned or mirrored, and said so: decoded, red is on the left again."""
    undo = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    stored = halves(size=(400, 300))
    if undo is not None:
        stored = stored.transpose(undo)
    exif = Image.Exif()
    exif[0x0112] = orientation
    square, done = decode(saved(stored, "JPEG", quality=95, exif=exif), 48)
    assert is_halves(square)
    assert done == (["turned as EXIF says"] if orientation > 1 else [])


@pytest.mark.parametrize("top", [65535, 4095])
def test_sixteen_bits_keep_their_shades(top: int) -> None:
    ramp = np.linspace(0, top, 64).astype(np.uint16)[None].repeat(64, axis=0)
    for format in ("PNG", "TIFF"):
        square, done = decode(saved(Image.fromarray(ramp), format), 64)
        assert done == ["16-bit or float: scaled to 8 bits"]
        shades = square[32, :, 0].astype(int)
        assert (np.diff(shades) >= 0).all()
        # 12-bit values in a 16-bit file are darker, as any viewer shows them, but not black.
        assert shades[-1] >= 250 * top // 65535
        assert (square[..., 0] == square[..., 2]).all()


def test_float_and_one_bit_pictures() -> None:
    ramp = np.linspace(0, 1, 64, dtype=np.float32)[None].repeat(64, axis=0)
    square, _ = decode(saved(Image.fromarray(ramp), "TIFF"), 64)
    assert (square.min(), square.max()) == (0, 255)
    square, done = decode(saved(Image.new("1", (32, 32), 1), "PNG"), 32)
    assert (square == 255).all()
    assert done == []


def test_transparency_becomes_white_in_every_way_it_is_stored() -> None:
    clear = Image.new("RGBA", (32, 32), (255, 0, 0, 0))
    palette = Image.new("P", (32, 32), 0)
    palette.putpalette([0, 0, 0, 9, 9, 9])
    key = Image.new("RGB", (32, 32), (5, 5, 5))
    for data in (
        saved(clear, "PNG"),
        saved(Image.new("LA", (32, 32), (0, 0)), "PNG"),
        saved(palette, "PNG", transparency=0),
        saved(palette, "GIF", transparency=0),
        saved(key, "PNG", transparency=(5, 5, 5)),
        saved(clear, "WEBP", lossless=True),
    ):
        square, done = decode(data, 16)
        assert (square == 255).all()
        assert done == ["transparent: laid on white"]


def test_the_middle_square_is_taken_and_large_files_are_halved_while_decoding() -> None:
    image = Image.new("RGB", (1200, 400), "white")
    image.paste((0, 0, 0), (400, 0, 800, 400))
    square, _ = decode(saved(image, "JPEG", quality=95), 64)
    assert square.max() < 30
    tall, _ = decode(saved(image.transpose(Image.Transpose.ROTATE_90), "PNG"), 64)
    assert tall.max() < 30


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not a picture"),
        (b"<html>404</html>", "not a picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture"),
        (saved(halves(), "JPEG")[:700], "broken"),
        (saved(halves(), "PNG")[:120], "broken"),
        (saved(halves(), "GIF")[:200], "broken|not a picture"),
        (saved(halves(size=(7, 300)), "PNG"), "7 x 300 is smaller than 8"),
    ],
)
def test_what_cannot_be_used_says_why(data: bytes, reason: str) -> None:
    with pytest.raises(PhotoError, match=reason):
        decode(data, 32)


@pytest.mark.parametrize("side", [10_500, 20_000, 60_000])
def test_decompression_bombs_are_refused_before_they_are_decoded(side: int) -> None:
    """A PNG of a few hundred bytes that claims a huge picture: the header alone decides."""
    small = saved(Image.new("L", (64, 64)), "PNG")
    header = side.to_bytes(4, "big") * 2 + small[24:29]
    import zlib

    bomb = small[:16] + header + zlib.crc32(b"IHDR" + header).to_bytes(4, "big") + small[33:]
    with quiet(), pytest.raises(PhotoError, match="more than 100,000,000 pixels"):
        decode(bomb, 32)


def test_random_damage_never_escapes_as_another_error() -> None:
    rng = np.random.default_rng(0)
    originals = [saved(halves(), "JPEG"), saved(halves("P"), "PNG"), saved(halves(), "GIF"), saved(halves(), "TIFF"),
                 saved(halves(), "WEBP")]  # fmt: skip
    outcomes = set()
    with quiet():
        for original in originals * 60:
            damaged = bytearray(original)
            for place in rng.integers(0, len(damaged), 2):
                damaged[place] = rng.integers(0, 256)
            try:
                end = len(damaged) if rng.random() < 0.7 else rng.integers(1, len(damaged))
                square, _ = decode(bytes(damaged[:end]), 16)
                assert square.shape == (16, 16, 3)
                outcomes.add("decoded")
            except PhotoError:
                outcomes.add("refused")
    assert outcomes == {"decoded", "refused"}


@given(st.integers(1, 700), st.integers(1, 700), st.integers(1, 300), st.integers(1, 300))
@example(657, 657, 1, 1)
@settings(max_examples=200, deadline=None)
def test_any_size_fits_any_shape(width: int, height: int, wanted_height: int, wanted_width: int) -> None:
    pixels, _ = fit(Image.new("RGB", (width, height), "red"), (wanted_height, wanted_width))
    assert pixels.shape == (wanted_height, wanted_width, 3)
    # Outside would be black. Pillow's mean of 657 x 657 pixels, which only a single pixel asks for, is off by one.
    assert (pixels[..., 0] >= (254 if pixels.size == 3 else 255)).all()
