"""Random mutations of records and events, and checks of the parsed results.

Each mutation is drawn from a `random.Random` with a seed.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable
from random import Random
from typing import Any, cast

from wnc_store import (
    AppEvent,
    ChatMessage,
    CorruptRecordError,
    HostChanged,
    MessageAdded,
    Record,
    Resync,
    Room,
    RoomEvent,
    UserJoined,
    VideoSet,
    VideoState,
    from_wire,
    to_wire,
)
from wnc_store_contract.factories import message, node_records, parsed, user

_NODE: list[tuple[type[Record], bytes]] = [
    (kind, data) for name, kind in (("room", Room), ("message", ChatMessage)) for data in node_records(name).values()
]
_EVENTS: list[RoomEvent] = [
    UserJoined(room_id="A", rev=3, user=user("u1")),
    HostChanged(room_id="A", rev=4, host_id="u1", host_name="Ada"),
    VideoSet(room_id="A", rev=5, video_url=None, video_type=None, video_state=VideoState(last_update_time=1)),
    MessageAdded(room_id="A", message=message(1, "A")),
    AppEvent(room_id="A", name="wave", value={"hands": [1, 2.5, None, "\ud83d"]}),
    Resync(room_id="A"),
]
RECORDS: list[tuple[type[Record], bytes]] = [*_NODE, *[(RoomEvent, to_wire(event)) for event in _EVENTS]]
"""Stored records of the Node app, and published events."""

TOKENS = (
    *(b"NaN", b"Infinity", b"-0", b"1e400", b"1E-7", b"-", b".5", b"1.", b"01", b"9" * 5000, b"null", b"true"),
    *(b"\\ud83d", b"\\ude00", b"\\u0000", b"\\x", b"\xed\xa0\xbd", b"\xff", b"\xef\xbb\xbf", b"\x00", b"\xe2\x80\xa8"),
    *(b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"[" * 20_000, b'{"a":' * 20_000, b'"rev":1,', b'"users":[],'),
    *(b"Infinity", b"-Infinity", b"-0.0", b"0.1", b"-1e400", b"1e-400", b"9007199254740993", b"18446744073709551616"),
    *(b"1" * 4300, b"1" * 4301, b"+1", b"_", b"\xc2\xa0", b"\x7f", b"\t"),
    *(b"[" * 199 + b"]" * 199, b"[" * 250 + b"]" * 250),
    *(b'{"a":' * 300 + b"1" + b"}" * 300, b'"x":{"a":1,"a":2},', b'"rev":1.0,', b'"rev":-1,', b'"id":"2",'),
)
"""Values that parsers often handle wrongly."""

DATES = (
    *("2026-01-01T00:00:00Z", "2026-01-01T00:00:00.000Z", "2026-01-01", "2026-W01-1", "2026-001", "20260101T000000Z"),
    *("2026-02-30T00:00:00.000Z", "0000-01-01T00:00:00.000Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"),
    *("+275760-09-13T00:00:00.000Z", "-271821-04-20T00:00:00.000Z", "+999999-99-99T99:99:99Z", "2026-01-01T24:00:00Z"),
    *("2026-01-01T00:00:00.123456789Z", "2026-01-01T00:00:00+00:00:01", "2026-01-01 00:00:00Z", "١٢٣", "1767225600000"),
)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, -0.0, 0.1, 1e308, -1e308, 5e-324),
    *(2**53 + 1, 2**63, 2**64, -(2**63), 10**30, 10**4200),
    *("", "x", "\ud83d", "a\ude00b", "\x00", "\u2028", "😀", "x" * 5000),
    *([], {}, [[]], [None], {"": None}, {"a": {"b": []}}),
    *DATES,
    *("resync", "roomClosed", "userLeft"),
)
NAMES = (
    *("id", "hostId", "host_id", "hostToken", "host_token", "users", "videoState", "video_state", "rev", "timestamp"),
    *("joinedAt", "createdAt", "isHost", "model_extra", "model_fields", "__class__", "__pydantic_extra__", "type"),
    *("", "\ud83d", "extra", "replyTo", "copy", "self", "roomId", "value", "user", "message"),
)


def mutated(random: Random) -> tuple[type[Record], bytes]:
    """Return a record after one or several mutations, and its type."""
    kind, data = random.choice(RECORDS)
    if random.random() < 0.7:
        value = parsed(data)
        for _ in range(random.choice((1, 1, 1, 2, 4))):
            value = _in_structure(random, value)
        data = _written(random, value)
    if random.random() < 0.4:
        for _ in range(random.choice((1, 1, 2, 8))):
            data = random.choice(_IN_BYTES)(random, data)
    return kind, data


def hold(kind: type[Record], data: bytes) -> bool:
    """Parse bytes, and check that a valid record survives a round trip. Return whether the bytes are valid.

    Raises:
        AssertionError: the serialized record is parsed as a different record.
    """
    try:
        record = from_wire(kind, data, key="k")
    except CorruptRecordError:
        return False
    written = to_wire(record)
    again = from_wire(kind, written, key="k")
    assert again == record, "the serialized record was parsed as a different record"
    assert to_wire(again) == written, "the second serialization differs from the first"
    return True


def hold_seeds(seeds: Iterable[int]) -> int:
    """Check the mutated record of each seed, and return how many are valid. Errors name the seed in a note."""
    readable = 0
    for seed in seeds:
        kind, data = mutated(Random(seed))  # noqa: S311 - a seed makes the run repeatable
        try:
            readable += hold(kind, data)
        except BaseException as error:
            error.add_note(f"seed {seed}: {kind.__name__} {data[:2000]!r}")
            raise
    return readable


def _written(random: Random, value: Any) -> bytes:
    text = json.dumps(value, ensure_ascii=random.random() < 0.5, separators=random.choice([(",", ":"), (", ", ": ")]))
    return text.encode("utf-8", "surrogatepass")


def _in_structure(random: Random, root: Any) -> Any:
    """Change one random member of a JSON value, and return the value."""
    places = _places(root)
    if not places or random.random() < 0.02:
        return _value(random)
    holder, key = random.choice(places)
    change = random.randrange(6)
    if change == 0:
        del holder[key]
    elif change == 1:
        holder[key] = _nested(random)
    elif change == 2 and isinstance(holder, dict):
        members = cast("dict[str, Any]", holder)
        members[random.choice(NAMES)] = members.pop(key)
    elif change == 3 and isinstance(holder, dict):
        holder[random.choice(NAMES)] = _value(random)
    elif change == 4 and isinstance(holder, list):
        items = cast("list[Any]", holder)
        items += items[: random.randrange(4)]
    else:
        holder[key] = _value(random)
    return root


def _places(root: Any) -> list[tuple[Any, Any]]:
    """Return the container and the key or index of each member of a value."""
    found: list[tuple[Any, Any]] = []
    left = [root]
    while left:
        holder = left.pop()
        if isinstance(holder, dict):
            keys: list[Any] = list(cast("dict[str, Any]", holder))
        elif isinstance(holder, list):
            keys = list(range(len(cast("list[Any]", holder))))
        else:
            continue
        found += [(holder, key) for key in keys]
        left += [holder[key] for key in keys]
    return found


def _value(random: Random) -> Any:
    return copy.deepcopy(random.choice(VALUES))  # a copy, because later mutations change it


def _nested(random: Random) -> Any:
    value: Any = _value(random)
    for _ in range(random.choice((1, 2, 50, 150, 400))):
        value = [value] if random.random() < 0.5 else {random.choice(NAMES): value}
    return value


def _flip(random: Random, data: bytes) -> bytes:
    at = random.randrange(len(data) + 1)
    return data[:at] + bytes([byte ^ (1 << random.randrange(8)) for byte in data[at : at + 1]]) + data[at + 1 :]


def _cut(random: Random, data: bytes) -> bytes:
    at = random.randrange(len(data) + 1)
    return data[:at] + data[at + random.choice((1, 2, 10, len(data))) :]


def _insert(random: Random, data: bytes) -> bytes:
    at = random.randrange(len(data) + 1)
    return data[:at] + random.choice(TOKENS) + data[at:]


def _repeat(random: Random, data: bytes) -> bytes:
    at = random.randrange(len(data) + 1)
    piece = data[at : at + random.choice((1, 5, 50))]
    return data[:at] + piece * random.choice((2, 3, 100)) + data[at + len(piece) :]


def _splice(random: Random, data: bytes) -> bytes:
    _, other = random.choice(RECORDS)
    return data[: random.randrange(len(data) + 1)] + other[random.randrange(len(other)) :]


_IN_BYTES: tuple[Callable[[Random, bytes], bytes], ...] = (_flip, _flip, _cut, _insert, _insert, _repeat, _splice)
