"""Fast encoder of records.

The result is the same as that of `json.dumps` for `Record.to_json()`. A record that needs the general encoder raises an
exception, and the caller falls back to it: a subclass, a preserved date, NaN, or a value of the wrong type.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from json.encoder import encode_basestring as quoted  # the C function that json.dumps uses
from math import isfinite
from typing import Any

from wnc_store.records.deep_json import encode_deep
from wnc_store.records.fields import wire_fields
from wnc_store.records.js_types import iso, write_date, write_number, write_timestamp
from wnc_store.records.models import ChatMessage, Record, Room, User, VideoState
from wnc_store.records.secret import Secret, SecretBytes

_Encoders = Mapping[type, Callable[[Any], str]]

MAX_BYTES_PER_CHAR = 6
"""Largest number of bytes that JSON uses for one character: an escape sequence."""

_encode_shallow = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def dumps(value: object) -> str:
    """Encode a JSON value as `JSON.stringify` does, except that lone surrogates are not escaped."""
    try:
        return _encode_shallow(value)
    except RecursionError:
        return encode_deep(value, _encode_shallow)


def to_utf8(text: str) -> bytes:
    """Encode JSON text as UTF-8, with lone surrogates as escape sequences, as `JSON.stringify` writes them."""
    return SecretBytes(text, "utf-8", "backslashreplace")


def encode_record(record: Record) -> str:
    """Encode a record as JSON.

    Raises:
        LookupError, ValueError, TypeError: The record needs the general encoder.
    """
    members = record.__dict__
    parts: list[str] = []
    for name, key, exclude_if, encoders in _FIELDS[type(record)]:
        value = members[name]
        if exclude_if is None or not exclude_if(value):
            parts.append(key + encoders[type(value)](value))
    extra = record.__pydantic_extra__
    if extra:
        parts.append(_encode_extra(type(record), extra))
    return "{" + ",".join(parts) + "}"


def _cached_json(record: User | VideoState) -> str:
    """Encode a user or video state and cache the JSON on it, because the next states of the room often reuse it."""
    try:
        return _CACHED[type(record)](record)
    except AttributeError:
        text = encode_record(record)
        object.__setattr__(record, "_cached_json", text)
        return text


def _encode_tuple(items: tuple[Any, ...]) -> str:
    return "[" + ",".join([_JSON[type(item)](item) for item in items]) + "]"


def _encode_extra(kind: type[Record], extra: Mapping[str, Any]) -> str:
    if any(field.key in extra for field in wire_fields(kind)):
        raise ValueError("an extra field has the JSON name of a declared field")
    return dumps(extra)[1:-1]


def _encode_float(value: float) -> str:
    if isfinite(value):
        return repr(value)
    raise ValueError("JSON can't represent NaN and Infinity")


# Direct access to the slot, because pydantic's attribute lookup is slow for missing attributes.
_CACHED: _Encoders = {kind: kind.__dict__["_cached_json"].__get__ for kind in (User, VideoState)}

_NUMBERS: _Encoders = {int: repr, float: _encode_float}
_DATES: _Encoders = {datetime: lambda value: f'"{iso(value)}"'}
_JSON: _Encoders = {
    **_NUMBERS,
    str: quoted,
    Secret: quoted,
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

# Subclasses are not included, because they may override the serialization.
_FIELDS: Mapping[type[Record], Sequence[tuple[str, str, Callable[[Any], bool] | None, _Encoders]]] = {
    kind: [
        (field.name, f"{quoted(field.key)}:", field.exclude_if, _ENCODERS_FOR[field.serialize])
        for field in wire_fields(kind)
    ]
    for kind in (User, VideoState, Room, ChatMessage)
}
