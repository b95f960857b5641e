"""Results of the Lua scripts, and the decoders of their replies."""

from __future__ import annotations

import re
from datetime import timedelta
from enum import Enum
from typing import NamedTuple, cast

from wnc_store import CorruptRecordError, SecretBytes
from wnc_store.base import Committed
from wnc_store_redis.codec import parse_pttl
from wnc_store_redis.keys import text
from wnc_store_redis.transport.connection import Reply
from wnc_store_redis.transport.replies import (
    UnexpectedReplyError,
    is_bytes_list,
    is_count,
    is_flag,
    is_integer,
    is_optional_bytes,
    is_tuple,
)

COMMITTED = Committed()
_UNKNOWN = -1

_COUNT = re.compile(rb"0|[1-9]\d{0,14}")
"""A valid count: the same check as in `hit.lua`."""


class StoredBytes(NamedTuple):
    """COMMIT changed nothing, because the room has these bytes, or does not exist if `data` is None."""

    data: bytes | None


class Appended(NamedTuple):
    """APPEND stored the message after the entry `previous`, or b"" if there was none. The chat has `size` entries."""

    size: int
    previous: bytes


class Similar(NamedTuple):
    """APPEND stored nothing, because these entries may have the id of the message. Decode them to compare the ids."""

    entries: list[bytes]


class NotAppended(Enum):
    """APPEND stored nothing."""

    ALREADY_PRESENT = 0
    """An earlier attempt has stored the message."""
    UNKNOWN = _UNKNOWN
    """An earlier attempt may have stored the message, and others may have removed it since."""


class Edited(Enum):
    """Result of EDIT, unless the chat lacks the expected entry (see `StoredEntries`)."""

    DONE = 1
    """The message was replaced or removed."""
    DONE_BEFORE = 0
    """An earlier attempt has replaced or removed the message."""
    UNKNOWN = _UNKNOWN
    """An earlier attempt may have replaced or removed the message, and others may have changed the chat since."""


class StoredEntries(NamedTuple):
    """EDIT changed nothing, because the chat lacks the expected entry. `entries` are its current entries."""

    entries: list[bytes]


class Lease(NamedTuple):
    """Result of ACQUIRE: whether the connection has a lease, and the number of leases of the client."""

    is_active: bool
    total: int


class Peeked(NamedTuple):
    """Result of PEEK: the remaining time of the window and the stored count, both None outside a window."""

    remaining: timedelta | None
    stored: bytes | None


class Window(NamedTuple):
    """The number of hits, and the remaining time of the window."""

    hits: int
    remaining: timedelta


_is_not_committed = is_tuple(lambda reply: is_count(reply) and reply == 0, is_optional_bytes)
_is_lease = is_tuple(is_flag, is_count)
_is_window = is_tuple(is_count, is_count)
_is_peeked = is_tuple(is_integer, is_optional_bytes)


def decode_commit(reply: Reply) -> Committed | StoredBytes:
    """Decode a reply to COMMIT."""
    if is_integer(reply) and reply == 1:
        return COMMITTED
    if _is_not_committed(reply):
        return StoredBytes(None if reply[1] is None else SecretBytes(reply[1]))
    raise UnexpectedReplyError


def decode_append(reply: Reply) -> int | Appended | Similar | NotAppended:
    """Decode a reply to APPEND. A positive integer is the size of a chat whose newest entry was equal to the hint."""
    if type(reply) is int and reply >= _UNKNOWN:
        return reply if reply > 0 else NotAppended(reply)
    if isinstance(reply, list) and len(cast("list[Reply]", reply)) > 1:
        size, *entries = cast("list[Reply]", reply)
        if is_count(size) and is_bytes_list(entries) and (size == 0 or len(entries) == 1):
            secret: list[bytes] = [SecretBytes(entry) for entry in entries]
            return Appended(size, secret[0]) if size else Similar(secret)
    raise UnexpectedReplyError


def decode_edit(reply: Reply) -> Edited | StoredEntries:
    """Decode a reply to EDIT."""
    if is_bytes_list(reply):
        return StoredEntries([SecretBytes(entry) for entry in reply])
    if is_integer(reply) and _UNKNOWN <= reply <= 1:
        return Edited(reply)
    raise UnexpectedReplyError


def decode_acquire(reply: Reply) -> Lease:
    """Decode a reply to ACQUIRE."""
    if not _is_lease(reply):
        raise UnexpectedReplyError
    is_active, total = reply
    return Lease(bool(is_active), total)


def decode_hit(reply: Reply) -> Window:
    """Decode a reply to HIT."""
    if not _is_window(reply):
        raise UnexpectedReplyError
    hits, pttl = reply
    return Window(hits, parse_pttl(pttl) or timedelta(0))


def decode_peek(reply: Reply) -> Peeked:
    """Decode a reply to PEEK."""
    if not _is_peeked(reply):
        raise UnexpectedReplyError
    pttl, stored = reply
    return Peeked(parse_pttl(pttl), stored)


def decode_probe(reply: Reply) -> list[bytes]:
    """Decode a reply to PROBE: commands, each followed by its error."""
    if is_bytes_list(reply) and len(reply) % 2 == 0:
        return reply
    raise UnexpectedReplyError


def window_of(peeked: Peeked, key: bytes, full_window: timedelta) -> Window:
    """Return the window of a count. A count that never expires has a full window, because the next hit starts it.

    Raises:
        CorruptRecordError: the stored value is not a count. The error names the key.
    """
    remaining, stored = peeked
    if stored is None or remaining is None:
        return Window(0, timedelta(0))
    if not _COUNT.fullmatch(stored):
        raise CorruptRecordError(text(key), "expected an integer from 0 to 999999999999999")
    return Window(int(stored), full_window if remaining == timedelta.max else remaining)
