"""Validation of ids."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Literal

from wnc_store.errors import InvalidIdError

IdKind = Literal["room id", "connection key", "connection id", "rate limit key", "user id", "message id"]

# Room ids become parts of keys and channels. Glob characters are excluded, and so are braces, which select the slot in
# a Redis Cluster, and whitespace, which breaks logs.
_is_room_id = re.compile(r"[A-Za-z0-9_.:-]{1,128}").fullmatch
# Keys identify clients. They may also be IP addresses with a zone or a prefix length, or user ids.
_is_key = re.compile(r"[A-Za-z0-9_.:%/@|+=~-]{1,128}").fullmatch
_is_text = re.compile(r"(?!\s)[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,128}(?<!\s)").fullmatch

IS_VALID_ID: Mapping[IdKind, Callable[[str], object]] = {
    "room id": _is_room_id,
    "connection key": _is_key,
    "connection id": _is_key,
    "rate limit key": _is_key,
    "user id": _is_text,
    "message id": _is_text,
}


def check_id(kind: IdKind, value: object) -> None:
    """Raise `InvalidIdError` if `value` is not a valid id. `wnc_store.protocols` states which ids are valid."""
    if not (isinstance(value, str) and IS_VALID_ID[kind](value)):
        raise InvalidIdError(kind, value)


def is_id(value: str) -> bool:
    """Return whether `value` is a valid room id."""
    return _is_room_id(value) is not None
