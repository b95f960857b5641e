"""Encoding of records and durations for Redis."""

from __future__ import annotations

import os
from datetime import timedelta

from wnc_store import Record, SecretBytes, to_wire

_TO_WHITESPACE = bytes(b" \t\n\r"[byte & 3] for byte in range(256))
_NONCE_BYTES = 16

_MILLISECOND = timedelta(milliseconds=1)
_MAX_PTTL = timedelta.max // _MILLISECOND


def encode_with_nonce(record: Record) -> bytes:
    """Return a record as JSON, followed by a random nonce in whitespace, which JSON parsers ignore.

    The nonce makes every stored value unique. Without it, two processes that make the same change to the same room
    would store equal bytes, and a process whose reply was lost would take the other's commit for its own. A message
    that is added again after its chat was cleared would match the cached newest entry of the old chat.
    """
    return SecretBytes(to_wire(record) + os.urandom(_NONCE_BYTES).translate(_TO_WHITESPACE))


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
