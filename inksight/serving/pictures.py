"""Pictures from strangers: read within limits, or refused with a reason.

The size is checked from the header before a pixel is decoded, so a small file that unpacks to gigabytes costs
nothing. Only common raster formats are opened; nothing is ever read from a path or address that a client names.
"""

from __future__ import annotations

import base64
import binascii
import io
from typing import TYPE_CHECKING

from inksight.errors import DrawingError
from inksight.serving.errors import TooLargeError

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")

SIMPLE_BYTES, SIMPLE_PIXELS = 16_384, 160_000
"""Up to which a PNG is read in the event loop: a drawing on a canvas takes about a millisecond, and two threads that
compute in Python cost more than they save. A photo of that size has more bytes, or is no PNG."""

_PNG_BEGINS = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
"""Pillow takes the size from wherever the last IHDR is: where there is only this one, the size behind it is true."""

_HINT = f"Send one picture as {', '.join(FORMATS[:-1])} or {FORMATS[-1]}."


def from_data_url(text: str) -> bytes:
    """Return the bytes of `data:image/...;base64,...` or of bare base64; raises DrawingError."""
    head, comma, body = text.partition(",")
    if comma:
        if not head.startswith("data:image/") or not head.endswith(";base64"):
            raise DrawingError("the image is not a base64 data URL", hint="Send data:image/png;base64,...")
    else:
        body = text
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise DrawingError(f"the image is not valid base64: {error}", hint="Send data:image/png;base64,...") from None


def is_simple(data: bytes) -> bool:
    """Tell by its first bytes whether a picture is a small drawing on screen, which is read in a millisecond."""
    if not data.startswith(_PNG_BEGINS) or len(data) > SIMPLE_BYTES or data.count(b"IHDR") > 1:
        return False
    width, height = int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
    return width * height <= SIMPLE_PIXELS


def open_picture(data: bytes, *, max_pixels: int) -> Image:
    """Return the decoded first frame, turned as its EXIF says; raises DrawingError or TooLargeError."""
    from PIL import Image, ImageOps

    if not data:
        raise DrawingError("the picture is empty", hint=_HINT)
    try:
        picture = Image.open(io.BytesIO(data), formats=FORMATS)
        width, height = picture.size
        if width * height > max_pixels:
            raise TooLargeError(
                f"the picture has {width} x {height} pixels", hint=f"At most {max_pixels:,} pixels in all."
            )
        picture.load()
        return ImageOps.exif_transpose(picture)
    except TooLargeError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError):
        raise TooLargeError("the picture unpacks to too many pixels", hint=f"At most {max_pixels:,}.") from None
    # Broken files surface as almost any exception from Pillow's decoders; the sender's bytes are at fault.
    except Exception as error:  # noqa: BLE001
        raise DrawingError(
            f"the picture cannot be read: broken, cut short or not a picture ({type(error).__name__})", hint=_HINT
        ) from None
