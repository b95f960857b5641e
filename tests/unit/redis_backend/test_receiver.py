"""Tests of tasks that send a command and pass its outcome to a receiver."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest
from redis.asyncio.client import PubSub

from fake_connection import FakePool
from virtual_time import idle
from wnc_store import StoreClosedError
from wnc_store_redis import RedisStore
from wnc_store_redis.transport.connection import ConnectionFactory
from wnc_store_redis.transport.receiver import forward
from wnc_store_redis.transport.retry import NoReplyError
from wnc_store_redis.transport.sentinel_monitor import SentinelMonitor
from wnc_store_redis.transport.tasks import BackgroundTasks


class Forwarded:
    """A forwarded command whose test decides the outcome.

    Attributes:
        outcome: the outcome of the task; without one the task hangs.
        receiver: gets the outcome.
        cancelled: whether the task was cancelled.
    """

    def __init__(self) -> None:
        self.outcome: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.receiver: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.cancelled = False
        forward(BackgroundTasks(), self._send(), self.receiver)

    async def _send(self) -> Any:
        try:
            return await self.outcome
        except asyncio.CancelledError:
            self.cancelled = True
            raise


async def test_the_outcome_is_passed_on() -> None:
    """The receiver gets the reply or the error of the task."""
    replied, failed = Forwarded(), Forwarded()
    await idle()
    replied.outcome.set_result(b"reply")
    failed.outcome.set_exception(StoreClosedError())
    assert await replied.receiver == b"reply"
    with pytest.raises(StoreClosedError):
        await failed.receiver


async def test_a_cancelled_receiver_cancels_the_task() -> None:
    """A future that is cancelled cancels the task, and its outcome is discarded."""
    forwarded = Forwarded()
    await idle()
    forwarded.receiver.cancel()
    await idle()
    assert forwarded.cancelled


async def test_a_cancelled_task_may_have_sent_the_command() -> None:
    """A task that the application cancels is a missing reply to a command that may have been sent."""
    forwarded, others = Forwarded(), Forwarded()
    await idle()
    forwarded.outcome.cancel()
    with pytest.raises(NoReplyError) as caught:
        await forwarded.receiver
    assert caught.value.sent
    assert type(caught.value.reason) is ConnectionError
    assert not others.receiver.done()
    others.outcome.set_result(b"reply")
    assert await others.receiver == b"reply"


def forwarding_tasks() -> list[str]:
    """Return the names of the running coroutines that send a command."""
    coroutines = [task.get_coro() for task in asyncio.all_tasks()]
    names = [coroutine.__qualname__ for coroutine in coroutines if isinstance(coroutine, Coroutine)]
    return [name for name in names if name.endswith("Router._send_later")]


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("redis+cluster://host:1", "ClusterRouter._send_later"),
        ("redis+sentinel://host:1/service", "SentinelRouter._send_later"),
    ],
)
async def test_a_cancelled_call_leaves_no_task(monkeypatch: pytest.MonkeyPatch, url: str, name: str) -> None:
    """A write that is cancelled before its server is known ends the task that sends its command."""
    pool = FakePool(asyncio.Event().wait)
    monkeypatch.setattr(ConnectionFactory, "get_connection", AsyncMock(side_effect=pool.get_connection))
    monkeypatch.setattr(SentinelMonitor, "discover_master", AsyncMock(side_effect=asyncio.Event().wait))
    monkeypatch.setattr(SentinelMonitor, "is_failing_over", Mock(return_value=True))
    monkeypatch.setattr(PubSub, "psubscribe", AsyncMock(side_effect=asyncio.Event().wait))
    async with RedisStore.from_url(url) as store:
        call = asyncio.ensure_future(store.rooms.delete_room("A"))
        await idle()
        assert forwarding_tasks() == [name]
        call.cancel()
        await idle()
        assert call.cancelled()
        assert forwarding_tasks() == []
