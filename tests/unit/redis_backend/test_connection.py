"""Tests of connections whose transport redis-py does not expose."""

from __future__ import annotations

import asyncio
import logging
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest

from virtual_time import idle
from wnc_store_redis.transport import connection as module
from wnc_store_redis.transport.connection import StreamConnection, open_connection


async def never_reply(**_: object) -> None:
    """Wait for a reply that never arrives."""
    await asyncio.Event().wait()


def connection(**attributes: Any) -> Any:
    """Return a connection of the driver that accepts commands, exposes no transport, and sends no replies."""
    methods = ("send_packed_command", "read_response", "disconnect")
    driver_connection = Mock(spec_set=[*methods, *attributes], **attributes)
    driver_connection.send_packed_command, driver_connection.disconnect = AsyncMock(), AsyncMock()
    driver_connection.read_response = never_reply
    return driver_connection


async def test_commands_of_one_write_are_sent_together() -> None:
    """The commands of one call of write() are sent in one call of the driver."""
    driver_connection = connection()
    pipelined = StreamConnection(driver_connection, Mock(), Mock())
    pipelined.write([b"a", b"b"])
    await idle()
    await pipelined.aclose()
    driver_connection.send_packed_command.assert_awaited_once_with([b"ab"])


async def test_a_missing_transport_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """One warning is logged if connections have no `_writer`, and none if the `_writer` is not a stream."""
    module._warn_slow_path.cache_clear()
    for driver_connection, warnings in ((connection(_writer=None), 0), (connection(), 1), (connection(), 1)):
        pool = Mock(get_connection=AsyncMock(return_value=driver_connection))
        with caplog.at_level(logging.WARNING, "wnc_store"):
            pipelined = await open_connection(pool, Mock(), Mock())
        assert isinstance(pipelined, StreamConnection)
        await pipelined.aclose()
        assert sum("does not expose the transport" in record.getMessage() for record in caplog.records) == warnings


async def test_a_late_reply_over_a_detached_connection_is_discarded() -> None:
    """A reply that arrives after the connection was detached is not delivered."""
    driver_connection, replied, on_replies = connection(), asyncio.Event(), Mock()

    async def reply_once(**_: object) -> bytes:
        await replied.wait()
        replied.clear()
        return b"late"

    driver_connection.read_response = reply_once
    pipelined = StreamConnection(driver_connection, on_replies, Mock())
    await idle()
    replied.set()
    pipelined.detach()
    await idle()
    await pipelined.aclose()
    on_replies.assert_not_called()
