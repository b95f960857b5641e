"""The lifecycle of a WebSocket: its first message, its room, and the code and reason of its end."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from functools import partial

from fastapi import WebSocket, WebSocketDisconnect, WebSocketException
from pydantic import ValidationError
from starlette.status import WS_1000_NORMAL_CLOSURE, WS_1008_POLICY_VIOLATION, WS_1013_TRY_AGAIN_LATER

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
from wnc_store.starlette import ConnectionGuard, client_ip, run_until_disconnect, send_json

_HELLO_TIMEOUT = 10

_logger = logging.getLogger("uvicorn.error")


async def serve(websocket: WebSocket, store: Store, settings: StoreSettings, presence: Presence, clock: Clock) -> None:
    """Serve an accepted WebSocket until it is closed."""
    end, code, reason = "", WS_1000_NORMAL_CLOSURE, ""
    try:
        async with ConnectionGuard(store, websocket, connection_ttl=settings.connection_ttl):
            await _run(websocket, store, settings, presence, clock)
    except RejectedError as error:
        end = error.reason
    except RoomNotFoundError:
        end = "closed"
    except InvalidIdError:
        end = "noRoom"
    except WebSocketDisconnect:
        pass
    except WebSocketException as error:  # too many connections, or the store is unavailable
        code, reason = error.code, error.reason
    except LimitExceededError:
        end = "tooLong"
    except (ValidationError, KeyError):  # KeyError: the first message is binary
        code = WS_1008_POLICY_VIOLATION
    except StoreError as error:
        # The page reconnects, reads the room and resends unanswered messages.
        _logger.warning("closed a WebSocket with code 1013 (try again later): %s", error)
        code = WS_1013_TRY_AGAIN_LATER
    with suppress(WebSocketDisconnect, RuntimeError):  # either side may have closed the connection
        if end:
            await send_json(websocket, {"type": "end", "reason": end})
        await websocket.close(code, reason)


async def _run(websocket: WebSocket, store: Store, settings: StoreSettings, presence: Presence, clock: Clock) -> None:
    client = client_ip(websocket, ipv6_prefix=settings.ipv6_prefix)
    if not (await store.rate_limits.hit(client)).allowed:
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
        guest = Guest(websocket, store, settings, clock, JoinRequest(room_id, user, hello.key, client))
        await guest.join()
        handle_request = partial(guest.handle_request, leave=lambda: presence.release(lease))
        await run_until_disconnect(websocket, guest.send_events(events), handle_request)


async def _create_room(store: Store, host: User, key: str) -> str:
    """Create a room whose host token is the host's key, and return its code."""
    while True:
        room = Room.hosted_by(host, room_id=identity.new_room_code()).model_copy(update={"host_token": key})
        with suppress(RoomExistsError):
            await store.rooms.create_room(room)
            return room.id
