"""Rooms: create, read, replace, edit, delete."""

from __future__ import annotations

import pytest

from wnc_store import Room, RoomExistsError, RoomNotFoundError, VideoState
from wnc_store_contract.clause import ContractContext, clause
from wnc_store_contract.factories import message, room, user
from wnc_store_contract.harness import Capability


class RoomClauses:
    """What a room is from its creation to its deletion."""

    @clause()
    async def test_a_new_harness_is_empty(self, context: ContractContext) -> None:
        """A store that nobody has written to holds no room."""
        store = await context.open()
        assert await store.rooms.get_room("A3X9K2") is None
        assert await store.rooms.room_exists("A3X9K2") is False
        assert await store.rooms.room_ttl("A3X9K2") is None

    @clause()
    async def test_a_created_room_is_read_back(self, context: ContractContext) -> None:
        """A created room is read back with everything it was created with."""
        store = await context.open()
        created = room("A3X9K2", "host", "guest", video_url="https://video.example/1", video_type="m3u8")
        await store.rooms.create_room(created)
        found = await store.rooms.get_room("A3X9K2")
        assert found is not None
        assert found.model_copy(update={"rev": 0}) == created
        assert await store.rooms.room_exists("A3X9K2") is True

    @clause()
    async def test_rooms_are_apart(self, context: ContractContext) -> None:
        """A write to one room leaves the others alone."""
        store = await context.open()
        await store.rooms.create_room(room("A"))
        await store.rooms.create_room(room("A:1", "other"))
        await store.rooms.add_user_to_room("A", user("guest"))
        other = await store.rooms.get_room("A:1")
        assert other is not None
        assert [one.id for one in other.users] == ["other"]

    @clause()
    async def test_create_refuses_an_id_that_lives(self, context: ContractContext) -> None:
        """Creating a room under the id of a live room raises RoomExistsError and leaves that room as it is."""
        store = await context.open()
        await store.rooms.create_room(room("A3X9K2", "first"))
        before = await store.rooms.get_room("A3X9K2")
        with pytest.raises(RoomExistsError):
            await store.rooms.create_room(room("A3X9K2", "second"))
        assert await store.rooms.get_room("A3X9K2") == before

    @clause(Capability.CHAT)
    async def test_a_refused_create_keeps_the_chat(self, context: ContractContext) -> None:
        """Creating a room under the id of a live room leaves its chat as it is."""
        store = await context.open()
        await store.rooms.create_room(room())
        await store.chat.add_message(message(1))
        with pytest.raises(RoomExistsError):
            await store.rooms.create_room(room())
        assert [one.id for one in await store.chat.get_messages("A3X9K2")] == ["m1"]

    @clause()
    async def test_an_id_is_free_again_after_deletion(self, context: ContractContext) -> None:
        """The id of a deleted room can be used for a new one."""
        store = await context.open()
        await store.rooms.create_room(room("A3X9K2", "first"))
        await store.rooms.delete_room("A3X9K2")
        await store.rooms.create_room(room("A3X9K2", "second"))
        found = await store.rooms.get_room("A3X9K2")
        assert found is not None
        assert found.host_id == "second"

    @clause(Capability.CHAT)
    async def test_create_clears_chat_left_behind(self, context: ContractContext) -> None:
        """A new room begins with an empty chat, whatever was said under its id before."""
        store = await context.open()
        await store.chat.add_message(message(1))
        await store.rooms.create_room(room())
        assert await store.chat.get_messages("A3X9K2") == []

    @clause()
    async def test_create_refuses_a_broken_room(self, context: ContractContext) -> None:
        """A room that holds what its model forbids is a ValueError, and nothing is stored."""
        store = await context.open()
        with pytest.raises(ValueError, match=r"host_?[Nn]ame"):
            await store.rooms.create_room(room().model_copy(update={"host_name": 5}))
        assert await store.rooms.get_room("A3X9K2") is None

    @clause()
    async def test_writes_refuse_broken_records(self, context: ContractContext) -> None:
        """A user, a state or a whole room that holds what its model forbids is a ValueError, and nothing is written."""
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
        assert await store.rooms.get_room("A3X9K2") == before

    @clause()
    async def test_edit_wants_a_room_back(self, context: ContractContext) -> None:
        """A change that returns no room is a TypeError, and nothing is written."""
        store = await context.open()
        await store.rooms.create_room(room())
        before = await store.rooms.get_room("A3X9K2")
        with pytest.raises(TypeError):
            await store.rooms.edit_room("A3X9K2", lambda _room: None)  # type: ignore[arg-type, return-value]
        assert await store.rooms.get_room("A3X9K2") == before

    @clause()
    async def test_update_replaces_all_of_a_room(self, context: ContractContext) -> None:
        """update_room leaves nothing of the room that was there."""
        store = await context.open()
        await store.rooms.create_room(room("A3X9K2", "old", "older", subtitles=["en"]))
        new = room("A3X9K2", "new", video_url="https://video.example/2", host_token=None)
        await store.rooms.update_room("A3X9K2", new)
        found = await store.rooms.get_room("A3X9K2")
        assert found is not None
        assert found.model_copy(update={"rev": 0}) == new

    @clause()
    async def test_update_makes_no_ghost(self, context: ContractContext) -> None:
        """Updating a room that is not there raises RoomNotFoundError and makes none."""
        store = await context.open()
        with pytest.raises(RoomNotFoundError):
            await store.rooms.update_room("A3X9K2", room())
        assert await store.rooms.get_room("A3X9K2") is None

    @clause()
    async def test_update_refuses_a_deleted_room(self, context: ContractContext) -> None:
        """Updating a room that was deleted does not bring it back."""
        store = await context.open()
        await store.rooms.create_room(room())
        await store.rooms.delete_room("A3X9K2")
        with pytest.raises(RoomNotFoundError):
            await store.rooms.update_room("A3X9K2", room())
        assert await store.rooms.room_exists("A3X9K2") is False

    @clause()
    async def test_update_refuses_another_rooms_id(self, context: ContractContext) -> None:
        """Replacing a room by one of another id is a ValueError and changes neither."""
        store = await context.open()
        await store.rooms.create_room(room("A"))
        before = await store.rooms.get_room("A")
        with pytest.raises(ValueError, match="B"):
            await store.rooms.update_room("A", room("B"))
        assert await store.rooms.get_room("A") == before
        assert await store.rooms.get_room("B") is None

    @clause()
    async def test_edit_returns_what_it_wrote(self, context: ContractContext) -> None:
        """edit_room writes what the change returns, and returns it."""
        store = await context.open()
        await store.rooms.create_room(room())
        edited = await store.rooms.edit_room("A3X9K2", lambda one: one.model_copy(update={"host_name": "New name"}))
        assert edited.host_name == "New name"
        assert await store.rooms.get_room("A3X9K2") == edited

    @clause()
    async def test_edit_needs_a_room(self, context: ContractContext) -> None:
        """Editing a room that is not there raises RoomNotFoundError."""
        store = await context.open()
        with pytest.raises(RoomNotFoundError):
            await store.rooms.edit_room("A3X9K2", lambda one: one)

    @clause()
    async def test_a_change_that_raises_writes_nothing(self, context: ContractContext) -> None:
        """What a change raises reaches the caller, and the room stays as it was."""
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
    async def test_edit_keeps_the_id(self, context: ContractContext) -> None:
        """A change that returns a room of another id is a ValueError, and nothing is written."""
        store = await context.open()
        await store.rooms.create_room(room())
        with pytest.raises(ValueError, match="other"):
            await store.rooms.edit_room("A3X9K2", lambda one: one.model_copy(update={"id": "other"}))
        assert await store.rooms.room_exists("other") is False
        assert await store.rooms.room_exists("A3X9K2") is True

    @clause()
    async def test_edit_refuses_a_broken_room(self, context: ContractContext) -> None:
        """A change that returns a room with values its model forbids is a ValueError, and nothing is written."""
        store = await context.open()
        await store.rooms.create_room(room())
        before = await store.rooms.get_room("A3X9K2")
        with pytest.raises(ValueError, match="users"):
            await store.rooms.edit_room("A3X9K2", lambda one: one.model_copy(update={"users": ("not a user",)}))
        assert await store.rooms.get_room("A3X9K2") == before

    @clause()
    async def test_delete_removes_the_room(self, context: ContractContext) -> None:
        """A deleted room is gone."""
        store = await context.open()
        await store.rooms.create_room(room())
        assert await store.rooms.delete_room("A3X9K2") is True
        assert await store.rooms.get_room("A3X9K2") is None
        assert await store.rooms.room_exists("A3X9K2") is False

    @clause()
    async def test_delete_tells_who_deleted(self, context: ContractContext) -> None:
        """delete_room is False where there is no room to delete."""
        store = await context.open()
        assert await store.rooms.delete_room("A3X9K2") is False
        await store.rooms.create_room(room())
        await store.rooms.delete_room("A3X9K2")
        assert await store.rooms.delete_room("A3X9K2") is False

    @clause(Capability.CHAT)
    async def test_delete_takes_the_chat_along(self, context: ContractContext) -> None:
        """Deleting a room deletes its chat, and no other room's."""
        store = await context.open()
        await store.rooms.create_room(room())
        await store.chat.add_message(message(1))
        await store.chat.add_message(message(2, "other"))
        await store.rooms.delete_room("A3X9K2")
        assert await store.chat.get_messages("A3X9K2") == []
        assert [one.id for one in await store.chat.get_messages("other")] == ["m2"]

    @clause()
    async def test_the_video_state_is_replaced(self, context: ContractContext) -> None:
        """update_video_state replaces the state and nothing else."""
        store = await context.open()
        await store.rooms.create_room(room("A3X9K2", "host", "guest"))
        before = await store.rooms.get_room("A3X9K2")
        assert before is not None
        state = VideoState(is_playing=True, current_time=83.29301, duration=212, last_update_time=1780317015123)
        after = await store.rooms.update_video_state("A3X9K2", state)
        assert after == before.model_copy(update={"video_state": state, "rev": after.rev})
        assert await store.rooms.get_room("A3X9K2") == after

    @clause()
    async def test_the_video_state_needs_a_room(self, context: ContractContext) -> None:
        """Updating the video state of a room that is not there raises RoomNotFoundError."""
        store = await context.open()
        with pytest.raises(RoomNotFoundError):
            await store.rooms.update_video_state("A3X9K2", VideoState())

    @clause()
    async def test_a_new_video_starts_anew(self, context: ContractContext) -> None:
        """set_video_url sets URL and type and resets the state: paused, at 0 of 0 seconds."""
        store = await context.open()
        await store.rooms.create_room(room())
        after = await store.rooms.set_video_url("A3X9K2", "https://video.example/v.m3u8", "m3u8")
        assert (after.video_url, after.video_type) == ("https://video.example/v.m3u8", "m3u8")
        state = after.video_state
        assert (state.is_playing, state.current_time, state.duration) == (False, 0, 0)
        assert await store.rooms.get_room("A3X9K2") == after

    @clause()
    async def test_a_new_video_is_stamped_with_now(self, context: ContractContext) -> None:
        """set_video_url stamps the state with the time in epoch milliseconds: later for the later of two videos."""
        store = await context.open()
        await store.rooms.create_room(room())
        first = await store.rooms.set_video_url("A3X9K2", "https://video.example/1")
        second = await store.rooms.set_video_url("A3X9K2", "https://video.example/2")
        year_2026, year_2100 = 1767225600000, 4102444800000
        times = [first.video_state.last_update_time, second.video_state.last_update_time]
        assert year_2026 <= times[0] <= times[1] < year_2100
        assert all(time == int(time) for time in times)

    @clause()
    async def test_a_video_is_from_youtube_by_default(self, context: ContractContext) -> None:
        """set_video_url takes "youtube" for the type if none is given."""
        store = await context.open()
        await store.rooms.create_room(room())
        assert (await store.rooms.set_video_url("A3X9K2", "https://video.example/1")).video_type == "youtube"

    @clause()
    async def test_a_new_video_needs_a_room(self, context: ContractContext) -> None:
        """Choosing a video for a room that is not there raises RoomNotFoundError."""
        store = await context.open()
        with pytest.raises(RoomNotFoundError):
            await store.rooms.set_video_url("A3X9K2", "https://video.example/1")
