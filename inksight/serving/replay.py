"""Replay: what would another version have said? Logged inputs, judged again by a version of the registry."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from sqlalchemy import select

from inksight.errors import DataError
from inksight.evaluation.intervals import wilson_one
from inksight.registry.kept import PAGE, Image, image_of, read_inputs
from inksight.serving.live import LiveModel
from inksight.serving.sources import load_version
from inksight.serving.storage import Storage

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
        # The inputs themselves are read later, a few at a time: those of photos would fill the memory.
        query = select(table.id, table.label, table.input.is_not(None)).where(table.model == live.name, table.given())
        logged = session.execute(query.order_by(table.at.desc()).limit(limit)).all()
        ids = [number for number, _, _ in logged]
        truths: dict[str, str] = {}
        for start in range(0, len(ids), 500):
            said = select(correction.prediction_id, correction.final_label, correction.label)
            said = said.where(correction.prediction_id.in_(ids[start : start + 500]))
            said = said.where(correction.source == "feedback", correction.state != "rejected")
            for number, final, label in session.execute(said.order_by(correction.id)):
                truths[number] = final or label
    then = {number: label for number, label, kept in logged if kept}
    now: dict[str, str] = {}
    ids = list(then)
    for start in range(0, len(ids), PAGE):
        part = ids[start : start + PAGE]
        inputs = zip(part, read_inputs(storage.database, part), strict=True)
        read = [(number, image) for number, kept in inputs if (image := _image(kept, live)) is not None]
        if read:
            best = live.classifier.predict_proba(np.stack([image for _, image in read])).argmax(axis=1)
            now |= {number: live.classes[index] for (number, _), index in zip(read, best, strict=True)}
    changed = Counter((then[number], answer) for number, answer in now.items() if then[number] != answer)
    known = [number for number in now if number in truths]
    return {
        "model": live.name,
        "version": live.version,
        "logged": len(logged),
        "replayed": len(now),
        "skipped": len(then) - len(now),
        "agreement": 1 - changed.total() / len(now) if now else None,
        "then": _accuracy([then[number] == truths[number] for number in known]),
        "now": _accuracy([now[number] == truths[number] for number in known]),
        "changes": [
            {"from": before, "to": after, "count": count} for (before, after), count in changed.most_common(SHOWN)
        ],
    }


def _image(kept: dict[str, Any] | None, live: LiveModel) -> Image | None:
    try:
        return None if kept is None else image_of(kept, live.input_shape)
    except DataError:
        return None


def _accuracy(right: list[bool]) -> dict[str, Any]:
    low, high = wilson_one(sum(right), len(right))
    share = sum(right) / len(right) if right else None
    return {"right": sum(right), "total": len(right), "accuracy": share, "interval": [low, high]}
