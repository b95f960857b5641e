"""The index of a large room's users is always consistent with the users."""

from __future__ import annotations

from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wnc_store import LimitExceededError, Room, StoreSettings, User, VideoState, rules, to_wire
from wnc_store.base.size_limits import SizeLimits
from wnc_store.records import user_index
from wnc_store_contract.factories import room, user

SHORT = StoreSettings(max_name_length=1, max_url_length=1)
IDS = st.sampled_from(["host", "a", "b", "c"])
FIELDS = st.sampled_from([{}, {"name": "n" * 1500}, {"colour": "red"}, {"colour": "r" * 3000}])
JOINS: st.SearchStrategy[User] = st.tuples(IDS, FIELDS).map(lambda one: user(one[0], **one[1]))
STEPS = st.lists(st.tuples(st.integers(0, 9), JOINS | IDS), max_size=12)


def play(steps: list[tuple[int, User | str]], limits: SizeLimits) -> list[bytes]:
    """Apply joins and leaves, each to any of the rooms produced so far. Return all rooms."""
    twice = (user("host", colour="blue"), user("a"), user("host"))
    rooms = [room(users=twice)]
    for number, who in steps:
        before = rooms[number % len(rooms)]
        if isinstance(who, str):
            rooms.append(rules.leave(before, who) or before)
            continue
        try:
            rooms.append(limits.check_growth(before, rules.join(before, who)))
        except LimitExceededError:
            rooms.append(before)
    return [to_wire(one) for one in rooms]


@given(steps=STEPS)
def test_a_large_room_is_like_a_small_one(steps: list[tuple[int, User | str]]) -> None:
    """Joins and leaves in any order, also on several successors of one room, give the same rooms without an index."""
    limits = SizeLimits(SHORT.model_copy(update={"max_room_bytes": 5000}))
    small = play(steps, limits)
    with mock.patch.object(user_index, "_MAX_UNINDEXED", 0):
        assert play(steps, limits) == small


def large(size: int = 40) -> Room:
    """Return a room with `size` users and two more, and a cached index."""
    return rules.join(rules.join(room("A", *(f"u{number}" for number in range(size))), user("x")), user("y"))


@pytest.mark.parametrize("size", [30, 31, 32, 33, 100])
def test_a_copied_room_has_no_index(size: int) -> None:
    """A user added to a room by `model_copy` is not duplicated by a rejoin."""
    before = large(size)
    copied = before.model_copy(update={"users": (*before.users[1:], user("z"))})
    again = rules.join(rules.join(copied, user("z")), user("u0"))
    assert [one.id for one in again.users] == [*(one.id for one in before.users[1:]), "z", "u0"]


@pytest.mark.parametrize(("prefix", "users", "sized"), [("new", 140, 140), ("u", 40, 40 + 2 * 39)])
def test_joins_derive_the_index(prefix: str, users: int, sized: int) -> None:
    """Joins derive the index and the size of the users, so only users that join again are measured again."""
    crowd = room("A", *(f"u{number}" for number in range(40)))
    limits = SizeLimits(StoreSettings())
    with mock.patch.object(user_index, "_max_encoded_bytes", wraps=user_index._max_encoded_bytes) as measure:
        for number in range(users - 40 or 40):
            crowd = limits.check_growth(crowd, rules.join(crowd, user(f"{prefix}{number}", name="longer")))
    assert len(crowd.users) == users
    assert sum(len(call.args[0]) for call in measure.call_args_list) == sized
    assert user_index.max_encoded_bytes(crowd) == user_index._max_encoded_bytes(crowd.users)


@pytest.mark.parametrize(
    "made",
    [
        *(
            room(users=tuple(user(str(number), name=name) for number, name in enumerate(names)))
            for names in (["x"], [""] * 1000, ["\ud83d", *["😀" * 99] * 99], ["\x00" * 99] * 99)
        ),
        room(notes="x" * 5000),
        room(users=(user("u", notes="x" * 5000),)),
        room(video_state=VideoState().model_copy(update={"notes": "x" * 5000})),
    ],
)
def test_the_size_bound_is_never_exceeded(made: Room) -> None:
    """The upper bound of the encoded size is never below the encoded size, also with extra fields."""
    assert len(to_wire(made)) <= SizeLimits(SHORT)._max_encoded_size(made)


def test_the_index_is_not_part_of_the_room() -> None:
    """Rooms with and without a cached index are equal and have the same JSON."""
    after = large()
    read = Room.model_validate(after.to_json())
    assert after == read
    assert (to_wire(after), repr(after)) == (to_wire(read), repr(read))
