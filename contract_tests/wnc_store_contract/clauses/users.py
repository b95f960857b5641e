"""Clauses about users: join, rejoin, leave and host transfer."""

from __future__ import annotations

from datetime import timedelta

import pytest

from wnc_store import Room, RoomNotFoundError, UserNotFoundError
from wnc_store_contract.clause import ContractContext, clause
from wnc_store_contract.factories import JOINED, message, node_room, room, user
from wnc_store_contract.harness import Capability


def ids(stored: Room | None) -> list[str]:
    """Return the ids of a room's users, in order."""
    assert stored is not None
    return [member.id for member in stored.users]


def hosts(stored: Room | None) -> list[str]:
    """Return the ids of the users who are hosts."""
    assert stored is not None
    return [member.id for member in stored.users if member.is_host]


class UserClauses:
    """Clauses about the users of a room and its host."""

    @clause()
    async def test_a_join_appends_the_user(self, context: ContractContext) -> None:
        """add_user_to_room appends the user and returns the stored room."""
        store = await context.open()
        await store.rooms.create_room(room("A3X9K2", "host", "first"))
        after = await store.rooms.add_user_to_room("A3X9K2", user("second"))
        assert ids(after) == ["host", "first", "second"]
        assert after.users[-1] == user("second")
        assert await store.rooms.get_room("A3X9K2") == after

    @clause()
    async def test_a_rejoin_moves_the_user_to_the_end(self, context: ContractContext) -> None:
        """A rejoin moves the user to the end and replaces the record."""
        store = await context.open()
        await store.rooms.create_room(room("A3X9K2", "host", "first", "second"))
        after = await store.rooms.add_user_to_room("A3X9K2", user("first", name="New name"))
        assert ids(after) == ["host", "second", "first"]
        assert after.users[-1].name == "New name"

    @clause()
    async def test_a_join_changes_only_the_users(self, context: ContractContext) -> None:
        """A join changes only the users, even if the new user has is_host set."""
        store = await context.open()
        await store.rooms.create_room(room())
        before = await store.rooms.get_room("A3X9K2")
        assert before is not None
        after = await store.rooms.add_user_to_room("A3X9K2", user("cohost", is_host=True))
        assert after == before.model_copy(update={"users": after.users, "rev": after.rev})
        after = await store.rooms.add_user_to_room("A3X9K2", user("host", name="New name"))
        assert after == before.model_copy(update={"users": after.users, "rev": after.rev})

    @clause()
    async def test_users_are_in_the_order_of_their_joins(self, context: ContractContext) -> None:
        """Users are in the order in which they joined, independent of joined_at, also when the host leaves."""
        store = await context.open()
        await store.rooms.create_room(room("A3X9K2", "host", "first"))
        for number, user_id in enumerate(("second", "third"), start=1):
            earlier = user(user_id, joined_at=JOINED - timedelta(hours=number))
            assert ids(await store.rooms.add_user_to_room("A3X9K2", earlier))[-1] == user_id
        after = await store.rooms.remove_user_from_room("A3X9K2", "host")
        assert after is not None
        assert (after.host_id, ids(after)) == ("first", ["first", "second", "third"])

    @clause()
    async def test_only_a_leave_of_the_host_changes_the_host(self, context: ContractContext) -> None:
        """If no user has the id that host_id names, joins and leaves of other users do not change the host."""
        store = await context.open()
        await store.rooms.create_room(room(host_id="absent", host_name="Absent", users=()))
        for user_id in ("first", "second"):
            await store.rooms.add_user_to_room("A3X9K2", user(user_id))
        after = await store.rooms.remove_user_from_room("A3X9K2", "first")
        assert after is not None
        assert (after.host_id, after.host_name, hosts(after)) == ("absent", "Absent", [])

    @clause()
    async def test_a_user_who_is_in_a_room_twice(self, context: ContractContext) -> None:
        """A room that contains a user twice is stored unchanged by others; a leave or a rejoin removes both entries."""
        store = await context.open()
        users = (user("host", is_host=True), user("twice"), user("twice", name="Again"), user("guest"))
        await store.rooms.create_room(room(users=users))
        stored = await store.rooms.get_room("A3X9K2")
        assert stored is not None
        assert stored.users == users
        new = ids(await store.rooms.add_user_to_room("A3X9K2", user("new")))
        assert new == ["host", "twice", "twice", "guest", "new"]
        assert ids(await store.rooms.remove_user_from_room("A3X9K2", "new")) == new[:-1]
        assert ids(await store.rooms.add_user_to_room("A3X9K2", user("twice"))) == ["host", "guest", "twice"]
        await store.rooms.update_room("A3X9K2", room(users=users))
        assert ids(await store.rooms.remove_user_from_room("A3X9K2", "twice")) == ["host", "guest"]

    @clause()
    async def test_the_host_rejoins_as_host(self, context: ContractContext) -> None:
        """The user whom host_id names is a host after joining again, as after a reload of the page."""
        store = await context.open()
        await store.rooms.create_room(room("A3X9K2", "host", "guest"))
        after = await store.rooms.add_user_to_room("A3X9K2", user("host"))
        assert (after.host_id, hosts(after)) == ("host", ["host"])
        assert await store.rooms.get_room("A3X9K2") == after
        absent = await store.rooms.edit_room("A3X9K2", lambda stored: stored.model_copy(update={"host_id": "absent"}))
        assert absent.host_id == "absent"
        assert "absent" in hosts(await store.rooms.add_user_to_room("A3X9K2", user("absent")))

    @clause()
    async def test_the_user_whom_host_id_names_is_a_host(self, context: ContractContext) -> None:
        """A room that a caller writes is stored with is_host of the user whom host_id names, and keeps co-hosts."""
        store = await context.open()
        users = (user("guest"), user("host"), user("cohost", is_host=True))
        await store.rooms.create_room(room(users=users))
        assert hosts(await store.rooms.get_room("A3X9K2")) == ["host", "cohost"]
        await store.rooms.update_room("A3X9K2", room(users=users))
        assert hosts(await store.rooms.get_room("A3X9K2")) == ["host", "cohost"]
        after = await store.rooms.edit_room("A3X9K2", lambda stored: stored.model_copy(update={"host_id": "guest"}))
        assert hosts(after) == ["guest", "host", "cohost"]

    @clause()
    async def test_a_join_requires_a_room(self, context: ContractContext) -> None:
        """Joining a missing room raises RoomNotFoundError and creates nothing."""
        store = await context.open()
        with pytest.raises(RoomNotFoundError):
            await store.rooms.add_user_to_room("A3X9K2", user("guest"))
        assert await store.rooms.room_exists("A3X9K2") is False

    @clause()
    async def test_a_leave_removes_the_user(self, context: ContractContext) -> None:
        """remove_user_from_room removes the user and keeps the order of the others and the host."""
        store = await context.open()
        await store.rooms.create_room(room("A3X9K2", "host", "first", "second"))
        after = await store.rooms.remove_user_from_room("A3X9K2", "first")
        assert ids(after) == ["host", "second"]
        assert after is not None
        assert after.host_id == "host"
        assert await store.rooms.get_room("A3X9K2") == after

    @clause()
    async def test_leaving_a_missing_room_returns_none(self, context: ContractContext) -> None:
        """Leaving a missing room returns None."""
        store = await context.open()
        assert await store.rooms.remove_user_from_room("A3X9K2", "guest") is None

    @clause()
    async def test_removing_an_unknown_user_has_no_effect(self, context: ContractContext) -> None:
        """Removing a user who is not in the room changes nothing and returns the room."""
        store = await context.open()
        await store.rooms.create_room(room())
        before = await store.rooms.get_room("A3X9K2")
        assert await store.rooms.remove_user_from_room("A3X9K2", "stranger") == before
        assert await store.rooms.get_room("A3X9K2") == before

    @clause()
    async def test_removing_an_unknown_user_keeps_an_empty_room(self, context: ContractContext) -> None:
        """Removing an unknown user from a room without users does not delete the room."""
        store = await context.open()
        await store.rooms.create_room(room(users=()))
        assert await store.rooms.remove_user_from_room("A3X9K2", "stranger") is not None
        assert await store.rooms.room_exists("A3X9K2") is True

    @clause()
    async def test_the_last_leave_deletes_the_room(self, context: ContractContext) -> None:
        """When the last user leaves, the room is deleted."""
        store = await context.open()
        await store.rooms.create_room(room("A3X9K2", "host", "guest"))
        await store.rooms.remove_user_from_room("A3X9K2", "guest")
        assert await store.rooms.remove_user_from_room("A3X9K2", "host") is None
        assert await store.rooms.get_room("A3X9K2") is None

    @clause(Capability.CHAT)
    async def test_the_last_leave_deletes_the_chat(self, context: ContractContext) -> None:
        """When the last user leaves, the chat is deleted with the room."""
        store = await context.open()
        await store.rooms.create_room(room())
        await store.chat.add_message(message(1))
        await store.rooms.remove_user_from_room("A3X9K2", "host")
        assert await store.chat.get_messages("A3X9K2") == []

    @clause()
    async def test_the_first_remaining_user_becomes_host(self, context: ContractContext) -> None:
        """When the host leaves, host_id is the id of the first remaining user."""
        store = await context.open()
        await store.rooms.create_room(room("A3X9K2", "host", "first", "second"))
        after = await store.rooms.remove_user_from_room("A3X9K2", "host")
        assert after is not None
        assert after.host_id == "first"
        assert ids(after) == ["first", "second"]
        assert await store.rooms.get_room("A3X9K2") == after

    @clause()
    async def test_host_name_follows_the_host(self, context: ContractContext) -> None:
        """When the host leaves, host_name is the name of the new host."""
        store = await context.open()
        await store.rooms.create_room(room("A3X9K2", "host", "first", "second"))
        after = await store.rooms.remove_user_from_room("A3X9K2", "host")
        assert after is not None
        assert after.host_name == f"Name of {after.host_id}"

    @clause()
    async def test_is_host_follows_the_host(self, context: ContractContext) -> None:
        """When the host leaves, is_host of the new host becomes true, and no other user changes."""
        store = await context.open()
        await store.rooms.create_room(room("A3X9K2", "host", "first", "second"))
        after = await store.rooms.remove_user_from_room("A3X9K2", "host")
        assert after is not None
        assert hosts(after) == [after.host_id]

    @clause()
    async def test_the_host_token_stays(self, context: ContractContext) -> None:
        """When the host leaves, host_token does not change."""
        store = await context.open()
        await store.rooms.create_room(room("A3X9K2", "host", "first"))
        after = await store.rooms.remove_user_from_room("A3X9K2", "host")
        assert after is not None
        assert after.verify_host_token("token-of-the-host")

    @clause()
    async def test_a_cohost_leaves_without_a_host_change(self, context: ContractContext) -> None:
        """When a co-host leaves, the host does not change."""
        store = await context.open()
        await store.rooms.create_room(node_room("room_two_hosts"))
        after = await store.rooms.remove_user_from_room("COHOST", "h2")
        assert after is not None
        assert after.host_id == "h1"
        assert hosts(after) == ["h1"]

    @clause()
    async def test_cohosts_stay_hosts_when_the_host_leaves(self, context: ContractContext) -> None:
        """When the host leaves, co-hosts keep is_host, and the first remaining user becomes host."""
        store = await context.open()
        users = (user("host", is_host=True), user("guest"), user("cohost", is_host=True), user("last"))
        await store.rooms.create_room(room(users=users))
        after = await store.rooms.remove_user_from_room("A3X9K2", "host")
        assert after is not None
        assert (after.host_id, hosts(after)) == ("guest", ["guest", "cohost"])

    @clause()
    async def test_a_transfer_sets_the_new_host(self, context: ContractContext) -> None:
        """transfer_host sets host_id, host_name and is_host and keeps the order of the users."""
        store = await context.open()
        await store.rooms.create_room(room("A3X9K2", "host", "first", "second"))
        after = await store.rooms.transfer_host("A3X9K2", "second")
        assert (after.host_id, after.host_name) == ("second", "Name of second")
        assert after.users[2].is_host
        assert ids(after) == ["host", "first", "second"]
        assert await store.rooms.get_room("A3X9K2") == after

    @clause()
    async def test_a_transfer_clears_is_host_of_the_old_host(self, context: ContractContext) -> None:
        """transfer_host clears is_host of the old host only; co-hosts keep it."""
        store = await context.open()
        users = (user("host", is_host=True), user("cohost", is_host=True), user("guest"))
        await store.rooms.create_room(room(users=users))
        after = await store.rooms.transfer_host("A3X9K2", "guest")
        assert hosts(after) == ["cohost", "guest"]

    @clause()
    async def test_a_transfer_to_the_host_keeps_the_host(self, context: ContractContext) -> None:
        """transfer_host to the current host keeps the host."""
        store = await context.open()
        await store.rooms.create_room(room("A3X9K2", "host", "guest"))
        after = await store.rooms.transfer_host("A3X9K2", "host")
        assert after.host_id == "host"
        assert hosts(after) == ["host"]

    @clause()
    async def test_a_transfer_requires_the_user(self, context: ContractContext) -> None:
        """Transferring to a user who is not in the room raises UserNotFoundError and changes nothing."""
        store = await context.open()
        await store.rooms.create_room(room())
        before = await store.rooms.get_room("A3X9K2")
        with pytest.raises(UserNotFoundError):
            await store.rooms.transfer_host("A3X9K2", "stranger")
        assert await store.rooms.get_room("A3X9K2") == before

    @clause()
    async def test_a_transfer_requires_a_room(self, context: ContractContext) -> None:
        """Transferring the host of a missing room raises RoomNotFoundError."""
        store = await context.open()
        with pytest.raises(RoomNotFoundError):
            await store.rooms.transfer_host("A3X9K2", "guest")
