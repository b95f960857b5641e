"""How rooms are read and committed: by comparing the stored bytes with those that a change started from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from wnc_store import Room, StoreError, StoreSettings
from wnc_store.base import ChangeEvents, EncodedEvent, VersionedRoom, VersionMismatch
from wnc_store_redis.cache import RoomCache
from wnc_store_redis.codec import encode_with_nonce
from wnc_store_redis.durations import to_millis
from wnc_store_redis.keys import Keys
from wnc_store_redis.scripts import COMMIT, REMOVE, SWEEP, publish_args
from wnc_store_redis.transport.executor import CommandExecutor, InFlightScript

_ABSENT = b""
"""What COMMIT takes for "no room"."""

_COMMITTED = 1
"""What COMMIT returns when it has committed."""

_MAX_EXISTS_KEYS = 1000
"""Rooms that one EXISTS is asked about; more would hold up the server."""

_PARTS = 16


@dataclass(slots=True)
class PendingCommit:
    """A commit on its way.

    Attributes:
        room_id: the room.
        after: what is to be stored; None deletes the room.
        arguments: the script's.
        deadline: when to give up, by the event loop's clock.
        sent: the script; None if there is something to do before it may be sent.
        ended_somehow: whether the room that was to be deleted was gone when the script was repeated: by this commit, or
            by what others did.
    """

    room_id: str
    after: VersionedRoom[bytes] | None
    arguments: Sequence[bytes]
    deadline: float
    sent: InFlightScript | None = None
    deletion_ambiguous: bool = False


class RoomStorage:
    """The primitives of rooms on Redis; the version of a room is its stored bytes.

    Args:
        commands: to the server.
        keys: the names of the keys.
        settings: the store's.
        own_changes: says what is told of a creation and a deletion; what of a commit, its caller says.
        decode: reads a room from the bytes of an id.
    """

    def __init__(
        self,
        commands: CommandExecutor,
        keys: Keys,
        settings: StoreSettings,
        own_changes: ChangeEvents,
        decode: Callable[[str, bytes], Room],
    ) -> None:
        self._commands = commands
        self._keys = keys
        self._ttl_ms = to_millis(settings.room_ttl)
        self._change_events = own_changes
        self._decode = decode
        self._statistics = commands.statistics
        self._cache = RoomCache(settings.cache_bytes // 4, self._statistics)

    def check_loop(self) -> None:
        """See `CommandExecutor.check_loop`."""
        self._commands.check_loop()

    def deadline(self) -> float:
        """Return when an operation that begins now has to end, by the event loop's clock."""
        return self._commands.deadline()

    def cached(self, room_id: str) -> VersionedRoom[bytes] | None:
        """Return a room as it was seen last; it may be another by now, or gone."""
        return self._cache.get(room_id)

    async def get(self, room_id: str, deadline: float | None = None) -> VersionedRoom[bytes] | None:
        """Return the live room, or None."""
        return self._stored(room_id, await self._commands.read(b"GET", self._keys.room(room_id), deadline=deadline))

    async def create(self, room: Room, deadline: float | None = None) -> bool:
        """Store a room unless there is one of that id; tell whether it was stored."""
        new = VersionedRoom(room, encode_with_nonce(room))
        first = self._arguments(room.id, _ABSENT, new, self._change_events.for_commit(None, room))
        # A repetition replaces the room by itself, and tells nothing: if there is none any more, it is not for us to
        # create it again.
        again = self._arguments(room.id, new.version, new, ())
        conflict, repeated = await self._await_commit(
            PendingCommit(room.id, new, first, deadline or self.deadline()), again
        )
        if conflict is None or not repeated:
            return conflict is None
        raise self.outcome_unknown_error(room.id)

    def start_commit(
        self, before: VersionedRoom[bytes], after: Room | None, encoded_events: Sequence[EncodedEvent], deadline: float
    ) -> PendingCommit:
        """Begin to replace a room if it still is as it was `before`, and to publish events; `settle` is to follow.

        The script is sent at the end of this tick, if nothing has to be done before.
        """
        commit = self._prepare(before, after, encoded_events, deadline)
        commit.sent = self._send(commit)
        return commit

    def try_complete(self, commit: PendingCommit) -> bool:
        """Tell whether the script was sent, and its reply, which is there, says that it has committed the room.

        If so, there is nothing to settle.
        """
        reply = commit.sent and commit.sent.reply
        if reply is None or reply.exception() is not None or reply.result() != _COMMITTED:
            return False
        self._cache_commit(commit)
        return True

    async def finish_commit(self, commit: PendingCommit) -> VersionMismatch[bytes] | None:
        """Wait for the outcome of a commit, and set `PendingCommit.deletion_ambiguous`."""
        conflict, repeated = await self._await_commit(commit, commit.arguments)
        if conflict is not None and repeated:
            # An attempt before may have been committed, and others may have built upon it.
            raise self.outcome_unknown_error(commit.room_id)
        return conflict

    async def delete(self, room_id: str, deadline: float | None = None) -> bool:
        """Delete a room, whatever it holds, with its chat and its entry in the index; tell whether there was one."""
        self._cache.forget(room_id)
        told = self._publish_args(room_id, self._change_events.for_delete(room_id))
        keys = self._all_keys(room_id)
        return bool(await self._commands.run_script(REMOVE, keys, room_id.encode(), *told, deadline=deadline))

    async def filter_existing(self, entries: Sequence[bytes]) -> Sequence[bytes]:
        """Return those entries of the index whose room lives, in any order.

        EXISTS counts many at once; smaller parts are asked about only where some live and some do not.
        """
        living: list[bytes] = []
        parts = _chunks(entries, _MAX_EXISTS_KEYS)
        while parts:
            counts = await self._commands.read_many([(b"EXISTS", *map(self._keys.room, part)) for part in parts])
            counted = [*zip(parts, counts, strict=True)]
            living += [entry for part, count in counted if count == len(part) for entry in part]
            mixed = [part for part, count in counted if 0 < count < len(part)]
            parts = [smaller for part in mixed for smaller in _chunks(part, -(-len(part) // _PARTS))]
        return living

    async def prune_index(self, entries: Sequence[bytes]) -> int:
        """Remove those entries of the index whose room is dead; return how many that were."""
        rooms = [self._keys.room(entry) for entry in entries]
        return await self._commands.run_script(SWEEP, [self._keys.active_rooms, *rooms], *entries)

    def timeout_error(self, room_id: str, *, unanswered: bool) -> StoreError:
        """Return the error for a change that is out of time."""
        return self._commands.to_store_error(TimeoutError(), self._keys.room(room_id), unanswered=unanswered)

    def outcome_unknown_error(self, room_id: str) -> StoreError:
        """Return the error for a write that may have been done before others changed the room."""
        lost = ConnectionResetError("the connection was lost, and others have changed the room since")
        return self._commands.to_store_error(lost, self._keys.room(room_id), unanswered=True)

    def _prepare(
        self, before: VersionedRoom[bytes], after: Room | None, encoded_events: Sequence[EncodedEvent], deadline: float
    ) -> PendingCommit:
        new = None if after is None else VersionedRoom(after, encode_with_nonce(after))
        room_id = before.room.id
        return PendingCommit(room_id, new, self._arguments(room_id, before.version, new, encoded_events), deadline)

    def _send(self, commit: PendingCommit) -> InFlightScript:
        keys = self._all_keys(commit.room_id)
        return self._commands.start_script(COMMIT, keys, *commit.arguments, deadline=commit.deadline)

    async def _await_commit(
        self, commit: PendingCommit, again: Sequence[bytes]
    ) -> tuple[VersionMismatch[bytes] | None, bool]:
        """Return the state that a commit found instead, and whether an attempt before may have been committed.

        A repetition, with the arguments `again`, that finds what was to be stored is no conflict: its mark is that of
        this commit.
        """
        sent = commit.sent or self._send(commit)
        reply, repeated = await self._commands.finish_script(sent, again=again)
        found = None if reply == _COMMITTED else reply[1]
        if reply == _COMMITTED or (repeated and found == (commit.after and commit.after.version)):
            commit.deletion_ambiguous = reply != _COMMITTED and commit.after is None
            self._cache_commit(commit)
            return None, repeated
        self._statistics.retries += 1
        return VersionMismatch(self._stored(commit.room_id, found)), repeated

    def _cache_commit(self, commit: PendingCommit) -> None:
        """Remember what was committed."""
        if commit.after is None:
            self._cache.forget(commit.room_id)
        else:
            self._cache.put(commit.after)
        self._statistics.commits += 1

    def _arguments(
        self, room_id: str, before: bytes, after: VersionedRoom[bytes] | None, encoded_events: Sequence[EncodedEvent]
    ) -> Sequence[bytes]:
        data = _ABSENT if after is None else after.version
        return (before, data, self._ttl_ms, room_id.encode(), *self._publish_args(room_id, encoded_events))

    def _publish_args(self, room_id: str, encoded_events: Sequence[EncodedEvent]) -> Sequence[bytes]:
        return publish_args(self._keys.publish, self._keys.events(room_id), encoded_events)

    def _stored(self, room_id: str, data: bytes | None) -> VersionedRoom[bytes] | None:
        if data is None:
            self._cache.forget(room_id)
            return None
        return self._cache.read(room_id, data, self._decode)

    def _all_keys(self, room_id: str) -> list[bytes]:
        return [self._keys.room(room_id), self._keys.active_rooms, self._keys.chat(room_id)]


def _chunks(entries: Sequence[bytes], size: int) -> list[Sequence[bytes]]:
    return [entries[start : start + size] for start in range(0, len(entries), size)]
