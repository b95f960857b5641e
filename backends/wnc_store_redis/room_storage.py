"""Storage of rooms: reads, and commits by compare-and-set on the stored bytes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from wnc_store import Room, StoreError, StoreSettings
from wnc_store.base import ChangeEvents, EncodedEvent, VersionedRoom, VersionMismatch
from wnc_store_redis.cache import RoomCache
from wnc_store_redis.codec import encode_with_nonce, to_millis
from wnc_store_redis.keys import Keys
from wnc_store_redis.scripts import COMMIT, REMOVE, SWEEP, publish_args
from wnc_store_redis.transport.executor import CommandExecutor, InFlightScript

_ABSENT = b""
"""Argument of COMMIT that stands for a room that does not exist."""

_COMMITTED = 1
"""Result of COMMIT when it has committed."""

_MAX_EXISTS_KEYS = 1000
"""Keys in one EXISTS; more would block the server for too long."""

_SPLIT = 16
"""How many smaller EXISTS replace one whose keys exist only in part."""

_SCAN_COUNT = b"500"
"""COUNT of SSCAN: the approximate number of index entries that one call returns."""

_CONCURRENT_BUCKETS = 64
"""Number of buckets whose indexes are scanned at the same time."""


class IndexPage(NamedTuple):
    """Entries of the index of one bucket.

    Attributes:
        bucket: the hash tag of the bucket.
        entries: ids of rooms, which may have expired.
    """

    bucket: bytes
    entries: Sequence[bytes]


@dataclass(slots=True)
class _Scan:
    """A scan of the index of one bucket.

    Attributes:
        bucket: the hash tag of the bucket.
        cursor: the cursor of the next page.
        epoch: the server epoch of the cursor; None before the first page.
        is_complete: whether the last page was read.
    """

    bucket: bytes
    cursor: bytes = b"0"
    epoch: Hashable = None
    is_complete: bool = False


@dataclass(slots=True)
class PendingCommit:
    """A commit whose outcome is not known yet.

    Attributes:
        room_id: the id of the room.
        after: the room to store; None deletes the room.
        keys: the keys of COMMIT.
        arguments: the arguments of COMMIT.
        deadline: when to give up, in the event loop's time.
        script: the script in flight; None if it was not sent yet.
        deletion_ambiguous: whether a retry found the room to be deleted already gone. This commit may have deleted it,
            or another one.
    """

    room_id: str
    after: VersionedRoom[bytes] | None
    keys: Sequence[bytes]
    arguments: Sequence[bytes]
    deadline: float
    script: InFlightScript | None = None
    deletion_ambiguous: bool = False


class RoomStorage:
    """The primitives of the room store. The version of a room is its stored bytes.

    Args:
        commands: runs commands and scripts.
        keys: the names of the keys.
        settings: the settings of the store.
        change_events: encodes the events of creations and deletions. The caller of `start_commit` encodes its own.
        decode: decodes a room from its id and its stored bytes.
    """

    def __init__(
        self,
        commands: CommandExecutor,
        keys: Keys,
        settings: StoreSettings,
        change_events: ChangeEvents,
        decode: Callable[[str, bytes], Room],
    ) -> None:
        self._commands = commands
        self._keys = keys
        self._ttls_ms = to_millis(settings.room_ttl), to_millis(keys.index_ttl(settings.room_ttl))
        self._change_events = change_events
        self._decode = decode
        self._statistics = commands.statistics
        self._cache = RoomCache(settings.cache_bytes // 4, self._statistics)

    def check_loop(self) -> None:
        """See `CommandExecutor.check_loop`."""
        self._commands.check_loop()

    def deadline(self) -> float:
        """Return the deadline of an operation that begins now, in the event loop's time."""
        return self._commands.deadline()

    def cached(self, room_id: str) -> VersionedRoom[bytes] | None:
        """Return the cached room, which may be out of date, or None."""
        return self._cache.get(room_id)

    async def get(self, room_id: str, deadline: float | None = None) -> VersionedRoom[bytes] | None:
        """Return the live room, or None."""
        return self._stored(room_id, await self._commands.read(b"GET", self._keys.room(room_id), deadline=deadline))

    async def create(self, room: Room, deadline: float | None = None) -> bool:
        """Store a room unless its id is in use. Return whether it was stored."""
        new = VersionedRoom(room, encode_with_nonce(room))
        arguments = self._arguments(room.id, _ABSENT, new, self._change_events.for_commit(None, room))
        # A retry replaces the room by equal bytes and publishes nothing. It must not create the room: an earlier
        # attempt may have created it, and another client may have deleted it since.
        retry_args = self._arguments(room.id, new.version, new, ())
        keys = self._keys.of_room(room.id)
        commit = PendingCommit(room.id, new, keys, arguments, deadline or self.deadline())
        mismatch, is_retry = await self._await_commit(commit, retry_args)
        if mismatch is None or not is_retry:
            return mismatch is None
        raise self.outcome_unknown_error(room.id)

    def start_commit(
        self, before: VersionedRoom[bytes], after: Room | None, encoded_events: Sequence[EncodedEvent], deadline: float
    ) -> PendingCommit:
        """Start to replace a room if it still equals `before`, and to publish events.

        The script is sent at the end of this tick of the event loop. Call `finish_commit` or `try_complete` afterwards.
        """
        new = None if after is None else VersionedRoom(after, encode_with_nonce(after))
        room_id = before.room.id
        keys = self._keys.of_room(room_id)
        if new is not None:
            # An update does not use the chat, and Redis refuses scripts with a missing key in a slot that migrates.
            del keys[2]
        arguments = self._arguments(room_id, before.version, new, encoded_events)
        commit = PendingCommit(room_id, new, keys, arguments, deadline)
        commit.script = self._send(commit)
        return commit

    def try_complete(self, commit: PendingCommit) -> bool:
        """Return whether the script was sent and its reply, which has arrived, reports that it has committed.

        If so, `finish_commit` need not be called.
        """
        reply = commit.script and commit.script.reply
        if reply is None or reply.exception() is not None or reply.result() != _COMMITTED:
            return False
        self._cache_commit(commit)
        return True

    async def finish_commit(self, commit: PendingCommit) -> VersionMismatch[bytes] | None:
        """Wait for the outcome of a commit. Set `PendingCommit.deletion_ambiguous`."""
        mismatch, is_retry = await self._await_commit(commit, commit.arguments)
        if mismatch is not None and is_retry:
            # An earlier attempt may have committed, and others may have changed the room since.
            raise self.outcome_unknown_error(commit.room_id)
        return mismatch

    async def delete(self, room_id: str, deadline: float | None = None) -> bool:
        """Delete a room, its chat and its index entry, without reading them. Return whether there was a room."""
        self._cache.discard(room_id)
        events = self._publish_args(room_id, self._change_events.for_delete(room_id))
        keys = self._keys.of_room(room_id)
        return bool(await self._commands.run_script(REMOVE, keys, room_id.encode(), *events, deadline=deadline))

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

    async def prune_index(self, pages: Sequence[IndexPage]) -> int:
        """Remove the index entries of rooms that no longer exist. Return how many were removed."""

        def sweep(page: IndexPage) -> Awaitable[int]:
            keys = [self._keys.active_rooms(page.bucket), *self._room_keys(page)]
            return self._commands.run_script(SWEEP, keys, *page.entries)

        return sum(await asyncio.gather(*map(sweep, pages)))

    def timeout_error(self, room_id: str, *, unanswered: bool) -> StoreError:
        """Return the error for an update that missed its deadline."""
        return self._commands.to_store_error(TimeoutError(), self._keys.room(room_id), unanswered=unanswered)

    def outcome_unknown_error(self, room_id: str) -> StoreError:
        """Return the error for a write that may have been applied before others changed the room."""
        lost = ConnectionResetError("the connection was lost, and others have changed the room since")
        return self._commands.to_store_error(lost, self._keys.room(room_id), unanswered=True)

    def _send(self, commit: PendingCommit) -> InFlightScript:
        return self._commands.start_script(COMMIT, commit.keys, *commit.arguments, deadline=commit.deadline)

    async def _await_commit(
        self, commit: PendingCommit, retry_args: Sequence[bytes]
    ) -> tuple[VersionMismatch[bytes] | None, bool]:
        """Wait for the outcome of a commit.

        A retry that finds the bytes that it was to store succeeds: their nonce proves that an earlier attempt of this
        commit stored them.

        Returns:
            The mismatch, or None if the room was committed; and whether the script was retried, so that an earlier
            attempt may have committed.
        """
        script = commit.script or self._send(commit)
        reply, is_retry = await self._commands.finish_script(script, retry_args=retry_args)
        current = None if reply == _COMMITTED else reply[1]
        if reply == _COMMITTED or (is_retry and current == (commit.after and commit.after.version)):
            commit.deletion_ambiguous = reply != _COMMITTED and commit.after is None
            self._cache_commit(commit)
            return None, is_retry
        self._statistics.retries += 1
        return VersionMismatch(self._stored(commit.room_id, current)), is_retry

    def _cache_commit(self, commit: PendingCommit) -> None:
        """Update the cache after a commit."""
        if commit.after is None:
            self._cache.discard(commit.room_id)
        else:
            self._cache.put(commit.after)
        self._statistics.commits += 1

    def _arguments(
        self, room_id: str, before: bytes, after: VersionedRoom[bytes] | None, encoded_events: Sequence[EncodedEvent]
    ) -> Sequence[bytes]:
        data = _ABSENT if after is None else after.version
        return (before, data, *self._ttls_ms, room_id.encode(), *self._publish_args(room_id, encoded_events))

    def _publish_args(self, room_id: str, encoded_events: Sequence[EncodedEvent]) -> Sequence[bytes]:
        return publish_args(self._keys.publish, self._keys.events(room_id), encoded_events)

    def _stored(self, room_id: str, data: bytes | None) -> VersionedRoom[bytes] | None:
        if data is None:
            self._cache.discard(room_id)
            return None
        return self._cache.read(room_id, data, self._decode)

    def _room_keys(self, page: IndexPage) -> list[bytes]:
        return [self._keys.listed_room(page.bucket, entry) for entry in page.entries]


def _chunks(page: IndexPage, size: int) -> list[IndexPage]:
    bucket, entries = page
    return [IndexPage(bucket, entries[start : start + size]) for start in range(0, len(entries), size)]
