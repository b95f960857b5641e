"""Storage of rooms: reads, and commits by compare-and-set on the stored bytes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Hashable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from types import CoroutineType
from typing import Any, NamedTuple

from wnc_store import Room, StoreError, StoreSettings, rules, to_wire
from wnc_store.base import ChangeEvents, Committed, EncodedEvent, RoomTtls, VersionedRoom, VersionMismatch
from wnc_store_redis.cache import RoomCache
from wnc_store_redis.codec import nonces, to_millis
from wnc_store_redis.keys import Keys
from wnc_store_redis.script_results import COMMITTED, StoredBytes
from wnc_store_redis.scripts import COMMIT, REMOVE, SWEEP, publish_args
from wnc_store_redis.transport.connection import Reply
from wnc_store_redis.transport.executor import CommandExecutor, ScriptCall

_ABSENT = b""
"""Argument of COMMIT that stands for a room that does not exist."""

_MAX_EXISTS_KEYS = 1000
"""Keys in one EXISTS; more would block the server for too long."""

_SPLIT = 16
"""Number of smaller EXISTS that replace one if only some of its keys exist."""

_SCAN_COUNT = b"500"
"""COUNT of SSCAN: the approximate number of index entries that one call returns."""

_MAX_RESTARTS = 10
"""How often the scan of a bucket's index starts again after a lost connection."""

_CONCURRENT_BUCKETS = 64
"""Number of buckets whose indexes are scanned at the same time."""


class IndexPage(NamedTuple):
    """A page of a bucket's index. `bucket` is its hash tag, and `entries` are ids of rooms, which may have expired."""

    bucket: bytes
    entries: Sequence[bytes]


@dataclass(slots=True)
class _Scan:
    """A scan of the index of one bucket. `epoch` is the server epoch of the cursor, or None before the first page."""

    bucket: bytes
    cursor: bytes = b"0"
    epoch: Hashable = None
    is_complete: bool = False
    restarts: int = 0


class Commit(ScriptCall["Committed | StoredBytes"]):
    """A call of COMMIT.

    Attributes:
        room_id: the id of the room.
        after: the room to store, or None to delete the stored one.
    """

    __slots__ = ("after", "room_id")
    room_id: str
    after: VersionedRoom[bytes] | None


@dataclass(frozen=True, slots=True)
class FoundDeleted:
    """Result of a deletion whose retry found no room: an earlier attempt deleted the room, or another client did."""


class RoomStorage:
    """The primitives of the room store. The version of a room is its stored bytes.

    `change_events` encodes the events of `create` and `delete`. Callers of `prepare_commit` encode their own.

    Attributes:
        cache: the cached rooms.
    """

    def __init__(
        self, commands: CommandExecutor, keys: Keys, settings: StoreSettings, change_events: ChangeEvents
    ) -> None:
        self._commands = commands
        self._keys = keys
        self._ttls = RoomTtls(settings)
        self._ttls_ms = self._in_millis(settings.room_ttl)
        self._change_events = change_events
        self._statistics = commands.statistics
        self.cache = RoomCache(settings.cache_bytes // 4, self._statistics)
        self._nonces = nonces()

    def get(self, room_id: str, deadline: float) -> CoroutineType[Any, Any, VersionedRoom[bytes] | None]:
        """Return the live room, or None."""
        key = self._keys.room(room_id)
        return self._commands.read(b"GET", key, deadline=deadline, decode=partial(self.cache.decode, key, room_id))

    async def create(self, room: Room) -> bool:
        """Store a room unless its id is in use. Return whether it was stored."""
        encoded_events = self._change_events.for_commit(None, room)
        commit = self.prepare_commit(VersionedRoom(room, _ABSENT), room, encoded_events)
        commit.keys = self._keys.of_room(room.id)  # also the chat
        # A retry replaces the room by equal bytes and publishes nothing. It must not create the room: an earlier
        # attempt may have created it, and another client may have deleted it since.
        _, data, *others = commit.arguments
        commit.retry_args = (data, data, *others[:4])
        return not isinstance(await self.run_commit(commit), VersionMismatch)

    def prepare_commit(
        self,
        before: VersionedRoom[bytes],
        after: Room | None,
        encoded_events: Sequence[EncodedEvent],
        deadline: float = 0.0,
    ) -> Commit:
        """Return a commit that replaces a room if it still equals `before`, and publishes events.

        If `after` is None, it deletes the room, its chat and its index entry instead.
        """
        room_id = before.room.id
        new = None if after is None else VersionedRoom(after, to_wire(after, next(self._nonces)))
        ttls_ms, chat_ttl, old = self._ttls_ms, None, before.room
        has_waited = old.__pydantic_extra__ and rules.has_waited(old)
        if after is not None and (has_waited or not (after.users and old.users)) and before.version != _ABSENT:
            # The room waits or waited for users, or was created without users.
            ttls_ms, chat_ttl = self._in_millis(self._ttls.room(after)), self._ttls.chat(old, after)
        chat_ttl_ms = b"" if chat_ttl is None else to_millis(chat_ttl)
        arguments = (before.version, _ABSENT if new is None else new.version, *ttls_ms, room_id.encode(), chat_ttl_ms)
        if encoded_events:
            arguments += (*publish_args(self._keys, room_id, encoded_events),)
        # Most updates do not use the chat, and Redis refuses scripts with a missing key in a slot that migrates.
        uses_chat = after is None or chat_ttl is not None
        keys = self._keys.of_room(room_id) if uses_chat else self._keys.of_update(room_id)
        commit = Commit(COMMIT, keys, arguments, arguments, deadline)
        commit.room_id, commit.after = room_id, new
        return commit

    async def run_commit(
        self, commit: Commit, first: asyncio.Future[Reply] | None = None
    ) -> Committed | FoundDeleted | VersionMismatch[bytes]:
        """Run a commit and return its outcome. If it was sent already, `first` is its reply, a completed future.

        Raises:
            OutcomeUnknownError: a retry has found another room. An earlier attempt may have committed.
        """
        result: Committed | StoredBytes
        if first is None:
            result, is_retry = await self._commands.call_script(commit)
        else:
            result, is_retry = await self._commands.finish_script(commit, first)
        if isinstance(result, Committed):
            self.record_commit(commit)
            return result
        if is_retry and result.data == (commit.after and commit.after.version):
            # The nonce of the stored bytes proves that an earlier attempt stored them. Nothing proves a deletion.
            self.record_commit(commit)
            return FoundDeleted() if commit.after is None else COMMITTED
        self._statistics.retries += 1
        if is_retry:  # an earlier attempt may have committed, and others may have changed the room since
            self.cache.discard(commit.room_id)
            raise self.outcome_unknown_error(commit.room_id)
        return VersionMismatch(self.cache.decode(commit.keys[0], commit.room_id, result.data))

    async def delete(self, room_id: str) -> bool:
        """Delete a room, its chat and its index entry, without reading them. Return whether there was a room."""
        self.cache.discard(room_id)
        events = publish_args(self._keys, room_id, self._change_events.for_delete(room_id))
        return bool(await self._commands.run_script(REMOVE, self._keys.of_room(room_id), room_id.encode(), *events))

    async def index_pages(self) -> AsyncIterator[Sequence[IndexPage]]:
        """Yield the index of active rooms in pages. On a cluster, yield pages of several buckets together.

        An entry may be yielded twice. Every entry that is present during the whole scan is yielded.
        """
        waiting, scans = deque(self._keys.buckets), list[_Scan]()
        while waiting or scans:
            while waiting and len(scans) < _CONCURRENT_BUCKETS:
                scans.append(_Scan(waiting.popleft()))
            pages = await asyncio.gather(*map(self._next_page, scans))
            scans = [scan for scan in scans if not scan.is_complete]
            pages = [page for page in pages if page.entries]
            if pages:
                yield pages

    async def _next_page(self, scan: _Scan) -> IndexPage:
        index = self._keys.active_rooms(scan.bucket)
        scan.cursor, entries = await self._commands.read(b"SSCAN", index, scan.cursor, b"COUNT", _SCAN_COUNT)
        previous_epoch, scan.epoch = scan.epoch, self._commands.server_epoch(index)
        if previous_epoch not in {None, scan.epoch}:  # a cursor is valid on its own server only, so start again
            scan.cursor, scan.epoch = b"0", None
            scan.restarts += 1
            if scan.restarts > _MAX_RESTARTS:
                lost = ConnectionError("connections are lost faster than the index can be read")
                raise self._commands.to_store_error(lost, index)
        else:
            scan.is_complete = scan.cursor == b"0"
        return IndexPage(scan.bucket, entries)

    async def filter_existing(self, pages: Sequence[IndexPage]) -> Sequence[bytes]:
        """Return the index entries whose rooms exist, in any order.

        EXISTS returns how many of its keys exist. If only some of them exist, smaller EXISTS follow.
        """
        existing: list[bytes] = []
        parts = [part for page in pages for part in _chunks(page, _MAX_EXISTS_KEYS)]
        while parts:
            counts = await self._commands.read_many([(b"EXISTS", *self._room_keys(part)) for part in parts])
            counted = [*zip(parts, counts, strict=True)]
            existing += [entry for part, count in counted if count == len(part.entries) for entry in part.entries]
            mixed = [part for part, count in counted if 0 < count < len(part.entries)]
            parts = [smaller for part in mixed for smaller in _chunks(part, -(-len(part.entries) // _SPLIT))]
        return existing

    async def prune_index(self, pages: Sequence[IndexPage]) -> Sequence[int | BaseException]:
        """Remove the index entries of rooms that no longer exist.

        Returns:
            For each page, how many entries were removed, or the error.
        """

        def sweep(page: IndexPage) -> Awaitable[int]:
            keys = [self._keys.active_rooms(page.bucket), *self._room_keys(page)]
            return self._commands.run_script(SWEEP, keys, *page.entries)

        return await asyncio.gather(*map(sweep, pages), return_exceptions=True)

    def timeout_error(self, room_id: str, *, unanswered: bool) -> StoreError:
        """Return the error for an update that missed its deadline."""
        return self._commands.to_store_error(TimeoutError(), self._keys.room(room_id), unanswered=unanswered)

    def outcome_unknown_error(self, room_id: str) -> StoreError:
        """Return the error for a write that may have been applied before others changed the room."""
        lost = ConnectionResetError("the connection was lost, and others have changed the room since")
        return self._commands.to_store_error(lost, self._keys.room(room_id), unanswered=True)

    def _in_millis(self, room_ttl: timedelta) -> tuple[bytes, bytes]:
        """Return the TTL of a room and the minimum TTL of its index, as arguments of COMMIT."""
        return to_millis(room_ttl), to_millis(self._keys.index_ttl(room_ttl))

    def record_commit(self, commit: Commit) -> None:
        """Cache the room of a successful commit."""
        if commit.after is None:
            self.cache.discard(commit.room_id)
        else:
            self.cache.put(commit.after)
        self._statistics.commits += 1

    def _room_keys(self, page: IndexPage) -> list[bytes]:
        return [self._keys.listed_room(page.bucket, entry) for entry in page.entries]


def _chunks(page: IndexPage, size: int) -> list[IndexPage]:
    bucket, entries = page
    return [IndexPage(bucket, entries[start : start + size]) for start in range(0, len(entries), size)]
