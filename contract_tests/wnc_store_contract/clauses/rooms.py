"""Clauses about rooms: create, read, update, edit, delete."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from wnc_store import Room, RoomExistsError, RoomNotFoundError, VideoState
from wnc_store_contract.clause import ContractContext, clause
from wnc_store_contract.factories import JOINED, message, room, user
from wnc_store_contract.harness import Capability


class RoomClauses:
    """Clauses about the life cycle of a room."""

    @clause()
    async def test_a_new_harness_is_empty(self, context: ContractContext) -> None:
        """A new harness contains no room."""
        store = await context.open()
        assert await store.rooms.get_room("A3X9K2") is None
        assert await store.rooms.room_exists("A3X9K2") is False
        assert await store.rooms.room_ttl("A3X9K2") is None

    @clause()
    async def test_a_created_room_is_read_back(self, context: ContractContext) -> None:
        """A created room is read back with all its fields."""
        store = await context.open()
        created = room("A3X9K2", "host", "guest", video_url="https://video.example/1", video_type="m3u8")
        await store.rooms.create_room(created)
        stored = await store.rooms.get_room("A3X9K2")
        assert stored is not None
        assert stored.model_copy(update={"rev": 0}) == created
        assert await store.rooms.room_exists("A3X9K2") is True

    @clause()
    async def test_rooms_are_independent(self, context: ContractContext) -> None:
        """A write to one room does not change other rooms."""
        store = await context.open()
        await store.rooms.create_room(room("A"))
        await store.rooms.create_room(room("A:1", "other"))
        await store.rooms.add_user_to_room("A", user("guest"))
        other = await store.rooms.get_room("A:1")
        assert other is not None
        assert [member.id for member in other.users] == ["other"]

    @clause()
    async def test_create_rejects_the_id_of_a_live_room(self, context: ContractContext) -> None:
        """Creating a room under the id of a live room raises RoomExistsError and changes nothing."""
        store = await context.open()
        await store.rooms.create_room(room("A3X9K2", "first"))
        before = await store.rooms.get_room("A3X9K2")
        with pytest.raises(RoomExistsError):
            await store.rooms.create_room(room("A3X9K2", "second"))
        assert await store.rooms.get_room("A3X9K2") == before

    @clause(Capability.CHAT)
    async def test_a_rejected_create_keeps_the_chat(self, context: ContractContext) -> None:
        """Creating a room under the id of a live room does not change its chat."""
        store = await context.open()
        await store.rooms.create_room(room())
        await store.chat.add_message(message(1))
        with pytest.raises(RoomExistsError):
            await store.rooms.create_room(room())
        assert [entry.id for entry in await store.chat.get_messages("A3X9K2")] == ["m1"]

    @clause()
    async def test_the_id_of_a_deleted_room_can_be_reused(self, context: ContractContext) -> None:
        """A room can be created under the id of a deleted room."""
        store = await context.open()
        await store.rooms.create_room(room("A3X9K2", "first"))
        await store.rooms.delete_room("A3X9K2")
        await store.rooms.create_room(room("A3X9K2", "second"))
        stored = await store.rooms.get_room("A3X9K2")
        assert stored is not None
        assert stored.host_id == "second"

    @clause(Capability.CHAT)
    async def test_create_clears_a_leftover_chat(self, context: ContractContext) -> None:
        """A new room has an empty chat, even if its id had messages before."""
        store = await context.open()
        await store.chat.add_message(message(1))
        await store.rooms.create_room(room())
        assert await store.chat.get_messages("A3X9K2") == []

    @clause()
    async def test_create_rejects_an_invalid_room(self, context: ContractContext) -> None:
        """Creating a room that its model does not allow raises ValueError and stores nothing."""
        store = await context.open()
        with pytest.raises(ValueError, match=r"host_?[Nn]ame"):
            await store.rooms.create_room(room().model_copy(update={"host_name": 5}))
        assert await store.rooms.get_room("A3X9K2") is None

    @clause()
    async def test_writes_reject_invalid_records(self, context: ContractContext) -> None:
        """Writing a user, state or room that its model does not allow raises ValueError and changes nothing."""
        store = await context.open()
        await store.rooms.create_room(room())
        before = await store.rooms.get_room("A3X9K2")
        broken = user("guest").model_copy(update={"name": ["not a name"]})
        with pytest.raises(ValueError, match="name"):
            await store.rooms.add_user_to_room("A3X9K2", broken)
        with pytest.raises(ValueError, match="urrent"):
            await store.rooms.update_video_state("A3X9K2", VideoState().model_copy(update={"current_time": "now"}))
        with pytest.raises(ValueError, match="name"):
            await store.rooms.update_room("A3X9K2", room().model_copy(update={"users": (broken,)}))
        not_text: Any = 5
        with pytest.raises(ValueError, match="video_url"):
            await store.rooms.set_video_url("A3X9K2", not_text)
        with pytest.raises(ValueError, match="video_type"):
            await store.rooms.set_video_url("A3X9K2", "https://video.example/1", not_text)
        assert await store.rooms.get_room("A3X9K2") == before

    @clause()
    async def test_an_edit_must_return_a_room(self, context: ContractContext) -> None:
        """An edit that does not return a room raises TypeError and changes nothing."""
        store = await context.open()
        await store.rooms.create_room(room())
        before = await store.rooms.get_room("A3X9K2")
        with pytest.raises(TypeError):
            await store.rooms.edit_room("A3X9K2", lambda _room: None)  # type: ignore[arg-type, return-value]
        assert await store.rooms.get_room("A3X9K2") == before

    @clause()
    async def test_update_replaces_the_whole_room(self, context: ContractContext) -> None:
        """update_room keeps no field of the previous room."""
        store = await context.open()
        await store.rooms.create_room(room("A3X9K2", "old", "older", subtitles=["en"]))
        new = room(
            "A3X9K2",
            "new",
            video_url="https://video.example/2",
            host_token=None,
            created_at=JOINED + timedelta(hours=1),
        )
        await store.rooms.update_room("A3X9K2", new)
        stored = await store.rooms.get_room("A3X9K2")
        assert stored is not None
        assert stored.model_copy(update={"rev": 0}) == new

    @clause()
    async def test_an_edit_can_remove_extra_fields(self, context: ContractContext) -> None:
        """edit_room keeps no extra field that the change removes from the room, its users or its video state."""
        store = await context.open()
        extra = {"note": {"a": 1}}
        users = (user("host", is_host=True).with_extra(extra),)
        state = VideoState(last_update_time=1).with_extra(extra)
        await store.rooms.create_room(room(users=users, video_state=state).with_extra(extra))
        after = await store.rooms.edit_room("A3X9K2", lambda _before: room(host_token=None))
        assert after == room(host_token=None, rev=2)
        assert await store.rooms.get_room("A3X9K2") == after

    @clause()
    async def test_a_room_without_users_stays(self, context: ContractContext) -> None:
        """A room whose users update_room or edit_room removes stays until a leave or an expiry."""
        store = await context.open()
        await store.rooms.create_room(room())
        await store.rooms.update_room("A3X9K2", room(users=()))
        assert await store.rooms.room_exists("A3X9K2") is True
        await store.rooms.add_user_to_room("A3X9K2", user("guest"))
        await store.rooms.edit_room("A3X9K2", lambda before: before.model_copy(update={"users": ()}))
        stored = await store.rooms.get_room("A3X9K2")
        assert stored is not None
        assert stored.users == ()

    @clause()
    async def test_update_does_not_create_a_room(self, context: ContractContext) -> None:
        """Updating a missing room raises RoomNotFoundError and creates nothing."""
        store = await context.open()
        with pytest.raises(RoomNotFoundError):
            await store.rooms.update_room("A3X9K2", room())
        assert await store.rooms.get_room("A3X9K2") is None

    @clause()
    async def test_update_does_not_recreate_a_deleted_room(self, context: ContractContext) -> None:
        """Updating a deleted room does not recreate it."""
        store = await context.open()
        await store.rooms.create_room(room())
        await store.rooms.delete_room("A3X9K2")
        with pytest.raises(RoomNotFoundError):
            await store.rooms.update_room("A3X9K2", room())
        assert await store.rooms.room_exists("A3X9K2") is False

    @clause()
    async def test_update_rejects_another_rooms_id(self, context: ContractContext) -> None:
        """Updating a room with a room of another id raises ValueError and changes neither room."""
        store = await context.open()
        await store.rooms.create_room(room("A"))
        before = await store.rooms.get_room("A")
        with pytest.raises(ValueError, match="B"):
            await store.rooms.update_room("A", room("B"))
        assert await store.rooms.get_room("A") == before
        assert await store.rooms.get_room("B") is None

    @clause()
    async def test_edit_returns_the_stored_room(self, context: ContractContext) -> None:
        """edit_room stores the room that the change returns, and returns the stored room."""
        store = await context.open()
        await store.rooms.create_room(room())
        edited = await store.rooms.edit_room("A3X9K2", lambda current: current.replace(host_name="New name"))
        assert edited.host_name == "New name"
        assert await store.rooms.get_room("A3X9K2") == edited

    @clause()
    async def test_edit_requires_a_room(self, context: ContractContext) -> None:
        """Editing a missing room raises RoomNotFoundError."""
        store = await context.open()
        with pytest.raises(RoomNotFoundError):
            await store.rooms.edit_room("A3X9K2", lambda current: current)

    @clause()
    async def test_a_failing_edit_changes_nothing(self, context: ContractContext) -> None:
        """An error that the change raises reaches the caller, and the room is unchanged."""
        store = await context.open()
        await store.rooms.create_room(room())
        before = await store.rooms.get_room("A3X9K2")

        def change(_room: Room) -> Room:
            message = "no"
            raise LookupError(message)

        with pytest.raises(LookupError, match="no"):
            await store.rooms.edit_room("A3X9K2", change)
        assert await store.rooms.get_room("A3X9K2") == before

    @clause()
    async def test_an_edit_must_keep_the_id(self, context: ContractContext) -> None:
        """An edit that returns a room of another id raises ValueError and changes nothing."""
        store = await context.open()
        await store.rooms.create_room(room())
        with pytest.raises(ValueError, match="other"):
            await store.rooms.edit_room("A3X9K2", lambda current: current.replace(id="other"))
        assert await store.rooms.room_exists("other") is False
        assert await store.rooms.room_exists("A3X9K2") is True

    @clause()
    async def test_an_edit_must_return_a_valid_room(self, context: ContractContext) -> None:
        """An edit that returns a room that its model does not allow raises ValueError and changes nothing."""
        store = await context.open()
        await store.rooms.create_room(room())
        before = await store.rooms.get_room("A3X9K2")
        with pytest.raises(ValueError, match="users"):
            await store.rooms.edit_room("A3X9K2", lambda current: current.model_copy(update={"users": ("not a user",)}))
        assert await store.rooms.get_room("A3X9K2") == before

    @clause()
    async def test_delete_removes_the_room(self, context: ContractContext) -> None:
        """A deleted room can no longer be read."""
        store = await context.open()
        await store.rooms.create_room(room())
        assert await store.rooms.delete_room("A3X9K2") is True
        assert await store.rooms.get_room("A3X9K2") is None
        assert await store.rooms.room_exists("A3X9K2") is False

    @clause()
    async def test_delete_returns_whether_it_deleted(self, context: ContractContext) -> None:
        """delete_room returns whether it deleted a room."""
        store = await context.open()
        assert await store.rooms.delete_room("A3X9K2") is False
        await store.rooms.create_room(room())
        await store.rooms.delete_room("A3X9K2")
        assert await store.rooms.delete_room("A3X9K2") is False

    @clause(Capability.CHAT)
    async def test_delete_removes_a_chat_without_a_room(self, context: ContractContext) -> None:
        """delete_room returns False for a missing room, and deletes its chat."""
        store = await context.open()
        await store.chat.add_message(message(1))
        assert await store.rooms.delete_room("A3X9K2") is False
        assert await store.chat.get_messages("A3X9K2") == []

    @clause(Capability.CHAT)
    async def test_delete_removes_the_chat(self, context: ContractContext) -> None:
        """Deleting a room deletes its chat and no other."""
        store = await context.open()
        await store.rooms.create_room(room())
        await store.chat.add_message(message(1))
        await store.chat.add_message(message(2, "other"))
        await store.rooms.delete_room("A3X9K2")
        assert await store.chat.get_messages("A3X9K2") == []
        assert [entry.id for entry in await store.chat.get_messages("other")] == ["m2"]

    @clause()
    async def test_the_video_state_is_replaced(self, context: ContractContext) -> None:
        """update_video_state replaces the video state and nothing else."""
        store = await context.open()
        await store.rooms.create_room(room("A3X9K2", "host", "guest"))
        before = await store.rooms.get_room("A3X9K2")
        assert before is not None
        state = VideoState(is_playing=True, current_time=83.29301, duration=212, last_update_time=1780317015123)
        after = await store.rooms.update_video_state("A3X9K2", state)
        assert after == before.model_copy(update={"video_state": state, "rev": after.rev})
        assert await store.rooms.get_room("A3X9K2") == after

    @clause()
    async def test_update_video_state_requires_a_room(self, context: ContractContext) -> None:
        """Updating the video state of a missing room raises RoomNotFoundError."""
        store = await context.open()
        with pytest.raises(RoomNotFoundError):
            await store.rooms.update_video_state("A3X9K2", VideoState())

    @clause()
    async def test_a_new_video_resets_the_state(self, context: ContractContext) -> None:
        """set_video_url sets URL and type and resets the state: paused, position 0, duration 0."""
        store = await context.open()
        await store.rooms.create_room(room())
        after = await store.rooms.set_video_url("A3X9K2", "https://video.example/v.m3u8", "m3u8")
        assert (after.video_url, after.video_type) == ("https://video.example/v.m3u8", "m3u8")
        state = after.video_state
        assert (state.is_playing, state.current_time, state.duration) == (False, 0, 0)
        assert await store.rooms.get_room("A3X9K2") == after

    @clause()
    async def test_a_new_video_sets_the_update_time(self, context: ContractContext) -> None:
        """set_video_url sets last_update_time to the current time in epoch milliseconds."""
        store = await context.open()
        await store.rooms.create_room(room())
        first = await store.rooms.set_video_url("A3X9K2", "https://video.example/1")
        second = await store.rooms.set_video_url("A3X9K2", "https://video.example/2")
        year_2026, year_2100 = 1767225600000, 4102444800000
        times = [first.video_state.last_update_time, second.video_state.last_update_time]
        assert year_2026 <= times[0] <= times[1] < year_2100
        assert all(time == int(time) for time in times)

    @clause()
    async def test_youtube_is_the_default_video_type(self, context: ContractContext) -> None:
        """set_video_url uses the type "youtube" by default."""
        store = await context.open()
        await store.rooms.create_room(room())
        assert (await store.rooms.set_video_url("A3X9K2", "https://video.example/1")).video_type == "youtube"

    @clause()
    async def test_set_video_url_requires_a_room(self, context: ContractContext) -> None:
        """Setting the video of a missing room raises RoomNotFoundError."""
        store = await context.open()
        with pytest.raises(RoomNotFoundError):
            await store.rooms.set_video_url("A3X9K2", "https://video.example/1")
