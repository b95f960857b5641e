"""Clauses about the harness, and about stores that could hide failures. They run first."""

from __future__ import annotations

from datetime import timedelta
from typing import cast

import pytest

from wnc_store import ChatMessage, LimitExceededError, Room, User, VideoState
from wnc_store_contract.clause import ContractContext, HasHarness, clause, make_harness
from wnc_store_contract.factories import ROOM, message, room
from wnc_store_contract.harness import Capability

HALF_A_DAY, MINUTE = timedelta(hours=12), timedelta(minutes=1)


class HarnessClauses:
    """Clauses that every other clause relies on.

    A store that breaks one of the observed operations must not be taken for a wrong harness. So a clause blames the
    harness only if none of several operations behaves as expected.
    """

    @clause()
    async def test_closing_a_harness_removes_its_data(self, context: ContractContext) -> None:
        """A closed harness has removed its data, so that a new one does not contain it."""
        former = make_harness(cast("HasHarness", self))
        async with former.open_store() as store:
            await store.rooms.create_room(room())
        await former.aclose()
        store = await context.open()
        found = await store.rooms.get_room(ROOM) is not None and await store.rooms.room_exists(ROOM)
        assert found is False, "the harness is wrong: a new one contains the room that a closed one had created"

    @clause()
    async def test_advance_moves_the_time_of_the_data(self, context: ContractContext) -> None:
        """Advancing the harness shortens the TTLs of the data by as much, and expires the data."""
        store = await context.open()
        await store.rooms.create_room(room())
        before = await store.rooms.room_ttl(ROOM)
        await context.advance(HALF_A_DAY.total_seconds())
        after = await store.rooms.room_ttl(ROOM)
        halfway = await store.rooms.get_room(ROOM) is not None
        await context.advance(HALF_A_DAY.total_seconds())
        at_the_end = await store.rooms.get_room(ROOM) is not None
        moved = before - after if before and after else timedelta(0)
        assert abs(moved - HALF_A_DAY) < MINUTE or (halfway and not at_the_end), (
            "the harness is wrong: advance(43200) must move the time of the data by 12 hours, but the TTL of a room "
            f"went from {before} to {after}; the room existed after 12 hours: {halfway}, after 24 hours: {at_the_end}"
        )

    @clause()
    async def test_settings_reach_the_store(self, context: ContractContext) -> None:
        """The settings that the harness is given are those of the store."""
        store = await context.open(room_ttl=timedelta(hours=1), max_users_per_room=2, chat_history_limit=1)
        ignored: list[str] = []
        await store.rooms.create_room(room())
        ttl = await store.rooms.room_ttl(ROOM)
        if ttl is None or ttl > timedelta(hours=1):
            ignored.append("room_ttl")
        try:
            await store.rooms.create_room(room("B", "u1", "u2", "u3"))
            ignored.append("max_users_per_room")
        except LimitExceededError:
            pass
        if Capability.CHAT in context.harness.capabilities:
            for number in (1, 2):
                await store.chat.add_message(message(number))
            if len(await store.chat.get_messages(ROOM)) > 1:
                ignored.append("chat_history_limit")
        expected = 3 if Capability.CHAT in context.harness.capabilities else 2
        assert len(ignored) < expected, (
            f"the harness is wrong: open_store must pass its settings to the store, but {', '.join(ignored)} have no "
            "effect"
        )

    @clause()
    async def test_leaving_a_store_keeps_the_errors_of_its_body(self, context: ContractContext) -> None:
        """`async with` on a store closes the store and does not suppress the errors of its body."""
        store = context.harness.open_store()
        with pytest.raises(LookupError):
            async with store:
                raise LookupError
        assert store.closed is True

    @clause(Capability.EVENTS)
    async def test_leaving_a_subscription_keeps_the_errors_of_its_body(self, context: ContractContext) -> None:
        """`async with` on a subscription does not suppress the errors of its body."""
        store = await context.open()
        for error in (LookupError, AssertionError):
            with pytest.raises(error):
                async with store.events.subscribe(ROOM):
                    raise error

    @clause()
    async def test_records_have_the_types_of_the_library(self, context: ContractContext) -> None:
        """Stores return records of the library's classes and not of subclasses, which could equal anything."""
        store = await context.open()
        await store.rooms.create_room(room())
        stored = await store.rooms.get_room(ROOM)
        assert stored is not None
        assert [type(stored), type(stored.users[0]), type(stored.video_state)] == [Room, User, VideoState]
        if Capability.CHAT in context.harness.capabilities:
            await store.chat.add_message(message(1))
            (entry,) = await store.chat.get_messages(ROOM)
            assert type(entry) is ChatMessage
