"""Clauses about size limits."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable

import pytest

from wnc_store import LimitExceededError, VideoState, to_wire
from wnc_store_contract.clause import ContractContext, clause
from wnc_store_contract.factories import message, room, user
from wnc_store_contract.harness import Capability


class SizeLimitClauses:
    """Clauses about the size limits of the settings."""

    @clause(Capability.CHAT)
    async def test_a_long_message_is_rejected(self, context: ContractContext) -> None:
        """A message longer than max_message_length raises LimitExceededError and is not stored."""
        store = await context.open(max_message_length=5)
        with pytest.raises(LimitExceededError, match="message"):
            await store.chat.add_message(message(1, message="123456"))
        await store.chat.add_message(message(2, message="12345"))
        assert [entry.id for entry in await store.chat.get_messages("A3X9K2")] == ["m2"]

    @clause(Capability.CHAT)
    async def test_a_long_name_in_a_message_is_rejected(self, context: ContractContext) -> None:
        """A message whose user_name is longer than max_name_length raises LimitExceededError."""
        store = await context.open(max_name_length=5)
        with pytest.raises(LimitExceededError, match="name"):
            await store.chat.add_message(message(1, user_name="123456"))

    @clause()
    async def test_a_long_name_is_rejected(self, context: ContractContext) -> None:
        """A user or host whose name is longer than max_name_length raises LimitExceededError."""
        store = await context.open(max_name_length=12)
        with pytest.raises(LimitExceededError, match="name"):
            await store.rooms.create_room(room(host_name="x" * 13))
        await store.rooms.create_room(room())
        before = await store.rooms.get_room("A3X9K2")
        with pytest.raises(LimitExceededError, match="name"):
            await store.rooms.add_user_to_room("A3X9K2", user("guest", name="x" * 13))
        assert await store.rooms.get_room("A3X9K2") == before
        await store.rooms.add_user_to_room("A3X9K2", user("guest", name="x" * 12))

    @clause()
    async def test_a_long_url_is_rejected(self, context: ContractContext) -> None:
        """A video URL longer than max_url_length raises LimitExceededError."""
        store = await context.open(max_url_length=20)
        with pytest.raises(LimitExceededError, match="URL"):
            await store.rooms.create_room(room(video_url="https://video.example/12345"))
        await store.rooms.create_room(room())
        with pytest.raises(LimitExceededError, match="URL"):
            await store.rooms.set_video_url("A3X9K2", "https://video.example/12345")
        assert (await store.rooms.set_video_url("A3X9K2", "https://v.example/12")).video_url == "https://v.example/12"

    @clause()
    async def test_a_full_room_rejects_joins(self, context: ContractContext) -> None:
        """A join beyond max_users_per_room raises LimitExceededError; a rejoin does not."""
        store = await context.open(max_users_per_room=2)
        with pytest.raises(LimitExceededError, match="users"):
            await store.rooms.create_room(room("B", "u1", "u2", "u3"))
        await store.rooms.create_room(room("A3X9K2", "host", "guest"))
        with pytest.raises(LimitExceededError, match="users"):
            await store.rooms.add_user_to_room("A3X9K2", user("late"))
        await store.rooms.add_user_to_room("A3X9K2", user("guest"))
        await store.rooms.remove_user_from_room("A3X9K2", "guest")
        assert len((await store.rooms.add_user_to_room("A3X9K2", user("late"))).users) == 2

    @clause()
    async def test_an_oversized_room_is_rejected(self, context: ContractContext) -> None:
        """A write that makes a room larger than max_room_bytes raises LimitExceededError and stores nothing."""
        store = await context.open(max_room_bytes=2000)
        await store.rooms.create_room(room())
        before = await store.rooms.get_room("A3X9K2")
        assert before is not None
        large = before.model_copy(update={"notes": "x" * 2000})
        for call in (
            lambda: store.rooms.create_room(large.replace(id="B")),
            lambda: store.rooms.update_room("A3X9K2", large),
            lambda: store.rooms.edit_room("A3X9K2", lambda _room: large),
            lambda: store.rooms.set_video_url("A3X9K2", f"https://video.example/{'x' * 2000}"),
            lambda: store.rooms.update_video_state("A3X9K2", VideoState().model_copy(update={"notes": "x" * 2000})),
        ):
            with pytest.raises(LimitExceededError, match="bytes"):
                await call()
        for number in range(20):
            with contextlib.suppress(LimitExceededError):
                await store.rooms.add_user_to_room("A3X9K2", user(f"u{number}", name="x" * 100))
        after = await store.rooms.get_room("A3X9K2")
        assert after is not None
        assert after.model_extra == {}
        assert 5 < len(after.users) < 15
        assert await store.rooms.room_exists("B") is False

    @clause(Capability.SHARED)
    async def test_existing_oversized_data_is_accepted(self, context: ContractContext) -> None:
        """A room that exceeds the limits already can be read, and changed as long as it does not grow."""
        lax = await context.open()
        strict = await context.open(max_name_length=3, max_url_length=5, max_users_per_room=1, max_room_bytes=500)
        made = room("A3X9K2", "host", "guest", "third", video_url="https://video.example/1", notes="x" * 1000)
        await lax.rooms.create_room(made)
        assert await strict.rooms.get_room("A3X9K2") is not None
        await strict.rooms.update_video_state("A3X9K2", made.video_state)
        await strict.rooms.set_video_url("A3X9K2", "v://1")
        await strict.rooms.transfer_host("A3X9K2", "guest")
        await strict.rooms.edit_room("A3X9K2", lambda current: current.replace(host_token="t"))
        assert await strict.rooms.remove_user_from_room("A3X9K2", "host") is not None
        with pytest.raises(LimitExceededError):
            await strict.rooms.add_user_to_room("A3X9K2", user("new", name="New"))

    @clause(Capability.SHARED)
    async def test_existing_oversized_data_can_be_written_back(self, context: ContractContext) -> None:
        """update_room, a rotation of the host token and a rejoin accept a room above the limits, unless it grows."""
        lax = await context.open()
        strict = await context.open(max_name_length=3, max_url_length=5, max_users_per_room=1, max_room_bytes=500)
        await lax.rooms.create_room(room("A3X9K2", "host", "guest", video_url="https://video.example/1"))
        await lax.rooms.rotate_host_token("A3X9K2")
        stored = await lax.rooms.get_room("A3X9K2")
        assert stored is not None
        await strict.rooms.update_room("A3X9K2", stored)
        token = await strict.rooms.rotate_host_token("A3X9K2")
        after = await strict.rooms.transfer_host("A3X9K2", "host", rotate_token=True)
        assert after == stored.model_copy(update={"host_token": after.host_token, "rev": stored.rev + 3})
        assert len({stored.host_token, token, after.host_token}) == 3
        with pytest.raises(LimitExceededError, match="bytes"):
            await strict.rooms.update_room("A3X9K2", stored.with_extra({"notes": "x"}))
        full = await context.open(max_users_per_room=1, max_room_bytes=500)
        assert (await full.rooms.add_user_to_room("A3X9K2", stored.users[-1])).users == stored.users

    @clause()
    async def test_every_write_of_a_room_checks_the_limits(self, context: ContractContext) -> None:
        """create_room, update_room and edit_room check every name, the URL and the number of users."""
        store = await context.open(max_name_length=12, max_url_length=20, max_users_per_room=2)
        await store.rooms.create_room(room())
        before = await store.rooms.get_room("A3X9K2")
        for beyond in (
            room(host_name="x" * 13),
            room(users=(user("host", is_host=True), user("guest", name="x" * 13))),
            room(video_url="x" * 21),
            room("A3X9K2", "host", "u1", "u2"),
        ):
            calls: tuple[Callable[[], Awaitable[object]], ...] = (
                lambda beyond=beyond: store.rooms.create_room(beyond.replace(id="B")),
                lambda beyond=beyond: store.rooms.update_room("A3X9K2", beyond),
                lambda beyond=beyond: store.rooms.edit_room("A3X9K2", lambda _before: beyond),
            )
            for call in calls:
                with pytest.raises(LimitExceededError):
                    await call()
        assert await store.rooms.get_room("A3X9K2") == before
        assert await store.rooms.room_exists("B") is False

    @clause()
    async def test_an_exceeded_limit_is_described(self, context: ContractContext) -> None:
        """LimitExceededError contains the setting, the limit and the value that the write would have led to."""
        store = await context.open(max_name_length=20, max_users_per_room=1, max_room_bytes=1000)
        await store.rooms.create_room(room())
        stored = await store.rooms.get_room("A3X9K2")
        assert stored is not None
        large = stored.with_extra({"notes": "x" * 1000})
        with pytest.raises(LimitExceededError) as name:
            await store.rooms.add_user_to_room("A3X9K2", user("guest", name="x" * 25))
        with pytest.raises(LimitExceededError) as users:
            await store.rooms.add_user_to_room("A3X9K2", user("guest"))
        with pytest.raises(LimitExceededError) as size:
            await store.rooms.edit_room("A3X9K2", lambda _before: large)
        assert (name.value.limit, name.value.actual) == (20, 25)
        assert (users.value.limit, users.value.actual) == (1, 2)
        assert (size.value.limit, size.value.actual) == (1000, len(to_wire(large)))
        assert [caught.value.what.rpartition(" ")[2] for caught in (name, users, size)] == [
            "(max_name_length)",
            "(max_users_per_room)",
            "(max_room_bytes)",
        ]

    @clause()
    async def test_a_long_url_counts_towards_the_size_of_the_room(self, context: ContractContext) -> None:
        """A URL within max_url_length raises LimitExceededError if the room would be larger than max_room_bytes."""
        store = await context.open(max_room_bytes=4000)
        await store.rooms.create_room(room())
        before = await store.rooms.get_room("A3X9K2")
        with pytest.raises(LimitExceededError, match="bytes"):
            await store.rooms.set_video_url("A3X9K2", "x" * 5000)
        assert await store.rooms.get_room("A3X9K2") == before
