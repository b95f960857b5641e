"""python-socketio: one namespace, which takes the store in `__init__`. Run: `uvicorn socketio_app:app`.

Starlette's lifespan opens the store, because a namespace does not have one. HTTP routes go into the Starlette app.
"""

# python-socketio is not typed.
# pyright: reportMissingTypeStubs=none, reportUnknownMemberType=none

import asyncio
import hashlib
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import cast

import socketio
from pydantic import JsonValue
from socketio.exceptions import ConnectionRefusedError as RefusedError
from starlette.applications import Starlette

from wnc_store import ChatMessage, Room, Store, StoreError, StoreSettings, User, open_store
from wnc_store.presence import Connection, Presence, tracked

Json = dict[str, JsonValue]
GRACE = timedelta(seconds=10)


class Party(socketio.AsyncNamespace):
    """Events of a watch party. A task for each socket keeps its user in the room and emits the events of the room."""

    def __init__(self, store: Store, presence: Presence) -> None:
        super().__init__("/")
        self._store = store
        self._presence = presence
        self._users: dict[str, str] = {}
        self._connections: dict[str, Connection] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def trigger_event(self, event: str, *args: object) -> object:
        """Return the message of a store's error to the sender. It contains no secrets."""
        try:
            return await super().trigger_event(event, *args)
        except StoreError as error:
            return {"error": str(error)}

    async def on_connect(self, sid: str, _environ: object, auth: object) -> None:
        """Identify the user by a secret key that the page keeps, so that a reloaded page is the same user."""
        key = cast("Json", auth).get("key") if isinstance(auth, dict) else None
        if not isinstance(key, str) or len(key) < 32:  # noqa: PLR2004 - 128 random bits in hexadecimal
            raise RefusedError("auth.key must have at least 32 characters")
        self._users[sid] = hashlib.sha256(key.encode(errors="replace")).hexdigest()[:32]

    async def on_create_room(self, sid: str, room_id: str, name: str) -> Json:
        """Create a room with the sender as its host."""
        await self._store.rooms.create_room(Room.hosted_by(self._user(sid, name), room_id=room_id))
        return await self.on_join(sid, room_id, name)

    async def on_join(self, sid: str, room_id: str, name: str) -> Json:
        """Add the sender to the room, or find the sender in it after a reload."""
        if sid in self._tasks:
            return {"error": "This socket has joined a room."}
        joined: asyncio.Future[Room] = asyncio.get_running_loop().create_future()
        task = self._tasks[sid] = asyncio.create_task(self._serve(sid, room_id, self._user(sid, name), joined))
        await asyncio.wait([joined, task], return_when=asyncio.FIRST_COMPLETED)
        if not joined.done():
            self._tasks.pop(sid, None)
            task.result()  # raises the error of the store
        return joined.result().to_public().to_json()

    async def on_say(self, sid: str, text: str) -> Json:
        """Store the sender's message."""
        connection = self._connections.get(sid)
        room = connection and await self._store.rooms.get_room(connection.room_id)
        user = room and room.user(self._users[sid])
        if connection is None or user is None:
            return {"error": "You are not in a room."}
        message = ChatMessage(room_id=connection.room_id, user_id=user.id, user_name=user.name, message=text)
        await self._store.chat.add_message(message)
        return {"id": message.id}

    async def on_leave(self, sid: str) -> bool:
        """Remove the sender from the room, unless the sender has another tab open."""
        connection = self._connections.get(sid)
        return connection is not None and await connection.leave()

    async def on_disconnect(self, sid: str, _reason: str) -> None:
        """End the connection. The user can return within the grace period."""
        self._users.pop(sid, None)
        if task := self._tasks.pop(sid, None):
            task.cancel()

    def _user(self, sid: str, name: str) -> User:
        return tracked(User(id=self._users[sid], name=name))

    async def _serve(self, sid: str, room_id: str, user: User, joined: asyncio.Future[Room]) -> None:
        try:
            async with (
                self._store.events.subscribe(room_id) as events,  # before the room is read, so that no event is missed
                self._presence.connected(room_id, user) as connection,
            ):
                self._connections[sid] = connection
                joined.set_result(connection.room)
                async for event in events:
                    if event.rev is None or event.rev > connection.room.rev:
                        await self.emit("event", event.to_public().to_json(), to=sid)
        except StoreError:
            if not joined.done():
                raise
            await self.disconnect(sid)  # the page connects and joins again
        finally:
            self._connections.pop(sid, None)


server = socketio.AsyncServer(async_mode="asgi")


@asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncGenerator[None]:
    """Open the store that WNC_STORE_URL names, and pass it to the namespace."""
    settings = StoreSettings.from_environment({"WNC_STORE_PUBLISH_CHANGES": "true", **os.environ})
    async with open_store(settings=settings) as store, Presence(store, grace=GRACE) as presence:
        server.register_namespace(Party(store, presence))
        yield


app = socketio.ASGIApp(server, Starlette(lifespan=lifespan))
