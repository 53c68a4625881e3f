"""Training a classical model: scikit-learn fits it at once, and the run looks like one of a single epoch.

Nothing is random but the choice of samples and trees, which the seed decides; there are no checkpoints to resume from.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from inksight.data.dataset import Dataset
from inksight.models.shallow import Shallow
from inksight.models.shallow_fit import fit, over
from inksight.settings import TrainSettings
from inksight.training.balance import class_weights
from inksight.training.loop import State
from inksight.training.trackers import Entry, RunInfo, Tracker

_FAST = 2000


def fit_shallow(
    model: nn.Module,
    dataset: Dataset,
    preprocess: nn.Module,
    settings: TrainSettings,
    folder: Path,
    *,
    tracker: Tracker,
    say: Callable[[str], None],
    on_epoch: Callable[[Entry], None] | None = None,
) -> State:
    """Fit `model` on the training split and calibrate it on the validation split; return the state after one epoch."""
    assert isinstance(model, Shallow)
    tracker.start(RunInfo(folder.name, folder, {}))
    start = time.perf_counter()
    images: Any = dataset.images("train")
    labels = dataset.labels("train").astype(np.int64)
    if settings.fast and len(labels) > _FAST:
        rows = np.unique(np.linspace(0, len(labels) - 1, _FAST).astype(np.int64))
        images, labels = images[rows], labels[rows]
    val_images, val_labels = dataset.images("val"), dataset.labels("val").astype(np.int64)
    model.cpu().eval()
    preprocess.cpu()
    counts = np.bincount(labels, minlength=len(dataset.classes)).tolist()
    weights = None if settings.class_weights == "none" else class_weights(settings.class_weights, counts)
    fit(
        model, images, labels, val_images, val_labels,
        prepare=preprocess, weights=weights, seed=settings.seed, say=say,
    )  # fmt: skip
    seconds = time.perf_counter() - start
    entry: Entry = {"epoch": 1, "step": 1, "seconds": seconds, "images_per_second": len(labels) / seconds, "best": True}
    if len(val_labels):
        logits = torch.from_numpy(over(val_images, None, lambda x: model(preprocess(x))))
        truth = torch.from_numpy(val_labels)
        entry["val_loss"] = float(nn.functional.cross_entropy(logits, truth))
        right = (logits.argmax(dim=1) == truth).float()
        entry["val_accuracy"] = float(right.mean())
        by_class = [float(right[truth == label].mean()) for label in np.unique(val_labels)]
        entry["val_balanced_accuracy"] = sum(by_class) / len(by_class)
        say(f"validation: loss {entry['val_loss']:.3f} accuracy {entry['val_accuracy']:.1%}")
    tracker.epoch(entry)
    if on_epoch is not None:
        on_epoch(entry)
    return State(epoch=1, best_epoch=1, best_score=entry.get("val_accuracy", 0.0), history=[entry])
