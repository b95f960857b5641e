"""Starlette: `store_lifespan` opens the store, `get_store` returns it. Run: `uvicorn starlette_app:app`."""

import os
from functools import partial

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from wnc_store import InvalidIdError, Room, RoomNotFoundError, StoreSettings, User, get_store, store_lifespan
from wnc_store.starlette import ConnectionGuard, WireResponse, forward_room

SETTINGS = StoreSettings.from_environment({"WNC_STORE_PUBLISH_CHANGES": "true", **os.environ})


async def create_room(request: Request) -> WireResponse:
    """Create a room with `host` as its only user."""
    host = request.query_params["host"]
    room = Room.hosted_by(User(id=host, name=host), room_id=request.path_params["room_id"])
    store = await get_store()
    await store.rooms.create_room(room)
    return WireResponse(room.to_public().to_json(), 201)


async def join(request: Request) -> WireResponse:
    """Add a guest to the room."""
    name = request.query_params["name"]
    store = await get_store()
    room = await store.rooms.add_user_to_room(request.path_params["room_id"], User(id=name, name=name))
    return WireResponse(room.to_public().to_json(), 201)


async def follow(websocket: WebSocket) -> None:
    """Send a guest the room and its events, with at most ten connections from one address."""
    store = await get_store()
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
    lifespan=partial(store_lifespan, settings=SETTINGS),
)
