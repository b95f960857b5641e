"""Shapes of replies. A server or proxy may send another one, for example if replies no longer match requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any, TypeVar, cast

from redis.crc import REDIS_CLUSTER_HASH_SLOTS

from wnc_store_redis.transport.connection import Reply

IsValid = Callable[[Reply], bool]
"""Returns whether a reply has the shape that its command or script documents. An error never has it."""


_MAX_TIMESTAMP = 2**33
"""A time in epoch seconds that every version of Python can convert to a date."""


_T = TypeVar("_T")

Decode = Callable[[Reply], _T]
"""Returns the value of a reply. Raises `UnexpectedReplyError` if `IsValid` of its command or script would be false."""


class UnexpectedReplyError(ConnectionError):
    """Raised when a reply does not have the shape of its command's replies, for example because it is an error."""


def expect(is_valid: IsValid) -> Decode[Any]:
    """Return a decoder of replies with a shape, which returns them unchanged."""

    def decode(reply: Reply) -> Reply:
        if is_valid(reply):
            return reply
        raise UnexpectedReplyError

    return decode


def is_integer(reply: Reply) -> bool:
    """Return whether a reply is an integer. A boolean of RESP3 is not one."""
    return type(reply) is int


def is_count(reply: Reply) -> bool:
    """Return whether a reply is an integer of at least 0."""
    return type(reply) is int and reply >= 0


def is_flag(reply: Reply) -> bool:
    """Return whether a reply is 0 or 1."""
    return type(reply) is int and 0 <= reply <= 1


def is_bytes(reply: Reply) -> bool:
    """Return whether a reply is a string."""
    return isinstance(reply, bytes)


def is_optional_bytes(reply: Reply) -> bool:
    """Return whether a reply is a string or nil."""
    return reply is None or isinstance(reply, bytes)


def is_bytes_list(reply: Reply) -> bool:
    """Return whether a reply is a list of strings."""
    return isinstance(reply, list) and all(map(is_bytes, cast("list[Reply]", reply)))


def is_tuple(*shapes: IsValid) -> IsValid:
    """Return a function that returns whether a reply is a list with one element of each shape."""

    def is_valid(reply: Reply) -> bool:
        return (
            isinstance(reply, list)
            and len(cast("list[Reply]", reply)) == len(shapes)
            and all(shape(element) for shape, element in zip(shapes, cast("list[Reply]", reply), strict=True))
        )

    return is_valid


def is_bytes_map(reply: Reply) -> bool:
    """Return whether a reply is a list of names and values over RESP2, or a map over RESP3, of strings."""
    if isinstance(reply, dict):
        return all(map(is_bytes, chain.from_iterable(cast("dict[Reply, Reply]", reply).items())))
    return is_bytes_list(reply) and len(reply) % 2 == 0


def is_slow_log(reply: Reply) -> bool:
    """Return whether a reply is a list of slow log entries: id, time, microseconds, command and more."""
    start = is_tuple(is_count, _is_timestamp, is_count, is_bytes_list)
    return isinstance(reply, list) and all(
        isinstance(entry, list) and start(cast("list[Reply]", entry)[:4]) for entry in cast("list[Reply]", reply)
    )


def is_slot_map(reply: Reply) -> bool:
    """Return whether a reply is one to CLUSTER SLOTS: ranges with a first slot, a last slot and a master.

    A master is a list that starts with its host and port.
    """
    address = is_tuple(is_optional_bytes, is_count)
    start = is_tuple(_is_slot, _is_slot, lambda master: isinstance(master, list) and address(master[:2]))
    return isinstance(reply, list) and all(
        isinstance(entry, list) and start(cast("list[Reply]", entry)[:3]) for entry in cast("list[Reply]", reply)
    )


def _is_timestamp(reply: Reply) -> bool:
    return is_count(reply) and reply < _MAX_TIMESTAMP


def _is_slot(reply: Reply) -> bool:
    return is_count(reply) and reply < REDIS_CLUSTER_HASH_SLOTS


SHAPES: Mapping[bytes, Decode[Any]] = {
    b"CLIENT": expect(is_bytes),
    b"CONFIG": expect(is_bytes_map),
    b"EXISTS": expect(is_count),
    b"GET": expect(is_optional_bytes),
    b"INFO": expect(is_bytes),
    b"LRANGE": expect(is_bytes_list),
    b"PING": expect(is_bytes),
    b"PTTL": expect(is_integer),
    b"SCARD": expect(is_count),
    b"SLOWLOG": expect(is_slow_log),
    b"SSCAN": expect(is_tuple(is_bytes, is_bytes_list)),
}
"""Command that is not a script -> decoder that checks the shape of its replies."""
