"""Clauses about TTLs: expiry and renewal."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from wnc_store import RoomNotFoundError, Store, VideoState
from wnc_store_contract.clause import ContractContext, clause
from wnc_store_contract.factories import message, room, user
from wnc_store_contract.harness import Capability

MINUTE, HOUR, DAY = 60, 3600, 86400


async def assert_renews(context: ContractContext, call: str, write: Callable[[Store], Awaitable[object]]) -> None:
    """Assert that a write one hour before expiry renews the room's TTL to 24 hours; `call` names it in messages."""
    store = await context.open()
    await store.rooms.create_room(room("A3X9K2", "host", "guest"))
    await context.advance(23 * HOUR)
    await write(store)
    await context.advance(23 * HOUR)
    assert await store.rooms.room_exists("A3X9K2") is True, f"the room had expired 23 hours after {call}"
    await context.advance(HOUR)
    assert await store.rooms.get_room("A3X9K2") is None, f"the room still existed 24 hours after {call}"


LONG = timedelta(hours=1, milliseconds=999)


async def assert_precise(read_ttl: Callable[[int], Awaitable[timedelta | None]]) -> None:
    """Assert that a new TTL of LONG is not rounded down to an hour; a slow machine may need several attempts."""
    ttl = LONG
    for number in range(30):
        ttl = await read_ttl(number) or timedelta(0)
        assert ttl <= LONG
        if ttl > timedelta(hours=1):
            return
    pytest.fail(f"expected a TTL of nearly {LONG} directly after the write, got {ttl}")


class LifetimeClauses:
    """Clauses about the TTLs of rooms and chats."""

    @clause()
    async def test_a_room_expires_after_24_hours(self, context: ContractContext) -> None:
        """A room expires 24 hours after its last write."""
        store = await context.open()
        await store.rooms.create_room(room())
        ttl = await store.rooms.room_ttl("A3X9K2")
        assert ttl is not None
        assert timedelta(days=1, minutes=-1) < ttl <= timedelta(days=1)
        await context.advance(DAY - MINUTE)
        assert await store.rooms.get_room("A3X9K2") is not None, (
            "the room had expired 23 hours and 59 minutes after create_room"
        )
        await context.advance(MINUTE)
        assert await store.rooms.get_room("A3X9K2") is None, "the room still existed 24 hours after create_room"
        assert await store.rooms.room_exists("A3X9K2") is False, "the room still existed 24 hours after create_room"
        assert await store.rooms.room_ttl("A3X9K2") is None, "the room still had a TTL 24 hours after create_room"

    @clause()
    async def test_writes_ignore_an_expired_room(self, context: ContractContext) -> None:
        """Every write treats an expired room as absent."""
        store = await context.open()
        await store.rooms.create_room(room())
        await context.advance(DAY)
        with pytest.raises(RoomNotFoundError):
            await store.rooms.add_user_to_room("A3X9K2", user("guest"))
        with pytest.raises(RoomNotFoundError):
            await store.rooms.update_room("A3X9K2", room())
        assert await store.rooms.remove_user_from_room("A3X9K2", "host") is None, (
            "remove_user_from_room found the room 24 hours after create_room"
        )
        assert await store.rooms.delete_room("A3X9K2") is False, "delete_room found the room 24 hours after create_room"

    @clause()
    async def test_the_id_of_an_expired_room_can_be_reused(self, context: ContractContext) -> None:
        """A room created under the id of an expired room has the full TTL."""
        store = await context.open()
        await store.rooms.create_room(room("A3X9K2", "first"))
        await context.advance(DAY)
        await store.rooms.create_room(room("A3X9K2", "second"))
        await context.advance(23 * HOUR)
        stored = await store.rooms.get_room("A3X9K2")
        assert stored is not None, "the second room had expired 23 hours after its create_room"
        assert stored.host_id == "second"

    @clause()
    async def test_update_room_renews(self, context: ContractContext) -> None:
        """update_room renews the room's TTL."""
        await assert_renews(context, "update_room", lambda store: store.rooms.update_room("A3X9K2", room()))

    @clause()
    async def test_edit_room_renews(self, context: ContractContext) -> None:
        """edit_room renews the room's TTL, even if it changes nothing."""
        await assert_renews(
            context, "edit_room", lambda store: store.rooms.edit_room("A3X9K2", lambda current: current)
        )

    @clause()
    async def test_add_user_to_room_renews(self, context: ContractContext) -> None:
        """add_user_to_room renews the room's TTL."""
        await assert_renews(
            context, "add_user_to_room", lambda store: store.rooms.add_user_to_room("A3X9K2", user("new"))
        )

    @clause()
    async def test_remove_user_from_room_renews(self, context: ContractContext) -> None:
        """remove_user_from_room renews the room's TTL."""
        await assert_renews(
            context, "remove_user_from_room", lambda store: store.rooms.remove_user_from_room("A3X9K2", "guest")
        )

    @clause()
    async def test_transfer_host_renews(self, context: ContractContext) -> None:
        """transfer_host renews the room's TTL."""
        await assert_renews(context, "transfer_host", lambda store: store.rooms.transfer_host("A3X9K2", "guest"))

    @clause()
    async def test_rotate_host_token_renews(self, context: ContractContext) -> None:
        """rotate_host_token renews the room's TTL."""
        await assert_renews(context, "rotate_host_token", lambda store: store.rooms.rotate_host_token("A3X9K2"))

    @clause()
    async def test_update_video_state_renews(self, context: ContractContext) -> None:
        """update_video_state renews the room's TTL."""
        await assert_renews(
            context, "update_video_state", lambda store: store.rooms.update_video_state("A3X9K2", VideoState())
        )

    @clause()
    async def test_set_video_url_renews(self, context: ContractContext) -> None:
        """set_video_url renews the room's TTL."""
        await assert_renews(
            context, "set_video_url", lambda store: store.rooms.set_video_url("A3X9K2", "https://video.example/1")
        )

    @clause()
    async def test_reading_a_room_does_not_renew(self, context: ContractContext) -> None:
        """Reading a room, its existence or its TTL does not renew the TTL."""
        store = await context.open()
        await store.rooms.create_room(room())
        await context.advance(23 * HOUR)
        await store.rooms.get_room("A3X9K2")
        await store.rooms.room_exists("A3X9K2")
        ttl = await store.rooms.room_ttl("A3X9K2")
        assert ttl is not None
        assert ttl <= timedelta(hours=1), "get_room or room_exists, 23 hours after create_room, renewed the room's TTL"
        await context.advance(HOUR)
        assert await store.rooms.get_room("A3X9K2") is None, (
            "the room still existed 24 hours after create_room, and an hour after it was read"
        )

    @clause(Capability.LISTING)
    async def test_listing_does_not_renew(self, context: ContractContext) -> None:
        """Listing and sweeping rooms do not renew their TTLs."""
        store = await context.open()
        await store.rooms.create_room(room())
        await context.advance(23 * HOUR)
        assert [room_id async for room_id in store.rooms.active_room_ids()] == ["A3X9K2"]
        await store.rooms.sweep_active_rooms()
        await context.advance(HOUR)
        assert await store.rooms.get_room("A3X9K2") is None, (
            "the room still existed 24 hours after create_room, and an hour after it was listed and swept"
        )

    @clause(Capability.CHAT)
    async def test_a_message_does_not_renew_the_room(self, context: ContractContext) -> None:
        """add_message renews the TTL of the chat, not of the room."""
        store = await context.open()
        await store.rooms.create_room(room())
        await context.advance(23 * HOUR)
        await store.chat.add_message(message(1))
        await context.advance(HOUR)
        assert await store.rooms.room_exists("A3X9K2") is False, (
            "the room still existed 24 hours after create_room, and an hour after add_message"
        )
        assert len(await store.chat.get_messages("A3X9K2")) == 1, "the chat had expired an hour after add_message"

    @clause()
    async def test_the_room_ttl_is_configurable(self, context: ContractContext) -> None:
        """A room expires after room_ttl."""
        store = await context.open(room_ttl=timedelta(hours=1))
        await store.rooms.create_room(room())
        await context.advance(HOUR - MINUTE)
        assert await store.rooms.room_exists("A3X9K2") is True, (
            "the room had expired 59 minutes after create_room with a room_ttl of one hour"
        )
        await context.advance(MINUTE)
        assert await store.rooms.room_exists("A3X9K2") is False, (
            "the room still existed one hour after create_room with a room_ttl of one hour"
        )

    @clause()
    async def test_room_ttl_has_millisecond_precision(self, context: ContractContext) -> None:
        """room_ttl is not rounded to whole seconds."""
        store = await context.open(room_ttl=LONG)

        async def ask(number: int) -> timedelta | None:
            await store.rooms.create_room(room(f"r{number}"))
            return await store.rooms.room_ttl(f"r{number}")

        await assert_precise(ask)

    @clause(Capability.CHAT)
    async def test_chat_ttl_has_millisecond_precision(self, context: ContractContext) -> None:
        """chat_ttl is not rounded to whole seconds."""
        store = await context.open(chat_ttl=LONG)

        async def ask(number: int) -> timedelta | None:
            await store.chat.add_message(message(number, f"r{number}"))
            return await store.chat.chat_ttl(f"r{number}")

        await assert_precise(ask)

    @clause(Capability.RATE_LIMITS)
    async def test_rate_limit_windows_have_millisecond_precision(self, context: ContractContext) -> None:
        """The rest of a rate-limit window is not rounded to whole seconds."""
        store = await context.open(rate_limit_window=LONG)

        async def ask(number: int) -> timedelta | None:
            return (await store.rate_limits.hit(f"ip-{number}")).reset_after

        await assert_precise(ask)

    @clause(Capability.CHAT)
    async def test_a_repeated_message_does_not_renew(self, context: ContractContext) -> None:
        """Adding a stored message again does not renew the chat's TTL."""
        store = await context.open()
        await store.chat.add_message(message(1))
        await context.advance(23 * HOUR)
        await store.chat.add_message(message(1))
        await context.advance(HOUR)
        assert await store.chat.get_messages("A3X9K2") == [], (
            "the chat still existed 24 hours after add_message, and an hour after it was repeated"
        )

    @clause(Capability.CHAT)
    async def test_a_chat_expires_after_24_hours(self, context: ContractContext) -> None:
        """A chat expires 24 hours after its last message."""
        store = await context.open()
        await store.chat.add_message(message(1))
        ttl = await store.chat.chat_ttl("A3X9K2")
        assert ttl is not None
        assert timedelta(days=1, minutes=-1) < ttl <= timedelta(days=1)
        await context.advance(DAY - MINUTE)
        assert len(await store.chat.get_messages("A3X9K2")) == 1, (
            "the chat had expired 23 hours and 59 minutes after add_message"
        )
        await context.advance(MINUTE)
        assert await store.chat.get_messages("A3X9K2") == [], "the chat still existed 24 hours after add_message"
        assert await store.chat.chat_ttl("A3X9K2") is None, "the chat still had a TTL 24 hours after add_message"

    @clause(Capability.CHAT)
    async def test_each_message_renews_the_chat(self, context: ContractContext) -> None:
        """Every new message renews the TTL of the whole chat."""
        store = await context.open()
        await store.chat.add_message(message(1))
        await context.advance(23 * HOUR)
        await store.chat.add_message(message(2))
        await context.advance(23 * HOUR)
        assert len(await store.chat.get_messages("A3X9K2")) == 2, (
            "a message had expired 23 hours after the last add_message"
        )
        await context.advance(HOUR)
        assert await store.chat.get_messages("A3X9K2") == [], (
            "the chat still existed 24 hours after the last add_message"
        )

    @clause(Capability.CHAT)
    async def test_reading_a_chat_does_not_renew(self, context: ContractContext) -> None:
        """Reading a chat or its TTL does not renew the TTL."""
        store = await context.open()
        await store.chat.add_message(message(1))
        await context.advance(23 * HOUR)
        assert len(await store.chat.get_messages("A3X9K2")) == 1, "the chat had expired 23 hours after add_message"
        ttl = await store.chat.chat_ttl("A3X9K2")
        assert ttl is not None
        assert ttl <= timedelta(hours=1), "get_messages, 23 hours after add_message, renewed the chat's TTL"
        await context.advance(HOUR)
        assert await store.chat.get_messages("A3X9K2") == [], (
            "the chat still existed 24 hours after add_message, and an hour after get_messages"
        )

    @clause(Capability.CHAT)
    async def test_the_chat_ttl_is_configurable(self, context: ContractContext) -> None:
        """A chat expires after chat_ttl."""
        store = await context.open(chat_ttl=timedelta(hours=1))
        await store.chat.add_message(message(1))
        await context.advance(HOUR - MINUTE)
        assert len(await store.chat.get_messages("A3X9K2")) == 1, (
            "the chat had expired 59 minutes after add_message with a chat_ttl of one hour"
        )
        await context.advance(MINUTE)
        assert await store.chat.get_messages("A3X9K2") == [], (
            "the chat still existed one hour after add_message with a chat_ttl of one hour"
        )

    @clause(Capability.CHAT)
    async def test_writing_a_room_does_not_renew_the_chat(self, context: ContractContext) -> None:
        """A write to a room does not renew the TTL of its chat."""
        store = await context.open()
        await store.rooms.create_room(room())
        await store.chat.add_message(message(1))
        await context.advance(23 * HOUR)
        await store.rooms.add_user_to_room("A3X9K2", user("guest"))
        await context.advance(HOUR)
        assert await store.chat.get_messages("A3X9K2") == [], (
            "the chat still existed 24 hours after add_message, and an hour after add_user_to_room"
        )
