"""How rooms are read and committed: by comparing the stored bytes with those that a change started from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from wnc_store import Conflict, OwnChanges, Room, StoredRoom, StoreError, StoreSettings, Telling
from wnc_store_redis.cache import SeenRooms
from wnc_store_redis.codec import marked
from wnc_store_redis.durations import milliseconds
from wnc_store_redis.keys import Keys
from wnc_store_redis.scripts import COMMIT, REMOVE, SWEEP, publication
from wnc_store_redis.transport.executor import Commands, Sent

_ABSENT = b""
"""What COMMIT takes for "no room"."""

_DONE = 1
"""What COMMIT returns when it has committed."""

_MOST_COUNTED = 1000
"""Rooms that one EXISTS is asked about; more would hold up the server."""

_PARTS = 16


@dataclass(slots=True)
class Commit:
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
    after: StoredRoom[bytes] | None
    arguments: Sequence[bytes]
    deadline: float
    sent: Sent | None = None
    ended_somehow: bool = False


class CommitPath:
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
        commands: Commands,
        keys: Keys,
        settings: StoreSettings,
        own_changes: OwnChanges,
        decode: Callable[[str, bytes], Room],
    ) -> None:
        self._commands = commands
        self._keys = keys
        self._ttl_ms = milliseconds(settings.room_ttl)
        self._own_changes = own_changes
        self._decode = decode
        self._counts = commands.counts
        self._rooms = SeenRooms(settings.cache_bytes // 4, self._counts)

    def check_loop(self) -> None:
        """See `Commands.check_loop`."""
        self._commands.check_loop()

    def deadline(self) -> float:
        """Return when an operation that begins now has to end, by the event loop's clock."""
        return self._commands.deadline()

    def seen(self, room_id: str) -> StoredRoom[bytes] | None:
        """Return a room as it was seen last; it may be another by now, or gone."""
        return self._rooms.get(room_id)

    async def load(self, room_id: str, deadline: float | None = None) -> StoredRoom[bytes] | None:
        """Return the live room, or None."""
        return self._stored(room_id, await self._commands.read(b"GET", self._keys.room(room_id), deadline=deadline))

    async def insert(self, room: Room, deadline: float | None = None) -> bool:
        """Store a room unless there is one of that id; tell whether it was stored."""
        new = StoredRoom(room, marked(room))
        first = self._arguments(room.id, _ABSENT, new, self._own_changes.of_room(None, room))
        # A repetition replaces the room by itself, and tells nothing: if there is none any more, it is not for us to
        # create it again.
        again = self._arguments(room.id, new.version, new, ())
        conflict, repeated = await self._exchange(Commit(room.id, new, first, deadline or self.deadline()), again)
        if conflict is None or not repeated:
            return conflict is None
        raise self.unknown(room.id)

    def begin(
        self, before: StoredRoom[bytes], after: Room | None, tellings: Sequence[Telling], deadline: float
    ) -> Commit:
        """Begin to replace a room if it still is as it was `before`, and to publish events; `settle` is to follow.

        The script is sent at the end of this tick, if nothing has to be done before.
        """
        commit = self._prepared(before, after, tellings, deadline)
        commit.sent = self._send(commit)
        return commit

    def is_done(self, commit: Commit) -> bool:
        """Tell whether the script was sent, and its reply, which is there, says that it has committed the room.

        If so, there is nothing to settle.
        """
        reply = commit.sent and commit.sent.reply
        if reply is None or reply.exception() is not None or reply.result() != _DONE:
            return False
        self._keep(commit)
        return True

    async def settle(self, commit: Commit) -> Conflict[bytes] | None:
        """Return what became of a commit, as `BaseRoomStore._commit` says; see `Commit.ended_somehow`, too."""
        conflict, repeated = await self._exchange(commit, commit.arguments)
        if conflict is not None and repeated:
            # An attempt before may have been committed, and others may have built upon it.
            raise self.unknown(commit.room_id)
        return conflict

    async def remove(self, room_id: str, deadline: float | None = None) -> bool:
        """Delete a room, whatever it holds, with its chat and its entry in the index; tell whether there was one."""
        self._rooms.forget(room_id)
        told = self._publication(room_id, self._own_changes.of_removal(room_id))
        keys = self._all_keys(room_id)
        return bool(await self._commands.run(REMOVE, keys, room_id.encode(), *told, deadline=deadline))

    async def living(self, entries: Sequence[bytes]) -> Sequence[bytes]:
        """Return those entries of the index whose room lives, in any order.

        EXISTS counts many at once; smaller parts are asked about only where some live and some do not.
        """
        living: list[bytes] = []
        parts = _cut(entries, _MOST_COUNTED)
        while parts:
            counts = await self._commands.read_many([(b"EXISTS", *map(self._keys.room, part)) for part in parts])
            counted = [*zip(parts, counts, strict=True)]
            living += [entry for part, count in counted if count == len(part) for entry in part]
            mixed = [part for part, count in counted if 0 < count < len(part)]
            parts = [smaller for part in mixed for smaller in _cut(part, -(-len(part) // _PARTS))]
        return living

    async def sweep(self, entries: Sequence[bytes]) -> int:
        """Remove those entries of the index whose room is dead; return how many that were."""
        rooms = [self._keys.room(entry) for entry in entries]
        return await self._commands.run(SWEEP, [self._keys.active_rooms, *rooms], *entries)

    def late(self, room_id: str, *, unanswered: bool) -> StoreError:
        """Return the error for a change that is out of time."""
        return self._commands.failure(TimeoutError(), self._keys.room(room_id), unanswered=unanswered)

    def unknown(self, room_id: str) -> StoreError:
        """Return the error for a write that may have been done before others changed the room."""
        lost = ConnectionResetError("the connection was lost, and others have changed the room since")
        return self._commands.failure(lost, self._keys.room(room_id), unanswered=True)

    def _prepared(
        self, before: StoredRoom[bytes], after: Room | None, tellings: Sequence[Telling], deadline: float
    ) -> Commit:
        new = None if after is None else StoredRoom(after, marked(after))
        room_id = before.room.id
        return Commit(room_id, new, self._arguments(room_id, before.version, new, tellings), deadline)

    def _send(self, commit: Commit) -> Sent:
        keys = self._all_keys(commit.room_id)
        return self._commands.send(COMMIT, keys, *commit.arguments, deadline=commit.deadline)

    async def _exchange(self, commit: Commit, again: Sequence[bytes]) -> tuple[Conflict[bytes] | None, bool]:
        """Return the state that a commit found instead, and whether an attempt before may have been committed.

        A repetition, with the arguments `again`, that finds what was to be stored is no conflict: its mark is that of
        this commit.
        """
        sent = commit.sent or self._send(commit)
        reply, repeated = await self._commands.settle(sent, again=again)
        found = None if reply == _DONE else reply[1]
        if reply == _DONE or (repeated and found == (commit.after and commit.after.version)):
            commit.ended_somehow = reply != _DONE and commit.after is None
            self._keep(commit)
            return None, repeated
        self._counts.retries += 1
        return Conflict(self._stored(commit.room_id, found)), repeated

    def _keep(self, commit: Commit) -> None:
        """Remember what was committed."""
        if commit.after is None:
            self._rooms.forget(commit.room_id)
        else:
            self._rooms.put(commit.after)
        self._counts.commits += 1

    def _arguments(
        self, room_id: str, before: bytes, after: StoredRoom[bytes] | None, tellings: Sequence[Telling]
    ) -> Sequence[bytes]:
        data = _ABSENT if after is None else after.version
        return (before, data, self._ttl_ms, room_id.encode(), *self._publication(room_id, tellings))

    def _publication(self, room_id: str, tellings: Sequence[Telling]) -> Sequence[bytes]:
        return publication(self._keys.publish, self._keys.events(room_id), tellings)

    def _stored(self, room_id: str, data: bytes | None) -> StoredRoom[bytes] | None:
        if data is None:
            self._rooms.forget(room_id)
            return None
        return self._rooms.read(room_id, data, self._decode)

    def _all_keys(self, room_id: str) -> list[bytes]:
        return [self._keys.room(room_id), self._keys.active_rooms, self._keys.chat(room_id)]


def _cut(entries: Sequence[bytes], size: int) -> list[Sequence[bytes]]:
    return [entries[start : start + size] for start in range(0, len(entries), size)]
