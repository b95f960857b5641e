"""A Redis server that writes down everything before it answers, and that can be killed and started again."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import AsyncGenerator, Generator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from chaos.ledger import Ledger, read_ledger
from redis_server import RedisServer, free_port, redis_server
from waiting import until

_DURABLE = ("--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0")


class DurableServer:
    """A server with an append-only file, flushed before each reply."""

    def __init__(self, data: Path, *options: str) -> None:
        self.port = free_port()
        self._data = data
        self._options = options
        self._running = ExitStack()
        self._server: RedisServer | None = None

    @property
    def url(self) -> str:
        """The URL of database 0."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, and wait until it has loaded its data."""
        options = (*_DURABLE, *self._options)
        self._server = self._running.enter_context(redis_server(*options, port=self.port, data=self._data))

    def kill(self) -> None:
        """Kill it as `kill -9` does; return when it is dead."""
        if self._server is not None:
            os.kill(self._server.process_id, signal.SIGKILL)
        self.stop()

    def stop(self) -> None:
        """Stop it, if it runs."""
        self._server = None
        self._running.close()

    def ledger(self) -> Ledger:
        """Return what it has applied so far."""
        return read_ledger(self._data)


@contextmanager
def durable_server(*options: str) -> Generator[DurableServer]:
    """Run a durable server with a data folder of its own."""
    with tempfile.TemporaryDirectory(prefix="wnc-data-") as folder:
        server = DurableServer(Path(folder), *options)
        try:
            server.start()
            yield server
        finally:
            server.stop()


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

    await until(is_alone)
