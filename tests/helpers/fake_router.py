"""A router with prepared replies, and an executor on it."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from hiredis import Reader

from virtual_time import now
from wnc_store import StoreClosedError
from wnc_store_redis.transport.executor import CommandExecutor
from wnc_store_redis.transport.receiver import Receiver
from wnc_store_redis.transport.retry import NoReplyError
from wnc_store_redis.transport.statistics import Statistics

EXPIRY = b"1700000000000\r\n"
"""The end of a command that writes, which the connection appends."""


class FakeRouter:
    """A router with prepared replies. The last reply repeats.

    Attributes:
        has_failover: whether another server may take over.
        sent: the commands.
        times: when each command was sent.
        keys: the key of each command.
        deadlines: the deadline of each command.
        writes: whether each command was marked as a write.
        on_ask: the command to send after ASK, for each command.
        dropped: the key of each dropped connection.
    """

    endpoint = "host:1"

    def __init__(self, *replies: Any, has_failover: bool = False) -> None:
        self.has_failover = has_failover
        self.replies = list(replies)
        self.sent: list[list[bytes]] = []
        self.times: list[float] = []
        self.keys: list[bytes] = []
        self.deadlines: list[float] = []
        self.writes: list[bool] = []
        self.on_ask: list[bytes | None] = []
        self.dropped: list[bytes] = []

    def start(self) -> None:
        """See `Router.start`."""

    def submit(  # noqa: PLR0913 - see `Router`
        self,
        receiver: Receiver,
        key: bytes,
        packed: bytes,
        deadline: float,
        *,
        writes: bool,
        on_ask: bytes | None = None,
    ) -> None:
        """See `Router.submit`."""
        reader = Reader()
        reader.feed(packed + EXPIRY if writes else packed)
        command: Any = reader.gets()
        assert not writes or command.pop() == EXPIRY.strip()
        self.sent.append(command)
        self.times.append(now())
        self.keys.append(key)
        self.deadlines.append(deadline)
        self.writes.append(writes)
        self.on_ask.append(on_ask)
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if isinstance(reply, NoReplyError | StoreClosedError):
            receiver.set_exception(reply)
        else:
            receiver.set_result(reply)

    def drop(self, key: bytes) -> None:
        """See `Router.drop`."""
        self.dropped.append(key)

    def server_epoch(self, key: bytes) -> bytes:
        """See `Router.server_epoch`. Each key has a different epoch."""
        return key

    @property
    def delays(self) -> Any:
        """The seconds between consecutive commands."""
        return pytest.approx([after - before for before, after in pairwise(self.times)])


def on(router: FakeRouter) -> CommandExecutor:
    """Return an executor with a time-out of ten seconds."""
    untyped: Any = router
    return CommandExecutor(untyped, timedelta(seconds=10), Statistics())
