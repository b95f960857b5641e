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
from wnc_store.records.models import ChatMessage, Record, Room, User, VideoState
from wnc_store.records.secret import Secret, SecretBytes

_Encoders = Mapping[type, Callable[[Any], str]]

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
    values = record.__dict__
    text = ""
    for name, key, exclude_if, encoders in _FIELDS[kind]:
        value = values[name]
        if exclude_if is None or not exclude_if(value):
            try:
                text += key + encoders[type(value)](value)
            except AttributeError:  # a video state whose JSON is not cached yet
                text += key + encode_record(value)
    extra = record.__pydantic_extra__
    if extra:
        if any(field.key in extra for field in wire_fields(kind)):
            raise ValueError("an extra field has the JSON name of a declared field")
        text += "," + dumps(extra)[1:-1]
    text = f"{{{text[1:]}}}"
    if kind in _CACHED:
        object.__setattr__(record, "_json", text)
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
_FIELDS: Mapping[type[Record], Sequence[tuple[str, str, Callable[[Any], bool] | None, _Encoders]]] = {
    kind: [
        (field.name, f",{quoted(field.key)}:", field.exclude_if, _ENCODERS_FOR[field.serialize])
        for field in wire_fields(kind)
    ]
    for kind in (User, VideoState, Room, ChatMessage)
}
