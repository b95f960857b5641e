"""Tests of the connections to one server: the number of replicas of a replicated write."""

from __future__ import annotations

import asyncio
import gc
import re
from collections.abc import Callable
from typing import Any, cast

import pytest
from redis.exceptions import ResponseError

from eager_tasks import use_eager_tasks
from fake_connection import FakeConnection, FakePool
from virtual_time import idle, now, pass_time
from wnc_store import StoreClosedError
from wnc_store_redis.transport.connection import Reply
from wnc_store_redis.transport.node import Node, call, open_node
from wnc_store_redis.transport.retry import NoReplyError, QueryLostError
from wnc_store_redis.transport.statistics import Statistics


def replicated(pool: FakePool, timeout: float = 60) -> Node:
    """Return the connections to a server whose writes must be on all replicas."""
    return open_node(pool, timeout, Statistics(), is_replicated=True)


@pytest.mark.parametrize(("fail", "reason"), [(FakeConnection.lose, QueryLostError), (id, TimeoutError)])
async def test_a_write_is_not_sent_before_the_replicas_are_counted(
    fail: Callable[[FakeConnection], object], reason: type[Exception]
) -> None:
    """If the query for the replicas gets no reply, the write fails as not sent, and may be repeated after a loss."""
    pool = FakePool()
    node = replicated(pool)
    writing = asyncio.ensure_future(call(node, b"write", now() + 9, writes=True))
    await idle()
    fail(pool.connections[0])
    with pytest.raises(NoReplyError) as caught:
        await writing
    assert (type(caught.value.reason), caught.value.sent) == (reason, False)
    assert all(b"write" not in connection.written for connection in pool.connections)


def info(replicas: int) -> bytes:
    """Return a reply to INFO replication with so many replicas."""
    text = b"role:master\r\nconnected_slaves:%d\r\n" % replicas
    return b"$%d\r\n%b\r\n" % (len(text), text)


async def start_writes(node: Node, *deadlines: float) -> list[asyncio.Task[Reply]]:
    """Begin a replicated write for each deadline, and return their replies."""
    writes = [asyncio.ensure_future(call(node, b"write%d;" % n, end, writes=True)) for n, end in enumerate(deadlines)]
    await idle()
    return writes


async def test_concurrent_writes_share_a_query() -> None:
    """Writes that wait for the number of replicas share a query, also if it fails or one of them is cancelled."""
    pool = FakePool()
    node = replicated(pool)
    first, second, third = await start_writes(node, *[now() + 9] * 3)
    assert pool.connections[0].written.count(b"INFO") == 1
    pool.connections[0].lose()
    await asyncio.wait([first, second, third])
    assert len({first.exception(), second.exception(), third.exception()}) == 3
    first, second, third = await start_writes(node, *[now() + 9] * 3)
    first.cancel()
    await idle()
    pool.connections[1].send(info(2))
    await idle()
    assert pool.connections[1].written.count(b"INFO") == 1
    assert re.findall(rb"write\d|WAIT\r\n\$1\r\n\d", pool.connections[2].written) == [
        b"write1",
        b"write2",
        b"WAIT\r\n$1\r\n2",
    ]
    await node.aclose()


async def test_a_shared_query_extends_and_shortens_no_deadline() -> None:
    """A write whose query is shared with other writes fails at its own deadline, and not at theirs."""
    pool = FakePool()
    node = replicated(pool, 5)
    writes = await start_writes(node, now() + 2, now() + 1, now() + 4)
    await pass_time(1)
    assert [write.done() for write in writes] == [False, True, False]
    await pass_time(1)
    assert [write.done() for write in writes] == [True, True, False]
    assert [type(cast("Any", write.exception()).reason) for write in writes[:2]] == [TimeoutError] * 2
    pool.connections[0].send(info(1))
    await idle()
    assert pool.connections[1].written.startswith(b"write2;")
    writes[2].cancel()
    await node.aclose()


@pytest.mark.parametrize("failure", [b"-LOADING Redis is loading\r\n", info(0)], ids=["an error", "no replica"])
async def test_a_failed_count_is_not_reused(failure: bytes) -> None:
    """A write that follows a failed count of the replicas counts them again, and a successful count is reused."""
    pool = FakePool()
    node = replicated(pool)
    (failed,) = await start_writes(node, now() + 9)
    reads = pool.connections[0]
    reads.send(failure)
    assert isinstance(await failed, ResponseError)
    (counted,) = await start_writes(node, now() + 9)
    reads.send(info(1))
    await idle()
    (reusing,) = await start_writes(node, now() + 9)
    assert reads.written.count(b"INFO") == 2
    assert [connection.written.count(b"write") for connection in pool.connections] == [0, 2]
    for write in (counted, reusing):
        write.cancel()
    await node.aclose()


async def test_a_close_fails_each_waiting_write_with_its_own_error() -> None:
    """If the store is closed before the replicas are counted, each write raises its own StoreClosedError."""
    node = replicated(FakePool(asyncio.Event().wait))
    writes = await start_writes(node, now() + 9, now() + 9)
    await node.aclose()
    errors = await asyncio.gather(*writes, return_exceptions=True)
    assert [type(error) for error in errors] == [StoreClosedError] * 2
    assert errors[0] is not errors[1]


async def test_a_cancelled_wait_does_not_fail_later_writes() -> None:
    """If the task that sends WAIT is cancelled before its first step, the next write has another WAIT."""
    pool = FakePool()
    node = open_node(pool, 60, Statistics(), is_replicated=True, replicas=lambda: 1)
    before = asyncio.all_tasks()
    first = asyncio.ensure_future(call(node, b"first;", now() + 9, writes=True))
    for _ in range(2):  # the call, and the task that writes
        await asyncio.sleep(0)
    for task in asyncio.all_tasks() - {*before, first}:
        task.cancel()
    with pytest.raises(NoReplyError):
        await first
    second = asyncio.ensure_future(call(node, b"second;", now() + 9, writes=True))
    await idle()
    assert b"WAIT" in pool.connections[0].written
    pool.connections[0].send(b"+OK\r\n:1\r\n")
    assert await second == b"OK"
    await node.aclose()


async def test_eager_tasks_share_a_wait() -> None:
    """If the event loop starts tasks eagerly, one WAIT follows all writes of a tick, too."""
    use_eager_tasks()
    pool = FakePool()
    node = open_node(pool, 60, Statistics(), is_replicated=True, replicas=lambda: 1)
    writes = await start_writes(node, now() + 9, now() + 9)
    assert re.findall(rb"write\d|WAIT", pool.connections[0].written) == [b"write0", b"write1", b"WAIT"]
    pool.connections[0].send(b"+OK\r\n+OK\r\n:1\r\n")
    assert await asyncio.gather(*writes) == [b"OK", b"OK"]
    await node.aclose()


async def test_a_count_that_nobody_waits_for_is_not_logged() -> None:
    """If the write that counts the replicas is cancelled, asyncio logs no unhandled error of the count."""
    unhandled: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))
    node = replicated(FakePool(asyncio.Event().wait))
    (write,) = await start_writes(node, now() + 9)
    write.cancel()
    await idle()
    await node.aclose()
    del node, write
    gc.collect()
    assert unhandled == []
