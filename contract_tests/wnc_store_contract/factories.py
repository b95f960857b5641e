"""Factories of records, and records that Node 20 wrote."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

from wnc_store import ChatMessage, Room, User, VideoState, from_wire

ROOM = "A3X9K2"
"""The default room id."""

MAX_DEPTH = 64
"""How deep arrays and objects may be nested in a value that a caller writes."""

JOINED = datetime(2026, 1, 1, 12, 0, 0, 125000, tzinfo=UTC)


def user(user_id: str, **fields: Any) -> User:
    """Return a user."""
    defaults: dict[str, Any] = {"name": f"Name of {user_id}", "joined_at": JOINED}
    return User(id=user_id, **{**defaults, **fields})


def room(room_id: str = ROOM, *user_ids: str, **fields: Any) -> Room:
    """Return a room. Its host is the first of `user_ids`; by default its only user is "host"."""
    host_id, *others = user_ids or ("host",)
    host = user(host_id, is_host=True)
    defaults: dict[str, Any] = {
        "host_id": host.id,
        "host_name": host.name,
        "host_token": "token-of-the-host",
        "users": (host, *map(user, others)),
        "video_state": VideoState(current_time=12.5, duration=60, last_update_time=1767225600000),
        "created_at": JOINED,
    }
    return Room(id=room_id, **{**defaults, **fields})


def message(number: int, room_id: str = ROOM, **fields: Any) -> ChatMessage:
    """Return a message with the id "m" followed by the number."""
    defaults: dict[str, Any] = {
        "id": f"m{number}",
        "user_id": "host",
        "user_name": "Host",
        "message": f"text {number}",
        "timestamp": 1767225600000 + number,
    }
    return ChatMessage(room_id=room_id, **{**defaults, **fields})


def nested(depth: int) -> list[object]:
    """Return JSON values that are nested this deep: arrays, objects, and both in turn."""
    array: object = 1
    member: object = 1
    mixed: object = 1
    for level in range(depth):
        array, member = [array], {"a": member}
        mixed = {"a": mixed} if level % 2 else [mixed]
    return [array, member, mixed]


def node_record(name: str) -> bytes:
    """Return a record as written by Node's JSON.stringify."""
    return (files("wnc_store_contract") / "records" / f"{name}.json").read_bytes().strip()


def node_records(kind: str) -> dict[str, bytes]:
    """Return all records of a kind ("room" or "message") that Node wrote, keyed by name."""
    folder = files("wnc_store_contract") / "records"
    names = sorted(entry.name.removesuffix(".json") for entry in folder.iterdir())
    return {name: node_record(name) for name in names if name.startswith(kind)}


def node_room(name: str) -> Room:
    """Return a room that Node wrote."""
    return from_wire(Room, node_record(name), key=name)


def parsed(data: bytes | None) -> Any:
    """Parse JSON that may contain lone surrogates."""
    assert data is not None
    return json.loads(data.decode("utf-8", "surrogatepass"))
