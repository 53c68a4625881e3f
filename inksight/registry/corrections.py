"""Corrections: what people said about answers, the review of it, and how far everyone agrees.

    page = listing(database, state="pending")
    decide(database, page[0].id, "relabel", label="cat", reviewer="alice")
    statistics(database)["reviewers_agreed"]

A correction waits (pending) until a reviewer accepts its label, gives it another one, or rejects it; a decided one may
be decided again. Only accepted and relabelled ones are learnt from (improve/additions.py).

Agreement is counted over what people said of answers (source `feedback`). The drawings that the infinite game keeps
were recognised by definition: they wait for review like the others, but do not tell how often the machine is right.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from sqlalchemy import ColumnElement, case, func, select
from sqlalchemy.orm import Session

from inksight.errors import ConflictError, NotFoundError, UsageError, unknown
from inksight.registry.database import Database
from inksight.registry.tables import Correction, now

STATES = ("pending", "accepted", "relabelled", "rejected")
ACTIONS = {"accept": "accepted", "relabel": "relabelled", "reject": "rejected"}
PAGE = 500

CLASSES, DAYS = 50, 30
"""How many classes (those that people spoke of most) and days (the last ones) the statistics list."""


def listing(
    database: Database, *, state: str | None = None, model: str | None = None, after: int = 0, limit: int = 50
) -> list[Correction]:
    """Return up to `limit` corrections with an id above `after`, the oldest first."""
    query = select(Correction).where(*_conditions(state, model), Correction.id > after)
    with database.read() as session:
        return list(session.scalars(query.order_by(Correction.id).limit(limit)))


def find(database: Database, number: int) -> Correction:
    """Return one correction; raises NotFoundError."""
    with database.read() as session:
        return _get(session, number)


def decide(
    database: Database,
    number: int,
    action: str,
    *,
    reviewer: str,
    label: str | None = None,
    classes: Collection[str] | None = None,
    seen: Mapping[str, str | None] | None = None,
) -> Correction:
    """Accept, relabel or reject a correction and return it as it is now.

    `label` is needed to relabel and must be one of `classes` where these are known. `seen` are values of its columns as
    the reviewer saw them. Raises NotFoundError, UsageError for an action that does not go with the label, or
    ConflictError when the player or another reviewer has changed what was seen.
    """
    if action not in ACTIONS:
        raise unknown("action", action, ACTIONS)
    if action == "relabel" and not label:
        raise UsageError('"label" is missing', hint="To relabel, say what it is.")
    if action != "relabel" and label:
        raise UsageError('"label" is only for relabel', hint="Leave it out.")
    if label is not None and classes is not None and label not in classes:
        raise _no_label(label, classes)
    with database.write() as session:
        row = _get(session, number, lock=True)
        if any(getattr(row, column) != value for column, value in (seen or {}).items()):
            by = f" by {row.reviewer}" if row.reviewer else ""
            said = row.final_label or row.label
            raise ConflictError(
                f"correction {number} was changed meanwhile: it is {row.state}{by}, and says {said!r}",
                hint="Look at it again, and decide then.",
            )
        row.state = ACTIONS[action]
        final = {"accept": row.label, "relabel": label, "reject": None}[action]
        if final != row.final_label:
            row.learnt_in = None  # whoever learnt it learnt something else
        row.final_label = final
        row.reviewer, row.reviewed_at = reviewer[:100], now()
        session.flush()
        return row


def exported(database: Database, *, state: str | None = None, model: str | None = None) -> Iterator[dict[str, Any]]:
    """Yield every correction as plain values, the oldest first; read page by page."""
    after = 0
    while True:
        rows = listing(database, state=state, model=model, after=after, limit=PAGE)
        for row in rows:
            yield as_dict(row)
        if len(rows) < PAGE:
            return
        after = rows[-1].id


def as_dict(row: Correction) -> dict[str, Any]:
    """Return a correction's columns as plain values."""
    return {column.name: getattr(row, column.name) for column in Correction.__table__.columns}


def statistics(database: Database, *, model: str | None = None, most: int = 10) -> dict[str, Any]:
    """Return how many corrections are in each state, and how far players, reviewers and the machine agree.

    Shares are 0..1 with Wilson's 95 % interval, None where nothing was counted. `players_agreed`: players called the
    answer right. `reviewers_agreed`: the reviewer let the player's label stand. `machine_right`: the machine's answer
    is what the reviewers settled on (rejected ones left out). `confusions`: what the machine said and what it really
    was, the most frequent `most` of the reviewed. `by_class` and `by_day` (UTC): the first two, by the label that
    people gave and by the day on which they gave it.
    """
    where = _conditions(None, model)
    told = [*where, Correction.source == "feedback"]
    with database.read() as session:

        def count(*columns: Any, only: list[ColumnElement[bool]]) -> list[tuple[Any, ...]]:
            query = select(*columns, func.count()).where(*only).group_by(*columns)
            return [tuple(row) for row in session.execute(query)]

        states = {str(state): int(number) for state, number in count(Correction.state, only=where)}
        pairs = count(Correction.predicted, Correction.final_label, only=[*told, Correction.final_label.is_not(None)])
        reviewers = count(Correction.reviewer, only=[*where, Correction.reviewer.is_not(None)])
        sources = count(Correction.source, only=where)
        classes = _agreement(session, Correction.label, told)
        days = _agreement(session, func.date(Correction.at), told)
    agreed = sum(number for predicted, final, number in pairs if predicted == final)
    wrong = Counter({(predicted, final): number for predicted, final, number in pairs if predicted != final})
    total = {name: sum(counts[name] for counts in days.values()) for name in ("all", "right", "reviewed", "accepted")}
    spoken_of = sorted(classes, key=lambda name: (-classes[name]["all"], name))[:CLASSES]
    return {
        "states": states,
        **_agreed(total),
        "machine_right": _share(agreed, sum(number for *_, number in pairs)),
        "confusions": [
            {"predicted": predicted, "label": final, "count": number}
            for (predicted, final), number in sorted(wrong.items(), key=lambda item: (-item[1], item[0]))[:most]
        ],
        "reviewers": {str(name): number for name, number in sorted(reviewers)},
        "sources": {str(name): number for name, number in sorted(sources)},
        "by_class": [{"label": name, **_agreed(classes[name])} for name in spoken_of],
        "by_day": [{"day": day, **_agreed(days[day])} for day in sorted(days)[-DAYS:]],
    }


def _agreement(session: Session, column: Any, only: list[ColumnElement[bool]]) -> dict[str, dict[str, int]]:
    """Count by the values of a column: all corrections, answers called right, reviewed and accepted ones."""

    def number(condition: Any) -> Any:
        return func.sum(case((condition, 1), else_=0))

    counts = (
        func.count(),
        number(Correction.correct),
        number(Correction.state != "pending"),
        number(Correction.state == "accepted"),
    )
    query = select(column, *counts).where(*only).group_by(column)
    names = ("all", "right", "reviewed", "accepted")
    return {str(value): dict(zip(names, map(int, found), strict=True)) for value, *found in session.execute(query)}


def _agreed(counts: dict[str, int]) -> dict[str, Any]:
    return {
        "players_agreed": _share(counts["right"], counts["all"]),
        "reviewers_agreed": _share(counts["accepted"], counts["reviewed"]),
    }


def _conditions(state: str | None, model: str | None) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if state is not None:
        if state not in STATES:
            raise unknown("state", state, STATES, option="--state")
        found.append(Correction.state == state)
    if model is not None:
        found.append(Correction.model == model)
    return found


def _get(session: Session, number: int, *, lock: bool = False) -> Correction:
    row = session.get(Correction, number, with_for_update=lock)
    if row is None:
        raise NotFoundError(
            f"there is no correction {number}", hint="`inksight corrections list` and GET /v1/corrections list them."
        )
    return row


def _no_label(label: str, classes: Collection[str]) -> UsageError:
    error = unknown("label", label, classes)
    return UsageError(error.message, hint=error.hint)


def _share(count: int, total: int) -> dict[str, Any] | None:
    from inksight.evaluation.intervals import wilson_one

    if total == 0:
        return None
    low, high = wilson_one(count, total)
    return {"share": count / total, "low": low, "high": high, "n": total}
