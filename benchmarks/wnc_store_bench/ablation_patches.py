"""Patches that disable one technique of the Redis backend each, to measure its effect.

Each function patches classes of the backend, so it must run in a separate process.
"""

# The techniques are not options of the backend, so the patches replace private methods.
# ruff: noqa: SLF001
# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection

from wnc_store import Room, Store, StoreSettings, open_store
from wnc_store.base import Transition, VersionMismatch
from wnc_store_redis.cache import ChatCache
from wnc_store_redis.room_storage import RoomStorage
from wnc_store_redis.rooms import RedisRoomStore
from wnc_store_redis.transport import multiplexer
from wnc_store_redis.transport.connection import Reply, StreamConnection
from wnc_store_redis.transport.multiplexer import MultiplexedConnection


def group_commit(url: str, settings: StoreSettings) -> Store:
    """Commit each update of a room separately, based on the cached room or the room of the last conflict."""

    async def commit(self: RedisRoomStore, room_id: str, transition: Transition) -> Room | None:
        storage = self._storage
        current = storage.cached(room_id) or await storage.get(room_id)
        while current is not None:
            after, deadline = transition(current.room), self._commands.deadline()
            if after is None:
                pending = storage.start_delete(current, (), deadline)
            else:
                pending = storage.start_commit(current, after, (), deadline)
            result = await storage.finish_commit(pending)
            if not isinstance(result, VersionMismatch):
                return after
            current = result.current
        return None

    RedisRoomStore._update = commit
    return open_store(url, settings=settings)


def room_seen_last(url: str, settings: StoreSettings) -> Store:
    """Read a room before each commit. The read parses the room only if it has changed."""

    def miss(self: RoomStorage, room_id: str) -> None:
        del self, room_id

    RoomStorage.cached = miss
    return open_store(url, settings=settings)


def append_hints(url: str, settings: StoreSettings) -> Store:
    """Let the server search all kept messages for the id of each new one."""

    def no_hint(self: ChatCache, room_id: str, message_id: str) -> tuple[bytes, bytes]:
        del self, room_id, message_id
        return b"", b""

    ChatCache.append_hint = no_hint
    return open_store(url, settings=settings)


def shared_writes(url: str, settings: StoreSettings) -> Store:
    """Send each command in a separate write to the socket."""
    submit = MultiplexedConnection.submit

    def submit_now(
        self: MultiplexedConnection, packed: bytes, deadline: float, *, expires: bool = False
    ) -> asyncio.Future[Reply]:
        future = submit(self, packed, deadline, expires=expires)
        self._flush()
        return future

    MultiplexedConnection.submit = submit_now
    return open_store(url, settings=settings)


def transport(url: str, settings: StoreSettings) -> Store:
    """Let redis-py read each reply from its stream. Commands of one tick still share a write."""

    async def open_stream_connection(
        pool: ConnectionPool,
        on_replies: Callable[[Sequence[Reply]], None],
        on_lost: Callable[[BaseException], None],
        prepare: Callable[[AbstractConnection], Awaitable[None]],
    ) -> StreamConnection:
        connection = await pool.get_connection()
        await prepare(connection)
        return StreamConnection(connection, on_replies, on_lost)

    module: Any = multiplexer
    module.open_connection = open_stream_connection
    return open_store(url, settings=settings)
