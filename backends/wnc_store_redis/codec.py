"""Encoding of records and durations for Redis."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import chain

_TO_WHITESPACE = bytes(b" \t\n\r"[byte & 3] for byte in range(256))
_NONCE_BYTES = 16
_NONCES_AT_ONCE = 64
"""How many nonces one system call provides."""

_MILLISECOND = timedelta(milliseconds=1)
_MAX_PTTL = timedelta.max // _MILLISECOND


def nonces() -> Iterator[str]:
    """Return an endless iterator of random nonces in whitespace, which JSON parsers ignore after a value.

    A nonce at its end makes every stored value unique. Without it, two processes that make the same change to the same
    room would store equal bytes, and a process whose reply was lost would take the other's commit for its own. A
    message that is added again after its chat was cleared would match the cached newest entry of the old chat.
    """
    return chain.from_iterable(iter(_random_nonces, None))


def _random_nonces() -> Sequence[str]:
    whitespace = os.urandom(_NONCES_AT_ONCE * _NONCE_BYTES).translate(_TO_WHITESPACE).decode()
    return [whitespace[start : start + _NONCE_BYTES] for start in range(0, len(whitespace), _NONCE_BYTES)]


def has_nonce(entry: bytes) -> bool:
    """Return whether a stored value ends in a nonce. Values written by the Node app do not."""
    return entry[-_NONCE_BYTES:].isspace()


def to_millis(duration: timedelta) -> bytes:
    """Return a duration in whole milliseconds, as an argument of PX and PEXPIRE."""
    return str(duration // _MILLISECOND).encode()


def parse_pttl(pttl: int) -> timedelta | None:
    """Return a reply to PTTL as a duration: None if the key does not exist, `timedelta.max` if it never expires."""
    if pttl < 0:
        return timedelta.max if pttl == -1 else None
    return pttl * _MILLISECOND if pttl < _MAX_PTTL else timedelta.max
