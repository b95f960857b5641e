"""Presence of users on two workers with one store."""

from __future__ import annotations

from datetime import timedelta

from watch_party.presence import Presence

from wnc_store import ManualClock, Room, StoreSettings, User
from wnc_store_memory import MemoryDatabase, MemoryStore

_GRACE = timedelta(hours=1)  # also in real time, so that only the test checks the room


async def test_leases_are_renewed() -> None:
    """Leases are renewed beyond the grace period, and a user whose lease expires is removed by either worker."""
    clock = ManualClock()
    database, settings = MemoryDatabase(clock), StoreSettings(connection_ttl=_GRACE)
    async with (
        MemoryStore(settings, database=database, clock=clock) as store,
        MemoryStore(settings, database=database, clock=clock) as other_store,
    ):
        first, second = Presence(store, _GRACE, clock), Presence(other_store, _GRACE, clock)
        await store.rooms.create_room(Room.hosted_by(User(id="ada", name="Ada"), room_id="A"))
        for name in ("grace", "lin"):
            await store.rooms.add_user_to_room("A", User(id=name, name=name))
        async with first.hold("A", "ada"), second.hold("A", "grace"):
            async with second.hold("A", "lin"):
                pass
            for third in range(4):
                for worker in (first, second):
                    await worker._check_room("A", remove=True)
                room = await store.rooms.get_room("A")
                assert room is not None
                assert [user.id for user in room.users] == ["ada", "grace", "lin"][: 2 if third == 3 else 3]
                clock.advance(_GRACE / 3)
        await first.aclose()
        await second.aclose()
