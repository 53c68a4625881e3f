"""Races over real WebSockets: what players are told, who may come in, what hostile pages get."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from inksight import drawing
from inksight.serving import create_app, race, rooms
from inksight.serving.live import bring_up
from inksight.serving.routes import race as race_routes
from inksight.serving.services import Services
from inksight.settings import ServeSettings
from tests.serving.conftest import HalvesClassifier, running
from tests.serving.test_admin import real_bundle  # noqa: F401
from tests.serving.test_games import DRAWINGS, other
from tests.serving.test_process import serve
from tests.waiting import wait_for


class Page:
    """A player's page: joins, and hears what the room says."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.view: dict[str, Any] = {}
        self.token = ""
        self.id = 0

    def say(self, type_: str, **more: Any) -> None:
        self.socket.send(json.dumps({"type": type_, **more}))

    def hear(self, type_: str) -> dict[str, Any]:
        """Return the next message of a type; views of the room are kept on the way."""
        while True:
            said: dict[str, Any] = json.loads(self.socket.recv(timeout=30))
            if said["type"] == "room":
                self.view = said
            if said["type"] == type_:
                return said

    def join(self, name: str, token: str | None = None) -> Page:
        self.say("join", name=name, token=token)
        welcome = self.hear("welcome")
        self.id, self.token = welcome["player"], welcome["token"]
        return self

    def until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Return the first view of the room that is as wanted."""
        while not self.view or not wanted(self.view):
            self.hear("room")
        return self.view

    def draw(self, word: str, number: int | None = None) -> dict[str, Any]:
        self.say("strokes", round=self.view["number"] if number is None else number, strokes=DRAWINGS[word])
        return self.hear("judged")

    def error(self) -> dict[str, Any]:
        return dict(self.hear("error")["error"])

    def closed(self) -> int:
        """Return the code with which the server closes."""
        try:
            while True:
                self.socket.recv(timeout=30)
        except ConnectionClosed as closed:
            frame = closed.rcvd
        assert frame is not None
        return frame.code


class House:
    """A running service with one room."""

    def __init__(self, address: str, shared: Services | None = None) -> None:
        self.address = address
        self.shared = shared
        response = httpx.post(f"{address}/v1/race/rooms")
        assert response.status_code == 201, response.text
        self.room = response.json()

    @contextmanager
    def page(self, path: str = "", **options: Any) -> Iterator[Page]:
        address = f"{self.address.replace('http', 'ws')}/{path or self.room['socket']}"
        with connect(address, **options) as socket:
            yield Page(socket)


@pytest.fixture
def house(monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    monkeypatch.setattr(rooms, "COUNTDOWN", 0.2)
    app = create_app(ServeSettings(), models=[HalvesClassifier()])
    with running(app) as address:
        yield House(address, app.state.services)


def playing(view: dict[str, Any]) -> bool:
    return bool(view["phase"] == "drawing")


def over(view: dict[str, Any]) -> bool:
    return bool(view["phase"] == "over")


def test_a_raw_drawing_is_simplified_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    simplified: list[Any] = []
    one, many = drawing.simplify, drawing.simplify_many

    def counted(strokes: Any) -> Any:
        simplified.append(strokes)
        return one(strokes)

    def counted_many(drawings: Any) -> Any:
        simplified.extend(drawings)
        return many(drawings)

    monkeypatch.setattr(drawing, "simplify", counted)
    monkeypatch.setattr(drawing, "simplify_many", counted_many)
    with house.page() as ada, house.page() as bo:
        ada.join("Ada")
        bo.join("Bo")
        ada.until(lambda view: len(view["players"]) == 2)
        ada.say("start")
        view = ada.until(playing)
        word = view["word"]
        raw = [[[40 + 3.5 * x for x in xs], [9 + 3.5 * y for y in ys]] for xs, ys in DRAWINGS[word]]
        ada.say("strokes", round=view["number"], strokes=raw)
        assert ada.hear("judged")["won"]
        assert len(simplified) == 1
        seats = {seat["id"]: seat for seat in bo.until(over)["players"]}
    shown = seats[ada.id]["drawing"]
    assert max(max(axis) for stroke in shown for axis in stroke) == 255, "the others see what was judged"


def test_a_race_from_the_link_to_the_second_round(house: House) -> None:
    with house.page() as ada, house.page() as bo:
        ada.join("Ada")
        bo.join("<b>Bo</b>")
        state = httpx.get(f"{house.address}/v1/race/rooms/{house.room['room']}").json()
        assert (state["players"], state["phase"], state["full"]) == (["Ada", "<b>Bo</b>"], "lobby", False)
        ada.until(lambda view: len(view["players"]) == 2)
        bo.say("start")
        assert "host" in bo.error()["message"]
        ada.say("start")
        view = ada.until(playing)
        assert (view["number"], view["host"], view["seconds"]) == (1, ada.id, 20)
        assert 19 < view["left"] <= 20
        word = view["word"]
        assert bo.until(playing)["word"] == word
        wrong = bo.draw(other(word))
        assert (wrong["won"], wrong["predictions"][0]["label"]) == (False, other(word))
        seen = ada.until(lambda view: view["players"][1]["guess"] is not None)["players"][1]
        assert (seen["guess"], seen["drawing"]) == (other(word), None), "the guess as it is drawn, not the drawing"
        assert bo.draw(word)["won"]
        for page in (ada, bo):
            view = page.until(over)
            assert (view["winner"], [seat["score"] for seat in view["players"]]) == (bo.id, [0, 1])
            assert view["players"][1]["drawing"]
        ada.say("strokes", round=1, strokes=DRAWINGS[word])
        assert ada.error()["code"] == "conflict"
        ada.say("start")
        view = ada.until(playing)
        assert (view["number"], view["word"] != word) == (2, True)
        ada.draw(view["word"])
        assert [seat["score"] for seat in bo.until(lambda view: view["number"] == 2 and over(view))["players"]] == [
            1,
            1,
        ]


def test_the_version_that_judged_is_named(house: House) -> None:
    with house.page() as ada, house.page() as bo:
        ada.join("Ada"), bo.join("Bo")
        ada.until(lambda view: len(view["players"]) == 2)
        ada.say("start")
        word = ada.until(playing)["word"]
        assert ada.draw(other(word))["model"] == {"name": "halves", "version": "1"}
        assert house.shared is not None
        house.shared.go_live(bring_up(HalvesClassifier(version="2")))
        assert ada.draw(word)["model"] == {"name": "halves", "version": "2"}


def test_every_round_is_in_the_database(house: House) -> None:
    with house.page() as ada, house.page() as bo:
        ada.join("Ada"), bo.join("Bo")
        for _ in range(2):
            ada.say("start")
            word = ada.until(playing)["word"]
            ada.draw(word)
            ada.until(over)
    assert house.shared is not None
    storage = house.shared.storage
    tables = storage.tables

    def written() -> dict[str, Any]:
        with storage.database.read() as session:
            return {row.extra["name"]: row for row in session.scalars(select(tables.GameSession))}

    wait_for(lambda: sorted(row.rounds for row in written().values()) == [2, 2])
    ada_row, bo_row = written()["Ada"], written()["Bo"]
    facts = [(row.game, row.score, row.best_streak, row.rounds, row.state) for row in (ada_row, bo_row)]
    assert facts == [("race", 2, 2, 2, "done"), ("race", 0, 0, 2, "done")]
    summary = httpx.get(f"{house.address}/v1/games/{ada_row.id}").json()
    assert [(item["number"], item["state"], item["strokes"]) for item in summary["played"]] == [
        (1, "won", None), (2, "won", None),
    ]  # fmt: skip
    assert httpx.post(f"{house.address}/v1/games/{ada_row.id}/rounds").status_code == 409
    assert httpx.post(f"{house.address}/v1/games/{ada_row.id}/score", json={"name": "x"}).status_code == 409


def test_a_page_that_is_loaded_again_takes_its_seat_back(house: House) -> None:
    with house.page() as ada, house.page() as bo:
        ada.join("Ada"), bo.join("Bo")
        ada.say("start")
        word = ada.until(playing)["word"]
        ada.socket.close()
        assert bo.until(lambda view: not view["players"][0]["here"])["phase"] == "drawing"
        assert bo.view["host"] == bo.id
        with house.page() as again:
            again.join("whatever", ada.token)
            assert again.id == ada.id
            view = again.until(playing)
            assert (view["word"], view["players"][0]["name"], view["host"]) == (word, "Ada", ada.id)
            # The same player in a second window: the first one has to go.
            with house.page() as twin:
                twin.join("Ada", ada.token)
                assert again.closed() == race.TAKEN_OVER
                assert twin.until(lambda view: True)["players"][0]["here"], "the seat was not lost to the closing page"
                assert twin.draw(word)["won"]
        assert bo.until(over)["winner"] == ada.id


def test_a_player_who_leaves_does_not_stop_the_round(house: House) -> None:
    with house.page() as ada, house.page() as bo:
        ada.join("Ada"), bo.join("Bo")
        ada.say("start")
        word = bo.until(playing)["word"]
        ada.say("leave")
        assert ada.closed() == 1000
        bo.until(lambda view: len(view["players"]) == 1)
        assert bo.draw(word)["won"]
        bo.until(over)
        bo.say("start")
        assert "two players" in bo.error()["message"]


def test_the_round_ends_when_the_time_is_up(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "SECONDS", 0.5)
    with house.page() as ada, house.page() as bo:
        ada.join("Ada"), bo.join("Bo")
        ada.say("start")
        ada.until(playing)
        assert ada.until(over)["winner"] is None


def test_an_empty_room_is_removed(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "EMPTY_SECONDS", 0.3)
    assert house.shared is not None
    tables = house.shared.race._tables
    with house.page() as late:
        with house.page() as ada:
            ada.join("Ada")
            time.sleep(0.5)
            assert httpx.get(f"{house.address}/v1/race/rooms/{house.room['room']}").status_code == 200
        wait_for(lambda: not tables)
        assert httpx.get(f"{house.address}/v1/race/rooms/{house.room['room']}").status_code == 404
        late.say("join", name="Late")
        assert late.error()["code"] == "not_found"
        assert late.closed() == 4404
    with house.page() as nobody:
        assert nobody.closed() == 4404


def test_only_pages_of_this_server_come_in(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(race_routes, "_told", set())
    host = house.address.removeprefix("http://")
    for origin in ("https://evil.example", f"http://{host}.evil.example", "null", "http://["):
        with pytest.raises(InvalidStatus) as refused, house.page(origin=origin):
            pass
        assert refused.value.response.status_code == 403
        assert json.loads(refused.value.response.body or b"")["error"]["code"] == "forbidden"
        with suppress(InvalidStatus), house.page(origin=origin):
            pass
    told = [record for record in caplog.records if record.message == "a page may not play"]
    assert len(told) == 4, "each is told once: browsers keep from the page why it may not"
    assert vars(told[0])["fields"]["host"] == host
    with house.page(origin=house.address) as page:
        page.join("Ada")


def test_allowed_origins_come_in() -> None:
    with running(
        create_app(ServeSettings(cors_origins=["https://friend.example"]), models=[HalvesClassifier()])
    ) as url:
        house = House(url)
        with house.page(origin="https://friend.example") as page:
            page.join("Ada")


@pytest.mark.parametrize(
    "said",
    [
        "",
        "[]",
        "\x00",
        '{"type": "start"}',
        '{"type": "join"}',
        '{"type": "join", "name": 5}',
        '{"type": "join", "name": "Ada", "token": 5}',
        '{"type": "join", "name": "\\u202e"}',
        b'{"type": "join", "name": "Ada"}',
    ],
)
def test_a_first_message_that_is_no_join_ends_the_connection(house: House, said: str | bytes) -> None:
    with house.page() as page:
        page.socket.send(said)
        assert set(page.error()) == {"code", "message", "hint"}
        assert page.closed() == 4422


def test_wrong_messages_are_told_and_survived(house: House) -> None:
    with house.page() as ada, house.page() as bo:
        ada.join("Ada"), bo.join("Bo")
        for said in ({"type": "fly"}, {}, {"type": "strokes"}, {"type": "strokes", "round": "1", "strokes": []}):
            ada.socket.send(json.dumps(said))
            assert ada.error()["code"] == "invalid"
        ada.say("start")
        number = ada.until(playing)["number"]
        wrong: list[Any] = ["x", [[]], [[[1], [2, 3]]], [[["a"], ["b"]]], [[[1e300], [1]]], {"a": 1}]
        for strokes in wrong:
            ada.say("strokes", round=number, strokes=strokes)
            assert ada.error()["code"] == "invalid_drawing"
        assert ada.draw(ada.view["word"])["won"], "still in the race"


def test_nobody_listens_to_a_silent_page_for_ever(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(race, "JOIN_SECONDS", 0.2)
    with house.page() as page:
        assert page.closed() == 4408


def test_too_many_and_too_large(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    with house.page() as page:
        page.say("join", name="x" * race.MESSAGE_BYTES)
        assert page.closed() == 4413
    pages = [house.page() for _ in range(rooms.MOST_PLAYERS)]
    opened = [page.__enter__() for page in pages]
    for index, page in enumerate(opened):
        page.join(f"player {index}")
    with house.page() as ninth:
        ninth.say("join", name="ninth")
        assert (refusal := ninth.error())["code"] == "room_full"
        assert "full" in refusal["message"]
        assert ninth.closed() == 4409
    monkeypatch.setattr(race, "TABLE_SOCKETS", rooms.MOST_PLAYERS)
    with house.page() as pushing:
        assert pushing.closed() == 4429
    for one in pages:
        one.__exit__(None, None, None)


def test_a_page_that_floods_is_slowed_down(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(race, "RATE", 40.0)
    monkeypatch.setattr(race, "BURST", 10.0)
    with house.page() as page:
        page.join("Ada")
        began = time.monotonic()
        for _ in range(50):
            page.say("fly")
        for _ in range(50):
            page.error()
        assert time.monotonic() - began > 0.9, "50 messages, 10 of them at once, 40 a second"


def test_a_database_that_is_away_costs_only_the_record(
    house: House, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (home / "inksight.db").mkdir()  # where the file of the database should be
    with house.page() as ada, house.page() as bo:
        ada.join("Ada"), bo.join("Bo")
        for _ in range(2):
            ada.say("start")
            word = ada.until(playing)["word"]
            assert ada.draw(word)["won"]
            ada.until(over)
        wait_for(lambda: [record.message for record in caplog.records].count("a race's round was not written") == 2)


def test_a_real_process_plays_and_several_workers_refuse(real_bundle: Path) -> None:  # noqa: F811
    with serve(str(real_bundle)) as service:
        house = House(service.address)
        with house.page() as ada, house.page() as bo:
            ada.join("Ada"), bo.join("Bo")
            ada.say("start")
            word = ada.until(playing)["word"]
            assert bo.until(playing)["word"] == word
            bo.socket.close()
            ada.until(lambda view: not view["players"][1]["here"])
            with house.page() as again:
                assert again.join("Bo", bo.token).until(playing)["players"][1]["here"]
                again.say("strokes", round=1, strokes=DRAWINGS["left"])
                assert again.hear("judged")["predictions"]
            with house.page() as large:
                large.socket.send("x" * (race.MESSAGE_BYTES + 1))
                assert large.closed() == 1009
            assert service.end() in (0, -15, 143)
            assert ada.closed() == 1012
        assert not [line for line in service.lines if "Traceback" in line or "traceback" in line]
    with serve(str(real_bundle), "--workers", "2") as service:
        refused = httpx.post(f"{service.address}/v1/race/rooms")
        assert refused.status_code == 409
        assert "--workers 1" in refused.json()["error"]["hint"]
        with (
            pytest.raises(InvalidStatus) as closed,
            connect(f"{service.address.replace('http', 'ws')}/v1/race/rooms/a/play"),
        ):
            pass
        assert closed.value.response.status_code == 409
