"""The slow link, for a connection whose transport redis-py does not show."""

from __future__ import annotations

import asyncio
import logging
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest

from virtual_time import idle
from wnc_store_redis.transport import connection as module
from wnc_store_redis.transport.connection import StreamConnection, open_connection


async def forever(**_: object) -> None:
    """Wait for a reply that never comes."""
    await asyncio.Event().wait()


def connection(**attributes: Any) -> Any:
    """Return a connection that takes what is sent, shows no transport, and says nothing."""
    methods = ("send_packed_command", "read_response", "disconnect")
    made = Mock(spec_set=[*methods, *attributes], **attributes)
    made.send_packed_command, made.disconnect = AsyncMock(), AsyncMock()
    made.read_response = forever
    return made


async def test_what_is_written_at_once_is_sent_at_once() -> None:
    """The commands of a tick go in one write."""
    one = connection()
    link = StreamConnection(one, AsyncMock(), Mock(), Mock())
    link.write([b"a", b"b"])
    await idle()
    await link.aclose()
    one.send_packed_command.assert_awaited_once_with([b"ab"])


async def test_a_missing_attribute_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """Where redis-py has no `_writer` any more, one line says so; of one that has it, but no stream, none."""
    module._warn_slow_path.cache_clear()
    for made, told in ((connection(_writer=None), 0), (connection(), 1), (connection(), 1)):
        pool = Mock(get_connection=AsyncMock(return_value=made), release=AsyncMock())
        with caplog.at_level(logging.WARNING, "wnc_store"):
            link = await open_connection(pool, Mock(), Mock())
        assert isinstance(link, StreamConnection)
        await link.aclose()
        assert sum("does not expose the transport" in record.getMessage() for record in caplog.records) == told
