"""Finding the sheet in a photo that shows the desk around it.

Light may be uneven, so no one brightness parts paper from desk: what does are steps from pixel to pixel. Between them
the sheet is one light, convex region. So is paper beside a hard shadow, but there lines of the drawing go on beyond.

Not guaranteed: sheets on a desk that is hardly darker, and drawings that a hard shadow parts without crossing a line.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Grey = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

COARSE = 128
"""Pixels of the longer side at which the sheet is looked for."""

STEEP = 0.1
"""Change of light, as a logarithm per pixel, at which a region ends: twice that of a soft shadow."""

LEAST = 0.15
"""Share of the picture that a sheet covers at least."""

CONVEX = 0.94
"""Share of its convex hull that a sheet fills, once the ink on it is filled in."""

PAPER = 0.65
"""Least share of a sheet that is as light as paper: of a part of a board with a line of chalk around it less is."""

DARKER = 0.85
"""Most light on the desk beside the sheet, as a share of the sheet's."""

WIDEST = 8
"""Pixels that a line around paper is wide at most: a sixteenth of the picture."""

MARK = 0.75
"""Light of a line, at most, as a share of what is around it."""

CROSSING = 4
"""Pixels near lines on both sides of the sheet's edge, from which on lines cross it: 0 to 3 on desks, 4 to 37 where a
shadow falls across a drawing."""


def without_desk(grey: Grey) -> tuple[tuple[slice, slice], Grey] | None:
    """Return where in a photo the sheet lies, and that part with what is left of the desk painted over with paper.

    None where no desk is seen.
    """
    from PIL import Image
    from scipy import ndimage

    factor = -(-max(grey.shape) // COARSE)
    coarse = ndimage.median_filter(np.asarray(Image.fromarray(grey).reduce(factor)), 3).astype(np.float32)
    hull = _light_region(coarse)
    if hull is None:
        return None
    darkest = Image.fromarray(ndimage.minimum_filter(grey, factor))
    if _lines_cross(hull, coarse, np.asarray(darkest.resize(hull.shape[::-1], Image.Resampling.NEAREST))):
        return None
    # The edge is blurred, and the hull is coarse: only what lies well within is paper for certain.
    mask = np.asarray(Image.fromarray(_within(hull, 2)).resize(grey.shape[::-1], Image.Resampling.NEAREST))
    rows, columns = ndimage.find_objects(mask.astype(np.uint8))[0]
    nearest = ndimage.distance_transform_edt(~mask[rows, columns], return_distances=False, return_indices=True)
    return (rows, columns), np.ascontiguousarray(grey[rows, columns][tuple(nearest)])


def _light_region(coarse: Floats) -> Mask | None:
    """Return the convex hull of the lightest large region if it is convex and all around it is darker."""
    from scipy import ndimage
    from skimage.morphology import convex_hull_image

    light = np.log(np.maximum(coarse, 8))
    steps = np.hypot(ndimage.sobel(light, 0), ndimage.sobel(light, 1)) / 8
    parts, count = ndimage.label(steps < STEEP)
    areas = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    large = np.flatnonzero(areas > LEAST / 2 * light.size) + 1
    if not len(large):
        return None
    sheet = parts == large[np.argmax(ndimage.median(light, parts, large))]
    # The steps are two pixels wide on either side of an edge.
    solid = ndimage.binary_fill_holes(_grown(sheet, 2))
    hull: Mask = convex_hull_image(solid)  # type: ignore[no-untyped-call]
    area = np.count_nonzero(hull)
    if area < LEAST * hull.size or np.count_nonzero(solid) < CONVEX * area or hull.all() or not _within(hull, 2).any():
        return None
    # Most of a sheet is paper, also between its lines. Beside it is desk; what is dark only near it is a line around
    # paper.
    nearest = ndimage.distance_transform_edt(~sheet, return_distances=False, return_indices=True)
    darker = light - light[tuple(nearest)] < np.log(DARKER)
    if darker[hull].mean() > 1 - PAPER:
        return None
    rings = [_grown(hull, 4) & ~_grown(hull, 1), _grown(hull, WIDEST + 4) & ~_grown(hull, WIDEST)]
    return hull if all(ring.any() and darker[ring].mean() > 0.5 for ring in rings) else None


def _lines_cross(hull: Mask, coarse: Floats, darkest: npt.NDArray[np.uint8]) -> bool:
    """Tell whether dark marks within the sheet's edge go on beyond it, once the light on both sides is made equal."""
    from scipy import ndimage

    within = _within(hull, 2) & ~_within(hull, 6)
    beyond = _grown(hull, 6) & ~_grown(hull, 2)
    brighter = np.where(
        _grown(hull, 1), 1, float(np.median(coarse[within])) / max(float(np.median(coarse[beyond])), 1.0)
    )
    marks = darkest * brighter < MARK * ndimage.percentile_filter(coarse * brighter, 60, 11)
    return bool(np.count_nonzero(_grown(marks & within, 3) & _grown(marks & beyond, 3)) >= CROSSING)


def _within(mask: Mask, by: int) -> Mask:
    """The pixels of a mask that are further than that from its edge; the picture's edge is none."""
    return ~_grown(~mask, by)


def _grown(mask: Mask, by: int) -> Mask:
    from scipy import ndimage

    grown: Mask = ndimage.binary_dilation(mask, iterations=by)
    return grown
