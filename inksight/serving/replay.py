"""Replay: what would another version have said? Logged inputs, judged again by a version of the registry."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from sqlalchemy import select

from inksight.errors import DataError
from inksight.evaluation.intervals import wilson_one
from inksight.registry.kept import Image, image_of
from inksight.serving.live import LiveModel
from inksight.serving.sources import load_version
from inksight.serving.storage import Storage

BATCH = 256
SHOWN = 50


def replay(storage: Storage, model: str, version: int, *, limit: int) -> dict[str, Any]:
    """Judge the newest `limit` logged inputs of a model with a version; compare with what people were answered then.

    Only inputs that were kept can be judged again (`--keep-drawings`); `skipped` are those of another shape than the
    version takes, or broken. Where people said what a drawing is, both versions' accuracy is given, with Wilson
    intervals; what the infinite game kept was recognised by definition, and is left out there. Raises NotFoundError for
    an unknown version.
    """
    reference = f"{model}:{version}"
    live = load_version(storage, storage.registry.find(reference), reference)
    try:
        return _compare(storage, live, limit)
    finally:
        if live.release is not None:
            live.release()


def _compare(storage: Storage, live: LiveModel, limit: int) -> dict[str, Any]:
    table, correction = storage.tables.Prediction, storage.tables.Correction
    with storage.database.read() as session:
        query = select(table).where(table.model == live.name, table.given()).order_by(table.at.desc()).limit(limit)
        logged = list(session.scalars(query))
        ids = [row.id for row in logged]
        truths: dict[str, str] = {}
        for start in range(0, len(ids), 500):
            part = correction.prediction_id.in_(ids[start : start + 500])
            said = select(correction).where(part, correction.source == "feedback", correction.state != "rejected")
            for row in session.scalars(said.order_by(correction.id)):
                truths[row.prediction_id] = row.final_label or row.label
    kept = [row for row in logged if row.input is not None]
    pairs: list[tuple[Any, str]] = []
    for start in range(0, len(kept), BATCH):
        read = [(row, image) for row in kept[start : start + BATCH] if (image := _image(row, live)) is not None]
        if read:
            best = live.classifier.predict_proba(np.stack([image for _, image in read])).argmax(axis=1)
            pairs += [(row, live.classes[index]) for (row, _), index in zip(read, best, strict=True)]
    changed = [(row, answer) for row, answer in pairs if row.label != answer]
    known = [(row, answer, truths[row.id]) for row, answer in pairs if row.id in truths]
    return {
        "model": live.name,
        "version": live.version,
        "logged": len(logged),
        "replayed": len(pairs),
        "skipped": len(kept) - len(pairs),
        "agreement": 1 - len(changed) / len(pairs) if pairs else None,
        "then": _accuracy([row.label == truth for row, _, truth in known]),
        "now": _accuracy([answer == truth for _, answer, truth in known]),
        "changes": [
            {"from": before, "to": after, "count": count}
            for (before, after), count in Counter((row.label, answer) for row, answer in changed).most_common(SHOWN)
        ],
    }


def _image(row: Any, live: LiveModel) -> Image | None:
    try:
        return image_of(row.input, live.input_shape)
    except DataError:
        return None


def _accuracy(right: list[bool]) -> dict[str, Any]:
    low, high = wilson_one(sum(right), len(right))
    share = sum(right) / len(right) if right else None
    return {"right": sum(right), "total": len(right), "accuracy": share, "interval": [low, high]}
