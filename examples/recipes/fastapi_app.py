"""FastAPI: the lifespan opens the store and yields it, `Depends` injects it. Run: `uvicorn fastapi_app:app`."""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated, TypedDict

from fastapi import Depends, FastAPI, WebSocket
from fastapi.responses import JSONResponse, Response
from starlette.requests import HTTPConnection

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
async def lifespan(_app: FastAPI) -> AsyncGenerator[State]:
    """Open the store that WNC_STORE_URL names, and close it when the app stops."""
    settings = StoreSettings.from_environment({"WNC_STORE_PUBLISH_CHANGES": "true", **os.environ})
    async with open_store(settings=settings) as store:
        yield {"store": store}


def get_store(connection: HTTPConnection) -> Store:
    """Return the app's store, for requests and WebSockets."""
    return connection.state.store


AppStore = Annotated[Store, Depends(get_store)]
app = FastAPI(lifespan=lifespan)


@app.exception_handler(RoomNotFoundError)
async def not_found(_request: HTTPConnection, error: Exception) -> JSONResponse:
    """Return a 404 with the message of the error, which contains no secrets."""
    return JSONResponse({"detail": str(error)}, 404)


@app.exception_handler(InvalidIdError)
async def invalid_id(_request: HTTPConnection, error: Exception) -> JSONResponse:
    """Return a 422 with the message of the error."""
    return JSONResponse({"detail": str(error)}, 422)


def room_response(room: Room) -> Response:
    """Return the public room. Its texts may contain half an emoji, which `JSONResponse` cannot encode."""
    return Response(to_json_text(room.to_public_json()), 201, media_type="application/json")


@app.post("/rooms/{room_id}", status_code=201)
async def create_room(room_id: str, host: str, store: AppStore) -> Response:
    """Create a room with `host` as its only user."""
    room = Room.hosted_by(User(id=host, name=host), room_id=room_id)
    await store.rooms.create_room(room)
    return room_response(room)


@app.post("/rooms/{room_id}/users", status_code=201)
async def join(room_id: str, name: str, store: AppStore) -> Response:
    """Add a guest to the room."""
    return room_response(await store.rooms.add_user_to_room(room_id, User(id=name, name=name)))


@app.websocket("/rooms/{room_id}/events")
async def follow(websocket: WebSocket, room_id: str, store: AppStore) -> None:
    """Send a guest the room and its events, with at most ten connections from one address."""
    async with ConnectionGuard(store, websocket):
        await websocket.accept()
        await forward_room(store, room_id, websocket)
