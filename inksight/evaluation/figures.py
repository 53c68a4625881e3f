"""The report's pictures as PNG files, for slides and papers; the HTML page draws its own charts.

Readable from 2 to 345 classes: figures grow with the number of classes instead of shrinking their letters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from inksight import plotting
from inksight.evaluation.metrics import normalised

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Images = npt.NDArray[np.uint8]


def take(images: Any, indices: list[int]) -> Images:
    """Return images by index, uint8 (n, H, W[, 3]), one by one so that files need not be read whole or in order."""
    return np.stack([np.asarray(images[i]) for i in indices]) if indices else np.empty((0, 1, 1), np.uint8)


def write_figures(m: dict[str, Any], images: Any | None, folder: Path) -> list[Path]:
    """Write all figures of metrics into `folder` and return their paths; those of samples only when there are images.

    `images` gives image i, uint8 (H, W[, 3]), by index. Those of an earlier report go.
    """
    matrix = np.array(m["confusion_matrix"])
    # Drawn one by one: a figure takes some 20 MB while it is written.
    drawn: dict[str, Callable[[], Figure]] = {
        "class_accuracy": lambda: class_accuracy(m),
        "class_distribution": lambda: class_distribution(m),
        "confusion": lambda: confusion(matrix, m["classes"], title="Counts"),
        "confusion_normalised": lambda: confusion(normalised(matrix), m["classes"], title="Shares of each row, %"),
        "reliability": lambda: reliability(m["calibration"]["bins"]),
    }
    if images is not None and m["worst_errors"]:
        drawn["worst_errors"] = lambda: worst_errors(m["worst_errors"], images)
        drawn["confused_pairs"] = lambda: confused_pairs(m["confused_pairs"], images)
    else:
        for name in ("worst_errors", "confused_pairs"):
            (folder / f"{name}.png").unlink(missing_ok=True)
    return [plotting.save_png(draw(), folder / f"{name}.png") for name, draw in drawn.items()]


def class_accuracy(m: dict[str, Any]) -> Figure:
    """Return the accuracy of each class with its 95 % interval, best on top."""
    rows = sorted((row for row in m["per_class"] if row["support"]), key=lambda row: row["recall"])
    figure, ax = plotting.axes(7.0, 1.2 + 0.19 * len(rows), title="Accuracy of each class, with 95 % intervals")
    with plotting.style():
        y = np.arange(len(rows))
        value = np.array([row["recall"] for row in rows])
        low, high = np.array([row["recall_interval"] for row in rows]).T
        weak = {row["class"] for row in m["needs_improvement"]}
        colours = [plotting.ACCENT if row["class"] in weak else plotting.INK for row in rows]
        ax.hlines(y, 100 * low, 100 * high, color=colours, linewidth=1.2)
        ax.scatter(100 * value, y, color=colours, s=16, zorder=3)
        ax.axvline(100 * m["balanced_accuracy"], color=plotting.FAINT, zorder=0)
        ax.set_yticks(y, [row["class"] for row in rows], fontsize=8)
        ax.set_ylim(-0.7, len(rows) - 0.3)
        ax.set_xlabel("%")
        ax.grid(axis="x")
    return figure


def class_distribution(m: dict[str, Any]) -> Figure:
    """Return how many samples each class has, in every split that is known."""
    splits = m["distribution"]
    names = m["classes"]
    figure, ax = plotting.axes(7.0, 1.2 + 0.19 * len(names), title="Samples of each class")
    with plotting.style():
        left = np.zeros(len(names))
        for split, colour in zip(splits, plotting.PALETTE, strict=False):
            counts = np.array([splits[split].get(name, 0) for name in names], float)
            ax.barh(np.arange(len(names)), counts, left=left, color=colour, label=split)
            left += counts
        ax.set_yticks(np.arange(len(names)), names, fontsize=8)
        ax.set_ylim(len(names) - 0.4, -0.6)
        ax.grid(axis="x")
        if len(splits) > 1:
            ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def confusion(matrix: npt.NDArray[Any], classes: Sequence[str], *, title: str) -> Figure:
    """Return a confusion matrix, counts or shares (C, C), with numbers in the cells up to 25 classes.

    Shades follow the square root, so that one confusion in a hundred can be seen beside the diagonal.
    """
    count = len(classes)
    cell = 0.34 if count <= 25 else max(0.11, 0.34 - 0.004 * (count - 25))
    side = 1.6 + 0.05 * max(map(len, classes)) + cell * count
    figure, ax = plotting.axes(side, side, title=title)
    with plotting.style():
        right = np.eye(count, dtype=bool)
        top = max(float(matrix.max()), 1e-9)
        ax.imshow(_shades(np.sqrt(matrix / top), right), interpolation="nearest")
        size = 7 if cell > 0.2 else 5
        ax.set_xticks(np.arange(count), classes, rotation=90, fontsize=size)
        ax.set_yticks(np.arange(count), classes, fontsize=size)
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        ax.set_xlabel("answer")
        ax.set_ylabel("truth")
        if count <= 25:
            for i, j in np.argwhere(matrix > 0):
                value = matrix[i, j]
                text = f"{value:d}" if matrix.dtype.kind == "i" else f"{100 * value:.0f}"
                light = plotting.PAPER if np.sqrt(value / top) > 0.55 else plotting.INK
                ax.text(j, i, text, ha="center", va="center", fontsize=6, color=light)
    return figure


def reliability(bins: dict[str, Any]) -> Figure:
    """Return the reliability diagram: accuracy against confidence, dots with 95 % intervals, bars for how many."""
    count = np.array(bins["count"])
    filled = count > 0
    columns = {name: np.array(bins[name], float)[filled] for name in ("confidence", "accuracy", "low", "high")}
    figure = plotting.figure(4.8, 5.4)
    with plotting.style():
        ax, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
        ax.plot([0, 1], [0, 1], color=plotting.FAINT)
        ax.vlines(columns["confidence"], columns["low"], columns["high"], color=plotting.INK, linewidth=1.2)
        ax.scatter(columns["confidence"], columns["accuracy"], color=plotting.ACCENT, s=22, zorder=3)
        ax.set_title("Is it right as often as it says?")
        ax.set_ylabel("accuracy")
        ax.set_ylim(0, 1.02)
        edges = np.array(bins["edges"])
        below.bar(edges[:-1], count, width=np.diff(edges) * 0.9, align="edge", color=plotting.INK)
        below.set_ylabel("samples")
        below.set_xlabel("confidence")
        below.set_xlim(0, 1)
    return figure


def worst_errors(errors: list[dict[str, Any]], images: Any) -> Figure:
    """Return the errors of which the model was surest, as a gallery."""
    captions = [f"{row['truth']}\nsaid {row['answer']} {100 * row['confidence']:.0f} %" for row in errors]
    pictures = take(images, [row["index"] for row in errors])
    return plotting.gallery(pictures, captions, columns=8, title="Sure and wrong", tile=0.95)


def confused_pairs(pairs: list[dict[str, Any]], images: Any) -> Figure:
    """Return the most confused pairs, one row of examples per direction."""
    rows = []
    for pair in pairs:
        for truth, answer, key in ((pair["a"], pair["b"], "a_as_b"), (pair["b"], pair["a"], "b_as_a")):
            if pair[key]:
                rows.append((f"{truth} → {answer} ({pair[key]})", take(images, pair[f"{key}_examples"])))
    return plotting.sheet(rows, title="Truth → answer")


def _shades(strength: npt.NDArray[np.float64], right: npt.NDArray[np.bool_]) -> Images:
    """Return RGB (C, C, 3): right answers in ink, wrong ones in the accent, on paper."""
    paper, ink, accent = (
        np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)], float)
        for colour in (plotting.PAPER, plotting.INK, plotting.ACCENT)
    )
    full = np.where(right[..., None], ink, accent)
    mixed: Images = (paper + (full - paper) * strength[..., None]).round().astype(np.uint8)
    return mixed
