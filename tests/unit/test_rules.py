"""Transitions of rooms and chats, beyond the contract."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from wnc_store import Room, User, VideoState, rules
from wnc_store_contract.factories import message, room, user


def ids(found: Room) -> list[str]:
    """Return the ids of the users of a room."""
    return [one.id for one in found.users]


def test_rejoin_of_the_host_keeps_is_host() -> None:
    """The host of a large room, whose users are indexed, is a host after joining again."""
    after = rules.join(room("A", "host", *(f"u{number}" for number in range(50))), user("host"))
    assert [one.id for one in after.users if one.is_host] == ["host"]


def test_rejoin_removes_duplicates() -> None:
    """If a user is in the room twice, a rejoin leaves the user once."""
    twice = room(users=(user("host"), user("guest"), user("guest")))
    assert ids(rules.join(twice, user("guest"))) == ["host", "guest"]


def test_leave_keeps_a_host_who_is_not_a_user() -> None:
    """A host_id without a user in the room does not change when another user leaves."""
    ghost = room("A", "first", "second", host_id="ghost")
    after = rules.leave(ghost, "first")
    assert after is not None
    assert after.host_id == "ghost"


@pytest.mark.parametrize(
    ("edited", "error", "named"),
    [(None, TypeError, "NoneType"), (room("B"), ValueError, r"'A3X9K2'.*'B'")],
)
def test_edit_names_what_it_rejects(edited: Room, error: type[Exception], named: str) -> None:
    """The error about another type names the type, and that about another id names both ids."""
    with pytest.raises(error, match=named):
        rules.edit(room(), lambda _room: edited)


def test_an_async_change_is_rejected() -> None:
    """An async function raises a TypeError that explains it. Its coroutine is closed, so that Python does not warn."""
    coroutines: list[Any] = []

    async def return_unchanged(record: Any) -> Any:
        return record

    def change(record: Any) -> Any:
        coroutines.append(return_unchanged(record))
        return coroutines[-1]

    with pytest.raises(TypeError, match="a function that returns a Room, got an async function"):
        rules.edit(room(), change)
    with pytest.raises(TypeError, match="a function that returns a ChatMessage, got an async function"):
        rules.edit_message(message(1), change)
    assert [inspect.getcoroutinestate(coroutine) for coroutine in coroutines] == [inspect.CORO_CLOSED] * 2


def test_edit_validates() -> None:
    """A change that returns an invalid room raises ValueError without any value."""
    with pytest.raises(ValueError, match=r"hostToken|host_token") as caught:
        rules.edit(room(), lambda one: one.model_copy(update={"host_token": ["SECRET"]}))
    assert "SECRET" not in f"{caught.value!r}{caught.value.__context__!r}"


def test_append_is_idempotent_among_kept_messages() -> None:
    """Appending a kept id returns None; appending a dropped id adds a message."""
    kept = [message(number) for number in range(4)]
    assert rules.append(kept, message(3), 3) is None
    assert rules.append(kept, message(1), 3) is None
    again = rules.append(kept, message(0), 3)
    assert again is not None
    assert [one.id for one in again] == ["m2", "m3", "m0"]


def test_hosted_by_creates_the_host() -> None:
    """Room.hosted_by returns a room with the user as only user and host, and a random token."""
    first, second = (Room.hosted_by(User(id="u1", name="Ada"), room_id="A") for _ in range(2))
    assert (first.host_id, first.host_name, ids(first)) == ("u1", "Ada", ["u1"])
    assert first.users[0].is_host
    assert first.host_token
    assert first.host_token != second.host_token


def test_a_new_host_token_is_masked() -> None:
    """A rotated host token is masked in the repr of the room and in its own, also if a plain string was passed."""
    plain = "SECRET-9f1c"
    for after in (
        rules.rotate_host_token(room(), plain),
        rules.transfer_host(room(), "host", host_token=plain),
    ):
        assert after.host_token == plain
        assert plain not in repr([after, after.host_token])


def test_a_room_waits_only_while_it_has_no_users() -> None:
    """The mark of the wait counts only in a room without users, and only if it is true."""
    marked = {"isWaiting": True}
    assert rules.is_waiting(room(users=()).with_extra(marked))
    assert not rules.is_waiting(room().with_extra(marked))
    assert not rules.is_waiting(room(users=()))
    assert not rules.is_waiting(room(users=()).with_extra({"isWaiting": 1}))


@pytest.mark.parametrize("host_id", ["host", "guest", "gone"])
def test_every_transition_of_a_waiting_room_with_users_ends_the_wait(host_id: str) -> None:
    """A transition that leaves users in a room with the mark of the wait removes the mark and leaves one host."""
    users = (user("host"), user("guest"), user("third"))
    start = room("A", users=users, host_id=host_id).with_extra({"isWaiting": True, "theme": "dark"})
    expected = "host" if host_id == "gone" else host_id
    for after in (
        rules.join(start, user("late")),
        rules.leave(start, "third"),
        rules.update_video_state(start, VideoState()),
        rules.set_video(start, "x", "youtube", now_ms=1),
        rules.rotate_host_token(start, "t"),
        rules.edit(start, lambda before: before),
        rules.replace(start, room("A", users=users, host_id=host_id).with_extra({"theme": "dark"})),
    ):
        assert after is not None
        assert after.model_extra == {"theme": "dark"}
        assert (after.host_id, [one.id for one in after.users if one.is_host]) == (expected, [expected])


def test_rooms_with_a_common_predecessor_are_independent() -> None:
    """Joins to a room, to its successor and again to the room do not affect each other."""
    start = room("A")
    first = rules.join(start, user("u1"))
    second = rules.join(start, user("u2"))
    later = rules.join(first, user("u2"))
    again = rules.join(first, user("u2", name="Other"))
    rejoined = rules.join(later, user("u1"))
    ids = [[one.id for one in after.users] for after in (start, first, second, later, again, rejoined)]
    assert ids == [["host"], ["host", "u1"], ["host", "u2"], *[["host", "u1", "u2"]] * 2, ["host", "u2", "u1"]]
