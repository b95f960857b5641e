"""Clauses about size: values as large as the default limits allow are stored and read back in full."""

from __future__ import annotations

import asyncio

import pytest

from wnc_store import AppEvent, LimitExceededError, Resync, StoreSettings, UserJoined, to_wire
from wnc_store_contract.clause import ContractContext, clause
from wnc_store_contract.clauses.changes import events_of
from wnc_store_contract.clauses.events import drain
from wnc_store_contract.factories import ROOM, message, room, user
from wnc_store_contract.harness import Capability
from wnc_store_contract.operations import json_text

LIMITS = StoreSettings()
CHARACTERS = ("x", "\u00e5", "\u4e2d", "\U0001f37f", "\x00", "\ud83d", '"', "\\")
"""Characters of one to four bytes, and ones that JSON escapes."""


class SizeClauses:
    """Clauses with values at the default limits of the settings."""

    @clause()
    async def test_the_longest_texts_of_a_room_are_stored(self, context: ContractContext) -> None:
        """Names and URLs of the largest length, of any characters, and ids of 128 characters are read back in full."""
        store = await context.open()
        for number, character in enumerate(CHARACTERS):
            name, url = character * LIMITS.max_name_length, character * LIMITS.max_url_length
            ids = [f"{number}{end}".rjust(128, "u") for end in "ab"]
            room_id = f"{number}".rjust(128, "r")
            made = room(room_id, *ids, host_name=name, video_url=url, rev=1)
            made = made.model_copy(
                update={"users": tuple(member.model_copy(update={"name": name}) for member in made.users)}
            )
            await store.rooms.create_room(made.model_copy(update={"rev": 0}))
            stored = await store.rooms.get_room(room_id)
            assert stored is not None
            assert json_text(stored) == json_text(made), f"texts of {character!r}"
            joined = user("n" * 128, name=name)
            after = await store.rooms.add_user_to_room(room_id, joined)
            assert json_text(after.users[-1]) == json_text(joined), f"a joined name of {character!r}"
            assert (await store.rooms.set_video_url(room_id, url, character)).video_url == url

    @clause()
    async def test_the_most_users_are_stored(self, context: ContractContext) -> None:
        """A room of max_users_per_room users is read back with all of them, in order, and rejects another one."""
        store = await context.open()
        ids = [f"u{number}" for number in range(LIMITS.max_users_per_room)]
        await store.rooms.create_room(room(ROOM, *ids[:-1]))
        after = await store.rooms.add_user_to_room(ROOM, user(ids[-1]))
        assert [member.id for member in after.users] == ids
        with pytest.raises(LimitExceededError, match="users"):
            await store.rooms.add_user_to_room(ROOM, user("late"))
        stored = await store.rooms.get_room(ROOM)
        assert stored is not None
        assert [member.id for member in stored.users] == ids
        after = await store.rooms.transfer_host(ROOM, ids[-1])
        assert (after.host_id, len(after.users)) == (ids[-1], len(ids))

    @clause()
    async def test_the_largest_room_is_stored(self, context: ContractContext) -> None:
        """A room of exactly max_room_bytes is read back in full, and a larger one raises LimitExceededError."""
        store = await context.open()
        empty = room(notes="").model_copy(update={"rev": 1})
        notes = "x" * (LIMITS.max_room_bytes - len(to_wire(empty)))
        largest = empty.with_extra({"notes": notes})
        with pytest.raises(LimitExceededError, match="bytes"):
            await store.rooms.create_room(room(notes=f"{notes}x"))
        await store.rooms.create_room(room(notes=notes))
        stored = await store.rooms.get_room(ROOM)
        assert stored is not None
        assert json_text(stored) == json_text(largest)
        assert stored.model_extra == {"notes": notes}
        after = await store.rooms.edit_room(ROOM, lambda before: before.replace(host_name="Name of hosT"))
        assert after.model_extra == {"notes": notes}

    @clause(Capability.CHAT)
    async def test_the_longest_messages_are_stored(self, context: ContractContext) -> None:
        """A full chat of messages of the largest length, of any characters, is read back in full."""
        store = await context.open()
        sent = [
            message(
                number,
                id=f"{number}".rjust(128, "m"),
                user_name=CHARACTERS[number % len(CHARACTERS)] * LIMITS.max_name_length,
                message=CHARACTERS[number % len(CHARACTERS)] * LIMITS.max_message_length,
            )
            for number in range(LIMITS.chat_history_limit)
        ]
        for entry in sent:
            await store.chat.add_message(entry)
        stored = await store.chat.get_messages(ROOM)
        assert [entry.id for entry in stored] == [entry.id for entry in sent]
        for entry, expected in zip(stored, sent, strict=True):
            assert json_text(entry) == json_text(expected), f"a message of {expected.message[0]!r}"
        with pytest.raises(LimitExceededError, match="message"):
            await store.chat.add_message(message(99, message="x" * (LIMITS.max_message_length + 1)))

    @clause(Capability.EVENTS)
    async def test_the_largest_event_is_delivered(self, context: ContractContext) -> None:
        """An event of exactly max_event_bytes is received in full, and a larger one raises LimitExceededError."""
        store = await context.open()
        empty = AppEvent(room_id=ROOM, name="large", value="")
        value = "x" * (LIMITS.max_event_bytes - len(to_wire(empty)))
        async with store.events.subscribe(ROOM) as events:
            with pytest.raises(LimitExceededError):
                await store.events.publish(ROOM, AppEvent(room_id=ROOM, name="large", value=f"{value}x"))
            largest = AppEvent(room_id=ROOM, name="large", value=value)
            await store.events.publish(ROOM, largest)
            assert await drain(store, events) == [largest]

    @clause(Capability.EVENTS)
    async def test_the_largest_change_is_published(self, context: ContractContext) -> None:
        """A change whose event has exactly max_event_bytes is published in full, and a larger one as a Resync."""
        store = await context.open(publish_changes=True, max_event_bytes=1024)
        await store.rooms.create_room(room())
        joined = UserJoined(room_id=ROOM, rev=2, user=user("guest", notes=""))
        guest = user("guest", notes="x" * (1024 - len(to_wire(joined))))
        joined = UserJoined(room_id=ROOM, rev=2, user=guest)
        assert await events_of(store, lambda: store.rooms.add_user_to_room(ROOM, guest)) == [joined]
        larger = guest.with_extra({"notes": f"{guest.model_extra['notes']}x"})
        assert await events_of(store, lambda: store.rooms.add_user_to_room(ROOM, larger)) == [Resync(room_id=ROOM)]

    @clause(Capability.CONNECTIONS)
    async def test_many_leases_are_counted(self, context: ContractContext) -> None:
        """300 connections of one key, with ids of 128 characters, are all counted."""
        connections = (await context.open()).connections
        ids = [f"{number}".rjust(128, "c") for number in range(300)]
        await asyncio.gather(*(connections.acquire("k" * 128, connection_id) for connection_id in ids))
        assert await connections.count("k" * 128) == len(ids)
        await asyncio.gather(*(connections.release("k" * 128, connection_id) for connection_id in ids[1:]))
        assert await connections.count("k" * 128) == 1

    @clause(Capability.RATE_LIMITS)
    async def test_large_costs_are_counted(self, context: ContractContext) -> None:
        """Hits of the largest cost add up beyond the limits of 32-bit integers."""
        limits = (await context.open(rate_limit_max=5 * 10**9)).rate_limits
        remaining = [(await limits.hit("k" * 128, 10**9)).remaining for _ in range(6)]
        assert remaining == [4 * 10**9, 3 * 10**9, 2 * 10**9, 10**9, 0, 0]

    @clause(Capability.CHAT)
    async def test_a_long_history_is_stored(self, context: ContractContext) -> None:
        """A chat keeps 300 messages if chat_history_limit is 300."""
        store = await context.open(chat_history_limit=300)
        for number in range(302):
            await store.chat.add_message(message(number))
        assert [entry.id for entry in await store.chat.get_messages(ROOM)] == [f"m{number}" for number in range(2, 302)]

    @clause(Capability.EVENTS)
    async def test_the_most_waiting_events_are_delivered(self, context: ContractContext) -> None:
        """A subscription that is not read keeps events_queue_size events."""
        store = await context.open()
        sent = [AppEvent(room_id=ROOM, name="n", value=number) for number in range(LIMITS.events_queue_size - 1)]
        async with store.events.subscribe(ROOM) as events:
            for event in sent:
                await store.events.publish(ROOM, event)
            assert await drain(store, events) == sent
