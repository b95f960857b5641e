"""Mutants whose operations take several steps, between which another operation can run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from weakref import WeakKeyDictionary

from broken_stores.mutant import Mutants
from wnc_store import Room
from wnc_store_memory.limiters import MemoryConnectionCounter, MemoryRateLimiter
from wnc_store_memory.rooms import MemoryRoomStore

MUTANTS = Mutants()

set_video_url, update, update_room = MemoryRoomStore.set_video_url, MemoryRoomStore._update, MemoryRoomStore.update_room
acquire, release = MemoryConnectionCounter._acquire, MemoryConnectionCounter._release
hit = MemoryRateLimiter._hit
LOCKS: WeakKeyDictionary[object, asyncio.Lock] = WeakKeyDictionary()
SHARED_RESULTS: WeakKeyDictionary[object, Any] = WeakKeyDictionary()


def own_lock(part: object) -> asyncio.Lock:
    """Return the lock of a client's part. Another client has another one."""
    return LOCKS.setdefault(part, asyncio.Lock())


async def through_shared_state(part: object, result: Any) -> Any:
    """Return the result that the client's last call stored, as an attribute that all its calls share does."""
    SHARED_RESULTS[part] = result
    await asyncio.sleep(0)
    return SHARED_RESULTS[part]


@MUTANTS.breaks((MemoryRoomStore, "set_video_url"), "any_two_writes_of_a_room_are_serializable")
async def concurrent_calls_share_a_result(
    self: MemoryRoomStore, room_id: str, video_url: str, video_type: str = "youtube"
) -> Room:
    """Return the room from an attribute that a concurrent call of the client may have set."""
    return await through_shared_state(self, await set_video_url(self, room_id, video_url, video_type))


@MUTANTS.breaks(
    (MemoryRoomStore, "update_room"),
    "any_two_writes_of_a_room_are_serializable",
    "any_two_writes_of_a_room_by_two_clients_are_serializable",
)
async def an_update_continues_from_an_old_revision(self: MemoryRoomStore, room_id: str, room: Room) -> None:
    """Read the revision in a step before the write."""
    before = self._rooms.get(room_id)
    await asyncio.sleep(0)
    await update_room(self, room_id, room)
    after = self._rooms.get(room_id)
    if before is not None and after is not None:
        self._rooms.set(
            room_id,
            after.value.model_copy(update={"rev": before.value.rev + 1}),
            after.expires_ms - self._rooms._now_ms(),
        )


@MUTANTS.breaks((MemoryRoomStore, "_update"), "any_two_writes_of_a_room_by_two_clients_are_serializable")
async def a_leave_overwrites_other_clients(
    self: MemoryRoomStore, room_id: str, transition: Callable[[Room], Room | None]
) -> Room | None:
    """Lock the room within this client only, and let a leave overwrite the writes of other clients."""
    async with own_lock(self):
        before = self._rooms.get(room_id)
        after = None if before is None else transition(before.value)
        if before is None or after is None or len(after.users) >= len(before.value.users):
            return await update(self, room_id, transition)
        await asyncio.sleep(0)
        current = self._rooms.get(room_id)
        if current is not None:
            self._replace(room_id, current, after)
        return after


@MUTANTS.breaks((MemoryConnectionCounter, "_release"), "any_two_writes_of_leases_are_serializable")
async def concurrent_releases_share_a_count(self: MemoryConnectionCounter, key: str, connection_id: str) -> int:
    """Return the count from an attribute that a concurrent call of the client may have set."""
    return await through_shared_state(self, await release(self, key, connection_id))


@MUTANTS.breaks((MemoryConnectionCounter, "_acquire"), "any_two_writes_of_leases_by_two_clients_are_serializable")
async def a_renewal_overwrites_other_clients(
    self: MemoryConnectionCounter, key: str, connection_id: str, limit: int | None, ttl: timedelta
) -> tuple[bool, int]:
    """Lock the key within this client only, and let a renewal end the leases that other clients start."""
    async with own_lock(self):
        leases = self._live(key)
        if connection_id not in leases:
            return await acquire(self, key, connection_id, limit, ttl)
        await asyncio.sleep(0)
        self._set_leases(key, {lease: expiry for lease, expiry in self._live(key).items() if lease in leases})
        return await acquire(self, key, connection_id, limit, ttl)


@MUTANTS.breaks((MemoryRateLimiter, "_hit"), "any_two_writes_of_hits_are_serializable")
async def concurrent_hits_share_a_count(self: MemoryRateLimiter, key: str, cost: int) -> tuple[int, timedelta]:
    """Return the count of hits of a higher cost from an attribute that a concurrent call may have set."""
    result = await hit(self, key, cost)
    return result if cost == 1 else await through_shared_state(self, result)


@MUTANTS.breaks((MemoryRateLimiter, "_hit"), "any_two_writes_of_hits_by_two_clients_are_serializable")
async def a_hit_overwrites_other_clients(self: MemoryRateLimiter, key: str, cost: int) -> tuple[int, timedelta]:
    """Lock the key within this client only, and let a hit of a higher cost overwrite hits of other clients."""
    async with own_lock(self):
        before = self._hits.get(key)
        if cost > 1 and before is not None:
            await asyncio.sleep(0)
            if (current := self._hits.get(key)) is not None:
                self._hits.change(key, current, before.value)
        return await hit(self, key, cost)


@MUTANTS.breaks((MemoryRoomStore, "_delete"), "any_write_is_complete_to_readers")
async def a_deletion_deletes_the_chat_later(self: MemoryRoomStore, room_id: str) -> bool:
    """Delete the room, and its chat in a step that a cancellation does not prevent."""
    existed = self._rooms.pop(room_id) is not None
    if existed:
        self._dispatch(self._change_events.for_delete(room_id))
    asyncio.get_running_loop().call_soon(self._chats.pop, room_id)
    await asyncio.sleep(0)
    return existed
