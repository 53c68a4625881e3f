"""Where a drift comparison takes its answers from: the prediction log, an export of it, or a dataset file.

    logged(database, "doodle", days=7)                 # the service's log in the registry's database
    exported("predictions.jsonl")                      # one JSON object per line, as the service exports it
    expected(classifier, "quickdraw20.h5")             # what the model answers on drawings that it was judged on

Answers to the same input (equal hash) count once, what a shadow said does not count. Right is what people said was: the
drawings that the infinite game keeps were recognised by definition, and tell nothing. Memory: at most 50,000 answers of
a period are taken, the newest; inputs are looked at for at most 5,000 of them, spread evenly, and a few at a time.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from inksight.errors import DataError, DrawingError, NotFoundError
from inksight.improve.drift import Sample, Values, features_of
from inksight.registry.kept import PAGE, read_inputs

if TYPE_CHECKING:
    from inksight.bundle import Classifier
    from inksight.registry.database import Database

MOST = 50_000
MOST_INPUTS = 5_000

Row = Mapping[str, Any]


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
        select(
            Prediction.id,
            Prediction.label,
            Prediction.confidence,
            Prediction.unsure,
            Prediction.version,
            Prediction.input_sha256,
            Prediction.input.is_not(None).label("input"),
            Correction.correct,
        )
        .outerjoin(Correction, (Correction.prediction_id == Prediction.id) & (Correction.source == "feedback"))
        .where(Prediction.model == model, Prediction.at >= start, Prediction.at < end, Prediction.given())
        .order_by(Prediction.at.desc())
        .limit(MOST)
    )
    if version is not None:
        wanted = wanted.where(Prediction.version == version)
    with database.read() as session:
        rows = [row._asdict() for row in session.execute(wanted)]

    def inputs(chosen: list[Row]) -> Iterable[Any]:
        return read_inputs(database, [row["id"] for row in chosen])

    return sample(f"{start:%Y-%m-%d} to {end:%Y-%m-%d}", rows, inputs=inputs)


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
        chosen = _spread(len(images))
        parts = [chosen[start : start + PAGE] for start in range(0, len(chosen), PAGE)]
        features = _joined(features_of(images[part[0] : part[-1] + 1][part - part[0]]) for part in parts)
        name = f"{dataset.name} ({split})"
    return Sample(
        name=name,
        labels=np.array(classifier.classes)[probabilities.argmax(axis=1)],
        confidence=probabilities.max(axis=1).astype(float),
        features=features,
    )


def _own(rows: list[Row]) -> Iterable[Any]:
    return (row["input"] for row in rows)


def sample(name: str, rows: Iterable[Row], *, inputs: Callable[[list[Row]], Iterable[Any]] = _own) -> Sample:
    """Return a Sample of log rows: label, confidence, unsure, and optionally version, correct, input, input_sha256.

    `inputs` brings the inputs of rows whose `input` tells only that there is one; None where it is gone.
    """
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
    with_input = [row for row in kept if row.get("input")]
    return Sample(
        name=name,
        labels=np.array([str(row["label"]) for row in kept], dtype=np.str_),
        confidence=np.array([float(row["confidence"]) for row in kept], dtype=float),
        unsure=np.array([bool(row.get("unsure")) for row in kept], dtype=bool),
        right=np.array(list(right.values()), dtype=bool),
        features=_features(inputs([with_input[index] for index in _spread(len(with_input))])),
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
    if "predicted" in row:  # then the label is what people said, and not what the model did
        raise DataError(
            f"{where} is no logged prediction but a correction",
            hint="GET /v1/predictions/export gives the log; without files it is read from the database.",
        )
    return dict(row)


def _features(inputs: Iterable[Any]) -> dict[str, Values]:
    return _joined(part for page in _pages(inputs) for part in _features_of_page(page))


def _features_of_page(page: list[Any]) -> Iterable[dict[str, Values]]:
    drawings = [kept["strokes"] for kept in page if kept and "strokes" in kept]
    images = [_image(kept) for kept in page if kept and "strokes" not in kept and "image" in kept]
    if drawings:
        yield _drawn(drawings)
        yield {"strokes": np.array([len(strokes) for strokes in drawings], float)}
    for shape in sorted({image.shape for image in images}):
        yield features_of(np.stack([image for image in images if image.shape == shape]))


def _pages(inputs: Iterable[Any]) -> Iterable[list[Any]]:
    remaining = iter(inputs)
    while page := list(islice(remaining, PAGE)):
        yield page


def _joined(parts: Iterable[dict[str, Values]]) -> dict[str, Values]:
    found: dict[str, list[Values]] = {}
    for part in parts:
        for name, values in part.items():
            found.setdefault(name, []).append(values)
    return {name: np.concatenate(values) for name, values in found.items()}


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
