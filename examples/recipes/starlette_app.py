"""Starlette: the lifespan opens the store and yields it as typed state. Run: `uvicorn starlette_app:app`."""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TypedDict

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from wnc_store import (
    InvalidIdError,
    Room,
    RoomNotFoundError,
    Store,
    StoreSettings,
    User,
    open_store,
    to_json_text,
)
from wnc_store.starlette import ConnectionGuard, forward_room


class State(TypedDict):
    """State that the lifespan shares with every request."""

    store: Store


@asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncGenerator[State]:
    """Open the store that WNC_STORE_URL names, and close it when the app stops."""
    settings = StoreSettings.from_environment({"WNC_STORE_PUBLISH_CHANGES": "true", **os.environ})
    async with open_store(settings=settings) as store:
        yield {"store": store}


def room_response(room: Room) -> Response:
    """Return the public room. Its texts may contain half an emoji, which `JSONResponse` cannot encode."""
    return Response(to_json_text(room.to_public_json()), 201, media_type="application/json")


async def create_room(request: Request[State]) -> Response:
    """Create a room with `host` as its only user."""
    host = request.query_params["host"]
    room = Room.hosted_by(User(id=host, name=host), room_id=request.path_params["room_id"])
    await request.state["store"].rooms.create_room(room)
    return room_response(room)


async def join(request: Request[State]) -> Response:
    """Add a guest to the room."""
    name = request.query_params["name"]
    rooms = request.state["store"].rooms
    room = await rooms.add_user_to_room(request.path_params["room_id"], User(id=name, name=name))
    return room_response(room)


async def follow(websocket: WebSocket[State]) -> None:
    """Send a guest the room and its events, with at most ten connections from one address."""
    store = websocket.state["store"]
    async with ConnectionGuard(store, websocket):
        await websocket.accept()
        await forward_room(store, websocket.path_params["room_id"], websocket)


async def not_found(_request: Request, error: Exception) -> JSONResponse:
    """Return a 404 with the message of the error, which contains no secrets."""
    return JSONResponse({"detail": str(error)}, 404)


async def invalid_id(_request: Request, error: Exception) -> JSONResponse:
    """Return a 422 with the message of the error."""
    return JSONResponse({"detail": str(error)}, 422)


app = Starlette(
    routes=[
        Route("/rooms/{room_id}", create_room, methods=["POST"]),
        Route("/rooms/{room_id}/users", join, methods=["POST"]),
        WebSocketRoute("/rooms/{room_id}/events", follow),
    ],
    exception_handlers={RoomNotFoundError: not_found, InvalidIdError: invalid_id},
    lifespan=lifespan,
)
