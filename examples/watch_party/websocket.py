"""The lifecycle of a WebSocket: its first message, its room, and the code and reason of its end."""

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
from watch_party.guest import Guest, JoinRequest
from watch_party.identity import RejectedError
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

_HELLO_TIMEOUT = 10

_logger = logging.getLogger("uvicorn.error")


async def serve(websocket: WebSocket, store: Store, settings: StoreSettings, presence: Presence, clock: Clock) -> None:
    """Serve an accepted WebSocket until it is closed."""
    reason, code = "", WS_1000_NORMAL_CLOSURE
    try:
        await _run(websocket, store, settings, presence, clock)
    except* RejectedError as group:
        reason = str(_first(group))
    except* RoomNotFoundError:
        reason = "closed"
    except* InvalidIdError:
        reason = "noRoom"
    except* WebSocketDisconnect:
        pass
    except* LimitExceededError:
        reason = "tooLong"
    except* (ValidationError, KeyError):  # KeyError: a binary frame instead of text
        code = WS_1008_POLICY_VIOLATION
    except* StoreError as group:
        # The page reconnects, reads the room and resends unanswered messages.
        _logger.warning("closed a WebSocket with code 1013 (try again later): %s", _first(group))
        code = WS_1013_TRY_AGAIN_LATER
    with suppress(WebSocketDisconnect):
        # Either side may have closed the connection while a request was waiting for the store.
        if websocket.client_state is websocket.application_state is WebSocketState.CONNECTED:
            if reason:
                await websocket.send_text(json.dumps({"type": "end", "reason": reason}))
            await websocket.close(code)


async def _run(websocket: WebSocket, store: Store, settings: StoreSettings, presence: Presence, clock: Clock) -> None:
    if not (await store.rate_limits.hit(client_ip(websocket))).allowed:
        raise RejectedError("tooFast")
    try:
        async with asyncio.timeout(_HELLO_TIMEOUT):
            hello = Hello.model_validate_json(await websocket.receive_text())
    except TimeoutError:
        raise RejectedError("tooSlow") from None
    user = User(id=identity.user_id_for_key(hello.key), name=identity.clean_name(hello.name))
    room_id = await _create_room(store, user, hello.key) if hello.type == "create" else hello.room
    if not await store.rooms.room_exists(room_id):
        raise RejectedError("noRoom")
    async with (
        presence.hold(room_id, user.id) as lease,
        store.events.subscribe(room_id) as events,  # subscribe before the first read, so that no event is missed
    ):
        guest = Guest(websocket, store, settings, clock, JoinRequest(room_id, user, hello.key))
        await guest.join()
        async with asyncio.TaskGroup() as group:
            group.create_task(guest.send_events(events))
            group.create_task(guest.handle_requests(leave=lambda: presence.release(lease)))


async def _create_room(store: Store, host: User, key: str) -> str:
    """Create a room whose host token is the host's key, and return its code."""
    while True:
        room = Room.hosted_by(host, room_id=identity.new_room_code()).model_copy(update={"host_token": key})
        with suppress(RoomExistsError):
            await store.rooms.create_room(room)
            return room.id


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first error in a group or its nested groups."""
    error = group.exceptions[0]
    return _first(cast("BaseExceptionGroup", error)) if isinstance(error, BaseExceptionGroup) else error
