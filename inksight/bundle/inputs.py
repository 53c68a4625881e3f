"""What people have (pictures, files, strokes, arrays of any size) -> what the model takes: uint8 (N, H, W[, 3]).

A drawing goes through the drawing room, so that the model sees the bitmaps it was trained on; a photo is turned by its
EXIF mark, made RGB, resized so that it covers the model's square and cropped to its middle, as `data prepare` does.

Not guaranteed: that an array of exactly the model's size is what it claims; it is taken as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from inksight.data.photos import FORMATS, PhotoError, fit, opened
from inksight.errors import DrawingError, NotFoundError, UsageError

if TYPE_CHECKING:
    from PIL.Image import Image


def to_images(items: Any, description: Mapping[str, Any]) -> NDArray[np.uint8]:
    """Return uint8 (N, H, W[, 3]) for an array, a PIL image, a path, or a sequence of these.

    An array holds images of any size, (N, h, w[, 3]) or one (h, w[, 3]), or rows of a drawing's pixels, (N, H * W).
    Raises UsageError (NotFoundError for a missing file) that says which item is wrong and why.
    """
    shape = tuple(description["preprocessing"]["input_shape"])
    if isinstance(items, np.ndarray):
        return _from_array(items, shape, description)
    if isinstance(items, str | Path) or hasattr(items, "getexif"):
        items = [items]
    if not isinstance(items, Sequence):
        items = list(items)
    if not items:
        return np.empty((0, *shape), np.uint8)
    return np.stack([to_input(item, description) for item in items])


def to_input(item: Any, description: Mapping[str, Any]) -> NDArray[np.uint8]:
    """Return one image, uint8 (H, W[, 3]), for a PIL image, a path, the bytes of a picture file or an array."""
    shape = tuple(description["preprocessing"]["input_shape"])
    if isinstance(item, np.ndarray):
        images: NDArray[np.uint8] = _from_array(item, shape, description)
        if len(images) != 1:
            raise UsageError(f"an array of shape {item.shape} is not one image")
        first: NDArray[np.uint8] = images[0]
        return first
    size = max(shape[:2]) if description["kind"] == "photo" else 0
    if isinstance(item, str | Path):
        picture = open_picture(read_file(Path(item)), str(item), size)
    elif isinstance(item, bytes):
        picture = open_picture(item, "", size)
    elif hasattr(item, "getexif"):
        picture = item
    else:
        raise UsageError(
            f"a {type(item).__name__} is not an image",
            hint="Give uint8 arrays (N, H, W) or (N, H, W, 3), PIL images or paths of pictures.",
        )
    return _photo(picture, shape) if description["kind"] == "photo" else _drawing(picture, shape)


def drawings_to_images(drawings: Sequence[Any], description: Mapping[str, Any]) -> NDArray[np.uint8]:
    """Return uint8 (N, H, W) for drawings given as strokes, raw (simplified first) or simplified (taken as they are).

    See `drawing.is_simplified` for which are. Raises DrawingError naming the drawing's place.
    """
    from inksight.drawing import is_simplified, render_many, simplify, validate

    shape = tuple(description["preprocessing"]["input_shape"])
    if description["kind"] != "drawing":
        raise UsageError(f"the model {description['name']!r} takes photos, not strokes", hint="Give it a picture.")
    if len(drawings) == 0:
        return np.empty((0, *shape), np.uint8)
    ready = []
    for place, drawing in enumerate(drawings):
        try:
            strokes = validate(drawing)
            ready.append(strokes if is_simplified(strokes) else simplify(strokes))
        except DrawingError as error:
            raise DrawingError(f"drawing {place}: {error.message}", hint=error.hint) from None
    return fit_drawings(render_many(ready, size=shape[0]), shape)


def fit_drawings(bitmaps: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Bring bitmaps of drawings, uint8 (N, h, h), to a model's shape, (H, W) or (H, W, 3); most have it already."""
    if bitmaps.shape[1:3] != shape[:2]:
        from PIL import Image

        resized = [Image.fromarray(b).resize((shape[1], shape[0]), Image.Resampling.BILINEAR) for b in bitmaps]
        bitmaps = np.stack([np.asarray(image) for image in resized])
    return bitmaps if len(shape) == 2 else np.repeat(bitmaps[..., None], 3, axis=3)


def open_picture(data: bytes, name: str, size: int = 0) -> Image:
    """Decode the bytes of a picture file, upright; a JPEG may be made smaller when `size` pixels across are enough.

    `name` is for the message, "" where the caller says which file it is. Raises UsageError when it is no
    picture, is broken or is far too large.
    """
    from PIL import ImageOps

    try:
        with opened(data, size) as picture:
            return ImageOps.exif_transpose(picture)
    except PhotoError as error:
        raise UsageError(
            f"{name}{' is ' * bool(name)}no usable picture: {error.message}", hint=f"Readable are {', '.join(FORMATS)}."
        ) from None


def read_file(path: Path) -> bytes:
    """Return a file's bytes; raises NotFoundError or UsageError that names it."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise NotFoundError(f"there is no file {str(path)!r}") from None
    except OSError as error:
        raise UsageError(f"{str(path)!r} cannot be read: {error.strerror}") from None


def _from_array(array: NDArray[Any], shape: tuple[int, ...], description: Mapping[str, Any]) -> NDArray[np.uint8]:
    from PIL import Image

    if array.dtype != np.uint8:
        # Of shares of 255, .astype alone would make nearly everything 0.
        shares = array.size and array.dtype.kind in "fb" and array.min() >= 0 and array.max() <= 1
        convert = "(255 * images).astype('uint8')" if shares else "images.astype('uint8')"
        raise UsageError(f"images must be uint8 (0 to 255), not {array.dtype}", hint=f"Convert with {convert}.")
    if array.shape == shape:
        return array[None]
    if len(shape) == 2 and array.ndim == 2 and array.shape[1] == shape[0] * shape[1]:
        return array.reshape(-1, *shape)  # rows of Quick, Draw!'s numpy_bitmap files, as in .npy files
    if array.shape[1:] == shape:
        return array
    colour = array.shape[-1:] == (3,)
    if array.ndim == (3 if colour else 2):
        array = array[None]
    if array.ndim != (4 if colour else 3) or 0 in array.shape[1:]:
        raise UsageError(
            f"an array of shape {array.shape} holds no images",
            hint=f"The model takes (N, {', '.join(map(str, shape))}).",
        )
    if len(array) == 0:
        return np.empty((0, *shape), np.uint8)
    return np.stack([to_input(Image.fromarray(image), description) for image in array])


def _drawing(picture: Image, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    from inksight.drawing import from_picture

    bitmap: NDArray[np.uint8] = fit_drawings(from_picture(picture)[None], shape)[0]
    return bitmap


def _photo(picture: Image, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    from PIL import Image

    pixels, _ = fit(picture, (shape[0], shape[1]))
    return pixels if len(shape) == 3 else np.asarray(Image.fromarray(pixels).convert("L"))
