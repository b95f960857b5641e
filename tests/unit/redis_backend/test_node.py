"""Tests of the connections to one server: the number of replicas of a replicated write."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from fake_connection import FakeConnection, FakePool
from virtual_time import idle, now
from wnc_store_redis.transport.node import NodeClient
from wnc_store_redis.transport.retry import NoReplyError, QueryLostError
from wnc_store_redis.transport.statistics import Statistics


@pytest.mark.parametrize(("fail", "reason"), [(FakeConnection.lose, QueryLostError), (id, TimeoutError)])
async def test_a_write_is_not_sent_before_the_replicas_are_counted(
    fail: Callable[[FakeConnection], object], reason: type[Exception]
) -> None:
    """If the query for the replicas gets no reply, the write fails as not sent, and may be repeated after a loss."""
    pool = FakePool()
    node = NodeClient(pool, 60, Statistics(), is_replicated=True)
    writing = asyncio.ensure_future(node.submit(b"write", now() + 9, writes=True))
    await idle()
    fail(pool.connections[0])
    with pytest.raises(NoReplyError) as caught:
        await writing
    assert (type(caught.value.reason), caught.value.sent) == (reason, False)
    assert all(b"write" not in connection.written for connection in pool.connections)
