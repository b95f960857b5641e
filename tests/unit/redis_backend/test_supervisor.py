"""Tests of the connection supervisor."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from unittest.mock import Mock

import pytest

from fake_connection import FakePool
from virtual_time import idle, now
from wnc_store import StoreClosedError
from wnc_store_redis.transport.connection import open_connection
from wnc_store_redis.transport.retry import ConnectHungError
from wnc_store_redis.transport.supervisor import ConnectionSupervisor

TIMEOUT_SECONDS = 5


async def hang() -> None:
    """Wait indefinitely."""
    await asyncio.Event().wait()


async def refuse() -> None:
    """Fail to connect."""
    raise ConnectionRefusedError


class Supervised:
    """A supervisor of a fake connection, and mocks of its callbacks."""

    def __init__(self, connect: Callable[[], Awaitable[object]] | None = None) -> None:
        self.pool = FakePool(connect)
        self.on_connect, self.on_disconnect = Mock(), Mock()
        self.supervisor = ConnectionSupervisor(
            partial(open_connection, self.pool, Mock()), TIMEOUT_SECONDS, self.on_connect, self.on_disconnect
        )

    async def wait_connected(self, callers: int) -> list[BaseException | None]:
        """Wait for the connection in several callers, and return what each of them raised."""
        calls = (self.supervisor.wait_connected() for _ in range(callers))
        return await asyncio.gather(*calls, return_exceptions=True)


async def test_callers_share_an_attempt() -> None:
    """Callers that wait for the connection at the same time share one attempt."""
    supervised = Supervised()
    assert await supervised.wait_connected(3) == [None] * 3
    supervised.on_connect.assert_called_once_with(None)
    assert len(supervised.pool.connections) == 1


@pytest.mark.parametrize(
    ("connect", "error", "seconds"), [(hang, ConnectHungError, 5), (refuse, ConnectionRefusedError, 0)]
)
async def test_a_failed_attempt_fails_each_caller(
    connect: Callable[[], Awaitable[object]], error: type[Exception], seconds: float
) -> None:
    """A failed attempt raises its error in each caller; an attempt that times out raises a ConnectHungError."""
    supervised = Supervised(connect)
    started_at = now()
    assert [type(raised) for raised in await supervised.wait_connected(2)] == [error, error]
    assert now() - started_at == seconds
    supervised.on_connect.assert_called_once()


@pytest.mark.parametrize("has_started", [False, True])
async def test_a_cancelled_attempt_is_reported(has_started: bool) -> None:
    """An attempt that the application cancels is reported, so the commands that wait for it fail at once."""
    supervised = Supervised(hang)
    attempt = supervised.supervisor.connect()
    if has_started:
        await idle()
    attempt.cancel()
    await idle()
    assert [type(call.args[0]) for call in supervised.on_connect.call_args_list] == [ConnectionError]


async def test_a_cancelled_caller_does_not_cancel_the_attempt() -> None:
    """A caller that is cancelled leaves the attempt to the other callers."""
    connecting = asyncio.Event()
    supervised = Supervised(connecting.wait)
    first, second = (asyncio.ensure_future(supervised.supervisor.wait_connected()) for _ in range(2))
    await idle()
    first.cancel()
    await idle()
    connecting.set()
    await second
    assert supervised.supervisor.connection is not None


async def test_a_lost_connection_is_detached_closed_and_replaced() -> None:
    """A connection that is lost is reported once and closed, and the next caller opens another one."""
    supervised = Supervised()
    await supervised.wait_connected(1)
    supervised.pool.connections[0].lose()
    assert supervised.supervisor.connection is None
    supervised.on_disconnect.assert_called_once()
    await supervised.wait_connected(1)
    assert [connection.closed for connection in supervised.pool.connections] == [True, False]


@pytest.mark.parametrize("ticks", range(3))
async def test_closing_fails_waiting_callers(ticks: int) -> None:
    """aclose() at any moment of an attempt raises StoreClosedError in its callers, and in later ones."""
    supervised = Supervised(hang)
    waiting = asyncio.ensure_future(supervised.wait_connected(2))
    for _ in range(ticks):
        await asyncio.sleep(0)
    await supervised.supervisor.aclose()
    assert [type(raised) for raised in await waiting] == [StoreClosedError] * 2
    with pytest.raises(StoreClosedError):
        await supervised.supervisor.wait_connected()


async def test_closing_is_not_a_disconnect() -> None:
    """aclose() closes the connection without reporting a lost connection."""
    supervised = Supervised()
    await supervised.wait_connected(1)
    await supervised.supervisor.aclose()
    assert supervised.pool.connections[0].closed
    supervised.on_disconnect.assert_not_called()
