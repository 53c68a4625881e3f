"""The drawings that the built-in model `doodles` learns from: real ones, and changed copies of them.

    .venv/bin/python scripts/doodles_data.py doodles.npz --data ../shared/data

Three sources, of every class with at least 400 drawings: official bitmaps, official simplified strokes, and pictures
that others exported. All become the renderer's bitmaps, as they will when somebody draws. Drawings are parted by a
hash of their content, so that the same drawing in two sources falls on one side. Changed copies (training only) are
drawn again from strokes: turned, stretched, jittered, unfinished, or put on a picture with some pen and read back. A
part of the bitmaps is shown as pictures too: else only the classes that come as pictures would look like pictures read.

Not guaranteed: that no drawing is in two parts in two ways of drawing it; the raw strokes are never learnt from.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from inksight.drawing import Strokes, render, simplify
from inksight.drawing.picture import from_picture

Bitmaps = NDArray[np.uint8]
SEED = 7
MINIMUM = 400
# Of a million hash values: the first 8 % are the test part, the next 8 % the validation part.
TEST, VALIDATION = 80_000, 160_000
# Bitmaps per class that are shown as pictures and read back.
REDRAWN = 200


@dataclass(frozen=True)
class Drawing:
    """One drawing: its class, where it is from, its bitmap, and its strokes where they are known."""

    label: str
    source: str
    bitmap: Bitmaps
    key: str
    strokes: Strokes | None = None

    @property
    def part(self) -> str:
        """Train, val or test, by the hash of its content."""
        return part_of(self.key)


def digest(data: bytes) -> str:
    """Return the content hash that decides which part a drawing belongs to."""
    return hashlib.sha256(data).hexdigest()


def part_of(key: str) -> str:
    """Return train, val or test for a content hash."""
    place = int(key[:12], 16) % 1_000_000
    return "test" if place < TEST else "val" if place < VALIDATION else "train"


def from_bitmaps(folder: Path, label: str) -> Iterator[Drawing]:
    """Read the official bitmaps of a class."""
    path = folder / "quickdraw/full/numpy_bitmap" / f"{label}.npy"
    if path.exists():
        for bitmap in np.load(path, allow_pickle=False).reshape(-1, 28, 28):
            yield Drawing(label, "bitmap", bitmap, digest(bitmap.tobytes()))


def from_strokes(folder: Path, label: str) -> Iterator[Drawing]:
    """Read the official strokes of a class; the renderer makes Google's own bitmap of them, byte for byte."""
    path = folder / "quickdraw/full/simplified" / f"{label}.ndjson"
    if path.exists():
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                strokes = json.loads(line)["drawing"]
                bitmap = render(strokes)
                yield Drawing(label, "strokes", bitmap, digest(bitmap.tobytes()), strokes)


def from_pictures(folder: Path, label: str, *, part: str = "") -> Iterator[tuple[Drawing, Path]]:
    """Read the exported pictures of a class, as the product reads pictures; all, or only those of one part."""
    for path in sorted((folder / "doodles_png" / label).glob("*.png")):
        key = digest(path.read_bytes())
        if part in ("", part_of(key)):
            with Image.open(path) as image:
                yield Drawing(label, "picture", from_picture(image), key), path


def classes_of(folder: Path) -> list[str]:
    """Return the names of all classes with at least MINIMUM drawings over all sources, sorted."""
    counts: Counter[str] = Counter()
    for path in (folder / "quickdraw/full/numpy_bitmap").glob("*.npy"):
        counts[path.stem] += len(np.load(path, mmap_mode="r", allow_pickle=False))
    for path in (folder / "doodles_png").iterdir():
        counts[path.name] += len(list(path.glob("*.png")))
    for path in (folder / "quickdraw/full/simplified").glob("*.ndjson"):
        counts[path.stem] += len(path.read_text(encoding="utf-8").splitlines())
    return sorted(label for label, count in counts.items() if count >= MINIMUM)


def changed(strokes: Strokes, rng: np.random.Generator) -> Bitmaps:
    """Draw strokes as another hand might have: turned, stretched, slanted, jittered, sometimes not finished."""
    angle = rng.normal(0, 0.12)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    slant = np.array([[1, rng.normal(0, 0.08)], [0, 1]])
    matrix = turn @ slant @ np.diag(np.exp(rng.normal(0, 0.12, 2)))
    jitter = abs(rng.normal(0, 2.0))
    kept = list(strokes)
    # In ten seconds of drawing the last strokes are missing; a drawing of one stroke is cut short.
    if rng.random() < 0.2:
        if len(kept) > 2:
            kept = kept[: max(2, round(len(kept) * rng.uniform(0.6, 1.0)))]
        elif len(kept) == 1 and len(kept[0][0]) > 4:
            end = round(len(kept[0][0]) * rng.uniform(0.75, 1.0))
            kept = [[kept[0][0][:end], kept[0][1][:end]]]
    moved = []
    for stroke in kept:
        points = matrix @ np.array([stroke[0], stroke[1]], float)
        # A hand that shakes moves the whole stroke a little and its points a little more.
        points += rng.normal(0, jitter, (2, 1)) + rng.normal(0, jitter / 2, points.shape)
        moved.append([list(points[0]), list(points[1])])
    return render(simplify(moved))


def pictured(
    strokes: Strokes, rng: np.random.Generator, *, size: int | None = None, pen: float | None = None
) -> Image.Image:
    """Put strokes on a picture: black on white, `size` pixels wide, a round pen of `pen` pixels, or some of each."""
    side = size or int(rng.integers(64, 600))
    width = max(1, round(pen if pen is not None else side * np.exp(rng.uniform(np.log(0.006), np.log(0.06)))))
    points = np.concatenate([np.array(stroke[:2], float).T for stroke in strokes])
    low, span = points.min(axis=0), max(float(np.ptp(points, axis=0).max()), 1.0)
    room = side - 3 * width
    image = Image.new("L", (side, side), 255)
    pencil = ImageDraw.Draw(image)
    for stroke in strokes:
        line = [tuple((np.array(point) - low) / span * room + 1.5 * width) for point in zip(*stroke[:2], strict=True)]
        pencil.line(line, fill=0, width=width, joint="curve")
        for x, y in (line[0], line[-1]):
            pencil.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=0)
    return image


def is_squared(image: Image.Image) -> bool:
    """Return whether the ink of a picture, dark on light, fills a square: its exporter has lost the proportions."""
    ink = np.asarray(image) < 200
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    if not len(rows):
        return False
    high, wide = int(np.ptp(rows)), int(np.ptp(columns))
    return abs(high - wide) <= 0.05 * max(high, wide)


def redrawn(image: Image.Image, rng: np.random.Generator, scale: float, *, ratio: float = 1.0) -> Bitmaps:
    """Turn and stretch a picture, dark on light, enlarged by `scale`, and read it as the product reads pictures.

    `ratio` is that of width to height, relative to the picture's.
    """
    side = round(image.width * scale)
    angle, wide, high = rng.normal(0, 0.1), *np.exp(rng.normal(0, 0.1, 2))
    # The affine map says where a pixel comes from, so a larger factor makes the drawing smaller: only ever shrink.
    wide, high = wide * max(1.0, 1 / ratio), high * max(1.0, ratio)
    # The picture's middle stays in the middle of one 1.6 times as large, so that no ink is cut off.
    cos, sin, half, room = np.cos(angle), np.sin(angle), image.width / 2, side * 0.8
    step = image.width / side
    a, b, d, e = cos * wide * step, -sin * wide * step, sin * high * step, cos * high * step
    affine = (a, b, half - (a + b) * room, d, e, half - (d + e) * room)
    size = (round(side * 1.6), round(side * 1.6))
    paper = 255 if image.mode == "L" else (255, 255, 255)
    moved = image.transform(size, Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC, fillcolor=paper)
    return from_picture(moved)


def stretched_copies(label: str, pictures: Iterable[tuple[Drawing, Path]]) -> list[tuple[str, str, Bitmaps]]:
    """Give training pictures that were squeezed into a square two other proportions each.

    Nine of the picture classes are squared. A model that sees whales only so learns that whales are square, and knew
    7 of 23 raw ones. Their true proportions are lost, hence all from 1 : 2.3 to 2.3 : 1, evenly.
    """
    rng = np.random.default_rng([SEED + 1, int(digest(label.encode())[:8], 16)])
    copies = []
    for drawing, path in pictures:
        if drawing.part == "train":
            with Image.open(path) as image:
                grey = image.convert("L")
            if is_squared(grey):
                ratios = 2 ** rng.uniform(-1.2, 1.2, 2)
                copies += [(label, "stretched", redrawn(grey, rng, 2.0, ratio=float(ratio))) for ratio in ratios]
    return copies


def _read_class(task: tuple[str, str]) -> tuple[list[Drawing], list[tuple[str, str, Bitmaps]]]:
    """Return a class's drawings and the changed copies of those in the training part."""
    folder, label = Path(task[0]), task[1]
    rng = np.random.default_rng([SEED, int(digest(label.encode())[:8], 16)])
    pictures = list(from_pictures(folder, label))
    drawings = unique([*from_strokes(folder, label), *from_bitmaps(folder, label), *(d for d, _ in pictures)])
    training = [drawing for drawing in drawings if drawing.part == "train"]
    copies: list[tuple[str, str, Bitmaps]] = []
    for drawing in training:
        if drawing.strokes is not None:
            copies += [(label, "changed", changed(drawing.strokes, rng)) for _ in range(3)]
            if rng.random() < 0.3:
                copies.append((label, "pictured", from_picture(pictured(drawing.strokes, rng))))
    for drawing, path in pictures:
        if drawing.part == "train":
            with Image.open(path) as image:
                grey = image.convert("L")
            copies.append((label, "redrawn", redrawn(grey, rng, 2.0)))
    copies += stretched_copies(label, pictures)
    flat = [drawing.bitmap for drawing in training if drawing.source == "bitmap"]
    for index in rng.permutation(len(flat))[:REDRAWN]:
        large = Image.fromarray(255 - flat[index]).resize((196, 196), Image.Resampling.BICUBIC)
        copies += [(label, "redrawn", redrawn(large, rng, 1.0)), (label, "read", from_picture(large))]
    return drawings, [copy for copy in copies if copy[2].any()]


def unique(drawings: Iterable[Drawing]) -> list[Drawing]:
    """Drop blank drawings and all but the first of equal bitmaps (strokes come first, as they can be changed)."""
    seen: dict[bytes, Drawing] = {}
    for drawing in drawings:
        if drawing.bitmap.any():
            seen.setdefault(drawing.bitmap.tobytes(), drawing)
    return list(seen.values())


def main() -> None:
    """Write all drawings and copies as arrays: images uint8 (N, 28, 28), labels, part and source by row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="the folder of real drawings")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    classes = classes_of(options.data)
    rows: list[tuple[str, str, str, Bitmaps]] = []
    with ProcessPoolExecutor(options.jobs) as pool:
        for label, (drawings, copies) in zip(
            classes, pool.map(_read_class, [(str(options.data), label) for label in classes]), strict=True
        ):
            rows += [(d.label, d.part, d.source, d.bitmap) for d in drawings]
            rows += [(name, "train", source, bitmap) for name, source, bitmap in copies]
            print(f"{label}: {len(drawings)} drawings, {len(copies)} copies", flush=True)
    places = {label: index for index, label in enumerate(classes)}
    np.savez(
        options.out,
        classes=np.array(classes),
        images=np.stack([row[3] for row in rows]),
        labels=np.array([places[row[0]] for row in rows], np.int64),
        parts=np.array([row[1] for row in rows]),
        sources=np.array([row[2] for row in rows]),
    )


if __name__ == "__main__":
    main()
