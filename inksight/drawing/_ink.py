"""Finding ink in a picture: which pixels the pen touched, on screen or on paper.

Not guaranteed: right answers where ink is no darker (or lighter) than the shadows around it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from inksight.drawing._sheet import Floats, Grey, Mask, without_desk
from inksight.errors import DrawingError

if TYPE_CHECKING:
    from PIL.Image import Image

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
        alpha = image.getchannel("A")
        if alpha.getextrema() != (255, 255):
            on_white, on_black = (Image.new("RGB", image.size, paper) for paper in ("white", "black"))
            on_white.paste(image, mask=alpha)
            if is_plain(to_grey(on_white)):
                on_black.paste(image, mask=alpha)
                return on_black
            return on_white
    if image.mode.startswith(("I", "F")):  # 16 bits, or unknown units
        values = np.nan_to_num(np.asarray(image, np.float64))
        low, high = values.min(), values.max()
        return Image.fromarray(((values - low) * (255 / max(high - low, 1e-9))).astype(np.uint8))
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def to_grey(picture: Image) -> Grey:
    """Return a plain picture as uint8 `(H, W)`, at most LONGEST a side; colours by the channel that shows ink best."""
    factor = -(-max(picture.size) // LONGEST)
    if factor == 1:
        return _one_channel(_channels(picture))
    return _with_thin_lines(_one_channel(_channels(picture.reduce(factor))), _channels(picture), factor)


def is_plain(grey: Grey) -> bool:
    """Tell a picture on which nothing can be seen."""
    return int(grey.max()) - int(grey.min()) < CONTRAST


def _with_thin_lines(grey: Grey, channels: list[Grey], factor: int) -> Grey:
    """Return the reduced picture `grey`, or where lines are thin and clean, of each block what is least like paper.

    The mean of 3 x 3 leaves a third of a line of 1 px, less where it slants, more where lines cross: parts of it would
    be taken for paper. In a photo what is least like paper would be its grain.
    """
    if _noise(channels[len(channels) // 2]) > 1:
        return grey
    full = _one_channel(channels)
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


def _channels(picture: Image) -> list[Grey]:
    """The picture's one channel or three, each an array `(H, W)`."""
    return [np.asarray(channel) for channel in picture.split()]


def _one_channel(channels: list[Grey]) -> Grey:
    """Colours by the darkest channel on light paper, the lightest on dark: yellow on white is as good as black."""
    if len(channels) == 1:
        return channels[0]
    choose = np.minimum if np.median([_ring(channel) for channel in channels]) > 127 else np.maximum
    grey: Grey = choose(choose(channels[0], channels[1]), channels[2])
    return grey


def _ring(grey: Grey) -> Grey:
    """The outermost pixels `(n,)`, each once."""
    return np.concatenate([grey[0], grey[-1], grey[1:-1, 0], grey[1:-1, -1]])


def find_ink(grey: Grey) -> Grey:
    """Return the ink of a picture `(H, W)`, dark on light or light on dark, on screen or on paper.

    0 is paper, 255 as inked as the surroundings, and 128 the edge of a line.
    """
    inside = _inside_frame(grey)
    if inside != (slice(None), slice(None)):
        ink = np.zeros_like(grey)
        ink[inside] = find_ink(grey[inside])
        return ink
    noise = _noise(grey)
    if noise > 1 and (found := without_desk(grey)):
        place, sheet = found
        ink = np.zeros_like(grey)
        ink[place] = _ink_on(sheet, noise)
        if ink.any():
            return ink
    return _ink_on(grey, noise)


def _ink_on(grey: Grey, noise: float) -> Grey:
    """The ink on paper that fills the picture, with `noise` as `_noise` measures it."""
    from PIL import Image
    from scipy import ndimage

    ring = np.sort(_ring(grey))
    quarter, paper, three_quarters = (int(ring[len(ring) * share // 4]) for share in (1, 2, 3))
    picture = ndimage.gaussian_filter(grey.astype(np.float32), 1.0) if noise > 1 else grey
    if three_quarters - quarter < CONTRAST / 2:
        return _select(_towards_ink(picture, paper), noise)
    # Light is uneven. First a wide look around for the paper, for wide pens; then as wide as the lines need, since for
    # thin ones shadows are wider than that.
    reach = min(grey.shape) / 5
    sheet: Floats = picture.astype(np.float32)
    half: Floats = np.asarray(Image.fromarray(sheet).reduce(2 if min(grey.shape) > 64 else 1))
    if _ink_is_light(half):
        sheet, half = 255 - sheet, 255 - half
    width = line_width(_on_paper(_flattened(half, reach * len(half) / len(grey)), noise) > 127)
    reach = min(reach, 5 * width * len(grey) / len(half) + 6)
    return _on_paper(_flattened(sheet, reach), noise)


def _on_paper(difference: Floats, noise: float) -> Grey:
    """Keep what is darker than the paper, if anything is by more than the paper's grain."""
    # Empty paper reaches 34 levels and 7 times its grain, the faintest pencil 47 and 11 times.
    grain = 1.5 * float(np.median(np.abs(difference[::2, ::2])))
    contrast = np.clip(difference, 0, 255).astype(np.uint8)
    return _select(contrast, noise, least=max(1.6 * CONTRAST, 8 * grain), on_paper=True)


def _select(contrast: Grey, noise: float, *, least: float = CONTRAST, on_paper: bool = False) -> Grey:
    """Keep what contrasts strongly, what contrasts weakly beside it, no specks, and of paper no shadows at the edge."""
    from scipy import ndimage

    peak = int(contrast.max())
    if noise > 1:
        # A small drawing in thin pen covers a thousandth of its sheet; the darkest few in ten thousand may be dirt.
        most = np.cumsum(np.bincount(contrast.ravel(), minlength=256))
        peak = int(np.searchsorted(most, most[-1] * 0.9997))
    if peak < least:
        return np.zeros_like(contrast)
    weak, strong = (contrast > int(share * peak) for share in ((STRONG + WEAK) / 2 if on_paper else WEAK, STRONG))
    width = line_width(weak)
    # In a picture that a program drew, blocks of half a line's width are fine enough to tell parts apart.
    step = 1 if on_paper or noise else 2 if width < 6 else 4
    blocks = weak + np.uint8(32) * strong
    if step >= 2:
        blocks = _sums_of_four(blocks)
    if step == 4:
        blocks = _sums_of_four(blocks.astype(np.uint16))
    parts, count = ndimage.label(blocks, np.ones((3, 3)))
    # Ink is a small share of a picture: looking at its pixels alone is several times as fast.
    some = blocks > 0
    inked, pixels = parts[some], blocks[some]
    area = np.bincount(inked, pixels & 31, minlength=count + 1)
    keep = np.bincount(inked, pixels >> 5, minlength=count + 1) > 0
    # A dot of the pen covers three quarters of its width squared; less is a speck.
    keep &= area >= max(0.4 * width**2, 6.0 if noise > 1 else 0.0)
    if on_paper:
        at_edge = np.bincount(np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]]), minlength=count + 1)
        keep &= ~_along_edge(parts, count)
        # A drawing may run off the sheet, but not along its edge.
        keep &= (at_edge == 0) | ((area > len(inked) / 2) & (at_edge < sum(parts.shape) / 5))
    kept = weak.view(np.uint8)
    if not keep[1:].all():
        kept = kept * keep[parts].repeat(step, axis=0).repeat(step, axis=1)[: len(weak), : weak.shape[1]]
    # Near strong ink the edge is at half of that; near weak ink it is at half of the weak.
    near = np.maximum(highest(contrast, 2), np.full_like(contrast, round(STRONG * peak)))
    level = np.divide(contrast.astype(np.float32), near.astype(np.float32)) * np.float32(255)
    ink: Grey = level.astype(np.uint8) * highest(kept, 1)
    return ink


def _sums_of_four(values: Grey) -> Grey:
    """Sums of 2 x 2 pixels; beyond the edge there are none."""
    height, width = values.shape
    if height % 2 or width % 2:
        values = np.pad(values, ((0, height % 2), (0, width % 2)))
    rows = values[::2] + values[1::2]
    sums: Grey = rows[:, ::2] + rows[:, 1::2]
    return sums


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


def highest(values: npt.NDArray[Any], reach: int) -> npt.NDArray[Any]:
    """Maximum over the square of `reach` pixels around each."""
    height, width = values.shape
    # Zeros to the right and below part the rows, so that a shift in any direction is one move of memory.
    result = np.zeros((height + reach, width + reach), values.dtype)
    result[:height, :width] = values
    flat = result.ravel()
    for stride in (1, width + reach):
        around = flat.copy()
        for shift in range(stride, reach * stride + 1, stride):
            np.maximum(around[shift:], flat[:-shift], out=around[shift:])
            np.maximum(around[:-shift], flat[shift:], out=around[:-shift])
        flat = around
    return flat.reshape(result.shape)[:height, :width]


def squared_distance(mask: Mask, reach: int) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
    """Square of each pixel's distance to the nearest one outside the mask; exact up to `reach`, more than that beyond.

    One axis after the other, as in Felzenszwalb and Huttenlocher (2012), but by shifting whole arrays: with a small
    reach a twentieth of the time of SciPy's transform, which knows no bound. Outside the array is neither in nor out.
    """
    height, width = mask.shape
    far = reach + 1
    kind = np.uint8 if far * far + reach * reach < 256 else np.uint16
    # Columns to the right keep the end of a row and the start of the next apart, so that a shift is one move of memory.
    nearest = np.full((height, width + reach), far, kind)
    np.multiply(mask.view(np.uint8), kind(far), out=nearest[:, :width])
    covered = 0
    while covered < reach:
        # Shifts add up: by 1, 2 and 3 a row is compared with all within 6.
        shift = min(covered + 1, reach - covered, height - 1)
        if shift < 1:
            break
        further = nearest + kind(shift)
        np.minimum(nearest[shift:], further[:-shift], out=nearest[shift:])
        np.minimum(nearest[:-shift], further[shift:], out=nearest[:-shift])
        covered += shift
    squares = (nearest**2).ravel()
    result = squares.copy()
    further = np.empty_like(squares)
    for shift in range(1, reach + 1):
        np.add(squares, kind(shift * shift), out=further)
        np.minimum(result[shift:], further[:-shift], out=result[shift:])
        np.minimum(result[:-shift], further[shift:], out=result[:-shift])
    return result.reshape(nearest.shape)[:, :width]


def _noise(picture: Grey) -> float:
    """Standard deviation of the noise between neighbouring pixels; 0 for pictures that a program drew."""
    lines = picture[:: max(1, len(picture) // 64)]
    if 2 * np.count_nonzero(lines[:, 1:] != lines[:, :-1]) < lines[:, 1:].size:
        return 0.0  # the median, without sorting
    steps = np.abs(np.diff(lines.astype(np.int16), axis=1))
    return float(np.median(steps)) / (0.6745 * 2**0.5) if steps.size else 0.0


def _towards_ink(picture: Grey | Floats, paper: int) -> Grey:
    """Contrast to the paper, of what is darker or of what is lighter: ink is the side with more of it."""
    dark = np.count_nonzero(picture < max(paper - CONTRAST, 0))
    light = np.count_nonzero(picture > min(paper + CONTRAST, 255))
    level = np.full_like(picture, paper)  # NumPy compares two arrays ten times as fast as an array and a number
    contrast = level - np.minimum(picture, level) if dark >= light else np.maximum(picture, level) - level
    return contrast.astype(np.uint8, copy=False)


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
    padded = np.zeros((len(mask) + 2, mask.shape[1] + 1), bool)
    padded[1:-1, :-1] = mask
    flat = padded.ravel()
    outline = sum(np.count_nonzero(flat[shift:] != flat[:-shift]) for shift in (1, padded.shape[1]))
    return float(2 * np.count_nonzero(mask) / max(outline * np.pi / 4, 1))


def _inside_frame(grey: Grey) -> tuple[slice, slice]:
    """Find the paper inside a thin plain frame, as screenshots and scans have; all of the picture if there is none."""
    cuts = []
    for lines in (grey, grey.T):
        before = _frame(lines, int(grey[0, 0]))
        after = _frame(lines[::-1], int(grey[0, 0])) if before else 0
        if not after:
            return slice(None), slice(None)
        cuts.append(slice(before, len(lines) - after))
    inside = grey[cuts[0], cuts[1]]
    paper = float(np.median(inside[::4, ::4]))
    framed = abs(paper - float(grey[0, 0])) > 2 * CONTRAST and np.mean(np.abs(_ring(inside) - paper) < CONTRAST) > 0.9
    return (cuts[0], cuts[1]) if framed else (slice(None), slice(None))


def _frame(lines: Grey, level: int) -> int:
    """Count the first lines that look like the frame; 0 if they are more than a twentieth, for a frame is thin."""
    first = lines[: len(lines) // 20 + 1].astype(np.int16)
    framed = np.count_nonzero(np.abs(first - level) < CONTRAST, axis=1) > 0.95 * lines.shape[1]
    return int(framed.argmin())
