"""Fast encoder of records.

The result is the same as that of `json.dumps` for `Record.to_json()`. A record that needs the general encoder raises an
exception, and the caller falls back to it: a subclass, a preserved date, NaN, or a value of the wrong type.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from json.encoder import encode_basestring as quoted  # the C function that json.dumps uses
from math import isfinite
from typing import Any

from wnc_store.records.deep_json import encode_deep
from wnc_store.records.fields import wire_fields
from wnc_store.records.js_types import iso_json, write_date, write_number, write_timestamp
from wnc_store.records.models import ChatMessage, Room, User, VideoState
from wnc_store.records.record import Record
from wnc_store.records.secret import Secret, SecretBytes

_Encoders = Mapping[type, Callable[[Any], str]]
_Fields = Sequence[tuple[str, str, Callable[[Any], bool] | None, _Encoders]]

MAX_BYTES_PER_CHAR = 6
"""Largest number of bytes that JSON uses for one character: an escape sequence."""

_encode_shallow = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode

to_utf8: Callable[[str], bytes] = partial(SecretBytes, encoding="utf-8", errors="backslashreplace")
"""Encode JSON text as UTF-8, with lone surrogates as escape sequences, as `JSON.stringify` writes them."""


def dumps(value: object) -> str:
    """Encode a JSON value as `JSON.stringify` does, except that lone surrogates are not escaped."""
    try:
        return _encode_shallow(value)
    except RecursionError:
        return encode_deep(value, _encode_shallow)


def encode_record(record: Record) -> str:
    """Encode a record as JSON. The JSON of a user or video state is cached on it, because rooms share them.

    Raises:
        LookupError, ValueError, TypeError: The record needs the general encoder.
    """
    kind = type(record)
    text = _encode_room(record) if isinstance(record, Room) else _encode_fields(record, _FIELDS[kind])
    extra = record.__pydantic_extra__
    if extra:
        if any(field.key in extra for field in wire_fields(kind)):
            raise ValueError("an extra field has the JSON name of a declared field")
        text += "," + dumps(extra)[1:-1]
    text = f"{{{text[1:]}}}"
    if kind in _CACHED:
        _set(record, "_json", text)
    return text


def share_frame(before: Room, after: Room) -> None:
    """Share the cached JSON of a room with one that differs only in its users, `rev` and extra fields."""
    try:  # noqa: SIM105 - `suppress` is slower
        _set(after, "_frame", _get_frame(before))
    except AttributeError:  # `before` has not been encoded
        pass


def _encode_room(room: Room) -> str:
    """Encode the declared fields of a room. The JSON before the users, and that between them and `rev`, is cached."""
    try:
        head, tail = _get_frame(room)
    except AttributeError:
        head, tail = _encode_fields(room, _HEAD), _encode_fields(room, _TAIL)
        _set(room, "_frame", (head, tail))
    return head + _encode_fields(room, _USERS) + tail + _encode_fields(room, _REV)


def _encode_fields(record: Record, fields: _Fields) -> str:
    values = record.__dict__
    text = ""
    for name, key, exclude_if, encoders in fields:
        value = values[name]
        if exclude_if is None or not exclude_if(value):
            try:
                text += key + encoders[type(value)](value)
            except AttributeError:  # a video state whose JSON is not cached yet
                text += key + encode_record(value)
    return text


def _encode_tuple(items: tuple[Any, ...]) -> str:
    text = ""
    for item in items:
        try:
            text += "," + _JSON[type(item)](item)
        except AttributeError:  # a user whose JSON is not cached yet
            text += "," + encode_record(item)
    return f"[{text[1:]}]"


def _encode_float(value: float) -> str:
    if isfinite(value):
        return repr(value)
    raise ValueError("JSON can't represent NaN and Infinity")


# Direct access to the slots, because pydantic's attribute lookup is slow for missing attributes.
_get_frame: Callable[[Record], tuple[str, str]] = Room.__dict__["_frame"].__get__
_set = object.__setattr__
_CACHED: _Encoders = {kind: kind.__dict__["_json"].__get__ for kind in (User, VideoState)}

_NUMBERS: _Encoders = {int: repr, float: _encode_float}
_DATES: _Encoders = {datetime: iso_json}
_JSON: _Encoders = {
    **_NUMBERS,
    **_CACHED,
    str: quoted,
    Secret: quoted,
    bool: {False: "false", True: "true"}.__getitem__,
    type(None): {None: "null"}.__getitem__,
    tuple: _encode_tuple,
}
_ENCODERS_FOR: Mapping[object, _Encoders] = {
    None: _JSON,
    write_number: _NUMBERS,
    write_timestamp: _NUMBERS,
    write_date: _DATES,
}

# Subclasses are not included, because they may override the serialization.
_FIELDS: Mapping[type[Record], _Fields] = {
    kind: [
        (field.name, f",{quoted(field.key)}:", field.exclude_if, _ENCODERS_FOR[field.serialize])
        for field in wire_fields(kind)
    ]
    for kind in (User, VideoState, Room, ChatMessage)
}
_AT_USERS = [field[0] for field in _FIELDS[Room]].index("users")
_HEAD, _USERS = _FIELDS[Room][:_AT_USERS], _FIELDS[Room][_AT_USERS : _AT_USERS + 1]
_TAIL, _REV = _FIELDS[Room][_AT_USERS + 1 : -1], _FIELDS[Room][-1:]
