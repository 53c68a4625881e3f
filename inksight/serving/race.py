"""Races over WebSocket: who sits at which table, whose drawings are judged, what everybody is told.

A player's page says, as JSON texts:

    {"type": "join", "name": "Ada", "token": null}                 first; with the token of an earlier welcome: again
    {"type": "start"}                                              the host begins a round
    {"type": "strokes", "round": 3, "strokes": [[[x..], [y..]]]}   the drawing so far
    {"type": "leave"}                                              gives the seat up

and hears `welcome` (with its token), `room` (all that everybody may know, whenever that changed), `judged` (what which
version of the model sees in its drawing) and `error` (the one error shape). What ends a connection is its close code
less 4000, read as an HTTP status; 4001 means that the same player came in from elsewhere.

The server draws the word, keeps time and judges with its live model. A slow page misses views of the room, never the
newest; a page that talks too fast is slowed down. A database that is away costs the record of a round, not the race.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

import orjson
from sqlalchemy.exc import SQLAlchemyError
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from inksight.errors import ConflictError, InksightError, UsageError
from inksight.serving.errors import RateLimitedError, SlowBodyError, TooLargeError
from inksight.serving.games import Question, Result, cut
from inksight.serving.inputs import StrokeInput, read_strokes
from inksight.serving.logs import log
from inksight.serving.rooms import MOST_PLAYERS, SECONDS, Guess, Outcome, Player, Room, Rooms

if TYPE_CHECKING:
    from inksight.serving.games import Games
    from inksight.serving.journal import Journal
    from inksight.serving.live import LiveModel
    from inksight.serving.metrics import Metrics
    from inksight.serving.predictor import Predictor

MESSAGE_BYTES = 65_536
"""Largest message of a page; simplified strokes take a twentieth of it."""

RATE, BURST = 15.0, 30.0
"""Messages a second of one page, and at once; it is made to wait for more."""

PACE = 0.08
"""Seconds between two views of the room for one page: eight pens make many changes."""

JOIN_SECONDS = 10.0
TABLE_SOCKETS = 3 * MOST_PLAYERS
"""Most connections of one room: pages that have not joined yet count too."""

SHOWN = 3

TAKEN_OVER = 4001

_rng = random.SystemRandom()


@dataclass(eq=False)
class Seat:
    """A player's page."""

    socket: WebSocket
    player: Player
    news: asyncio.Event = field(default_factory=asyncio.Event)
    teller: asyncio.Task[None] | None = None


@dataclass(eq=False)
class Table:
    """A room with the pages of its players."""

    room: Room
    seats: dict[int, Seat] = field(default_factory=dict)
    sockets: int = 0
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    saved: int = 0

    def tell(self) -> None:
        """Let everybody hear how the room is now."""
        self.wake.set()
        for seat in self.seats.values():
            seat.news.set()


class Race:
    """All the tables of this process; used from its event loop."""

    def __init__(self, predictor: Predictor, journal: Journal, games: Games, metrics: Metrics, *, workers: int) -> None:
        self.rooms = Rooms(time.monotonic)
        self._predictor = predictor
        self._journal = journal
        self._games = games
        self._metrics = metrics
        self._workers = workers
        self._tables: dict[str, Table] = {}
        self._drivers: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.Task[None]] = set()

    def open(self, model: LiveModel) -> Room:
        """Make a room; raises ConflictError where it would be out of the other workers' sight."""
        self.check()
        room = self.rooms.open(model.name)
        table = self._tables[room.code] = Table(room)
        _run(self._drive(table), self._drivers)
        return room

    def find(self, code: str) -> Room:
        """Return a room; raises NotFoundError or ConflictError."""
        self.check()
        return self.rooms.find(code)

    def check(self) -> None:
        """Raise ConflictError where rooms cannot be: their players would meet different workers."""
        if self._workers > 1:
            raise ConflictError(
                "races need a service with one worker", hint="inksight serve --workers 1; rooms are in its memory."
            )

    async def stop(self) -> None:
        """Stop the rooms' clocks and let the rounds that ended be written."""
        for driver in self._drivers:
            driver.cancel()
        await asyncio.gather(*self._drivers, *self._writers, return_exceptions=True)

    async def play(self, socket: WebSocket, code: str) -> None:
        """Serve one accepted connection until it ends."""
        try:
            table = self._tables[self.find(code).code]
            if table.sockets >= TABLE_SOCKETS:
                raise RateLimitedError("too many connections to this room", hint="Close other pages of it.")
            table.sockets += 1
            try:
                await self._play(socket, table)
            finally:
                table.sockets -= 1
        except WebSocketDisconnect:
            pass
        except InksightError as error:
            with suppress(WebSocketDisconnect):
                await _say(socket, _error(error))
                await socket.close(4000 + error.http_status)

    async def _play(self, socket: WebSocket, table: Table) -> None:
        seat = await self._seat(socket, table)
        player = seat.player
        try:
            await _say(socket, {"type": "welcome", "player": player.id, "name": player.name, "token": player.token})
            seat.teller = asyncio.create_task(self._tell(table, seat))
            table.tell()
            await self._listen(table, seat)
        finally:
            if seat.teller is not None:
                seat.teller.cancel()
            if table.seats.get(player.id) is seat:
                del table.seats[player.id]
                table.room.drop(player, self.rooms.clock())
                table.tell()

    async def _seat(self, socket: WebSocket, table: Table) -> Seat:
        """Wait for the page to say who it is."""
        try:
            async with asyncio.timeout(JOIN_SECONDS):
                said = await _hear(socket)
        except TimeoutError:
            raise SlowBodyError("nobody joined", hint='The first message is {"type": "join", "name": ...}.') from None
        name, token = said.get("name", ""), said.get("token")
        if said.get("type") != "join" or not isinstance(name, str) or not isinstance(token, str | None):
            raise UsageError("the first message is no join", hint='Send {"type": "join", "name": ..., "token": null}.')
        self.find(table.room.code)  # it may have been removed meanwhile
        player = table.room.join(name, token, self.rooms.clock())
        seat = Seat(socket, player)
        before, table.seats[player.id] = table.seats.get(player.id), seat
        if before is not None:
            if before.teller is not None:
                before.teller.cancel()
            with suppress(WebSocketDisconnect):
                await before.socket.close(TAKEN_OVER)
        return seat

    async def _listen(self, table: Table, seat: Seat) -> None:
        tokens, then = BURST, time.monotonic()
        while table.seats.get(seat.player.id) is seat:
            said = await _hear(seat.socket)
            now = time.monotonic()
            tokens, then = min(BURST, tokens + (now - then) * RATE) - 1, now
            if tokens < 0:
                # Nothing more is read meanwhile, so a page that floods waits at its own end.
                await asyncio.sleep(-tokens / RATE)
            try:
                if await self._obey(table, seat, said):
                    return
            except InksightError as error:
                await _say(seat.socket, _error(error))

    async def _obey(self, table: Table, seat: Seat, said: dict[str, Any]) -> bool:
        """Do what a page asks; return whether that was its last wish."""
        room, player = table.room, seat.player
        match said.get("type"):
            case "start":
                model = self._predictor.models.get(room.model)
                room.start(player, model.classes, _rng, self.rooms.clock())
                table.tell()
            case "strokes":
                await _say(seat.socket, await self._judge(table, player, said))
            case "leave":
                del table.seats[player.id]
                room.leave(player, self.rooms.clock())
                table.tell()
                await seat.socket.close()
                return True
            case other:
                raise UsageError(f"unknown message {str(other)[:20]!r}", hint="Send start, strokes or leave.")
        return False

    async def _judge(self, table: Table, player: Player, said: dict[str, Any]) -> dict[str, Any]:
        room, number = table.room, said.get("round")
        if not isinstance(number, int):
            raise UsageError('"round" must be a number', hint="The room's view has the number of its round.")
        source = read_strokes(said.get("strokes"))
        if number != room.number or not room.takes_drawings(self.rooms.clock()):
            raise ConflictError("this round has ended", hint="Wait for the next one.")
        began = time.perf_counter()
        model = self._predictor.models.get(room.model)
        shown: list[Any] = []
        if isinstance(source, StrokeInput):
            # What is judged is what the others are shown at the end.
            source = await self._predictor.simplified(source)
            shown = cut(source.strokes)
        answer = await self._predictor.answer(source, model)
        self._metrics.predicted(model, source.kind, answer.unsure)
        self._journal.record(answer, round((time.perf_counter() - began) * 1000, 3), {"game": "race"})
        [(label, share), *_] = ranked = answer.ranked(SHOWN)
        guess = Guess(label, share, answer.unsure)
        won = room.judged(player, guess, shown, number, self.rooms.clock())
        table.tell()
        return {
            "type": "judged",
            "round": number,
            "model": {"name": model.name, "version": model.version},
            "predictions": [{"label": name, "probability": value} for name, value in ranked],
            "unsure": answer.unsure,
            "won": won,
        }

    async def _tell(self, table: Table, seat: Seat) -> None:
        with suppress(WebSocketDisconnect):
            while True:
                await seat.news.wait()
                seat.news.clear()
                await _say(seat.socket, {"type": "room", **table.room.view(self.rooms.clock())})
                await asyncio.sleep(PACE)

    async def _drive(self, table: Table) -> None:
        """Keep a room's time until everybody has left it."""
        room = table.room
        while not room.deserted(self.rooms.clock()):
            due = 1.0 if room.next_at is None else max(0.0, min(1.0, room.next_at - self.rooms.clock()))
            with suppress(TimeoutError):
                await asyncio.wait_for(table.wake.wait(), due)
            table.wake.clear()
            if room.tick(self.rooms.clock()):
                table.tell()
            if room.outcome is not None and room.outcome.number > table.saved:
                table.saved = room.outcome.number
                _run(self._save(room, room.outcome, _results(room.outcome)), self._writers)
        self.rooms.sweep()
        del self._tables[room.code]

    async def _save(self, room: Room, outcome: Outcome, results: dict[str, tuple[str, Result]]) -> None:
        question = Question(outcome.word, SECONDS)
        try:
            model = self._predictor.models.get(room.model)
            await asyncio.to_thread(self._games.record, "race", model, outcome.number, question, results)
        except (InksightError, SQLAlchemyError) as error:
            log("a race's round was not written", level=logging.WARNING, error=error, room=room.code)


def _run(work: Coroutine[Any, Any, None], tasks: set[asyncio.Task[None]]) -> None:
    """Run something beside everything else; the loop itself would let go of it."""
    task = asyncio.create_task(work)
    tasks.add(task)
    task.add_done_callback(tasks.discard)


def _results(outcome: Outcome) -> dict[str, tuple[str, Result]]:
    results = {}
    for player in outcome.players:
        won, guess = player is outcome.winner, player.guess
        label, share = (None, None) if guess is None else (guess.label, guess.share)
        kept = {"strokes": player.drawing}
        result = Result(won=won, took=outcome.took, points=int(won), guess=label, confidence=share, input=kept)
        results[player.session] = (player.name, result)
    return results


async def _hear(socket: WebSocket) -> dict[str, Any]:
    """Return the next message; raises what ends the connection."""
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1000))
    text = message.get("text")
    if text is None:
        _refuse("a message is not text")
    if len(text) > MESSAGE_BYTES:
        raise TooLargeError("a message is too large", hint=f"At most {MESSAGE_BYTES:,} bytes.")
    try:
        said = orjson.loads(text)
    except orjson.JSONDecodeError:
        _refuse("a message is not JSON")
    if not isinstance(said, dict):
        _refuse("a message is not a JSON object")
    return said


def _refuse(message: str) -> NoReturn:
    raise UsageError(message, hint='Send JSON objects with a "type".')


async def _say(socket: WebSocket, message: dict[str, Any]) -> None:
    if socket.application_state is not WebSocketState.CONNECTED:  # the player came in elsewhere meanwhile
        raise WebSocketDisconnect(TAKEN_OVER)
    await socket.send_text(orjson.dumps(message).decode())


def _error(error: InksightError) -> dict[str, Any]:
    return {"type": "error", "status": error.http_status, **error.as_dict()}
