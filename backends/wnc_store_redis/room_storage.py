"""Storage of rooms: reads, and commits by compare-and-set on the stored bytes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from wnc_store import Room, SecretBytes, StoreError, StoreSettings
from wnc_store.base import ChangeEvents, Committed, EncodedEvent, VersionedRoom, VersionMismatch
from wnc_store_redis.cache import RoomCache
from wnc_store_redis.codec import encode_with_nonce, to_millis
from wnc_store_redis.keys import Keys
from wnc_store_redis.script_results import decode_commit
from wnc_store_redis.scripts import COMMIT, REMOVE, SWEEP, publish_args
from wnc_store_redis.transport.executor import CommandExecutor, InFlightScript

_ABSENT = b""
"""Argument of COMMIT that stands for a room that does not exist."""

_MAX_EXISTS_KEYS = 1000
"""Keys in one EXISTS; more would block the server for too long."""

_SPLIT = 16
"""How many smaller EXISTS replace one whose keys exist only in part."""

_SCAN_COUNT = b"500"
"""COUNT of SSCAN: the approximate number of index entries that one call returns."""

_MAX_RESTARTS = 10
"""How often the scan of a bucket's index starts again after a lost connection."""

_CONCURRENT_BUCKETS = 64
"""Number of buckets whose indexes are scanned at the same time."""


class IndexPage(NamedTuple):
    """Entries of the index of the bucket with this hash tag: ids of rooms, which may have expired."""

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


class PendingCommit(NamedTuple):
    """A run of COMMIT whose outcome is not known yet. It deletes the room if `after` is None."""

    room_id: str
    after: VersionedRoom[bytes] | None
    script: InFlightScript
    retry_args: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class FoundDeleted:
    """Result of a deletion whose retry found no room: an earlier attempt deleted the room, or another client did."""


class RoomStorage:
    """The primitives of the room store. The version of a room is its stored bytes.

    `change_events` encodes the events of `create` and `delete`. Callers of `start_commit` encode their own.
    """

    def __init__(
        self, commands: CommandExecutor, keys: Keys, settings: StoreSettings, change_events: ChangeEvents
    ) -> None:
        self._commands = commands
        self._keys = keys
        self._ttls_ms = to_millis(settings.room_ttl), to_millis(keys.index_ttl(settings.room_ttl))
        self._change_events = change_events
        self._statistics = commands.statistics
        self._cache = RoomCache(settings.cache_bytes // 4, self._statistics)

    def cached(self, room_id: str) -> VersionedRoom[bytes] | None:
        """Return the cached room, which may be out of date, or None."""
        return self._cache.get(room_id)

    async def get(self, room_id: str, deadline: float | None = None) -> VersionedRoom[bytes] | None:
        """Return the live room, or None."""
        key = self._keys.room(room_id)
        return self._stored(key, room_id, await self._commands.read(b"GET", key, deadline=deadline))

    async def create(self, room: Room) -> bool:
        """Store a room unless its id is in use. Return whether it was stored."""
        new = VersionedRoom(room, encode_with_nonce(room))
        encoded_events = self._change_events.for_commit(None, room)
        commit = self._start(room.id, _ABSENT, new, encoded_events, self._commands.deadline())
        # A retry replaces the room by equal bytes and publishes nothing. It must not create the room: an earlier
        # attempt may have created it, and another client may have deleted it since.
        commit = commit._replace(retry_args=self._arguments(room.id, new.version, new, ()))
        return not isinstance(await self.finish_commit(commit), VersionMismatch)

    def start_commit(
        self, before: VersionedRoom[bytes], after: Room, encoded_events: Sequence[EncodedEvent], deadline: float
    ) -> PendingCommit:
        """Start to replace a room if it still equals `before`, and to publish events.

        The script is sent at the end of this tick of the event loop. Call `finish_commit` afterwards.
        """
        new = VersionedRoom(after, encode_with_nonce(after))
        return self._start(before.room.id, before.version, new, encoded_events, deadline)

    def start_delete(
        self, before: VersionedRoom[bytes], encoded_events: Sequence[EncodedEvent], deadline: float
    ) -> PendingCommit:
        """Start to delete a room, its chat and its index entry if it still equals `before`. See `start_commit`."""
        return self._start(before.room.id, before.version, None, encoded_events, deadline)

    async def finish_commit(self, commit: PendingCommit) -> Committed | FoundDeleted | VersionMismatch[bytes]:
        """Wait for the outcome of a commit.

        Raises:
            OutcomeUnknownError: a retry has found another room. An earlier attempt may have committed.
        """
        reply, is_retry = await self._commands.finish_script(commit.script, retry_args=commit.retry_args)
        result = decode_commit(reply)
        del reply  # a tool that records local variables would show the host token
        if isinstance(result, Committed):
            self._cache_commit(commit)
            return result
        if is_retry and result.data == (commit.after and commit.after.version):
            # The nonce of the stored bytes proves that an earlier attempt stored them. Nothing proves a deletion.
            self._cache_commit(commit)
            return FoundDeleted() if commit.after is None else Committed()
        self._statistics.retries += 1
        if is_retry:  # an earlier attempt may have committed, and others may have changed the room since
            self._cache.discard(commit.room_id)
            raise self.outcome_unknown_error(commit.room_id)
        return VersionMismatch(self._stored(commit.script.keys[0], commit.room_id, result.data))

    async def delete(self, room_id: str) -> bool:
        """Delete a room, its chat and its index entry, without reading them. Return whether there was a room."""
        self._cache.discard(room_id)
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

        EXISTS returns a count for many keys. A part is split only if some of its rooms exist and others do not.
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

    def _start(
        self,
        room_id: str,
        before: bytes,
        after: VersionedRoom[bytes] | None,
        encoded_events: Sequence[EncodedEvent],
        deadline: float,
    ) -> PendingCommit:
        keys = self._keys.of_room(room_id)
        if before != _ABSENT and after is not None:
            # An update does not use the chat, and Redis refuses scripts with a missing key in a slot that migrates.
            del keys[2]
        arguments = self._arguments(room_id, before, after, encoded_events)
        script = self._commands.start_script(COMMIT, keys, *arguments, deadline=deadline)
        return PendingCommit(room_id, after, script, arguments)

    def _cache_commit(self, commit: PendingCommit) -> None:
        if commit.after is None:
            self._cache.discard(commit.room_id)
        else:
            self._cache.put(commit.after)
        self._statistics.commits += 1

    def _arguments(
        self, room_id: str, before: bytes, after: VersionedRoom[bytes] | None, encoded_events: Sequence[EncodedEvent]
    ) -> Sequence[bytes]:
        data = _ABSENT if after is None else after.version
        return (before, data, *self._ttls_ms, room_id.encode(), *publish_args(self._keys, room_id, encoded_events))

    def _stored(self, key: bytes, room_id: str, data: bytes | None) -> VersionedRoom[bytes] | None:
        if data is None:
            self._cache.discard(room_id)
            return None
        data = SecretBytes(data)
        return self._cache.read(key, room_id, data)

    def _room_keys(self, page: IndexPage) -> list[bytes]:
        return [self._keys.listed_room(page.bucket, entry) for entry in page.entries]


def _chunks(page: IndexPage, size: int) -> list[IndexPage]:
    bucket, entries = page
    return [IndexPage(bucket, entries[start : start + size]) for start in range(0, len(entries), size)]
