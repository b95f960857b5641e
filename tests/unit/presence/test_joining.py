"""Which users and rooms a connection accepts, and how it adds the user."""

from __future__ import annotations

from functools import partial

import pytest

from presence_workers import GRACE, ROOM, Worker
from virtual_time import pass_time
from wnc_store import InvalidIdError, Room, RoomNotFoundError, User, rules
from wnc_store.presence import tracked


@pytest.mark.parametrize("user_id", ["grüße an 👍", "a b", "{x}*?", "u:" + "ø" * 126, "x" * 128])
async def test_ids_of_users(worker: Worker, user_id: str) -> None:
    """A user id may contain any character that user ids may contain, and have the full length."""
    await worker.connect(user_id)
    assert await worker.present() == [user_id]


async def test_ids_do_not_collide(worker: Worker) -> None:
    """Connections of other users, and of users of other rooms, do not keep a user in a room."""
    await worker.store.rooms.create_room(Room(id=f"{ROOM}:a", host_id="b", host_name="b"))
    await worker.connect("b", f"{ROOM}:a")
    await worker.connect("B")
    away = await worker.connect("a:b")
    same = await worker.connect("b")
    await away.close()
    await same.close()
    await pass_time(GRACE)
    assert await worker.users() == ["B"]


async def test_invalid_ids(worker: Worker) -> None:
    """An invalid user id or room id is rejected before anything is sent."""
    for user_id, room_id in ((" ada", ROOM), ("a\ud83d", ROOM), ("ada", "a b")):
        with pytest.raises(InvalidIdError):
            await worker.connect(user_id, room_id)
    assert worker.leases.calls == []


async def test_a_missing_room(worker: Worker) -> None:
    """A connection to a room that does not exist raises an error and leaves no lease."""
    with pytest.raises(RoomNotFoundError):
        await worker.connect("ada", "NOROOM")
    assert worker.leases.calls[-1] == "release"
    assert worker.store._namespace.leases._entries == {}


def refuse(_room: Room) -> Room:
    """Refuse the user, as for a ban."""
    raise PermissionError


def add_nobody(room: Room) -> Room:
    """Return the room as it is."""
    return room


def add_untracked(room: Room) -> Room:
    """Replace the users by a user who is not tracked, as another client does."""
    return room.model_copy(update={"users": (User(id="ada", name="Ada"),)})


async def test_a_function_that_joins(worker: Worker) -> None:
    """`join` adds a user who is not in the room, and is not called for a user who is."""
    join = partial(rules.join, user=User(id="ada", name="Countess"))
    ada = await worker.connect("ada", join=join)
    assert [user.name for user in ada.connection.room.users] == ["Countess"]
    await worker.connect("ada", join=refuse)


async def test_a_function_that_refuses(worker: Worker) -> None:
    """An error of `join` is raised, the user is not added, and no lease is left."""
    with pytest.raises(PermissionError):
        await worker.connect("ada", join=refuse)
    assert await worker.users() == []
    assert worker.store._namespace.leases._entries == {}


async def test_a_kicked_user_who_reconnects(worker: Worker) -> None:
    """A new connection of a kicked user adds the user again, unless `join` refuses the user."""
    await worker.connect("ada")
    await worker.connect("grace")
    await worker.store.rooms.remove_user_from_room(ROOM, "grace")
    with pytest.raises(PermissionError):
        await worker.connect("grace", join=refuse)
    assert await worker.users() == ["ada"]
    await worker.connect("grace")
    assert await worker.users() == ["ada", "grace"]


async def test_a_function_that_adds_nobody(worker: Worker) -> None:
    """A `join` that returns the room without the user raises an error, and nothing is written."""
    with pytest.raises(ValueError, match="join must return a room with user 'ada'"):
        await worker.connect("ada", join=add_nobody)
    assert await worker.users() == []


async def test_a_user_who_is_in_the_room(worker: Worker) -> None:
    """A user whom the app has added is tracked by the first connection, keeps the place, and leaves like others."""
    await worker.store.rooms.add_user_to_room(ROOM, User(id="ada", name="Ada"))
    await worker.store.rooms.add_user_to_room(ROOM, User(id="grace", name="Grace"))
    ada = await worker.connect("ada")
    assert await worker.users() == ["ada", "grace"]
    await ada.close()
    await pass_time(GRACE)
    assert await worker.users() == ["grace"]


async def test_a_tracked_user(worker: Worker) -> None:
    """The connection of a user whom the app has added as tracked writes nothing."""
    await worker.store.rooms.add_user_to_room(ROOM, tracked(User(id="ada", name="Ada")))
    before = await worker.revision()
    await worker.connect("ada")
    assert await worker.revision() == before


async def test_another_client_replaces_a_connected_user(worker: Worker) -> None:
    """A connected user whom another client has added again, and who is not tracked, is still present."""
    await worker.connect("ada")
    await worker.store.rooms.edit_room(ROOM, add_untracked)
    assert await worker.present() == ["ada"]


async def test_another_client_takes_over(worker: Worker) -> None:
    """A user whom another client, such as the Node app, has added again is no longer tracked and is not removed."""
    ada = await worker.connect("ada")
    await ada.close()
    await worker.store.rooms.edit_room(ROOM, add_untracked)
    await pass_time(3 * GRACE)
    assert await worker.users() == ["ada"]
