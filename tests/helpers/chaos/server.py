"""A Redis server that writes down everything before it answers, and that can be killed and started again."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from redis.asyncio import Redis

from chaos.ledger import Ledger, read_ledger
from redis_server import RedisServer, running
from waiting import wait_until

_DURABLE = ("--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0")


class DurableServer(RedisServer):
    """A server with an append-only file, flushed before each reply."""

    def __init__(self, *options: str) -> None:
        super().__init__(*_DURABLE, *options)

    def ledger(self) -> Ledger:
        """Return what it has applied so far."""
        return read_ledger(self.folder)


@contextmanager
def durable_server(*options: str) -> Generator[DurableServer]:
    """Run a durable server."""
    server = DurableServer(*options)
    with running(server):
        yield server


@asynccontextmanager
async def admin(url: str) -> AsyncGenerator[Any]:
    """Connect a plain client, for what tests ask a server behind the store's back."""
    client: Any = Redis.from_url(url, protocol=2)  # pyright: ignore[reportUnknownMemberType]
    async with client:
        yield client


async def quiet(client: Any) -> None:
    """Wait until `client` is the only one connected: whatever others have sent is done by then, or never will be.

    Raises:
        TimeoutError: others stay.
    """

    async def is_alone() -> bool:
        return len(await client.client_list()) == 1

    await wait_until(is_alone)
