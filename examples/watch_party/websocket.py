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
from watch_party.guest import EXPIRED, Guest, JoinRequest
from watch_party.identity import RejectedError
from watch_party.messages import Hello
from wnc_store import (
    AppEvent,
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
from wnc_store.presence import Connection, Presence, tracked
from wnc_store.starlette import ConnectionGuard, client_ip, run_until_disconnect, send_json

_HELLO_TIMEOUT = 10

_logger = logging.getLogger("uvicorn.error")


async def serve(websocket: WebSocket, store: Store, settings: StoreSettings, presence: Presence, clock: Clock) -> None:
    """Serve an accepted WebSocket until it is closed."""
    end, code, reason = "", WS_1000_NORMAL_CLOSURE, ""
    try:
        async with ConnectionGuard(store, websocket, ttl=settings.connection_ttl):
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
    user = tracked(User(id=identity.user_id_for_key(hello.key), name=identity.clean_name(hello.name)))
    room_id = await _create_room(store, user, hello) if hello.type == "create" else hello.room
    if not await store.rooms.room_exists(room_id):
        raise RejectedError("noRoom")
    add_user = partial(identity.add_user, user=user, key=hello.key, max_users=settings.max_users_per_room)
    async with (
        presence.connected(room_id, user, join=add_user) as connection,
        store.events.subscribe(room_id) as events,  # subscribe before the first read, so that no event is missed
    ):
        guest = Guest(websocket, store, settings, clock, JoinRequest(room_id, user, hello.key, client))
        await guest.join()
        reporting = asyncio.create_task(_report_expiry(store, connection))
        try:
            handle_request = partial(guest.handle_request, leave=connection.leave)
            await run_until_disconnect(websocket, guest.send_events(events), handle_request)
        finally:
            reporting.cancel()


async def _report_expiry(store: Store, connection: Connection) -> None:
    """Publish an event when the room has disappeared. If the host closed the room, its `RoomClosed` comes first."""
    while True:
        await connection.wait_removed()
        with suppress(StoreError):  # tried again
            await store.events.publish(connection.room_id, AppEvent(room_id=connection.room_id, name=EXPIRED))
        await asyncio.sleep(1)


async def _create_room(store: Store, host: User, hello: Hello) -> str:
    """Create a room whose host token is the host's key, and return its code, which is random or chosen by the guest."""
    if hello.room:
        code = identity.chosen_room_code(hello.room)
        with suppress(RoomExistsError):
            await store.rooms.create_room(_new_room(host, hello, code))
            return code
        existing = await store.rooms.get_room(code)
        if existing is None or not existing.verify_host_token(hello.key):
            raise RejectedError("codeTaken")
        return code  # the page has sent its first message again, because it received no reply
    while True:
        code = identity.new_room_code()
        with suppress(RoomExistsError):
            await store.rooms.create_room(_new_room(host, hello, code))
            return code


def _new_room(host: User, hello: Hello, code: str) -> Room:
    return Room.hosted_by(host, room_id=code).replace(host_token=hello.key)
