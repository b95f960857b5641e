"""A guest in a room: tells the page what happens there, and does what the page asks for."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import NamedTuple, NoReturn

from fastapi import WebSocket
from pydantic import JsonValue

from watch_party import identity
from watch_party.identity import Refused
from watch_party.messages import REQUEST, Close, Leave, Ping, Play, Request, Say, Watch
from watch_party.presence import EXPIRED
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


class Ticket(NamedTuple):
    """Who comes to which room. The key is the guest's secret; for who made the room, its host token."""

    room_id: str
    user: User
    key: str


class Guest:
    """One socket of a guest. What others must know is in the store; here is only what this page was told.

    Args:
        websocket: the guest's page.
        store: where the room is.
        settings: the store's.
        clock: stamps what the host does.
        ticket: who comes, and to which room.
    """

    def __init__(
        self, websocket: WebSocket, store: Store, settings: StoreSettings, clock: Clock, ticket: Ticket
    ) -> None:
        self._websocket = websocket
        self._store = store
        self._settings = settings
        self._clock = clock
        self._room_id, self._user, self._key = ticket
        self._rev = 0
        self._leaving = False

    async def enter(self) -> None:
        """See to it that the user is in the room, and tell the page all about it.

        Raises:
            RoomNotFoundError: there is no such room (any more).
            Refused: the name is taken, or the room is full.
        """
        room = await self._store.rooms.get_room(self._room_id)
        if room is None:
            raise RoomNotFoundError(self._room_id)
        known = room.user(self._user.id)
        if known is None:
            most = self._settings.max_users_per_room
            room = await self._store.rooms.edit_room(
                self._room_id, lambda room: identity.enter(room, self._user, key=self._key, most=most)
            )
        else:  # by the name that was let in, whatever this socket calls itself
            self._user = self._user.model_copy(update={"name": known.name})
        messages = await self._store.chat.get_messages(self._room_id)
        self._rev = room.rev
        await self._send(
            {
                "type": "state",
                "you": self._user.id,
                "room": room.to_public_json(),
                "messages": [message.to_json() for message in messages],
                "kept": self._settings.chat_history_limit,
            }
        )

    async def tell(self, events: AsyncIterator[RoomEvent]) -> None:
        """Tell the page what happens in the room."""
        async for event in events:
            if self._leaving:
                return
            if event.rev is not None and event.rev <= self._rev:
                continue  # the page was told of a room that holds it already
            match event:
                case RoomClosed():
                    await self._end_unless_there("closed")
                case AppEvent(name=name) if name == EXPIRED:
                    await self._end_unless_there("expired")
                case UserLeft(user=gone) if gone.id == self._user.id:
                    await self.enter()  # taken out by a worker that could not know better
                case RoomChanged() | Resync():
                    await self.enter()
                case _:
                    await self._send(event.to_json())

    async def listen(self, *, leave: Callable[[], Awaitable[None]]) -> NoReturn:
        """Do what the page asks for."""
        while True:
            request = REQUEST.validate_json(await self._websocket.receive_text())
            if isinstance(request, Ping):
                await self._send({"type": "pong", "sent": request.sent, "now": self._clock.now_ms()})
                continue
            decision = await self._store.rate_limits.hit(self._user.id)
            if not decision.allowed:
                await self._send({"type": "tooFast", "seconds": decision.retry_after.total_seconds()})
                continue
            if isinstance(request, Leave):
                self._leaving = True
                await leave()
                raise Refused("left")
            await (self._say(request) if isinstance(request, Say) else self._do_as_host(request))

    async def _say(self, said: Say) -> None:
        user = self._user
        message = ChatMessage(
            id=said.id, room_id=self._room_id, user_id=user.id, user_name=user.name, message=said.text
        )
        try:
            await self._store.chat.add_message(message)
        except LimitExceededError:
            await self._send({"type": "refused", "reason": "tooLong", "id": said.id})
        else:
            await self._send({"type": "said", "id": said.id})

    async def _do_as_host(self, request: Request) -> None:
        room = await self._store.rooms.get_room(self._room_id)
        if room is None or room.host_id != self._user.id:
            await self._send({"type": "refused", "reason": "notHost"})
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

    async def _play(self, wish: Play) -> None:
        now_ms = self._clock.now_ms()
        await self._store.rooms.edit_room(
            self._room_id,
            lambda room: room.model_copy(
                update={"video_state": identity.play(room.video_state, wish, now_ms=now_ms)},
            ),
        )

    async def _watch(self, url: str) -> None:
        try:
            await self._store.rooms.set_video_url(self._room_id, url, identity.kind_of_video(url))
        except Refused as refused:
            await self._send({"type": "refused", "reason": refused.reason})
        except LimitExceededError:
            await self._send({"type": "refused", "reason": "tooLong"})

    async def _end_unless_there(self, reason: str) -> None:
        """End the party, unless the event was about an earlier room of that code."""
        room = await self._store.rooms.get_room(self._room_id)
        if room is None or room.user(self._user.id) is None:
            raise Refused(reason)

    async def _send(self, message: Mapping[str, JsonValue]) -> None:
        # With escapes: nothing else can hold the half of an emoji that another writer of the store may have left.
        await self._websocket.send_text(json.dumps(message, separators=(",", ":")))
