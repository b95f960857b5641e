"""The servers that loads run on, and access to what they applied."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from chaos.ledger import Ledger
from chaos.server import DurableServer, admin, durable_server, quiet
from wnc_store import RoomEvent, from_wire


class Target(Protocol):
    """A server, which is accessed without faults."""

    @property
    def port(self) -> int:
        """The TCP port."""
        ...

    def url(self, port: int) -> str:
        """Return the URL of a store on the server, which is reached at a local port."""
        ...

    async def ledger(self) -> Ledger:
        """Return the ledger of the applied writes, after all connections have ended."""
        ...

    async def list_rooms(self, room_ids: Iterable[str]) -> None:
        """Add ids to the index of active rooms."""
        ...

    async def find_rooms(self, room_ids: Sequence[str]) -> tuple[set[str], set[str]]:
        """Return the index of active rooms, and which of some rooms exist at the same moment."""
        ...

    def observe(self, room_id: str) -> AbstractAsyncContextManager[AsyncIterator[RoomEvent]]:
        """Receive the events of a room."""
        ...


MakeTarget = Callable[[], AbstractAsyncContextManager[Target]]


class RedisTarget:
    """A Redis server."""

    def __init__(self, server: DurableServer) -> None:
        self._server = server

    @property
    def port(self) -> int:
        """The TCP port."""
        return self._server.port

    def url(self, port: int) -> str:
        """Return the URL of database 0."""
        return f"redis://127.0.0.1:{port}/0"

    async def ledger(self) -> Ledger:
        """Read the append-only file."""
        async with admin(self._server.url) as client:
            await quiet(client)
        return self._server.ledger()

    async def list_rooms(self, room_ids: Iterable[str]) -> None:
        """SADD."""
        async with admin(self._server.url) as client:
            await client.sadd("active-rooms", *room_ids)

    async def find_rooms(self, room_ids: Sequence[str]) -> tuple[set[str], set[str]]:
        """EXISTS and SMEMBERS in a transaction."""
        async with admin(self._server.url) as client, client.pipeline() as pipeline:
            for room in room_ids:
                pipeline.exists(f"room:{room}")
            *exist, entries = await pipeline.smembers("active-rooms").execute()
        live = {room for room, exists in zip(room_ids, exist, strict=True) if exists}
        return {entry.decode() for entry in entries}, live

    @asynccontextmanager
    async def observe(self, room_id: str) -> AsyncGenerator[AsyncIterator[RoomEvent]]:
        """SUBSCRIBE."""
        async with admin(self._server.url) as client, client.pubsub() as channel:
            await channel.subscribe(f"events:{room_id}")

            async def events() -> AsyncIterator[RoomEvent]:
                async for found in channel.listen():
                    if found["type"] == "message":
                        yield from_wire(RoomEvent, found["data"], key=room_id)

            yield events()


@asynccontextmanager
async def redis_target() -> AsyncGenerator[Target]:
    """Run a new Redis server."""
    with durable_server() as server:
        yield RedisTarget(server)
