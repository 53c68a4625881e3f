"""A race: up to eight players draw the same word, the first drawing that the machine recognises wins.

Rooms are plain state and rules: no clock, socket, model or database of their own. Whoever calls gives the time, in
seconds of any clock that only goes forward, and calls `tick` at `next_at` at the latest.

    lobby -> countdown -> drawing -> over -> countdown -> ...

Anybody who holds a player's token is that player: a page that is loaded again takes its seat back, with its score. A
player who is away keeps the seat for a minute; the round goes on meanwhile. Rooms live in the memory of one process.

Not guaranteed: that two drawings that are recognised within a few milliseconds end in the order in which the pens made
them; the one that was judged first wins.
"""

from __future__ import annotations

import hmac
import random
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from inksight.errors import ConflictError, NotFoundError, UnavailableError
from inksight.serving.leaderboard import NAME_LENGTH, clean_name
from inksight.serving.words import any_word

MOST_PLAYERS = 8
MOST_ROOMS = 200
COUNTDOWN = 3.0
SECONDS = 20.0

SEAT_SECONDS = 60.0
"""A player who is away for longer loses the seat."""

EMPTY_SECONDS = 60.0
"""A room in which nobody has been for this long is removed."""

_CODE_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"
"""Without letters that look like others, for those who type a code from somebody else's screen."""

CODE_LENGTH = 8

Phase = Literal["lobby", "countdown", "drawing", "over"]


class RoomFullError(ConflictError):
    """All seats of a room are taken."""

    code = "room_full"


@dataclass(frozen=True, slots=True)
class Guess:
    """What the machine sees in a player's drawing."""

    label: str
    share: float
    unsure: bool = False


@dataclass(slots=True)
class Player:
    """Somebody at the table. `id` is what the others see; `token` is theirs alone, `session` only the database's."""

    id: int
    name: str
    token: str = field(default_factory=lambda: secrets.token_urlsafe(18))
    session: str = field(default_factory=lambda: secrets.token_urlsafe(18))
    score: int = 0
    away_since: float | None = None
    guess: Guess | None = None
    drawing: list[Any] = field(default_factory=list)

    @property
    def here(self) -> bool:
        """Whether a page of theirs is connected."""
        return self.away_since is None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a round ended: who won (None: nobody), after how many seconds, and who took part."""

    number: int
    word: str
    winner: Player | None
    took: float
    players: tuple[Player, ...]


class Room:
    """One table. Every method takes the time `now`."""

    def __init__(self, code: str, model: str, now: float) -> None:
        self.code = code
        self.model = model
        self.players: list[Player] = []
        self.phase: Phase = "lobby"
        self.number = 0
        self.words: list[str] = []
        self.next_at: float | None = None
        self.outcome: Outcome | None = None
        self._began = 0.0
        self._last_id = 0
        self._empty_since: float | None = now

    @property
    def host(self) -> Player | None:
        """The one who may begin rounds: of those who are here, who came first."""
        return next((player for player in self.players if player.here), None)

    @property
    def full(self) -> bool:
        """Whether all seats are taken."""
        return len(self.players) >= MOST_PLAYERS

    def deserted(self, now: float) -> bool:
        """Whether nobody has been here for so long that the room may go."""
        return self._empty_since is not None and now - self._empty_since >= EMPTY_SECONDS

    def join(self, name: str, token: str | None, now: float) -> Player:
        """Take a seat, or, with its token, one's own again. Raises UsageError (name) or RoomFullError."""
        self._free_seats(now)
        known = None if token is None else self._holder(token)
        if known is None:
            name = clean_name(name)
            if self.full:
                raise RoomFullError(f"this room is full: {MOST_PLAYERS} play", hint="Open a room of your own.")
            self._last_id += 1
            known = Player(self._last_id, self._free_name(name))
            self.players.append(known)
        known.away_since = None
        self._empty_since = None
        return known

    def drop(self, player: Player, now: float) -> None:
        """Note that a player's page is gone; the seat is kept for SEAT_SECONDS."""
        player.away_since = now
        self._note_empty(now)

    def leave(self, player: Player, now: float) -> None:
        """Give a seat up."""
        if player in self.players:
            self.players.remove(player)
            player.away_since = now
        self._note_empty(now)

    def start(self, player: Player, classes: Sequence[str], rng: random.Random, now: float) -> None:
        """Begin the countdown to the next round. Raises ConflictError for anybody but the host, alone or too early."""
        if player is not self.host:
            raise ConflictError("only the host begins a round", hint="The host is the first in the list.")
        if self.phase not in ("lobby", "over"):
            raise ConflictError("a round is under way", hint="Wait for its end.")
        if sum(other.here for other in self.players) < 2:
            raise ConflictError("a race needs two players", hint="Send the link to somebody.")
        self.words.append(any_word(classes, self.words, rng))
        self.number += 1
        self.phase = "countdown"
        self.outcome = None
        for other in self.players:
            other.guess, other.drawing = None, []
        self.next_at = now + COUNTDOWN

    def judged(self, player: Player, guess: Guess, drawing: list[Any], asked_in: int, now: float) -> bool:
        """Note what the machine sees in a drawing made for round `asked_in`; return whether that won the round."""
        if not self.takes_drawings(now) or asked_in != self.number or player not in self.players:
            return False
        player.guess, player.drawing = guess, drawing
        if guess.unsure or guess.label != self.words[-1]:
            return False
        self._end(player, now)
        return True

    def takes_drawings(self, now: float) -> bool:
        """Whether a drawing counts now."""
        return self.phase == "drawing" and self.next_at is not None and now <= self.next_at

    def tick(self, now: float) -> bool:
        """Do what is due; return whether anything changed."""
        changed = self._free_seats(now)
        while self.next_at is not None and now >= self.next_at:
            changed = True
            if self.phase == "countdown":
                self.phase = "drawing"
                self._began = self.next_at
                self.next_at += SECONDS
            else:
                self._end(None, self.next_at)
        return changed

    def view(self, now: float) -> dict[str, Any]:
        """Return the room as all its players may see it: no token, and no word before the round has begun."""
        over = self.outcome
        winner = None if over is None else over.winner
        host = self.host
        return {
            "room": self.code,
            "model": self.model,
            "phase": self.phase,
            "number": self.number,
            "word": self.words[-1] if self.phase in ("drawing", "over") else None,
            "left": None if self.next_at is None else round(max(0.0, self.next_at - now), 3),
            "seconds": {"countdown": COUNTDOWN, "drawing": SECONDS}.get(self.phase),
            "host": None if host is None else host.id,
            "winner": None if winner is None else winner.id,
            "winner_name": None if winner is None else winner.name,  # who may have left meanwhile
            "took": None if over is None or winner is None else over.took,
            "players": [self._seat(player) for player in self.players],
        }

    def _seat(self, player: Player) -> dict[str, Any]:
        guess = player.guess
        return {
            "id": player.id,
            "name": player.name,
            "here": player.here,
            "score": player.score,
            "guess": None if guess is None or guess.unsure else guess.label,
            "share": None if guess is None else guess.share,
            "drawing": player.drawing if self.phase == "over" else None,
        }

    def _end(self, winner: Player | None, now: float) -> None:
        if winner is not None:
            winner.score += 1
        self.phase = "over"
        self.next_at = None
        took = round(now - self._began, 3)
        self.outcome = Outcome(self.number, self.words[-1], winner, took, tuple(self.players))

    def _free_seats(self, now: float) -> bool:
        kept = [
            player for player in self.players if player.away_since is None or now - player.away_since < SEAT_SECONDS
        ]
        changed = len(kept) < len(self.players)
        self.players = kept
        return changed

    def _holder(self, token: str) -> Player | None:
        found = None
        for player in self.players:
            # No early end: how long it takes tells nothing about the tokens.
            if hmac.compare_digest(player.token.encode(), token.encode()):
                found = player
        return found

    def _free_name(self, name: str) -> str:
        taken = {player.name for player in self.players}
        tried, number = name, 1
        while tried in taken:
            number += 1
            tried = f"{name[: NAME_LENGTH - 2]} {number}"
        return tried

    def _note_empty(self, now: float) -> None:
        if self.host is None and self._empty_since is None:
            self._empty_since = now


class Rooms:
    """The rooms of this process, by code."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self._rooms: dict[str, Room] = {}

    def __len__(self) -> int:
        return len(self._rooms)

    def open(self, model: str) -> Room:
        """Make a room; raises UnavailableError when there are MOST_ROOMS."""
        self.sweep()
        if len(self._rooms) >= MOST_ROOMS:
            raise UnavailableError(f"all {MOST_ROOMS} rooms are taken", hint="Try again in a minute.")
        code = next(code for code in iter(_new_code, "") if code not in self._rooms)
        room = self._rooms[code] = Room(code, model, self.clock())
        return room

    def find(self, code: str) -> Room:
        """Return a room; raises NotFoundError."""
        self.sweep()
        room = self._rooms.get(code)
        if room is None:
            raise NotFoundError(f"there is no room {code!r}", hint="It was left, or never was. Open a new one.")
        return room

    def sweep(self) -> None:
        """Remove the rooms that everybody left."""
        now = self.clock()
        for code in [code for code, room in self._rooms.items() if room.deserted(now)]:
            del self._rooms[code]


def _new_code() -> str:
    return "".join(secrets.choice(_CODE_LETTERS) for _ in range(CODE_LENGTH))
