"""What a server knows about a command connection."""

from __future__ import annotations

import asyncio
import re
from typing import NamedTuple

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ResponseError

from wnc_store_redis.transport.connection import Reply
from wnc_store_redis.transport.errors import UnfencedError
from wnc_store_redis.transport.replies import UnexpectedReplyError, is_tuple

_CLIENT = re.compile(rb"\bid=(\d+) addr=(.*?) laddr=")
_NOBODY = (b"ID", b"9223372036854775807")
"""The filter of CLIENT KILL that matches no client. It shows whether the command is permitted."""


_FAR_FUTURE = 9e9
"""The clock of a server that does not reply to TIME. Its scripts use TIME, too, and fail."""

_NUMBER = re.compile(rb"\d{1,9}|[1-8]\d{9}")
"""A number of seconds before `_FAR_FUTURE`, or of microseconds."""


def _is_number(reply: Reply) -> bool:
    return isinstance(reply, bytes) and _NUMBER.fullmatch(reply) is not None


_is_time = is_tuple(_is_number, _is_number)


class Session(NamedTuple):
    """What a server knows about a connection.

    Attributes:
        client: the filters of CLIENT KILL that match this connection only; () if it cannot be killed. After a restart
            of the server, another client may get the same id, but not from the same address.
        clock: the difference between the server's time, in seconds since the epoch, and the event loop's time. The
            estimate is too high by at most the duration of the query.
    """

    client: tuple[bytes, ...] = ()
    clock: float = _FAR_FUTURE


async def start_session(connection: AbstractConnection, predecessor: Session) -> Session:
    """Kill the predecessor of a new connection, and return the session of the new one.

    When a connection breaks, the network and the server's socket may still hold its commands. The server must not run
    them after commands of the new connection, which may repeat them.

    Raises:
        UnfencedError: the server does not kill the predecessor.
        UnexpectedReplyError: the reply to TIME is not a time.
    """
    kill = (b"CLIENT", b"KILL", *(predecessor.client or _NOBODY))
    sent_at = asyncio.get_running_loop().time()
    await connection.send_packed_command(connection.pack_commands([kill, (b"CLIENT", b"INFO"), (b"TIME",)]))
    killed, info, time = [await _read_reply(connection) for _ in range(3)]
    clock = _FAR_FUTURE if isinstance(time, ResponseError) else seconds(time) - sent_at
    if isinstance(killed, ResponseError):
        if predecessor.client:
            raise UnfencedError from killed
        return Session(clock=clock)
    found = _CLIENT.search(info) if isinstance(info, bytes) else None
    return Session((b"ID", found[1], b"ADDR", found[2]) if found else (), clock)


def seconds(time: Reply) -> float:
    """Decode a reply to TIME.

    Raises:
        UnexpectedReplyError: the reply is not a time before `_FAR_FUTURE`.
    """
    if not _is_time(time):
        raise UnexpectedReplyError
    return int(time[0]) + int(time[1]) / 1e6


async def _read_reply(connection: AbstractConnection) -> Reply:
    try:
        return await connection.read_response(disable_decoding=True)  # pyright: ignore[reportUnknownVariableType]
    except ResponseError as error:
        return error
