"""Tests of the first exchange on a connection for commands."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fake_connection import FakeConnection
from wnc_store_redis.transport.replies import UnexpectedReplyError
from wnc_store_redis.transport.session import Session, start_session


async def session_after(killed: Any, info: Any, time: Any) -> Session:
    """Return the session that starts with these replies."""
    connection: Any = FakeConnection()
    vars(connection)["_replies"] = [killed, info, time]
    return await start_session(connection, Session())


TIME = [b"1700000000", b"500000"]


async def test_a_session_knows_its_client_and_the_clock() -> None:
    """A session has the filters that kill its connection, and the difference between the clocks."""
    session = await session_after(0, b"id=7 addr=127.0.0.1:9 laddr=127.0.0.1:6379 fd=8", TIME)
    assert session.client == (b"ID", b"7", b"ADDR", b"127.0.0.1:9")
    assert session.clock == pytest.approx(1700000000.5 - asyncio.get_running_loop().time())


@pytest.mark.parametrize("info", [None, 7, [b"id=7 addr=127.0.0.1:9 laddr=127.0.0.1:6379"], {}, True])
async def test_a_client_of_another_shape_is_unknown(info: Any) -> None:
    """After a reply of another shape to CLIENT INFO, the connection cannot be killed."""
    assert (await session_after(0, info, TIME)).client == ()


@pytest.mark.parametrize("time", [None, 7, b"1700000000", [], [1700000000, 0], [b"x", b"0"], {0: 1, 1: 2}])
async def test_a_time_of_another_shape_fails(time: Any) -> None:
    """A reply of another shape to TIME is an UnexpectedReplyError."""
    with pytest.raises(UnexpectedReplyError):
        await session_after(0, b"", time)
