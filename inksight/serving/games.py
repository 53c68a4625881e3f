"""Games: sessions and rounds in the database, so that no client is believed about its score.

A session is known by an id that cannot be guessed; whoever has it plays on, on any worker process and after a restart.
A round begins and ends by this server's clock, is judged by this server's model, and ends once: what a client says
about time, points or results is never read. Sessions are deleted when they are as old as predictions may get
(--log-days).

Not guaranteed: that a person holds the pen; a program may send somebody else's drawing.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import defer

from inksight.errors import ConflictError, NotFoundError

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from inksight.registry.tables import GameRound, GameSession
    from inksight.serving.live import LiveModel
    from inksight.serving.storage import Storage
    from inksight.settings import ServeSettings

GRACE = 1.5
"""Seconds that a last answer may take to arrive; it counts as given at the limit."""

ENDLESS = 500
"""Rounds after which a game without an end ends."""

KEPT_POINTS = 1_000
"""Most points of a drawing that a game keeps or shows to others; a simplified one has about 50."""

KNOWN_ROUNDS = 5_000
"""Open rounds kept in memory, so that a live guess costs no query."""

PRUNE_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Question:
    """What a round asks: the answer, seconds to find it, and what was decided beforehand."""

    answer: str
    seconds: float
    spec: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """An open round: its question, and whose it is."""

    id: str
    session_id: str
    game: str
    model: str
    number: int
    question: Question
    started_at: datetime
    streak: int

    @property
    def elapsed(self) -> float:
        """Seconds since it began, by this server's clock."""
        return (datetime.now(UTC) - self.started_at).total_seconds()


@dataclass(frozen=True, slots=True)
class Result:
    """How a round ended. `points` and `machine_points` are added to the scores."""

    won: bool
    took: float
    points: int = 0
    machine_points: int = 0
    guess: str | None = None
    confidence: float | None = None
    input: dict[str, Any] | None = None


class Games:
    """Sessions and rounds of one workspace; every method but `known` asks the database and may block."""

    def __init__(self, storage: Storage, settings: ServeSettings) -> None:
        self._storage = storage
        self._settings = settings
        self._open: OrderedDict[str, Round] = OrderedDict()
        self._lock = threading.Lock()
        self._next_prune = 0.0

    def begin(self, game: str, level: str, model: LiveModel, rounds: int) -> GameSession:
        """Start a session of `rounds` rounds (0: without an end)."""
        self._prune()
        with self._storage.database.write() as session:
            row: GameSession = self._storage.tables.GameSession(
                id=secrets.token_urlsafe(18), game=game, level=level, model=model.name, version=model.version,
                rounds=rounds, score=0, machine_score=0, streak=0, best_streak=0,
            )  # fmt: skip
            session.add(row)
        return row

    def session(self, session_id: str, *, drawings: bool = False) -> tuple[GameSession, Sequence[GameRound]]:
        """Return a session and its rounds in order, without what was drawn if not asked for; raises NotFoundError."""
        table = self._storage.tables.GameRound
        rounds = select(table).where(table.session_id == session_id).order_by(table.number)
        with self._storage.database.read() as session:
            game = self._find(session, session_id)
            return game, session.scalars(rounds if drawings else rounds.options(defer(table.input))).all()

    def add_round(self, session_id: str, question: Question) -> Round:
        """Begin the next round now; one that is still open is lost. Raises ConflictError after the last one."""
        begun: Round | None = None
        with self._storage.database.write() as session:
            game = self._find(session, session_id, lock=True)
            self._give_up(session, game)
            table = self._storage.tables.GameRound
            played = session.scalar(select(func.count()).where(table.session_id == session_id)) or 0
            if game.state == "playing" and played < (game.rounds or ENDLESS):
                row: GameRound = table(
                    id=secrets.token_urlsafe(18), session_id=session_id, number=played + 1, answer=question.answer,
                    seconds=question.seconds, spec=question.spec, started_at=datetime.now(UTC),
                )  # fmt: skip
                session.add(row)
                begun = _round(game, row)
        # Raised only here: what was given up, and with it perhaps the end of the game, is written all the same.
        if begun is None:
            raise ConflictError("this game is over", hint="POST /v1/games starts another one.")
        self._remember(begun)
        return begun

    def known(self, round_id: str) -> Round | None:
        """Return an open round from memory, or None; never waits."""
        return self._open.get(round_id)

    def round(self, round_id: str) -> Round:
        """Return an open round; raises NotFoundError, or ConflictError when it has ended."""
        found = self.known(round_id)
        if found is not None:
            return found
        with self._storage.database.read() as session:
            row = session.get(self._storage.tables.GameRound, round_id)
            if row is None:
                raise NotFoundError(f"there is no round {round_id!r}", hint="POST /v1/games/{id}/rounds begins one.")
            if row.state != "open":
                raise _ended()
            begun = _round(self._find(session, row.session_id), row)
        self._remember(begun)
        return begun

    def end(self, begun: Round, result: Result) -> GameSession:
        """End a round and add it to its session's score; raises ConflictError when it has ended already."""
        with self._storage.database.write() as session:
            # The session first, as everywhere, so that two requests never wait for each other.
            game = self._find(session, begun.session_id, lock=True)
            row = session.get(self._storage.tables.GameRound, begun.id, populate_existing=True)
            if row is None or row.state != "open":
                self._forget(begun.id)
                raise _ended()
            for name, value in self._outcome(result).items():
                setattr(row, name, value)
            self._add_up(game, result)
            if row.number >= (game.rounds or ENDLESS):
                self._finish(game)
        self._forget(begun.id)
        return game

    def record(
        self, game: str, model: LiveModel, number: int, question: Question, results: Mapping[str, tuple[str, Result]]
    ) -> None:
        """Write a round that several played at once: for each session's id the player's name and result.

        A session begins with the first round that is written to it, and is never open: it can be read, not played.
        """
        self._prune()
        moment = datetime.now(UTC)
        tables = self._storage.tables
        with self._storage.database.write() as session:
            for session_id, (name, result) in results.items():
                row = session.get(tables.GameSession, session_id, with_for_update=True)
                if row is None:
                    row = tables.GameSession(
                        id=session_id, game=game, model=model.name, version=model.version, rounds=0, score=0,
                        machine_score=0, streak=0, best_streak=0, state="done", extra={"name": name},
                    )  # fmt: skip
                    session.add(row)
                    session.flush()
                row.rounds += 1
                row.finished_at = moment
                self._add_up(row, result)
                session.add(
                    tables.GameRound(
                        id=secrets.token_urlsafe(18), session_id=session_id, number=number, answer=question.answer,
                        seconds=question.seconds, started_at=moment - timedelta(seconds=result.took),
                        **self._outcome(result),
                    )
                )  # fmt: skip

    def _outcome(self, result: Result) -> dict[str, Any]:
        return {
            "state": "won" if result.won else "lost",
            "took": round(result.took, 3),
            "points": result.points,
            "guess": result.guess,
            "confidence": result.confidence,
            "input": result.input if self._settings.keep_drawings else None,
        }

    def _add_up(self, game: GameSession, result: Result) -> None:
        game.score += result.points
        game.machine_score += result.machine_points
        game.streak = game.streak + 1 if result.won else 0
        game.best_streak = max(game.best_streak, game.streak)

    def finish(self, session_id: str) -> GameSession:
        """End a session; the open round is lost. Ending it twice changes nothing."""
        with self._storage.database.write() as session:
            game = self._find(session, session_id, lock=True)
            self._give_up(session, game)
            if game.state == "playing":
                self._finish(game)
        return game

    def _finish(self, game: GameSession) -> None:
        game.state = "done"
        game.finished_at = datetime.now(UTC)

    def _give_up(self, session: Session, game: GameSession) -> None:
        table = self._storage.tables.GameRound
        for row in session.scalars(select(table).where(table.session_id == game.id, table.state == "open")):
            row.state = "lost"
            game.streak = 0
            self._forget(row.id)
            if row.number >= (game.rounds or ENDLESS):
                self._finish(game)

    def _find(self, session: Session, session_id: str, *, lock: bool = False) -> GameSession:
        game: GameSession | None = session.get(
            self._storage.tables.GameSession, session_id, with_for_update=lock or None
        )
        if game is None:
            raise NotFoundError(f"there is no game {session_id!r}", hint="POST /v1/games starts one.")
        return game

    def _remember(self, begun: Round) -> None:
        with self._lock:
            self._open[begun.id] = begun
            if len(self._open) > KNOWN_ROUNDS:
                self._open.popitem(last=False)

    def _forget(self, round_id: str) -> None:
        with self._lock:
            self._open.pop(round_id, None)

    def _prune(self) -> None:
        """Delete old sessions, at most once an hour; their lines on the leaderboard stay."""
        if not self._settings.log_days or time.monotonic() < self._next_prune:
            return
        self._next_prune = time.monotonic() + PRUNE_SECONDS
        tables = self._storage.tables
        oldest = datetime.now(UTC) - timedelta(days=self._settings.log_days)
        old = select(tables.GameSession.id).where(tables.GameSession.started_at < oldest)
        with self._storage.database.write() as session:
            session.execute(delete(tables.GameRound).where(tables.GameRound.session_id.in_(old)))
            session.execute(delete(tables.GameSession).where(tables.GameSession.started_at < oldest))


def cut(strokes: list[Any]) -> list[Any]:
    """Return the first KEPT_POINTS points of a drawing: a simplified one may be endless all the same."""
    kept: list[Any] = []
    room_left = KEPT_POINTS
    for stroke in strokes:
        kept.append([list(axis[:room_left]) for axis in stroke[:2]])
        room_left -= len(kept[-1][0])
        if room_left <= 0:
            break
    return kept


def _round(game: GameSession, row: GameRound) -> Round:
    question = Question(row.answer, row.seconds, row.spec)
    return Round(row.id, game.id, game.game, game.model, row.number, question, row.started_at, game.streak)


def _ended() -> ConflictError:
    return ConflictError("this round has ended", hint="POST /v1/games/{id}/rounds begins the next one.")
