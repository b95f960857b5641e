"""FastAPI with presence: users stay in their rooms over reloads. Run: `uvicorn presence_app:app`."""

import hashlib
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Annotated

from fastapi import Depends, FastAPI, Header, WebSocket, WebSocketDisconnect
from pydantic import BaseModel, Field, ValidationError

from wnc_store import RoomNotFoundError, Store, StoreSettings, User, get_store, store_lifespan
from wnc_store.presence import Presence
from wnc_store.starlette import forward_room

GRACE = timedelta(seconds=10)
SETTINGS = StoreSettings.from_environment({"WNC_STORE_PUBLISH_CHANGES": "true", **os.environ})


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    """Open the store for `get_store`, and start the presence of this process."""
    async with store_lifespan(settings=SETTINGS), Presence(await get_store(), grace=GRACE) as presence:
        app.state.presence = presence
        yield


app = FastAPI(lifespan=lifespan)
AppStore = Annotated[Store, Depends(get_store)]


class Hello(BaseModel):
    """The user of a page. The page keeps the secret key, so that it is the same user after a reload."""

    key: str = Field(min_length=16, max_length=128)
    name: str = Field(min_length=1, max_length=40)

    def user(self) -> User:
        """Return the user, whose id is public."""
        return User(id=hashlib.sha256(self.key.encode()).hexdigest()[:32], name=self.name)


@app.post("/rooms", status_code=201)
async def create_room(hello: Hello, store: AppStore) -> dict[str, str | None]:
    """Create a room, and return its code and the token that authenticates its host."""
    room = await store.rooms.create_room_with_code(hello.user())
    return {"room": room.id, "hostToken": room.host_token}


@app.websocket("/rooms/{room_id}")
async def follow(websocket: WebSocket, room_id: str, store: AppStore) -> None:
    """Keep a user in the room while the page is open, and send the room and its events."""
    await websocket.accept()
    try:
        user = Hello.model_validate_json(await websocket.receive_text()).user()
        async with websocket.app.state.presence.connected(room_id, user) as connection:
            if await connection.run_until_removed(forward_room(store, room_id, websocket)):
                await websocket.close(4001, "You are no longer in the room.")
    except RoomNotFoundError:
        await websocket.close(4004, "This room does not exist.")
    except ValidationError:
        await websocket.close(1008, "The first message must contain a key and a name.")
    except WebSocketDisconnect:
        pass  # before the first message


@app.post("/rooms/{room_id}/kick/{user_id}", status_code=204)
async def kick(room_id: str, user_id: str, host_token: Annotated[str, Header()], store: AppStore) -> None:
    """Remove a user from the room, if the caller is the host. The user's pages are closed."""
    room = await store.rooms.get_room(room_id)
    if room is not None and room.verify_host_token(host_token):
        await store.rooms.remove_user_from_room(room_id, user_id)
