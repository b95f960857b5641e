"""wnc-store's Redis backend with one of its techniques taken out, to see what that one brings.

Each function changes classes of the backend, so it is for a process that does nothing else.
"""

# What is taken out is no option of the backend, so this reaches into it.
# ruff: noqa: SLF001
# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from redis.asyncio import ConnectionPool

from wnc_store import Room, Store, StoreSettings, open_store
from wnc_store_redis.cache import ChatCache
from wnc_store_redis.room_storage import RoomStorage
from wnc_store_redis.rooms import RedisRoomStore
from wnc_store_redis.transport import multiplexer
from wnc_store_redis.transport.connection import Reply, StreamConnection
from wnc_store_redis.transport.multiplexer import MultiplexedConnection


def group_commit(url: str, settings: StoreSettings) -> Store:
    """Let each change of a room be committed by itself, on top of the room as it was seen last or found in conflict."""

    async def commit(self: RedisRoomStore, room_id: str, rule: Callable[[Room], Room | None]) -> Room | None:
        current = self._storage.cached(room_id) or await self._storage.get(room_id)
        while current is not None:
            after = rule(current.room)
            conflict = await self._compare_and_set(current, after)
            if conflict is None:
                return after
            current = conflict.current
        return None

    RedisRoomStore._update = commit
    return open_store(url, settings=settings)


def room_seen_last(url: str, settings: StoreSettings) -> Store:
    """Read a room before each commit; reading still parses only what has changed."""

    def nothing(self: RoomStorage, room_id: str) -> None:
        del self, room_id

    RoomStorage.cached = nothing
    return open_store(url, settings=settings)


def append_hints(url: str, settings: StoreSettings) -> Store:
    """Let the server look through the kept messages for the id of each new one."""

    def nothing(self: ChatCache, room_id: str, message_id: str) -> tuple[bytes, bytes]:
        del self, room_id, message_id
        return b"", b""

    ChatCache.append_hint = nothing
    return open_store(url, settings=settings)


def shared_writes(url: str, settings: StoreSettings) -> Store:
    """Send each command in a write of its own."""
    submit = MultiplexedConnection.submit

    def submit_now(self: MultiplexedConnection, packed: bytes, deadline: float) -> asyncio.Future[Reply]:
        future = submit(self, packed, deadline)
        self._flush()
        return future

    MultiplexedConnection.submit = submit_now
    return open_store(url, settings=settings)


def transport(url: str, settings: StoreSettings) -> Store:
    """Let redis-py read each reply from its stream; commands of a tick still share a write."""

    async def by_redis_py(
        pool: ConnectionPool,
        on_replies: Callable[[Sequence[Reply]], None],
        on_lost: Callable[[BaseException], None],
    ) -> StreamConnection:
        connection = await pool.get_connection()

        async def give_back() -> None:
            await connection.disconnect()
            await pool.release(connection)

        return StreamConnection(connection, give_back, on_replies, on_lost)

    module: Any = multiplexer
    module.open_connection = by_redis_py
    return open_store(url, settings=settings)
