"""Ablations: wnc-store with one technique disabled, compared with the unchanged library.

Each variant runs in its own process, so it can patch any class. To add an ablation, add a variant.
"""

# The techniques are not options of the backend, so the patches replace private methods.
# ruff: noqa: SLF001
# pyright: reportPrivateUsage=false

from __future__ import annotations

import gc
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection

from wnc_store import Room
from wnc_store.base import Transition, VersionMismatch
from wnc_store_bench import contention, throughput
from wnc_store_bench.contenders import WNC, Contender
from wnc_store_bench.contenders.wnc import StoreClient, connect
from wnc_store_bench.load import OPERATIONS, Operation
from wnc_store_bench.options import Options, ProgressCallback
from wnc_store_bench.results import ContentionRow, LoadRow
from wnc_store_bench.server import Target
from wnc_store_redis.cache import CachedChat
from wnc_store_redis.rooms import RedisRoomStore
from wnc_store_redis.transport import multiplexer
from wnc_store_redis.transport.connection import Reply, StreamConnection
from wnc_store_redis.transport.multiplexer import MultiplexedConnection
from wnc_store_redis.transport.receiver import Receiver


def _disable_group_commit() -> None:
    """Commit each update of a room separately, based on the cached room or the room of the last conflict."""

    async def commit(self: RedisRoomStore, room_id: str, transition: Transition) -> Room | None:
        storage, deadline = self._storage, self._commands.deadline()
        current = storage.cache[room_id] or await storage.get(room_id, deadline)
        while current is not None:
            after = transition(current.room)
            result = await storage.run_commit(storage.prepare_commit(current, after, (), deadline))
            if not isinstance(result, VersionMismatch):
                return after
            current = result.current
        return None

    RedisRoomStore._update = commit


def _disable_append_hints() -> None:
    def no_hint(self: CachedChat, message_id: str) -> tuple[bytes, bytes]:
        del self, message_id
        return b"", b""

    CachedChat.append_hint = no_hint


def _disable_shared_writes() -> None:
    submit = MultiplexedConnection.submit

    def submit_now(self: MultiplexedConnection, receiver: Receiver, *arguments: Any, **options: Any) -> None:
        submit(self, receiver, *arguments, **options)
        self._flush()

    MultiplexedConnection.submit = submit_now


def _disable_transport() -> None:
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


def _variant(
    name: str,
    what: str,
    patch: Callable[[], object] = lambda: None,
    operations: tuple[Operation, ...] = OPERATIONS,
    **settings: Any,
) -> Contender:
    @asynccontextmanager
    async def patched(target: Target) -> AsyncGenerator[StoreClient]:
        patch()
        async with connect(target, **settings) as client:
            yield client

    return replace(WNC, name=name, what=what, connect=patched, operations=operations)


UNCHANGED = "unchanged"
WITHOUT_GROUP_COMMIT = "without group commit"
VARIANTS = {
    variant.name: variant
    for variant in (
        _variant(UNCHANGED, "wnc-store as it is"),
        _variant(
            WITHOUT_GROUP_COMMIT,
            "each update of a room is committed separately",
            _disable_group_commit,
            ("add_user_to_room",),
        ),
        _variant(
            "without the cache",
            "cache_bytes=0: every reply is parsed, and a room is read before each commit",
            cache_bytes=0,
        ),
        _variant(
            "without append hints",
            "the server searches all kept messages for the id of each new one",
            _disable_append_hints,
            ("add_message",),
        ),
        _variant("without shared writes", "each command is sent in a separate write", _disable_shared_writes),
        _variant("without the transport", "redis-py reads each reply from its stream", _disable_transport),
        _variant(
            "rare garbage collection",
            "gc.set_threshold(100_000, 50, 100) in the app",
            lambda: gc.set_threshold(100_000, 50, 100),
        ),
    )
}


async def measure(target: Target, options: Options, progress: ProgressCallback) -> list[LoadRow]:
    """Measure all variants under load."""
    return await throughput.compare(target, options, progress, tuple(VARIANTS.values()))


async def measure_group_commit(target: Target, options: Options, progress: ProgressCallback) -> list[ContentionRow]:
    """Measure the joins of one busy room by all callers, with and without group commit."""
    variants = (VARIANTS[UNCHANGED], VARIANTS[WITHOUT_GROUP_COMMIT])
    return await contention.compare(target, replace(options, joins=options.load.callers), progress, variants, 1)
