"""The fast paths of `validated`, `to_wire` and `from_wire` return the results of the slow paths."""

from __future__ import annotations

import enum
import json
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from random import Random
from typing import Any, cast
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, PrivateAttr

from fuzzing import mutated
from wnc_store import ChatMessage, Record, Room, User, VideoState, from_wire, to_json_text, to_wire
from wnc_store.records import codec, models
from wnc_store.records.codec import validated
from wnc_store.records.frozen import FrozenDict, FrozenList, json_depth
from wnc_store.records.record import RecordT
from wnc_store_contract.factories import message, node_record, node_records, parsed, room, user

PLAIN = (user("u"), VideoState(), room("A", "host", "guest"), message(1))
NOON = datetime(2026, 1, 1, 12, 0, 0, 125000, tzinfo=UTC)


class Text(str):
    """A subclass of str."""

    __slots__ = ()


class Level(enum.IntEnum):
    """A subclass of int."""

    ONE = 1


class Guest(User):
    """A subclass of User with its own serialization."""

    colour: str = "red"
    _note: str = PrivateAttr(default="")

    def to_json(self) -> dict[str, Any]:
        """Return the JSON with one more field."""
        return {**super().to_json(), "more": 1}


def read(kind: type[RecordT], data: bytes) -> RecordT:
    """Return a record written by Node."""
    return from_wire(kind, data, key="k")


SPELLED = read(User, b'{"id":"u","name":"U","joinedAt":"2026-01-01T00:00:00Z"}').joined_at
OLD_MESSAGE = read(ChatMessage, node_record("message_iso_timestamp")).timestamp

TEXTS = st.sampled_from(["", "x", "Zoë 👩‍👩‍👧", "\ud83d", '"\\\n\u2028', "y" * 300])
NUMBERS = st.sampled_from([0, 1, -1, 1.5, -0.0, 1e-7, 1e21, 2**53 + 1, 2**63 - 1, 1767225600000]) | st.floats(
    allow_nan=False, allow_infinity=False
)
DATES = st.sampled_from([NOON, datetime(33, 4, 3, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999000, tzinfo=UTC)])
ODD: tuple[Any, ...] = (
    *(None, True, 0, -1, 2**63, 2**64, -(2**80), 10**5000, math.nan, math.inf, -math.inf),
    *(Text("t"), Level.ONE, b"bytes", "2026-01-01T00:00:00.000Z", object()),
    datetime(2026, 1, 1),  # noqa: DTZ001 - one of the mistakes
    *(NOON + timedelta(microseconds=1), NOON.replace(fold=1), NOON.astimezone(timezone(timedelta(hours=9)))),
    *(NOON.replace(tzinfo=timezone(timedelta(0), "GMT")), SPELLED, SPELLED + timedelta(hours=1), OLD_MESSAGE),
    *([], (), [user("u")], (user("u"), "u"), ((user("u"),),), (Guest(id="g", name="G"),)),
    *(user("u"), VideoState(), {"id": "u"}, FrozenDict(x=1)),
)
UNKNOWN: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    st.sampled_from(["x", "settings", "joinedAt", "joined_at", "hostToken", "\ud83d", ""]),
    st.sampled_from(ODD)
    | st.sampled_from([FrozenDict(a=FrozenList([1, 2])), FrozenDict(x=math.nan), FrozenDict(x={1}), "text", 1.5]),
    max_size=2,
)


def mostly(good: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return a strategy of valid values with an occasional invalid one."""
    return st.integers(0, 19).flatmap(lambda number: good if number else st.sampled_from(ODD))


@st.composite
def constructed(draw: st.DrawFn, kind: type[Record], **fields: st.SearchStrategy[Any]) -> Record:
    """Return a record constructed without validation."""
    held = {name: draw(mostly(strategy)) for name, strategy in fields.items()}
    unknown = draw(UNKNOWN) if draw(st.integers(0, 2)) == 0 else {}
    fields_set = draw(st.just(set(fields)) | st.sets(st.sampled_from(sorted(fields))))
    record = kind.model_construct(fields_set)
    odd = draw(st.integers(0, 19))
    if odd == 1:
        held.pop(draw(st.sampled_from(sorted(fields))))
    if odd == 2:
        held["junk"] = 1
    object.__setattr__(record, "__dict__", held)
    object.__setattr__(record, "__pydantic_extra__", unknown)
    return record


USERS = constructed(User, id=TEXTS, name=TEXTS, is_host=st.booleans(), joined_at=DATES)
STATES = constructed(
    VideoState, is_playing=st.booleans(), current_time=NUMBERS, duration=NUMBERS, last_update_time=NUMBERS
)
ROOMS = constructed(
    Room,
    id=TEXTS,
    host_id=TEXTS,
    host_name=TEXTS,
    host_token=TEXTS | st.none(),
    video_url=TEXTS | st.none(),
    video_type=TEXTS | st.none(),
    video_state=STATES,
    users=st.lists(USERS, max_size=3).map(tuple),
    created_at=DATES,
    rev=st.integers(0, 9),
)
MESSAGES = constructed(
    ChatMessage, id=TEXTS, room_id=TEXTS, user_id=TEXTS, user_name=TEXTS, message=TEXTS, timestamp=NUMBERS
)
RECORDS = USERS | STATES | ROOMS | MESSAGES


def seen(value: Any) -> Any:
    """Return the complete content of a record with the class of each value."""
    if isinstance(value, Record):
        held = {name: seen(member) for name, member in value.__dict__.items()}
        return type(value), held, seen(value.__pydantic_extra__), value.__pydantic_fields_set__
    if json_depth(value) > 100:  # this function, and the comparison of its results, are recursive
        value = to_json_text(value)
    if isinstance(value, (tuple, list)):
        return type(cast("object", value)), [seen(item) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        return type(cast("object", value)), [(key, seen(item)) for key, item in cast("dict[str, Any]", value).items()]
    if isinstance(value, float):
        return float, str(value)
    if isinstance(value, datetime):
        return type(value), value.isoformat(), value.tzinfo, value.fold, getattr(value, "raw", None)
    return type(value), value


def outcome(call: Callable[[], Any]) -> Any:
    """Return the result or the exception of a call."""
    try:
        return seen(call())
    except Exception as error:  # noqa: BLE001 - whatever it is
        return type(error), str(error)


def ways(call: Callable[[], Any]) -> tuple[Any, Any]:
    """Return the outcomes of `validated`, `to_wire` or `from_wire` with and without the fast path."""
    closed: dict[str, Any] = {
        "fast_validated": mock.Mock(return_value=None),
        "encode_record": mock.Mock(side_effect=KeyError),
        "from_json": mock.Mock(side_effect=ValueError),
    }
    defaults = {
        "time": mock.Mock(**{"time_ns.return_value": 0}),
        "uuid": mock.Mock(**{"uuid4.return_value": "id"}),
        "datetime": mock.Mock(**{"now.return_value": NOON}),
    }
    with mock.patch.multiple(models, **defaults):  # what is not there has the same default in both
        short = outcome(call)
        with mock.patch.multiple(codec, **closed):
            return short, outcome(call)


def check(record: Record) -> Record:
    """Validate a record as its own class."""
    return validated(record, type(record))


@given(record=RECORDS)
def test_the_fast_validation_equals_pydantic(record: Record) -> None:
    """The fast validation returns the result of the pydantic validation."""
    short, long = ways(lambda: check(record))
    assert short == long


@given(record=RECORDS)
def test_the_fast_encoder_equals_the_json_module(record: Record) -> None:
    """The fast encoder writes the same bytes as the json module."""
    short, long = ways(lambda: to_wire(record))
    assert short == long


WRITTEN = [(Room, data) for data in node_records("room").values()] + [
    (ChatMessage, data) for data in node_records("message").values()
]


@pytest.mark.parametrize("first_seed", range(0, 1000, 200))
def test_damaged_records_are_decoded_as_by_the_json_module(first_seed: int) -> None:
    """A mutated record is decoded, or rejected as corrupt, as with the json module."""
    for seed in range(first_seed, first_seed + 200):
        kind, data = mutated(Random(seed))
        short, long = ways(lambda kind=kind, data=data: read(kind, data))
        assert short == long, seed


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(value=VALUES, ascii_only=st.booleans())
def test_any_json_is_decoded_as_by_the_json_module(value: Any, *, ascii_only: bool) -> None:
    """Any JSON in an extra field is read as the json module reads it."""
    record = {**parsed(to_wire(user("u"))), "unknown": value}
    data = json.dumps(record, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    short, long = ways(lambda: read(User, data))
    assert short == long


@pytest.mark.parametrize(("kind", "data"), WRITTEN)
def test_records_of_node_are_decoded_as_by_the_json_module(kind: type[Record], data: bytes) -> None:
    """Records written by Node are read as the json module reads them."""
    short, long = ways(lambda: read(kind, data))
    assert short == long


@pytest.mark.parametrize("call", [check, to_wire])
@pytest.mark.parametrize("record", PLAIN)
def test_any_invalid_value_takes_the_slow_path(record: Record, call: Callable[[Record], Any]) -> None:
    """For any invalid value in any field, the outcome is that of the slow path."""
    for name in type(record).model_fields:
        for value in ODD:
            odd = record.model_copy(update={name: value})
            short, long = ways(lambda odd=odd: call(odd))
            assert short == long, (name, value)


@pytest.mark.parametrize("record", PLAIN)
def test_a_valid_record_takes_the_fast_paths(record: Record) -> None:
    """A valid record is validated and encoded without `Record.to_json`."""
    with mock.patch.object(Record, "to_json", side_effect=AssertionError):
        data = to_wire(record)
        assert validated(record, type(record)) == record
    assert parsed(data) == record.to_json()


@pytest.mark.parametrize("name", ["room_new", "room_playing_three_users", "room_with_extra_fields"])
def test_a_room_of_node_takes_the_fast_encoder(name: str) -> None:
    """A record written by Node, with extra fields, is encoded without `Record.to_json`."""
    record = read(Room, node_record(name))
    with mock.patch.object(Record, "to_json", side_effect=AssertionError):
        assert parsed(to_wire(record)) == parsed(node_records("room")[name])


def test_a_decoded_user_is_not_copied() -> None:
    """Validating a user that was read from a store returns the same object."""
    record = read(User, to_wire(user("u")))
    assert validated(record, User) is record


def test_a_subclass_keeps_its_serialization() -> None:
    """A subclass with its own serialization is written with it, also inside a room."""
    guest = Guest(id="g", name="G")
    assert parsed(to_wire(guest))["more"] == 1
    assert parsed(to_wire(room().model_copy(update={"users": (guest,)})))["users"][0]["more"] == 1


@pytest.mark.parametrize("record", [*PLAIN, user("u", tag={"a": 1}), room(notes=[1]), Guest(id="g", name="G")])
@pytest.mark.parametrize("deep", [False, True])
def test_a_copy_equals_the_copy_of_pydantic(record: Record, *, deep: bool) -> None:
    """A copy has the fields, extra fields and `model_fields_set` of a copy made by pydantic."""
    for update in (None, {"id": "other"}, {"id": "other", "unknown": FrozenList([1])}):
        own = record.model_copy(update=update, deep=deep)
        assert seen(own) == seen(BaseModel.model_copy(record, update=update, deep=deep))
        assert own.__dict__ is not record.__dict__


def test_a_copy_keeps_private_attributes() -> None:
    """Copying a subclass copies its private attributes."""
    guest = Guest(id="g", name="G")
    guest._note = "kept"
    copied = guest.model_copy(update={"name": "H"})
    assert (copied._note, copied.name) == ("kept", "H")
    assert guest.with_extra({"x": 1})._note == "kept"


def test_a_copy_is_independent_of_the_original() -> None:
    """Changing extra fields or `model_fields_set` of a copy does not affect the original."""
    before = User(id="u", name="U")
    after = before.model_copy(update={"is_host": True, "colour": "red"})
    assert (before.model_extra, after.model_extra) == ({}, {"colour": "red"})
    assert before.model_fields_set == {"id", "name"}
    assert after.model_fields_set == {"id", "name", "is_host", "colour"}


@pytest.mark.parametrize("part", [user("ada"), VideoState(last_update_time=1)], ids=lambda part: type(part).__name__)
def test_a_copy_does_not_share_the_cached_json(part: User | VideoState) -> None:
    """The cached JSON of a user belongs to that object and is not copied."""
    kept = {"users": (part,)} if isinstance(part, User) else {"video_state": part}
    changed = part.model_copy(update={"name": "Grace"} if isinstance(part, User) else {"duration": 7})
    before = room("A").model_copy(update=kept)
    written = to_wire(before)
    assert to_wire(before) == written
    after = before.model_copy(update={name: changed if name == "video_state" else (changed,) for name in kept})
    assert from_wire(Room, to_wire(after), key="room:A") == after
