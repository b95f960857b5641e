"""Clauses about rooms that wait for users: the setting `empty_room_ttl`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import timedelta

from wnc_store import HostChanged, Room, RoomChanged, Store, UserJoined, UserLeft, VideoState
from wnc_store_contract.clause import ContractContext, clause
from wnc_store_contract.clauses.cancellation import assert_atomic
from wnc_store_contract.clauses.changes import events_of
from wnc_store_contract.factories import ROOM, message, parsed, room, user
from wnc_store_contract.harness import Capability

MINUTE, HOUR, DAY = 60, 3600, 86400
WAIT = timedelta(minutes=10)


async def read(store: Store) -> Room:
    """Return the room of the clause."""
    stored = await store.rooms.get_room(ROOM)
    assert stored is not None
    return stored


async def open_waiting(context: ContractContext, **settings: bool) -> Store:
    """Open a store with a room that its host has left an hour after it was created with a message."""
    store = await context.open(empty_room_ttl=WAIT, **settings)
    await store.rooms.create_room(room(settings={"theme": "dark"}))
    if Capability.CHAT in context.harness.capabilities:
        await store.chat.add_message(message(1))
    await context.advance(HOUR)
    await store.rooms.remove_user_from_room(ROOM, "host")
    return store


def assert_near(ttl: timedelta | None, expected: timedelta, what: str) -> None:
    """Assert that a TTL was set just now."""
    assert ttl is not None, f"{what} is missing"
    assert expected - timedelta(minutes=2) < ttl <= expected, f"{what} is {ttl}"


class EmptyRoomClauses:
    """Clauses about `empty_room_ttl`."""

    @clause()
    async def test_the_last_leave_can_keep_the_room(self, context: ContractContext) -> None:
        """With empty_room_ttl, the last leave keeps the room without users; its host and all else stay."""
        store = await context.open(empty_room_ttl=WAIT)
        await store.rooms.create_room(room(ROOM, "host", "guest", settings={"theme": "dark"}))
        await store.rooms.remove_user_from_room(ROOM, "guest")
        before = await read(store)
        after = await store.rooms.remove_user_from_room(ROOM, "host")
        expected = before.model_copy(update={"users": (), "rev": 3, "isWaiting": True})
        assert after == await read(store) == expected
        assert await store.rooms.room_exists(ROOM) is True

    @clause()
    async def test_a_room_waits_for_empty_room_ttl(self, context: ContractContext) -> None:
        """A room that its last user has left expires after empty_room_ttl."""
        store = await open_waiting(context)
        assert_near(await store.rooms.room_ttl(ROOM), WAIT, "room_ttl")
        await context.advance(9 * MINUTE)
        assert await store.rooms.room_exists(ROOM) is True, "the room had expired 9 minutes after the last leave"
        await context.advance(MINUTE)
        assert await store.rooms.get_room(ROOM) is None, "the room still existed 10 minutes after the last leave"

    @clause()
    async def test_a_room_can_wait_longer_than_room_ttl(self, context: ContractContext) -> None:
        """empty_room_ttl may be longer than room_ttl."""
        store = await context.open(room_ttl=timedelta(minutes=1), empty_room_ttl=timedelta(hours=2))
        await store.rooms.create_room(room())
        await store.rooms.remove_user_from_room(ROOM, "host")
        await context.advance(HOUR)
        assert (await store.rooms.add_user_to_room(ROOM, user("host"))).host_id == "host"

    @clause(Capability.LISTING)
    async def test_a_room_that_waits_is_listed(self, context: ContractContext) -> None:
        """A room that waits is an active room until it expires."""
        store = await open_waiting(context)
        assert [room_id async for room_id in store.rooms.active_room_ids()] == [ROOM]
        assert [one.users async for one in store.rooms.active_rooms()] == [()]
        await context.advance(10 * MINUTE)
        assert [room_id async for room_id in store.rooms.active_room_ids()] == []

    @clause(Capability.CHAT)
    async def test_the_chat_waits_with_its_room(self, context: ContractContext) -> None:
        """The chat of a room that waits lives as long as the room, and has its full TTL after a user has joined."""
        store = await open_waiting(context)
        assert_near(await store.chat.chat_ttl(ROOM), WAIT, "chat_ttl of a room that waits")
        await store.rooms.add_user_to_room(ROOM, user("guest"))
        assert_near(await store.chat.chat_ttl(ROOM), timedelta(days=1), "chat_ttl after a join")
        await context.advance(DAY - HOUR)
        await store.rooms.remove_user_from_room(ROOM, "guest")
        await context.advance(9 * MINUTE)
        assert len(await store.chat.get_messages(ROOM)) == 1
        await context.advance(MINUTE)
        assert await store.chat.get_messages(ROOM) == []
        assert await store.chat.chat_ttl(ROOM) is None

    @clause()
    async def test_the_former_host_returns_as_host(self, context: ContractContext) -> None:
        """If the former host is the first to join a room that waits, they are host again, with the same token."""
        store = await open_waiting(context)
        await context.advance(5 * MINUTE)
        after = await store.rooms.add_user_to_room(ROOM, user("host", name="New name"))
        assert after == await read(store)
        assert after.users == (user("host", name="New name", is_host=True),)
        assert (after.host_id, after.host_name, after.rev) == ("host", "Name of host", 3)
        assert after.verify_host_token("token-of-the-host")
        assert after.model_extra == {"settings": {"theme": "dark"}}
        assert_near(await store.rooms.room_ttl(ROOM), timedelta(days=1), "room_ttl after a join")

    @clause()
    async def test_another_user_becomes_host_of_a_room_that_waits(self, context: ContractContext) -> None:
        """If another user is the first to join a room that waits, they become host; the former host joins as guest."""
        store = await open_waiting(context)
        after = await store.rooms.add_user_to_room(ROOM, user("guest"))
        assert after.users == (user("guest", is_host=True),)
        assert (after.host_id, after.host_name) == ("guest", "Name of guest")
        assert after.verify_host_token("token-of-the-host")
        assert after.model_extra == {"settings": {"theme": "dark"}}
        again = await store.rooms.add_user_to_room(ROOM, user("host"))
        assert again == await read(store)
        assert (again.host_id, [one.id for one in again.users if one.is_host]) == ("guest", ["guest"])

    @clause()
    async def test_a_room_that_nobody_has_entered_does_not_wait(self, context: ContractContext) -> None:
        """A room that was created without users keeps room_ttl, and its host even if another user joins first."""
        store = await context.open(empty_room_ttl=WAIT)
        await store.rooms.create_room(room(host_id="absent", host_name="Absent", users=()))
        await store.rooms.remove_user_from_room(ROOM, "stranger")
        assert (await read(store)).rev == 1
        await store.rooms.set_video_url(ROOM, "https://video.example/1")
        assert_near(await store.rooms.room_ttl(ROOM), timedelta(days=1), "room_ttl")
        after = await store.rooms.add_user_to_room(ROOM, user("guest"))
        assert (after.host_id, after.users) == ("absent", (user("guest"),))
        assert (await store.rooms.add_user_to_room(ROOM, user("absent"))).users[-1].is_host

    @clause()
    async def test_a_write_renews_the_wait(self, context: ContractContext) -> None:
        """Each write of a room that waits lets it and its chat wait for another empty_room_ttl."""
        store = await open_waiting(context)
        for _ in range(2):
            await context.advance(9 * MINUTE)
            after = await store.rooms.update_video_state(ROOM, VideoState(current_time=7))
            assert after.users == ()
            assert_near(await store.rooms.room_ttl(ROOM), WAIT, "room_ttl")
            if Capability.CHAT in context.harness.capabilities:
                assert_near(await store.chat.chat_ttl(ROOM), WAIT, "chat_ttl")
        await context.advance(9 * MINUTE)
        assert (await store.rooms.add_user_to_room(ROOM, user("guest"))).host_id == "guest"

    @clause()
    async def test_a_leave_from_a_room_that_waits_has_no_effect(self, context: ContractContext) -> None:
        """A second leave of the last user changes nothing, and does not renew the wait."""
        store = await open_waiting(context)
        before = await read(store)
        await context.advance(5 * MINUTE)
        assert await store.rooms.remove_user_from_room(ROOM, "host") == before == await read(store)
        await context.advance(5 * MINUTE)
        assert await store.rooms.room_exists(ROOM) is False

    @clause()
    async def test_a_concurrent_last_leave_and_join_have_a_host(self, context: ContractContext) -> None:
        """If the last user leaves while another one joins, the other one is in the room and its host."""
        store = await context.open(empty_room_ttl=WAIT)
        for number in range(20):
            await store.rooms.create_room(room())
            calls = [
                store.rooms.remove_user_from_room(ROOM, "host"),
                store.rooms.add_user_to_room(ROOM, user("guest")),
            ]
            await asyncio.gather(*(calls if number % 2 else reversed(calls)))
            stored = await read(store)
            assert stored.users == (user("guest", is_host=True),)
            assert (stored.host_id, stored.model_extra) == ("guest", {})
            assert_near(await store.rooms.room_ttl(ROOM), timedelta(days=1), "room_ttl")
            await store.rooms.delete_room(ROOM)

    @clause(Capability.SHARED)
    async def test_a_client_without_empty_room_ttl_ends_the_wait(self, context: ContractContext) -> None:
        """A user who joins a room that waits through a client without the setting becomes host, too."""
        await open_waiting(context)
        other = await context.open()
        after = await other.rooms.add_user_to_room(ROOM, user("guest"))
        assert (after.host_id, after.model_extra) == ("guest", {"settings": {"theme": "dark"}})
        assert_near(await other.rooms.room_ttl(ROOM), timedelta(days=1), "room_ttl")
        if Capability.CHAT in context.harness.capabilities:
            assert_near(await other.chat.chat_ttl(ROOM), timedelta(days=1), "chat_ttl")

    @clause()
    async def test_an_edit_can_end_a_wait(self, context: ContractContext) -> None:
        """An edit that adds users to a room that waits ends the wait; without the former host, the first is host."""
        store = await open_waiting(context)
        users = (user("first"), user("second"))
        after = await store.rooms.edit_room(ROOM, lambda before: before.replace(users=users))
        assert after == await read(store)
        assert after.users == (user("first", is_host=True), user("second"))
        assert (after.host_id, after.host_name, after.rev) == ("first", "Name of first", 3)
        assert after.model_extra == {"settings": {"theme": "dark"}}
        assert after.verify_host_token("token-of-the-host")
        assert_near(await store.rooms.room_ttl(ROOM), timedelta(days=1), "room_ttl after an edit")
        if Capability.CHAT in context.harness.capabilities:
            assert_near(await store.chat.chat_ttl(ROOM), timedelta(days=1), "chat_ttl after an edit")

    @clause()
    async def test_an_edit_can_bring_the_former_host_back(self, context: ContractContext) -> None:
        """If an edit adds the former host and others to a room that waits, the former host is its only host."""
        store = await open_waiting(context)
        users = (user("guest"), user("host"))
        after = await store.rooms.edit_room(ROOM, lambda before: before.replace(users=users))
        assert after == await read(store)
        assert after.users == (user("guest"), user("host", is_host=True))
        assert (after.host_id, after.model_extra) == ("host", {"settings": {"theme": "dark"}})

    @clause()
    async def test_an_update_can_end_a_wait(self, context: ContractContext) -> None:
        """update_room by a room with users ends a wait, whether isWaiting is in the stored room or in the new one."""
        store = await open_waiting(context)
        new = room(host_id="absent", host_name="Absent", users=(user("first"), user("second")))
        for rev, written in ((3, new), (4, new.with_extra({"isWaiting": True}))):
            await store.rooms.update_room(ROOM, written)
            after = await read(store)
            assert after.users == (user("first", is_host=True), user("second"))
            assert (after.host_id, after.host_name, after.rev) == ("first", "Name of first", rev)
            assert after.model_extra == {}

    @clause(Capability.RAW)
    async def test_a_write_ends_a_wait_in_which_another_client_added_users(self, context: ContractContext) -> None:
        """If another client adds users to a room that waits and keeps isWaiting, the next write ends the wait."""
        store = await context.open(empty_room_ttl=WAIT)
        rooms, raw, has_chat = store.rooms, context.harness.raw, Capability.CHAT in context.harness.capabilities
        writes: dict[str, Callable[[str], Awaitable[Room | None]]] = {
            "join": lambda key: rooms.add_user_to_room(key, user("late")),
            "leave": lambda key: rooms.remove_user_from_room(key, "second"),
            "state": lambda key: rooms.update_video_state(key, VideoState()),
            "video": lambda key: rooms.set_video_url(key, "https://video.example/1"),
            "edit": lambda key: rooms.edit_room(key, lambda before: before.replace(video_url="x")),
        }
        for key, write in writes.items():
            await rooms.create_room(room(key))
            if has_chat:
                await store.chat.add_message(message(1, key))
            await rooms.remove_user_from_room(key, "host")
            waiting = parsed(await raw.get_room(key))
            added = [user(name).to_json() for name in ("first", "second")]
            await raw.put_room(key, json.dumps({**waiting, "users": added}).encode())
            after = await write(key)
            assert after is not None, key
            assert after == await rooms.get_room(key), key
            assert [one.id for one in after.users if one.is_host] == ["first"], key
            assert (after.host_id, after.host_name, after.rev) == ("first", "Name of first", 3), key
            assert after.model_extra == {}, key
            assert_near(await rooms.room_ttl(key), timedelta(days=1), f"room_ttl after {key}")
            if has_chat:
                assert_near(await store.chat.chat_ttl(key), timedelta(days=1), f"chat_ttl after {key}")

    @clause()
    async def test_a_cancelled_last_leave_that_keeps_the_room_is_atomic(self, context: ContractContext) -> None:
        """A cancelled last leave either makes the room and its chat wait or has no effect."""

        async def prepare(store: Store, key: str) -> None:
            await store.rooms.create_room(room(key))
            if Capability.CHAT in context.harness.capabilities:
                await store.chat.add_message(message(1, key))

        await assert_atomic(
            context, lambda store, key: store.rooms.remove_user_from_room(key, "host"), prepare, empty_room_ttl=WAIT
        )

    @clause(Capability.EVENTS)
    async def test_a_room_that_waits_is_published(self, context: ContractContext) -> None:
        """The last leave publishes UserLeft and RoomChanged; the next join UserJoined, HostChanged and RoomChanged."""
        store = await context.open(empty_room_ttl=WAIT, publish_changes=True)
        await store.rooms.create_room(room())
        rooms = store.rooms
        assert await events_of(store, lambda: rooms.remove_user_from_room(ROOM, "host")) == [
            UserLeft(room_id=ROOM, rev=2, user=user("host", is_host=True)),
            RoomChanged(room_id=ROOM, rev=2),
        ]
        assert await events_of(store, lambda: rooms.add_user_to_room(ROOM, user("guest"))) == [
            UserJoined(room_id=ROOM, rev=3, user=user("guest", is_host=True)),
            HostChanged(room_id=ROOM, rev=3, host_id="guest", host_name="Name of guest"),
            RoomChanged(room_id=ROOM, rev=3),
        ]
        await rooms.remove_user_from_room(ROOM, "guest")
        assert await events_of(store, lambda: context.advance(11 * MINUTE)) == []
