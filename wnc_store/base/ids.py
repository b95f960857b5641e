"""Validation of ids."""

from __future__ import annotations

import re
from typing import Literal

from wnc_store.errors import InvalidIdError

IdKind = Literal["room id", "connection key", "connection id", "rate limit key", "user id", "message id"]

# Room ids become keys and channels: glob characters, braces (they select the slot in a Redis Cluster) and whitespace
# (it breaks logs) are excluded.
_is_room_id = re.compile(r"[A-Za-z0-9_.:-]{1,128}").fullmatch
# The other characters occur in addresses with a zone or a prefix length, and in user ids that identify a client.
_is_key = re.compile(r"[A-Za-z0-9_.:%/@|+=~-]{1,128}").fullmatch
_is_text = re.compile(r"(?!\s)[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,128}(?<!\s)").fullmatch

_IS_VALID = {
    "room id": _is_room_id,
    **dict.fromkeys(("connection key", "connection id", "rate limit key"), _is_key),
    **dict.fromkeys(("user id", "message id"), _is_text),
}


def check_id(kind: IdKind, value: object) -> str:
    """Return `value` if it is a valid id of its kind. `wnc_store.protocols` states which ids are valid.

    Args:
        kind: Kind of the id.
        value: Value to check.

    Raises:
        InvalidIdError: `value` is not a valid id.
    """
    if isinstance(value, str) and _IS_VALID[kind](value):
        return value
    raise InvalidIdError(kind, value)


def is_id(value: str) -> bool:
    """Return whether `value` is a valid room id."""
    return _is_room_id(value) is not None
