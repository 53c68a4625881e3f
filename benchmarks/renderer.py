"""The renderer's speed, its distance from Google's own bitmaps, and how well pictures come back.

    OMP_NUM_THREADS=1 python -m benchmarks.renderer [--data ../shared/data] [--out docs/benchmarks/renderer.md]

One core. Speeds are medians over rounds with the slowest and fastest round beside them, by processor time (the machine
may be shared); the differences need no repetition. Drawings and bitmaps are Quick, Draw!'s (six classes that exist as
strokes and as bitmaps, raw strokes of 28 classes). Pictures are painted by cairo from the odd half of the pairs;
thresholds in `from_picture` were chosen on the even half.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from inksight.drawing import from_picture, render, render_many, shift_to_centroid, simplify
from tests.drawing import oracle
from tests.drawing.pictures import difference, on_desk, paint, photograph, turned

SIZES = (64, 112, 200, 400, 1000)
PENS = (1, 2, 4, 8, 16, 40)


def speed(work: Callable[[], object], count: int, rounds: int) -> tuple[str, str]:
    """Return `count` per second as median and as slowest to fastest round."""
    work()
    rates = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        rates.append(count / (time.process_time() - start))
    return f"{statistics.median(rates):,.0f} / s", f"{min(rates):,.0f} to {max(rates):,.0f}"


def table(head: list[str], rows: list[list[Any]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def speeds(data: Path, rounds: int) -> str:
    """Everything that has to be fast, one core."""
    pairs = [drawing for name in oracle.PAIRED for drawing in oracle.pairs(data, name)[0]]
    raw = [
        json.loads(line)["drawing"]
        for path in sorted((data / "quickdraw" / "full" / "raw").glob("*.ndjson"))
        for line in path.read_text().splitlines()
    ]
    points = statistics.mean(sum(len(stroke[0]) for stroke in drawing) for drawing in pairs)
    bitmaps = np.load(data / "quickdraw" / "full" / "numpy_bitmap" / "airplane.npy").reshape(-1, 28, 28)
    sample = pairs[::25]
    pictures = [paint(drawing, 400, 5) for drawing in sample]
    rng = np.random.default_rng(0)
    photos = [photograph(picture, rng) for picture in pictures]

    def rows() -> list[list[Any]]:
        works: list[tuple[str, Callable[[], object], int]] = [
            (f"`render_many`, {points:.0f} points each", lambda: render_many(pairs), len(pairs)),
            ("`render`, one at a time", lambda: [render(drawing) for drawing in sample], len(sample)),
            ("cairo through cairocffi", lambda: [oracle.draw(drawing) for drawing in sample], len(sample)),
            ("`simplify`, raw strokes", lambda: [simplify(drawing) for drawing in raw], len(raw)),
            ("`shift_to_centroid`", lambda: shift_to_centroid(bitmaps), len(bitmaps)),
            ("`from_picture`, 400 px", lambda: [from_picture(picture) for picture in pictures], len(pictures)),
            ("`from_picture`, 400 px photo", lambda: [from_picture(photo) for photo in photos], len(photos)),
        ]
        return [[name, *speed(work, count, rounds), count] for name, work, count in works]

    return table(["what", "median", "slowest to fastest round", "n per round"], rows())


def exactness(data: Path) -> str:
    """Difference to Google's bitmaps, class by class."""
    rows = []
    for name in oracle.PAIRED:
        strokes, official = oracle.pairs(data, name)
        off = np.abs(render_many(strokes).astype(int) - official)
        rows.append([name, len(strokes), f"{off.mean():.4f}", off.max(), int(off.any(axis=(1, 2)).sum())])
    return table(["class", "drawings", "mean difference (grey levels)", "largest", "bitmaps that differ"], rows)


def zigzags(count: int = 20_000) -> str:
    """Random zigzags, far harsher than drawings: how many differ from cairo at all."""
    rng = np.random.default_rng(1)
    corners = [[[0.0], [0.0]], [[255.0], [255.0]]]
    drawings = [[*corners, rng.integers(0, 256, (2, rng.integers(1, 12))).tolist()] for _ in range(count)]
    ours = render_many(drawings).astype(int)
    off = np.abs(ours - np.stack([oracle.draw(drawing) for drawing in drawings]))
    differ = int(off.any(axis=(1, 2)).sum())
    return f"{differ} of {count:,} differ from cairo; all together by {off.mean():.5f} grey levels on average."


def pictures(data: Path, per_class: int) -> str:
    """Pictures by size and pen: mean difference to Google's bitmap of the same strokes, and overlap of the ink."""
    strokes, official = [], []
    for name in oracle.PAIRED:
        of_class, bitmaps = oracle.pairs(data, name)
        strokes += of_class[1::2][:per_class]
        official.append(bitmaps[1::2][:per_class])
    theirs = np.concatenate(official)
    rng = np.random.default_rng(2)
    flat = [simplify(turned(drawing, rng.uniform(-8, 8))) for drawing in strokes]
    askew = render_many(flat)

    def cell(ours: list[Any], bitmaps: Any) -> str:
        off, overlap = difference(np.stack(ours), bitmaps)
        return f"{off:.1f}, {overlap:.2f}"

    rows = []
    for size in SIZES:
        pens = [pen for pen in PENS if pen <= size / 8]
        plain = [cell([from_picture(paint(d, size, pen)) for d in strokes], theirs) for pen in pens]
        photo = [cell([from_picture(photograph(paint(d, size, pen), rng)) for d in flat], askew) for pen in pens]
        chalk = [cell([from_picture(255 - photograph(paint(d, size, pen), rng)) for d in flat], askew) for pen in pens]
        around = [cell([from_picture(_on_a_desk(paint(d, size, pen), rng)) for d in strokes], theirs) for pen in pens]
        blank = [""] * (len(PENS) - len(pens))
        kinds = {f"{size} px": plain, "photo": photo, "photo of chalk": chalk, "photo with desk": around}
        rows += [[kind, *cells, *blank] for kind, cells in kinds.items()]
    return f"n = {len(strokes)} per cell.\n\n" + table(["", *(f"pen {pen} px" for pen in PENS)], rows)


def _on_a_desk(sheet: Any, rng: np.random.Generator) -> Any:
    """A photo of a sheet with the desk at one to four of its sides."""
    sides = "".join(rng.permutation(list("tblr"))[: rng.integers(1, 5)])
    return on_desk(sheet, sides, rng, reflects=rng.uniform(0.2, 0.6))


def main() -> None:
    """Measure, print, and write a section of the documentation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--per-class", type=int, default=12)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    section = f"""## The renderer

`OMP_NUM_THREADS=1 python -m benchmarks.renderer`, one core of {processor()}, Python {platform.python_version()},
NumPy {np.__version__}; processor time, {options.rounds} rounds.

{speeds(options.data, options.rounds)}

Against Google's own bitmaps of the same strokes (the bar was 0.3 grey levels):

{exactness(options.data)}

Random zigzags of up to 11 points: {zigzags()}

### Pictures

Strokes painted at several sizes with several pens, plain, as a photo of paper (turned by up to 8 degrees, light falling
off, a shadow, grain of 4 levels), as a photo of chalk, and with a grained desk seen at one to four sides of the sheet.
Mean difference in grey levels to the bitmap of the strokes, and overlap (intersection by union) of what is inked.
{pictures(options.data, options.per_class)}
"""
    print(section)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(section, encoding="utf-8")


def processor() -> str:
    """Name the processor."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    main()
