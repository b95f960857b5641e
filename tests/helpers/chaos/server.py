"""A Redis server that logs every write before it replies, and that can be killed and restarted."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from typing import Any

from redis.asyncio import Redis

from chaos.ledger import Ledger, read_ledger
from redis_server import RedisServer, running
from waiting import wait_until
from wnc_store import StoreSettings

PATIENT = StoreSettings(operation_timeout=timedelta(hours=1), rate_limit_window=timedelta(days=1))
"""Settings with a deadline that no test reaches, except by advancing the clock. No key expires during a test."""

_DURABLE = ("--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0")


class DurableServer(RedisServer):
    """A server with an append-only file, which it flushes before each reply."""

    def __init__(self, *options: str) -> None:
        super().__init__(*_DURABLE, *options)

    def ledger(self) -> Ledger:
        """Return the ledger of the applied writes."""
        return read_ledger(self.folder)


@contextmanager
def durable_server(*options: str) -> Generator[DurableServer]:
    """Run a durable server."""
    server = DurableServer(*options)
    with running(server):
        yield server


@asynccontextmanager
async def admin(url: str) -> AsyncGenerator[Any]:
    """Connect a plain client for commands that bypass the store."""
    client: Any = Redis.from_url(url, protocol=2)  # pyright: ignore[reportUnknownMemberType]
    async with client:
        yield client


@asynccontextmanager
async def emptied(url: str) -> AsyncGenerator[Any]:
    """Connect a plain client to a database that is empty before and after the context."""
    async with admin(url) as client:
        await client.flushdb()
        yield client
        await client.flushdb()


async def quiet(client: Any) -> None:
    """Wait until `client` is the only connection, so that all commands of other clients have been processed.

    Raises:
        TimeoutError: other clients stay connected.
    """

    async def is_alone() -> bool:
        return len(await client.client_list()) == 1

    await wait_until(is_alone)
