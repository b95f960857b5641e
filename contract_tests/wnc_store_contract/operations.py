"""A table of every operation, for clauses about all of them, and what an operation may change."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from wnc_store import (
    LimitExceededError,
    Resync,
    Room,
    RoomExistsError,
    Store,
    UserNotFoundError,
    VideoState,
    to_wire,
)
from wnc_store_contract.calls import like
from wnc_store_contract.factories import message, room, user
from wnc_store_contract.harness import Capability

KeyedCall = Callable[[Store, str], Awaitable[object]]
"""A call on the room, chat or key of an id."""

MAX_ROOM_BYTES = 20_000
"""The setting `max_room_bytes` with which `OPERATIONS` are refused or not."""

PART_CAPABILITIES: Mapping[str, frozenset[Capability]] = {
    "room": frozenset(),
    "chat": frozenset({Capability.CHAT}),
    "lease": frozenset({Capability.CONNECTIONS}),
    "window": frozenset({Capability.RATE_LIMITS}),
}
"""What a store holds under one id, and the capabilities that it needs."""


@dataclass(frozen=True, slots=True)
class Operation:
    """A call on an id with a room of a host and a guest, two messages, the lease "c1" and a window with one hit.

    Attributes:
        name: The operation in words.
        call: The call.
        effects: Its effect on the parts of the id: "renews", "deletes", "adds" a second lease, or "counts" a hit in
            the window. Other parts are left alone.
        raises: The error with which it is refused.
        needs: The capabilities that it requires.
    """

    name: str
    call: KeyedCall
    effects: Mapping[str, str] = field(default_factory=dict[str, str])
    raises: type[Exception] | None = None
    needs: frozenset[Capability] = frozenset()

    async def run(self, store: Store, key: str) -> None:
        """Make the call, and check that it raises what it must."""
        if self.raises is None:
            await self.call(store, key)
            return
        with pytest.raises(self.raises):
            await self.call(store, key)


def change_name(before: Room) -> Room:
    """Return the room with another host name."""
    return before.replace(host_name=f"{before.host_name}+")


def _rename(before: Room) -> Room:
    return before.replace(id="another")


def _fail(_before: object) -> Any:
    raise ZeroDivisionError


async def _remove_all(store: Store, key: str) -> None:
    for number in (1, 2):
        await store.chat.remove_message(key, f"m{number}")


async def _all_leave(store: Store, key: str) -> None:
    for user_id in ("host", "guest"):
        await store.rooms.remove_user_from_room(key, user_id)


async def _list_rooms(store: Store, _key: str) -> None:
    async for _ in store.rooms.active_room_ids():
        pass


async def _read_rooms(store: Store, _key: str) -> None:
    async for _ in store.rooms.active_rooms():
        pass


async def _subscribe(store: Store, key: str) -> None:
    async with store.events.subscribe(key):
        pass


_LEASE_TTL = timedelta(hours=24)
"""The `connection_ttl` of the clauses that make every operation."""
_LARGE = "x" * 2 * MAX_ROOM_BYTES
_RENEWS = {"room": "renews"}
_DELETES = {"room": "deletes", "chat": "deletes"}

_ROOM_OPERATIONS = (
    Operation("create_room of a live room", lambda s, k: s.rooms.create_room(room(k)), raises=RoomExistsError),
    Operation("create_room_with_code", lambda s, _key: s.rooms.create_room_with_code(user("host"))),
    Operation("get_room", lambda s, k: s.rooms.get_room(k)),
    Operation("get_rooms", lambda s, k: s.rooms.get_rooms([k, "another", k])),
    Operation("room_exists", lambda s, k: s.rooms.room_exists(k)),
    Operation("room_ttl", lambda s, k: s.rooms.room_ttl(k)),
    Operation("update_room", lambda s, k: s.rooms.update_room(k, room(k, "new")), _RENEWS),
    Operation("update_room with another id", lambda s, k: s.rooms.update_room(k, room("another")), raises=ValueError),
    Operation(
        "update_room beyond max_room_bytes",
        lambda s, k: s.rooms.update_room(k, room(k, notes=_LARGE)),
        raises=LimitExceededError,
    ),
    Operation("edit_room", lambda s, k: s.rooms.edit_room(k, change_name), _RENEWS),
    Operation("edit_room without a change", lambda s, k: s.rooms.edit_room(k, lambda before: before), _RENEWS),
    Operation(
        "edit_room with a failing function",
        lambda s, k: s.rooms.edit_room(k, _fail),
        raises=ZeroDivisionError,
    ),
    Operation("edit_room with another id", lambda s, k: s.rooms.edit_room(k, _rename), raises=ValueError),
    Operation("delete_room", lambda s, k: s.rooms.delete_room(k), _DELETES),
    Operation("a join", lambda s, k: s.rooms.add_user_to_room(k, user("new")), _RENEWS),
    Operation("a rejoin", lambda s, k: s.rooms.add_user_to_room(k, user("guest")), _RENEWS),
    Operation(
        "a join beyond max_name_length",
        lambda s, k: s.rooms.add_user_to_room(k, user("new", name="x" * 257)),
        raises=LimitExceededError,
    ),
    Operation(
        "a join beyond max_room_bytes",
        lambda s, k: s.rooms.add_user_to_room(k, user("new", notes=_LARGE)),
        raises=LimitExceededError,
    ),
    Operation("a leave", lambda s, k: s.rooms.remove_user_from_room(k, "guest"), _RENEWS),
    Operation("the host's leave", lambda s, k: s.rooms.remove_user_from_room(k, "host"), _RENEWS),
    Operation("a stranger's leave", lambda s, k: s.rooms.remove_user_from_room(k, "stranger")),
    Operation("all leaves", _all_leave, _DELETES),
    Operation("transfer_host", lambda s, k: s.rooms.transfer_host(k, "guest"), _RENEWS),
    Operation(
        "transfer_host to a stranger", lambda s, k: s.rooms.transfer_host(k, "stranger"), raises=UserNotFoundError
    ),
    Operation(
        "transfer_host with a new token", lambda s, k: s.rooms.transfer_host(k, "guest", rotate_token=True), _RENEWS
    ),
    Operation("rotate_host_token", lambda s, k: s.rooms.rotate_host_token(k), _RENEWS),
    Operation("update_video_state", lambda s, k: s.rooms.update_video_state(k, VideoState(current_time=7)), _RENEWS),
    Operation(
        "update_video_state beyond max_room_bytes",
        lambda s, k: s.rooms.update_video_state(k, VideoState().with_extra({"notes": _LARGE})),
        raises=LimitExceededError,
    ),
    Operation("set_video_url", lambda s, k: s.rooms.set_video_url(k, "https://video.example/1"), _RENEWS),
    Operation(
        "set_video_url beyond max_url_length",
        lambda s, k: s.rooms.set_video_url(k, "x" * 8193),
        raises=LimitExceededError,
    ),
    Operation("ping", lambda s, _key: s.ping()),
    Operation("health", lambda s, _key: s.health()),
)

_LISTING = frozenset({Capability.LISTING})
_EVENTS = frozenset({Capability.EVENTS})
_CHAT = PART_CAPABILITIES["chat"]
_CONNECTIONS = PART_CAPABILITIES["lease"]
_RATE_LIMITS = PART_CAPABILITIES["window"]

OPERATIONS = (
    *_ROOM_OPERATIONS,
    Operation("active_room_ids", _list_rooms, needs=_LISTING),
    Operation("active_rooms", _read_rooms, needs=_LISTING),
    Operation("sweep_active_rooms", lambda s, _key: s.rooms.sweep_active_rooms(), needs=_LISTING),
    Operation("publish", lambda s, k: s.events.publish(k, Resync(room_id=k)), needs=_EVENTS),
    Operation("subscribe", _subscribe, needs=_EVENTS),
    Operation("add_message", lambda s, k: s.chat.add_message(message(3, k)), {"chat": "renews"}, needs=_CHAT),
    Operation("a repeated add_message", lambda s, k: s.chat.add_message(message(1, k)), needs=_CHAT),
    Operation(
        "add_message beyond max_message_length",
        lambda s, k: s.chat.add_message(message(3, k, message="x" * 10_001)),
        raises=LimitExceededError,
        needs=_CHAT,
    ),
    Operation("edit_message", lambda s, k: s.chat.edit_message(k, "m1", like), {"chat": "renews"}, needs=_CHAT),
    Operation(
        "edit_message without a change",
        lambda s, k: s.chat.edit_message(k, "m2", lambda before: before),
        {"chat": "renews"},
        needs=_CHAT,
    ),
    Operation("edit_message of a missing one", lambda s, k: s.chat.edit_message(k, "m3", like), needs=_CHAT),
    Operation(
        "edit_message with a failing function",
        lambda s, k: s.chat.edit_message(k, "m1", _fail),
        raises=ZeroDivisionError,
        needs=_CHAT,
    ),
    Operation(
        "edit_message beyond max_message_length",
        lambda s, k: s.chat.edit_message(k, "m1", lambda before: before.model_copy(update={"message": "x" * 10_001})),
        raises=LimitExceededError,
        needs=_CHAT,
    ),
    Operation("remove_message", lambda s, k: s.chat.remove_message(k, "m1"), {"chat": "renews"}, needs=_CHAT),
    Operation("remove_message of a missing one", lambda s, k: s.chat.remove_message(k, "m3"), needs=_CHAT),
    Operation("all remove_message", _remove_all, {"chat": "deletes"}, needs=_CHAT),
    Operation("get_messages", lambda s, k: s.chat.get_messages(k), needs=_CHAT),
    Operation(
        "get_messages with a negative limit", lambda s, k: s.chat.get_messages(k, -1), raises=ValueError, needs=_CHAT
    ),
    Operation("chat_ttl", lambda s, k: s.chat.chat_ttl(k), needs=_CHAT),
    Operation("clear_messages", lambda s, k: s.chat.clear_messages(k), {"chat": "deletes"}, needs=_CHAT),
    Operation("acquire", lambda s, k: s.connections.acquire(k, "c1"), {"lease": "renews"}, needs=_CONNECTIONS),
    Operation(
        "acquire at the limit",
        lambda s, k: s.connections.acquire(k, "c1", limit=1),
        {"lease": "renews"},
        needs=_CONNECTIONS,
    ),
    Operation(
        "acquire with a ttl",
        lambda s, k: s.connections.acquire(k, "c1", ttl=_LEASE_TTL),
        {"lease": "renews"},
        needs=_CONNECTIONS,
    ),
    Operation(
        "acquire of another connection",
        lambda s, k: s.connections.acquire(k, "c2"),
        {"lease": "adds"},
        needs=_CONNECTIONS,
    ),
    Operation(
        "acquire beyond the limit",
        lambda s, k: s.connections.acquire(k, "c2", limit=1),
        raises=LimitExceededError,
        needs=_CONNECTIONS,
    ),
    Operation(
        "acquire with an invalid limit",
        lambda s, k: s.connections.acquire(k, "c1", limit=0),
        raises=ValueError,
        needs=_CONNECTIONS,
    ),
    Operation(
        "acquire with an invalid ttl",
        lambda s, k: s.connections.acquire(k, "c1", ttl=timedelta(0)),
        raises=ValueError,
        needs=_CONNECTIONS,
    ),
    Operation("release", lambda s, k: s.connections.release(k, "c1"), {"lease": "deletes"}, needs=_CONNECTIONS),
    Operation("release of another connection", lambda s, k: s.connections.release(k, "c2"), needs=_CONNECTIONS),
    Operation("count", lambda s, k: s.connections.count(k), needs=_CONNECTIONS),
    Operation("hit", lambda s, k: s.rate_limits.hit(k), {"window": "counts"}, needs=_RATE_LIMITS),
    Operation("a rejected hit", lambda s, k: s.rate_limits.hit(k, 1000), {"window": "counts"}, needs=_RATE_LIMITS),
    Operation("hit with an invalid cost", lambda s, k: s.rate_limits.hit(k, 0), raises=ValueError, needs=_RATE_LIMITS),
    Operation("peek", lambda s, k: s.rate_limits.peek(k), needs=_RATE_LIMITS),
    Operation("reset", lambda s, k: s.rate_limits.reset(k), {"window": "deletes"}, needs=_RATE_LIMITS),
)
"""Every operation, including refused ones, and its effect on each part of its id."""


def available(capabilities: frozenset[Capability]) -> Sequence[Operation]:
    """Return the operations that a backend supports."""
    return [operation for operation in OPERATIONS if operation.needs <= capabilities]


async def prepare(store: Store, key: str, capabilities: frozenset[Capability]) -> None:
    """Store every part of an id, as `Operation` describes."""
    await store.rooms.create_room(room(key, "host", "guest"))
    if Capability.CHAT in capabilities:
        for number in (1, 2):
            await store.chat.add_message(message(number, key))
    if Capability.CONNECTIONS in capabilities:
        await store.connections.acquire(key, "c1")
    if Capability.RATE_LIMITS in capabilities:
        await store.rate_limits.hit(key)


async def forget(store: Store, key: str, capabilities: frozenset[Capability]) -> None:
    """Remove every part of an id that an operation may have left."""
    await store.rooms.delete_room(key)
    if Capability.CONNECTIONS in capabilities:
        for connection_id in ("c1", "c2"):
            await store.connections.release(key, connection_id)
    if Capability.RATE_LIMITS in capabilities:
        await store.rate_limits.reset(key)


async def observe(store: Store, key: str, capabilities: frozenset[Capability]) -> dict[str, object]:
    """Return what a client sees of each part of an id: contents, and TTLs in hours."""
    seen: dict[str, object] = {}
    stored = await store.rooms.get_room(key)
    seen["room"] = (None if stored is None else json_text(stored), _hours(await store.rooms.room_ttl(key)))
    if Capability.CHAT in capabilities:
        messages = [json_text(entry) for entry in await store.chat.get_messages(key)]
        seen["chat"] = (messages, _hours(await store.chat.chat_ttl(key)))
    if Capability.CONNECTIONS in capabilities:
        seen["lease"] = await store.connections.count(key)
    if Capability.RATE_LIMITS in capabilities:
        decision = await store.rate_limits.peek(key)
        seen["window"] = (decision.limit, decision.remaining, _hours(decision.reset_after))
    return seen


def json_text(record: Any) -> str:
    """Return the JSON of a record in a form that is equal for equal JSON: sorted members, numbers as written."""
    return json.dumps(json.loads(to_wire(record)), sort_keys=True)


def _hours(ttl: timedelta | None) -> int | None:
    """Return a TTL in hours. A clause never runs for half an hour."""
    return None if ttl is None else round(ttl / timedelta(hours=1))
