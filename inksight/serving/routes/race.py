"""Race: rooms by link. The game itself runs over the WebSocket (race.py has its messages, rooms.py its rules)."""

from __future__ import annotations

import logging
from typing import Annotated, Literal, cast
from urllib.parse import urlsplit

from fastapi import APIRouter, Path, Request, WebSocket
from pydantic import Field

from inksight.errors import InksightError
from inksight.serving.errors import response_for
from inksight.serving.logs import log
from inksight.serving.routes.games import drawing_model
from inksight.serving.schemas import Shape
from inksight.serving.services import Services, services
from inksight.serving.tokens import ForbiddenError

router = APIRouter(prefix="/v1/race", tags=["games"])

MOST_TOLD = 100
"""Origins whose refusal is logged; anybody can make up any number of them."""

_told: set[str] = set()

Code = Annotated[str, Path(pattern="^[a-z0-9]{1,20}$", description="As the server gave it.", examples=["k7mq2rbd"])]


class NewRoom(Shape):
    """Which model is to judge the drawings of a new room."""

    model: str | None = Field(default=None, description="By default the first that judges drawings.")


class RoomState(Shape):
    """A room, as somebody who knows its code may see it before joining."""

    room: str = Field(description="The code; /#/race/CODE is the link to share.", examples=["k7mq2rbd"])
    phase: Literal["lobby", "countdown", "drawing", "over"]
    players: list[str]
    full: bool
    model: str = Field(description="The model that judges the drawings.", examples=["doodles"])
    socket: str = Field(description="Where the WebSocket is, relative to the server's root.")


@router.post("/rooms", status_code=201)
async def open_room(request: Request, wanted: NewRoom | None = None) -> RoomState:
    """Open a room. It is removed when nobody has been in it for a minute; services with several workers have none."""
    shared = services(request)
    model = drawing_model(shared, None if wanted is None else wanted.model)
    return _state(shared, shared.race.open(model).code)


@router.get("/rooms/{code}")
async def room(request: Request, code: Code) -> RoomState:
    """Return who is in a room."""
    return _state(services(request), code)


@router.websocket("/rooms/{code}/play")
async def play(socket: WebSocket, code: str) -> None:
    """Play in a room."""
    shared = cast(Services, socket.app.state.services)
    try:
        _check_origin(socket, shared.settings.cors_origins)
        shared.race.check()
    except InksightError as error:
        await socket.send_denial_response(response_for(error))
        return
    await socket.accept()
    await shared.race.play(socket, code)


def _state(shared: Services, code: str) -> RoomState:
    found = shared.race.find(code)
    names = [player.name for player in found.players]
    where = f"v1/race/rooms/{found.code}/play"
    return RoomState(
        room=found.code, phase=found.phase, players=names, full=found.full, model=found.model, socket=where
    )


def _check_origin(socket: WebSocket, allowed: list[str]) -> None:
    """Raise ForbiddenError for a page of another site: browsers let any page open a WebSocket to anywhere."""
    origin = socket.headers.get("origin")
    host = socket.headers.get("host")
    if origin is None or origin in allowed or _host(origin) == host:
        return
    hint = "--cors-origins lets other sites in; a proxy before this server must pass Host on."
    origin = origin[:100]
    if origin not in _told and len(_told) < MOST_TOLD:
        # Browsers do not tell the page why.
        _told.add(origin)
        log("a page may not play", level=logging.WARNING, origin=origin, host=host, hint=hint)
    raise ForbiddenError(f"pages of {origin} may not play here", hint=hint)


def _host(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:  # no address at all, such as http://[
        return None
