"""JSON that is nested deeper than Python's own parsers and encoders accept."""

from __future__ import annotations

import json
import sys
from collections.abc import Generator
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wnc_store import (
    CorruptRecordError,
    Room,
    StoreSettings,
    User,
    UserJoined,
    from_wire,
    rules,
    to_json_text,
    to_wire,
)
from wnc_store.base import ChangeEvents
from wnc_store.base.size_limits import MAX_DEPTH, check_depth
from wnc_store.records.codec import parse_json
from wnc_store.records.deep_json import encode_deep, parse_deep
from wnc_store.records.frozen import MAX_READABLE_DEPTH, json_depth
from wnc_store_contract.factories import nested, node_record, user

DECODER = json.JSONDecoder()
ENCODE_SCALAR = json.JSONEncoder(ensure_ascii=False).encode
DEPTHS = [150, 250, 490, 1000, MAX_READABLE_DEPTH // 2, MAX_READABLE_DEPTH]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=20,
)


def deep_user(depth: int, opening: bytes, closing: bytes) -> bytes:
    """Return the JSON of a user whose extra field is nested this deep."""
    known = b'{"id":"u","name":"U","isHost":false,"joinedAt":"2026-01-01T00:00:00.000Z","deep":'
    return known + opening * depth + b"1" + closing * depth + b"}"


@pytest.fixture(params=[1000, 400])
def recursion_limit(request: pytest.FixtureRequest) -> Generator[int]:
    """Set the recursion limit of the interpreter during a test."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(request.param)
    yield request.param
    sys.setrecursionlimit(before)


@given(value=VALUES)
def test_any_value_is_encoded_as_by_the_json_module(value: Any) -> None:
    """The encoder without recursion writes the text of the json module."""
    assert encode_deep(value, ENCODE_SCALAR) == json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@given(value=VALUES, indent=st.none() | st.integers(0, 2))
def test_any_json_is_parsed_as_by_the_json_module(value: Any, indent: int | None) -> None:
    """The parser without recursion reads what the json module reads."""
    text = json.dumps(value, indent=indent)
    assert json.dumps(parse_deep(f" {text}\n", DECODER)) == json.dumps(json.loads(text))


@pytest.mark.parametrize("seed", range(10))
def test_damaged_json_is_rejected_as_by_the_json_module(seed: int) -> None:
    """The parser without recursion accepts and rejects the same texts as the json module."""
    random = Random(seed)
    outcomes = {True: 0, False: 0}
    for _ in range(500):
        text = '[{"a":[1,-2.5e3,"x\\"\\u00e4"],"b":{}},[],null,{"c":[[true]]}]'
        for _ in range(random.randrange(1, 3)):
            start = random.randrange(len(text) + 1)
            text = text[:start] + random.choice(["", *'[]{},:"x1 ']) + text[start + random.randrange(2) :]
        try:
            expected = json.loads(text)
        except ValueError:
            outcomes[False] += 1
            with pytest.raises(ValueError):  # noqa: PT011 - the texts of the errors differ
                parse_deep(text, DECODER)
        else:
            outcomes[True] += 1
            assert parse_deep(text, DECODER) == expected
    assert min(outcomes.values()) > 10


@pytest.mark.usefixtures("recursion_limit")
@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")], ids=["arrays", "objects"])
def test_deep_records_are_read_and_written(depth: int, opening: bytes, closing: bytes) -> None:
    """A record of any depth that the Node app can write is written back at any recursion limit of the interpreter."""
    data = deep_user(depth, opening, closing)
    read = from_wire(User, data, key="k")
    assert json_depth(read.model_extra["deep"]) == depth
    assert to_wire(read) == data


def test_deep_records_with_half_an_emoji_are_read() -> None:
    """A deep record with half an emoji is written back unchanged."""
    data = deep_user(300, b"[", b"]").replace(b'"U"', rb'"U\ud83d"')
    assert to_wire(from_wire(User, data, key="k")) == data


@pytest.mark.parametrize("depth", [MAX_READABLE_DEPTH + 1, 3 * MAX_READABLE_DEPTH])
def test_deeper_records_are_corrupt(depth: int) -> None:
    """A record that is nested deeper than the Node app can write is corrupt, and the error states the limit."""
    with pytest.raises(CorruptRecordError, match="10000 levels deep"):
        from_wire(User, deep_user(depth, b"[", b"]"), key="k")


def test_an_unclosed_array_is_corrupt() -> None:
    """A value of opening brackets only is corrupt at any length."""
    with pytest.raises(ValueError):  # noqa: PT011 - any message
        parse_json(b"[" * 2_000_000)


@pytest.mark.usefixtures("recursion_limit")
@pytest.mark.parametrize("index", range(3))
def test_the_depth_limit_of_writes_is_fixed(index: int) -> None:
    """A caller may nest 64 levels at any recursion limit of the interpreter; the error states limit and depth."""
    check_depth(user("u", deep=nested(MAX_DEPTH)[index]))
    for depth in (MAX_DEPTH + 1, 327, 490, 2000):
        with pytest.raises(ValueError, match=f"must be nested at most 64 levels deep, got {depth}"):
            check_depth(user("u", deep=nested(depth)[index]))


def test_a_stored_depth_is_accepted() -> None:
    """A record may be nested as deep as the stored one, but not deeper."""
    stored = user("u", deep=nested(100)[0])
    check_depth(user("u", other=nested(100)[1]), stored)
    with pytest.raises(ValueError, match="got 101"):
        check_depth(user("u", deep=nested(101)[0]), stored)


@pytest.mark.usefixtures("recursion_limit")
@pytest.mark.parametrize("depth", DEPTHS[:-1])
def test_deep_records_are_compared(depth: int) -> None:
    """Records are equal if all their values are, at any depth."""
    first, same = (from_wire(User, deep_user(depth, b'[{"a":', b"}]"), key="k") for _ in range(2))
    other = from_wire(User, deep_user(depth, b'[{"a":', b"}]").replace(b":1}", b":2}"), key="k")
    assert first == same
    assert first != other
    assert first.model_extra["deep"] != other.model_extra["deep"]
    assert first != first.model_copy(update={"name": "other"})
    assert first.model_copy(update={"deep": 1}) != first


def test_changes_of_deep_rooms_are_published() -> None:
    """A change of a deep room that was read twice produces the event of the change only."""
    deep = node_record("room_new")[:-1] + b',"deep":' + b"[" * 5000 + b"]" * 5000 + b"}"
    before, same = (from_wire(Room, deep, key="k") for _ in range(2))
    events = ChangeEvents(StoreSettings(publish_changes=True)).for_commit(before, rules.join(same, user("guest")))
    assert [type(encoded.event) for encoded in events] == [UserJoined]


def test_a_value_that_contains_itself_is_rejected() -> None:
    """A list that contains itself can't become an extra field."""
    endless: list[Any] = []
    endless += [endless, endless]
    with pytest.raises(ValueError, match="levels deep"):
        user("u", endless=endless)


def test_json_text_can_be_encoded() -> None:
    """`to_json_text` escapes only lone surrogates, as `JSON.stringify` does, and supports any depth."""
    text = to_json_text({"name": "Zoë 🍿 \ud83d", "\ude00": [1.5, None, True]})
    assert text == r'{"name":"Zoë 🍿 \ud83d","\ude00":[1.5,null,true]}'
    assert json.loads(text.encode()) == {"name": "Zoë 🍿 \ud83d", "\ude00": [1.5, None, True]}
    assert to_json_text(nested(5000)[0]) == "[" * 5000 + "1" + "]" * 5000


def test_json_text_is_valid() -> None:
    """`to_json_text` rejects records, because the JSON of a room contains its host token, and NaN."""
    with pytest.raises(TypeError):
        to_json_text(user("u"))
    with pytest.raises(ValueError, match="JSON compliant"):
        to_json_text([float("nan")])
