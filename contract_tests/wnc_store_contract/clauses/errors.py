"""Clauses about the attributes of errors, and about edits by an async function."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import pytest

from wnc_store import (
    AppEvent,
    LimitExceededError,
    RoomExistsError,
    RoomNotFoundError,
    UserNotFoundError,
    VideoState,
    to_wire,
)
from wnc_store_contract.calls import Call
from wnc_store_contract.clause import ContractContext, clause
from wnc_store_contract.clauses.message_edits import setting
from wnc_store_contract.factories import ROOM, message, room, user
from wnc_store_contract.harness import Capability


async def async_change(before: Any) -> Any:
    """Return the record: a change that must be rejected, because it is async."""
    return before


class ErrorClauses:
    """Clauses about the attributes of an error."""

    @clause()
    async def test_a_missing_room_is_named(self, context: ContractContext) -> None:
        """RoomNotFoundError contains the id of the room."""
        rooms = (await context.open()).rooms
        calls: Sequence[Call] = (
            lambda: rooms.update_room("missing", room("missing")),
            lambda: rooms.edit_room("missing", lambda found: found),
            lambda: rooms.add_user_to_room("missing", user("guest")),
            lambda: rooms.transfer_host("missing", "guest"),
            lambda: rooms.transfer_host("missing", "guest", rotate_token=True),
            lambda: rooms.rotate_host_token("missing"),
            lambda: rooms.update_video_state("missing", VideoState()),
            lambda: rooms.set_video_url("missing", "https://video.example/1"),
        )
        for call in calls:
            with pytest.raises(RoomNotFoundError) as caught:
                await call()
            assert caught.value.room_id == "missing"

    @clause()
    async def test_a_missing_user_is_named(self, context: ContractContext) -> None:
        """UserNotFoundError contains the ids of the room and of the user."""
        rooms = (await context.open()).rooms
        await rooms.create_room(room())
        for rotate_token in (False, True):
            with pytest.raises(UserNotFoundError) as caught:
                await rooms.transfer_host(ROOM, "stranger", rotate_token=rotate_token)
            assert (caught.value.room_id, caught.value.user_id) == (ROOM, "stranger")

    @clause()
    async def test_an_existing_room_is_named(self, context: ContractContext) -> None:
        """RoomExistsError contains the id of the room."""
        rooms = (await context.open()).rooms
        await rooms.create_room(room())
        with pytest.raises(RoomExistsError) as caught:
            await rooms.create_room(room())
        assert caught.value.room_id == ROOM

    @clause(Capability.CHAT)
    async def test_an_exceeded_limit_of_a_message_is_described(self, context: ContractContext) -> None:
        """LimitExceededError of a new or edited message contains the setting, the limit and the actual length."""
        chat = (await context.open(max_message_length=10, max_name_length=8)).chat
        await chat.add_message(message(1))
        for field, limit, name in (("message", 10, "(max_message_length)"), ("user_name", 8, "(max_name_length)")):
            fields: dict[str, Any] = {field: "x" * 13}
            calls: Sequence[Call] = (
                functools.partial(chat.add_message, message(2, **fields)),
                functools.partial(chat.edit_message, ROOM, "m1", setting(**fields)),
            )
            for call in calls:
                with pytest.raises(LimitExceededError) as caught:
                    await call()
                assert (caught.value.limit, caught.value.actual) == (limit, 13)
                assert caught.value.what.endswith(name)

    @clause(Capability.CONNECTIONS)
    async def test_an_exceeded_limit_of_connections_is_described(self, context: ContractContext) -> None:
        """LimitExceededError of connections contains the limit and the number that the lease would have led to."""
        connections = (await context.open()).connections
        for number in range(4):
            await connections.acquire("ip", f"c{number}")
        with pytest.raises(LimitExceededError) as caught:
            await connections.acquire("ip", "late", limit=2)
        assert (caught.value.limit, caught.value.actual) == (2, 5)

    @clause(Capability.EVENTS)
    async def test_an_exceeded_limit_of_events_is_described(self, context: ContractContext) -> None:
        """LimitExceededError of an event contains the setting, the limit and the size of the event in bytes."""
        events = (await context.open(max_event_bytes=1024)).events
        large = AppEvent(room_id=ROOM, name="n", value="x" * 1024)
        with pytest.raises(LimitExceededError) as caught:
            await events.publish(ROOM, large)
        assert (caught.value.limit, caught.value.actual) == (1024, len(to_wire(large)))
        assert caught.value.what.endswith("(max_event_bytes)")

    @clause()
    async def test_an_async_edit_is_rejected(self, context: ContractContext) -> None:
        """edit_room and create_room_with_code raise TypeError for an async function, and write nothing."""
        rooms = (await context.open()).rooms
        await rooms.create_room(room())
        before = await rooms.get_room(ROOM)
        change: Any = async_change
        with pytest.raises(TypeError):
            await rooms.edit_room(ROOM, change)
        with pytest.raises(TypeError):
            await rooms.create_room_with_code(user("host"), change=change)
        assert await rooms.get_room(ROOM) == before

    @clause(Capability.CHAT)
    async def test_an_async_edit_of_a_message_is_rejected(self, context: ContractContext) -> None:
        """edit_message raises TypeError for an async function, and writes nothing."""
        chat = (await context.open()).chat
        await chat.add_message(message(1))
        change: Any = async_change
        with pytest.raises(TypeError):
            await chat.edit_message(ROOM, "m1", change)
        assert await chat.get_messages(ROOM) == [message(1)]
