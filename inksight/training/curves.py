"""The learning curves of a run as one picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from inksight import plotting
from inksight.training.trackers import Entry

_PANELS = (
    ("Loss", (("train_loss", "training"), ("val_loss", "validation"), ("ema_val_loss", "averaged weights"))),
    ("Accuracy", (("train_accuracy", "training"), ("val_accuracy", "validation"), ("ema_val_accuracy", "averaged"))),
    ("Learning rate", (("learning_rate", "at the end of the epoch"),)),
)


def draw_curves(history: Sequence[Entry], path: Path, *, title: str) -> Path:
    """Write loss, accuracy and learning rate by epoch as a PNG; the best epoch is marked."""
    figure = plotting.figure(11.0, 3.6)
    best = max((entry["epoch"] for entry in history if entry["best"]), default=None)
    with plotting.style():
        figure.suptitle(title)
        for axes, (name, lines) in zip(figure.subplots(1, len(_PANELS)), _PANELS, strict=True):
            for key, label in lines:
                points = [(entry["epoch"], entry[key]) for entry in history if key in entry]
                if points:
                    axes.plot(*zip(*points, strict=True), label=label, marker="o", markersize=2.5)
            if best is not None:
                axes.axvline(best, color=plotting.FAINT, zorder=0)
            axes.set_title(name)
            axes.set_xlabel("epoch")
            axes.xaxis.get_major_locator().set_params(integer=True)
            if len(axes.lines) > 2:
                axes.legend(fontsize=7)
    return plotting.save_png(figure, path)
