"""Games: sessions, rounds, leaderboards; Pictionary and its infinite mode. (Eye vs AI: eye.py, race: race.py.)

Pictionary gives 100 points for a drawing that the machine recognises in time, up to 100 more for the time that is left,
and 20 for each round won in a row before it (at most 100). The infinite mode counts recognised drawings.
"""

from __future__ import annotations

import asyncio
import random
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from pydantic import Field

from inksight.errors import ConflictError, UsageError
from inksight.serving import leaderboard
from inksight.serving.experiments import Dealt
from inksight.serving.games import GRACE, Question, Result, Round, cut
from inksight.serving.inputs import Blank, StrokeInput, read_json, read_strokes
from inksight.serving.journal import kept_input
from inksight.serving.live import LiveModel
from inksight.serving.routes.predict import judge
from inksight.serving.schemas import STROKES, ModelName, Prediction, Shape
from inksight.serving.services import Services, services
from inksight.serving.words import any_word, class_accuracy, weak_word

if TYPE_CHECKING:
    from inksight.registry.tables import GameRound, GameSession
    from inksight.serving.predictor import Answer

router = APIRouter(prefix="/v1", tags=["games"])

SECONDS = 20.0
INFINITE_SECONDS = 600.0
"""The infinite mode has no clock to play against; a round that was left is over after this long."""

SURE = 0.85
"""The infinite mode wants more than a first guess: what it recognises this surely is saved for review."""

SHOWN = 3
"""Guesses of the machine in an answer."""

ROUNDS = {"pictionary": leaderboard.ROUNDS["pictionary"], "infinite": 0}

_rng = random.SystemRandom()

Id = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{8,36}$", description="As the server gave it.")]


class NewGame(Shape):
    """Which game to start. The infinite mode has no number of rounds."""

    game: Literal["pictionary", "infinite"] = Field(examples=["pictionary"])
    rounds: int | None = Field(default=None, ge=1, le=20, description="By default 6, as the leaderboard wants it.")
    model: str | None = Field(default=None, description="By default the first that judges drawings.")


class Standing(Shape):
    """A session and its score. Its id lets whoever knows it play on."""

    id: str
    game: str
    level: str
    model: ModelName = Field(description="As it was when the session began.")
    rounds: int = Field(description="0: until it is ended.")
    score: int
    machine_score: int
    streak: int
    best_streak: int
    state: Literal["playing", "done"]


class WordRound(Shape):
    """A round that has just begun: draw this word."""

    id: str
    number: int
    word: str = Field(examples=["umbrella"])
    seconds: float | None = Field(description="The time that there is; null: no clock.")
    accuracy: float | None = Field(description="Infinite: how often the model recognises such drawings, 0..1.")


class Judged(Shape):
    """What the machine says about the drawing so far, and whether that decided the round."""

    state: Literal["open", "won", "lost"]
    model: ModelName = Field(description="The version that judged.")
    predictions: list[Prediction]
    unsure: bool
    left: float | None = Field(description="Seconds left by the server's clock.")
    took: float | None = Field(description="Seconds until the round ended.")
    points: int
    saved: bool = Field(description="The drawing was kept for review.")
    standing: Standing | None = Field(description="The score, when the round has ended.")


class RoundItem(Shape):
    """A round that was played; the answer of an open one is not told."""

    number: int
    answer: str | None
    state: Literal["open", "won", "lost"]
    took: float | None
    points: int
    guess: str | None
    confidence: float | None
    strokes: list[Any] | None = Field(description="Simplified; only where the server keeps drawings.")


class Summary(Standing):
    """A session with its rounds."""

    played: list[RoundItem]


class Entry(Shape):
    """A name for the leaderboard."""

    name: str = Field(min_length=1, max_length=200, examples=["Ada"])


class Entered(Shape):
    """A line of the leaderboard and its rank in each period."""

    name: str
    score: int
    ranks: dict[leaderboard.Period, int]


class ScoreItem(Shape):
    """A line of a leaderboard."""

    name: str
    score: int
    at: datetime


class Leaderboard(Shape):
    """The best sessions of a period, the best first."""

    scores: list[ScoreItem]


GUESS_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["strokes"],
                    "properties": {
                        "strokes": STROKES,
                        "last": {"type": "boolean", "description": "The player stops: this decides the round."},
                    },
                }
            }
        },
    }
}


@router.post("/games", status_code=201)
async def start(request: Request, wanted: NewGame) -> Standing:
    """Start a game."""
    shared = services(request)
    rounds = ROUNDS[wanted.game] if wanted.rounds is None or wanted.game == "infinite" else wanted.rounds
    game = await asyncio.to_thread(shared.games.begin, wanted.game, "", drawing_model(shared, wanted.model), rounds)
    return standing(game)


@router.get("/games/{session_id}")
async def summary(request: Request, session_id: Id) -> Summary:
    """Return a session with its score and rounds."""
    game, rounds = await asyncio.to_thread(services(request).games.session, session_id, drawings=True)
    return Summary(**standing(game).model_dump(), played=[_item(row) for row in rounds])


@router.post("/games/{session_id}/end")
async def end(request: Request, session_id: Id) -> Standing:
    """End a session; an open round is lost."""
    return standing(await asyncio.to_thread(services(request).games.finish, session_id))


@router.post("/games/{session_id}/rounds", status_code=201)
async def next_round(request: Request, session_id: Id) -> WordRound:
    """Begin the next round: the server's clock runs from now. A round that is still open is lost."""
    shared = services(request)
    game, rounds = await asyncio.to_thread(shared.games.session, session_id)
    if game.game not in ROUNDS:
        raise ConflictError(f"this is a game of {game.game}", hint="It has its own route for rounds.")
    model = shared.models.get(game.model)
    asked = [row.answer for row in rounds]
    accuracy = None
    if game.game == "infinite":
        known = await asyncio.to_thread(class_accuracy, shared.storage, model)
        word = weak_word(known, asked, _rng)
        accuracy = round(known[word], 4)
    else:
        word = any_word(model.classes, asked, _rng)
    seconds = INFINITE_SECONDS if game.game == "infinite" else SECONDS
    begun = await asyncio.to_thread(shared.games.add_round, session_id, Question(word, seconds))
    clock = None if game.game == "infinite" else seconds
    return WordRound(id=begun.id, number=begun.number, word=word, seconds=clock, accuracy=accuracy)


@router.post("/rounds/{round_id}/guess", openapi_extra=GUESS_BODY)
async def guess(request: Request, round_id: Id) -> Judged:
    """Judge the drawing so far; the round ends when the machine sees the word, the time is up, or `last` is true."""
    shared = services(request)
    body = await read_json(request)
    if "strokes" not in body:
        raise UsageError('"strokes" is missing', hint='Send {"strokes": [[[x, ...], [y, ...]], ...]}.')
    source = read_strokes(body["strokes"])
    last = body.get("last", False)
    if not isinstance(last, bool):
        raise UsageError('"last" must be true or false')
    begun = await open_round(shared, round_id)
    if begun.game not in ROUNDS:
        raise ConflictError(f"this is a round of {begun.game}", hint="It is answered by a label.")
    # The time at which the drawing is here counts, not the time at which it has been judged.
    took, limit = begun.elapsed, begun.question.seconds
    answer = await judge(request, shared, source, Dealt(shared.models.get(begun.model), {"game": begun.game}))
    [(label, share)] = answer.ranked(1)
    infinite = begun.game == "infinite"
    in_time = took <= limit + GRACE
    sure = share >= SURE if infinite else not answer.unsure
    won = in_time and sure and label == begun.question.answer and not isinstance(source, Blank)
    took = min(took, limit)
    seen: dict[str, Any] = {
        "model": ModelName(name=answer.model.name, version=answer.model.version),
        "predictions": [Prediction(label=name, probability=value) for name, value in answer.ranked(SHOWN)],
        "unsure": answer.unsure,
    }
    if not (won or last or took >= limit):
        left = None if infinite else round(limit - took, 3)
        return Judged(state="open", **seen, left=left, took=None, points=0, saved=False, standing=None)
    points = (1 if infinite else points_for(took, begun)) if won else 0
    kept = {"strokes": await _kept(shared, source)}
    result = Result(won=won, took=took, points=points, guess=label, confidence=share, input=kept)
    game = await asyncio.to_thread(shared.games.end, begun, result)
    saved = infinite and won
    if saved:
        await asyncio.to_thread(_save, shared, answer, label, share)
    return Judged(state="won" if won else "lost", **seen, left=0.0, took=round(took, 3), points=points, saved=saved,
                  standing=standing(game))  # fmt: skip


@router.post("/games/{session_id}/score", status_code=201)
async def enter(request: Request, session_id: Id, entry: Entry) -> Entered:
    """Put a finished session on the leaderboard, once."""
    row, ranks = await asyncio.to_thread(leaderboard.enter, services(request).storage, session_id, entry.name)
    return Entered(name=row.name, score=row.score, ranks=ranks)


@router.get("/leaderboard")
async def scores(
    request: Request,
    game: Literal["pictionary", "eye"],
    level: Annotated[Literal["", "easy", "normal", "hard"], Query(description="Eye vs AI has one board each.")] = "",
    period: leaderboard.Period = "all",
    model: Annotated[str | None, Query(max_length=100, description="By default the scores against all models.")] = None,
) -> Leaderboard:
    """List the best sessions of today, this week or all time (UTC)."""
    rows = await asyncio.to_thread(leaderboard.best, services(request).storage, game, level, model, period)
    return Leaderboard(scores=[ScoreItem(name=row.name, score=row.score, at=row.at) for row in rows])


def drawing_model(shared: Services, name: str | None) -> LiveModel:
    """Return the model of that name, or the first that judges drawings.

    Raises NotFoundError for an unknown name, ConflictError for a model of photos or when none for drawings is served.
    """
    wanted = shared.models.get(name)
    drawing = [model for model in shared.models.all() if model.draws]
    if not drawing:
        raise ConflictError("no model for drawings is served here", hint="inksight serve doodles")
    if name is None:
        return drawing[0]
    if not wanted.draws:
        names = ", ".join(model.name for model in drawing)
        raise ConflictError(f"model {wanted.name!r} judges photos", hint=f"For drawings there are: {names}.")
    return wanted


async def open_round(shared: Services, round_id: str) -> Round:
    """Return an open round; raises NotFoundError or ConflictError."""
    found = shared.games.known(round_id)
    return found if found is not None else await asyncio.to_thread(shared.games.round, round_id)


async def _kept(shared: Services, source: StrokeInput | Blank) -> list[Any]:
    """Return what a round keeps of a drawing: simplified and cut, as raw ones have up to 2 MB each."""
    if not shared.settings.keep_drawings:
        return []
    return cut((await shared.predictor.simplified(source) if isinstance(source, StrokeInput) else source).strokes)


def points_for(took: float, begun: Round) -> int:
    """Return the points for a drawing that was recognised after `took` seconds."""
    left = 1 - min(1.0, took / begun.question.seconds)
    return 100 + round(100 * left) + 20 * min(5, begun.streak)


def standing(game: GameSession) -> Standing:
    """Return a session as clients see it."""
    names = ("id", "game", "level", "rounds", "score", "machine_score", "streak", "best_streak", "state")
    facts = {name: getattr(game, name) for name in names}
    return Standing(**facts, model=ModelName(name=game.model, version=game.version))


def _item(row: GameRound) -> RoundItem:
    over = row.state != "open"
    return RoundItem(
        number=row.number, answer=row.answer if over else None, state=row.state, took=row.took, points=row.points,  # type: ignore[arg-type]
        guess=row.guess, confidence=row.confidence, strokes=(row.input or {}).get("strokes"),
    )  # fmt: skip


def _save(shared: Services, answer: Answer, label: str, share: float) -> None:
    """Keep a drawing of the infinite mode for review; its page says so before it begins."""
    tables = shared.storage.tables
    with shared.storage.database.write() as session:
        session.add(
            tables.Correction(
                prediction_id=answer.id, model=answer.model.name, version=answer.model.version, predicted=label,
                confidence=share, label=label, correct=True, input_kind=answer.kind, input_sha256=answer.input_hash,
                input=kept_input(answer), source="infinite",
            )
        )  # fmt: skip
