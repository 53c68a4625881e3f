"""The one look of every picture that Inksight writes: ink on paper, with a single accent.

Figures are plain `matplotlib.figure.Figure` objects drawn by Agg: no window and no pyplot. matplotlib is imported on
first use. Its settings are global, so `style()` holds a lock: threads may draw, one at a time. Not guaranteed: glyphs
of scripts that DejaVu Sans lacks (they come out as boxes).
"""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from inksight.workspace import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAPER = "#faf7f0"
INK = "#1d2433"
ACCENT = "#c8452d"
FAINT = "#d9d3c5"
# For several lines in one plot, in order of use: told apart in grey and by the colour-blind as well.
PALETTE = (INK, ACCENT, "#3f7d8c", "#b98a1e", "#6b5b95", "#7a8b5a", "#a0616a", "#5b6f96")

_STYLE: dict[Any, Any] = {
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "font.size": 9,
    "font.family": "DejaVu Sans",
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}

Images = npt.NDArray[np.uint8]

DPI = 120

_lock = threading.RLock()


@contextmanager
def style() -> Iterator[None]:
    """Make matplotlib draw in the house style inside the block."""
    import matplotlib
    from cycler import cycler

    with _lock, matplotlib.rc_context({**_STYLE, "axes.prop_cycle": cycler(color=PALETTE)}):
        yield


def figure(width: float = 8.0, height: float = 4.5) -> Figure:
    """Return an empty figure of width x height inches; add axes to it inside `with style():`."""
    from matplotlib.figure import Figure

    with style():
        return Figure(figsize=(width, height), layout="constrained")


def axes(width: float = 8.0, height: float = 4.5, *, title: str = "") -> tuple[Figure, Axes]:
    """Return a figure of width x height inches with one set of axes in the house style."""
    made = figure(width, height)
    with style():
        ax = made.add_subplot()
        ax.set_title(title)
    return made, ax


def save_png(drawn: Figure, path: str | Path, *, dpi: int = DPI) -> Path:
    """Write a figure as a PNG file atomically and return its path."""
    with atomic_path(Path(path)) as temporary:
        temporary.write_bytes(png_bytes(drawn, dpi=dpi))
    return Path(path)


def png_bytes(drawn: Figure, *, dpi: int = DPI) -> bytes:
    """Return a figure as PNG bytes, the same for the same figure (no time or version inside)."""
    stream = io.BytesIO()
    with style(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # a box says so, too
        drawn.savefig(stream, format="png", dpi=dpi, metadata={"Software": None})
    return stream.getvalue()


def bars(
    names: Sequence[str], values: Sequence[float], *, title: str, label: str, marked: Sequence[str] = ()
) -> Figure:
    """Return horizontal bars, first name on top, each with its value; the names in `marked` get the accent."""
    made, ax = axes(8.0, 1.2 + 0.2 * max(len(names), 3), title=title)
    with style():
        drawn = ax.barh(range(len(names)), values, color=[ACCENT if name in marked else INK for name in names])
        ax.bar_label(drawn, labels=[_short(value) for value in values], padding=3, fontsize=7)
        ax.set_yticks(range(len(names)), names, fontsize=8)
        ax.set_ylim(len(names) - 0.4, -0.6)
        ax.margins(x=0.12)
        ax.set_xlabel(label)
        ax.grid(axis="x")
    return made


def _short(value: float) -> str:
    """Return a number as a bar shows it: counts in full (12,345), anything else with four digits."""
    return f"{value:,}" if isinstance(value, int | np.integer) else f"{value:,.4g}"


def as_rgb(images: Images) -> Images:
    """Return uint8 (N, H, W, 3): photos as they are, drawings (N, H, W) as ink on paper."""
    if images.ndim == 4:
        return images
    paper, ink = (np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)], np.float32) for colour in (PAPER, INK))
    table = paper + (ink - paper) * (np.arange(256, dtype=np.float32)[:, None] / 255)
    return table.round().astype(np.uint8)[images]


def _at_most(images: Images, width: int) -> Images:
    """Return RGB pictures as wide as they will be seen: photos drawn larger than that lose whole lines of pixels."""
    if not len(images) or images.shape[2] <= width:
        return images
    from PIL import Image

    size = (width, max(1, round(images.shape[1] * width / images.shape[2])))
    return np.stack([np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS)) for image in images])


def sheet(
    rows: Sequence[tuple[str, Images]],
    *,
    title: str = "",
    captions: Sequence[Sequence[str]] | None = None,
    tile: float = 0.62,
) -> Figure:
    """Return a sheet of pictures: one row per (heading, images), an optional caption under each picture.

    Images are uint8 (n, H, W) or (n, H, W, 3), all of one size; rows may have different lengths; `tile` is in inches.
    """
    rows = [(name, _at_most(as_rgb(np.asarray(images)), round(tile * DPI))) for name, images in rows]
    columns = max([len(images) for _, images in rows] + [1])
    shapes = [images.shape[1:3] for _, images in rows if len(images)]
    high, wide = shapes[0] if shapes else (1, 1)
    gap = max(1, wide // 14)
    below = high // 3 if captions is not None else gap
    canvas = np.empty((len(rows) * (high + below) or 1, columns * (wide + gap), 3), np.uint8)
    canvas[:] = as_rgb(np.zeros((1, 1, 1), np.uint8))[0, 0]
    for i, (_, images) in enumerate(rows):
        for j, image in enumerate(images):
            canvas[i * (high + below) :, j * (wide + gap) :][:high, :wide] = image
    scale = tile / wide
    # 0.075 inch is a wide letter at 8 points: room for the headings, so that tiles keep their size.
    headings = 0.2 + 0.075 * max([len(name) for name, _ in rows] + [0])
    made, ax = axes(canvas.shape[1] * scale + headings, canvas.shape[0] * scale + 0.3, title=title)
    with style():
        ax.imshow(canvas, interpolation="nearest")
        ax.set_xticks([])
        ax.set_yticks([i * (high + below) + high / 2 for i in range(len(rows))], [name for name, _ in rows], fontsize=8)
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        for i, row in enumerate(captions or ()):
            for j, caption in enumerate(row):
                x, y = j * (wide + gap) + wide / 2, i * (high + below) + high + below * 0.1
                ax.text(x, y, caption, ha="center", va="top", fontsize=6)
    return made


def gallery(
    images: Images, captions: Sequence[str], *, columns: int = 10, title: str = "", tile: float = 0.8
) -> Figure:
    """Return pictures in reading order, `columns` to a row, each with its caption (may hold a line break)."""
    starts = range(0, len(images), columns)
    rows = [("", images[start : start + columns]) for start in starts]
    return sheet(rows, title=title, captions=[captions[start : start + columns] for start in starts], tile=tile)
