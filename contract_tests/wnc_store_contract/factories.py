"""Factories of records, and records that Node 20 wrote."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

from wnc_store import ChatMessage, Room, User, VideoState, from_wire

ROOM = "A3X9K2"
"""The default room id."""

MAX_DEPTH = 64
"""How deep arrays and objects may be nested in a value that a caller writes."""

JOINED = datetime(2026, 1, 1, 12, 0, 0, 125000, tzinfo=UTC)

NON_INTEGERS: list[Any] = [True, 1.0, 1.5, float("nan"), "1", b"1"]
"""Values that are not valid counts, although some look like integers."""

SIMILAR_IDS: dict[str, Sequence[str]] = {
    "case": ("room", "Room", "ROOM", "rOOM"),
    "value": ("1", "01", "1.0", "1.", "1e0", "001", "0x1", "0", "-0", "00", "0.0"),
    "separators": ("ab", "a_b", "a-b", "a.b", "a:b", "axb", "a__b", "a::b", "a_-b"),
    "outer characters": ("a", "_a", "a_", "-a", "a-", ".a", "a.", ":a", "a:", ":a:", "a.."),
    "wildcards": ("x_z", "xyz", "x.z", "xyyz", "x..z", "_", "__", "."),
    "constants": ("null", "None", "nil", "NaN", "nan", "true", "True", "false"),
    "length": ("x" * 36, "x" * 37, "x" * 64, "x" * 65, "x" * 127, "x" * 128),
    "characters after the 36th": tuple("x" * 36 + end for end in ("", "a", "b", "A")),
    "characters after the 64th": tuple("x" * 64 + end for end in ("", "a", "b", "A")),
    "the last characters": tuple("y" * 126 + end for end in ("ab", "ac", "AB", "1", "01")),
}
"""Valid ids that differ little, by the way in which they differ."""

_SIMILAR_UNICODE: dict[str, Sequence[str]] = {
    "normalization": ("\u00e5", "a\u030a", "\u212b", "A\u030a", "\ufb01", "fi", "\u2460", "1"),
    "Unicode case": ("stra\u00dfe", "strasse", "\u1e9e", "SS", "\u0131", "i", "\u0130", "I", "\u212a", "K", "k"),
    "inner spaces": ("a b", "a  b", "a\u00a0b", "ab", "a\u200bb", "a\u3000b"),
    "SQL and glob wildcards": ("a%c", "a_c", "abc", "abbc", "a*c", "a?c", "[a]bc", "a\\c", "a\\\\c", "%", "*", "?"),
    "quotes": ("a'b", "a''b", 'a"b', "a\\'b", "a`b", "ab"),
    "emoji": ("\U0001f44d", "\U0001f44d\U0001f3fd", "\U0001f44d\ufe0f", "\ufffd"),
}

SIMILAR_KEYS: dict[str, Sequence[str]] = {
    **SIMILAR_IDS,
    "addresses": ("1.2.3.4", "1.2.3.4/32", "1.2.3.4/24", "::ffff:1.2.3.4", "::1", "0:0:0:0:0:0:0:1", "01.2.3.4"),
    "zones": ("fe80::1", "fe80::1%eth0", "fe80::1%eth1", "fe80::1%Eth0", "FE80::1", "fe80::1%25eth0"),
    "other characters": ("a%c", "a_c", "abc", "a%25c", "a+c", "a=c", "a|c", "a~c", "a@c", "A@c", "a/c", "a//c"),
}
"""Valid connection keys, connection ids and rate limit keys that differ little."""

SIMILAR_TEXT_IDS: dict[str, Sequence[str]] = {**SIMILAR_IDS, **_SIMILAR_UNICODE}
"""Valid user ids and message ids that differ little."""

SIMILAR_TEXTS: dict[str, Sequence[str]] = {
    **SIMILAR_IDS,
    **_SIMILAR_UNICODE,
    "whitespace at the ends": ("", " ", "  ", "a", " a", "a ", "a\n", "\ta", "\u00a0a", "a\x00", "\x00a", "a\r\n"),
    "the last character": tuple("x" * 255 + end for end in ("a", "b", "A", "")),
}
"""Names and other texts that differ little."""

SIMILAR_PREFIXES: dict[str, Sequence[str]] = {
    "case": ("app:", "App:", "APP:"),
    "value": ("1", "01", "1.0", "0", "-0"),
    "separators": ("a_b", "a-b", "a.b", "a:b", "axb"),
    "outer characters": ("", ".", "_", ":", "a", "a:", ":a", "a::"),
    "length": ("p" * 36, "p" * 37, "p" * 63, "p" * 64),
    "characters after the 36th": ("p" * 36 + "a", "p" * 36 + "b", "p" * 36 + "A"),
    "the last character": ("q" * 63 + "a", "q" * 63 + "b", "q" * 63 + "A"),
}
"""Key prefixes that differ little."""


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
