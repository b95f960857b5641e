"""FastAPI: `store_lifespan` opens the store, `Depends(get_store)` injects it. Run: `uvicorn fastapi_app:app`."""

import os
from functools import partial
from typing import Annotated

from fastapi import Depends, FastAPI, Request, WebSocket
from fastapi.responses import JSONResponse

from wnc_store import (
    InvalidIdError,
    PublicRoom,
    Room,
    RoomNotFoundError,
    Store,
    StoreSettings,
    User,
    get_store,
    store_lifespan,
)
from wnc_store.starlette import ConnectionGuard, WireResponse, forward_room

SETTINGS = StoreSettings.from_environment({"WNC_STORE_PUBLISH_CHANGES": "true", **os.environ})
AppStore = Annotated[Store, Depends(get_store)]
# Texts of a room may contain half an emoji, which the default response class cannot encode.
app = FastAPI(lifespan=partial(store_lifespan, settings=SETTINGS), default_response_class=WireResponse)


@app.exception_handler(RoomNotFoundError)
async def not_found(_request: Request, error: Exception) -> JSONResponse:
    """Return a 404 with the message of the error, which contains no secrets."""
    return JSONResponse({"detail": str(error)}, 404)


@app.exception_handler(InvalidIdError)
async def invalid_id(_request: Request, error: Exception) -> JSONResponse:
    """Return a 422 with the message of the error."""
    return JSONResponse({"detail": str(error)}, 422)


@app.post("/rooms/{room_id}", status_code=201)
async def create_room(room_id: str, host: str, store: AppStore) -> PublicRoom:
    """Create a room with `host` as its only user."""
    room = Room.hosted_by(User(id=host, name=host), room_id=room_id)
    await store.rooms.create_room(room)
    return room.to_public()


@app.post("/rooms/{room_id}/users", status_code=201)
async def join(room_id: str, name: str, store: AppStore) -> PublicRoom:
    """Add a guest to the room."""
    return (await store.rooms.add_user_to_room(room_id, User(id=name, name=name))).to_public()


@app.websocket("/rooms/{room_id}/events")
async def follow(websocket: WebSocket, room_id: str, store: AppStore) -> None:
    """Send a guest the room and its events, with at most ten connections from one address."""
    async with ConnectionGuard(store, websocket):
        await websocket.accept()
        await forward_room(store, room_id, websocket)
