"""Records as JSON text, written at once.

What comes out is what `json.dumps` makes of `Record.to_json()`. What is not quite plain (a subclass, a date of another
spelling, NaN, a value of the wrong type) raises here, and is for those two to write or to refuse.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from json.encoder import encode_basestring as quoted  # in C, and what json.dumps uses
from math import isfinite
from typing import Any, NamedTuple

from wnc_store.records.fields import wire_fields
from wnc_store.records.js_types import iso, write_date, write_number, write_timestamp
from wnc_store.records.models import ChatMessage, Record, Room, User, VideoState

_Encoders = Mapping[type, Callable[[Any], str]]

MAX_BYTES_PER_CHAR = 12
"""Bytes that JSON may spend on one character: beside half an emoji, a whole one takes two escapes."""

dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def encode_record(record: Record) -> str:
    """Return a record as JSON.

    Raises:
        LookupError, ValueError, TypeError: it is for `Record.to_json()`.
    """
    members = record.__dict__
    parts: list[str] = []
    for name, key, omit, texts in _FIELDS[type(record)]:
        value = members[name]
        if omit is None or not omit(value):
            parts.append(key + texts[type(value)](value))
    unknown = record.__pydantic_extra__
    if unknown:
        parts.append(_encode_extra(type(record), unknown))
    return "{" + ",".join(parts) + "}"


def _cached_json(record: User | VideoState) -> str:
    """Return a part of a room as JSON; most parts are written again with each new state of their room."""
    try:
        return _CACHED[type(record)](record)
    except AttributeError:
        text = encode_record(record)
        object.__setattr__(record, "_text", text)
        return text


def _encode_tuple(items: tuple[Any, ...]) -> str:
    return "[" + ",".join([_JSON[type(item)](item) for item in items]) + "]"


def _encode_extra(kind: type[Record], unknown: Mapping[str, Any]) -> str:
    if any(field.key in unknown for field in wire_fields(kind)):
        message = "an unknown field overrides a declared one"
        raise ValueError(message)
    return dumps(unknown)[1:-1]


def _encode_float(value: float) -> str:
    if isfinite(value):
        return repr(value)
    message = "neither NaN nor Infinity is JSON"
    raise ValueError(message)


def _encode_date(value: datetime) -> str:
    return f'"{iso(value)}"'


# Past pydantic's own look-up of attributes, which is slow where there is none.
_CACHED: _Encoders = {kind: kind.__dict__["_text"].__get__ for kind in (User, VideoState)}

_NUMBERS: _Encoders = {int: repr, float: _encode_float}
_DATES: _Encoders = {datetime: _encode_date}
_JSON: _Encoders = {
    **_NUMBERS,
    str: quoted,
    bool: {False: "false", True: "true"}.__getitem__,
    type(None): {None: "null"}.__getitem__,
    tuple: _encode_tuple,
    User: _cached_json,
    VideoState: _cached_json,
}
_ENCODERS_FOR: Mapping[object, _Encoders] = {
    None: _JSON,
    write_number: _NUMBERS,
    write_timestamp: _NUMBERS,
    write_date: _DATES,
}


class _Field(NamedTuple):
    name: str
    key: str
    exclude_if: Callable[[Any], bool] | None
    encoders: _Encoders


# A subclass may write itself in its own way, and is not here.
_FIELDS: Mapping[type[Record], tuple[_Field, ...]] = {
    kind: tuple(
        _Field(one.name, f"{quoted(one.key)}:", one.exclude_if, _ENCODERS_FOR[one.serialize])
        for one in wire_fields(kind)
    )
    for kind in (User, VideoState, Room, ChatMessage)
}
