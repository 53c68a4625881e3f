"""One photo file, of whatever kind, becomes an upright square of RGB: for datasets and for predictions alike.

Turned as its EXIF says; CMYK, palette, grey, 16-bit and transparent pictures are converted (transparent ones are laid
on white); of an animation the first frame counts. Anything else raises PhotoError with the reason. Not guaranteed:
colour management (embedded profiles are ignored).
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from inksight.errors import DataError

# Only formats that are decoded by Pillow's own code: EPS and the like would start another program.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "AVIF", "JPEG2000")
MAX_PIXELS = 100_000_000  # 300 MB as RGB; the largest cameras make 100 megapixels
LEAST_SIDE = 8


class PhotoError(DataError):
    """A file that is no picture, is broken, or is larger than may be decoded; the message is the reason."""

    code = "bad_photo"


def decode(data: bytes, size: int) -> tuple[NDArray[np.uint8], list[str]]:
    """Return the middle square of a picture as uint8 (size, size, 3) and what had to be done, e.g. ["turned"].

    The shorter side is resized to `size`. Raises PhotoError.
    """
    with opened(data, size) as image:
        if min(image.size) < LEAST_SIDE:
            raise PhotoError(f"{image.width} x {image.height} is smaller than {LEAST_SIDE} pixels")
        done = []
        # An MPO is a JPEG with a second view or a depth map behind it, not an animation.
        if getattr(image, "is_animated", False) and image.format != "MPO":
            done.append("animated: first frame taken")
        pixels, more = fit(image, (size, size))
        return pixels, done + more


@contextmanager
def opened(data: bytes, size: int = 0) -> Iterator[Image.Image]:
    """Open a picture, not yet decoded, for the block; whatever is wrong with it there is raised as PhotoError.

    A JPEG of which only `size` pixels across are needed may come out smaller than it is, and many times as fast.
    """
    try:
        with Image.open(io.BytesIO(data), formats=_formats()) as image:
            if image.width * image.height > MAX_PIXELS:
                raise PhotoError(f"{image.width} x {image.height} is more than {MAX_PIXELS:,} pixels")
            if size and image.format in ("JPEG", "MPO"):
                # The decoder can halve as it goes; twice the needed size leaves enough for a good resampling.
                scale = 2 * size / min(image.size)
                image.draft(None, (round(image.width * scale), round(image.height * scale)))
            yield image
    except UnidentifiedImageError:
        raise PhotoError("not a picture") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise PhotoError(f"more than {MAX_PIXELS:,} pixels") from None
    # Pillow's decoders report broken files by any of these.
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, OverflowError, MemoryError) as error:
        raise PhotoError(f"broken: {error}") from None


@cache
def _formats() -> tuple[str, ...]:
    """Those of FORMATS that this build of Pillow can open: naming another makes it raise KeyError."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def fit(image: Image.Image, shape: tuple[int, int]) -> tuple[NDArray[np.uint8], list[str]]:
    """Return the middle of a picture, upright, as uint8 (height, width, 3), and what had to be done for it.

    The largest part of that shape is taken and resized to it.
    """
    done: list[str] = []
    image.load()
    # 2 to 8 are the orientations that EXIF knows besides upright.
    if image.getexif().get(0x0112, 1) in range(2, 9):
        image = ImageOps.exif_transpose(image)
        done.append("turned as EXIF says")
    image = _as_rgb(image, done)
    height, width = shape
    scale = min(image.width / width, image.height / height)
    left, top = (max(0.0, side) for side in ((image.width - width * scale) / 2, (image.height - height * scale) / 2))
    # Pillow refuses a box that rounding has moved out of the picture by 1e-14.
    box = (left, top, min(left + width * scale, image.width), min(top + height * scale, image.height))
    middle = image.resize((width, height), Image.Resampling.BICUBIC, box=box, reducing_gap=3.0)
    return np.asarray(middle), done


def _as_rgb(image: Image.Image, done: list[str]) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        done.append("16-bit or float: scaled to 8 bits")
        values = np.asarray(image, np.float64)
        highest = float(values.max(initial=0))
        # Files of 16 bits and more do not say which range they use: 1, 8 bits, 16 bits or their own maximum.
        top = next((top for top in (1.0, 255.0, 65535.0) if highest <= top), highest)
        return Image.fromarray(np.clip(values * (255 / top), 0, 255).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        done.append("transparent: laid on white")
        clear = image.convert("RGBA")
        paper = Image.new("RGBA", clear.size, "white")
        return Image.alpha_composite(paper, clear).convert("RGB")
    if image.mode == "CMYK":
        done.append("CMYK: converted")
    elif image.mode == "P":
        done.append("palette: converted")
    return image.convert("RGB")


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Pillow's warnings about large or odd files inside the block: `decode` reports what matters.

    Python's warning filters are global, so this belongs around the threads that decode, not inside them.
    """
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", module="PIL")
        yield
