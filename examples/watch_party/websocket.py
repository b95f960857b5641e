"""The way in and out: a socket's first message, and what it is told when the party is over for it."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import suppress
from typing import cast

from fastapi import WebSocket, WebSocketDisconnect
from pydantic import ValidationError
from starlette.status import WS_1000_NORMAL_CLOSURE, WS_1008_POLICY_VIOLATION, WS_1013_TRY_AGAIN_LATER
from starlette.websockets import WebSocketState

from watch_party import identity
from watch_party.guest import Guest, Ticket
from watch_party.identity import Refused
from watch_party.messages import Hello
from watch_party.presence import Presence
from wnc_store import (
    Clock,
    InvalidIdError,
    LimitExceededError,
    Room,
    RoomExistsError,
    RoomNotFoundError,
    Store,
    StoreError,
    StoreSettings,
    User,
)
from wnc_store.starlette import client_ip

_HELLO_SECONDS = 10

_logger = logging.getLogger("uvicorn.error")


async def serve(websocket: WebSocket, store: Store, settings: StoreSettings, presence: Presence, clock: Clock) -> None:
    """Serve an accepted socket until it is closed."""
    reason, code = "", WS_1000_NORMAL_CLOSURE
    try:
        await _attend(websocket, store, settings, presence, clock)
    except* Refused as group:
        reason = str(_first(group))
    except* RoomNotFoundError:
        reason = "closed"
    except* InvalidIdError:
        reason = "noRoom"
    except* WebSocketDisconnect:
        pass
    except* LimitExceededError:
        reason = "tooLong"
    except* (ValidationError, KeyError):  # KeyError: bytes where text was expected
        code = WS_1008_POLICY_VIOLATION
    except* StoreError as group:
        # The page comes back, reads what there is, and sends again what it has no answer to.
        _logger.warning("asked a guest to come back: %s", _first(group))
        code = WS_1013_TRY_AGAIN_LATER
    with suppress(WebSocketDisconnect):
        # Either side may have gone: a page that was told something while its message was with the store, say.
        if websocket.client_state is websocket.application_state is WebSocketState.CONNECTED:
            if reason:
                await websocket.send_text(json.dumps({"type": "end", "reason": reason}))
            await websocket.close(code)


async def _attend(
    websocket: WebSocket, store: Store, settings: StoreSettings, presence: Presence, clock: Clock
) -> None:
    if not (await store.rate_limits.hit(client_ip(websocket))).allowed:
        raise Refused("tooFast")
    try:
        async with asyncio.timeout(_HELLO_SECONDS):
            hello = Hello.model_validate_json(await websocket.receive_text())
    except TimeoutError:
        raise Refused("tooSlow") from None
    user = User(id=identity.user_id_of(hello.key), name=identity.tidy_name(hello.name))
    room_id = await _create_room(store, user, hello.key) if hello.type == "create" else hello.room
    if not await store.rooms.room_exists(room_id):
        raise Refused("noRoom")
    async with (
        presence.seat(room_id, user.id) as seat,
        store.events.subscribe(room_id) as events,  # first listen, then read: so nothing is missed
    ):
        guest = Guest(websocket, store, settings, clock, Ticket(room_id, user, hello.key))
        await guest.enter()
        async with asyncio.TaskGroup() as group:
            group.create_task(guest.tell(events))
            group.create_task(guest.listen(leave=lambda: presence.give_up(seat)))


async def _create_room(store: Store, host: User, key: str) -> str:
    """Create a room whose host token is the host's key; return its code."""
    while True:
        room = Room.hosted_by(host, room_id=identity.new_code()).model_copy(update={"host_token": key})
        with suppress(RoomExistsError):
            await store.rooms.create_room(room)
            return room.id


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first error of a group, in whatever groups it is."""
    error = group.exceptions[0]
    return _first(cast("BaseExceptionGroup", error)) if isinstance(error, BaseExceptionGroup) else error
