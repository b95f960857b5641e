"""What an id may look like: checked before anything is sent."""

from __future__ import annotations

import re

from wnc_store.errors import InvalidIdError

# No glob characters, no braces (they choose a Redis Cluster slot), no blanks or line ends (they break logs).
_is_id = re.compile(r"[A-Za-z0-9_.:-]{1,128}").fullmatch


def check_id(kind: str, value: object) -> str:
    """Return `value` if it is a valid id.

    Args:
        kind: "room id", "user id", ... for the error.
        value: 1-128 characters of `A-Z a-z 0-9 _ - . :`.

    Raises:
        InvalidIdError: it is anything else.
    """
    if isinstance(value, str) and _is_id(value):
        return value
    raise InvalidIdError(kind, value)


def is_id(value: str) -> bool:
    """Tell whether `value` is a valid id."""
    return _is_id(value) is not None
