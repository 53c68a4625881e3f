"""Evaluate a model: load it, let it answer a split of a dataset file, judge, and write the report.

    evaluation = inksight.evaluate("runs/.../bundle")                   # the dataset it was trained on, test split
    evaluation = inksight.evaluate("a@champion", "pets.h5", compare="a@candidate", out="report/")

Without `data`, the dataset file that the bundle names is used, and only when its content is the one recorded at
training: only then is the test split known to be unseen.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from inksight.data.at_once import read_at_once
from inksight.data.dataset import SPLITS, Dataset, open_dataset
from inksight.data.places import find, places
from inksight.errors import DataError, UsageError, unknown
from inksight.evaluation.comparison import with_comparison
from inksight.evaluation.judging import Evaluation, judge, plain
from inksight.evaluation.metrics import IntArray, Probabilities
from inksight.evaluation.speed import folder_bytes, measure_speed

if TYPE_CHECKING:
    from inksight.bundle import Classifier

# The temperature is one number: more samples than this do not change its third digit.
_VALIDATION = 20_000


def evaluate(
    model: str | Path | Classifier,
    data: str | Path | Dataset | None = None,
    *,
    split: str = "test",
    out: str | Path | None = None,
    compare: str | Path | Classifier | None = None,
    threads: int = 1,
    speed: bool = True,
    explain: bool = True,
) -> Evaluation:
    """Judge `model` (a bundle's path, a name, or a loaded one) on a split of a dataset file and return the Evaluation.

    `data` is a dataset file, its name or a preset; default: the file the model was trained on. `out` is the folder to
    write the report to; `compare` a second model that answers the same samples. `threads` per prediction when models
    are loaded here; `speed` times them; `explain` adds pictures of where the model looked. Raises NotFoundError for
    what does not exist, DataError when the dataset is no longer the one trained on, UsageError when the model lacks one
    of its classes or the split is empty.
    """
    if split not in SPLITS:
        raise unknown("split", split, SPLITS, option="--split")
    first = _loaded(model, threads)
    second = _loaded(compare, threads) if compare is not None else None
    # Left open: the Evaluation takes its pictures from the file, which closes when nothing refers to it any more.
    dataset = data if isinstance(data, Dataset) else open_dataset(find_dataset(data, first))
    found = _judged(first, dataset, split, timed=speed)
    if second is not None:
        found = with_comparison(found, _judged(second, dataset, split, timed=speed))
    if explain:
        from inksight.evaluation.looks import with_explanations

        found = with_explanations(found, first)
    if out is not None:
        found.write(out)
    return found


def completed(evaluation: Evaluation, classifier: Classifier) -> Evaluation:
    """Return an evaluation of answers with what needs the model itself: its size, speed and where it looked."""
    from inksight.evaluation.looks import with_explanations

    sample = None if evaluation.images is None else evaluation.images[:256]
    metrics = {**evaluation.metrics, "model": plain(describe_model(classifier, sample))}
    return with_explanations(replace(evaluation, metrics=metrics), classifier)


def answers_of(classifier: Classifier, images: Any, *, limit: int | None = None) -> tuple[IntArray, Probabilities]:
    """Return which rows of `images` (N, H, W[, 3], an array or file) were answered and their probabilities.

    All rows, or `limit` of them spread evenly; read bit by bit, so that only the answers are held in memory.
    """
    total = len(images)
    rows: IntArray = np.arange(total)
    if limit is not None and total > limit:
        rows = np.unique(np.linspace(0, total - 1, limit).astype(np.int64))
    step = read_at_once(images.shape[1:])
    parts = [np.empty((0, len(classifier.classes)), np.float32)]
    for start in range(0, len(rows), step):
        chosen = rows[start : start + step]
        block = images[int(chosen[0]) : int(chosen[-1]) + 1][chosen - chosen[0]]
        parts.append(classifier.predict_proba(block))
    return rows, np.concatenate(parts)


def describe_model(classifier: Classifier, sample: Any | None = None) -> dict[str, Any]:
    """Return what the report says of a model: name, architecture, size and, when `sample` images are given, speed."""
    description = classifier.description
    architecture = description.get("architecture", {})
    model: dict[str, Any] = {
        "name": classifier.name,
        "architecture": architecture.get("name"),
        "parameters": architecture.get("parameters"),
        "bytes": folder_bytes(classifier.folder),
        "sha256": description.get("files", {}).get("model.onnx", {}).get("sha256"),
    }
    if sample is not None and len(sample):
        speed = measure_speed(classifier.predict_proba, np.asarray(sample))
        model["speed"] = {**speed, "runtime": classifier.runtime, "threads": classifier.threads}
    return model


def _loaded(model: str | Path | Classifier, threads: int) -> Classifier:
    if not isinstance(model, str | Path):
        return model
    import inksight

    return inksight.load(model, threads=threads)


def find_dataset(data: str | Path | None, classifier: Classifier) -> Path:
    """Return the dataset file of `data`, or the one the model was trained on when its content is still the same."""
    if data is not None:
        from inksight.data.ensure import ensure_dataset

        return ensure_dataset(data)
    recorded = classifier.description.get("dataset", {})
    sha256, name = recorded.get("sha256"), recorded.get("name")
    found = find(sha256, name)
    if found is not None:
        return found
    hint = "Say what to judge it on: --data FILE, a dataset's name or a preset."
    path = next((place for place in places(sha256, name) if place.is_file()), None)
    if path is None:
        which = f", {name!r}," if name else ""
        raise UsageError(f"the dataset that {classifier.name!r} was trained on{which} is not here", hint=hint)
    with open_dataset(path) as dataset:
        raise DataError(
            f"{str(path)!r} is no longer the dataset that {classifier.name!r} was trained on: its SHA-256 is "
            f"{dataset.sha256[:12]}..., the model's {str(sha256)[:12]}...",
            hint=hint + " Samples of another file may have been among those it learnt from.",
        )


def _judged(classifier: Classifier, dataset: Dataset, split: str, *, timed: bool) -> Evaluation:
    """Judge a loaded model, and time it when `timed`."""
    labels = _labels(classifier, dataset)
    images = dataset.images(split)
    if len(images) == 0:
        full = [name for name in SPLITS if dataset.size(name)]
        raise UsageError(f"the {split} split of {dataset.name!r} is empty", hint=f"Not empty: {', '.join(full)}.")
    _, probabilities = answers_of(classifier, images)
    validation = None
    if split != "val" and dataset.size("val"):
        rows, answers = answers_of(classifier, dataset.images("val"), limit=_VALIDATION)
        validation = (labels[dataset.labels("val")[rows]], answers)
    return judge(
        labels[dataset.labels(split)],
        probabilities,
        classifier.classes,
        images=images,
        ids=dataset.ids(split),
        split=split,
        validation=validation,
        distribution=dataset.counts,
        model=describe_model(classifier, images[:256] if timed else None),
        data={
            "name": dataset.name,
            "kind": dataset.kind,
            "sha256": dataset.sha256,
            "source": dataset.source,
            "warnings": _warnings(classifier, dataset),
        },
    )


def _labels(classifier: Classifier, dataset: Dataset) -> IntArray:
    """Return the model's index of each of the dataset's classes, int64 (classes of the dataset,)."""
    place = {name: index for index, name in enumerate(classifier.classes)}
    foreign = [name for name in dataset.classes if name not in place]
    if foreign:
        raise UsageError(
            f"{classifier.name!r} does not know {len(foreign)} of the {len(dataset.classes)} classes of "
            f"{dataset.name!r}: {', '.join(foreign[:10])}" + (" ..." if len(foreign) > 10 else ""),
            hint="Choose a dataset whose classes the model knows; it may know more than the dataset holds.",
        )
    return np.array([place[name] for name in dataset.classes], np.int64)


def _warnings(classifier: Classifier, dataset: Dataset) -> list[str]:
    found = []
    recorded = classifier.description.get("dataset", {})
    if recorded.get("sha256") and recorded["sha256"] != dataset.sha256:
        found.append(
            f"The model was trained on another dataset file ({recorded.get('name', 'unnamed')}): "
            "samples judged here may have been among those it learnt from."
        )
    if tuple(dataset.image_shape) != tuple(classifier.image_shape):
        size = " x ".join(map(str, dataset.image_shape[:2]))
        found.append(f"The pictures ({size}) are not of the size the model was trained on and were converted.")
    return found
