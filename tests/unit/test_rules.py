"""Transitions of rooms and chats, beyond the contract."""

from __future__ import annotations

import pytest

from wnc_store import Room, User, rules
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
