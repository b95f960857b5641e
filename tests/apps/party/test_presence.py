"""Who is there, looked after by two workers on one store."""

from __future__ import annotations

from datetime import timedelta

from watch_party.presence import Presence

from wnc_store import ManualClock, Room, StoreSettings, User
from wnc_store_memory import MemoryDatabase, MemoryStore

_GRACE = timedelta(hours=1)  # of real time, too: the workers look at a room only when the test says so


async def test_leases_are_renewed() -> None:
    """Who stays longer than the grace is not taken for away by the other worker, which removes who is."""
    clock = ManualClock()
    database, settings = MemoryDatabase(clock), StoreSettings(connection_ttl=_GRACE)
    async with (
        MemoryStore(settings, database=database, clock=clock) as store,
        MemoryStore(settings, database=database, clock=clock) as other_store,
    ):
        here, there = Presence(store, _GRACE, clock), Presence(other_store, _GRACE, clock)
        await store.rooms.create_room(Room.hosted_by(User(id="ada", name="Ada"), room_id="A"))
        for name in ("grace", "lin"):
            await store.rooms.add_user_to_room("A", User(id=name, name=name))
        async with here.seat("A", "ada"), there.seat("A", "grace"):
            async with there.seat("A", "lin"):
                pass
            for third in range(4):
                for worker in (here, there):
                    await worker._look("A", remove=True)
                room = await store.rooms.get_room("A")
                assert room is not None
                assert [user.id for user in room.users] == ["ada", "grace", "lin"][: 2 if third == 3 else 3]
                clock.advance(_GRACE / 3)
        await here.aclose()
        await there.aclose()
