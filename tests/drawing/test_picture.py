"""Pictures of drawings against Google's own bitmaps of the same strokes, and pictures that are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageOps
from scipy import ndimage

from inksight.drawing import from_picture, render, render_many, shows_nothing, simplify
from inksight.drawing._ink import squared_distance
from inksight.errors import DrawingError
from tests.drawing import oracle
from tests.drawing.pictures import Picture, difference, on_desk, paint, photograph, turned


def _some(shared_data: Path, count: int = 5) -> tuple[list[list[list[list[float]]]], Picture]:
    strokes, bitmaps = [], []
    for name in oracle.PAIRED:
        of_class, official = oracle.pairs(shared_data, name)
        strokes += of_class[1::2][:count]  # thresholds were chosen on the even ones
        bitmaps.append(official[1::2][:count])
    return strokes, np.concatenate(bitmaps)


# Grey levels that the pictures may be off on average. For scale: two drawings of one class differ by about 60.
@pytest.mark.parametrize(
    ("size", "pen", "bar"),
    [(64, 2, 5), (112, 1, 5), (112, 6, 5), (200, 4, 3), (400, 1, 3), (400, 16, 3), (1000, 3, 3.5), (1000, 40, 3.5)],
)
def test_any_size_and_pen(shared_data: Path, size: int, pen: float, bar: float) -> None:
    strokes, bitmaps = _some(shared_data)
    dark = np.stack([from_picture(paint(drawing, size, pen)) for drawing in strokes])
    off, overlap = difference(dark, bitmaps)
    assert off < bar
    assert overlap > 0.88
    light = np.stack([from_picture(255 - paint(drawing, size, pen)) for drawing in strokes])
    assert difference(dark, light)[0] < 0.1  # reducing a picture rounds


@pytest.mark.parametrize("size", [600, 1000, 1400, 2000])
def test_lines_of_one_pixel_stay_whole(shared_data: Path, size: int) -> None:
    """As the pencil of a paint program draws them: nothing is lost when a large picture is reduced."""
    strokes, bitmaps = _some(shared_data)
    for paper in (255, 0):
        for drawing, bitmap in zip(strokes, bitmaps, strict=True):
            image = Image.new("L", (size, size), paper)
            for xs, ys in drawing:
                points = size / 20 + np.stack([xs, ys], axis=1) * (size * 0.9 / 255)
                ImageDraw.Draw(image).line([(x, y) for x, y in points.tolist()], fill=255 - paper)
            assert np.abs(from_picture(image).astype(int) - bitmap).mean() < 10


@pytest.mark.parametrize(("size", "pen"), [(300, 4), (400, 12), (1000, 4)])
def test_photos_of_paper_and_of_chalk(shared_data: Path, size: int, pen: float) -> None:
    strokes, _ = _some(shared_data, 3)
    rng = np.random.default_rng(3)
    askew = [turned(drawing, rng.uniform(-8, 8)) for drawing in strokes]
    flat = [simplify(drawing) for drawing in askew]
    bitmaps = render_many(flat)
    for invert in (False, True):
        photos = [photograph(paint(drawing, size, pen), rng) for drawing in flat]
        ours = np.stack([from_picture(255 - photo if invert else photo) for photo in photos])
        off, overlap = difference(ours, bitmaps)
        assert off < 4
        assert overlap > 0.9


@pytest.mark.parametrize("desk", [20, 70])
def test_a_desk_below_the_sheet_is_no_ink(shared_data: Path, desk: int) -> None:
    strokes, bitmaps = _some(shared_data, 3)
    rng = np.random.default_rng(4)
    for drawing, bitmap in zip(strokes, bitmaps, strict=True):
        photo = np.pad(photograph(paint(drawing, 500, 5), rng), ((0, 60), (0, 0)))
        rows, columns = np.mgrid[: photo.shape[0], : photo.shape[1]]
        seen = rows > 520 + columns / 40
        photo[500:] = photo[499]
        photo[seen] = rng.normal(desk, 4, seen.sum()).clip(0, 255)
        assert np.abs(from_picture(photo).astype(int) - bitmap).mean() < 8


@pytest.mark.parametrize("reflects", [0.25, 0.5])
@pytest.mark.parametrize(("sides", "degrees"), [("l", 0), ("tl", 0), ("lr", 0), ("tlr", 0), ("tblr", 0), ("tblr", 6)])
def test_a_sheet_on_a_desk(shared_data: Path, sides: str, degrees: float, reflects: float) -> None:
    strokes, bitmaps = _some(shared_data, 2)
    if degrees:
        bitmaps = render_many([simplify(turned(drawing, -degrees)) for drawing in strokes])
    rng = np.random.default_rng(0)
    sheets = [paint(drawing, 500, 5) for drawing in strokes]
    photos = [on_desk(sheet, sides, rng, reflects=reflects, degrees=degrees) for sheet in sheets]
    off, overlap = difference(np.stack([from_picture(photo) for photo in photos]), bitmaps)
    assert off < 5
    assert overlap > 0.9


@pytest.mark.parametrize("depth", [0.3, 0.5])
def test_a_shadow_across_the_drawing_is_no_desk(shared_data: Path, depth: float) -> None:
    """With an edge of 15 pixels, in a picture of 500."""
    strokes, bitmaps = _some(shared_data, 2)
    light = 1 - depth / (1 + np.exp((np.arange(500) - 250) / 4))
    rng = np.random.default_rng(0)
    photos = [
        200 * light * (0.2 + 0.8 * paint(drawing, 500, 5) / 255) + rng.normal(0, 3, (500, 500)) for drawing in strokes
    ]
    ours = np.stack([from_picture(np.clip(photo, 0, 255).astype(np.uint8)) for photo in photos])
    off = np.abs(ours.astype(int) - bitmaps).mean(axis=(1, 2))
    assert np.sort(off)[-2] < 6  # one of twelve has no line across the shadow's edge


def test_official_bitmaps_stay_as_they_are(shared_data: Path) -> None:
    _, bitmaps = _some(shared_data)
    for bitmap in bitmaps:
        np.testing.assert_array_equal(from_picture(bitmap), bitmap)
        np.testing.assert_array_equal(from_picture(255 - bitmap), bitmap)
        np.testing.assert_array_equal(from_picture(Image.fromarray(bitmap).convert("RGB")), bitmap)


def test_exported_pictures(shared_data: Path) -> None:
    """Other people's exports, with thin faint lines and wide ones: never blank, and inked as much as Google's are."""
    files = sorted((shared_data / "doodles_png").glob("*/*.png"))[::400]
    ink = [(from_picture(Image.open(path)) > 127).mean() for path in files]
    assert min(ink) > 0.02
    assert 0.1 < np.mean(ink) < 0.25


def _line(mode: str = "L", paper: object = 255, pen: object = 0, size: tuple[int, int] = (120, 90)) -> Image.Image:
    image = Image.new(mode, size, paper)  # type: ignore[arg-type]
    ImageDraw.Draw(image).line([(20, 20), (100, 70)], fill=pen, width=4)  # type: ignore[arg-type]
    return image


@pytest.mark.parametrize("mode", ["1", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr", "HSV", "I", "F"])
def test_every_mode(mode: str) -> None:
    np.testing.assert_array_equal(from_picture(_line().convert(mode)), from_picture(_line()))


@pytest.mark.parametrize(
    ("mode", "paper", "pen"),
    [
        ("RGBA", (0, 0, 0, 0), (0, 0, 0, 255)),
        ("RGBA", (0, 0, 0, 0), (255, 255, 255, 255)),
        ("RGB", (255, 255, 255), (255, 255, 0)),
        ("RGB", (0, 110, 0), (200, 0, 0)),
        ("RGB", (0, 0, 0), (0, 0, 200)),
        ("L", 255, 200),
    ],
)
def test_transparency_and_colours(mode: str, paper: object, pen: object) -> None:
    np.testing.assert_array_equal(from_picture(_line(mode, paper, pen)), from_picture(_line()))


def test_a_frame_is_no_ink() -> None:
    framed = Image.new("L", (128, 98), 40)
    framed.paste(_line(), (4, 4))
    np.testing.assert_array_equal(from_picture(framed), from_picture(_line()))


def test_specks_are_no_ink() -> None:
    speckled = np.asarray(_line()).copy()
    speckled[3:80:19, 5:118:31] = 0
    speckled[20:71, 20:101] = np.asarray(_line())[20:71, 20:101]
    np.testing.assert_array_equal(from_picture(speckled), from_picture(_line()))


def test_faint_printed_lines_are_no_ink() -> None:
    """Ruled paper, photographed."""
    sheet = np.full((300, 300), 255, np.uint8)
    sheet[20::24] = 200
    drawn = np.minimum(sheet, np.asarray(_line().resize((300, 300), Image.Resampling.BICUBIC)))
    off, _ = difference(
        from_picture(photograph(drawn, np.random.default_rng(0)))[None],
        from_picture(_line().resize((300, 300), Image.Resampling.BICUBIC))[None],
    )
    assert off < 5


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (2, 2), (28, 28), (64, 64), (500, 300)])
@pytest.mark.parametrize("level", [0, 128, 255])
def test_plain_pictures_are_blank(shape: tuple[int, int], level: int) -> None:
    assert not from_picture(np.full(shape, level, np.uint8)).any()


def test_grain_and_uneven_light_are_blank() -> None:
    rng = np.random.default_rng(0)
    empty = photograph(np.full((400, 300), 255, np.uint8), rng)
    assert not from_picture(empty).any()
    assert not from_picture(rng.normal(200, 6, (400, 400)).clip(0, 255).astype(np.uint8)).any()


@given(
    hnp.arrays(
        np.uint8,
        st.one_of(
            st.tuples(st.integers(1, 80), st.integers(1, 80)),
            st.tuples(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3, 4])),
        ),
        elements=st.integers(0, 255),
        fill=st.sampled_from([0, 255]),
    )
)
@settings(max_examples=150, deadline=None)
def test_any_array_gives_a_bitmap(image: Picture) -> None:
    bitmap = from_picture(image)
    assert bitmap.shape == (28, 28)
    assert bitmap.dtype == np.uint8


@pytest.mark.parametrize(
    "image", [np.zeros((0, 5), np.uint8), np.zeros((5, 5, 2), np.uint8), np.zeros((5, 5)), np.zeros(5, np.uint8)]
)
def test_arrays_that_are_no_pictures(image: Picture) -> None:
    with pytest.raises(DrawingError):
        from_picture(image)


@pytest.mark.parametrize("light", [(80, 220), (150, 240)])
def test_grain_on_a_slope_of_light_is_blank(light: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    sheet = np.linspace(*light, 400)[None] + rng.normal(0, 5, (400, 400))
    assert not from_picture(sheet.clip(0, 255).astype(np.uint8)).any()


@pytest.mark.parametrize("photo", [False, True])
@pytest.mark.parametrize(("size", "part", "pen"), [(1000, 150, 3), (2000, 400, 5)])
def test_a_small_drawing_on_a_large_sheet(shared_data: Path, size: int, part: int, pen: float, photo: bool) -> None:
    strokes, bitmaps = _some(shared_data, 1)
    rng = np.random.default_rng(4)
    ours = []
    for drawing in strokes:
        sheet = np.full((size, size), 255, np.uint8)
        x, y = rng.integers(0, size - part, 2)
        sheet[y : y + part, x : x + part] = paint(drawing, part, pen)
        ours.append(from_picture(photograph(sheet, rng) if photo else sheet))
    off, overlap = difference(np.stack(ours), bitmaps)
    assert off < 5
    assert overlap > 0.88


DOT = render([[[0], [0]]])


def _disc(size: int, radius: float, *, at: float = 0.5, **drawn: Any) -> Image.Image:
    image = Image.new("L", (size, size), 255)
    low, high = at * size - radius, at * size + radius
    ImageDraw.Draw(image).ellipse([low, low, high, high], **(drawn or {"fill": 0}))
    return image


@pytest.mark.parametrize("at", [0.5, 0.22])
@pytest.mark.parametrize(
    ("size", "radius"), [(64, 3), (100, 4), (280, 11), (400, 0.5), (400, 1), (400, 3), (400, 8), (800, 12), (2000, 30)]
)
def test_a_dot_of_any_pen_is_a_dot(size: int, radius: float, at: float) -> None:
    dot = _disc(size, radius, at=at)
    for image in (dot, dot.convert("RGBA"), ImageOps.invert(dot)):
        bitmap = from_picture(image)
        np.testing.assert_array_equal(bitmap, DOT)
        assert shows_nothing(bitmap)


def test_a_dot_on_paper_is_a_dot() -> None:
    rng = np.random.default_rng(0)
    for size, radius in ((400, 8), (800, 12), (1000, 20)):
        for _ in range(4):
            assert shows_nothing(from_picture(photograph(np.asarray(_disc(size, radius)), rng)))


def test_what_is_large_or_thin_is_no_dot() -> None:
    for size, radius in ((400, 24), (400, 100), (800, 200)):  # a ball: no line drawing, but no dot either
        assert not np.array_equal(from_picture(_disc(size, radius)), DOT)
    for size, radius, pen in ((400, 8, 2), (400, 15, 3), (800, 30, 4), (2000, 60, 8)):
        assert not shows_nothing(from_picture(_disc(size, radius, outline=0, width=pen)))
    for xs, ys in (((100, 110), (100, 100)), ((100, 130), (100, 120))):
        line = Image.new("L", (400, 400), 255)
        ImageDraw.Draw(line).line([(xs[0], ys[0]), (xs[1], ys[1])], fill=0, width=2)
        assert not shows_nothing(from_picture(line))
    two = np.minimum(np.asarray(_disc(400, 8, at=0.3)), np.asarray(_disc(400, 8, at=0.6)))
    assert not shows_nothing(from_picture(two))


def _corners(count: int, inner: float = 1.0) -> list[tuple[float, float]]:
    """Corners of a regular polygon, or of a star with every second at `inner` of the radius, within -1..1."""
    angles = np.arange(count) * 2 * np.pi / count + np.pi / count * (count == 4)
    far = np.where(np.arange(count) % 2, inner, 1.0)
    return list(zip((far * np.sin(angles)).tolist(), (-far * np.cos(angles)).tolist(), strict=True))


@pytest.mark.parametrize("size", [200, 300, 1000])
@pytest.mark.parametrize(
    "corners",
    [_corners(200), _corners(4), _corners(3), _corners(10, 0.4), [(-1, 1), (1, 1), (1, 0), (0, -1), (-1, 0)]],
    ids=["disc", "square", "triangle", "star", "house"],
)
def test_of_a_silhouette_the_outline_is_drawn(corners: list[tuple[float, float]], size: int) -> None:
    image = Image.new("L", (size, size), 255)
    ImageDraw.Draw(image).polygon([((0.5 + 0.3 * x) * size, (0.5 + 0.3 * y) * size) for x, y in corners], fill=0)
    around = [list(axis) for axis in zip(*corners, corners[0], strict=True)]
    drawn = render(simplify([around]))
    for picture in (image, ImageOps.invert(image)):
        assert np.abs(from_picture(picture).astype(int) - drawn).mean() < 6


@pytest.mark.parametrize("level", [30, 255])
def test_small_blots_on_a_bitmap_are_dots(level: int) -> None:
    for height, width, dot in ((1, 1, 1), (1, 2, 1), (2, 2, 1), (5, 5, 1), (3, 5, 1), (1, 4, 0), (2, 5, 0), (6, 6, 0)):
        bitmap = np.zeros((28, 28), np.uint8)
        bitmap[4 : 4 + height, 20 : 20 + width] = level
        colour = np.repeat(bitmap[..., None], 3, axis=2)
        large = bitmap.repeat(3, axis=0).repeat(3, axis=1)
        assert [shows_nothing(image) for image in (bitmap, colour, large)] == [bool(dot)] * 3
        assert shows_nothing(from_picture(255 - bitmap)) is bool(dot)
    apart = np.zeros((28, 28), np.uint8)
    apart[[4, 8], [4, 8]] = level
    assert not shows_nothing(apart)
    assert shows_nothing(np.zeros((28, 28), np.uint8))


def test_no_official_bitmap_shows_nothing(shared_data: Path) -> None:
    seen = 0
    for path in sorted((shared_data / "quickdraw" / "full" / "numpy_bitmap").glob("*.npy"))[::7]:
        bitmaps = np.load(path, mmap_mode="r")[:300].reshape(-1, 28, 28)
        assert not any(map(shows_nothing, bitmaps))
        assert not any(shows_nothing(bitmap // 8) for bitmap in bitmaps[:20])
        seen += len(bitmaps)
    assert seen > 1000


def test_faint_pencil(shared_data: Path) -> None:
    strokes, bitmaps = _some(shared_data, 1)
    rng = np.random.default_rng(5)
    faint = [255 - (255 - paint(drawing, 400, 4)) // 4 for drawing in strokes]
    assert difference(np.stack([from_picture(photograph(picture, rng)) for picture in faint]), bitmaps)[0] < 5


@given(hnp.arrays(np.bool_, st.tuples(st.integers(1, 40), st.integers(2, 40))), st.integers(1, 20))
@settings(max_examples=200, deadline=None)
def test_the_bounded_distance_is_scipys_up_to_its_bound(mask: NDArray[np.bool_], reach: int) -> None:
    # SciPy leaves it undefined when there is nothing to be distant from.
    mask[0, 0] = False
    exact = np.rint(ndimage.distance_transform_edt(mask) ** 2)
    ours = squared_distance(mask, reach)
    near = exact <= reach**2
    np.testing.assert_array_equal(ours[near], exact[near])
    assert (ours[~near] > reach**2).all()
