"""Clauses about reading many rooms: `get_rooms` and `active_rooms`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, cast

import pytest

from wnc_store import CorruptRecordError, InvalidIdError, Room, Store
from wnc_store_contract.clause import ContractContext, clause
from wnc_store_contract.factories import room, user
from wnc_store_contract.harness import Capability

HOUR = 3600
MANY = 250
"""More rooms than `active_rooms` reads together."""


async def create(store: Store, room_ids: Iterable[str]) -> None:
    """Create rooms, whose host names contain their ids."""
    made = (room(room_id, host_name=f"Host of {room_id}") for room_id in room_ids)
    await asyncio.gather(*map(store.rooms.create_room, made))


async def active(store: Store) -> dict[str, Room]:
    """Return the active rooms by id, and check that each was returned once."""
    rooms = [one async for one in store.rooms.active_rooms()]
    by_id = {one.id: one for one in rooms}
    assert len(by_id) == len(rooms)
    return by_id


def ids(rooms: Sequence[Room | None]) -> list[str | None]:
    """Return the id of each room."""
    return [one and one.id for one in rooms]


class ManyRoomsClauses:
    """Clauses about `get_rooms` and `active_rooms`."""

    @clause()
    async def test_rooms_are_read_in_the_order_of_the_ids(self, context: ContractContext) -> None:
        """get_rooms returns one element for each id, in the same order: the room, or None for a missing one."""
        store = await context.open()
        await create(store, "ABC")
        assert ids(await store.rooms.get_rooms(["C", "missing", "A", "B"])) == ["C", None, "A", "B"]
        assert ids(await store.rooms.get_rooms(["A", "A", "missing", "B", "A", "missing"])) == [
            *("A", "A", None, "B", "A", None)
        ]

    @clause()
    async def test_rooms_are_read_in_full(self, context: ContractContext) -> None:
        """get_rooms returns the rooms that get_room returns."""
        store = await context.open()
        names = [f"room-{number}" for number in range(MANY)]
        await create(store, names)
        await store.rooms.add_user_to_room("room-7", user("guest", avatar="cat"))
        await store.rooms.delete_room("room-8")
        assert await store.rooms.get_rooms(names) == [await store.rooms.get_room(name) for name in names]

    @clause()
    async def test_any_iterable_of_ids_is_accepted(self, context: ContractContext) -> None:
        """get_rooms accepts any iterable, also an empty one, and rejects a single string, which is a mistake."""
        store = await context.open()
        await create(store, "AB")
        for room_ids in (("A", "B"), {"A": 1, "B": 2}, iter(["A", "B"])):
            assert ids(await store.rooms.get_rooms(room_ids)) == ["A", "B"]
        assert await store.rooms.get_rooms([]) == []
        with pytest.raises(TypeError):
            await store.rooms.get_rooms("AB")

    @clause()
    async def test_one_invalid_id_is_rejected(self, context: ContractContext) -> None:
        """get_rooms raises InvalidIdError if any of the ids is invalid."""
        store = await context.open()
        await create(store, "A")
        for room_ids in (["A", "a b"], ["", "A"], ["A", "A", "x" * 129], cast("list[Any]", ["A", None])):
            with pytest.raises(InvalidIdError):
                await store.rooms.get_rooms(room_ids)

    @clause()
    async def test_expired_rooms_are_not_read(self, context: ContractContext) -> None:
        """get_rooms returns None for an expired room, and does not renew a TTL."""
        store = await context.open()
        await create(store, "A")
        await context.advance(12 * HOUR)
        await create(store, "B")
        assert ids(await store.rooms.get_rooms(["A", "B"])) == ["A", "B"]
        await context.advance(12 * HOUR)
        assert ids(await store.rooms.get_rooms(["A", "B"])) == [None, "B"]

    @clause(Capability.SHARED)
    async def test_reads_of_many_rooms_see_writes_of_other_clients(self, context: ContractContext) -> None:
        """A client that has read rooms together sees every later change by another client."""
        writer, reader = await context.open(), await context.open()
        assert await reader.rooms.get_rooms(["A", "B"]) == [None, None]
        await create(writer, "AB")
        assert ids(await reader.rooms.get_rooms(["A", "B"])) == ["A", "B"]
        joined = await writer.rooms.add_user_to_room("B", user("guest"))
        await writer.rooms.delete_room("A")
        assert await reader.rooms.get_rooms(["A", "B"]) == [None, joined]

    @clause(Capability.RAW)
    async def test_an_unreadable_room_does_not_hide_others(self, context: ContractContext) -> None:
        """get_rooms returns None for an unreadable room and all other rooms; the record is left unchanged."""
        store, raw = await context.open(), context.harness.raw
        await create(store, "AC")
        for damaged in (b"", b"no JSON", b'{"id":"B"}', b"[" * 5000, await raw.get_room("A") or b""):
            await raw.put_room("B", damaged)
            assert ids(await store.rooms.get_rooms(["A", "B", "C", "B"])) == ["A", None, "C", None]
            assert await raw.get_room("B") == damaged
            with pytest.raises(CorruptRecordError):
                await store.rooms.get_room("B")

    @clause(Capability.LISTING)
    async def test_active_rooms_are_returned_in_full(self, context: ContractContext) -> None:
        """active_rooms returns each live room once, as get_room returns it, also if there are several pages."""
        store = await context.open()
        assert await active(store) == {}
        names = [f"room-{number}" for number in range(MANY)]
        await create(store, names)
        await store.rooms.add_user_to_room("room-7", user("guest", avatar="cat"))
        assert await active(store) == {name: await store.rooms.get_room(name) for name in names}

    @clause(Capability.LISTING)
    async def test_active_rooms_are_live(self, context: ContractContext) -> None:
        """active_rooms returns no room that has expired or was deleted, and does not renew a TTL."""
        store = await context.open()
        await create(store, "AD")
        await context.advance(12 * HOUR)
        await create(store, "BC")
        await store.rooms.delete_room("C")
        await store.rooms.remove_user_from_room("D", "host")
        assert sorted(await active(store)) == ["A", "B"]
        await context.advance(12 * HOUR)
        assert sorted(await active(store)) == ["B"]

    @clause(Capability.LISTING)
    async def test_rooms_may_change_while_they_are_read(self, context: ContractContext) -> None:
        """Rooms that exist during the whole iteration are returned once, even if others are created and deleted."""
        store = await context.open()
        stays = [f"stays-{number}" for number in range(MANY)]
        await create(store, stays)
        await create(store, (f"goes-{number}" for number in range(20)))
        found: list[str] = []
        async for one in store.rooms.active_rooms():
            if not found:
                await asyncio.gather(*(store.rooms.delete_room(f"goes-{number}") for number in range(20)))
                await create(store, (f"comes-{number}" for number in range(5)))
            found.append(one.id)
        assert len(found) == len(set(found))
        assert set(stays) <= set(found)

    @clause(Capability.LISTING, Capability.SHARED)
    async def test_active_rooms_have_the_prefix_of_the_store(self, context: ContractContext) -> None:
        """active_rooms and get_rooms return only rooms with the key prefix of the store."""
        app, app2 = await context.open(key_prefix="app:"), await context.open(key_prefix="app:2")
        await create(app, "A")
        await create(app2, "B")
        assert (list(await active(app)), list(await active(app2))) == (["A"], ["B"])
        assert ids(await app.rooms.get_rooms(["A", "B", "2B"])) == ["A", None, None]

    @clause(Capability.LISTING, Capability.RAW)
    async def test_unreadable_rooms_are_skipped(self, context: ContractContext) -> None:
        """active_rooms skips unreadable rooms and index entries without a room, and returns all other rooms."""
        store, raw = await context.open(), context.harness.raw
        await create(store, "AC")
        await raw.put_room("B", b"no JSON")
        await raw.put_room("D", await raw.get_room("A") or b"")
        await raw.list_room("dead")
        assert sorted(await active(store)) == ["A", "C"]
        assert await raw.get_room("B") == b"no JSON"
