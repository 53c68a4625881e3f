"""Where a drift comparison takes its answers from: the prediction log, an export of it, or a dataset file.

    logged(database, "doodle", days=7)                 # the service's log in the registry's database
    exported("predictions.jsonl")                      # one JSON object per line, as the service exports it
    expected(classifier, "quickdraw20.h5")             # what the model answers on drawings that it was judged on

Answers to the same input (equal hash) count once, what a shadow said does not count. Right is what people said was: the
drawings that the infinite game keeps were recognised by definition, and tell nothing. Memory: at most 50,000 answers of
a period are taken, the newest; inputs are looked at for at most 5,000 of them, spread evenly.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from inksight.errors import DataError, DrawingError, NotFoundError
from inksight.improve.drift import Sample, Values, features_of

if TYPE_CHECKING:
    from inksight.bundle import Classifier
    from inksight.registry.database import Database

MOST = 50_000
MOST_INPUTS = 5_000


def models_in_log(database: Database) -> list[str]:
    """Return the names of the models whose answers were logged."""
    from sqlalchemy import select

    from inksight.registry.tables import Prediction

    with database.read() as session:
        return list(session.scalars(select(Prediction.model).distinct()))


def logged(
    database: Database,
    model: str,
    *,
    days: float,
    before_days: float = 0,
    version: str | None = None,
    now: datetime | None = None,
) -> Sample:
    """Return the answers of `model` in the log from `before_days + days` days ago until `before_days` ago."""
    from sqlalchemy import select

    from inksight.registry.tables import Correction, Prediction

    end = (now or datetime.now(UTC)) - timedelta(days=before_days)
    start = end - timedelta(days=days)
    wanted = (
        select(Prediction, Correction.correct)
        .outerjoin(Correction, (Correction.prediction_id == Prediction.id) & (Correction.source == "feedback"))
        .where(Prediction.model == model, Prediction.at >= start, Prediction.at < end, Prediction.given())
        .order_by(Prediction.at.desc())
        .limit(MOST)
    )
    if version is not None:
        wanted = wanted.where(Prediction.version == version)
    with database.read() as session:
        rows = [
            {
                "label": row.label,
                "confidence": row.confidence,
                "unsure": row.unsure,
                "version": row.version,
                "input_sha256": row.input_sha256,
                "input": row.input,
                "correct": correct,
            }
            for row, correct in session.execute(wanted)
        ]
    return sample(f"{start:%Y-%m-%d} to {end:%Y-%m-%d}", rows)


def exported(path: str | Path) -> Sample:
    """Return the answers of a JSONL file; raises NotFoundError, or DataError with the line that is wrong."""
    from inksight.registry.tables import Prediction

    file = Path(path)
    if not file.is_file():
        raise NotFoundError(f"there is no file {str(path)!r}")
    rows = []
    with open(file, encoding="utf-8") as stream:
        for number, line in enumerate(stream, start=1):
            if line.strip():
                rows.append(_row(line, f"{path}:{number}"))
    return sample(file.name, [row for row in rows if Prediction.was_given(row)][-MOST:])


def expected(classifier: Classifier, data: str | Path) -> Sample:
    """Return what a loaded model answers on the test split of a dataset file (without one, on validation)."""
    from inksight.data.dataset import open_dataset
    from inksight.evaluation.run import answers_of

    with open_dataset(data) as dataset:
        split = "test" if dataset.size("test") else "val"
        images = dataset.images(split)
        _, probabilities = answers_of(classifier, images, limit=MOST)
        if len(images) == 0:
            raise DataError(f"{dataset.name!r} has neither test nor validation images")
        features = features_of(images[:][_spread(len(images))])
        name = f"{dataset.name} ({split})"
    return Sample(
        name=name,
        labels=np.array(classifier.classes)[probabilities.argmax(axis=1)],
        confidence=probabilities.max(axis=1).astype(float),
        features=features,
    )


def sample(name: str, rows: Iterable[Mapping[str, Any]]) -> Sample:
    """Return a Sample of log rows: label, confidence, unsure, and optionally version, correct, input, input_sha256."""
    seen: set[str] = set()
    kept = []
    right: dict[str, bool] = {}
    for place, row in enumerate(rows):
        digest = str(row.get("input_sha256") or f"row {place}")
        if digest not in seen:
            seen.add(digest)
            kept.append(row)
        # People may have spoken of any of several equal ones.
        if row.get("correct") is not None:
            right.setdefault(digest, bool(row["correct"]))
    return Sample(
        name=name,
        labels=np.array([str(row["label"]) for row in kept], dtype=np.str_),
        confidence=np.array([float(row["confidence"]) for row in kept], dtype=float),
        unsure=np.array([bool(row.get("unsure")) for row in kept], dtype=bool),
        right=np.array(list(right.values()), dtype=bool),
        features=_features([row["input"] for row in kept if row.get("input")]),
        versions=tuple(sorted({str(row["version"]) for row in kept if row.get("version") is not None})),
    )


def _row(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
        float(row["confidence"])
        str(row["label"])
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(
            f"{where} is no logged prediction: {error!r}",
            hint="Each line is a JSON object with at least label and confidence.",
        ) from None
    return dict(row)


def _features(inputs: list[Mapping[str, Any]]) -> dict[str, Values]:
    drawings, images, counts = [], [], []
    for index in _spread(len(inputs)):
        kept = inputs[index]
        if "strokes" in kept:
            drawings.append(kept["strokes"])
            counts.append(len(kept["strokes"]))
        elif "image" in kept:
            images.append(_image(kept))
    found = [_drawn(drawings)] if drawings else []
    shapes = {image.shape for image in images}
    found += [features_of(np.stack([image for image in images if image.shape == shape])) for shape in sorted(shapes)]
    names = list(dict.fromkeys(name for part in found for name in part))
    joined = {name: np.concatenate([part[name] for part in found if name in part]) for name in names}
    return joined | ({"strokes": np.array(counts, float)} if counts else {})


def _spread(total: int) -> npt.NDArray[np.int64]:
    """Return up to MOST_INPUTS indices, spread evenly over 0..total-1."""
    return np.unique(np.linspace(0, total - 1, min(total, MOST_INPUTS)).astype(np.int64))


def _drawn(drawings: list[Any]) -> dict[str, Values]:
    """Return the features of drawings as the model saw them; one that cannot be read is left out."""
    from inksight.drawing import render_many, simplify

    ready = []
    for strokes in drawings:
        try:
            ready.append(simplify(strokes))
        except DrawingError:
            continue
    return features_of(render_many(ready)) if ready else {}


def _image(kept: Mapping[str, Any]) -> npt.NDArray[np.uint8]:
    try:
        pixels = np.frombuffer(base64.b64decode(kept["image"], validate=True), np.uint8)
        return pixels.reshape(kept["shape"])
    except (binascii.Error, ValueError, KeyError, TypeError) as error:
        raise DataError(f"a kept picture cannot be read: {error}") from None
