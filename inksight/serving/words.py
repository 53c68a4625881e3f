"""Which word to draw next: any class of the model, or one of those that it is worst at.

How good the model is at a class comes from its description (the per-class accuracy on its test split); a model that
does not say is judged by what players said about its answers.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sqlalchemy import Integer, cast, func, select

if TYPE_CHECKING:
    from inksight.serving.live import LiveModel
    from inksight.serving.storage import Storage

WORST_SHARE = 4
"""The worst quarter of the classes is asked for, but never fewer than WORST_LEAST."""

WORST_LEAST = 10


def any_word(classes: Sequence[str], asked: Sequence[str], rng: random.Random) -> str:
    """Return a class at random; none comes twice before all have come once."""
    times = dict.fromkeys(classes, 0)
    for name in asked:
        if name in times:
            times[name] += 1
    fewest = min(times.values())
    return rng.choice([name for name, count in times.items() if count == fewest])


def weak_word(accuracy: Mapping[str, float], asked: Sequence[str], rng: random.Random) -> str:
    """Return one of the classes with the lowest accuracy, the worse the likelier; not one of the last few asked for."""
    pool = sorted(accuracy, key=lambda name: accuracy[name])[: max(WORST_LEAST, len(accuracy) // WORST_SHARE)]
    recent = set(asked[-(len(pool) // 2) :]) if len(pool) > 1 else set()
    fresh = [name for name in pool if name not in recent]
    # A class without errors is asked for too, now and then: the test split was not the whole world.
    return rng.choices(fresh, weights=[1.02 - accuracy[name] for name in fresh])[0]


def class_accuracy(storage: Storage, model: LiveModel) -> dict[str, float]:
    """Return the accuracy of every class, 0..1: measured, else as players say, else 0.5. May ask the database."""
    measured = (model.classifier.description.get("metrics") or {}).get("per_class") or {}
    if measured:
        # A class without test samples has none.
        shares = {name: (measured.get(name) or {}).get("accuracy") for name in model.classes}
        return {name: 0.5 if share is None else float(share) for name, share in shares.items()}
    table = storage.tables.Correction
    query = (
        select(table.label, func.sum(cast(table.correct, Integer)), func.count())
        .where(table.model == model.name, table.source == "feedback")
        .group_by(table.label)
    )
    with storage.database.read() as session:
        said = {label: (right, total) for label, right, total in session.execute(query)}
    # One right and one wrong answer are added, so that a single voice does not decide.
    return {name: (said.get(name, (0, 0))[0] + 1) / (said.get(name, (0, 0))[1] + 2) for name in model.classes}
