"""FastAPI over WebSockets: chat, presence and moderation on any number of workers. Run: `uvicorn websocket_app:app`."""

import asyncio
import hashlib
import json
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import moderation
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from moderation import RefusedError
from pydantic import BaseModel, Field, ValidationError

from wnc_store import (
    AppEvent,
    ChatMessage,
    InvalidIdError,
    LimitExceededError,
    Room,
    RoomNotFoundError,
    Store,
    StoreError,
    StoreSettings,
    StoreUnavailableError,
    User,
    open_store,
)
from wnc_store.presence import Connection, Presence
from wnc_store.starlette import ConnectionGuard, client_ip, forward_room, send_json

DEFAULTS = {
    "WNC_STORE_PUBLISH_CHANGES": "true",
    "WNC_STORE_CONNECTION_TTL": "10",  # the grace period in seconds
}
HELLO_SECONDS = 10
PASSWORD_COST = 36  # ten attempts per minute and client, because `rate_limit_max` is 360 by default


class Hello(BaseModel):
    """The user of a page. The page keeps the secret key, so that it is the same user after a reload."""

    key: str = Field(min_length=16, max_length=128)
    name: str = Field(min_length=1, max_length=40)
    password: str = ""

    def user(self) -> User:
        """Return the user, whose id is public."""
        return User(id=hashlib.sha256(self.key.encode()).hexdigest()[:32], name=self.name)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    """Open the store that WNC_STORE_URL names, and start the presence of this worker."""
    settings = StoreSettings.from_environment({**DEFAULTS, **os.environ})
    grace = settings.connection_ttl
    async with open_store(settings=settings) as store, Presence(store, grace=grace) as presence:
        app.state.settings, app.state.store, app.state.presence = settings, store, presence
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/healthz")
async def health() -> dict[str, str]:
    """Check that the store is available."""
    await app.state.store.ping()
    return {"status": "ok"}


@app.post("/rooms", status_code=201)
async def create_room(hello: Hello) -> dict[str, str]:
    """Create a room with a random code. The user with this key is its host, and has time to open the page."""
    room = await app.state.store.rooms.create_room_with_code(hello.user())
    return {"room": room.id}


@app.websocket("/rooms/{room_id}")
async def party(websocket: WebSocket, room_id: str) -> None:
    """Serve a page until it disconnects or its user may not stay in the room."""
    await websocket.accept()  # before the guard, because a page cannot read why a handshake failed
    state = websocket.app.state
    end: tuple[int, str] | None = None
    try:
        async with ConnectionGuard(state.store, websocket, ttl=state.settings.connection_ttl):
            if await follow(websocket, room_id.strip().upper()):  # codes are upper case, and guests type both cases
                end = 4001, "You were removed from the room."
    except RefusedError as error:
        end = 4003, str(error)
    except LimitExceededError:
        end = 4003, "This room is full."
    except (RoomNotFoundError, InvalidIdError):
        end = 4004, "This room does not exist."
    except (ValidationError, KeyError, TimeoutError):  # KeyError: the first message is binary
        end = 1008, "The first message must contain a key and a name."
    except StoreUnavailableError:
        end = 1013, "Try again later."
    except WebSocketDisconnect:
        pass
    if end is not None:
        with suppress(WebSocketDisconnect, RuntimeError):  # the page may have disconnected
            await websocket.close(*end)


async def follow(websocket: WebSocket, room_id: str) -> bool:
    """Join the room, send the id of the user, the room and its events, and handle messages.

    Return whether the user was removed.
    """
    store: Store = websocket.app.state.store
    async with asyncio.timeout(HELLO_SECONDS):
        hello = Hello.model_validate_json(await websocket.receive_text())
    if hello.password:
        await count(websocket, "passwords", PASSWORD_COST)
    user = hello.user()
    join = await moderation.admit(await read_room(store, room_id), user, hello.password)
    async with websocket.app.state.presence.connected(room_id, user, join=join) as connection:
        await send_json(websocket, {"type": "you", "userId": user.id})
        on_message = partial(handle, websocket, connection)
        forwarding = forward_room(store, room_id, websocket, on_message, include=moderation.PUBLIC)
        return await connection.run_until_removed(forwarding)


async def handle(websocket: WebSocket, connection: Connection, data: str | bytes) -> None:
    """Handle a message of a page. If it is refused, this page receives the reason."""
    try:
        await count(websocket, "messages")
        await act(websocket, connection, json.loads(data))
    except StoreUnavailableError:
        raise  # `forward_room` closes the WebSocket with code 1013
    except (RefusedError, StoreError, ValueError, RecursionError) as error:
        await send_json(websocket, {"type": "refused", "reason": str(error)})


async def act(websocket: WebSocket, connection: Connection, message: Any) -> None:
    """Do what a message asks for."""
    store: Store = websocket.app.state.store
    room_id, user_id = connection.room_id, connection.user_id
    match message:
        case {"type": "say", "id": str(message_id), "text": str(text)}:
            user = moderation.check_writer(await read_room(store, room_id), user_id)
            await store.chat.add_message(
                ChatMessage(id=message_id, room_id=room_id, user_id=user_id, user_name=user.name, message=text)
            )
        case {"type": "typing"}:
            moderation.check_writer(await read_room(store, room_id), user_id)
            await store.events.publish(room_id, AppEvent(room_id=room_id, name="typing", value={"userId": user_id}))
        case {"type": "leave"}:
            await connection.leave()
            await websocket.close()
        case _:
            await moderate(store, room_id, user_id, message)


async def moderate(store: Store, room_id: str, by: str, message: Any) -> None:
    """Do what a moderator asks for. Each change of the room is one atomic edit."""
    match message:
        case {"type": str(action), "user": str(user_id)} if action in moderation.USER_ACTIONS:
            change = partial(moderation.USER_ACTIONS[action], by=by, user_id=user_id)
            await store.rooms.edit_room(room_id, change)
        case {"type": str(action), "on": bool(on)} if action in moderation.ROOM_ACTIONS:
            await store.rooms.edit_room(room_id, partial(moderation.ROOM_ACTIONS[action], by=by, on=on))
        case {"type": "password", "password": str(password)}:
            moderation.check_moderator(await read_room(store, room_id), by)  # before the slow hash
            password_hash = await moderation.hash_password(password) if password else None
            await store.rooms.edit_room(room_id, partial(moderation.set_password, by=by, password_hash=password_hash))
        case {"type": "remove", "id": str(message_id)}:
            moderation.check_moderator(await read_room(store, room_id), by)
            await store.chat.remove_message(room_id, message_id)
        case _:
            raise RefusedError("Unknown message.")


async def read_room(store: Store, room_id: str) -> Room:
    """Return a room that must exist."""
    room = await store.rooms.get_room(room_id)
    if room is None:
        raise RoomNotFoundError(room_id)
    return room


async def count(websocket: WebSocket, what: str, cost: int = 1) -> None:
    """Count an action of a client, and refuse it above the rate limit."""
    store: Store = websocket.app.state.store
    decision = await store.rate_limits.hit(f"{what}:{client_ip(websocket)}", cost)
    if not decision.allowed:
        raise RefusedError(f"Too many {what}. Try again in {-(-decision.retry_after.total_seconds() // 1):.0f} s.")
