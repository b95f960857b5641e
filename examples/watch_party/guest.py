"""One guest's WebSocket: sends the room's events to the page and handles the page's requests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import NamedTuple

from fastapi import WebSocket
from pydantic import JsonValue

from watch_party import identity
from watch_party.identity import RejectedError
from watch_party.messages import (
    REACTIONS,
    REQUEST,
    Close,
    Delete,
    Leave,
    Ping,
    Play,
    React,
    Request,
    Say,
    Typing,
    Watch,
)
from wnc_store import (
    AppEvent,
    ChatMessage,
    Clock,
    LimitExceededError,
    Resync,
    RoomChanged,
    RoomClosed,
    RoomEvent,
    RoomNotFoundError,
    Store,
    StoreSettings,
    User,
    UserLeft,
)
from wnc_store.starlette import send_json

EXPIRED = "expired"
"""Name of the app event that reports a room that disappeared without being closed."""

TYPING = "typing"
"""Name of the app event that reports that a guest is writing a message. Its value contains the `userId`."""


class JoinRequest(NamedTuple):
    """The room and the user who joins it.

    The key is the user's secret, and the creator's key is the host token. `client` identifies the user's address.
    """

    room_id: str
    user: User
    key: str
    client: str


class Guest:
    """One WebSocket of a guest. All shared state is in the store.

    Args:
        websocket: the connection to the guest's page.
        store: the store of the room.
        settings: the settings of the store.
        clock: gives the timestamps of the host's actions.
        join_request: the user and the room.
    """

    def __init__(
        self, websocket: WebSocket, store: Store, settings: StoreSettings, clock: Clock, join_request: JoinRequest
    ) -> None:
        self._websocket = websocket
        self._store = store
        self._settings = settings
        self._clock = clock
        self._room_id, self._user, self._key, self._client = join_request
        self._rev = 0
        self._leaving = False

    async def join(self) -> None:
        """Add the user to the room unless present, and send the room and the chat to the page.

        Raises:
            RoomNotFoundError: the room does not exist.
            RejectedError: the name is taken, or the room is full.
        """
        room = await self._store.rooms.get_room(self._room_id)
        if room is None:
            raise RoomNotFoundError(self._room_id)
        present = room.user(self._user.id)
        if present is None:
            max_users = self._settings.max_users_per_room
            room = await self._store.rooms.edit_room(
                self._room_id, lambda room: identity.add_user(room, self._user, key=self._key, max_users=max_users)
            )
        else:  # the user keeps the name of the first join and ignores the name in this request
            self._user = self._user.replace(name=present.name)
        messages = await self._store.chat.get_messages(self._room_id)
        self._rev = room.rev
        await self._send(
            {
                "type": "state",
                "you": self._user.id,
                "room": room.to_public().to_json(),
                "messages": [message.to_json() for message in messages],
                "historyLimit": self._settings.chat_history_limit,
                "reactions": dict[str, JsonValue](REACTIONS),
            }
        )

    async def send_events(self, events: AsyncIterator[RoomEvent]) -> None:
        """Send the room's events to the page."""
        async for event in events:
            if self._leaving:
                continue
            if event.rev is not None and event.rev <= self._rev:
                continue  # the room that the page has includes this event
            match event:
                case RoomClosed():
                    await self._end_unless_present("closed")
                case AppEvent(name=name) if name == EXPIRED:
                    await self._end_unless_present("expired")
                case UserLeft(user=user) if user.id == self._user.id:
                    await self.join()  # this app kicks nobody: the worker could not reach the store for a while
                case RoomChanged() | Resync():
                    await self.join()
                case _:
                    await self._send(event.to_public().to_json())

    async def handle_request(self, data: str | bytes, *, leave: Callable[[], Awaitable[object]]) -> None:
        """Handle a request of the page. Requests are counted per address, because one client can have many keys."""
        request = REQUEST.validate_json(data)
        if isinstance(request, Ping):
            await self._send({"type": "pong", "sent": request.sent, "now": self._clock.now_ms()})
            return
        decision = await self._store.rate_limits.hit(f"requests:{self._client}")
        if not decision.allowed:
            if isinstance(request, Typing):
                return  # the page has nothing to repeat
            await self._send({"type": "tooFast", "seconds": decision.retry_after.total_seconds()})
            return
        if isinstance(request, Leave):
            self._leaving = True
            await leave()
            raise RejectedError("left")
        match request:
            case Say():
                await self._say(request)
            case React(id=message_id, emoji=emoji, on=on):
                change = partial(identity.react, user_id=self._user.id, emoji=emoji, on=on)
                await self._store.chat.edit_message(self._room_id, message_id, change)
            case Delete(id=message_id):
                await self._delete(message_id)
            case Typing():
                event = AppEvent(room_id=self._room_id, name=TYPING, value={"userId": self._user.id})
                await self._store.events.publish(self._room_id, event)
            case _:
                await self._do_as_host(request)

    async def _say(self, request: Say) -> None:
        user = self._user
        message = ChatMessage(
            id=request.id, room_id=self._room_id, user_id=user.id, user_name=user.name, message=request.text
        )
        try:
            await self._store.chat.add_message(message)
        except LimitExceededError:
            await self._send({"type": "rejected", "reason": "tooLong", "id": request.id})
        else:
            await self._send({"type": "stored", "id": request.id})

    async def _delete(self, message_id: str) -> None:
        messages = await self._store.chat.get_messages(self._room_id)
        if any(message.id == message_id and message.user_id == self._user.id for message in messages):
            await self._store.chat.remove_message(self._room_id, message_id)

    async def _do_as_host(self, request: Request) -> None:
        room = await self._store.rooms.get_room(self._room_id)
        if room is None or room.host_id != self._user.id:
            await self._send({"type": "rejected", "reason": "notHost"})
            return
        match request:
            case Play():
                await self._play(request)
            case Watch(url=url):
                await self._watch(url)
            case Close():
                await self._store.rooms.delete_room(room.id)
            case _:
                pass

    async def _play(self, request: Play) -> None:
        now_ms = self._clock.now_ms()
        await self._store.rooms.edit_room(
            self._room_id,
            lambda room: room.replace(video_state=identity.apply_playback(room.video_state, request, now_ms=now_ms)),
        )

    async def _watch(self, url: str) -> None:
        try:
            await self._store.rooms.set_video_url(self._room_id, *identity.find_video(url))
        except RejectedError as error:
            await self._send({"type": "rejected", "reason": error.reason})
        except LimitExceededError:
            await self._send({"type": "rejected", "reason": "tooLong"})

    async def _end_unless_present(self, reason: str) -> None:
        """End the party unless the user is in the room: the event can belong to an earlier room of that code."""
        room = await self._store.rooms.get_room(self._room_id)
        if room is None or room.user(self._user.id) is None:
            raise RejectedError(reason)

    async def _send(self, message: dict[str, JsonValue]) -> None:
        await send_json(self._websocket, message)
