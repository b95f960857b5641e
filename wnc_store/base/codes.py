"""Random room codes, which people read aloud and type."""

from __future__ import annotations

import secrets

CODE_ALPHABET = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"
"""Capital letters and digits without those that look alike: I, L, O, 0 and 1."""

MAX_CODE_LENGTH = 128
"""Largest length of a room id."""


def new_room_code(length: int) -> str:
    """Return a random room code of this length.

    Raises:
        ValueError: `length` is not an integer (booleans are rejected), is below 1 or is above 128.
    """
    if type(length) is not int or not 1 <= length <= MAX_CODE_LENGTH:
        raise ValueError(f"length must be an integer from 1 to {MAX_CODE_LENGTH}, got {length!r}")
    return "".join([secrets.choice(CODE_ALPHABET) for _ in range(length)])
