"""Users: join, rejoin, leave, and who is host."""

from __future__ import annotations

import pytest

from wnc_store import Room, RoomNotFoundError, UserNotFoundError
from wnc_store_contract.clause import ContractContext, clause
from wnc_store_contract.factories import message, node_room, room, user
from wnc_store_contract.harness import Capability


def ids(found: Room | None) -> list[str]:
    """Return the ids of a room's users, in order."""
    assert found is not None
    return [one.id for one in found.users]


def hosts(found: Room | None) -> list[str]:
    """Return the ids of the users who are hosts."""
    assert found is not None
    return [one.id for one in found.users if one.is_host]


class UserClauses:
    """How users come and go, and what becomes of the host."""

    @clause()
    async def test_a_user_joins_at_the_end(self, context: ContractContext) -> None:
        """add_user_to_room puts the user at the end and returns the room as it is stored."""
        store = await context.open()
        await store.rooms.create_room(room("A3X9K2", "host", "first"))
        after = await store.rooms.add_user_to_room("A3X9K2", user("second"))
        assert ids(after) == ["host", "first", "second"]
        assert after.users[-1] == user("second")
        assert await store.rooms.get_room("A3X9K2") == after

    @clause()
    async def test_a_rejoin_moves_to_the_end(self, context: ContractContext) -> None:
        """A user who joins again is there once, at the end, as they are now."""
        store = await context.open()
        await store.rooms.create_room(room("A3X9K2", "host", "first", "second"))
        after = await store.rooms.add_user_to_room("A3X9K2", user("first", name="New name"))
        assert ids(after) == ["host", "second", "first"]
        assert after.users[-1].name == "New name"

    @clause()
    async def test_a_join_leaves_the_rest_of_the_room(self, context: ContractContext) -> None:
        """A join changes nothing but the users, even when the user claims to be a host."""
        store = await context.open()
        await store.rooms.create_room(room())
        before = await store.rooms.get_room("A3X9K2")
        assert before is not None
        after = await store.rooms.add_user_to_room("A3X9K2", user("cohost", is_host=True))
        assert after == before.model_copy(update={"users": after.users, "rev": after.rev})

    @clause()
    async def test_a_join_needs_a_room(self, context: ContractContext) -> None:
        """Joining a room that is not there raises RoomNotFoundError and makes none."""
        store = await context.open()
        with pytest.raises(RoomNotFoundError):
            await store.rooms.add_user_to_room("A3X9K2", user("guest"))
        assert await store.rooms.room_exists("A3X9K2") is False

    @clause()
    async def test_a_guest_leaves(self, context: ContractContext) -> None:
        """remove_user_from_room takes the user out and leaves everybody else in order, and the host as it is."""
        store = await context.open()
        await store.rooms.create_room(room("A3X9K2", "host", "first", "second"))
        after = await store.rooms.remove_user_from_room("A3X9K2", "first")
        assert ids(after) == ["host", "second"]
        assert after is not None
        assert after.host_id == "host"
        assert await store.rooms.get_room("A3X9K2") == after

    @clause()
    async def test_leaving_a_room_that_is_not_there(self, context: ContractContext) -> None:
        """Leaving a room that is not there is None."""
        store = await context.open()
        assert await store.rooms.remove_user_from_room("A3X9K2", "guest") is None

    @clause()
    async def test_a_stranger_can_not_leave(self, context: ContractContext) -> None:
        """Removing a user who is not in the room changes nothing and returns the room."""
        store = await context.open()
        await store.rooms.create_room(room())
        before = await store.rooms.get_room("A3X9K2")
        assert await store.rooms.remove_user_from_room("A3X9K2", "stranger") == before
        assert await store.rooms.get_room("A3X9K2") == before

    @clause()
    async def test_a_stranger_deletes_no_empty_room(self, context: ContractContext) -> None:
        """Removing a user who is not there from a room that nobody has joined yet leaves the room."""
        store = await context.open()
        await store.rooms.create_room(room(users=()))
        assert await store.rooms.remove_user_from_room("A3X9K2", "stranger") is not None
        assert await store.rooms.room_exists("A3X9K2") is True

    @clause()
    async def test_the_last_one_out_deletes_the_room(self, context: ContractContext) -> None:
        """When the last user leaves, the room is deleted."""
        store = await context.open()
        await store.rooms.create_room(room("A3X9K2", "host", "guest"))
        await store.rooms.remove_user_from_room("A3X9K2", "guest")
        assert await store.rooms.remove_user_from_room("A3X9K2", "host") is None
        assert await store.rooms.get_room("A3X9K2") is None

    @clause(Capability.CHAT)
    async def test_the_last_one_out_takes_the_chat_along(self, context: ContractContext) -> None:
        """When the last user leaves, the chat is deleted with the room."""
        store = await context.open()
        await store.rooms.create_room(room())
        await store.chat.add_message(message(1))
        await store.rooms.remove_user_from_room("A3X9K2", "host")
        assert await store.chat.get_messages("A3X9K2") == []

    @clause()
    async def test_the_host_hands_over_to_the_first(self, context: ContractContext) -> None:
        """When the host leaves, host_id names the first of the users who stay."""
        store = await context.open()
        await store.rooms.create_room(room("A3X9K2", "host", "first", "second"))
        after = await store.rooms.remove_user_from_room("A3X9K2", "host")
        assert after is not None
        assert after.host_id == "first"
        assert ids(after) == ["first", "second"]
        assert await store.rooms.get_room("A3X9K2") == after

    @clause()
    async def test_the_host_hands_over_the_name(self, context: ContractContext) -> None:
        """When the host leaves, host_name is the new host's name."""
        store = await context.open()
        await store.rooms.create_room(room("A3X9K2", "host", "first", "second"))
        after = await store.rooms.remove_user_from_room("A3X9K2", "host")
        assert after is not None
        assert after.host_name == f"Name of {after.host_id}"

    @clause()
    async def test_the_host_hands_over_the_rank(self, context: ContractContext) -> None:
        """When the host leaves, the new host's is_host is true, and nobody else's changes."""
        store = await context.open()
        await store.rooms.create_room(room("A3X9K2", "host", "first", "second"))
        after = await store.rooms.remove_user_from_room("A3X9K2", "host")
        assert after is not None
        assert hosts(after) == [after.host_id]

    @clause()
    async def test_the_host_token_stays(self, context: ContractContext) -> None:
        """When the host leaves, the host token stays as it is."""
        store = await context.open()
        await store.rooms.create_room(room("A3X9K2", "host", "first"))
        after = await store.rooms.remove_user_from_room("A3X9K2", "host")
        assert after is not None
        assert after.verify_host_token("token-of-the-host")

    @clause()
    async def test_a_cohost_leaves_without_a_handover(self, context: ContractContext) -> None:
        """When a second host leaves, the host stays the host."""
        store = await context.open()
        await store.rooms.create_room(node_room("room_two_hosts"))
        after = await store.rooms.remove_user_from_room("COHOST", "h2")
        assert after is not None
        assert after.host_id == "h1"
        assert hosts(after) == ["h1"]

    @clause()
    async def test_a_handover_leaves_the_cohosts(self, context: ContractContext) -> None:
        """When the host leaves, co-hosts stay hosts, also one who is not first in line."""
        store = await context.open()
        users = (user("host", is_host=True), user("guest"), user("cohost", is_host=True), user("last"))
        await store.rooms.create_room(room(users=users))
        after = await store.rooms.remove_user_from_room("A3X9K2", "host")
        assert after is not None
        assert {"cohost"} <= set(hosts(after)) <= {"cohost", after.host_id}

    @clause()
    async def test_a_transfer_names_the_new_host(self, context: ContractContext) -> None:
        """transfer_host sets host_id and host_name and makes the user a host, without moving anybody."""
        store = await context.open()
        await store.rooms.create_room(room("A3X9K2", "host", "first", "second"))
        after = await store.rooms.transfer_host("A3X9K2", "second")
        assert (after.host_id, after.host_name) == ("second", "Name of second")
        assert after.users[2].is_host
        assert ids(after) == ["host", "first", "second"]
        assert await store.rooms.get_room("A3X9K2") == after

    @clause()
    async def test_a_transfer_ends_the_old_hosts_rank(self, context: ContractContext) -> None:
        """After transfer_host the host until now is none any more, and a co-host still is one."""
        store = await context.open()
        users = (user("host", is_host=True), user("cohost", is_host=True), user("guest"))
        await store.rooms.create_room(room(users=users))
        after = await store.rooms.transfer_host("A3X9K2", "guest")
        assert hosts(after) == ["cohost", "guest"]

    @clause()
    async def test_a_transfer_to_the_host_keeps_the_host(self, context: ContractContext) -> None:
        """transfer_host to the host leaves the host as it is."""
        store = await context.open()
        await store.rooms.create_room(room("A3X9K2", "host", "guest"))
        after = await store.rooms.transfer_host("A3X9K2", "host")
        assert after.host_id == "host"
        assert hosts(after) == ["host"]

    @clause()
    async def test_a_transfer_needs_the_user(self, context: ContractContext) -> None:
        """Transferring to somebody who is not in the room raises UserNotFoundError and changes nothing."""
        store = await context.open()
        await store.rooms.create_room(room())
        before = await store.rooms.get_room("A3X9K2")
        with pytest.raises(UserNotFoundError):
            await store.rooms.transfer_host("A3X9K2", "stranger")
        assert await store.rooms.get_room("A3X9K2") == before

    @clause()
    async def test_a_transfer_needs_a_room(self, context: ContractContext) -> None:
        """Transferring in a room that is not there raises RoomNotFoundError."""
        store = await context.open()
        with pytest.raises(RoomNotFoundError):
            await store.rooms.transfer_host("A3X9K2", "guest")
