"""The rules of a race, without sockets or clocks: any order of events keeps the promises of rooms.py."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from inksight.errors import ConflictError, NotFoundError, UnavailableError, UsageError
from inksight.serving import rooms
from inksight.serving.rooms import COUNTDOWN, EMPTY_SECONDS, MOST_PLAYERS, SEAT_SECONDS, SECONDS, Guess, Player, Room

WORDS = ["cat", "dog", "sun"]
LINE = [[[0, 255], [0, 0]]]
RNG = random.Random(0)


def table(players: int = 2) -> tuple[Room, list[Player]]:
    room = Room("abc", "doodles", 0.0)
    return room, [room.join(f"player {index}", None, 0.0) for index in range(players)]


def begin(room: Room, now: float = 0.0) -> float:
    """Start a round; return when the drawing begins."""
    assert room.host is not None
    room.start(room.host, WORDS, RNG, now)
    room.tick(now + COUNTDOWN)
    assert room.phase == "drawing"
    return now + COUNTDOWN


def test_the_first_recognised_drawing_wins() -> None:
    room, [ada, bo] = table()
    room.start(ada, WORDS, RNG, 0.0)
    view = room.view(1.0)
    assert (view["phase"], view["left"], view["word"]) == ("countdown", COUNTDOWN - 1, None)
    room.tick(COUNTDOWN)
    word = room.view(COUNTDOWN)["word"]
    assert word in WORDS
    assert not room.judged(bo, Guess("fish", 0.9), LINE, 1, 5.0)
    assert not room.judged(bo, Guess(word, 0.2, unsure=True), LINE, 1, 6.0)
    assert room.judged(ada, Guess(word, 0.9), LINE, 1, 7.0)
    assert not room.judged(bo, Guess(word, 0.99), LINE, 1, 7.0), "too late"
    view = room.view(8.0)
    assert (view["winner"], view["took"], view["phase"]) == (ada.id, 4.0, "over")
    assert [seat["score"] for seat in view["players"]] == [1, 0]
    assert view["players"][0]["drawing"] == LINE
    room.leave(ada, 9.0)
    view = room.view(9.0)
    assert (view["winner"], view["winner_name"], view["took"]) == (ada.id, ada.name, 4.0)


def test_nobody_wins_when_the_time_is_up() -> None:
    room, [ada, _] = table()
    began = begin(room)
    assert not room.judged(ada, Guess(room.words[-1], 1.0), LINE, 1, began + SECONDS + 0.01)
    assert room.tick(began + SECONDS + 5)
    assert room.outcome is not None
    assert (room.outcome.winner, room.outcome.took) == (None, SECONDS)


def test_a_drawing_of_the_last_round_does_not_count_in_the_next() -> None:
    room, [ada, _] = table()
    began = begin(room)
    room.tick(began + SECONDS)
    began = begin(room, began + SECONDS)
    assert not room.judged(ada, Guess(room.words[-1], 1.0), LINE, 1, began + 1)
    assert ada.guess is None


def test_who_may_begin() -> None:
    room, [ada] = table(1)
    with pytest.raises(ConflictError, match="two players"):
        room.start(ada, WORDS, RNG, 0.0)
    bo = room.join("Bo", None, 0.0)
    with pytest.raises(ConflictError, match="host"):
        room.start(bo, WORDS, RNG, 0.0)
    room.drop(ada, 1.0)
    assert room.host is bo
    assert room.join("anything", ada.token, 2.0) is ada
    assert room.host is ada, "the first one is host again"
    room.start(ada, WORDS, RNG, 3.0)
    with pytest.raises(ConflictError, match="under way"):
        room.start(ada, WORDS, RNG, 3.0)


def test_a_player_who_leaves_does_not_stop_the_round() -> None:
    room, [ada, bo, cy] = table(3)
    began = begin(room)
    room.leave(ada, began + 1)
    room.drop(bo, began + 2)
    assert room.judged(cy, Guess(room.words[-1], 0.9), LINE, 1, began + 3)
    assert not room.judged(ada, Guess(room.words[-1], 0.9), LINE, 1, began + 3)
    assert [seat["here"] for seat in room.view(began + 3)["players"]] == [False, True]


def test_seats_names_and_tokens() -> None:
    room, players = table(MOST_PLAYERS)
    assert room.full
    with pytest.raises(ConflictError, match="full"):
        room.join("late", None, 1.0)
    players[0].score = 3
    room.drop(players[0], 1.0)
    with pytest.raises(ConflictError, match="full"):
        room.join("late", "wrong token", 1.0)
    assert room.join("", players[0].token, 2.0).score == 3, "the seat with its score is kept"
    room.drop(players[0], 3.0)
    assert not room.tick(3.0 + SEAT_SECONDS - 1)
    assert room.tick(3.0 + SEAT_SECONDS)
    twin = room.join("player 1", players[0].token, 70.0)
    assert (twin.name, twin.score, twin.id) == ("player 1 2", 0, MOST_PLAYERS + 1)
    with pytest.raises(UsageError):
        table(0)[0].join("\u202e", None, 0.0)
    long = table(0)[0]
    assert [len(long.join("x" * 20, None, 0.0).name) for _ in range(3)] == [20, 20, 20]
    assert len({player.name for player in long.players}) == 3


def test_rooms_are_removed_when_everybody_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    found = rooms.Rooms(lambda: now[0])
    room = found.open("doodles")
    ada = room.join("Ada", None, 0.0)
    now[0] = 1000.0
    assert found.find(room.code) is room
    room.drop(ada, now[0])
    now[0] += EMPTY_SECONDS - 1
    assert found.find(room.code) is room
    now[0] += 1
    with pytest.raises(NotFoundError):
        found.find(room.code)
    monkeypatch.setattr(rooms, "MOST_ROOMS", 2)
    found.open("doodles"), found.open("doodles")
    with pytest.raises(UnavailableError):
        found.open("doodles")
    now[0] += EMPTY_SECONDS
    assert found.open("doodles")
    assert len(found) == 1, "nobody ever came into the other two"


class Play(RuleBasedStateMachine):
    """Any order of joins, drops, leaves, starts, drawings and time; the times are exact in binary."""

    def __init__(self) -> None:
        super().__init__()
        self.room = Room("abc", "doodles", 0.0)
        self.known: list[Player] = []
        self.now = 0.0
        self.wins = 0
        self.finished = 0

    @rule(seconds=st.sampled_from([0.125, 1.0, COUNTDOWN, SECONDS, SEAT_SECONDS]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.room.tick(self.now)

    @rule(name=st.text(min_size=1, max_size=30))
    def somebody_joins(self, name: str) -> None:
        full = self.room.full
        try:
            self.known.append(self.room.join(name, None, self.now))
            assert not full or len(self.room.players) <= MOST_PLAYERS
        except ConflictError:
            assert full
        except UsageError:
            pass

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def somebody_comes_back(self, data: st.DataObject) -> None:
        player = data.draw(st.sampled_from(self.known))
        seated = player in self.room.players and (
            player.away_since is None or self.now - player.away_since < SEAT_SECONDS
        )
        try:
            again = self.room.join("back", player.token, self.now)
        except ConflictError:
            assert not seated
        else:
            assert (again is player) == seated
            if again is not player:
                self.known.append(again)

    @precondition(lambda self: any(player.here for player in self.room.players))
    @rule(data=st.data(), for_good=st.booleans())
    def somebody_goes(self, data: st.DataObject, for_good: bool) -> None:
        player = data.draw(st.sampled_from([player for player in self.room.players if player.here]))
        (self.room.leave if for_good else self.room.drop)(player, self.now)

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def somebody_starts(self, data: st.DataObject) -> None:
        player = data.draw(st.sampled_from(self.known))
        before = self.room.number
        try:
            self.room.start(player, WORDS, RNG, self.now)
            assert self.room.number == before + 1
        except ConflictError:
            assert self.room.number == before

    @precondition(lambda self: self.known)
    @rule(data=st.data(), label=st.sampled_from(WORDS), unsure=st.booleans(), back=st.integers(0, 1))
    def somebody_draws(self, data: st.DataObject, label: str, unsure: bool, back: int) -> None:
        player = data.draw(st.sampled_from(self.known))
        scores = sum(other.score for other in self.known)
        number = self.room.number - back
        won = self.room.judged(player, Guess(label, 0.5, unsure), LINE, number, self.now)
        assert sum(other.score for other in self.known) == scores + won
        self.wins += won
        if won:
            assert (back, unsure, label) == (0, False, self.room.words[-1])
            assert self.room.outcome is not None
            assert self.room.outcome.winner is player

    @invariant()
    def promises(self) -> None:
        room = self.room
        view = room.view(self.now)
        text = json.dumps(view)
        assert not any(player.token in text or player.session in text for player in self.known)
        assert (view["word"] is None) == (room.phase in ("lobby", "countdown"))
        assert len(room.players) <= MOST_PLAYERS
        assert len({player.name for player in room.players}) == len(room.players)
        assert sum(player.score for player in self.known) == self.wins <= room.number
        assert (room.host is None) == (not any(player.here for player in room.players))
        assert (room.next_at is None) == (room.phase in ("lobby", "over")), "a clock runs exactly while it must"
        assert room.next_at is None or room.next_at > self.now, "nothing that was due was left undone"
        assert (room.outcome is None) == (room.phase != "over")
        assert room.deserted(self.now + EMPTY_SECONDS) == (room.host is None)


Play.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
TestPlay = Play.TestCase
