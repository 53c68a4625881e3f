"""Eye vs AI: who sees better? The server picks, keeps time, and binds the machine to its answer beforehand.

A right answer gives the player 100 points and up to 50 more for the time that is left; the machine, which needs none,
gets 100.
"""

from __future__ import annotations

import asyncio
import random
from typing import Literal

from fastapi import APIRouter, Request
from pydantic import Field

from inksight.errors import ConflictError, UsageError
from inksight.serving.eye import LEVELS, choose_labels, commit, data_url, model_input
from inksight.serving.games import GRACE, Question, Result
from inksight.serving.leaderboard import ROUNDS
from inksight.serving.routes.games import Id, Standing, open_round, standing
from inksight.serving.schemas import ModelName, Shape
from inksight.serving.services import services

router = APIRouter(prefix="/v1", tags=["games"])

_rng = random.SystemRandom()


class NewEyeGame(Shape):
    """How hard, and how many rounds."""

    level: Literal["easy", "normal", "hard"] = "normal"
    rounds: int = Field(default=ROUNDS["eye"], ge=1, le=20, description="The leaderboard wants the default.")


class PictureRound(Shape):
    """A round that has just begun. `commitment` is the SHA-256 of `salt:label`, the machine's answer."""

    id: str
    number: int
    image: str = Field(description="A PNG picture as a data URL.")
    options: list[str]
    seconds: float
    commitment: str = Field(pattern="^[0-9a-f]{64}$")


class Choice(Shape):
    """The player's answer; null when the time is up."""

    label: str | None = Field(max_length=200, examples=["cat"])


class Revealed(Shape):
    """How the round ended, and what the machine was bound to."""

    correct: bool
    late: bool
    truth: str
    machine: str
    machine_correct: bool
    model: ModelName = Field(description="The version that was the machine.")
    salt: str
    took: float
    points: int
    standing: Standing


@router.post("/eye/games", status_code=201)
async def start(request: Request, wanted: NewEyeGame) -> Standing:
    """Start a game of man against machine."""
    shared = services(request)
    shared.models.get()
    model = await asyncio.to_thread(shared.pictures.judge, shared.models.all())
    return standing(await asyncio.to_thread(shared.games.begin, "eye", wanted.level, model, wanted.rounds))


@router.post("/eye/games/{session_id}/rounds", status_code=201)
async def next_round(request: Request, session_id: Id) -> PictureRound:
    """Begin the next round: the machine has answered, the clock runs. A round that is still open is lost."""
    shared = services(request)
    game, rounds = await asyncio.to_thread(shared.games.session, session_id)
    if game.game != "eye":
        raise ConflictError(f"this is a game of {game.game}", hint="POST /v1/games/{session_id}/rounds")
    # Another version may answer by now, or other pictures be played with: the game goes on only where both still fit.
    model = await asyncio.to_thread(shared.pictures.judge, [shared.models.get(game.model)])
    asked = [int((row.spec or {}).get("picture", -1)) for row in rounds]
    index, image, truth = await asyncio.to_thread(shared.pictures.pick, asked, _rng)
    dataset = shared.pictures.open()
    shown = await asyncio.to_thread(model_input, image, model)
    probabilities = await shared.predictor.judge_image(shown, model)
    known = dict(zip(model.classes, map(float, probabilities), strict=True))
    level = LEVELS[game.level]
    options = choose_labels(truth, {name: known[name] for name in dataset.classes}, level.likely, _rng)
    machine = max(options, key=lambda name: known[name])
    salt, bound = commit(machine)
    spec = {"picture": index, "options": options, "machine": machine, "version": model.version, "salt": salt}
    begun = await asyncio.to_thread(shared.games.add_round, session_id, Question(truth, level.seconds, spec))
    url = await asyncio.to_thread(data_url, image, drawing=model.draws)
    return PictureRound(id=begun.id, number=begun.number, image=url, options=options, seconds=level.seconds,
                        commitment=bound)  # fmt: skip


@router.post("/rounds/{round_id}/answer")
async def answer(request: Request, round_id: Id, choice: Choice) -> Revealed:
    """Take the player's label, and reveal the truth and the machine's answer."""
    shared = services(request)
    begun = await open_round(shared, round_id)
    spec, truth, limit = begun.question.spec, begun.question.answer, begun.question.seconds
    if begun.game != "eye" or spec is None:
        raise ConflictError(f"this is a round of {begun.game}", hint="It is answered by a drawing.")
    if choice.label is not None and choice.label not in spec["options"]:
        raise UsageError(f"{choice.label!r} is none of the labels", hint=f"Choose from: {', '.join(spec['options'])}")
    elapsed = begun.elapsed
    late = elapsed > limit + GRACE
    correct = not late and choice.label == truth
    took = min(elapsed, limit)
    points = 100 + round(50 * (1 - took / limit)) if correct else 0
    machine_correct = spec["machine"] == truth
    result = Result(won=correct, took=took, points=points, machine_points=100 * machine_correct, guess=choice.label)
    game = await asyncio.to_thread(shared.games.end, begun, result)
    model = ModelName(name=begun.model, version=spec.get("version", game.version))  # older rounds do not tell theirs
    return Revealed(correct=correct, late=late, truth=truth, machine=spec["machine"], machine_correct=machine_correct,
                    model=model, salt=spec["salt"], took=round(took, 3), points=points,
                    standing=standing(game))  # fmt: skip
