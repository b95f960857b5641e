"""Validation of ids."""

from __future__ import annotations

import re

from wnc_store.errors import InvalidIdError

# Glob characters, braces (they select the slot in a Redis Cluster) and whitespace (it breaks logs) are excluded.
_is_id = re.compile(r"[A-Za-z0-9_.:-]{1,128}").fullmatch


def check_id(kind: str, value: object) -> str:
    """Return `value` if it is a valid id: 1-128 characters of `A-Z a-z 0-9 _ - . :`.

    Args:
        kind: Kind of the id for the error message, for example "room id".
        value: Value to check.

    Raises:
        InvalidIdError: `value` is not a valid id.
    """
    if isinstance(value, str) and _is_id(value):
        return value
    raise InvalidIdError(kind, value)


def is_id(value: str) -> bool:
    """Return whether `value` is a valid id."""
    return _is_id(value) is not None
