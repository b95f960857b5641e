"""Clauses about listing and sweeping the active rooms."""

from __future__ import annotations

import asyncio

from wnc_store import Store
from wnc_store_contract.clause import ContractContext, clause
from wnc_store_contract.factories import message, room, user
from wnc_store_contract.harness import Capability

HOUR = 3600
MANY = 1200
"""More rooms than an index returns in one page."""


async def listed(store: Store) -> list[str]:
    """Return the ids of the active rooms, sorted."""
    return sorted([room_id async for room_id in store.rooms.active_room_ids()])


async def expire(context: ContractContext, *stores: Store, hours: int = 24) -> None:
    """Advance the time by hours, and create a room in between, because an index may expire with its last room."""
    await context.advance(HOUR)
    for store in stores:
        await store.rooms.create_room(room("keeps-the-index"))
    await context.advance((hours - 1) * HOUR)


class ListingClauses:
    """Clauses about `active_room_ids` and `sweep_active_rooms`."""

    @clause(Capability.LISTING)
    async def test_a_new_store_lists_no_rooms(self, context: ContractContext) -> None:
        """A store without rooms lists none and has none to sweep."""
        store = await context.open()
        assert await listed(store) == []
        assert await store.rooms.sweep_active_rooms() == 0

    @clause(Capability.LISTING)
    async def test_live_rooms_are_listed(self, context: ContractContext) -> None:
        """Every live room is listed once, however often it was written."""
        store = await context.open()
        await store.rooms.create_room(room("A"))
        await store.rooms.create_room(room("B"))
        await store.rooms.add_user_to_room("A", user("guest"))
        assert await listed(store) == ["A", "B"]

    @clause(Capability.LISTING)
    async def test_many_rooms_are_listed(self, context: ContractContext) -> None:
        """All of 1200 rooms are listed, each once."""
        store = await context.open()
        template, names = room(), [f"room-{number:04}" for number in range(MANY)]
        for start in range(0, MANY, 100):
            rooms = [template.replace(id=name) for name in names[start : start + 100]]
            await asyncio.gather(*map(store.rooms.create_room, rooms))
        assert await listed(store) == names

    @clause(Capability.LISTING)
    async def test_rooms_are_read_in_pages(self, context: ContractContext) -> None:
        """active_rooms reads at most 100 rooms ahead: rooms that are deleted then are not returned."""
        store = await context.open()
        names = [f"room-{number}" for number in range(250)]
        await asyncio.gather(*(store.rooms.create_room(room(name)) for name in names))
        rooms = aiter(store.rooms.active_rooms())
        await anext(rooms)
        await asyncio.gather(*map(store.rooms.delete_room, names))
        assert len([one async for one in rooms]) < 100

    @clause(Capability.LISTING)
    async def test_deleted_rooms_are_not_listed(self, context: ContractContext) -> None:
        """A deleted room, and a room that its last user left, is not listed."""
        store = await context.open()
        for room_id in ("A", "B", "C"):
            await store.rooms.create_room(room(room_id))
        await store.rooms.delete_room("A")
        await store.rooms.remove_user_from_room("B", "host")
        assert await listed(store) == ["C"]
        assert await store.rooms.sweep_active_rooms() == 0

    @clause(Capability.LISTING)
    async def test_expired_rooms_are_not_listed(self, context: ContractContext) -> None:
        """An expired room is not listed, even before a sweep."""
        store = await context.open()
        await store.rooms.create_room(room("A"))
        await context.advance(12 * HOUR)
        await store.rooms.create_room(room("B"))
        await context.advance(12 * HOUR)
        assert await listed(store) == ["B"]

    @clause(Capability.LISTING)
    async def test_a_sweep_returns_the_number_of_removed_rooms(self, context: ContractContext) -> None:
        """sweep_active_rooms removes expired rooms, returns their number and keeps live rooms."""
        store = await context.open()
        await store.rooms.create_room(room("A"))
        await store.rooms.create_room(room("B"))
        await context.advance(12 * HOUR)
        await store.rooms.create_room(room("C"))
        await context.advance(12 * HOUR)
        assert await store.rooms.sweep_active_rooms() == 2
        assert await store.rooms.sweep_active_rooms() == 0
        assert await listed(store) == ["C"]

    @clause(Capability.LISTING)
    async def test_concurrent_sweeps_count_each_room_once(self, context: ContractContext) -> None:
        """Each expired room is counted by exactly one of several concurrent sweeps."""
        store = await context.open()
        for number in range(20):
            await store.rooms.create_room(room(f"R{number}"))
        await expire(context, store)
        removed = await asyncio.gather(*(store.rooms.sweep_active_rooms() for _ in range(3)))
        assert sum(removed) == 20

    @clause(Capability.LISTING, Capability.SHARED)
    async def test_a_sweep_leaves_other_prefixes(self, context: ContractContext) -> None:
        """A sweep counts and removes only the expired rooms with the key prefix of its store."""
        app, app2 = await context.open(key_prefix="app:"), await context.open(key_prefix="app:2")
        await app.rooms.create_room(room("A"))
        await app2.rooms.create_room(room("B"))
        await expire(context, app, app2)
        assert await app.rooms.sweep_active_rooms() == 1
        assert await app2.rooms.sweep_active_rooms() == 1

    @clause(Capability.LISTING, Capability.CHAT)
    async def test_a_sweep_keeps_chats(self, context: ContractContext) -> None:
        """A sweep does not delete the live chat of an expired room."""
        store = await context.open()
        await store.rooms.create_room(room())
        await context.advance(HOUR)
        await store.chat.add_message(message(1))
        await expire(context, store, hours=23)
        assert await store.rooms.sweep_active_rooms() == 1
        assert [entry.id for entry in await store.chat.get_messages("A3X9K2")] == ["m1"]

    @clause(Capability.LISTING)
    async def test_rooms_may_change_while_they_are_listed(self, context: ContractContext) -> None:
        """Rooms that exist during the whole listing are listed once, even if others are created and deleted."""
        store = await context.open()
        for number in range(20):
            await store.rooms.create_room(room(f"stays-{number}"))
            await store.rooms.create_room(room(f"goes-{number}"))
        stored: list[str] = []
        async for room_id in store.rooms.active_room_ids():
            if not stored:
                for number in range(20):
                    await store.rooms.delete_room(f"goes-{number}")
                    await store.rooms.create_room(room(f"comes-{number}"))
            stored.append(room_id)
        assert len(stored) == len(set(stored))
        assert {f"stays-{number}" for number in range(20)} <= set(stored)

    @clause(Capability.LISTING, Capability.SHARED)
    async def test_a_room_created_during_a_sweep_is_listed(self, context: ContractContext) -> None:
        """A room that one client creates while another sweeps the expired room of that id is listed."""
        sweeper, creator = await context.open(), await context.open()
        for steps in range(12):
            await creator.rooms.create_room(room("A"))
            await context.advance(12 * HOUR)
            await creator.rooms.create_room(room("keeps-the-index"))
            await context.advance(12 * HOUR)

            async def create_late(delay: int = steps) -> None:
                for _ in range(delay):
                    await asyncio.sleep(0)
                await creator.rooms.create_room(room("A"))

            await asyncio.gather(sweeper.rooms.sweep_active_rooms(), create_late())
            assert "A" in await listed(sweeper)
            await creator.rooms.delete_room("A")
            await creator.rooms.delete_room("keeps-the-index")
