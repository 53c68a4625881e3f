"""What changed: two forms of one classifier, answering the same images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inksight.bundle.classifier import Classifier
from inksight.bundle.parity import Predict, batched, compare, made_images
from inksight.bundle.timing import take_turns
from inksight.data.dataset import Dataset
from inksight.errors import UsageError

_BATCHES = (1, 64)


def check_classes(model: Classifier, dataset: Dataset) -> None:
    """Raise UsageError unless the dataset has the model's classes, in its order, and its image shape."""
    if list(dataset.classes) != model.classes or tuple(dataset.image_shape) != model.image_shape:
        raise UsageError(
            f"the dataset {dataset.name!r} ({len(dataset.classes)} classes, images {tuple(dataset.image_shape)}) is "
            f"not of the kind that {model.name!r} answers ({len(model.classes)} classes, images {model.image_shape})",
            hint="Give the dataset file the model was trained on: --data FILE.",
        )


def answer_change(before: Predict, after: Predict, model: Classifier, dataset: Dataset | None) -> dict[str, Any]:
    """Return how the answers of `after` differ from those of `before`, on validation (without one, test) images.

    With a dataset: samples, accuracy of both, the difference with its 95 % interval (paired), share of equal answers.
    Without one: only the differences of probabilities and first answers on made images.
    """
    split = next((name for name in ("val", "test") if dataset is not None and dataset.size(name)), None)
    if dataset is None or split is None:
        images = made_images(model.image_shape)
        return asdict(compare(batched(before, images), batched(after, images), real=False))
    from inksight.evaluation.comparison import compare as paired
    from inksight.evaluation.judging import judge

    check_classes(model, dataset)
    images, truth = dataset.load(split)
    answers = [batched(predict, images) for predict in (before, after)]
    first, second = (judge(truth, given, model.classes, split=split) for given in answers)
    both = paired(second, first)
    return {
        **asdict(compare(answers[0], answers[1], real=True)),
        "split": split,
        "accuracy_before": first.accuracy,
        "accuracy": second.accuracy,
        "difference": both["difference"],
        "difference_interval": both["difference_interval"],
        "same_answer": both["same_answer"],
    }


def speed_change(models: Mapping[str, Predict], images: NDArray[np.uint8], seconds: float = 1.0) -> dict[str, Any]:
    """Return the timings of each model, one image at a time and 64 at once, taken in turns on one thread."""
    timings = {batch: take_turns(models, images, batch=batch, seconds=seconds) for batch in _BATCHES}
    return {name: [timings[batch][name].as_dict() for batch in _BATCHES] for name in models}
