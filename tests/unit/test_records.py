"""Models, their JSON, and the secrets that no repr or error contains."""

from __future__ import annotations

import copy
import json
import math
import pickle
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from wnc_store import ChatMessage, CorruptRecordError, Record, Room, User, VideoState, from_wire, to_wire
from wnc_store.records.codec import validated
from wnc_store_contract.factories import message, node_record, node_records, parsed, room, user

KINDS: dict[str, type[Record]] = {"room": Room, "message": ChatMessage}
RECORDS = [(kind, name) for kind in KINDS for name in node_records(kind)]
SECRET = "SECRET-9f1c"
NINE_IN_TOKYO = datetime(2026, 1, 1, 9, 0, 0, 123999, tzinfo=timezone(timedelta(hours=9)))


def read(kind: str, name: str) -> Record:
    """Return a record written by Node."""
    return from_wire(KINDS[kind], node_record(name), key=name)


@pytest.mark.parametrize(("kind", "name"), RECORDS)
def test_a_record_of_node_is_written_back_equal(kind: str, name: str) -> None:
    """A record written by Node is read and written back with equal JSON."""
    assert parsed(to_wire(read(kind, name))) == parsed(node_record(name))


@pytest.mark.parametrize(("kind", "name"), [one for one in RECORDS if "edges" not in one[1]])
def test_a_plain_record_of_node_is_written_back_in_the_same_bytes(kind: str, name: str) -> None:
    """If extra fields come last, the bytes equal those of JSON.stringify."""
    if "extra" not in name:
        assert to_wire(read(kind, name)) == node_record(name)


@pytest.mark.parametrize(("kind", "name"), RECORDS)
def test_copies_keep_the_preserved_json(kind: str, name: str) -> None:
    """A pickled, deep-copied or validated record has the JSON of the original."""
    record = read(kind, name)
    for other in (pickle.loads(pickle.dumps(record)), copy.deepcopy(record), type(record).model_validate(record)):
        assert to_wire(other) == to_wire(record)


def test_dates_are_written_as_javascript_writes_them() -> None:
    """A date is written in UTC with three digits of milliseconds and a Z, for any time zone and microseconds."""
    joined = user("u", joined_at=NINE_IN_TOKYO)
    assert joined.joined_at == datetime(2026, 1, 1, 0, 0, 0, 123000, tzinfo=UTC)
    assert joined.joined_at.tzinfo is UTC
    assert joined.to_json()["joinedAt"] == "2026-01-01T00:00:00.123Z"
    assert joined.model_copy(update={"joined_at": NINE_IN_TOKYO}).to_json() == joined.to_json()
    early = user("u", joined_at=datetime(33, 4, 3, tzinfo=UTC))
    assert early.to_json()["joinedAt"] == "0033-04-03T00:00:00.000Z"


def test_a_subclass_of_datetime_becomes_a_datetime() -> None:
    """A datetime of another class, as tools that set the time in tests make it, is stored as a plain one."""

    class OtherDatetime(datetime):
        pass

    assert type(user("u", joined_at=OtherDatetime(2026, 1, 1, tzinfo=UTC)).joined_at) is datetime


def test_a_naive_date_is_rejected() -> None:
    """A datetime without a time zone is rejected, and the message shows a valid one."""
    with pytest.raises(ValidationError, match=r"datetime\.now"):
        user("u", joined_at=datetime(2026, 1, 1))  # noqa: DTZ001 - the mistake that is refused


def test_a_date_outside_the_range_of_python_is_preserved() -> None:
    """A null date or a year outside 1 to 9999 is read as the nearest datetime and written back unchanged."""
    edges = read("room", "room_javascript_edges")
    assert isinstance(edges, Room)
    assert edges.users[0].joined_at.year == 1
    assert edges.users[1].joined_at.year == 9999
    assert edges.to_json()["createdAt"] == "-000001-01-01T00:00:00.000Z"


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-01T12:00:00Z",
        "2026-01-01T12:00:00.1250Z",
        "2026-01-01T12:00:00.125999Z",
        "2026-01-01T12:00:00,125Z",
        "2026-01-01 12:00:00.125Z",
        "2026-W01-4T12:00:00.125Z",
        "2026-01-01T12:00:00.125+00:00",
        "2026-01-01T21:00:00.125+09:00",
    ],
)
def test_a_date_in_another_format_is_preserved(text: str) -> None:
    """A date in another format is read in whole milliseconds of UTC and written back in that format."""
    data = b'{"id":"u","name":"U","isHost":false,"joinedAt":"%s"}' % text.encode()
    read = from_wire(User, data, key="k")
    assert to_wire(read) == data
    assert read.joined_at.replace(microsecond=0) == datetime(2026, 1, 1, 12, tzinfo=UTC)
    assert read.joined_at.microsecond in {0, 125000}


@pytest.mark.parametrize("value", [1767225600000, "1767225600000", "yesterday", True, {}])
def test_an_invalid_date_is_rejected(value: object) -> None:
    """A date must be an ISO 8601 string: numbers and other text are rejected."""
    record = {"id": "u", "name": "U", "isHost": False, "joinedAt": value}
    with pytest.raises(CorruptRecordError, match="joinedAt"):
        from_wire(User, json.dumps(record).encode(), key="k")


def test_nan_is_null_on_the_wire() -> None:
    """NaN and the infinities are written as null, and null is read as NaN."""
    state = VideoState(current_time=math.nan, duration=math.inf, last_update_time=1)
    assert to_wire(state) == b'{"isPlaying":false,"currentTime":null,"duration":null,"lastUpdateTime":1}'
    assert math.isnan(from_wire(VideoState, to_wire(state), key="k").current_time)
    assert VideoState(duration=math.nan, last_update_time=1) == VideoState(duration=math.inf, last_update_time=1)


def test_numbers_keep_their_type() -> None:
    """Integers of any size stay integers, and floats stay floats."""
    data = b'{"isPlaying":true,"currentTime":0,"duration":100000000000000000000,"lastUpdateTime":1.5}'
    assert to_wire(from_wire(VideoState, data, key="k")) == data


@pytest.mark.parametrize("value", ['"5"', "true", "[]", "{}"])
def test_an_invalid_number_is_rejected(value: str) -> None:
    """A string of digits and a boolean are not valid numbers."""
    with pytest.raises(CorruptRecordError, match="currentTime"):
        from_wire(VideoState, f'{{"isPlaying":true,"currentTime":{value}}}'.encode(), key="k")


def test_an_iso_timestamp_is_read_in_milliseconds() -> None:
    """An ISO 8601 timestamp is read as milliseconds since the epoch and can be replaced by a number."""
    iso = read("message", "message_iso_timestamp")
    assert isinstance(iso, ChatMessage)
    assert iso.timestamp == 1767225600125
    assert iso.model_copy(update={"timestamp": 5}).to_json()["timestamp"] == 5


@pytest.mark.parametrize("half", [b"\\ud83d", b"\xed\xa0\xbd"], ids=["escaped", "encoded"])
def test_a_lone_surrogate_is_preserved(half: bytes) -> None:
    """A lone surrogate is read, and written as an escape sequence that JSON.parse reads."""
    data = b'{"id":"u","name":"hi %s","isHost":false,"joinedAt":"2026-01-01T00:00:00Z","x":{"%s":["\\ude00"]}}'
    assert to_wire(from_wire(User, data % (half, half), key="k")) == data % (b"\\ud83d", b"\\ud83d")


@pytest.mark.parametrize("low", [b"\xed\xb8\x80", b"\\ude00"])
def test_adjacent_surrogates_are_one_character(low: bytes) -> None:
    """Two adjacent surrogates, at least one of them encoded as bytes, are read as one character."""
    data = b'{"id":"u","name":"hi \xed\xa0\xbd' + low + b'","joinedAt":"2026-01-01T00:00:00.000Z"}'
    assert from_wire(User, data, key="k").name == "hi 😀"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"nul",
        b"[]",
        b'"x"',
        b"\xff",
        b"\xef\xbb\xbf{}",
        b"{\x00",
        b'{"a":NaN}',
        b"[" * 100_000,
        b"1" * 5000,
    ],
)
def test_an_invalid_record_is_corrupt(data: bytes) -> None:
    """Data that is not a valid record raises CorruptRecordError with the key."""
    with pytest.raises(CorruptRecordError, match="room:A"):
        from_wire(Room, data, key="room:A")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(extra=st.dictionaries(st.text(min_size=1), JSON, max_size=4))
def test_any_extra_field_survives(extra: dict[str, Any]) -> None:
    """Any JSON in an extra field of a user is written back equal."""
    known = {"id": "u", "name": "U", "isHost": False, "joinedAt": "2026-01-01T00:00:00.000Z"}
    record = {**extra, **known}
    assert parsed(to_wire(from_wire(User, json.dumps(record).encode(), key="k"))) == record


def test_extra_fields_are_frozen() -> None:
    """The extra fields of a record are frozen at all levels and equal to plain JSON values."""
    extra = room(settings={"words": ["a"], "deep": {"x": 1}}).model_extra
    assert extra == {"settings": {"words": ["a"], "deep": {"x": 1}}}
    settings = extra["settings"]
    for change in (
        lambda: settings.update(x=1),
        lambda: settings.pop("words"),
        lambda: settings.__setitem__("x", 1),
        lambda: settings["words"].append("b"),
        lambda: settings["words"].sort(),
        lambda: settings["deep"].clear(),
    ):
        with pytest.raises(TypeError, match="frozen"):
            change()


@pytest.mark.parametrize("value", [object(), {1: 2}, {"a"}, datetime.now(UTC)])
def test_an_extra_field_must_be_json(value: object) -> None:
    """An extra field that JSON can't represent is rejected."""
    with pytest.raises(ValidationError):
        room(odd=value)


def test_a_snake_case_name_is_an_extra_field() -> None:
    """A snake_case name in JSON is an extra field and survives."""
    data = node_record("room_new").replace(b'"hostName"', b'"host_name":"x","hostName"')
    found = from_wire(Room, data, key="k")
    assert found.host_name == "Ada"
    assert parsed(to_wire(found))["host_name"] == "x"


def test_models_are_frozen() -> None:
    """Attributes can't be assigned."""
    with pytest.raises(ValidationError):
        room().host_id = "other"  # type: ignore[misc]


def test_no_repr_shows_a_secret() -> None:
    """The repr and str of records contain no host token, message text or extra field."""
    secrets = room(host_token=SECRET, users=(user("u", apiKey=SECRET),), inner={"token": SECRET})
    said = message(1, message=SECRET, replyTo={"text": SECRET})
    assert SECRET not in f"{secrets!r}{secrets!s}{said!r}{said!s}{[secrets, said]}"


def test_no_error_shows_a_secret() -> None:
    """Validation errors contain no values."""
    with pytest.raises(ValidationError) as caught:
        Room.model_validate({"hostToken": SECRET, "hostName": 5})
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("token", "candidate", "verified"),
    [
        ("abc", "abc", True),
        ("abc", "abd", False),
        ("abc", "", False),
        ("abc", None, False),
        (None, None, False),
        (None, "", False),
        ("", "", False),
        ("å\ud83d", "å\ud83d", True),
        ("å", "a", False),
    ],
)
def test_the_host_token_is_verified(token: str | None, candidate: str | None, *, verified: bool) -> None:
    """Only an equal host token is verified, also with non-ASCII characters; a missing token never is."""
    assert room(host_token=token).verify_host_token(candidate) is verified


def test_a_computed_date_has_the_standard_format() -> None:
    """A date computed from a PreservedDate is written in the standard format."""
    read = from_wire(User, b'{"id":"u","name":"U","joinedAt":"2026-01-01T00:00:00Z"}', key="k")
    later = validated(read.model_copy(update={"joined_at": read.joined_at + timedelta(hours=1)}), User)
    assert later.to_json()["joinedAt"] == "2026-01-01T01:00:00.000Z"
    assert read.to_json()["joinedAt"] == "2026-01-01T00:00:00Z"
    assert pickle.loads(pickle.dumps(later)) == later


def test_a_field_of_a_subclass_is_an_extra_field() -> None:
    """A field declared by a subclass of an app is stored as an extra field."""

    class MyUser(User):
        """A user with a color."""

        theme_color: str = "red"

    stored = validated(MyUser(id="u", name="U"), User)
    assert type(stored) is User
    assert stored.model_extra == {"themeColor": "red"}


def test_an_extra_field_must_not_have_a_declared_name() -> None:
    """An update that uses the JSON name of a declared field is rejected."""
    with pytest.raises(ValueError, match="hostToken") as caught:
        validated(room().model_copy(update={"hostToken": SECRET}), Room)
    assert SECRET not in str(caught.value)


def test_deep_nesting_is_rejected() -> None:
    """Extra fields that are nested too deeply raise ValueError, not RecursionError."""
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    with pytest.raises(ValueError, match="deep"):
        validated(user("u").with_extra({"deep": nested}), User)


def test_a_huge_integer_is_rejected() -> None:
    """An integer with more than 4000 digits is rejected."""
    with pytest.raises(ValidationError, match="digits"):
        user("u", huge=10**5000)
    with pytest.raises(ValidationError, match="digits"):
        VideoState(duration=10**5000)


def test_a_value_never_reaches_an_error() -> None:
    """The error about an invalid date or timestamp does not contain its text."""
    for kind, field in ((ChatMessage, "timestamp"), (Room, "createdAt")):
        record = {**parsed(node_record("message_plain")), **parsed(node_record("room_new")), field: SECRET}
        with pytest.raises(CorruptRecordError, match=field) as caught:
            from_wire(kind, json.dumps(record).encode(), key="k")
        assert SECRET not in f"{caught.value}{caught.value.__cause__!r}{caught.value.__context__!r}"
    with pytest.raises(ValueError, match="timestamp") as refused:
        validated(message(1).model_copy(update={"timestamp": SECRET}), ChatMessage)
    assert SECRET not in f"{refused.value}{refused.value.__cause__!r}{refused.value.__context__!r}"
