"""Clauses about rooms with a random code."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from wnc_store import InvalidIdError, LimitExceededError, Room, RoomExistsError, Store
from wnc_store_contract.clause import ContractContext, clause
from wnc_store_contract.factories import message, room, user
from wnc_store_contract.harness import Capability

ALPHABET = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"
USED, FREE = ALPHABET[:16], ALPHABET[16:]


async def use_codes(store: Store, codes: str) -> None:
    """Create a room for each code of one character."""
    await asyncio.gather(*(store.rooms.create_room(room(code)) for code in codes))


def _return_nothing(_: Room) -> Any:
    return None


def _fail(_: Room) -> Room:
    raise ZeroDivisionError


class RoomCodeClauses:
    """Clauses about `create_room_with_code`."""

    @clause()
    async def test_a_code_contains_no_look_alikes(self, context: ContractContext) -> None:
        """A code has six characters, or as many as `length`, of the documented alphabet."""
        store = await context.open()
        made = [await store.rooms.create_room_with_code(user("host")) for _ in range(20)]
        assert {len(one.id) for one in made} == {6}
        for length in (1, 4, 40, 128):
            made.append(await store.rooms.create_room_with_code(user("host"), length=length))
            assert len(made[-1].id) == length
        assert set("".join(one.id for one in made)) <= set(ALPHABET)

    @clause()
    async def test_codes_are_random(self, context: ContractContext) -> None:
        """The codes of several rooms differ in every character, and so do their host tokens."""
        store = await context.open()
        made = [await store.rooms.create_room_with_code(user("host")) for _ in range(40)]
        assert len({one.id for one in made}) == len({one.host_token for one in made}) == 40
        for position in range(6):
            assert len({one.id[position] for one in made}) > 5, f"character {position} of the code is not random"

    @clause()
    async def test_a_room_with_a_code_has_its_host(self, context: ContractContext) -> None:
        """The returned room is the stored one: the host is its only user, and it has a host token and revision 1."""
        store = await context.open()
        made = await store.rooms.create_room_with_code(user("Ada", avatar="cat"))
        assert await store.rooms.get_room(made.id) == made
        assert made.users == (user("Ada", avatar="cat", is_host=True),)
        assert (made.host_id, made.host_name, made.rev) == ("Ada", "Name of Ada", 1)
        assert made.host_token is not None
        assert len(made.host_token) >= 22
        assert str(made.host_token) not in repr([made, made.host_token])

    @clause()
    async def test_a_room_with_a_code_can_be_changed_before_it_is_stored(self, context: ContractContext) -> None:
        """`change` is applied to the room before it is stored, which still has revision 1."""
        store = await context.open()

        def change(made: Room) -> Room:
            return made.model_copy(update={"video_url": "https://video.example/1", "settings": {"locked": True}})

        made = await store.rooms.create_room_with_code(user("host"), change=change)
        assert (made.video_url, made.model_extra, made.rev) == (
            "https://video.example/1",
            {"settings": {"locked": True}},
            1,
        )
        assert await store.rooms.get_room(made.id) == made

    @clause(Capability.LISTING)
    async def test_a_refused_room_with_a_code_is_not_stored(self, context: ContractContext) -> None:
        """If an argument is invalid, or `change` fails or changes the id, create_room_with_code stores no room."""
        store = await context.open()
        rooms, host = store.rooms, user("host")
        for length in (0, -1, 129, True, 6.0, "6", None):
            with pytest.raises(ValueError, match="length"):
                await rooms.create_room_with_code(host, length=cast("Any", length))
        with pytest.raises(InvalidIdError):
            await rooms.create_room_with_code(user("a\nb"))
        with pytest.raises(LimitExceededError):
            await rooms.create_room_with_code(user("host", name="x" * 257))
        with pytest.raises(ValueError, match="id"):
            await rooms.create_room_with_code(host, change=lambda made: made.model_copy(update={"id": "mine"}))
        with pytest.raises(TypeError):
            await rooms.create_room_with_code(host, change=_return_nothing)
        with pytest.raises(ZeroDivisionError):
            await rooms.create_room_with_code(host, change=_fail)
        assert [room_id async for room_id in rooms.active_room_ids()] == []

    @clause()
    async def test_a_code_in_use_is_not_given_again(self, context: ContractContext) -> None:
        """If a random code is in use, another one is tried, also by concurrent callers; live rooms stay unchanged."""
        store = await context.open()
        await use_codes(store, USED)
        before = await store.rooms.get_rooms(list(USED))
        calls = (store.rooms.create_room_with_code(user("new"), length=1) for _ in range(10))
        codes = [made.id for made in await asyncio.gather(*calls)]
        assert len(set(codes)) == 10
        assert set(codes) <= set(FREE)
        assert await store.rooms.get_rooms(list(USED)) == before

    @clause()
    async def test_if_all_codes_are_in_use_no_room_is_created(self, context: ContractContext) -> None:
        """If every code is in use, create_room_with_code raises RoomExistsError, and all rooms stay unchanged."""
        store = await context.open()
        await use_codes(store, ALPHABET)
        before = await store.rooms.get_rooms(list(ALPHABET))
        with pytest.raises(RoomExistsError, match="length") as caught:
            await store.rooms.create_room_with_code(user("new"), length=1)
        assert caught.value.room_id in set(ALPHABET)
        assert await store.rooms.get_rooms(list(ALPHABET)) == before

    @clause(Capability.CHAT)
    async def test_a_room_with_a_code_begins_without_messages(self, context: ContractContext) -> None:
        """A room with a code begins without the messages of an earlier room with the same code."""
        store = await context.open()
        for number, code in enumerate(ALPHABET):
            await store.chat.add_message(message(number, code))
        made = await store.rooms.create_room_with_code(user("host"), length=1)
        assert await store.chat.get_messages(made.id) == []
