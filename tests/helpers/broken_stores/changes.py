"""Mutants whose events and changes are separate steps, and subscriptions that hide errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from unittest.mock import patch
from weakref import WeakKeyDictionary

from broken_stores.mutant import Mutants
from wnc_store import ChatMessage, Room, RoomEvent, StoreError, User
from wnc_store.base import EncodedEvent, Transition, diff
from wnc_store_memory.chat import MemoryChatStore
from wnc_store_memory.events import MemoryRoomEvents
from wnc_store_memory.rooms import MemoryRoomStore
from wnc_store_memory.ttl_map import TTLMap

MUTANTS = Mutants()

joined = diff._joined

update, add, subscribe = MemoryRoomStore._update, MemoryChatStore._add, MemoryRoomEvents.subscribe
LOCKS: WeakKeyDictionary[TTLMap[Room], asyncio.Lock] = WeakKeyDictionary()


@MUTANTS.breaks((MemoryRoomStore, "_update"), "a_cancelled_write_of_a_room_publishes_its_event")
async def a_change_is_published_in_a_second_step(
    self: MemoryRoomStore, room_id: str, transition: Transition, /
) -> Room | None:
    """Commit, and then publish, unless the caller is cancelled in between."""
    async with LOCKS.setdefault(self._rooms, asyncio.Lock()):
        pending: list[Sequence[EncodedEvent]] = []
        with patch.object(self, "_dispatch", pending.append):
            after = await update(self, room_id, transition)
        await asyncio.sleep(0)
        for encoded_events in pending:
            self._dispatch(encoded_events)
        return after


@MUTANTS.breaks((MemoryChatStore, "_add"), "a_cancelled_message_publishes_its_event")
async def a_message_is_published_in_a_second_step(self: MemoryChatStore, message: ChatMessage) -> None:
    """Store a message, and then publish it, unless the caller is cancelled in between."""
    pending: list[Sequence[EncodedEvent]] = []
    with patch.object(self, "_dispatch", pending.append):
        await add(self, message)
    await asyncio.sleep(0)
    for encoded_events in pending:
        self._dispatch(encoded_events)


@MUTANTS.breaks(
    (MemoryRoomStore, "_update"),
    "a_change_can_be_read_when_its_event_arrives",
    "a_cancelled_write_of_a_room_publishes_its_event",
)
async def a_change_is_published_before_its_commit(
    self: MemoryRoomStore, room_id: str, transition: Transition, /
) -> Room | None:
    """Publish an event, and then commit, also if the caller is cancelled."""

    async def commit() -> Room | None:
        async with LOCKS.setdefault(self._rooms, asyncio.Lock()):
            entry = self._rooms.get(room_id)
            after = entry and transition(entry.value)
            if entry is None or after is entry.value:
                return after
            self._dispatch(self._change_events.for_commit(entry.value, after))
            for _ in range(3):
                await asyncio.sleep(0)
            with patch.object(self, "_dispatch"):
                return await update(self, room_id, lambda _room: after)

    return await asyncio.shield(asyncio.ensure_future(commit()))


@MUTANTS.breaks((MemoryChatStore, "_add"), "a_message_can_be_read_when_its_event_arrives")
async def a_message_is_published_before_it_is_stored(self: MemoryChatStore, message: ChatMessage) -> None:
    """Publish a message, and then store it, also if the caller is cancelled."""

    async def store() -> None:
        kept = await self._get_messages(message.room_id)
        if message.id in [entry.id for entry in kept]:
            return
        self._dispatch(self._change_events.for_message(message))
        await asyncio.sleep(0)
        with patch.object(self, "_dispatch"):
            await add(self, message)

    await asyncio.shield(asyncio.ensure_future(store()))


@MUTANTS.breaks((MemoryRoomEvents, "subscribe"), "leaving_a_subscription_keeps_the_errors_of_its_body")
@asynccontextmanager
async def a_subscription_hides_errors(self: MemoryRoomEvents, room_id: str) -> AsyncGenerator[AsyncIterator[RoomEvent]]:
    """Suppress the errors of the body, except those of the store."""
    try:
        async with subscribe(self, room_id) as events:
            yield events
    except (StoreError, ValueError):
        raise
    except Exception:  # noqa: BLE001, S110 - the defect
        pass


@MUTANTS.breaks((diff, "_joined"), "a_join_is_published")
def a_renamed_last_user_is_not_published(before: Room, after: Room) -> Sequence[User]:
    """Publish no UserJoined for a rejoin of the last user."""
    return () if [user.id for user in before.users] == [user.id for user in after.users] else joined(before, after)
