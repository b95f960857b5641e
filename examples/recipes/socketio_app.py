"""python-socketio: one namespace, which takes the store in `__init__`. Run: `uvicorn socketio_app:app`.

Starlette's lifespan opens the store, because a namespace does not have one. HTTP routes go into the Starlette app.
"""

# python-socketio is not typed.
# pyright: reportMissingTypeStubs=none, reportUnknownMemberType=none

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import cast

import socketio
from pydantic import JsonValue
from starlette.applications import Starlette

from wnc_store import ChatMessage, Room, Store, StoreError, User, open_store

Json = dict[str, JsonValue]


class Party(socketio.AsyncNamespace):
    """Events of a watch party. Each handler returns the result to the sender and emits it to the room."""

    def __init__(self, store: Store) -> None:
        super().__init__("/")
        self._store = store

    async def trigger_event(self, event: str, *args: object) -> object:
        """Return the message of a store's error to the sender. It contains no secrets."""
        try:
            return await super().trigger_event(event, *args)
        except StoreError as error:
            return {"error": str(error)}

    async def on_create_room(self, sid: str, room_id: str, name: str) -> Json:
        """Create a room with the sender as its host."""
        room = Room.hosted_by(User(id=sid, name=name), room_id=room_id)
        await self._store.rooms.create_room(room)
        await self.enter_room(sid, room_id)
        return room.to_public_json()

    async def on_join(self, sid: str, room_id: str, name: str) -> Json:
        """Add the sender to the room, and emit the room to the other users."""
        room = (await self._store.rooms.add_user_to_room(room_id, User(id=sid, name=name))).to_public_json()
        await self.enter_room(sid, room_id)
        await self.emit("room", room, to=room_id, skip_sid=sid)
        return room

    async def on_say(self, sid: str, room_id: str, text: str) -> Json:
        """Store the sender's message, and emit it to the room."""
        room = await self._store.rooms.get_room(room_id)
        user = room and room.user(sid)
        if user is None:
            return {"error": "You are not in this room."}
        message = ChatMessage(room_id=room_id, user_id=sid, user_name=user.name, message=text)
        await self._store.chat.add_message(message)
        await self.emit("message", message.to_json(), to=room_id)
        return {"id": message.id}

    async def on_disconnect(self, sid: str, _reason: str) -> None:
        """Remove the sender from its rooms. If the sender was the host, the next user becomes the host."""
        for room_id in cast("list[str]", self.rooms(sid)):
            if room_id != sid:  # Socket.IO puts each client into a room named after its sid
                room = await self._store.rooms.remove_user_from_room(room_id, sid)
                if room is not None:
                    await self.emit("room", room.to_public_json(), to=room_id, skip_sid=sid)


server = socketio.AsyncServer(async_mode="asgi")


@asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncGenerator[None]:
    """Open the store that WNC_STORE_URL names, and pass it to the namespace."""
    async with open_store() as store:
        server.register_namespace(Party(store))
        yield


app = socketio.ASGIApp(server, Starlette(lifespan=lifespan))
