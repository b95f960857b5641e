"""Presence on Redis: several stores on one server, as in several processes, and a process that is killed."""

from __future__ import annotations

import sys
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

from processes import start
from waiting import wait_until
from wnc_store import Room, User
from wnc_store.presence import Presence, tracked
from wnc_store.presence.membership import Member, keys_of
from wnc_store_redis import RedisStore

ADA = User(id="ada 👍", name="Ada")
GRACE_HOPPER = User(id="grace", name="Grace")
LONG = timedelta(minutes=10)
"""A grace period that no test reaches."""
SHORT = timedelta(seconds=0.3)
"""A grace period whose end a test waits for. Nothing depends on its length."""

_WORKER = """
import asyncio, sys
from datetime import timedelta
from wnc_store import User
from wnc_store.presence import Presence
from wnc_store_redis import RedisStore

async def main():
    grace = timedelta(seconds=0.3)
    async with (
        RedisStore.from_url(sys.argv[1]) as store,
        Presence(store, grace=grace) as presence,
        presence.connected("A", User(id="lin", name="Lin")),
    ):
        print("connected", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


class Process:
    """A store and a presence, as each process of an app has them."""

    def __init__(self, stack: AsyncExitStack, url: str, grace: timedelta) -> None:
        self._stack = stack
        self.store = RedisStore.from_url(url)
        self.presence = Presence(self.store, grace=grace)

    async def start(self) -> None:
        """Open both."""
        await self._stack.enter_async_context(self.store)
        await self._stack.enter_async_context(self.presence)

    async def user_ids(self) -> list[str]:
        """Return the ids of the users of room A."""
        room = await self.store.rooms.get_room("A")
        return [] if room is None else [user.id for user in room.users]


async def started(stack: AsyncExitStack, url: str, grace: timedelta) -> Process:
    """Return a started process."""
    process = Process(stack, url, grace)
    await process.start()
    return process


async def test_a_user_changes_the_process(url: str) -> None:
    """A user who reconnects to another process stays, the room does not change, and the old socket closes later."""
    async with AsyncExitStack() as stack:
        first, second = await started(stack, url, LONG), await started(stack, url, LONG)
        await first.store.rooms.create_room(Room.hosted_by(tracked(ADA), room_id="A"))
        before = await first.store.rooms.get_room("A")
        async with first.presence.connected("A", ADA):
            pass
        async with first.presence.connected("A", ADA), second.presence.connected("A", ADA) as connection:
            assert connection.room == before
            assert [user.id for user in await first.presence.present("A")] == [ADA.id]
        assert await first.store.rooms.get_room("A") == before
        assert await second.presence.present("A") == []


async def test_a_user_leaves(url: str, client: Any) -> None:
    """A user leaves when the last connection to any process has been closed for the grace. No key is left."""
    async with AsyncExitStack() as stack:
        first, second = await started(stack, url, SHORT), await started(stack, url, SHORT)
        await first.store.rooms.create_room(Room.hosted_by(GRACE_HOPPER, room_id="A"))
        async with second.presence.connected("A", ADA):
            async with first.presence.connected("A", ADA):
                pass

            async def is_over() -> bool:
                return await first.store.connections.count(keys_of(Member("A", ADA.id)).grace) == 0

            await wait_until(is_over)
            assert await first.user_ids() == ["grace", ADA.id]

        async def has_left() -> bool:
            if await first.user_ids() != ["grace"]:
                return False
            return await first.store.connections.count(keys_of(Member("A", ADA.id)).removal) == 0

        await wait_until(has_left)
    assert await client.keys("connections:*") == []


async def test_a_process_is_killed(url: str) -> None:
    """The users of a killed process leave, although no other user is in the room. An idle process removes them."""
    async with AsyncExitStack() as stack:
        idle = await started(stack, url, SHORT)
        await idle.store.rooms.create_room(Room(id="A", host_id="lin", host_name="Lin"))
        with start(sys.executable, "-c", _WORKER, url) as worker:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "connected\n"
            assert await idle.user_ids() == ["lin"]
            worker.kill()

        async def is_gone() -> bool:
            return await idle.user_ids() == []

        await wait_until(is_gone)
        assert not await idle.store.rooms.room_exists("A")


async def test_an_invalid_room(url: str, client: Any) -> None:
    """A room that cannot be read is skipped by the sweeps, and does not keep users in other rooms."""
    async with AsyncExitStack() as stack:
        await client.set("room:BAD", "not a room")
        await client.sadd("active-rooms", "BAD")
        process = await started(stack, url, SHORT)
        await process.store.rooms.create_room(Room.hosted_by(tracked(ADA), room_id="A"))

        async def is_gone() -> bool:
            return await process.user_ids() == []

        await wait_until(is_gone)
        assert await client.get("room:BAD") == b"not a room"
