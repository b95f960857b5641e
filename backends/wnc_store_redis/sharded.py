"""Rooms whose parts lie on different servers: a room, its chat and the index of active rooms, changed one by one.

On a cluster a script may touch the keys of one slot only, and `room:ABC`, `chat:ABC` and `active-rooms` are in three.
The room itself is still compared and committed by one script, so all that is promised of it holds. What goes with it is
done in steps, in an order that can be interrupted anywhere:

- create: list it, commit it, list it again. The first keeps a room from being unlisted when its creator dies right
  after the commit; the second undoes an unlisting that found no room before the commit.
- delete: remove the room, unlist it, look whether there is one (by somebody else who created it meanwhile), and if so
  list it again. The sweep unlists in the same way.

So whatever the interleaving, a live room is listed when all have ended, and is unlisted no longer than these operations
take. If one of those that unlist and create a room at the same time dies on the way, the room's next change lists it
again, because each process lists a room that it changes once a minute. What is listed and dead is never shown, and
swept. `tests/stress/test_cluster_steps.py` runs this module in every order of its steps.

The chat of an earlier room is removed before a room of that id begins, and a deleted room's after it has ended: entry
by entry, only those that were read when that room was not there yet, or still. So no message is lost that somebody
posted to the room that came next.

The index has no TTL: nobody could say which room lives longest.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from cachetools import LRUCache

from wnc_store import Room, StoreError, StoreSettings
from wnc_store.base import ChangeEvents, EncodedEvent, VersionedRoom, VersionMismatch
from wnc_store_redis.keys import Keys
from wnc_store_redis.room_storage import PendingCommit, RoomStorage
from wnc_store_redis.transport.executor import CommandExecutor

_logger = logging.getLogger("wnc_store")

_LIST_AGAIN = 60.0
"""Seconds after which a room that is changed is listed again."""

_LISTED_ROOMS = 10_000
"""Rooms for which is remembered when they were listed last."""

_TIDY_SECONDS = 0.25
"""How long a caller waits for what goes on in the background anyway: another server may be away."""


class ShardedRoomStorage(RoomStorage):
    """The primitives of rooms on a cluster."""

    def __init__(
        self,
        commands: CommandExecutor,
        keys: Keys,
        settings: StoreSettings,
        own_changes: ChangeEvents,
        decode: Callable[[str, bytes], Room],
    ) -> None:
        super().__init__(commands, keys, settings, own_changes, decode)
        self._listed: LRUCache[str, float] = LRUCache(_LISTED_ROOMS)
        self._tasks: set[asyncio.Task[Any]] = set()

    async def create(self, room: Room, deadline: float | None = None) -> bool:
        """See `RoomStorage.create`."""
        return await self._whole(self._insert(room, deadline or self.deadline()))

    async def _insert(self, room: Room, deadline: float) -> bool:
        await self._list(room.id, deadline)
        chat = await self._chat(room.id, deadline)
        if chat and await self._is_live(room.id, deadline):
            return False
        await self._forget(room.id, chat, deadline)
        inserted = await super().create(room, deadline)
        if inserted:
            await self._tidy(self._list(room.id, deadline))
        return inserted

    def start_commit(
        self, before: VersionedRoom[bytes], after: Room | None, encoded_events: Sequence[EncodedEvent], deadline: float
    ) -> PendingCommit:
        """See `RoomStorage.start_commit`; before a room ends, its chat has to be read."""
        if after is None:
            return self._prepare(before, None, encoded_events, deadline)
        return super().start_commit(before, after, encoded_events, deadline)

    def try_complete(self, commit: PendingCommit) -> bool:
        """See `RoomStorage.try_complete`."""
        is_done = super().try_complete(commit)
        if is_done:
            self._list_now_and_then(commit.room_id)
        return is_done

    async def finish_commit(self, commit: PendingCommit) -> VersionMismatch[bytes] | None:
        """See `RoomStorage.finish_commit`."""
        room_id, deadline = commit.room_id, commit.deadline
        if commit.after is not None:
            conflict = await super().finish_commit(commit)
            self._list_now_and_then(room_id)
            return conflict
        chat = await self._chat(room_id, deadline)
        conflict = await super().finish_commit(commit)
        if conflict is None:
            await self._tidy(self._clear_up(room_id, chat, deadline))
        return conflict

    async def delete(self, room_id: str, deadline: float | None = None) -> bool:
        """See `RoomStorage.delete`."""
        return await self._whole(self._remove(room_id, deadline or self.deadline()))

    async def _remove(self, room_id: str, deadline: float) -> bool:
        chat = await self._chat(room_id, deadline)
        removed = await super().delete(room_id, deadline)
        await self._tidy(self._clear_up(room_id, chat, deadline))
        return removed

    async def filter_existing(self, entries: Sequence[bytes]) -> Sequence[bytes]:
        """See `RoomStorage.filter_existing`; each room may be on another server."""
        lives = await self._commands.read_many([(b"EXISTS", self._keys.room(entry)) for entry in entries])
        return [entry for entry, alive in zip(entries, lives, strict=True) if alive]

    async def prune_index(self, entries: Sequence[bytes]) -> int:
        """See `RoomStorage.prune_index`."""
        living = set(await self.filter_existing(entries))
        return sum([await self._unlist(entry, self.deadline()) for entry in entries if entry not in living])

    def _all_keys(self, room_id: str) -> list[bytes]:
        return [self._keys.room(room_id)]

    async def _clear_up(self, room_id: str, chat: Sequence[bytes], deadline: float) -> None:
        await self._forget(room_id, chat, deadline)
        await self._unlist(room_id.encode(), deadline)

    async def _list(self, room_id: str, deadline: float) -> None:
        await self._commands.write_idempotent([(b"SADD", self._keys.active_rooms, room_id.encode())], deadline)

    async def _unlist(self, entry: bytes, deadline: float) -> int:
        """Unlist a room that was seen dead, and list it again if it lives by now; return whether it stayed unlisted."""
        index = self._keys.active_rooms
        (removed,) = await self._commands.write_idempotent([(b"SREM", index, entry)], deadline)
        if await self._is_live(entry, deadline):
            await self._commands.write_idempotent([(b"SADD", index, entry)], deadline)
            return 0
        return removed

    async def _is_live(self, room_id: str | bytes, deadline: float) -> bool:
        return bool(await self._commands.read(b"EXISTS", self._keys.room(room_id), deadline=deadline))

    async def _chat(self, room_id: str, deadline: float) -> Sequence[bytes]:
        return await self._commands.read(b"LRANGE", self._keys.chat(room_id), b"0", b"-1", deadline=deadline)

    async def _forget(self, room_id: str, chat: Sequence[bytes], deadline: float) -> None:
        await self._commands.write_idempotent(
            [(b"LREM", self._keys.chat(room_id), b"1", entry) for entry in chat], deadline
        )

    def _list_now_and_then(self, room_id: str) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._listed.get(room_id, float("-inf")) > _LIST_AGAIN:
            self._listed[room_id] = now
            self._spawn(self._list(room_id, self.deadline()))

    async def _tidy(self, work: Coroutine[None, None, None]) -> None:
        """Do what the outcome does not depend on, and do not wait long for it."""
        await asyncio.wait([self._spawn(work)], timeout=_TIDY_SECONDS)

    async def _whole(self, work: Coroutine[None, None, bool]) -> bool:
        """Do all steps, also for a caller who is cancelled in the middle: nobody else would do the rest."""
        task = asyncio.get_running_loop().create_task(work)
        self._keep_running(task)
        return await asyncio.shield(task)

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(_logged(work))
        self._keep_running(task)
        return task

    def _keep_running(self, task: asyncio.Task[Any]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # nobody may wait for it any more


async def _logged(work: Coroutine[None, None, None]) -> None:
    try:
        await work
    except StoreError as error:
        _logger.warning("what goes with a room is not as it should be until a sweep or its next change: %s", error)
