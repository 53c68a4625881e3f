"""Leaderboards: the best finished sessions of today, this week (from Monday) and all time, in UTC.

Pictionary has one for each model, since a better one is easier to draw for; Eye vs AI has one for each difficulty.

A name is what a player types: up to 20 characters of any script, without control or direction marks. It is text
wherever it is shown, never markup.
"""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from sqlalchemy import func, select

from inksight.errors import ConflictError, NotFoundError, UsageError

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

    from inksight.registry.tables import Score
    from inksight.serving.storage import Storage

ROUNDS = {"pictionary": 6, "eye": 10}
"""The games with a leaderboard, those with a clock, and their rounds: more of them would be worth more points."""

NAME_LENGTH = 20
LENGTH = 20

Period = Literal["day", "week", "all"]


def clean_name(name: str) -> str:
    """Return a name fit to be shown; raises UsageError when nothing is left or it is too long."""
    # Composed first, so that an accent does not count as a character of its own; category C are controls, direction
    # marks and private signs, which could turn a neighbour's line around.
    kept = "".join(sign for sign in unicodedata.normalize("NFC", name) if unicodedata.category(sign)[0] != "C")
    words = " ".join(kept.split())
    if not words:
        raise UsageError("the name is empty", hint=f"Give 1 to {NAME_LENGTH} characters.")
    if len(words) > NAME_LENGTH:
        raise UsageError(f"the name has {len(words)} characters", hint=f"Give 1 to {NAME_LENGTH} characters.")
    return words


def since(period: Period, moment: datetime) -> datetime | None:
    """Return when a period began: midnight, Monday's midnight (both UTC), or None."""
    if period == "all":
        return None
    midnight = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight if period == "day" else midnight - timedelta(days=midnight.weekday())


def best(storage: Storage, game: str, level: str, model: str | None, period: Period) -> list[Score]:
    """Return the best scores of a period, at most LENGTH; the earlier of two equal ones is first. No model: of all."""
    table = storage.tables.Score
    query = select(table).where(*_board(table, game, level, model, since(period, datetime.now(UTC))))
    query = query.order_by(table.score.desc(), table.at, table.id).limit(LENGTH)
    with storage.database.read() as session:
        return list(session.scalars(query))


def enter(storage: Storage, session_id: str, name: str) -> tuple[Score, dict[Period, int]]:
    """Write a finished session's score under a name; return it with its rank in each period.

    Raises NotFoundError, or ConflictError when the session goes on, has no leaderboard, is longer or shorter than the
    others on it, or is on it already.
    """
    tables = storage.tables
    name = clean_name(name)
    with storage.database.write() as session:
        game = session.get(tables.GameSession, session_id, with_for_update=True)
        if game is None:
            raise NotFoundError(f"there is no game {session_id!r}", hint="POST /v1/games starts one.")
        if game.game not in ROUNDS:
            raise ConflictError(f"{game.game} has no leaderboard", hint=f"There is one for {' and '.join(ROUNDS)}.")
        if game.rounds != ROUNDS[game.game]:
            raise ConflictError(
                f"the leaderboard is for games of {ROUNDS[game.game]} rounds, this one has {game.rounds}",
                hint='Start one without saying "rounds".',
            )
        if game.state != "done":
            raise ConflictError("this game goes on", hint="Play its rounds, or end it, first.")
        if session.scalar(select(tables.Score.id).where(tables.Score.session_id == session_id)) is not None:
            raise ConflictError("this game is on the leaderboard already", hint="Play another one.")
        row: Score = tables.Score(session_id=session_id, game=game.game, level=game.level, name=name, score=game.score)
        row.model, row.at = game.model, datetime.now(UTC)
        session.add(row)
        session.flush()
        model = game.model if game.game == "pictionary" else None
        ranks: dict[Period, int] = {}
        for period in ("day", "week", "all"):
            board = _board(tables.Score, game.game, game.level, model, since(period, row.at))
            query = select(func.count()).where(*board, tables.Score.score > game.score)
            ranks[period] = int(session.scalar(query) or 0) + 1
    return row, ranks


def _board(
    table: type[Score], game: str, level: str, model: str | None, begin: datetime | None
) -> list[ColumnElement[bool]]:
    """Return what is true of the lines of one leaderboard; those of an unknown model are on every model's."""
    wanted = [table.game == game, table.level == level]
    if model is not None:
        wanted.append(table.model.in_(("", model)))
    if begin is not None:
        wanted.append(table.at >= begin)
    return wanted
