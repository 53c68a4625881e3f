"""Finding ink in a picture: which pixels the pen touched, on screen or on paper.

Not guaranteed: right answers where ink is no darker (or lighter) than the shadows around it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from inksight.errors import DrawingError

if TYPE_CHECKING:
    from PIL.Image import Image

Grey = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Number = TypeVar("Number", np.uint8, np.float32)

LONGEST = 400
"""Larger pictures are reduced to at most this many pixels a side, twice what lines are widened at."""

THIN = 0.5
"""Share of a line's pixels that it covers when a picture is reduced, below which the line is kept at full strength."""

CONTRAST = 24
"""Grey levels below which a difference is no ink."""

STRONG, WEAK = 0.45, 0.3
"""Shares of the darkest ink's contrast: from the first on a pixel is ink, from the second on if it touches such ink. On
paper the second is nearer the first, which leaves out printed lines and what shows through from the back."""


def plain(image: Image | npt.NDArray[Any]) -> Image:
    """Return a picture upright, in grey or RGB; transparent parts white, or black if nothing would be seen on white."""
    from PIL import Image, ImageOps

    if isinstance(image, np.ndarray):
        image = Image.fromarray(_checked(image))
    image = ImageOps.exif_transpose(image)
    if image.mode in ("La", "RGBa"):
        image = image.convert(image.mode.upper())
    if image.has_transparency_data:
        image = image.convert("RGBA")
        on_white, on_black = (
            Image.alpha_composite(Image.new("RGBA", image.size, paper), image).convert("RGB")
            for paper in ("white", "black")
        )
        return on_white if np.ptp(to_grey(on_white)) >= CONTRAST else on_black
    if image.mode.startswith(("I", "F")):  # 16 bits, or unknown units
        values = np.nan_to_num(np.asarray(image, np.float64))
        low, high = values.min(), values.max()
        return Image.fromarray(((values - low) * (255 / max(high - low, 1e-9))).astype(np.uint8))
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def to_grey(picture: Image) -> Grey:
    """Return a plain picture as uint8 `(H, W)`, at most LONGEST a side; colours by the channel that shows ink best."""
    factor = -(-max(picture.size) // LONGEST)
    grey = _one_channel(np.asarray(picture.reduce(factor)))
    return grey if factor == 1 else _with_thin_lines(grey, np.asarray(picture), factor)


def _with_thin_lines(grey: Grey, pixels: Grey, factor: int) -> Grey:
    """Return the reduced picture `grey`, or where lines are thin and clean, of each block what is least like paper.

    The mean of 3 x 3 leaves a third of a line of 1 px, less where it slants, more where lines cross: parts of it would
    be taken for paper. In a photo what is least like paper would be its grain.
    """
    if _noise(pixels if pixels.ndim == 2 else pixels[..., 1]) > 1:
        return grey
    full = _one_channel(pixels)
    dark, light = (
        _of_blocks(_of_blocks(full, choose, factor).T, choose, factor).T for choose in (np.minimum, np.maximum)
    )
    paper = np.int16(np.median(_ring(grey)))
    extreme = np.where(paper - dark >= light - paper, dark, light)
    share = np.abs(grey - paper).sum() / max(np.abs(extreme - paper).sum(), 1)
    return extreme if share < THIN else grey


def _of_blocks(values: Grey, choose: np.ufunc, size: int) -> Grey:
    """Return the least or the largest of every `size` rows, of fewer at the end."""
    result = values[::size].copy()
    for first in range(1, size):
        part = values[first::size]
        choose(result[: len(part)], part, out=result[: len(part)])
    return result


def _checked(image: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    if image.dtype != np.uint8 or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (1, 3, 4))):
        raise DrawingError(
            f"an array of {image.dtype} {image.shape} is no picture", hint="Give uint8 (H, W), (H, W, 3) or (H, W, 4)."
        )
    if image.size == 0:
        raise DrawingError(f"the picture {image.shape} is empty", hint="Give at least one pixel.")
    return np.ascontiguousarray(image[..., 0] if image.shape[2:] == (1,) else image)


def _one_channel(pixels: Grey) -> Grey:
    """Colours by the darkest channel on light paper, the lightest on dark: yellow on white is as good as black."""
    if pixels.ndim == 2:
        return pixels
    channels = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    choose = np.minimum if np.median(_ring(pixels)) > 127 else np.maximum
    grey: Grey = choose(choose(channels[0], channels[1]), channels[2])
    return grey


def _ring(pixels: Grey) -> Grey:
    """The outermost pixels `(n,)` or `(n, 3)`, each once."""
    return np.concatenate([pixels[0], pixels[-1], pixels[1:-1, 0], pixels[1:-1, -1]])


def find_ink(grey: Grey) -> Grey:
    """Return the ink of a picture `(H, W)`, dark on light or light on dark, on screen or on paper.

    0 is paper, 255 as inked as the surroundings, and 128 the edge of a line.
    """
    from PIL import Image
    from scipy import ndimage

    inside = _inside_frame(grey)
    if inside != (slice(None), slice(None)):
        ink = np.zeros_like(grey)
        ink[inside] = find_ink(grey[inside])
        return ink
    quarter, paper, three_quarters = np.percentile(_ring(grey), [25, 50, 75])
    picture = grey.astype(np.float32)
    noise = _noise(picture)
    if noise > 1:
        picture = ndimage.gaussian_filter(picture, 1.0)
    if three_quarters - quarter < CONTRAST / 2:
        return _select(_towards_ink(picture - np.float32(paper)), noise, on_paper=False)
    # Light is uneven. First a wide look around for the paper, for wide pens; then as wide as the lines need, since for
    # thin ones shadows are wider than that.
    reach = min(grey.shape) / 5
    half = np.asarray(Image.fromarray(picture).reduce(2 if min(grey.shape) > 64 else 1))
    if _ink_is_light(half):
        picture, half = 255 - picture, 255 - half
    width = line_width(_select(_flattened(half, reach * len(half) / len(grey)), noise, on_paper=True) > 127)
    reach = min(reach, 5 * width * len(grey) / len(half) + 6)
    return _select(_flattened(picture, reach), noise, on_paper=True)


def _select(difference: Floats, noise: float, *, on_paper: bool) -> Grey:
    """Keep what contrasts strongly, what contrasts weakly beside it, no specks, and of paper no shadows at the edge."""
    from scipy import ndimage

    contrast: Grey = np.clip(difference, 0, 255).astype(np.uint8)
    # A small drawing in thin pen covers a thousandth of its sheet; the darkest few in ten thousand may be dirt.
    most = np.cumsum(np.bincount(contrast.ravel(), minlength=256))
    peak = int(np.searchsorted(most, most[-1] * (0.9997 if noise > 1 else 1.0)))
    # Empty paper reaches 34 levels and 7 times its grain, the faintest pencil 47 and 11 times.
    grain = 1.5 * float(np.median(np.abs(difference[::2, ::2])))
    if peak < (max(1.6 * CONTRAST, 8 * grain) if on_paper else CONTRAST):
        return np.zeros_like(contrast)
    weak = contrast > ((STRONG + WEAK) / 2 if on_paper else WEAK) * peak
    parts, count = ndimage.label(weak, np.ones((3, 3)))
    # Ink is a small share of a picture: looking at its pixels alone is several times as fast.
    inked = parts[weak]
    area = np.bincount(inked, minlength=count + 1)
    keep = np.bincount(inked, contrast[weak] > STRONG * peak, minlength=count + 1) > 0
    # A dot of the pen covers three quarters of its width squared; less is a speck.
    keep &= area >= max(0.4 * line_width(weak) ** 2, 6.0 if noise > 1 else 0.0)
    if on_paper:
        at_edge = np.bincount(np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]]), minlength=count + 1)
        keep &= ~_along_edge(parts, count)
        # A drawing may run off the sheet, but not along its edge.
        keep &= (at_edge == 0) | ((area > len(inked) / 2) & (at_edge < sum(parts.shape) / 5))
    kept = weak.view(np.uint8)
    if not keep[1:].all():
        kept = np.zeros_like(contrast)
        kept[weak] = keep[inked]
    # Near strong ink the edge is at half of that; near weak ink it is at half of the weak.
    near = np.maximum(highest(contrast, 2), np.uint8(round(STRONG * peak)))
    level = (contrast * (np.float32(255) / near)).astype(np.uint8)
    return level * highest(kept, 1)


def _along_edge(parts: npt.NDArray[np.int32], count: int) -> Mask:
    """Tell which parts lie in the picture's outer twelfth and are long: where the sheet ends and the desk begins."""
    from scipy import ndimage

    height, width = parts.shape
    top, left = height // 12, width // 12
    inside = np.bincount(parts[top : height - top, left : width - left].ravel(), minlength=count + 1)
    found: Mask = inside == 0
    for number, (rows, columns) in enumerate(ndimage.find_objects(parts), 1):
        long, short = sorted((rows.stop - rows.start, columns.stop - columns.start), reverse=True)
        found[number] &= long >= 4 * short or 4 * long > min(height, width)
    return found


def highest(values: npt.NDArray[Number], reach: int) -> npt.NDArray[Number]:
    """Maximum over the square of `reach` pixels around each; by shifting, 6 times as fast as SciPy's filter."""
    for axis in (0, 1):
        result = values.copy()
        for shift in range(1, reach + 1):
            for to, of in ((slice(shift, None), slice(None, -shift)), (slice(None, -shift), slice(shift, None))):
                part = result[to] if axis == 0 else result[:, to]
                np.maximum(part, values[of] if axis == 0 else values[:, of], out=part)
        values = result
    return values


def distance(mask: Mask, reach: int) -> Floats:
    """Distance of each pixel of the mask to the nearest one outside it, exact up to `reach` and at least that beyond.

    One axis after the other, as in Felzenszwalb and Huttenlocher (2012), but by shifting whole arrays: with a small
    reach a third of the time of SciPy's transform, which knows no bound.
    """
    rows = np.where(mask, np.uint8(reach + 1), np.uint8(0))
    for _ in range(reach):
        step = rows + np.uint8(1)
        np.minimum(rows[1:], step[:-1], out=rows[1:])
        np.minimum(rows[:-1], step[1:], out=rows[:-1])
    squares = rows.astype(np.int16) ** 2
    nearest = squares.copy()
    for shift in range(1, reach + 1):
        across = squares + np.int16(shift * shift)
        np.minimum(nearest[:, shift:], across[:, :-shift], out=nearest[:, shift:])
        np.minimum(nearest[:, :-shift], across[:, shift:], out=nearest[:, :-shift])
    return np.sqrt(nearest, dtype=np.float32)


def _noise(picture: Floats | Grey) -> float:
    """Standard deviation of the noise between neighbouring pixels; 0 for pictures that a program drew."""
    steps = np.abs(np.diff(picture[:: max(1, len(picture) // 64)].astype(np.float32), axis=1))
    return float(np.median(steps)) / (0.6745 * 2**0.5) if steps.size else 0.0


def _towards_ink(difference: Floats) -> Floats:
    """Turn differences from paper so that ink is positive: ink is the side with more of it."""
    dark = float(np.count_nonzero(difference < -CONTRAST))
    light = float(np.count_nonzero(difference > CONTRAST))
    return -difference if dark >= light else difference


def _ink_is_light(picture: Floats) -> bool:
    """Tell chalk from pencil: there is less ink than paper, so what deviates most from its surroundings is ink.

    Near surroundings show thin lines through any shadow, with a skewness of 2 to 5; the gaps between wide lines reach
    1.3 there, and for those half the picture is the right surroundings.
    """
    near, far = _skewness(picture, 12), _skewness(picture, 2)
    return (near if abs(near) > 2 else far) > 0


def _skewness(picture: Floats, share: int) -> float:
    from scipy import ndimage

    deviation = picture - ndimage.uniform_filter(picture, max(3, min(picture.shape) // share))
    return float((deviation**3).mean() / max((deviation**2).mean() ** 1.5, 1e-9))


def _flattened(picture: Floats, reach: float) -> Floats:
    """Contrast of dark ink to the paper around it in uneven light, looking for paper `reach` pixels around."""
    from PIL import Image
    from scipy import ndimage

    height, width = picture.shape
    factor = max(1, min(min(height, width) // 64, int(reach / 3)))
    coarse = np.asarray(Image.fromarray(picture).reduce(factor))
    window = max(3, round(reach / factor))
    # Continued evenly beyond its edge, a slope in the light is no dark edge.
    beyond = [min(window, side - 1) for side in coarse.shape]
    paper = np.pad(coarse, [(side, side) for side in beyond], mode="reflect", reflect_type="odd")
    paper = ndimage.gaussian_filter(ndimage.grey_closing(paper, (window, window)), window / 4)
    paper = paper[beyond[0] : -beyond[0] or None, beyond[1] : -beyond[1] or None]
    light = np.asarray(Image.fromarray(np.ascontiguousarray(paper)).resize((width, height), Image.Resampling.BILINEAR))
    contrast: Floats = (light - picture) * (255 / np.maximum(light, 32))
    # The lightest of many grains was taken for the paper; its median is nearer the truth.
    contrast -= np.median(contrast)
    return contrast


def line_width(mask: Mask) -> float:
    """Estimate the width of a mask's lines: twice its area by its outline; diagonals make that 4 / pi too long."""
    padded = np.pad(mask, 1)
    outline = np.count_nonzero(padded[1:] != padded[:-1]) + np.count_nonzero(padded[:, 1:] != padded[:, :-1])
    return float(2 * np.count_nonzero(mask) / max(outline * np.pi / 4, 1))


def _inside_frame(grey: Grey) -> tuple[slice, slice]:
    """Find the paper inside a thin plain frame, as screenshots and scans have; all of the picture if there is none."""
    like_corner = np.abs(grey.astype(np.int16) - int(grey[0, 0])) < CONTRAST
    cuts = []
    for lines in (like_corner.mean(axis=1) > 0.95, like_corner.mean(axis=0) > 0.95):
        before, after = int(lines.argmin()), int(lines[::-1].argmin())
        if not (0 < before <= len(lines) / 20 and 0 < after <= len(lines) / 20):
            return slice(None), slice(None)
        cuts.append(slice(before, len(lines) - after))
    inside = grey[cuts[0], cuts[1]]
    paper = float(np.median(inside))
    framed = np.mean(np.abs(_ring(inside) - paper) < CONTRAST) > 0.9 and abs(paper - float(grey[0, 0])) > 2 * CONTRAST
    return (cuts[0], cuts[1]) if framed else (slice(None), slice(None))
