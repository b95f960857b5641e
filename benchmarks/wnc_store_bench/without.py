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
from redis.asyncio.connection import AbstractConnection

from wnc_store import BaseRoomStore, Store, StoreSettings, open_store
from wnc_store_redis import _link as links
from wnc_store_redis._commit_path import CommitPath
from wnc_store_redis._link import Reply, StepwiseLink
from wnc_store_redis._multiplexer import Multiplexer
from wnc_store_redis._rooms import RedisRoomStore


def group_commit(url: str, settings: StoreSettings) -> Store:
    """Let each change of a room be read and committed by itself."""
    RedisRoomStore._mutate = BaseRoomStore[bytes]._mutate
    return open_store(url, settings=settings)


def room_seen_last(url: str, settings: StoreSettings) -> Store:
    """Read a room before each commit; reading still parses only what has changed."""

    def nothing(self: CommitPath, room_id: str) -> None:
        del self, room_id

    CommitPath.seen = nothing
    return open_store(url, settings=settings)


def shared_writes(url: str, settings: StoreSettings) -> Store:
    """Send each command in a write of its own."""
    submit = Multiplexer.submit

    def submit_now(self: Multiplexer, packed: bytes, deadline: float) -> asyncio.Future[Reply]:
        future = submit(self, packed, deadline)
        self._flush()
        return future

    Multiplexer.submit = submit_now
    return open_store(url, settings=settings)


def transport(url: str, settings: StoreSettings) -> Store:
    """Let redis-py read each reply from its stream; commands of a tick still share a write."""

    def by_redis_py(
        pool: ConnectionPool,
        connection: AbstractConnection,
        _transport: asyncio.WriteTransport,
        on_replies: Callable[[Sequence[Reply]], None],
        on_lost: Callable[[BaseException], None],
    ) -> StepwiseLink:
        return StepwiseLink(pool, connection, on_replies, on_lost)

    module: Any = links
    module.TransportLink = by_redis_py
    return open_store(url, settings=settings)
